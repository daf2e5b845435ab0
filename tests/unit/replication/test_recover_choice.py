"""Which generation a box is made from: a pure decision."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import NothingToRecover
from appliance.replication.manifest import NONE, ChainFault, CopiedFile, CopiedRepository, Manifest
from appliance.replication.recover_choice import Look, Looked, in_order, propose

START = datetime(2026, 11, 1, 3, tzinfo=UTC)


def file_of(repository: int, number: int, place: str = "a") -> CopiedFile:
    digest = f"{repository:032x}{number:032x}"
    return CopiedFile(
        repository,
        f"data/0/{number}",
        f"objects/00/{place}{repository}-{number}",
        1,
        digest,
        2,
        "0",
    )


def night(number: int, *, place: str = "a", missing=(), opens: bool = True) -> Looked:
    """Return generation ``number``: the state, and one more segment of repository 1 a night."""
    files = (file_of(0, number, place), *(file_of(1, each, place) for each in range(number)))
    taken = START + timedelta(days=number)
    manifest = Manifest("box", number, taken, NONE, "armoire", (), files)
    absent = tuple(file for file in files if (file.repository, file.path) in missing)
    return Looked(number, taken, f"{place}{number}", manifest if opens else None, absent)


def test_the_newest_whole_generation_wins_wherever_it_lies():
    found = propose([Look("near", (night(3),)), Look("far", (night(4, place="b"),))])

    assert (found.target, found.number, found.is_whole, found.lost_s) == ("far", 4, True, 0)


def test_of_two_equally_good_ones_the_first_place_is_read():
    found = propose([Look("near", (night(3),)), Look("far", (night(3, place="b"),))])

    assert found.target == "near"


def test_a_missing_object_makes_it_fall_back_and_say_so():
    broken = night(5, missing={(1, "data/0/4")})

    found = propose([Look("near", (broken, night(4)))])

    assert (found.number, found.is_whole) == (4, True)
    assert found.lost_s == 86_400
    (skipped,) = found.skipped
    assert (skipped.number, skipped.reason, skipped.missing) == (5, "missing-objects", {1: 1})


def test_what_is_missing_here_and_lies_there_is_not_missing():
    broken = night(5, missing={(1, "data/0/4")})

    found = propose([Look("near", (broken,)), Look("far", (night(5, place="b"),))])

    assert found.is_whole
    assert (found.target, found.skipped) == ("near", ())


def test_a_generation_that_does_not_open_is_named():
    found = propose([Look("near", (night(6, opens=False), night(5)))])

    assert found.number == 5
    assert [(each.number, each.reason) for each in found.skipped] == [(6, "does-not-open")]


def test_in_the_last_resort_the_one_that_lacks_least_and_never_one_without_its_state():
    stateless = night(7, missing={(0, "data/0/7"), (1, "data/0/0"), (1, "data/0/5")})
    worse = night(6, missing={(1, "data/0/0"), (1, "data/0/5")})
    better = night(5, missing={(1, "data/0/0")})

    found = propose([Look("near", (stateless, worse, better))])

    assert (found.number, found.is_whole) == (5, False)
    assert [file.path for file in found.missing] == ["data/0/0"]
    with pytest.raises(NothingToRecover):
        propose([Look("near", (stateless,))])


def test_faults_and_silent_places_are_passed_on():
    found = propose(
        [
            Look("near", (night(2),), (ChainFault(3, "altered"),)),
            Look("far", unreachable="target.unreachable"),
        ]
    )

    assert found.faults == (("near", ChainFault(3, "altered")),)
    assert found.unreachable == (("far", "target.unreachable"),)
    with pytest.raises(NothingToRecover) as raised:
        propose([Look("far", unreachable="target.unreachable")])
    assert "target.unreachable" in str(raised.value)


numbers = st.integers(1, 6)
losses = st.sets(st.tuples(st.just(1), st.integers(0, 5).map(lambda n: f"data/0/{n}")), max_size=3)


@given(places=st.lists(st.dictionaries(numbers, losses, max_size=4), min_size=1, max_size=3))
def test_it_is_never_older_than_a_whole_one_and_never_claims_what_nobody_has(places):
    looks = [
        Look(
            str(place),
            tuple(night(n, place="abc"[place], missing=gone) for n, gone in sorted(each.items())),
        )
        for place, each in enumerate(places)
    ]
    every = [(look, looked) for look in looks for looked in look.generations]
    if not every:
        with pytest.raises(NothingToRecover):
            propose(looks)
        return
    there = {
        (file.repository, file.path)
        for _, looked in every
        for file in looked.manifest.files
        if file not in looked.missing
    }
    whole = [
        looked.number
        for _, looked in every
        if all((file.repository, file.path) in there for file in looked.manifest.files)
    ]

    found = propose(looks)

    assert found.is_whole == bool(whole)
    if whole:
        assert found.number == max(whole)
    assert all((file.repository, file.path) not in there for file in found.missing)


def test_what_is_wanted_comes_first_then_shares_then_what_is_small():
    known = tuple(
        CopiedRepository(number, "a" * 64, f"r{number}", f"R{number}", kind)
        for number, kind in (
            (0, "state"),
            (1, "pulled"),
            (2, "pulled"),
            (3, "share"),
            (4, "pulled"),
        )
    )
    files = (file_of(1, 0), file_of(1, 1), file_of(2, 0), file_of(3, 0), file_of(4, 0))
    manifest = Manifest("box", 1, START, NONE, "armoire", known, files)

    assert in_order(manifest) == [3, 2, 4, 1]
    assert in_order(manifest, wanted=[1, 4]) == [1, 4, 3, 2]


def test_a_night_dated_by_a_clock_that_jumped_ahead_does_not_hide_the_next_one():
    """At one place the number says which is newer; a date of 2099 is nobody's newest."""
    ahead = night(5)
    ahead = dataclasses.replace(ahead, taken_at=START + timedelta(days=30_000))

    found = propose([Look("near", (night(6), ahead))])
    elsewhere = propose([Look("near", (night(6), ahead)), Look("far", (night(7, place="b"),))])

    assert (found.number, found.skipped) == (6, ())
    assert (elsewhere.target, elsewhere.number) == ("far", 7)
