"""The brake on what leaves, with a clock of the test's own."""

import threading
import time

import pytest

from appliance.errors import JobCancelled
from appliance.replication.bandwidth import BURST_S, STEP_S, Throttle

pytestmark = pytest.mark.timeout(20)


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0
        self.on_sleep = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= STEP_S
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def clock():
    return Clock()


def throttle(clock, rate, **more):
    return Throttle(rate, clock=clock, sleep=clock.sleep, **more)


def test_so_many_bytes_take_their_time(clock):
    one = throttle(clock, lambda: 1_000_000)
    for _ in range(100):
        one.take(1_048_576)

    assert clock.now - 100 == pytest.approx(104.8576, rel=0.001)


def test_without_a_limit_nobody_waits(clock):
    one = throttle(clock, lambda: None)
    one.take(10**12)

    assert clock.now == 100


def test_after_a_silence_no_more_than_a_burst_goes_at_once(clock):
    one = throttle(clock, lambda: 1_000)
    one.take(1)
    clock.now += 3600
    start = clock.now
    one.take(int(1_000 * BURST_S))
    assert clock.now == start
    one.take(5_000)

    assert clock.now - start == pytest.approx(5, rel=0.01)


def test_a_new_rate_is_obeyed_while_waiting(clock):
    """A push of a large block at night speed does not go on at it into the consultation."""
    rate = [1_000]
    one = throttle(clock, lambda: rate[0])

    def faster() -> None:
        if clock.now >= 110:
            rate[0] = 100_000

    clock.on_sleep = faster
    one.take(100_000)  # 100 s at the old rate

    assert 110 < clock.now < 112


def test_lifting_the_limit_lets_those_who_wait_go(clock):
    rate: list[int | None] = [0]
    one = throttle(clock, lambda: rate[0])

    def lift() -> None:
        if clock.now >= 160:
            rate[0] = None

    clock.on_sleep = lift
    one.take(10**9)

    assert 160 <= clock.now <= 160 + STEP_S


def test_a_pause_lasts_and_can_be_stopped(clock):
    one = throttle(clock, lambda: 0, should_stop=lambda: clock.now > 3_700)

    with pytest.raises(JobCancelled):
        one.take(1)

    assert clock.now >= 3_700


def test_a_clock_that_goes_back_costs_nothing_and_gives_nothing(clock):
    one = throttle(clock, lambda: 1_000)
    one.take(500)
    clock.now -= 50
    start = clock.now
    one.take(1_000)

    assert clock.now - start <= 2


def test_several_threads_share_one_rate_and_none_starves():
    """Four connections, real time: together they get what one would."""
    one = Throttle(lambda: 4_000_000)
    got = [0, 0, 0, 0]
    end = time.monotonic() + 1.0

    def work(number: int) -> None:
        while time.monotonic() < end:
            one.take(50_000)
            got[number] += 50_000

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert sum(got) <= 4_000_000 * 1.0 + 4_000_000 * BURST_S + 200_000
    # A machine at work gives them less, and not evenly: what starves gets nothing.
    assert sum(got) > 1_000_000
    assert min(got) > 0.2 * max(got)
