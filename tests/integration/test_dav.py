"""WebDAV of a real `armoire serve`, asked by programs no one here wrote."""

import os
import re
import socket
import ssl
import subprocess
import threading
from contextlib import suppress

import pytest

from tests.support.dav_box import DavBox

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with DavBox(tmp_path_factory.mktemp("dav")) as made:
        yield made


class Relay:
    """Listens without TLS on a free port of 127.0.0.1 and speaks TLS to the box."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def __enter__(self) -> int:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self.listening.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listening.close()

    def _serve(self) -> None:
        pairs = []
        while True:
            try:
                near, _ = self.listening.accept()
            except OSError:
                break
            far = self.context.wrap_socket(socket.create_connection(("127.0.0.1", self.to)))
            pumps = [
                threading.Thread(target=self._pump, args=each)
                for each in ((near, far), (far, near))
            ]
            pairs.append((near, far, *pumps))
            for each in pumps:
                each.start()
        for near, far, *pumps in pairs:
            for each in pumps:
                each.join()
            near.close()
            far.close()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def litmus(box: DavBox, url: str, tests: str, place) -> tuple[int, str]:
    """How many tests passed, and everything it said."""
    done = subprocess.run(
        ["litmus", "-k", url, box.doctor.login, box.password],
        cwd=place,
        env={"PATH": os.environ["PATH"], "TESTS": tests},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    figures = re.findall(r"of (\d+) tests run: (\d+) passed", done.stdout)
    return sum(int(passed) for _, passed in figures), done.stdout


def test_litmus_passes_whole(box, tmp_path):
    """Debian's litmus, 104 of 104 and no warning: four suites over TLS, and «http», which it skips there.

    That one asks for «100 Continue»; it speaks through a relay that adds the TLS.
    """
    passed, said = litmus(box, box.url, "basic copymove props locks", tmp_path)
    with Relay(box.port) as port:
        url = f"http://127.0.0.1:{port}/dav/documents/"
        waited, said_too = litmus(box, url, "http", tmp_path)
    print(said, said_too)
    assert passed + waited == 104, said + said_too
    assert "WARNING" not in said + said_too, said + said_too
    assert "SKIPPED" not in said + said_too
