"""The catalogue made again from a real repository says what the nights wrote."""

import os

import pytest

from appliance.backup_jobs import rebuild_catalogue
from appliance.catalogue import query
from appliance.catalogue.rebuild import canonical_dump, canonical_lines
from appliance.errors import ArchiveVanished, NotFound, RepositoryDamaged
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RebuildCatalogue
from appliance.model import JobState
from tests.support.box import Box
from tests.support.trees import make_small_tree

pytestmark = pytest.mark.integration


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "partage"
    made.mkdir()
    make_small_tree(made)
    (made / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"latin")
    return made


@pytest.fixture
def share(box, folder):
    """A share of three nights, in which things come, change, move and go."""
    source = box.add_share(folder)
    box.take(source)
    (folder / "a.txt").write_text("one")
    box.take(source)
    (folder / "a.txt").write_text("two")
    (folder / os.fsdecode(b"caf\xe9.txt")).rename(folder / "café.txt")
    next(folder.glob("dossier*/sous*/*.dat")).unlink()
    box.take(source)
    return source


def test_a_lost_catalogue_comes_back_the_same(box, share):
    """Deleted, and made again by the job from the repository alone."""
    path = box.catalogue(share).path
    before = list(canonical_lines(path))
    for each in path.parent.iterdir():
        each.unlink()
    assert box.run(RebuildCatalogue(share.id)) is JobState.SUCCEEDED
    assert list(canonical_lines(path)) == before


def test_after_pruning_too(box, share):
    """What was pruned leaves no trace in either."""
    snapshots = box.snapshots(share)
    catalogue = box.catalogue(share)
    repository = str(box.repository_path(share))
    middle = snapshots[1]
    assert box.borg(share, "delete", f"{repository}::{middle.archive}").returncode == 0
    with box.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE snapshot SET removed_at = finished_at WHERE id = ?", (middle.id,)
        )
    catalogue.forget([middle.id])
    before = list(canonical_lines(catalogue.path))
    box.run(RebuildCatalogue(share.id))
    assert list(canonical_lines(catalogue.path)) == before
    assert catalogue.known_snapshots() == [snapshots[0].id, snapshots[2].id]


@pytest.mark.fault
def test_an_archive_that_cannot_be_read_replaces_nothing(box, share):
    """A damaged repository must not make the list emptier than it was."""
    before = canonical_dump(box.catalogue(share).path)
    with box.open(share) as repository:  # the items of the newest archive but one
        archive = repository.archives()[1]
        (items, *_) = repository._metadata(bytes.fromhex(archive.id)).items
    damaged = 0
    for segment in (box.repository_path(share) / "data").rglob("[0-9]*"):
        data = bytearray(segment.read_bytes()) if segment.is_file() else bytearray()
        place = data.find(items)
        if place >= 0:
            data[place + 60] ^= 1
            segment.write_bytes(data)
            damaged += 1
    assert damaged == 1
    with pytest.raises(RepositoryDamaged):
        box.run(RebuildCatalogue(share.id))
    assert canonical_dump(box.catalogue(share).path) == before


@pytest.mark.fault
def test_a_vanished_archive_is_an_alarm_and_not_a_shorter_list(box, share):
    """What a ransomware with the repository's key would do."""
    first = box.snapshots(share)[-1]
    before = canonical_dump(box.catalogue(share).path)
    repository = str(box.repository_path(share))
    assert box.borg(share, "delete", f"{repository}::{first.archive}").returncode == 0
    with pytest.raises(ArchiveVanished):
        box.run(RebuildCatalogue(share.id))
    assert canonical_dump(box.catalogue(share).path) == before
    assert box.source(share).frozen_reason is not None
    assert query.totals(box.catalogue(share), first.id).files > 0


def test_a_source_that_does_not_exist_has_nothing_to_rebuild(box, share):
    """The job says so instead of making an empty catalogue."""
    context = JobContext(box.settings, box.database, job=None)
    with pytest.raises(NotFound):
        rebuild_catalogue.run(context, RebuildCatalogue(9))
    assert not (box.settings.catalogues / "9.sqlite").exists()
