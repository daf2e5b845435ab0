"""Uploads against a real server that is killed at random points, and by a client nobody here wrote."""

import json
import random
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path

import pytest
from tusclient.client import TusClient

from appliance.disk.batch import pack
from tests.support.upload_server import PART, TUS, UploadServer

pytestmark = pytest.mark.integration

SIZE = 24_000_000
KILLS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    """A box, a doctor signed in, an empty share."""
    made = UploadServer(tmp_path_factory.mktemp("upload"))
    yield made
    made.close()


def packed(path: str) -> str:
    return urlsafe_b64encode(path.encode()).decode().rstrip("=")


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_tuspy_uploads_and_resumes(server: UploadServer, tmp_path: Path) -> None:
    """The reference client of tus: in chunks, with checksums, and going on with what an earlier one left."""
    data = random.Random(1).randbytes(5_000_000)
    place = tmp_path / "radio.dcm"
    place.write_bytes(data)
    client = TusClient(f"{server.address}/api/v1/disk/documents/uploads", headers=server.headers)

    with place.open("rb") as stream:

        def uploader(**more: object):
            return client.uploader(
                file_stream=stream,
                chunk_size=1_000_000,
                metadata={"filename": "radio.dcm"},
                verify_tls_cert=False,
                upload_checksum=True,
                **more,
            )

        first = uploader()
        first.upload(stop_at=2_000_000)
        assert not (server.folder / "radio.dcm").exists()
        again = uploader(url=first.url)
        assert again.offset == 2_000_000
        again.upload()
    assert (server.folder / "radio.dcm").read_bytes() == data


def test_a_damaged_chunk_is_forgotten_and_sent_again(server: UploadServer) -> None:
    """460, the offset as before; then the right bytes."""
    name = b64encode(b"scan.tif").decode()
    status, headers, _ = server.ask(
        "POST",
        "/api/v1/disk/documents/uploads",
        **TUS,
        upload_length="10",
        upload_metadata=f"filename {name}",
    )
    assert status == 201
    place = headers["location"]
    right = b64encode(sha256(b"12345").digest()).decode()
    told = PART | {"upload-checksum": f"sha256 {right}"}
    assert server.ask("PATCH", place, b"12x45", **told, upload_offset="0")[0] == 460
    assert server.ask("HEAD", place, **TUS)[1]["upload-offset"] == "0"
    assert server.ask("PATCH", place, b"12345", **told, upload_offset="0")[0] == 204
    wrong = PART | {"upload-checksum": "md5 abc"}
    assert server.ask("PATCH", place, b"67890", **wrong, upload_offset="5")[0] == 422
    assert server.ask("PATCH", place, b"67890", **PART, upload_offset="5")[0] == 204
    assert (server.folder / "scan.tif").read_bytes() == b"1234567890"


def test_an_upload_outlives_a_server_that_is_killed(server: UploadServer) -> None:
    """Killed at random points of the stream; what the server says has arrived is what lies there, and it ends whole."""
    dice = random.Random(time.time_ns())
    data = dice.randbytes(SIZE)
    name = b64encode(b"irm.dcm").decode()
    _, headers, _ = server.ask(
        "POST",
        "/api/v1/disk/documents/uploads",
        **TUS,
        upload_length=str(SIZE),
        upload_metadata=f"filename {name},hash {b64encode(b'sha256:' + sha256(data).hexdigest().encode()).decode()}",
    )
    place = headers["location"]
    at = 0
    for _ in range(KILLS):
        kill_at = at + dice.randrange((SIZE - at) // 2)
        at = _send_until_killed(server, place, data, at, kill_at)
        server.start()
        told = int(server.ask("HEAD", place, **TUS)[1]["upload-offset"])
        assert not (server.folder / "irm.dcm").exists()
        assert told <= SIZE
        at = told
    part = next((server.folder / ".armoire" / "parts").iterdir())
    assert part.read_bytes() == data[:at]
    status, _, _ = server.ask("PATCH", place, data[at:], **PART, upload_offset=str(at))
    assert status == 204
    assert (server.folder / "irm.dcm").read_bytes() == data
    assert list((server.folder / ".armoire" / "parts").iterdir()) == []


def _send_until_killed(server: UploadServer, place: str, data: bytes, at: int, kill_at: int) -> int:
    connection = server.connection()
    try:
        connection.putrequest("PATCH", place)
        for name, value in (server.headers | PART).items():
            connection.putheader(name, value)
        connection.putheader("upload-offset", str(at))
        connection.putheader("content-length", str(len(data) - at))
        connection.endheaders()
        while at < kill_at:
            connection.send(data[at : min(at + 262_144, kill_at)])
            at = min(at + 262_144, kill_at)
        server.kill()
    finally:
        connection.close()
    return at


def test_a_batch_that_is_killed_leaves_whole_files_only(server: UploadServer) -> None:
    """Killed while 1,500 files come or get their names: each is whole or not there; sent again, all are there."""
    files = {f"série/coupe {place}.dcm": b"%d|" % place * 2000 for place in range(1500)}
    body = pack([({"path": packed(name), "size": len(each)}, each) for name, each in files.items()])
    dice = random.Random(time.time_ns())
    for _ in range(KILLS):
        killer = threading.Timer(dice.uniform(0.05, 0.8), server.kill)
        killer.start()
        with suppress(OSError, HTTPException):
            server.ask("POST", "/api/v1/disk/documents/batch", body)
        killer.join()
        for each in (server.folder / "série").glob("*"):
            assert each.read_bytes() == files[f"série/{each.name}"]
        server.start()
    status, _, answer = server.ask("POST", "/api/v1/disk/documents/batch", body)
    assert status == 200
    codes = {each.get("error", {}).get("code", "") for each in json.loads(answer)["files"]}
    assert codes <= {"", "disk.name-taken"}
    assert {each.name for each in (server.folder / "série").iterdir()} == {
        name.partition("/")[2] for name in files
    }
