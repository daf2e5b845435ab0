"""Every file of a share shows its past, and comes back beside or in its place, without a backup's own pages."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from starlette.testclient import TestClient

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import shares, snapshots, sources
from appliance.db.shares import Share
from appliance.model import Role, Source
from appliance.policy.share_rights import Right
from appliance.web.security import COOKIE
from tests.support import share_site
from tests.support.box import Box
from tests.support.reading import ReaderProcess
from tests.support.web_client import at_the_practice

pytestmark = pytest.mark.integration


def packed(path: str) -> str:
    return urlsafe_b64encode(path.encode()).decode().rstrip("=")


@dataclass
class Site:
    """A share with two nights behind it."""

    box: Box
    share: Share
    source: Source
    client_as: Callable[[Role], TestClient]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """«letter.txt» was changed after the first night, «gone.txt» deleted after it."""
    home = tmp_path_factory.mktemp("versions")
    folder = home / "documents"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "letter.txt").write_text("first")
    (folder / "in" / "gone.txt").write_text("what was deleted")
    box = Box(home / "data")
    source = box.add_share(folder, name="documents")
    box.night(source)
    (folder / "in" / "letter.txt").write_text("second, longer")
    (folder / "in" / "gone.txt").unlink()
    box.night(source)
    (folder / "in" / "letter.txt").write_text("today's")
    other = home / "other"
    other.mkdir()
    (other / "secret.txt").write_text("another source's")
    stranger = box.add_share(other, name="other")
    box.night(stranger)
    with box.database.write() as connection:
        owner = share_site.add_doctor(connection, name="Anne Martin", language="en")
        share = share_site.add_share(
            connection, box.settings, owner, label="Documents", folder=folder
        )
        shares.grant(connection, share.id, {Right.SEE}, role=Role.SECRETARY, by=None, now=utc_now())
    assert share.source_id == source.id
    with (
        ReaderProcess(box.settings),
        at_the_practice(box.settings, box.database) as client,
    ):

        def client_as(role: Role) -> TestClient:
            with box.database.write() as connection:
                row = people.find_row(connection, f"{role.value}.x")
                person = (
                    owner
                    if role is Role.OWNER
                    else people.from_row(row)
                    if row is not None
                    else share_site.add_person(
                        connection, role, f"{role.value}.x", f"X {role.value}", language="en"
                    )
                )
                token = share_site.start_session(connection, person)
            client.cookies.set(COOKIE, token)
            return client

        yield Site(box, share, source, client_as)
    box.close()


def test_a_file_shows_its_versions_and_who_touched_it(site: Site) -> None:
    """Two versions of two nights; opening one is written down, by name."""
    client = site.client_as(Role.OWNER)
    page = client.get(f"/disk/documents/versions?p={packed('in/letter.txt')}").text
    assert "2 versions in the snapshots" in page
    nights = site.box.snapshots(site.source)
    first = min(each.id for each in nights)
    opened = client.get(f"/disk/documents/version?s={first}&p={packed('in/letter.txt')}")
    assert opened.text == "first"
    assert "sandbox" in opened.headers["content-security-policy"]
    page = client.get(f"/disk/documents/versions?p={packed('in/letter.txt')}").text
    assert "opened an earlier version" in page
    assert "Anne Martin" in page


def test_a_deleted_file_is_found_where_it_was_and_put_back(site: Site) -> None:
    """The folder as it was names it as gone; it comes back with its content and its time."""
    client = site.client_as(Role.OWNER)
    first = min(each.id for each in site.box.snapshots(site.source))
    page = client.get(f"/disk/documents/past?s={first}&p={packed('in')}").text
    assert "gone.txt" in page
    assert "not there any more" in page
    gone = client.get(f"/disk/documents/past?s={first}&p={packed('in')}&gone=1").text
    assert "gone.txt" in gone
    assert "letter.txt" not in gone
    form = {"s": first, "p": packed("in/gone.txt"), "how": "place"}
    assert client.post("/disk/documents/version", data=form).status_code == 303
    assert (site.share.folder / "in" / "gone.txt").read_text() == "what was deleted"
    (site.share.folder / "in" / "gone.txt").unlink()


def test_a_version_comes_back_beside_or_in_its_place(site: Site) -> None:
    """Beside with another name; in place, what was there is in the bin."""
    client = site.client_as(Role.OWNER)
    first = min(each.id for each in site.box.snapshots(site.source))
    form = {"s": first, "p": packed("in/letter.txt")}
    client.post("/disk/documents/version", data=form | {"how": "beside"})
    root = site.share.folder / "in"
    assert (root / "letter (2).txt").read_text() == "first"
    assert (root / "letter.txt").read_text() == "today's"
    client.post("/disk/documents/version", data=form | {"how": "place"})
    assert (root / "letter.txt").read_text() == "first"
    names = [each["name"] for each in client.get("/api/v1/disk/documents/bin").json()]
    assert names == ["letter.txt"]
    (root / "letter (2).txt").unlink()


def test_who_may_only_see_opens_and_restores_nothing(site: Site) -> None:
    """Rights on the past are the rights on the present."""
    first = min(each.id for each in site.box.snapshots(site.source))
    form = {"s": first, "p": packed("in/letter.txt"), "how": "beside"}
    secretary = site.client_as(Role.SECRETARY)
    address = f"/disk/documents/version?s={first}&p={packed('in/letter.txt')}"
    assert secretary.get(address).status_code == 200
    assert secretary.post("/disk/documents/version", data=form).status_code == 403
    for role in (Role.ASSOCIATE, Role.LOCUM, Role.TECHNICAL_ADMIN):
        client = site.client_as(role)
        for place in (
            address,
            f"/disk/documents/versions?p={packed('in/letter.txt')}",
            f"/disk/documents/past?s={first}",
        ):
            # A locum outside a term is not even signed in.
            assert client.get(place).status_code in {404, 303}, (role, place)
        assert client.post("/disk/documents/version", data=form).status_code in {404, 303}
        assert not (site.share.folder / "in" / "letter (2).txt").exists()


@pytest.mark.parametrize(
    "path", ["../other/secret.txt", "in/../../other/secret.txt", "/etc/passwd"]
)
def test_no_path_leads_into_another_source(site: Site, path: str) -> None:
    """Nor does another source's snapshot number."""
    client = site.client_as(Role.OWNER)
    newest = max(each.id for each in site.box.snapshots(site.source))
    assert client.get(f"/disk/documents/version?s={newest}&p={packed(path)}").status_code in {
        404,
        422,
    }
    others = newest + 1
    assert (
        client.get(f"/disk/documents/version?s={others}&p={packed('secret.txt')}").status_code
        == 404
    )


def test_programs_read_what_was(site: Site) -> None:
    """Versions, a folder of a night, what is gone, their bytes; to who may see only, to nobody outside the share."""
    doctor = site.client_as(Role.OWNER)
    api = "/api/v1/disk/documents"
    told = doctor.get(f"{api}/versions?p={packed('in/letter.txt')}").json()
    assert told["is_there"]
    assert told["may_replace"]
    numbers = [each["snapshot_id"] for each in told["versions"]]
    assert [each["size"] for each in told["versions"]][-1] == len("first")
    first = min(numbers)
    asked = f"{api}/version?s={first}&p={packed('in/letter.txt')}"
    assert doctor.get(asked).text == "first"
    (gone,) = [
        each
        for each in doctor.get(f"{api}/deleted?p={packed('in')}").json()["rows"]
        if each["name"] == "gone.txt"
    ]
    assert gone["snapshot_id"] == first
    assert doctor.get(f"{api}/deleted?p={packed('in')}&first=99").json()["rows"] == []
    past = doctor.get(f"{api}/past?p={packed('in')}&s={first}").json()
    assert past["night"]["snapshot_id"] == first
    assert past["nights"][-1]["snapshot_id"] == first
    assert ("gone.txt", True) in [(each["name"], each["is_gone"]) for each in past["rows"]]
    whole = doctor.get(f"{api}/past.zip?s={first}&p={packed('in')}")
    assert whole.content[:2] == b"PK"
    assert doctor.get(f"{api}/versions?p={packed('in')}").status_code == 422
    assert doctor.get(f"{api}/past?s=9999").status_code == 404
    assert doctor.get(f"{api}/past?p={packed('../other')}").status_code == 422
    reader = site.client_as(Role.SECRETARY)
    seen = reader.get(f"{api}/versions?p={packed('in/letter.txt')}").json()
    assert (seen["may_restore"], seen["may_replace"]) == (False, False)
    with site.box.database.read() as connection:
        strange = max(
            each.id
            for source in sources.all_living(connection)
            if source.id != site.source.id
            for each in snapshots.of_source(connection, source.id)
        )
    assert doctor.get(f"{api}/past?s={strange}").status_code == 404
    assert doctor.get(asked.replace(f"s={first}", f"s={strange}")).status_code == 404
