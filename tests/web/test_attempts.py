"""Wrong secrets are counted by address."""

from appliance.web import attempts
from appliance.web.attempts import Attempts


def _fail(counted, address, times):
    for _ in range(times):
        counted.failed(address)


def test_an_address_waits_after_thirty_and_another_does_not():
    """The wait is told in seconds, and ends within the window."""
    counted = Attempts()
    _fail(counted, "192.0.2.1", attempts.AT_MOST - 1)
    assert counted.wait_s("192.0.2.1") == 0

    assert counted.failed("192.0.2.1") == attempts.AT_MOST

    assert 0 < counted.wait_s("192.0.2.1") <= attempts.WINDOW_S + 1
    assert counted.wait_s("192.0.2.2") == 0


def test_the_wait_ends_with_the_window(monkeypatch):
    """Attempts of ten minutes ago no longer count."""
    counted = Attempts()
    now = [1000.0]
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now[0])
    _fail(counted, "192.0.2.1", attempts.AT_MOST)
    now[0] += attempts.WINDOW_S + 1

    assert counted.wait_s("192.0.2.1") == 0
    assert counted.failed("192.0.2.1") == 1


def test_a_line_with_many_addresses_of_ipv6_counts_as_one():
    """Else one machine had 2^64 tries; an IPv4 address written as IPv6 is that address."""
    counted = Attempts()
    for host in range(attempts.AT_MOST):
        counted.failed(f"2001:db8::{host:x}")

    assert counted.wait_s("2001:db8::ffff") > 0
    assert counted.wait_s("2001:db8:0:1::1") == 0
    _fail(counted, "::ffff:192.0.2.1", attempts.AT_MOST)
    assert counted.wait_s("192.0.2.1") > 0


def test_many_addresses_do_not_make_one_forgotten_that_has_just_failed(monkeypatch):
    """Memory is bounded by forgetting who failed longest ago."""
    monkeypatch.setattr(attempts, "ADDRESSES_KNOWN", 100)
    counted = Attempts()
    for each in range(500):
        counted.failed(f"10.0.{each // 250}.{each % 250}")
        counted.failed("192.0.2.1")

    assert counted.wait_s("192.0.2.1") > 0
    assert counted.wait_s("not an address") == 0
