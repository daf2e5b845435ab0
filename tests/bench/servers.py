"""Ours and its peers, each in processes of its own on 127.0.0.1, and what they cost."""

import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Self

import psutil

from appliance.settings import Settings
from appliance.web.share_file import ACCEL
from appliance.web.tls import ensure_certificate
from tests.support.armoire import PROGRAM, ROOT
from tests.support.sshd import free_port

#: A Python that has copyparty; it is no part of the product and of none of its lock files.
COPYPARTY = os.environ.get("ARMOIRE_COPYPARTY", sys.executable)


def has_copyparty() -> bool:
    """Whether there is one to be measured."""
    done = subprocess.run([COPYPARTY, "-c", "import copyparty"], capture_output=True, check=False)
    return done.returncode == 0


def has_nginx() -> bool:
    """Whether there is one to be measured."""
    return Path("/usr/sbin/nginx").exists()


class Served:
    """A server and what runs with it; use as a context manager."""

    def __init__(
        self,
        port: int,
        argvs: Sequence[Sequence[str]],
        *,
        is_tls: bool = False,
        environment: dict[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.port = port
        self.is_tls = is_tls
        self.base = f"{'https' if is_tls else 'http'}://127.0.0.1:{port}"
        self._argvs = argvs
        self._environment = {"PATH": os.environ["PATH"], **(environment or {})}
        self._cwd = cwd
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for argv in self._argvs:
            self.processes.append(
                subprocess.Popen(
                    argv,
                    env=self._environment,
                    cwd=self._cwd,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.ask("/healthz")[0] == HTTPStatus.BAD_GATEWAY:
                    raise ConnectionError
            except OSError:
                for each in self.processes:
                    assert each.poll() is None, each.args
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        for each in reversed(self.processes):
            each.terminate()
        for each in self.processes:
            try:
                each.wait(20)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()

    def line(self) -> HTTPConnection:
        """A connection; certificates are not looked at: it is on 127.0.0.1."""
        if not self.is_tls:
            return HTTPConnection("127.0.0.1", self.port, timeout=60)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)

    def ask(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of one request."""
        with closing(self.line()) as line:
            line.request("GET", path, headers=headers or {})
            answer = line.getresponse()
            return answer.status, answer.read()

    def tree(self) -> list[psutil.Process]:
        """Its processes, with those they started."""
        own = [psutil.Process(each.pid) for each in self.processes]
        return own + [child for each in own for child in each.children(recursive=True)]

    def cpu_s(self) -> float:
        """Seconds of processor time of all of them so far."""
        return sum(sum(each.cpu_times()[:2]) for each in self.tree())

    def resident(self) -> int:
        """Bytes in memory, shared ones counted once."""
        return int(sum(each.memory_full_info().pss for each in self.tree()))


def armoire(settings: Settings, *, is_tls: bool, core: int | None = None) -> Served:
    """The product: as it is, over TLS; or its application over plain HTTP."""
    port = free_port()
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    if is_tls:
        argv = [*pinned, *PROGRAM, "serve"]
    else:
        plain = [sys.executable, "-m", "tests.bench.plain_server", str(settings.data), str(port)]
        argv = [*pinned, *plain]
    environment = {"ARMOIRE_DATA": str(settings.data), "ARMOIRE_LISTEN_PORT": str(port)}
    return Served(port, [argv], is_tls=is_tls, environment=environment)


def stock(folder: Path) -> Served:
    """Starlette's FileResponse, and nothing else."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.bench.stock_server", str(folder), str(port), "whole"]
    return Served(port, [argv])


NGINX = """
daemon off; master_process on; worker_processes 1; pid {place}/pid; error_log {place}/errors;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; include /etc/nginx/mime.types;
  client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;
  uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;
  upstream app {{ server 127.0.0.1:{app}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port}{ssl};
    {certificate}
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; {told} }}
    location {inside} {{ internal; alias {folder}/; {sent} }}
  }}
}}
"""
#: Where the visitor of ``front`` sits; nobody does.
VISITOR = "192.168.77.20"
#: As in docs/front.md.
TOLD = f"""
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For {VISITOR};
      proxy_set_header X-Sendfile-Type X-Accel-Redirect;
      proxy_buffering off;
      proxy_request_buffering off;
"""
SENT = "etag off; add_header ETag $upstream_http_etag;" + "".join(
    f"add_header {each} $upstream_http_{each.lower().replace('-', '_')} always;"
    for each in (
        "Content-Security-Policy",
        "X-Content-Type-Options",
        "Strict-Transport-Security",
        "Referrer-Policy",
        "Permissions-Policy",
        "Cross-Origin-Opener-Policy",
        "Cross-Origin-Resource-Policy",
    )
)


def nginx(folder: Path, place: Path, *, is_tls: bool, settings: Settings) -> Served:
    """X-Accel: a bare uvicorn says which file, nginx sends it; over TLS with our own certificate."""
    certificate = ""
    if is_tls:
        public, key = ensure_certificate(settings)
        certificate = f"ssl_certificate {public}; ssl_certificate_key {key};"
    app = free_port()
    argv = [sys.executable, "-m", "tests.bench.stock_server", str(folder), str(app), "accel"]
    facts = {"inside": "/inside/", "folder": folder, "told": "", "sent": ""}
    return _behind_nginx(place, app, argv, facts, certificate=certificate)


def front(settings: Settings, place: Path, *, mode: str) -> Served:
    """X-Accel in front of the product's application on plain HTTP, as docs/front.md has it.

    Args:
        settings: of the box; ``VISITOR`` needs a session from there.
        place: a folder to be made.
        mode: «front», or «decided» (``tests.bench.plain_server``), where no address is told.
    """
    app = free_port()
    argv = [sys.executable, "-m", "tests.bench.plain_server", str(settings.data), str(app), mode]
    facts = {
        "inside": ACCEL,
        "folder": settings.shares,
        "told": TOLD if mode == "front" else "",
        "sent": f"disable_symlinks on from={settings.shares}; {SENT}",
    }
    return _behind_nginx(place, app, argv, facts)


def _behind_nginx(
    place: Path, app: int, argv: list[str], facts: Mapping[str, object], *, certificate: str = ""
) -> Served:
    place.mkdir()
    port = free_port()
    ssl = " ssl" if certificate else ""
    text = NGINX.format(place=place, port=port, app=app, ssl=ssl, certificate=certificate, **facts)
    if os.geteuid() == 0:
        text = "user root;" + text
    (place / "nginx.conf").write_text(text)
    ours = ["/usr/sbin/nginx", "-p", str(place), "-e", f"{place}/errors"]
    return Served(port, [argv, [*ours, "-c", f"{place}/nginx.conf"]], is_tls=bool(certificate))


def copyparty(folder: Path, place: Path, *, is_tls: bool) -> Served:
    """copyparty, reading only."""
    place.mkdir()
    port = free_port()
    argv = [
        COPYPARTY,
        "-m",
        "copyparty",
        "-q",
        "-i",
        "127.0.0.1",
        "-p",
        str(port),
        "-v",
        f"{folder}::r",
    ]
    return Served(port, [argv], is_tls=is_tls, cwd=place, environment={"HOME": str(place)})


def bytes_a_second(base: str, path: str, headers: dict[str, str]) -> float:
    """Bytes a second of one download with curl, thrown away."""
    argv = ["curl", "-sk", "--fail", "-o", "/dev/null", "-w", "%{speed_download}"]
    for name, value in headers.items():
        argv += ["-H", f"{name}: {value}"]
    done = subprocess.run([*argv, base + path], capture_output=True, check=True, timeout=300)
    return float(done.stdout)


def wrk(
    base: str,
    script: Path,
    *,
    seconds: int,
    connections: int = 8,
    path: str = "/",
    core: int | None = None,
) -> dict[str, float]:
    """Requests a second, p50 and p99 in ms, and what was not 2xx, by wrk with one thread."""
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    argv = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "-s",
        str(script),
        base + path,
    ]
    done = subprocess.run([*pinned, *argv], capture_output=True, text=True, check=True, timeout=300)
    told = [line for line in done.stdout.splitlines() if line.startswith("told ")]
    assert told, done.stdout + done.stderr
    return {
        name: float(value)
        for name, _, value in (each.partition("=") for each in told[0].split()[1:])
    }


#: Told in one line that ``wrk`` above reads; ``request`` comes from the caller.
LUA_END = """
done = function(summary, latency, requests)
  io.write(string.format("told rps=%.3f p50=%.4f p99=%.4f max=%.3f bad=%d requests=%d\\n",
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency.max / 1000,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.timeout, summary.requests))
end
"""


def lua(place: Path, paths: Sequence[str], headers: dict[str, str]) -> Path:
    """A script for wrk that asks for ``paths`` in turn."""
    listed = ",\n".join(f'"{each}"' for each in paths)
    told = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    place.write_text(
        f"local paths = {{\n{listed}\n}}\nlocal at = 0\n{told}\n"
        'request = function()\n  at = at % #paths + 1\n  return wrk.format("GET", paths[at])\nend\n'
        + LUA_END
    )
    return place


def has(*programs: str) -> bool:
    """Whether all of these programs are here."""
    return all(shutil.which(each) for each in programs)
