"""WebDAV of a real `armoire serve`, asked by programs no one here wrote."""

import base64
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import Kind
from appliance.clock import utc_now
from appliance.disk import bin as bins
from tests.support.armoire import until
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
            carrying = threading.Thread(target=self._carry, args=(near, far))
            pairs.append(carrying)
            carrying.start()
        for each in pairs:
            each.join()

    @staticmethod
    def _carry(near: socket.socket, far: ssl.SSLSocket) -> None:
        """Pass both ways on, in one thread: OpenSSL lets no two use a connection at a time."""
        with near, far, suppress(OSError):
            while True:
                ready = [far] if far.pending() else select.select([near, far], [], [])[0]
                for one in ready:
                    far.setblocking(one is near)
                    try:
                        data = one.recv(65536)
                    except ssl.SSLWantReadError:
                        continue  # a ticket, and nothing to pass on
                    if not data:
                        return
                    (far if one is near else near).sendall(data)


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
    """Debian's litmus, 104 of 104: four suites over TLS, and «http», which it skips there.

    That one asks for «100 Continue»; it speaks through a relay that adds the TLS.
    """
    passed, said = litmus(box, box.url, "basic copymove props locks", tmp_path)
    with Relay(box.port) as port:
        url = f"http://127.0.0.1:{port}/dav/documents/"
        waited, said_too = litmus(box, url, "http", tmp_path)
    print(said, said_too)
    assert passed + waited == 104, said + said_too
    # The server's parser cuts off what follows a «#» before we see it; no program sends one.
    assert re.findall(r"(\w+)\.* WARNING", said + said_too) == ["delete_fragment"], said + said_too
    assert "SKIPPED" not in said + said_too


def rclone(box: DavBox, *argv: str) -> subprocess.CompletedProcess[str]:
    """Debian's rclone as a client; it gets the password as it wants it, by its environment."""
    hidden = subprocess.run(
        ["rclone", "obscure", box.password], capture_output=True, text=True, check=True
    ).stdout.strip()
    return subprocess.run(
        ["rclone", *argv, "--no-check-certificate", "--config", "/dev/null", "--retries", "1"],
        env={
            "PATH": os.environ["PATH"],
            "RCLONE_CONFIG_BOX_TYPE": "webdav",
            "RCLONE_CONFIG_BOX_URL": box.url,
            "RCLONE_CONFIG_BOX_VENDOR": "owncloud",  # so that it sends the files' times
            "RCLONE_CONFIG_BOX_USER": box.doctor.login,
            "RCLONE_CONFIG_BOX_PASS": hidden,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_rclone_sends_a_tree_and_finds_the_same_again(box, tmp_path):
    """Names of every kind, empty files, a large one, times to the second; moved, copied and deleted there."""
    here, back = tmp_path / "here", tmp_path / "back"
    (here / "été 2026" / "a & b" / "#1 100%").mkdir(parents=True)
    (here / "été 2026" / "œdème – compte rendu (1).txt").write_text("bonjour")
    (here / "été 2026" / "a & b" / "x;y=z,[1] +é'.bin").write_bytes(os.urandom(300_000))
    (here / "été 2026" / "a & b" / "#1 100%" / "empty").write_bytes(b"")
    (here / "large.bin").write_bytes(os.urandom(9_000_000))
    os.utime(here / "large.bin", (1_700_000_000, 1_700_000_000))
    sent = rclone(box, "copy", str(here), "box:tree")
    assert sent.returncode == 0, sent.stderr
    assert int((box.folder / "tree" / "large.bin").stat().st_mtime) == 1_700_000_000
    assert (box.folder / "tree" / "large.bin").stat().st_mode & 0o777 == 0o660
    moved = rclone(box, "moveto", "box:tree/été 2026", "box:tree/hiver")
    assert moved.returncode == 0, moved.stderr
    copied = rclone(box, "copyto", "box:tree/large.bin", "box:tree/hiver/large.bin")
    assert copied.returncode == 0, copied.stderr
    got = rclone(box, "copy", "box:tree", str(back))
    assert got.returncode == 0, got.stderr
    (here / "été 2026").rename(here / "hiver")
    (here / "hiver" / "large.bin").write_bytes((here / "large.bin").read_bytes())
    assert tree(back) == tree(here)
    gone = rclone(box, "purge", "box:tree")
    assert gone.returncode == 0, gone.stderr
    assert not (box.folder / "tree").exists()
    with box.database.read() as connection:
        kept = bins.items(connection, box.share.id)
    # The tree is in the bin whole; what it was made through left nothing else there.
    assert [
        (each.path, each.kind, each.files, each.door) for each in kept if b"tree" in each.path
    ] == [(b"tree", "folder", 5, "dav")]


def tree(root: Path) -> dict[str, bytes]:
    """Every file beneath a folder."""
    return {
        str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()
    }


def test_a_broken_line_leaves_nothing_half(box):
    """Half a file is no file: neither under its name nor as a part, and the old content stays."""
    (box.folder / "report.txt").write_bytes(b"the old one")
    parts = box.folder / ".armoire" / "parts"
    head = "".join(f"{name}: {value}\r\n" for name, value in box.credentials.items())
    for length in ("Content-Length: 5000000", "Transfer-Encoding: chunked"):
        line = box.line()
        line.connect()
        line.sock.sendall(
            f"PUT /dav/documents/report.txt HTTP/1.1\r\nHost: x\r\n{head}{length}\r\n\r\n".encode()
        )
        line.sock.sendall(b"3000\r\n" + b"x" * 0x3000 + b"\r\n")
        until(lambda: list(parts.glob("*")), 20)
        line.close()
        until(lambda: not list(parts.glob("*")), 20)
    assert (box.folder / "report.txt").read_bytes() == b"the old one"


def test_macos_sends_in_chunks_and_says_the_length_elsewhere(box):
    """Finder's way: the length is in a header of its own; one that does not come true is refused."""
    data = os.urandom(200_000)

    def chunks():
        for at in range(0, len(data), 7_000):
            yield data[at : at + 7_000]

    for length, status in ((len(data), 201), (len(data) + 1, 400)):
        line = box.line()
        line.request(
            "PUT",
            f"/dav/documents/finder-{length}.bin",
            body=chunks(),
            headers=box.credentials | {"X-Expected-Entity-Length": str(length)},
            encode_chunked=True,
        )
        assert line.getresponse().status == status
        line.close()
    assert (box.folder / f"finder-{len(data)}.bin").read_bytes() == data
    assert not (box.folder / f"finder-{len(data) + 1}.bin").exists()


def test_no_name_of_a_document_reaches_the_log(tmp_path):
    """What wsgidav would write down about a refused or failed request stays out (beam 7)."""
    with DavBox(tmp_path) as one:
        (one.folder / "Dupont.txt").write_bytes(b"x")
        here = "/dav/documents/Dupont.txt"
        assert one.ask("PUT", "/dav/documents/Dupont%3F.txt", b"x").status == 403
        assert one.ask("MKCOL", here).status == 405
        assert one.ask("PROPFIND", here, b"<x", Depth="0").status == 400
        assert one.ask("PROPPATCH", here, b"<Dupont").status == 400
        assert one.ask("MOVE", here, Destination="https://elsewhere/Dupont").status == 502
        shutil.rmtree(one.folder / ".armoire", ignore_errors=True)
        (one.folder / ".armoire").write_bytes(b"in the way")  # a mistake nobody foresaw
        assert one.ask("PUT", here, b"y").status == 500
        one.process.terminate()
        said = one.process.stderr.read() + one.process.stdout.read()
    assert b"dav.unforeseen kind=" in said
    assert b"Dupont" not in said
    assert b"elsewhere" not in said


def test_a_password_that_is_revoked_during_an_upload_brings_nothing_in(box):
    """What takes long is asked for again at its end."""
    secret = box.make(Kind.DAV)
    pair = base64.b64encode(f"{box.doctor.login}:{secret}".encode()).decode()
    line = box.line()
    line.putrequest("PUT", "/dav/documents/late.bin")
    line.putheader("Authorization", f"Basic {pair}")
    line.putheader("Content-Length", "2000")
    line.endheaders(b"x" * 1000)
    until(lambda: list((box.folder / ".armoire" / "parts").glob("*")), 20)
    with box.database.write() as connection:
        (newest, *_) = app_passwords.living(connection, box.doctor.id, now=utc_now())
        app_passwords.revoke(connection, box.doctor.id, newest.id, now=utc_now())
    line.send(b"x" * 1000)
    assert line.getresponse().status == 403
    line.close()
    assert not (box.folder / "late.bin").exists()
