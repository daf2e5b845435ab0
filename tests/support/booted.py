"""A real systemd as process 1, in namespaces of its own, over this machine's file system.

Nothing of the machine is changed: what is written goes to an overlay in memory that ends with the processes. The
network is an empty one. The checkout lies at /opt/armoire as on a box, with a virtual environment that borrows
the libraries of the tests' own. Root only; needs a cgroup of version 2 that may be written.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import pytest

ROOT: Final = Path(__file__).parents[2]
START_S: Final = 60.0
SLICE: Final = "armoire-try"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: In namespaces of its own: build the new root, go into it, become systemd.
_INSIDE: Final = r"""
set -e
mount --make-rprivate /
W=$1 CHECKOUT=$2 SITE=$3 PYTHON=$4
mount -t tmpfs -o mode=755 tmpfs "$W"
mkdir "$W/upper" "$W/work" "$W/root"
R=$W/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$W/upper,workdir=$W/work" "$R"
mount -t proc proc "$R/proc"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t tmpfs -o mode=755 tmpfs "$R/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
while read -r name major minor; do mknod -m 666 "$R/dev/$name" c "$major" "$minor"; done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
fuse 10 229
END
mkdir "$R/dev/pts" "$R/dev/shm" "$R/dev/net" "$R/dev/mqueue"
mknod -m 666 "$R/dev/net/tun" c 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$R/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$R/dev/shm"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
for n in 0 1 2; do ln -s "fd/$n" "$R/dev/$(echo stdin stdout stderr | cut -d' ' -f$((n + 1)))"; done
: >"$R/dev/console"

# A machine where nothing is set up: no unit of this one, no account of ours, no share of Samba.
rm -rf "$R"/etc/systemd/system "$R"/var/lib/armoire* "$R"/opt/armoire "$R"/etc/fstab
mkdir -p "$R/etc/systemd/system" "$R/opt/armoire"
sed -i '/^armoire/d' "$R"/etc/passwd "$R"/etc/group "$R"/etc/shadow "$R"/etc/gshadow
: >"$R/etc/machine-id"
for unit in udevd udev-trigger modules-load sysctl resolved timesyncd networkd logind; do
  ln -s /dev/null "$R/etc/systemd/system/systemd-$unit.service"
done
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >"$R/etc/systemd/system/booted.target"

# The product where systemd/README.md puts it.
mount --bind "$CHECKOUT" "$R/opt/armoire"
mount -o remount,bind,ro "$R/opt/armoire"
mount -t tmpfs -o mode=755 tmpfs "$R/opt/armoire/.venv"
V=$R/opt/armoire/.venv
mkdir -p "$V/bin" "$V/site" "$V/lib/$(basename "$PYTHON")/site-packages"
mount --bind "$SITE" "$V/site"
mount -o remount,bind,ro "$V/site"
ln -s "$PYTHON" "$V/bin/python"
ln -s python "$V/bin/python3"
printf 'home = %s\ninclude-system-site-packages = false\n' "$(dirname "$PYTHON")" >"$V/pyvenv.cfg"
printf '/opt/armoire\n/opt/armoire/.venv/site\n' >"$V/lib/$(basename "$PYTHON")/site-packages/armoire.pth"
for each in armoire:appliance.cli borg:borg.archiver; do
  printf '#!/opt/armoire/.venv/bin/python\nimport sys\nfrom %s import main\nsys.exit(main())\n' "${each#*:}" >"$V/bin/${each%:*}"
  chmod 755 "$V/bin/${each%:*}"
done

ip link set lo up
hostname armoire-try
cd "$R"
mkdir .old
pivot_root . .old
umount -l /.old
mount --make-rshared / # as systemd does on a machine; in a container it leaves that to others
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=armoire \
  /lib/systemd/systemd --unit=booted.target --log-target=console --show-status=0
"""


def why_not() -> str | None:
    """Return why no system can be booted here, or None."""
    if os.geteuid() != 0:
        return "namespaces, mounts and a process 1 of our own: root only"
    missing = [
        each
        for each in (
            "unshare",
            "nsenter",
            "setpriv",
            "sudo",
            "smbd",
            "smbclient",
            "wsdd",
            "wg",
            "curl",
            "ip",
        )
        if shutil.which(each) is None
    ]
    if not Path("/lib/systemd/systemd").exists():
        missing.append("systemd")
    if missing:
        return f"not installed: {', '.join(missing)}"
    if _cgroups() is None:
        return "no cgroup of version 2 may be written here"
    if _python() is None:
        return "no Python outside the folders of people, which the units do not see"
    return None


def _cgroups() -> Path | None:
    for each in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (each / "cgroup.procs").exists() and os.access(each, os.W_OK):
            with suppress(OSError):
                probe = each / f"{SLICE}-probe-{os.getpid()}"
                probe.mkdir()
                probe.rmdir()
                return each
    return None


def _python() -> Path | None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for each in (Path(sys.base_prefix) / "bin" / name, Path("/usr/bin") / name):
        if each.exists() and each.resolve().parts[1] not in {"root", "home", "tmp"}:
            return each.resolve()
    return None


class Booted:
    """The system. Use as a context manager."""

    def __init__(self) -> None:
        reason = why_not()
        if reason is not None:
            pytest.skip(reason)
        self.folder = Path(tempfile.mkdtemp(prefix="armoire-booted-"))
        cgroups = _cgroups()
        assert cgroups is not None
        self.cgroup = cgroups / f"{SLICE}-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0  # process 1, as this machine counts

    def __enter__(self) -> Self:
        import pydantic

        site, python = Path(pydantic.__file__).parents[1], _python()
        assert python is not None
        (self.folder / "in").mkdir()
        self.cgroup.mkdir()
        try:
            with (self.folder / "console").open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        *("sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', str(self.cgroup)),
                        *("unshare", "--cgroup", "--mount", "--net", "--uts", "--ipc", "--pid"),
                        *("--fork", "--kill-child"),
                        *("bash", "-c", _INSIDE, "boot"),
                        *(str(self.folder / "in"), str(ROOT), str(site), str(python)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.wait_for(self._is_up, "systemd", START_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            for pid in (self._first, self._process.pid):
                with suppress(ProcessLookupError):
                    if pid:
                        os.kill(pid, signal.SIGKILL)  # process 1 takes all of its own with it
            self._process.wait(30)
        end = time.monotonic() + 20
        while self.cgroup.exists() and time.monotonic() < end:
            for folder, _, _ in os.walk(self.cgroup, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self, *argv: str, stdin: str = "", timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the system, as its root."""
        return subprocess.run(
            [
                *("nsenter", "--target", str(self._first), "--mount", "--uts", "--ipc", "--net"),
                *("--pid", "--cgroup", "--root", "--wd=/", "--", *argv),
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root"},
        )

    def sh(self, script: str, timeout_s: float = 60) -> str:
        """Run lines of shell; return what they said.

        Raises:
            AssertionError: one of them failed.
        """
        done = self.run("bash", "-euo", "pipefail", "-c", script, timeout_s=timeout_s)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def journal(self, *which: str) -> str:
        """Return the last lines of the system's journal."""
        return self.run("journalctl", "--no-pager", "--lines=80", "--output=cat", *which).stdout

    def wait_for(self, is_so, what: str, timeout_s: float = 30) -> None:
        """Wait until ``is_so()``.

        Raises:
            AssertionError: it never was.
        """
        end = time.monotonic() + timeout_s
        while not is_so():
            assert self._process is not None
            told = (self.folder / "console").read_text(errors="replace")
            assert self._process.poll() is None, told
            assert time.monotonic() < end, f"{what}: {self.journal() if self._first else told}"
            time.sleep(0.1)

    def _is_up(self) -> bool:
        assert self._process is not None
        if not self._first:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            with suppress(OSError):
                self._first = int((children.read_text().split() or ["0"])[0])
        if not self._first:
            return False
        name = Path(f"/proc/{self._first}/comm")
        if not name.exists() or name.read_text().strip() != "systemd":
            return False
        return self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}
