"""Which files a proof restores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.sampling import Candidate, Picked, choose, files_wanted

BIG = 10**12


def files(count: int, **change) -> list[Candidate]:
    return [
        Candidate(f"{number:06}.pdf".encode(), size=1000 + number, mtime_ns=number, **change)
        for number in range(count)
    ]


def pick(candidates, budget=BIG, seed=7):
    return choose(candidates, total=len(candidates), budget_bytes=budget, seed=seed)


@pytest.mark.parametrize(
    ("total", "wanted"),
    [(0, 0), (1, 1), (20, 20), (21, 20), (2000, 20), (2001, 21), (500_000, 5_000)],
)
def test_a_proof_samples_one_percent_and_at_least_twenty(total, wanted):
    """And never more than there are."""
    assert files_wanted(total) == wanted


def test_a_sample_holds_every_sort():
    """All dumps, the largest, the newest changes, and random others."""
    old, changed = files(4_000), [Candidate(b"new", 10, 9_999, changed=True)]
    dumps = [Candidate(f"dump{number}".encode(), 5, 0, dump=True) for number in range(3)]
    sample = pick([*old, *changed, *dumps])

    assert sample.counts == {
        Picked.DUMP: 3,
        Picked.LARGEST: 10,
        Picked.CHANGED: 1,
        Picked.RANDOM: 27,
    }
    assert sample.wanted == 41
    assert sample.files_left_out == 0
    chosen = [one for one, _ in sample.chosen]
    assert set(dumps) <= set(chosen)
    assert {one for one, why in sample.chosen if why is Picked.LARGEST} == set(old[-10:])
    assert changed[0] in chosen


def test_the_newest_changes_come_before_older_ones():
    """Of many changes the last ones."""
    sample = pick(files(3_000, changed=True), budget=BIG)
    newest = {one.mtime_ns for one, why in sample.chosen if why is Picked.CHANGED}

    assert newest == set(range(2_986, 2_993))  # the seven above them are there as the largest


def test_another_night_samples_other_files_and_the_same_seed_the_same():
    """Over the nights everything gets its turn, and a proof can be repeated."""
    candidates = files(5_000)

    assert pick(candidates) == pick(candidates)
    assert pick(candidates).chosen != pick(candidates, seed=8).chosen


def test_random_files_come_from_the_whole_snapshot():
    """Not only from where reading began."""
    places = [int(one.path[:6]) for one, why in pick(files(20_000)).chosen if why is Picked.RANDOM]

    assert min(places) < 2_000
    assert max(places) > 17_000
    assert 7_000 < sum(places) / len(places) < 13_000


def test_one_film_does_not_take_the_budget_of_all_the_others():
    """What is too large is passed over and counted."""
    film = Candidate(b"film.mp4", 10**10, 1)
    sample = pick([*files(100), film], budget=10**6)

    assert film not in [one for one, _ in sample.chosen]
    assert len(sample.chosen) == 20
    assert sample.bytes <= 10**6


def test_a_dump_that_does_not_fit_is_said():
    """«All dumps» must not be claimed when one was left out."""
    dumps = [
        Candidate(b"small.dump", 100, 0, dump=True),
        Candidate(b"huge.dump", 10**9, 0, dump=True),
    ]
    sample = pick([*dumps, *files(50)], budget=10**6)

    assert sample.dumps_left_out == 1
    assert sample.files_left_out == 1
    assert [one.path for one, why in sample.chosen if why is Picked.DUMP] == [b"small.dump"]


@pytest.mark.parametrize(
    ("candidates", "first"),
    [
        ([Candidate(b"a", 500, 0), Candidate(b"b", 300, 0)], b"b"),
        ([Candidate(b"a", 500, 0), Candidate(b"d", 900, 0, dump=True)], b"d"),
    ],
)
def test_something_is_always_proven_however_small_the_budget(candidates, first):
    """The smallest dump, else the smallest file."""
    sample = pick(candidates, budget=0)

    assert [one.path for one, _ in sample.chosen] == [first]
    assert sample.dumps_left_out == 0
    assert sample.files_left_out == 1


def test_an_empty_snapshot_gives_an_empty_sample():
    """Nothing to prove is no error; nothing is claimed from it either."""
    assert pick([]).chosen == ()


candidates_strategy = st.lists(
    st.builds(
        Candidate,
        path=st.binary(min_size=1, max_size=4),
        size=st.integers(0, 5_000),
        mtime_ns=st.integers(0, 100),
        changed=st.booleans(),
        dump=st.sampled_from([False, False, False, True]),
    ),
    unique_by=lambda one: one.path,
    max_size=60,
)


@given(candidates_strategy, st.integers(0, 60_000), st.integers())
def test_every_sample_is_honest(candidates, budget, seed):
    """Within the budget but for a single file, each file once, and what is missing is counted."""
    sample = pick(candidates, budget, seed)
    chosen = [one for one, _ in sample.chosen]

    assert len({one.path for one in chosen}) == len(chosen) <= sample.wanted
    assert set(chosen) <= set(candidates)
    assert bool(chosen) == bool(candidates)
    assert sample.bytes == sum(one.size for one in chosen)
    assert sample.bytes <= budget or len(chosen) == 1
    assert sample.files_left_out == sample.wanted - len(chosen)
    dumps = [one for one in candidates if one.dump]
    assert sample.dumps_left_out == len(dumps) - sum(1 for one in chosen if one.dump)
    assert sum(sample.counts.values()) == len(chosen)
    if budget >= sum(one.size for one in candidates) * 2:
        assert sample.files_left_out == 0
