"""A disk that is pulled out while it is written to: what was whole stays whole, and the copy goes on."""

import threading
from datetime import date

import pytest

from appliance.db import copies, targets
from appliance.errors import TargetError, TargetIdentityChanged, TargetListUnreadable
from appliance.policy.place import DirectoryPlace
from appliance.replication import fetch, kit, push
from appliance.replication.targets.directory import (
    LABEL_FILE,
    DirectoryTarget,
    DiskLabel,
    write_label,
)
from tests.support.sender import DISK_ID, FILES, Sender

pytestmark = pytest.mark.integration


class PulledOut(DirectoryTarget):
    """A disk whose folder goes away in the middle of the writing of an object, as a mount does."""

    after = 5
    written = 0
    door = threading.Lock()

    def create(self, name, sealed, *, on_bytes=lambda _count: None):
        with self.door:
            type(self).written += 1
            pulled = self.written == self.after
        if pulled:

            def pull(_count):
                if self.root.exists():
                    self.root.rename(self.root.with_name("in-a-pocket"))

            super().create(name, sealed, on_bytes=pull)
        else:
            super().create(name, sealed, on_bytes=on_bytes)


@pytest.fixture
def box(tmp_path):
    one = Sender(tmp_path / "box")
    yield one
    one.close()


@pytest.fixture
def disk(tmp_path):
    root = tmp_path / "disk"
    root.mkdir()
    write_label(root, DiskLabel(DISK_ID, "box-1", "Lundi", date(2026, 11, 23)))
    return root


@pytest.fixture
def pulled(monkeypatch):
    monkeypatch.setattr(PulledOut, "written", 0)
    monkeypatch.setattr("appliance.replication.targets.directory.DirectoryTarget", PulledOut)
    yield
    monkeypatch.undo()


def back(disk):
    disk.with_name("in-a-pocket").rename(disk)


def test_a_copy_goes_on_where_a_disk_was_pulled_out(box, disk, tmp_path, pulled, monkeypatch):
    """No half generation is there, no half object; plugged in again only the rest is sent."""
    row = box.add("directory", DirectoryPlace(DISK_ID, str(disk)))
    with pytest.raises(TargetError):
        box.send(row, tmp_path / "moment", FILES)
    monkeypatch.undo()
    with pytest.raises(TargetError):  # still away: nothing is made at its empty place
        box.send(row, tmp_path / "moment")
    assert not disk.exists()

    back(disk)
    objects = [path for path in (disk / "objects").rglob("*") if path.is_file() and path.suffix != ".part"]  # fmt: skip
    assert not (disk / "generations").exists()
    with box.database.read() as connection:
        known = {each.name: each.sealed_size for each in copies.living(connection, row.id)}
    assert all(path.stat().st_size == known[path.name] for path in objects)

    done = box.send(row, tmp_path / "moment")
    assert done.number == 1
    assert done.sent_objects <= len(FILES)
    with box.database.read() as connection:
        signer = kit.signing_key(connection, box.settings.keys).public_key()
    survey = fetch.survey(box.target(row), signer=signer, box_id="box-1")
    assert [each.header.number for each in survey.generations] == [1]
    assert survey.faults == ()


def test_an_older_generation_survives_a_disk_that_is_pulled_out(box, disk, tmp_path, monkeypatch):
    """Yesterday's copy is whole although today's was cut."""
    row = box.add("directory", DirectoryPlace(DISK_ID, str(disk)))
    box.send(row, tmp_path / "moment", FILES)
    monkeypatch.setattr(PulledOut, "written", 0)
    monkeypatch.setattr("appliance.replication.targets.directory.DirectoryTarget", PulledOut)
    more = {f"data/1/{number}": bytes([number]) * 30_000 for number in range(12)}
    with pytest.raises(TargetError):
        box.send(row, tmp_path / "moment", more)
    monkeypatch.undo()
    back(disk)

    there = {info.name: info.size for info in box.target(row).list("objects/")}
    with box.database.read() as connection:
        (one,) = copies.generations(connection, row.id)
        named = [each for each in copies.living(connection, row.id) if each.id in one.objects]
    assert len(named) == len(FILES)
    assert all(there[push.object_name(each.name)] == each.sealed_size for each in named)


def test_a_listing_cut_by_pulling_the_disk_is_no_listing(box, disk, tmp_path):
    """An empty mount point must never be read as an empty copy."""
    row = box.add("directory", DirectoryPlace(DISK_ID, str(disk)))
    box.send(row, tmp_path / "moment", FILES)
    target = box.target(row)
    listing = target.list("objects/")
    next(listing)
    disk.rename(disk.with_name("in-a-pocket"))

    with pytest.raises(TargetListUnreadable):
        list(listing)


def test_another_disk_at_the_same_path_gets_nothing(box, disk, tmp_path):
    """Swapped between two nights: refused by its label, and nothing is written on it."""
    row = box.add("directory", DirectoryPlace(DISK_ID, str(disk)))
    text = (disk / LABEL_FILE).read_text()
    (disk / LABEL_FILE).write_text(text.replace(DISK_ID, "cd" * 16))

    with pytest.raises(TargetIdentityChanged):
        box.send(row, tmp_path / "moment", FILES)

    assert [each.name for each in disk.iterdir()] == [LABEL_FILE]
    with box.database.read() as connection:
        assert copies.generations(connection, targets.get(connection, row.id).id) == []
