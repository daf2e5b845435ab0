"""A share that was moved between two nights keeps its past: by the web, and as «previous versions»."""

import io
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from appliance.backup_jobs.restore_share import restore_share
from appliance.commands.recover_moved import move_share
from appliance.db import shares, sources
from appliance.jobs import queue
from appliance.jobs.kinds import RestoreFolder, from_json
from appliance.model import SnapshotId, Source
from appliance.packed import pack_path
from appliance.web.security import COOKIE
from appliance.worker.tasks.smb_versions import Versions
from tests.support import share_site
from tests.support.box import Box
from tests.support.reading import ReaderProcess
from tests.support.web_client import at_the_practice

pytestmark = pytest.mark.integration


@dataclass
class Site:
    box: Box
    source: Source
    folder: Path  # of today
    client: TestClient
    first: SnapshotId
    second: SnapshotId


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """After the first night «letter.txt» was changed, «gone.txt» deleted, and all of it moved to another disk."""
    home = tmp_path_factory.mktemp("moved")
    old, new = home / "old", home / "disk" / "new"
    (old / "in").mkdir(parents=True)
    (old / "in" / "letter.txt").write_text("first")
    (old / "in" / "same.txt").write_text("never changed")
    (old / "in" / "gone.txt").write_text("what was deleted")
    box = Box(home / "data")
    source = box.add_share(old, name="documents")
    with box.database.write() as connection:
        owner = share_site.add_doctor(connection, language="en")
        share = share_site.add_share(connection, box.settings, owner, folder=old)
        shares.change(connection, share.id, over_smb=True)
        token = share_site.start_session(connection, owner)
    assert share.source_id == source.id
    box.night(source)
    new.parent.mkdir()
    old.rename(new)
    with box.database.write() as connection:
        move_share(connection, source, new)
        source = sources.get(connection, source.id)
    (new / "in" / "letter.txt").write_text("second, longer")
    (new / "in" / "gone.txt").unlink()
    box.night(source)
    first, second = sorted(each.id for each in box.snapshots(source))
    with (
        ReaderProcess(box.settings),
        at_the_practice(box.settings, box.database) as client,
    ):
        client.cookies.set(COOKIE, token)
        yield Site(box, source, new, client, first, second)
    box.close()


def test_a_file_has_its_versions_of_before_and_since(site: Site) -> None:
    """Two of the one that changed, one of the one that was only moved; each opens."""
    client = site.client
    page = client.get(f"/disk/documents/versions?p={pack_path(b'in/letter.txt')}").text
    assert "2 versions in the snapshots" in page
    for night, text in ((site.first, "first"), (site.second, "second, longer")):
        opened = client.get(f"/disk/documents/version?s={night}&p={pack_path(b'in/letter.txt')}")
        assert opened.text == text
    page = client.get(f"/disk/documents/versions?p={pack_path(b'in/same.txt')}").text
    assert "1 version in the snapshots" in page
    details = client.get(f"/api/v1/disk/documents/about?p={pack_path(b'in/same.txt')}")
    assert details.json()["versions"] == 1


def test_a_folder_is_shown_and_comes_back_as_it_was_before(site: Site) -> None:
    """What was deleted is named in its folder; file and folder come back out of the former place."""
    client = site.client
    page = client.get(f"/disk/documents/past?s={site.first}&p={pack_path(b'in')}").text
    assert "gone.txt" in page
    assert (
        "letter.txt"
        in client.get(f"/disk/documents/past?s={site.second}&p={pack_path(b'in')}").text
    )
    assert "in" in client.get(f"/disk/documents/past?s={site.first}").text
    deleted = client.get(f"/disk/documents/deleted?p={pack_path(b'in')}").text
    assert "gone.txt" in deleted
    assert "letter.txt" not in deleted
    form = {"s": site.first, "p": pack_path(b"in/gone.txt"), "how": "place"}
    assert client.post("/disk/documents/version", data=form).status_code == 303
    assert (site.folder / "in" / "gone.txt").read_text() == "what was deleted"
    (site.folder / "in" / "gone.txt").unlink()
    answer = client.post("/disk/documents/past", data={"s": site.first, "p": pack_path(b"in")})
    assert answer.status_code == 303
    with site.box.database.read() as connection:
        (asked,) = queue.newest(connection, limit=1, kind=RestoreFolder.kind)
    site.box.run(from_json(asked.kind, asked.spec))
    assert (site.folder / "in (2)" / "letter.txt").read_text() == "first"
    shutil.rmtree(site.folder / "in (2)")
    zipped = client.get("/disk/documents/past.zip", params={"s": site.first, "p": pack_path(b"in")})
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
        assert "in/gone.txt" in archive.namelist()


def test_previous_versions_show_each_night_as_it_was(site: Site) -> None:
    """In the file explorer nothing tells that the share lay elsewhere."""
    versions = Versions(site.box.settings, site.box.database)
    before, since = sorted(name for name, _ in versions.names((b"documents",)))
    assert {name for name, _ in versions.names((b"documents", before, b"in"))} == {
        b"gone.txt",
        b"letter.txt",
        b"same.txt",
    }
    for night, text in ((before, b"first"), (since, b"second, longer")):
        path = (b"documents", night, b"in", b"letter.txt")
        assert versions.facts(path).size == len(text)
        reading = versions.open(path)
        try:
            assert reading.read(0, 100) == text
        finally:
            reading.close()


def test_a_share_that_moved_since_its_newest_night_comes_back_whole(
    site: Site, tmp_path: Path
) -> None:
    """A second recovery before the first night in the new place finds everything."""
    with site.box.database.write() as connection:
        move_share(connection, site.source, tmp_path / "third")
    try:
        (tmp_path / "back").mkdir()
        done = restore_share(
            site.box.settings, int(site.source.id), tmp_path / "back", should_stop=lambda: False
        )
    finally:
        with site.box.database.write() as connection:
            moved = sources.get(connection, site.source.id)
            move_share(connection, moved, site.folder)
    assert done.left_alone == 0
    assert sorted(os.listdir(tmp_path / "back" / "in")) == ["letter.txt", "same.txt"]
