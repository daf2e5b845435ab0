"""What lies at a place, written into the record of a box that a recovery made."""

from datetime import UTC, datetime

import pytest

from appliance.db import copies, targets
from appliance.replication.manifest import NONE, CopiedFile, Manifest
from appliance.replication.recover_adopt import adopt
from appliance.replication.recover_choice import Looked, content

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


def file_of(number: int) -> CopiedFile:
    name = f"{number:032x}"
    return CopiedFile(
        1, f"data/0/{number}", f"objects/{name[:2]}/{name}", 10, f"{number:064x}", 20, "s"
    )


def night(number: int, *, files=(1, 2), missing=(), sha256: str = "") -> Looked:
    every = tuple(file_of(each) for each in files)
    manifest = Manifest("box", number, NOW, NONE, "armoire", (), every)
    absent = tuple(file_of(each) for each in missing)
    return Looked(number, NOW, sha256 or f"{number:064d}", manifest, absent)


TIMES = {content(file_of(number)): 1000 + number for number in range(9)}


@pytest.fixture
def target_id(database):
    with database.write() as connection:
        return targets.add(connection, name="d", label="D", kind="directory", place={}, now=NOW).id


def record(database, target_id):
    with database.read() as connection:
        rows = copies.generations(connection, target_id)
        living = {each.path: each for each in copies.living(connection, target_id)}
    return rows, living


def test_generations_nobody_here_knew_are_known_and_their_files_by_their_new_times(
    database, target_id
):
    fresh = adopt(database, target_id, [night(4, files=(1, 2, 3)), night(3)], TIMES, now=NOW)

    rows, living = record(database, target_id)
    assert fresh == 2
    assert [(row.number, row.published_at, len(row.objects)) for row in rows] == [
        (4, NOW, 3),
        (3, NOW, 2),
    ]
    assert {path: each.plain_mtime_ns for path, each in living.items()} == {
        f"data/0/{number}": 1000 + number for number in (1, 2, 3)
    }
    assert all(each.put_at == NOW for each in living.values())


def test_doing_it_twice_is_doing_it_once(database, target_id):
    adopt(database, target_id, [night(3)], TIMES, now=NOW)
    first = record(database, target_id)

    assert adopt(database, target_id, [night(3)], TIMES, now=NOW) == 0
    assert record(database, target_id) == first


def test_what_is_missing_there_is_not_counted_on(database, target_id):
    adopt(database, target_id, [night(3, missing=(2,))], TIMES, now=NOW)

    rows, living = record(database, target_id)
    assert set(living) == {"data/0/1"}
    assert len(rows[0].objects) == 1


def test_what_was_only_in_the_burnt_spool_is_forgotten(database, target_id):
    with database.write() as connection:
        copies.sealed(
            connection,
            target_id,
            name="f" * 32,
            repository=1,
            path="data/0/7",
            plain_size=1,
            plain_mtime_ns=1,
            plain_sha256="a",
            sealed_size=1,
            sealed_sha256="b",
            now=NOW,
        )

    adopt(database, target_id, [night(3)], TIMES, now=NOW)

    assert "data/0/7" not in record(database, target_id)[1]


@pytest.mark.parametrize("is_same", [True, False])
def test_a_generation_that_was_about_to_be_published_is_settled(database, target_id, is_same):
    """The one that lies there counts, with the objects it names."""
    with database.write() as connection:
        copies.intend(
            connection,
            target_id,
            number=3,
            taken_at=NOW,
            sha256=f"{3:064d}" if is_same else "other",
            previous=NONE,
            objects=[],
            plain_bytes=0,
            new_bytes=0,
        )

    adopt(database, target_id, [night(3)], TIMES, now=NOW)

    (row,), _ = record(database, target_id)
    assert (row.sha256, row.published_at) == (f"{3:064d}", NOW)
    assert len(row.objects) == (0 if is_same else 2)


def test_a_generation_that_does_not_open_still_has_its_number(database, target_id):
    """The next push must not meet it as a stranger's."""
    adopt(database, target_id, [Looked(5, NOW, "e" * 64, None), night(4)], TIMES, now=NOW)

    with database.read() as connection:
        assert copies.newest_number(connection, target_id) == (5, "e" * 64)
