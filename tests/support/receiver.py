"""A receiving box of a test's own: in a thread, or in a process that can be killed."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from appliance.replication.receive import ReceiveServer, make_host_key
from appliance.replication.receive_accounts import Senders
from appliance.replication.targets.box import BoxAccount, BoxTarget
from appliance.vault.secret import Secret
from tests.support.sshd import free_port, make_key

PROGRAM = """
import sys
from pathlib import Path
from appliance.replication.receive import ReceiveServer
with ReceiveServer(Path(sys.argv[1]), port=int(sys.argv[2]), floor_bytes=0) as server:
    print("ready", flush=True)
    sys.stdin.read()
"""


class Receiver:
    """Root, host key and one sender «cabinet»; ``start`` in this process or, killable, in another."""

    def __init__(self, folder: Path, *, quota_bytes: int = 1 << 30, **server) -> None:
        self.root = folder / "receive"
        self.folder = folder
        self.host_key = make_host_key(self.root)
        self.senders = Senders(self.root)
        self.port = free_port()
        self.keys: dict[str, Secret] = {}
        self._options = {"floor_bytes": 0, **server}
        self.server: ReceiveServer | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.opened: list[BoxTarget] = []
        self.add("cabinet", quota_bytes)

    def add(self, sender_id: str, quota_bytes: int = 1 << 30) -> None:
        path = self.folder / f"key-{sender_id}"
        public = make_key(path)
        self.keys[sender_id] = Secret(path.read_bytes())
        self.senders.add(sender_id, name=sender_id, public_key=public, quota_bytes=quota_bytes)

    def place(self, sender_id: str = "cabinet") -> Path:
        return self.root / "senders" / sender_id

    def start(self) -> Self:
        self.server = ReceiveServer(self.root, port=self.port, **self._options).start()
        return self

    def start_process(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.root), str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent.parent,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self._ended()

    def _ended(self) -> None:
        if self.process is not None:
            for each in (self.process.stdin, self.process.stdout):
                if each is not None:
                    each.close()
            self.process.wait(30)
            self.process = None

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None
        if self.process is not None:
            self.process.terminate()
        self._ended()

    def target(self, sender_id: str = "cabinet", *, key: str | None = None, **more) -> BoxTarget:
        account = BoxAccount(
            host="127.0.0.1",
            port=more.pop("port", self.port),
            sender=sender_id,
            host_key=more.pop("host_key", self.host_key),
            private_key=self.keys[key or sender_id],
        )
        target = BoxTarget(account, **more)
        self.opened.append(target)
        return target

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        for each in self.opened:
            each.close()
        self.stop()


def wait_until(condition, timeout_s: float = 60.0) -> None:
    """Return once ``condition()`` holds; fail after so long."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came to it"
        time.sleep(0.02)
