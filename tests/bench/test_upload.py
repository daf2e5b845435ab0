"""Uploads: 5,000 small files from a real browser beside one request a file; 2 GB with a hash beside copyparty's PUT.

``ARMOIRE_BENCH_SCALE=0.1`` makes a tenth. copyparty is measured where ``python -m copyparty`` is installed, or
``ARMOIRE_COPYPARTY`` names a Python that has it.
"""

import http.client
import os
import socket
import ssl
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from blake3 import blake3

from tests.bench.report import record
from tests.support import small_disk
from tests.support.browser import chromium
from tests.support.browser import window as open_window
from tests.support.upload_server import PART, UploadServer

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
SCALE = float(os.environ.get("ARMOIRE_BENCH_SCALE", "1"))
MANY = max(200, int(5_000 * SCALE))
SMALL = 20_000
LARGE = max(64_000_000, int(2_000_000_000 * SCALE))
PIECE = 4_000_000
ROUNDS = 3
ROOM = 3 * LARGE + MANY * SMALL * 2 + 1_000_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    """A served box; for root on a disk in memory, to keep the disk out (measured-web.md B)."""
    folder = tmp_path_factory.mktemp("upload")
    with small_disk.mounted(folder, ROOM) if os.geteuid() == 0 else nullcontext():
        made = UploadServer(folder)
        yield made
        made.close()


#: One request a file, six at a time: what a page does without a batch.
ONE_EACH = """async ([count, bytes]) => {
  const waiting = Array.from({ length: count }, (_, place) => place);
  const body = new Blob([new Uint8Array(bytes)]);
  const began = performance.now();
  await Promise.all(Array.from({ length: 6 }, async () => {
    while (waiting.length) {
      const place = waiting.pop();
      const answer = await fetch("/api/v1/disk/documents/uploads", { method: "POST", body, headers: {
        "tus-resumable": "1.0.0", "content-type": "application/offset+octet-stream",
        "upload-length": String(bytes), "upload-metadata": `path ${btoa(`one/${place}.bin`)}` } });
      if (answer.status !== 201) throw new Error(await answer.text());
    }
  }));
  return performance.now() - began;
}"""
#: The page's own way, from its file chooser on.
IN_BATCHES = """async (input) => {
  const began = performance.now();
  input.dispatchEvent(new Event("change"));
  const title = () => document.querySelector(".sending-title")?.textContent ?? "";
  while (!title().includes("Tout est")) await new Promise((resolve) => { setTimeout(resolve, 10); });
  return performance.now() - began;
}"""


def test_many_small_files_from_a_browser(site: UploadServer, tmp_path: Path) -> None:
    """At least ten times as fast as one request a file."""
    tree = tmp_path / "examen"
    tree.mkdir()
    for place in range(MANY):
        (tree / f"coupe {place:05}.dcm").write_bytes(os.urandom(SMALL))
    fewer = max(100, MANY // 10)
    with chromium() as browser:
        window = open_window(browser, site)
        window.goto("/disk/documents")
        window.wait_for_selector("[data-upload-ready]")
        one_each = fewer / window.evaluate(ONE_EACH, [fewer, SMALL]) * 1000
        chooser = window.locator("[data-upload] input[webkitdirectory]")
        # The event the chooser fires is kept back until the clock runs.
        window.evaluate(
            "addEventListener('change', (event) => { if (event.isTrusted) event.stopImmediatePropagation(); }, true)"
        )
        chooser.set_input_files(str(tree))
        batches = MANY / chooser.evaluate(IN_BATCHES) * 1000
    assert len(list((site.folder / "examen").iterdir())) == MANY
    ratio = batches / one_each
    details = {"files_s": round(batches), "one_each_files_s": round(one_each), "files": MANY}
    row = record(
        "upload: small files in a browser, × one request each", ratio, 10, ratio >= 10, details
    )
    assert row.ok


def _line(port: int, is_tls: bool) -> http.client.HTTPConnection:
    if not is_tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=120, context=context)


def _send(
    port: int, method: str, path: str, headers: dict[str, str], pieces: Iterator[bytes]
) -> tuple[float, int]:
    """Return MB/s of one body over TLS, and the status."""
    line = _line(port, is_tls=True)
    line.connect()
    began = time.perf_counter()
    line.putrequest(method, path)
    for name, value in (headers | {"content-length": str(LARGE)}).items():
        line.putheader(name, value)
    line.endheaders()
    for piece in pieces:
        line.send(piece)
    answer = line.getresponse()
    answer.read()
    taken = time.perf_counter() - began
    line.close()
    return LARGE / 1e6 / taken, answer.status


def test_a_large_file_with_its_hash(site: UploadServer, tmp_path: Path) -> None:
    """At least as fast as copyparty's PUT, over TLS both, hashed both; three rounds in turn."""
    peer_folder = site.settings.data.parent / "peer"
    peer = _copyparty(tmp_path, peer_folder)
    ours, theirs = [], []
    block = os.urandom(PIECE)

    def same() -> Iterator[bytes]:
        left = LARGE
        while left:
            yield block[:left] if left < PIECE else block
            left -= min(left, PIECE)

    made = blake3()
    for piece in same():
        made.update(piece)
    try:
        for number in range(ROUNDS):
            told = ",".join(
                f"{name} {b64encode(value.encode()).decode()}"
                for name, value in (
                    ("filename", f"film {number}.avi"),
                    ("hash", f"blake3:{made.hexdigest()}"),
                )
            )
            headers = site.headers | PART | {"upload-length": str(LARGE), "upload-metadata": told}
            speed, status = _send(
                site.port, "POST", "/api/v1/disk/documents/uploads", headers, same()
            )
            assert status == 201
            ours.append(speed)
            (site.folder / f"film {number}.avi").unlink()
            if peer is not None:
                speed, status = _send(peer[1], "PUT", f"/film{number}.avi", {}, same())
                assert status in {200, 201}
                theirs.append(speed)
                for each in peer_folder.glob("*.avi"):
                    each.unlink()
    finally:
        if peer is not None:
            peer[0].terminate()
            peer[0].wait()
    mine = statistics.median(ours)
    if not theirs:
        record("upload: 2 GB with hash, MB/s (no copyparty here)", mine, 0, True, {})
        return
    ratio = mine / statistics.median(theirs)
    details = {"MB_s": round(mine), "copyparty_MB_s": round(statistics.median(theirs))}
    row = record("upload: 2 GB with hash, × copyparty's PUT", ratio, 1, ratio >= 1, details)
    assert row.ok


def _copyparty(tmp_path: Path, folder: Path) -> tuple[subprocess.Popen[bytes], int] | None:
    python = os.environ.get("ARMOIRE_COPYPARTY", sys.executable)
    there = subprocess.run([python, "-c", "import copyparty"], capture_output=True, check=False)
    if there.returncode != 0:
        return None
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    started = subprocess.Popen(
        [
            python,
            "-m",
            "copyparty",
            "-q",
            "--wram",  # it refuses a disk in memory otherwise
            "-i",
            "127.0.0.1",
            "-p",
            str(port),
            "-v",
            f"{folder}::rwmd",
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            line = _line(port, is_tls=True)
            line.request("GET", "/")
            line.getresponse().read()
            line.close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return started, port
