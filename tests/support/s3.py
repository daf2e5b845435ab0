"""A real S3 server with Object Lock on 127.0.0.1: Ceph's monitor, manager, in-memory OSD and RADOS gateway.

From Debian's packages; about 12 seconds to start. Ends what it started and nothing else.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.sshd import free_port

PROGRAMS = (
    "ceph-mon",
    "ceph-mgr",
    "ceph-osd",
    "radosgw",
    "ceph-authtool",
    "monmaptool",
    "radosgw-admin",
)
ACCESS_KEY, SECRET_KEY = "BOXKEY", "BOXSECRET"


@dataclass
class S3Server:
    """``with S3Server(folder) as s3`` gives an endpoint."""

    folder: Path
    endpoint: str = ""
    port: int = 0
    _gateway: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.port = free_port()
        monitor = [free_port(), free_port()]
        for name in ("mon", "mgr", "osd", "rgw", "run", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._conf = self.folder / "ceph.conf"
        fsid = uuid.uuid4()
        d = self.folder
        self._conf.write_text(
            f"[global]\nfsid = {fsid}\n"
            f"mon host = [v2:127.0.0.1:{monitor[0]},v1:127.0.0.1:{monitor[1]}]\n"
            "public network = 127.0.0.0/8\n"
            "auth cluster required = cephx\nauth service required = cephx\nauth client required = cephx\n"
            f"keyring = {d}/keyring\n"
            "osd pool default size = 1\nosd pool default min size = 1\nosd pool default pg num = 8\n"
            "osd pool default pgp num = 8\nosd crush chooseleaf type = 0\nmon allow pool size one = true\n"
            "osd objectstore = memstore\nmemstore device bytes = 2147483648\n"
            f"mon data = {d}/mon\nmgr data = {d}/mgr\nosd data = {d}/osd\nrgw data = {d}/rgw\n"
            f"run dir = {d}/run\nadmin socket = {d}/run/$name.$pid.asok\n"
            f"log file = {d}/log/$name.log\npid file = {d}/run/$name.pid\n"
            f"[client.admin]\nrgw frontends = beast endpoint=127.0.0.1:{self.port}\n"
            # Between midnight and six the gateway sweeps by itself, and its lock would keep a test's own sweep
            # waiting for 90 s.
            "rgw enable lc threads = false\nrgw lc lock max time = 5\n"
        )
        self.endpoint = f"http://127.0.0.1:{self.port}"
        try:
            self._set_up(fsid, monitor)
            self._start_gateway()
            self._run(
                "radosgw-admin",
                "user",
                "create",
                "--uid=box",
                "--display-name=box",
                f"--access-key={ACCESS_KEY}",
                f"--secret={SECRET_KEY}",
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self, fsid: uuid.UUID, monitor: list[int]) -> None:
        ring, d = str(self.folder / "keyring"), self.folder
        make = ("ceph-authtool", ring, "--gen-key")
        self._plain(
            "ceph-authtool",
            "--create-keyring",
            ring,
            "--gen-key",
            "-n",
            "mon.",
            "--cap",
            "mon",
            "allow *",
        )
        self._plain(
            *make,
            "-n",
            "client.admin",
            "--cap",
            "mon",
            "allow *",
            "--cap",
            "osd",
            "allow *",
            "--cap",
            "mgr",
            "allow *",
        )
        self._plain(
            *make, "-n", "mgr.x", "--cap", "mon", "allow profile mgr", "--cap", "osd", "allow *"
        )
        self._plain(
            *make,
            "-n",
            "osd.0",
            "--cap",
            "mon",
            "allow profile osd",
            "--cap",
            "osd",
            "allow *",
            "--cap",
            "mgr",
            "allow profile osd",
        )
        address = f"[v2:127.0.0.1:{monitor[0]},v1:127.0.0.1:{monitor[1]}]"
        self._plain(
            "monmaptool", "--create", "--fsid", str(fsid), "--addv", "a", address, f"{d}/monmap"
        )
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{d}/monmap", "--keyring", ring)
        self._run("ceph-mon", "-i", "a")
        self._run("ceph-mgr", "-i", "x")
        osd = str(uuid.uuid4())
        key = self._plain("ceph-authtool", ring, "-n", "osd.0", "-p").strip()
        self._run(
            "ceph",
            "--connect-timeout",
            "30",
            "osd",
            "new",
            osd,
            "0",
            "-i",
            "-",
            stdin=f'{{"cephx_secret":"{key}"}}',
        )
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._run("ceph-osd", "-i", "0")

    def _start_gateway(self) -> None:
        self._gateway = subprocess.Popen(
            ["radosgw", "-f", "-c", str(self._conf), "-n", "client.admin"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(self.endpoint, timeout=10).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError("the gateway does not answer")

    def _stop_gateway(self) -> None:
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway.wait()
            self._gateway = None

    def __exit__(self, *_error: object) -> None:
        self._stop_gateway()
        for pid_file in (self.folder / "run").glob("*.pid"):
            with suppress(ValueError, ProcessLookupError):
                os.kill(int(pid_file.read_text().strip() or "x"), signal.SIGKILL)

    def _run(self, *argv: str, stdin: str = "") -> str:
        return self._plain(argv[0], "-c", str(self._conf), *argv[1:], stdin=stdin)

    def _plain(self, *argv: str, stdin: str = "") -> str:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=180, check=False
        )
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            raise RuntimeError(f"{argv[0]} ended with {done.returncode}")
        return done.stdout
