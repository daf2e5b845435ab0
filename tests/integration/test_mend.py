"""A segment damaged at home comes back from the copy; a real Borg says that it is right."""

import io
import os
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from appliance.ledger import chain
from appliance.replication.mend import Doubt, find_suspects, is_whole_segment, mend
from appliance.vault import words
from tests.integration.test_copy import (
    BORG,
    NOW,
    SECRET,
    Practice,
    practice,  # noqa: F401 - a fixture
    template,  # noqa: F401 - a fixture
    tree_of,
)

pytestmark = pytest.mark.integration


def fails(one: Practice, *arguments: str) -> bool:
    done = subprocess.run(
        [BORG, *arguments], env=one.env, capture_output=True, timeout=60, check=False
    )
    return done.returncode != 0


def segments(one: Practice) -> list[Path]:
    return sorted(
        (path for path in (one.repository / "data" / "0").iterdir() if path.stat().st_size > 5_000),
        key=lambda path: int(path.name),
    )


def flip(path: Path) -> None:
    """One bit in the middle, as an old disk does; its time stays."""
    facts = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def mended(one: Practice, suspects, sources=None, **more):
    return mend(
        suspects,
        one.repository,
        sources if sources is not None else [(one.open(), one.newest())],
        identity=words.identity(SECRET),
        locked=nullcontext,
        database=one.database,
        now=lambda: NOW,
        **more,
    )


def test_a_flipped_bit_is_found_fetched_back_and_said(practice):  # noqa: F811
    archive = practice.night()
    practice.push()
    victim = segments(practice)[0]
    right = victim.read_bytes()
    flip(victim)
    damaged = victim.read_bytes()
    assert fails(practice, "check", str(practice.repository))

    suspects = find_suspects(practice.repository, practice.newest(), 1)
    result = mended(practice, suspects)

    path = victim.relative_to(practice.repository).as_posix()
    assert [(each.file.path, each.doubt) for each in suspects] == [(path, Doubt.DAMAGED)]
    assert result.mended == (path,)
    assert victim.read_bytes() == right
    practice.borg("check", "--verify-data", str(practice.repository))
    out = practice.folder / "out"
    out.mkdir()
    practice.borg("extract", f"{practice.repository}::{archive}", cwd=out)
    assert tree_of(out) == tree_of(practice.tree)
    (kept,) = (each for each in result.kept_aside.rglob("*") if each.is_file())
    assert kept.read_bytes() == damaged
    assert not list(practice.repository.parent.glob(".mend-*"))
    with practice.database.read() as connection:
        (entry,) = [e for e in chain.entries(connection) if e.event == "repository.mended"]
    assert (entry.subject, entry.body["path"]) == ("source:1", path)


def test_a_mended_segment_is_not_sent_again(practice):  # noqa: F811
    practice.night()
    practice.push()
    flip(segments(practice)[0])
    mended(practice, find_suspects(practice.repository, practice.newest(), 1))

    assert practice.push().sent_objects == 0


def test_what_borg_compacted_away_is_no_damage(practice):  # noqa: F811
    first = practice.night()
    practice.night()
    practice.push()
    practice.borg("delete", f"{practice.repository}::{first}")
    practice.borg("compact", "--threshold", "0", str(practice.repository))
    one = practice.newest()
    gone = [
        file.path
        for file in one.files
        if file.path.startswith("data/") and not (practice.repository / file.path).exists()
    ]

    assert gone
    assert find_suspects(practice.repository, one, 1) == []
    named = find_suspects(practice.repository, one, 1, named=gone[:1])
    assert [(each.file.path, each.doubt) for each in named] == [(gone[0], Doubt.GONE)]


def test_a_segment_that_is_whole_and_another_one_is_left_alone(practice):  # noqa: F811
    """Nothing is destroyed by a machine in doubt; Borg's word decides."""
    practice.night()
    practice.push()
    one, two = segments(practice)[:2]
    other = two.read_bytes()
    one.write_bytes(other)
    path = one.relative_to(practice.repository).as_posix()

    suspects = find_suspects(practice.repository, practice.newest(), 1)
    result = mended(practice, suspects)

    assert [each.doubt for each in suspects] == [Doubt.DIFFERS]
    assert result.mended == ()
    assert one.read_bytes() == other
    named = find_suspects(practice.repository, practice.newest(), 1, named=[path])
    assert mended(practice, named).mended == (path,)
    practice.borg("check", "--verify-data", str(practice.repository))


def test_where_one_copy_lost_it_the_next_is_asked_and_what_none_has_is_named(practice):  # noqa: F811
    practice.night()
    practice.push()
    manifest = practice.newest()
    victims = segments(practice)[:2]
    for each in victims:
        flip(each)
    suspects = find_suspects(practice.repository, manifest, 1)
    lost = practice.disk / suspects[0].file.object
    whole = lost.read_bytes()
    lost.write_bytes(whole[:-1])

    first = mended(practice, suspects)
    lost.write_bytes(whole)
    second = mended(practice, find_suspects(practice.repository, manifest, 1))

    assert first.failed == {suspects[0].file.path: "target.object-altered"}
    assert first.mended == (suspects[1].file.path,)
    assert second.mended == (suspects[0].file.path,)
    practice.borg("check", "--verify-data", str(practice.repository))


def test_a_segment_is_whole_to_its_last_byte_or_it_is_not(practice):  # noqa: F811
    """Every flipped byte is seen, and a cut inside an entry."""
    practice.night(files=1)
    data = segments(practice)[0].read_bytes()
    assert is_whole_segment(io.BytesIO(data))
    small = next(
        path.read_bytes()
        for path in (practice.repository / "data" / "0").iterdir()
        if path.stat().st_size < 2_000
    )
    assert is_whole_segment(io.BytesIO(small))
    for at in range(len(small)):
        flipped = bytearray(small)
        flipped[at] ^= 0x10
        assert not is_whole_segment(io.BytesIO(bytes(flipped))), at
    for end in (len(data) - 1, len(data) // 2, 9):
        assert not is_whole_segment(io.BytesIO(data[:end]))
