"""Files out of real snapshots, as a browser gets them: real Borg, the real reader, real bytes."""

import io
import os
import random
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db import restore_sheets
from appliance.ledger import chain
from appliance.model import Outcome, Role, Snapshot
from appliance.packed import pack_path
from appliance.web.app import create_app
from appliance.web.pages.files import Openings
from appliance.web.security import COOKIE
from tests.support.box import Box
from tests.support.reading import ReaderProcess

pytestmark = pytest.mark.integration

PICTURE = random.Random(3).randbytes(2_500_000)
PAGE = b"<script>alert(1)</script>"


@dataclass
class Scene:
    """A box with one proven night, its reader, and a signed-in browser."""

    box: Box
    snapshot: Snapshot
    client: TestClient
    folder: Path

    def path(self, name: str | bytes) -> str:
        return pack_path(os.fsencode(self.folder / os.fsdecode(name)).lstrip(b"/"))

    def get(self, name: str | bytes, query: str = "", **headers: str):
        here = f"/snapshots/{self.snapshot.id}/file?p={self.path(name)}{query}"
        return self.client.get(
            here, headers={key.replace("_", "-"): v for key, v in headers.items()}
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One night of a share with a picture, a page, a letter and odd names."""
    home = tmp_path_factory.mktemp("box")
    folder = home / "partage"
    (folder / "Dupont Élise").mkdir(parents=True)
    (folder / "Dupont Élise" / "radio.jpg").write_bytes(PICTURE)
    (folder / "Dupont Élise" / "lettre.txt").write_text("Chère consœur,\n")
    (folder / "page.html").write_bytes(PAGE)
    (folder / "dessin.svg").write_bytes(b"<svg onload='alert(1)'/>")
    (folder / "vide").write_bytes(b"")
    (folder / 'nom "étrange"; x.pdf').write_bytes(b"%PDF-1.4")
    (folder / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"latin")
    box = Box(home / "data")
    snapshot = box.night(box.add_share(folder))
    with box.database.write() as connection:
        person = people.add(
            connection,
            login="claire.martin",
            name="Claire Martin",
            role=Role.OWNER,
            language="en",
            password_hash=None,
            now=utc_now() - timedelta(days=1),
        )
        token = sessions.start(
            connection, person.id, now=utc_now(), address="127.0.0.1", user_agent="tests"
        )
    client = TestClient(
        create_app(box.settings, box.database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin"},
        follow_redirects=False,
        client=("127.0.0.1", 50_000),  # at the practice
    )
    with ReaderProcess(box.settings), client:
        client.cookies.set(COOKIE, token)
        yield Scene(box, snapshot, client, folder)
    box.close()


def sheets(scene: Scene) -> list:
    with scene.box.database.read() as connection:
        return restore_sheets.newest(connection)


def test_a_file_comes_back_byte_for_byte_with_its_length(scene):
    """What the browser gets is what was backed up."""
    answer = scene.get("Dupont Élise/radio.jpg")

    assert answer.status_code == 200
    assert answer.content == PICTURE
    assert answer.headers["content-length"] == str(len(PICTURE))
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=1000000-1999999", 1_000_000, 1_999_999),
        ("bytes=2499999-", 2_499_999, 2_499_999),
        ("bytes=2400000-99999999", 2_400_000, 2_499_999),
        ("bytes=-100", 2_499_900, 2_499_999),
        ("bytes=-99999999", 0, 2_499_999),
    ],
)
def test_a_range_is_exactly_the_bytes_asked_for(scene, wanted, first, last):
    """A cut download goes on, a viewer jumps."""
    answer = scene.get("Dupont Élise/radio.jpg", range=wanted)

    assert answer.status_code == 206
    assert answer.content == PICTURE[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(PICTURE)}"


@pytest.mark.parametrize("wanted", ["bytes=2500000-", "bytes=9999999-99999999"])
def test_a_range_behind_the_end_is_416_and_says_the_size(scene, wanted):
    """RFC 9110 15.5.17."""
    answer = scene.get("Dupont Élise/radio.jpg", range=wanted)

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(PICTURE)}"


@pytest.mark.parametrize("wanted", ["bytes=5-1", "bytes=0-1,5-6", "lines=1-2", "bytes=-", "x"])
def test_a_range_that_means_nothing_gets_the_whole(scene, wanted):
    """As RFC 9110 14.2 allows."""
    answer = scene.get("Dupont Élise/lettre.txt", range=wanted)

    assert answer.status_code == 200
    assert answer.text == "Chère consœur,\n"


def test_a_range_of_another_version_gets_the_whole(scene):
    """If-Range with a strange ETag never glues two versions together."""
    etag = scene.get("Dupont Élise/radio.jpg", range="bytes=0-1").headers["etag"]

    assert scene.get("Dupont Élise/radio.jpg", range="bytes=0-1", if_range=etag).status_code == 206
    other = scene.get("Dupont Élise/radio.jpg", range="bytes=0-1", if_range='"other"')
    assert other.status_code == 200


@pytest.mark.parametrize("name", ["page.html", "dessin.svg"])
def test_what_could_run_in_our_name_is_only_ever_downloaded(scene, name):
    """A document of a patient is foreign: no script, no frame, no sniffing."""
    answer = scene.get(name)

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_odd_names_make_whole_headers(scene):
    """Quotes, accents, bytes that are no UTF-8; an empty file."""
    quoted = scene.get('nom "étrange"; x.pdf').headers["content-disposition"]
    assert quoted.startswith("inline; filename=\"nom __trange_; x.pdf\"; filename*=UTF-8''nom%20")
    assert scene.get(b"caf\xe9.txt").content == b"latin"
    empty = scene.get("vide")
    assert (empty.status_code, empty.headers["content-length"], empty.content) == (200, "0", b"")
    head = scene.client.head(f"/snapshots/{scene.snapshot.id}/file?p={scene.path('vide')}")
    assert head.status_code == 200


def test_a_file_that_is_not_in_the_snapshot_is_not_there(scene):
    """Whatever lies at that path on the box itself."""
    here = f"/snapshots/{scene.snapshot.id}/file?p="
    for path in (b"etc/passwd", b"../../etc/passwd", b"", os.fsencode(scene.folder)[1:]):
        assert scene.client.get(here + pack_path(path)).status_code == 404, path


def openings(scene: Scene) -> list:
    with scene.box.database.read() as connection:
        return chain.newest(connection, event="file.open", limit=1000)


@pytest.mark.parametrize("wanted", ["bytes=0-", "bytes=1-", "bytes=-3"])
def test_opening_is_written_down_once_without_the_name_wherever_it_begins(scene, wanted):
    """Who opened what is known to the practice, not readable in the journal."""
    scene.client.app.state.openings = Openings()
    before = len(openings(scene))

    for _ in range(3):
        scene.get("Dupont Élise/lettre.txt", range=wanted)

    found = openings(scene)
    assert len(found) == before + 1
    assert found[0].actor.startswith("person:")
    assert "lettre" not in str(found[0].body)


def test_a_download_leaves_a_restore_sheet_and_a_look_does_not(scene):
    """Every restore has its sheet (SAV-16)."""
    before = len(sheets(scene))
    scene.get("Dupont Élise/lettre.txt")
    assert len(sheets(scene)) == before

    answer = scene.get("Dupont Élise/lettre.txt", "&download=1")

    assert answer.headers["content-disposition"].startswith("attachment")
    sheet = sheets(scene)[0]
    assert (sheet.files, sheet.destination, sheet.check) == (1, "browser", Outcome.PROVEN)
    page = scene.client.get(f"/restores/{sheet.id}").text
    for said in ("Claire Martin", "lettre.txt", "Date of the backup", "compared, all right"):
        assert said in page


def test_many_files_come_as_one_zip_of_the_promised_length(scene):
    """The browser shows how far it is; every file is whole; one sheet."""
    data = {"p": [scene.path("Dupont Élise"), scene.path("page.html")], "do": "zip"}
    answer = scene.client.post(f"/snapshots/{scene.snapshot.id}/picked", data=data)

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.read("Dupont Élise/radio.jpg") == PICTURE
        assert archive.read("page.html") == PAGE
    assert sheets(scene)[0].files == 3


def test_without_a_worker_the_page_says_so(scene, tmp_path):
    """Nobody is there to open snapshots: try again, not an error of ours."""
    from dataclasses import replace

    moved = replace(scene.box.settings, data=tmp_path)
    app = create_app(replace(moved), scene.box.database)
    with TestClient(
        app, base_url="https://testserver", follow_redirects=False, client=("127.0.0.1", 50_000)
    ) as client:
        client.cookies.set(COOKIE, scene.client.cookies[COOKIE])
        answer = client.get(f"/snapshots/{scene.snapshot.id}/file?p={scene.path('vide')}")

    assert answer.status_code == 503
    assert "does not answer" in answer.text
