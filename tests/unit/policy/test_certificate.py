"""When a certificate is asked for again, and what is said when it does not come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.policy import certificate
from appliance.policy.certificate import (
    LastTry,
    Served,
    Way,
    Wish,
    check_account_key,
    check_name,
    check_wish,
)
from appliance.policy.findings import Severity

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WISH = Wish(certificate.DIRECTORIES["letsencrypt"], ("cloud.cabinet.fr",), Way.DNS)
DAY = timedelta(days=1)


def served(
    age: timedelta, life: timedelta = 90 * DAY, names: tuple[str, ...] = WISH.names
) -> Served:
    return Served(names, NOW - age, NOW - age + life, "Let's Encrypt", NOW - age)


def due(wish=WISH, shown=None, last=None, record_since=None, now=NOW) -> bool:
    return certificate.is_due(wish, shown, last, now=now, record_since=record_since)


def codes(wish=WISH, shown=None, last=None, record_since=None) -> list[tuple[str, Severity]]:
    found = certificate.findings(wish, shown, last, now=NOW, record_since=record_since)
    return [(each.code, each.severity) for each in found]


GOOD, BAD = LastTry(NOW - 20 * DAY, succeeded=True), LastTry(NOW - DAY, succeeded=False)


@pytest.mark.parametrize(
    ("age", "expected"), [(DAY, False), (59 * DAY, False), (60 * DAY, True), (95 * DAY, True)]
)
def test_it_is_renewed_at_two_thirds_of_its_life(age, expected):
    """Whatever its life is: authorities shorten it."""
    assert due(shown=served(age), last=GOOD) is expected
    assert due(shown=served(age / 15, 6 * DAY), last=GOOD) is expected


def test_nothing_is_asked_without_a_wish_or_while_a_job_runs():
    """Most boxes never speak to an authority."""
    assert not due(wish=None, last=BAD)
    assert not due(last=LastTry(None, succeeded=False))
    assert due(last=None)
    assert due(shown=served(DAY, names=("other.fr",)), last=GOOD), "another name was asked for"


def test_a_failure_is_not_repeated_at_once():
    """Authorities count; and when one says how long to wait, that is obeyed."""
    failed = LastTry(NOW, succeeded=False)
    assert not due(last=failed, now=NOW + timedelta(hours=5))
    assert due(last=failed, now=NOW + timedelta(hours=6))
    told = replace(failed, wait_s=86_400)
    assert not due(last=told, now=NOW + timedelta(hours=23))
    assert due(last=told, now=NOW + timedelta(hours=24))


def test_a_record_is_looked_for_every_ten_minutes_for_a_week():
    """Then a person has to press the button; the authority is asked nothing meanwhile."""
    waits = LastTry(NOW, succeeded=True)
    assert not due(last=waits, record_since=NOW, now=NOW + timedelta(minutes=9))
    assert due(last=waits, record_since=NOW, now=NOW + timedelta(minutes=10))
    late = NOW + 8 * DAY
    again = LastTry(late, succeeded=True)
    assert not due(last=again, record_since=NOW, now=late + timedelta(minutes=10))
    assert due(last=again, record_since=NOW, now=late + timedelta(hours=6))


def test_what_is_said_grows_graver_as_the_end_comes_near():
    """A warning while there is time, an alarm in the last week, and nothing when all is well."""
    assert codes(wish=None, last=BAD) == []
    assert codes(shown=served(DAY), last=GOOD) == []
    assert codes(shown=served(DAY), last=BAD) == [], "it was a person's try, long before it is due"
    assert codes(shown=served(70 * DAY), last=BAD) == [
        ("certificate.not-renewed", Severity.WARNING)
    ]
    assert codes(shown=served(84 * DAY), last=BAD) == [("certificate.not-renewed", Severity.ALARM)]
    assert codes(shown=served(91 * DAY), last=GOOD) == [("certificate.expired", Severity.ALARM)]
    assert codes(last=BAD) == [("certificate.not-had", Severity.WARNING)]
    assert codes(last=GOOD, record_since=NOW) == [("certificate.record-awaited", Severity.WARNING)]
    said = certificate.findings(WISH, served(70 * DAY), BAD, now=NOW, record_since=None)[0]
    assert "20" in said.words("fr")
    assert "cloud.cabinet.fr" in said.words("fr")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (31 * DAY, None),
        (30 * DAY, ("certificate.brought-ends", Severity.WARNING)),
        (7 * DAY, ("certificate.brought-ends", Severity.ALARM)),
        (timedelta(), ("certificate.brought-expired", Severity.ALARM)),
        (-DAY, ("certificate.brought-expired", Severity.ALARM)),
    ],
)
def test_a_certificate_that_was_brought_is_spoken_of_a_month_before(left, said):
    """The box cannot renew it: people have to fetch another."""
    found = certificate.brought_findings(NOW + left, now=NOW)
    assert [(each.code, each.severity) for each in found] == ([said] if said else [])
    assert certificate.brought_findings(None, now=NOW) == []


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (" Cloud.Cabinet-Martin.FR. ", "cloud.cabinet-martin.fr"),
        ("*.cabinet.fr", "*.cabinet.fr"),
        ("accueil.médecin.fr", "accueil.xn--mdecin-bva.fr"),
    ],
)
def test_a_name_has_one_form(typed, name):
    """Lower case, ASCII, no dot at its end."""
    assert check_name(typed, Way.DNS) == name


@pytest.mark.parametrize(
    "typed",
    ["", "armoire", "armoire.local", "a.lan", "10.0.0.1", "1.2.3.4", "-a.fr", "a-.fr", "a..fr", "a b.fr",
     "box.home.arpa", "*.*.fr", "a.*.fr", "x" * 64 + ".fr", "é" * 64 + ".fr", ".".join(["abcdefgh"] * 40)],
)  # fmt: skip
def test_what_is_no_public_name_is_refused(typed):
    """No authority would sign for it; asking would only use up its patience."""
    with pytest.raises(InvalidInput):
        check_name(typed, Way.DNS)


@given(st.text(max_size=40))
def test_whatever_is_typed_becomes_a_plain_name_or_is_refused(typed):
    """Nothing but letters, digits, dots, hyphens and one star ever reaches a program's arguments."""
    try:
        name = check_name(typed, Way.DNS)
    except InvalidInput:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-*")
    assert not name.startswith("-")


@pytest.mark.parametrize("directory", ["", "http://a.fr/d", "file:///etc", "https://", "https://u:p@a.fr/d", "ftp://a.fr"])  # fmt: skip
def test_an_authority_is_spoken_to_by_https_only(directory):
    """And its address holds no password."""
    with pytest.raises(InvalidInput):
        check_wish(directory, ["a.fr"], Way.DNS, "", agreed=True)


def test_a_wish_is_kept_as_it_was():
    """Through JSON and back."""
    wish = check_wish(
        "letsencrypt-staging", ["b.fr", "a.fr", "B.fr"], Way.HTTP, " dr@cabinet.fr ", agreed=True
    )
    assert wish.names == ("b.fr", "a.fr")
    assert Wish.from_json(wish.to_json()) == wish
    bound = check_wish(
        "https://acme.example.fr/d", ["a.fr"], Way.DNS, "", agreed=True, account=" kid_1 "
    )
    assert bound.account == "kid_1"
    assert Wish.from_json(bound.to_json()) == bound
    before = {name: value for name, value in wish.to_json().items() if name != "account"}
    assert Wish.from_json(before) == wish  # written before accounts could be named


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("c2VjcmV0LXNlY3JldC1zZWNyZXQ", "c2VjcmV0LXNlY3JldC1zZWNyZXQ"),
        (" ab+/ab+/ab+/ab+/ab+/ab== \n", "ab-_ab-_ab-_ab-_ab-_ab"),
    ],
)
def test_a_key_of_an_account_is_taken_in_either_alphabet(typed, key):
    """Authorities print it with and without padding."""
    assert check_account_key(typed) == key


@pytest.mark.parametrize("typed", ["", "short", "not base64 at all, is it? no", "é" * 30, "a" * 25])
def test_what_is_no_key_of_an_account_is_refused(typed):
    """And is in no message."""
    with pytest.raises(InvalidInput) as raised:
        check_account_key(typed)
    assert not typed or typed not in str(raised.value)


@pytest.mark.parametrize("account", ["a b", "a\n", "é", "x" * 201, "a\x00"])
def test_a_number_of_an_account_is_in_one_piece(account):
    """What an authority would never give is not sent to it."""
    with pytest.raises(InvalidInput):
        check_wish("letsencrypt", ["a.fr"], Way.DNS, "", agreed=True, account=f"k{account}k")
