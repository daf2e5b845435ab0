"""How far a job is, and how long it will take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.estimate import Estimate, ProgressSample, estimate


def steady(seconds: int, per_s: int = 10) -> list[ProgressSample]:
    return [ProgressSample(float(at), at * per_s) for at in range(seconds + 1)]


def test_a_steady_job_is_foretold_exactly():
    """Half of it in 50 seconds: 50 more."""
    found = estimate(steady(50), 1_000, 50.0)

    assert found.per_s == pytest.approx(10)
    assert found.remaining_s == pytest.approx(50)
    assert found.share == 0.5


@pytest.mark.parametrize(
    ("samples", "total", "now", "expected"),
    [
        ([], None, 0.0, Estimate(0.0, None, None)),
        ([], 100, 0.0, Estimate(0.0, None, 0.0)),
        (steady(0), 100, 0.0, Estimate(0.0, None, 0.0)),
        (steady(1), 100, 1.0, Estimate(10.0, None, 0.1)),
        (steady(9), None, 9.0, Estimate(10.0, None, None)),
        (steady(9), 0, 9.0, Estimate(10.0, None, None)),
        (steady(9), 80, 9.0, Estimate(10.0, None, 1.0)),
        (steady(9), 90, 9.0, Estimate(10.0, 0.0, 1.0)),
    ],
)
def test_nothing_is_foretold_too_early_or_without_a_whole(samples, total, now, expected):
    """A number that jumps is worse than none."""
    assert estimate(samples, total, now) == expected


def test_a_job_that_stands_still_has_no_known_end():
    """And its speed falls to nothing."""
    found = estimate(steady(20), 1_000, 50.0)

    assert found.remaining_s is None
    assert estimate(steady(20), 1_000, 49.0).remaining_s is not None
    assert estimate(steady(20), 1_000, 500.0) == Estimate(0.0, None, 0.2)


def test_the_speed_now_counts_as_much_as_the_speed_so_far():
    """A job that became slower takes longer than its average says."""
    slower = [*steady(60, 100), *(ProgressSample(60.0 + at, 6_000 + at) for at in range(1, 61))]
    found = estimate(slower, 7_000, 120.0)

    assert found.per_s == pytest.approx(1, abs=0.01)
    assert 940 / 60 < found.remaining_s < 940


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(-5, 10**9)), min_size=1, max_size=30),
    st.none() | st.integers(0, 10**10),
    st.floats(0, 100),
)
def test_no_progress_makes_it_say_nonsense(steps, total, later):
    """Counters that go back, two samples at once, a whole that shrinks."""
    at, done, samples = 0.0, 0, []
    for seconds, more in steps:
        at, done = at + seconds, done + more
        samples.append(ProgressSample(at, done))
    found = estimate(samples, total, at + later)

    assert found.per_s >= 0
    assert found.remaining_s is None or found.remaining_s >= 0
    assert found.share is None or found.share <= 1
