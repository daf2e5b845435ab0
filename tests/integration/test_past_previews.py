"""Files of snapshots are looked at as files of shares are: in the same sandbox, by the right to open them."""

import io
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db import shares
from appliance.model import Role, Source
from appliance.packed import pack_path, unpack_path
from appliance.policy.share_rights import Right
from appliance.web.pages import preview_fetched
from appliance.web.pages.preview_fetched import Fetched
from appliance.web.security import COOKIE
from tests.support import dicoms, share_site
from tests.support.box import Box
from tests.support.preview import PreviewProcess
from tests.support.reading import ReaderProcess
from tests.support.web_client import at_the_practice

pytestmark = pytest.mark.integration


@dataclass
class Site:
    """A share with two nights behind it, everything deleted or changed since, and another source."""

    box: Box
    folder: Path
    source: Source
    stranger: Source
    client_as: Callable[[Role], TestClient]

    @property
    def first(self) -> int:
        return min(each.id for each in self.box.snapshots(self.source))

    @property
    def newest(self) -> int:
        return max(each.id for each in self.box.snapshots(self.source))

    def stored(self, name: str) -> str:
        return pack_path(f"{self.folder}/{name}".lstrip("/").encode())

    @property
    def top(self) -> str:
        return pack_path(str(self.folder).lstrip("/").encode())

    def count(self, event: str) -> int:
        with self.box.database.read() as connection:
            return connection.exec_driver_sql(
                "SELECT count(*) FROM ledger WHERE event = ?", (event,)
            ).scalar_one()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("past")
    folder = home / "documents"
    (folder / "scanner").mkdir(parents=True)
    Image.new("RGB", (300, 200), "red").save(folder / "photo.png")
    (folder / "note.txt").write_text("the first words")
    (folder / "odd.pdf").write_text("<html><script>alert(1)</script>")
    (folder / "kept.txt").write_text("kept")
    for number, (name, height) in enumerate({"c.dcm": 1.0, "a.dcm": 3.0, "b": 2.0}.items(), 1):
        data = dicoms.make(dicoms.ramp(32, 32), number=number, height_mm=height)
        dicoms.write(folder / "scanner" / name, data)
    (folder / "scanner" / "list.txt").write_text("no slice")
    box = Box(home / "data")
    source = box.add_share(folder, name="documents")
    box.night(source)
    Image.new("RGB", (300, 200), "blue").save(folder / "photo.png")
    (folder / "note.txt").unlink()
    for each in (folder / "scanner").iterdir():
        each.unlink()
    (folder / "scanner").rmdir()
    box.night(source)
    (folder / "kept.txt").unlink()
    other = home / "other"
    other.mkdir()
    (other / "secret.txt").write_text("another source's")
    stranger = box.add_share(other, name="other")
    box.night(stranger)
    with box.database.write() as connection:
        everybody = {
            role: share_site.add_person(
                connection, role, f"{role.value}.x", f"X {role.value}", language="en"
            )
            for role in (Role.OWNER, Role.ASSOCIATE, Role.SECRETARY, Role.TECHNICAL_ADMIN)
        }
        share = share_site.add_share(
            connection, box.settings, everybody[Role.OWNER], label="Documents", folder=folder
        )
        shares.grant(connection, share.id, {Right.SEE}, role=Role.SECRETARY, by=None, now=utc_now())
    with (
        ReaderProcess(box.settings),
        PreviewProcess(box.settings),
        at_the_practice(box.settings, box.database) as client,
    ):

        def client_as(role: Role) -> TestClient:
            with box.database.write() as connection:
                token = share_site.start_session(connection, everybody[role])
            client.cookies.set(COOKIE, token)
            return client

        yield Site(box, folder, source, stranger, client_as)
    box.close()


def colour(answer) -> tuple[int, ...]:
    assert answer.headers["content-type"] == "image/webp"
    assert "sandbox" in answer.headers["content-security-policy"]
    return Image.open(io.BytesIO(answer.content)).convert("RGB").getpixel((50, 50))


@pytest.mark.parametrize("door", ["share", "machine"])
def test_each_night_shows_its_own_picture(site: Site, door: str) -> None:
    """Red in the first, blue in the second; looking is written down once, as opening is."""
    client = site.client_as(Role.OWNER)
    event = "file.version-opened" if door == "share" else "file.open"
    before = site.count(event)
    for night, wanted in ((site.first, (254, 0, 0)), (site.newest, (0, 0, 254))):
        base = {
            "share": f"/preview/documents/at/{night}",
            "machine": f"/snapshots/{night}/preview",
        }[door]
        p = pack_path(b"photo.png") if door == "share" else site.stored("photo.png")
        assert client.get(f"{base}/info?p={p}").json()["kind"] == "image"
        found = colour(client.get(f"{base}/picture?p={p}"))
        assert all(abs(a - b) < 4 for a, b in zip(found, wanted, strict=True))
        again = client.get(f"{base}/picture?p={p}")
        tag = {"if-none-match": again.headers["etag"]}
        assert client.get(f"{base}/picture?p={p}", headers=tag).status_code == 304
    assert site.count(event) == before + 2


def test_a_text_and_a_lie_are_told_apart_and_slices_find_each_other(site: Site) -> None:
    """What was deleted since too; in the order slices lie in the body, one line in the journal."""
    client = site.client_as(Role.OWNER)
    base = f"/preview/documents/at/{site.first}"
    assert client.get(f"{base}/info?p={pack_path(b'note.txt')}").json()["text"] == "the first words"
    odd = client.get(f"{base}/picture?p={pack_path(b'odd.pdf')}", headers={"hx-request": "true"})
    assert odd.status_code == 415
    found = client.post(f"{base}/series?p={pack_path(b'scanner/a.dcm')}").json()
    assert [each["name"] for each in found["items"]] == ["c.dcm", "b", "a.dcm"]
    assert site.count("file.series-opened") == 1
    machine = f"/snapshots/{site.first}/preview"
    told = client.post(f"{machine}/fields?p={site.stored('scanner/a.dcm')}").json()
    assert {"label": "Patient", "value": "Dupont Émile"} in told["fields"]
    assert client.get(f"{machine}/pixels?p={site.stored('scanner/b')}").status_code == 200
    page = client.get(f"{base}?p={pack_path(b'note.txt')}").text
    assert "the first words" in page
    assert "As it was in the snapshot of" in page
    assert f"{base}?p={pack_path(b'odd.pdf')}" in page
    page = client.get(f"{machine}?p={site.stored('photo.png')}").text
    assert f'src="{machine}/picture?p={site.stored("photo.png")}' in page
    assert client.get(f"{base}/info?p={pack_path(b'never.txt')}").status_code == 404
    with site.box.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT subject || body FROM ledger WHERE subject LIKE 'snapshot:%'"
        )
        assert not any(
            site.stored(name)[-12:] in each for (each,) in rows for name in ("note.txt",)
        )


def test_a_file_that_is_too_large_is_not_fetched(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and nothing of it lies on the box's disk."""
    monkeypatch.setattr(preview_fetched, "LARGEST", 3)
    client = site.client_as(Role.OWNER)
    answer = client.get(
        f"/preview/documents/at/{site.first}/info?p={pack_path(b'kept.txt')}",
        headers={"hx-request": "true"},
    )
    assert answer.status_code == 415
    assert "too large" in answer.text


def test_who_asks_at_the_same_time_shares_one_fetch(site: Site) -> None:
    """Eight at once read a repository once, and the head of what is here is here."""
    fetched = Fetched(site.box.settings)
    asked = (site.source.id, site.first, unpack_path(site.stored("note.txt")))
    start = threading.Barrier(8)

    def look(_number: int) -> int:
        start.wait(30)
        return fetched.open(*asked)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(look, range(8)))
    found.append(fetched.head(*asked))
    try:
        assert len({os.fstat(each).st_ino for each in found}) == 1
    finally:
        for each in found:
            os.close(each)


def test_the_right_to_look_is_the_right_to_open(site: Site) -> None:
    """The secretary through her share only; the technical administrator through no door."""
    share = f"/preview/documents/at/{site.first}"
    machine = f"/snapshots/{site.first}/preview"
    parts = ("", "/info", "/picture", "/pixels", "/series", "/fields")

    def statuses(role: Role, base: str, p: str) -> set[int]:
        client = site.client_as(role)
        posted = ("/series", "/fields")
        return {
            client.request("POST" if part in posted else "GET", f"{base}{part}?p={p}").status_code
            for part in parts
        }

    dicom = b"scanner/a.dcm"
    assert statuses(Role.SECRETARY, share, pack_path(dicom)) == {200}
    assert statuses(Role.ASSOCIATE, machine, site.stored(dicom.decode())) == {200}
    assert statuses(Role.ASSOCIATE, share, pack_path(dicom)) == {404}
    for role in (Role.SECRETARY, Role.TECHNICAL_ADMIN):
        assert statuses(role, machine, site.stored(dicom.decode())) <= {403, 404}, role
    assert statuses(Role.TECHNICAL_ADMIN, share, pack_path(dicom)) == {404}
    foreign = max(each.id for each in site.box.snapshots(site.stranger))
    owner = site.client_as(Role.OWNER)
    for path, status in (
        (b"secret.txt", {404}),
        (b"../other/secret.txt", {422, 404}),
        (b"", {422}),
    ):
        for night in (foreign, site.first):
            got = owner.get(f"/preview/documents/at/{night}/info?p={pack_path(path)}").status_code
            assert got in status | {404}, (path, night)


def test_what_was_deleted_is_found_where_it_was(site: Site) -> None:
    """In the share's folder of today, and in a machine's folder of a night; with a way to each version."""
    client = site.client_as(Role.OWNER)
    page = client.get("/disk/documents/deleted").text
    for name in ("note.txt", "scanner", "kept.txt"):
        assert name in page, name
    assert "photo.png" not in page
    assert f"/preview/documents/at/{site.first}" in page
    assert (
        f"/preview/documents/at/{site.newest}" in page
    )  # «kept.txt»: seen in the last night still
    inner = client.get(f"/disk/documents/deleted?p={pack_path(b'scanner')}").text
    assert "a.dcm" in inner
    browse = f"/snapshots/{site.newest}/browse?p={site.top}"
    assert "note.txt" not in client.get(browse).text
    gone = client.get(f"{browse}&gone=1").text
    assert "note.txt" in gone
    assert f"/sources/{site.source.id}/history?p={site.stored('note.txt')}" in gone
    assert gone.index("photo.png") < gone.index("note.txt")
    first = client.get(browse.replace(f"/{site.newest}/", f"/{site.first}/") + "&gone=1").text
    assert "Nothing, as far as the snapshots go back." in first
    assert site.client_as(Role.TECHNICAL_ADMIN).get(f"{browse}&gone=1").status_code == 404
    assert site.client_as(Role.ASSOCIATE).get("/disk/documents/deleted").status_code == 404


def test_a_machines_file_has_the_page_of_versions_of_a_share_s(site: Site) -> None:
    """Look, open, download, restore; and who opened one, though no name is in the journal."""
    client = site.client_as(Role.OWNER)
    p = site.stored("photo.png")
    client.get(f"/snapshots/{site.first}/file?p={p}")
    page = client.get(f"/sources/{site.source.id}/history?p={p}").text
    assert "2 versions in the snapshots" in page
    assert f'data-look="/snapshots/{site.first}/preview"' in page
    assert f'action="/snapshots/{site.first}/picked"' in page
    assert "X owner" in page
    assert "opened an earlier version" in page
    gone = client.get(f"/sources/{site.source.id}/history?p={site.stored('note.txt')}").text
    assert "deleted since" in gone
    assert site.client_as(Role.SECRETARY).get(
        f"/sources/{site.source.id}/history?p={p}"
    ).status_code in {403, 404}


def test_a_folder_of_a_night_goes_home_as_a_zip(site: Site) -> None:
    """Of the length that was said; who may only look brings nothing back."""
    form = {"s": site.first, "p": pack_path(b"scanner")}
    assert site.client_as(Role.SECRETARY).post("/disk/documents/past", data=form).status_code == 403
    client = site.client_as(Role.OWNER)
    assert "Restore this folder" in client.get("/disk/documents/past", params=form).text
    zipped = client.get("/disk/documents/past.zip", params=form)
    assert len(zipped.content) == int(zipped.headers["content-length"])
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
        assert archive.testzip() is None
        inside = {each.rpartition("/")[2] for each in archive.namelist()}
        assert inside >= {"a.dcm", "b", "c.dcm", "list.txt"}
    assert not (site.folder / "scanner").exists()
