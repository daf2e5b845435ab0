"""May we send there? The rows HDS-01 to HDS-15, one by one."""

import string
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.language import translate
from appliance.policy import hosting
from appliance.policy.hosting import CertificateState, ContractState, Dossier, Nature, judge

TODAY = date(2026, 11, 23)
GOOD = Dossier(
    company="Hébergeur SA",
    siren="552100554",
    incident_contact="astreinte",
    certificate_number="HDS-2025-017",
    certification_body="LNE",
    version="v2",
    activities=frozenset({1, 2, 3, 4, 5, 6}),
    issued_on=date(2025, 6, 1),
    expires_on=date(2028, 5, 31),
    list_checked_on=date(2026, 11, 1),
    audited_on=date(2026, 6, 1),
    sites=(hosting.Site("Roubaix", "FR"), hosting.Site("Oslo", "no")),
    access_from_outside=hosting.AccessFromOutside.NONE,
    transfers_page="https://host.example/transferts",
    transfers_read_on=date(2026, 6, 1),
    contract_reference="C-42",
    contract_signed_on=date(2025, 7, 1),
    products=("Stockage objet HDS",),
    contract=dict.fromkeys(range(1, 15), ContractState.PRESENT),
    contact="Dr Martin",
    professional=hosting.Professional("Dr Martin", "10001234567", date(2026, 1, 1)),
    deputy=hosting.Professional("Dr Petit", "10001234568", date(2026, 1, 1)),
    documents=(hosting.Document("certificate", "0" * 64),),
)


def codes(dossier, today=TODAY):
    return {
        each.code.removeprefix("hosting.")
        for each in judge(Nature.CERTIFIED_HOST, dossier, today).remarks
    }


def test_a_whole_dossier_raises_no_remark():
    verdict = judge(Nature.CERTIFIED_HOST, GOOD, TODAY)

    assert (verdict.may_send, verdict.state, verdict.remarks) == (True, CertificateState.VALID, ())


def test_another_keeper_is_refused_whatever_the_dossier_says():
    """HDS-01: encryption or a fine certificate of somebody else does not help."""
    assert not judge(Nature.OTHER, GOOD, TODAY).may_send


def test_nothing_is_sent_before_somebody_declared_what_the_place_is():
    assert not judge(None, GOOD, TODAY).may_send


@pytest.mark.parametrize("nature", [Nature.SAME_PRACTICE_HERE, Nature.SAME_PRACTICE_ELSEWHERE])
def test_the_practice_may_keep_its_own_copy_without_a_certificate(nature):
    assert judge(nature, None, TODAY).may_send


def test_an_empty_dossier_is_refused_in_words():
    verdict = judge(Nature.CERTIFIED_HOST, None, TODAY)

    assert not verdict.may_send
    assert verdict.state is CertificateState.INCOMPLETE


@pytest.mark.parametrize(
    ("change", "code", "may_send"),
    [
        ({"activities": frozenset({1, 2, 3, 4, 5})}, "activity-6-missing", False),
        ({"activities": frozenset()}, "field-missing", False),
        ({"sites": ()}, "field-missing", False),
        ({"certificate_number": " "}, "field-missing", False),
        ({"expires_on": None}, "field-missing", False),
        ({"issued_on": TODAY + timedelta(days=1)}, "certificate-not-yet-valid", False),
        ({"expires_on": date(2030, 1, 1)}, "certificate-too-long", True),
        ({"suspended_on": TODAY}, "certificate-suspended", False),
        ({"documents": ()}, "certificate-copy-missing", True),
        ({"version": "v1"}, "version-1", True),
        ({"version": ""}, "version-unknown", True),
        ({"list_checked_on": TODAY - timedelta(days=91)}, "list-check-due", True),
        ({"audited_on": None}, "audit-unknown", True),
        ({"access_from_outside": None}, "access-unknown", True),
        (
            {"access_from_outside": hosting.AccessFromOutside.ADEQUACY},
            "residual-risk-missing",
            True,
        ),
        ({"transfers_page": ""}, "transfers-page-missing", True),
        ({"transfers_read_on": None}, "transfers-reading-due", True),
        (
            {"subcontractors": (hosting.Subcontractor("X", "stockage", False, frozenset({1})),)},
            "subcontractor-uncertified",
            False,
        ),
        ({"contract_reference": ""}, "contract-missing", False),
        ({"contract": {}}, "contract-points", True),
        ({"contact": ""}, "contact-missing", True),
        ({"products": ()}, "products-missing", True),
        ({"professional": None}, "professional-missing", True),
        (
            {"professional": replace(GOOD.professional, account_disabled=True)},
            "professional-gone",
            True,
        ),
        ({"professional": replace(GOOD.professional, rpps="123")}, "rpps-malformed", True),
        (
            {"professional": replace(GOOD.professional, designated_on=TODAY - timedelta(days=366))},
            "designation-renewal-due",
            True,
        ),
        ({"deputy": None}, "deputy-missing", True),
    ],
)
def test_each_gap_is_named_and_only_the_grave_ones_stop_the_sending(change, code, may_send):
    dossier = replace(GOOD, **change)

    assert code in codes(dossier)
    assert judge(Nature.CERTIFIED_HOST, dossier, TODAY).may_send is may_send


@pytest.mark.parametrize(
    ("country", "accepted"),
    [("FR", True), ("no", True), ("CH", False), ("GB", False), ("US", False)],
)
def test_health_data_stays_in_the_european_economic_area(country, accepted):
    dossier = replace(GOOD, sites=(hosting.Site("x", country),))

    assert judge(Nature.CERTIFIED_HOST, dossier, TODAY).may_send is accepted
    assert len(hosting.EEA) == 30


@pytest.mark.parametrize(
    ("left", "state", "may_send"),
    [
        (90, CertificateState.VALID, True),
        (89, CertificateState.TO_RENEW, True),
        (0, CertificateState.TO_RENEW, True),
        (-1, CertificateState.EXPIRED, False),
    ],
)
def test_a_certificate_is_good_on_its_last_day_and_not_after(left, state, may_send):
    expires = TODAY + timedelta(days=left)
    verdict = judge(Nature.CERTIFIED_HOST, replace(GOOD, expires_on=expires), TODAY)

    assert (verdict.state, verdict.may_send, verdict.days_left) == (state, may_send, left)


def test_the_grace_the_practice_set_lets_copies_leave_a_little_longer():
    """HDS-03: default no grace; never anything deleted, which no verdict can even say."""
    expired = replace(GOOD, expires_on=TODAY - timedelta(days=5), grace_days=5)

    assert judge(Nature.CERTIFIED_HOST, expired, TODAY).may_send
    assert not judge(Nature.CERTIFIED_HOST, expired, TODAY + timedelta(days=1)).may_send


@pytest.mark.parametrize(
    ("issued", "last"),
    [
        (date(2023, 6, 1), date(2026, 5, 31)),
        (date(2024, 2, 29), date(2027, 2, 28)),
        (date(2025, 3, 1), date(2028, 2, 29)),
    ],
)
def test_three_years_end_on_the_day_before_leap_years_included(issued, last):
    assert hosting.last_day(issued) == last


def test_notices_are_given_once_each_and_a_missed_one_is_not_told_five_times():
    end = TODAY + timedelta(days=200)
    given_: list[int] = []
    told = []
    for day in range(210):
        today = TODAY + timedelta(days=day)
        if 50 < day < 172:
            continue  # the box was off
        due = hosting.notices_due(end, today, given_)
        given_ += due
        told += [(day, each) for each in due]

    assert told == [(20, 180), (172, 30), (193, 7), (200, 0)]


@given(st.integers(-400, 400), st.sets(st.sampled_from(hosting.NOTICE_DAYS)))
def test_a_notice_given_is_never_due_again(left, already):
    due = hosting.notices_due(TODAY + timedelta(days=left), TODAY, sorted(already))

    assert len(due) <= 1
    assert not set(due) & already


def test_every_remark_and_point_has_french_with_the_same_places():
    texts = [text for _blocks, text in hosting._REMARKS.values()] + list(hosting.contract_points())
    for text in texts:
        french = translate(text, "fr")
        places = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        assert french != text or text == "Restitution"
        assert places == {name for _, name, _, _ in string.Formatter().parse(french) if name}
    assert len(hosting.contract_points()) == hosting.CONTRACT_POINTS
    assert "agréé" not in "".join(translate(text, "fr") for text in texts)
