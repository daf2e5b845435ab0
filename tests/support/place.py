"""A network of its own: a box, what is around it, and addresses that come and go. Needs root and «ip»."""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000


def require() -> None:
    """Skip the test where no network can be made."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and ip")


def ip(*words: str) -> str:
    """Run ip(8)."""
    return subprocess.run(
        ["ip", *words], check=True, capture_output=True, text=True, timeout=20
    ).stdout


class Place:
    """Two namespaces and a cable: the box («lan0») and a machine that may have any address («out0»)."""

    def __init__(self) -> None:
        self.box, self.around = f"abx{os.getpid()}", f"aro{os.getpid()}"
        ip("netns", "add", self.box)
        ip("netns", "add", self.around)
        ip("link", "add", "lan0", "netns", self.box, "type", "veth", "peer", "name", "out0",
           "netns", self.around)  # fmt: skip
        for name, card in ((self.box, "lan0"), (self.around, "out0")):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", card, "up")
            ip("-n", name, "route", "add", "default", "dev", card)
            ip("-n", name, "-6", "route", "add", "default", "dev", card)

    def card(self, name: str) -> None:
        """Give the box one more interface; its cable leads to «<name>p» around."""
        ip("link", "add", name, "netns", self.box, "type", "veth", "peer", "name", f"{name}p",
           "netns", self.around)  # fmt: skip
        ip("-n", self.box, "link", "set", name, "up")
        ip("-n", self.around, "link", "set", f"{name}p", "up")

    def give(self, address: str, card: str = "lan0") -> None:
        """Give the box an address."""
        ip("-n", self.box, "address", "add", address, "dev", card, *_at_once(address))

    def take(self, address: str, card: str = "lan0") -> None:
        """Take an address of the box away."""
        ip("-n", self.box, "address", "delete", address, "dev", card)

    def stand_at(self, *addresses: str, card: str = "out0") -> None:
        """Let the machine around have these addresses, without a prefix."""
        for each in addresses:
            length = "128" if ":" in each else "32"
            ip("-n", self.around, "address", "add", f"{each}/{length}", "dev", card,
               *_at_once(each))  # fmt: skip

    def connect(self, own: str, address: str, port: int, timeout_s: float = 30) -> socket.socket:
        """Return a connection from the machine around, from its address ``own``."""
        with inside(self.around):
            line = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            line.settimeout(timeout_s)
            line.bind((own, 0))
            line.connect((address, port))
        except OSError:
            line.close()
            raise
        return line

    def close(self) -> None:
        """End what runs in it, and take it away."""
        for name in (self.box, self.around):
            found = subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
            )
            for line in found.stdout.split():
                os.kill(int(line), 9)
            subprocess.run(["ip", "netns", "delete", name], check=False)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Make sockets in a namespace: they stay there. Source: setns(2), of this thread only."""
    library = ctypes.CDLL(None, use_errno=True)
    with (
        Path("/proc/thread-self/ns/net").open() as home,
        Path(f"/run/netns/{name}").open() as there,
    ):
        if library.setns(there.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            library.setns(home.fileno(), _CLONE_NEWNET)


def _at_once(address: str) -> tuple[str, ...]:
    return ("nodad",) if ":" in address else ()
