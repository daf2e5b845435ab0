"""A line of a given rate: two network namespaces' ends of a veth pair, shaped with `tc tbf` on both sides.

The test's own namespace pair; needs the right to make them (root, CAP_NET_ADMIN) and the kernel's tbf.
A delay is not shaped here (netem is not in every kernel): ``DelayProxy`` adds it and says so.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.support.sshd import SshServer

_SUBNET = "10.254.{}.{}"


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=20)


def why_not() -> str:
    """Return why no line can be shaped here, or nothing when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"{program} is not installed (iproute2)"
    try:
        with ShapedLine(10_000_000):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespace with tbf can be made: {type(error).__name__}"


class ShapedLine:
    """``with ShapedLine(bits_per_second) as line``: the far end is ``line.host``, inside ``line.namespace``."""

    _count = 0

    def __init__(self, bits_s: float) -> None:
        ShapedLine._count += 1
        self.bits_s = int(bits_s)
        self._tag = f"{os.getpid() % 100_000}{ShapedLine._count % 10}"
        self.namespace = f"armoire{self._tag}"
        self._near, self._far = f"ar{self._tag}a", f"ar{self._tag}b"
        third = (os.getpid() * 7 + ShapedLine._count) % 250
        self._own = _SUBNET.format(third, 1)
        self.host = _SUBNET.format(third, 2)

    def __enter__(self) -> Self:
        inside = ("ip", "netns", "exec", self.namespace)
        try:
            _run("ip", "netns", "add", self.namespace)
            _run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far)
            _run("ip", "link", "set", self._far, "netns", self.namespace)
            _run("ip", "addr", "add", f"{self._own}/30", "dev", self._near)
            _run("ip", "link", "set", self._near, "up")
            _run(*inside, "ip", "addr", "add", f"{self.host}/30", "dev", self._far)
            _run(*inside, "ip", "link", "set", self._far, "up")
            _run(*inside, "ip", "link", "set", "lo", "up")
            shape = (f"rate {self.bits_s}bit burst 128kb latency 60ms").split()
            _run("tc", "qdisc", "add", "dev", self._near, "root", "tbf", *shape)
            _run(*inside, "tc", "qdisc", "add", "dev", self._far, "root", "tbf", *shape)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for argv in (("ip", "link", "del", self._near), ("ip", "netns", "del", self.namespace)):
            subprocess.run(argv, check=False, capture_output=True, timeout=20)

    def sshd(self, folder: Path) -> SshServer:
        """Return a server at the far end; not started."""
        server = SshServer(config="ForceCommand internal-sftp", folder=folder)
        start = folder / "sshd-there"
        start.write_text(f'#!/bin/sh\nexec ip netns exec {self.namespace} {server._program} "$@"\n')
        start.chmod(0o700)
        server._program = str(start)
        server.host = self.host
        return server
