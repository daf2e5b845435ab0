"""Looking at files through the web: who may, what is written down, what never reaches the browser."""

import io
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings
from tests.support import dicoms
from tests.support.preview import PreviewProcess


def packed(path: str | bytes) -> str:
    raw = path.encode() if isinstance(path, str) else path
    return urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.fixture
def share(database: Database, tmp_path: Path, person_of: Callable[[Role], Person]) -> Share:
    """A share on which the owner may do all, the secretary see, and the associate only add."""
    folder = tmp_path / "documents"
    (folder / "scanner").mkdir(parents=True)
    Image.new("RGB", (300, 200), "red").save(folder / "photo.jpg")
    (folder / "note.txt").write_text("Une <b>note</b>")
    (folder / "odd.pdf").write_text("<html><script>alert(1)</script>")
    (folder / "out.jpg").symlink_to("photo.jpg")
    heights = {"c.dcm": 1.0, "a.dcm": 3.0, "b": 2.0}
    for number, (name, height) in enumerate(heights.items(), 1):
        data = dicoms.make(dicoms.ramp(32, 32), number=number, height_mm=height)
        dicoms.write(folder / "scanner" / name, data)
    other = dicoms.make(dicoms.ramp(32, 32), series="1.2.840.9.2", number=1)
    dicoms.write(folder / "scanner" / "other.dcm", other)
    (folder / "scanner" / "list.txt").write_text("no slice")
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        for role, rights in (
            (Role.OWNER, ALL),
            (Role.SECRETARY, {Right.SEE}),
            (Role.ASSOCIATE, {Right.ADD}),
        ):
            shares.grant(connection, made.id, rights, role=role, by=None, now=utc_now())
    return made


@pytest.fixture
def maker(settings: Settings) -> Iterator[PreviewProcess]:
    with PreviewProcess(settings) as process:
        yield process


def test_a_picture_is_shown_in_a_sandbox_and_written_down_once(owner, share, maker, database):
    """As any opening: who, what, when; asking again within minutes is the same one."""
    info = owner.get(f"/preview/documents/info?p={packed('photo.jpg')}")
    assert info.json()["kind"] == "image"
    for side in (256, 1024):
        answer = owner.get(f"/preview/documents/picture?p={packed('photo.jpg')}&side={side}")
        assert answer.headers["content-type"] == "image/webp"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert max(Image.open(io.BytesIO(answer.content)).size) <= 300
    again = owner.get(
        f"/preview/documents/picture?p={packed('photo.jpg')}",
        headers={"if-none-match": answer.headers["etag"]},
    )
    assert again.status_code == 304
    assert _count(database, "file.opened") == 1


def _count(database: Database, event: str) -> int:
    with database.read() as connection:
        return connection.exec_driver_sql(
            "SELECT count(*) FROM ledger WHERE event = ?", (event,)
        ).scalar_one()


def test_a_kept_preview_is_given_without_the_maker_and_forgotten_with_the_content(
    owner, share, settings
):
    """A new content is a new picture; rights are asked all the same."""
    address = f"/preview/documents/picture?p={packed('photo.jpg')}"
    with PreviewProcess(settings):
        first = owner.get(address).content
    assert owner.get(address).content == first
    Image.new("RGB", (300, 200), "blue").save(share.folder / "photo.jpg")
    assert owner.get(address).status_code == 503
    with PreviewProcess(settings):
        assert owner.get(address).content != first
    assert all(each.stat().st_mode & 0o077 == 0 for each in settings.previews.glob("*/*"))


def test_who_may_not_see_the_share_sees_no_preview(client_as, share, maker, database):
    """Adding is not seeing; no role but by the share; the technical administrator never."""
    addresses = [
        f"/preview/documents{part}?p={packed('scanner/a.dcm')}"
        for part in ("", "/info", "/picture", "/pixels", "/series", "/fields")
    ]
    posted = ("/series", "/fields")
    owner = client_as(Role.OWNER)
    for address in addresses:
        is_posted = any(f"{part}?" in address for part in posted)
        assert owner.request("POST" if is_posted else "GET", address).status_code == 200
    for role, status in (
        (Role.ASSOCIATE, 403),
        (Role.LOCUM, 404),
        (Role.TECHNICAL_ADMIN, 404),
    ):
        client = client_as(role)
        for address in addresses:
            is_posted = any(f"{part}?" in address for part in posted)
            answer = client.request("POST" if is_posted else "GET", address)
            assert answer.status_code == status, (role, address)
    assert client_as(Role.SECRETARY).get(addresses[1]).status_code == 200


def test_slices_come_in_the_order_they_lie_in_the_body(owner, share, maker, database):
    """Whatever they are called; other series and other files stay out; one line in the ledger for all."""
    answer = owner.post(f"/preview/documents/series?p={packed('scanner/a.dcm')}").json()
    assert [each["name"] for each in answer["items"]] == ["c.dcm", "b", "a.dcm"]
    assert answer["at"] == 2
    assert _count(database, "file.series-opened") == 1
    owner.get(f"/preview/documents/picture?p={answer['items'][0]['path']}")
    assert _count(database, "file.opened") == 0
    alone = owner.post(f"/preview/documents/series?p={packed('scanner/other.dcm')}").json()
    assert [each["name"] for each in alone["items"]] == ["other.dcm"]


def test_windows_are_named_in_the_reader_s_language_and_grey_values_come_plain(owner, share, maker):
    """A browser without gzip gets them too."""
    address = f"?p={packed('scanner/a.dcm')}"
    info = owner.get(f"/preview/documents/info{address}").json()
    assert (info["kind"], info["whole"]) == ("dicom", "Whole range")
    assert "Dupont" not in json.dumps(info)
    for coding in ("gzip", "identity"):
        answer = owner.get(
            f"/preview/documents/pixels{address}", headers={"accept-encoding": coding}
        )
        assert np.frombuffer(answer.content[24:], "<u2").size == 32 * 32
    narrow = owner.get(f"/preview/documents/picture{address}&c=2000&w=10").content
    assert narrow != owner.get(f"/preview/documents/picture{address}").content


def test_who_asks_who_it_is_about_is_written_down_each_time(owner, share, maker, database):
    """Fields of the patient and the study, behind a click."""
    for _ in range(2):
        answer = owner.post(f"/preview/documents/fields?p={packed('scanner/a.dcm')}").json()
    assert {"label": "Patient", "value": "Dupont Émile"} in answer["fields"]
    assert _count(database, "file.dicom-fields") == 2
    assert owner.get(f"/preview/documents/fields?p={packed('scanner/a.dcm')}").status_code == 405


def test_without_javascript_there_is_a_page(owner, share, maker):
    """With the file before and the file after; a text is shown as text."""
    page = owner.get(f"/preview/documents?p={packed('note.txt')}")
    assert "Une &lt;b&gt;note&lt;/b&gt;" in page.text
    assert f"/preview/documents?p={packed('odd.pdf')}" in page.text
    assert "<img" in owner.get(f"/preview/documents?p={packed('photo.jpg')}").text
    odd = owner.get(f"/preview/documents?p={packed('odd.pdf')}")
    assert odd.status_code == 200
    assert "not what its name says" in odd.text
    assert "<script>alert" not in odd.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("out.jpg", 404), ("scanner", 404), ("gone.jpg", 404), ("../x", 422), ("odd.pdf", 415)],
)
def test_nothing_else_is_opened(owner, share, maker, path, status):
    """Links are not followed, folders have no picture, what lies is not shown."""
    answer = owner.get(
        f"/preview/documents/picture?p={packed(path)}", headers={"hx-request": "true"}
    )
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")


def test_without_the_maker_the_page_says_so(owner, share):
    """Not a mistake of ours, and no picture."""
    assert owner.get(f"/preview/documents/info?p={packed('photo.jpg')}").status_code == 503
