"""Is a bucket fit to keep copies?"""

from dataclasses import replace

import pytest

from appliance.policy.bucket import REGIONS, BucketFacts, State, conformance, is_fit
from appliance.policy.hosting import EEA

GOOD = BucketFacts(
    has_lock=True,
    default_lock_mode="COMPLIANCE",
    default_lock_days=30,
    versioning="Enabled",
    ending_rules=(),
    public_by=(),
    region="eu-west-3",
    encryption="AES256",
)


def states(facts: BucketFacts, **more) -> dict[str, State]:
    return {each.name: each.state for each in conformance(facts, **more)}


def test_a_good_bucket_is_good_in_every_line():
    assert set(states(GOOD).values()) == {State.OK}
    assert is_fit(conformance(GOOD))


def test_what_was_not_answered_is_unknown_and_never_good():
    assert set(states(BucketFacts()).values()) == {State.UNKNOWN}
    assert not is_fit(conformance(BucketFacts()))
    for name in ("has_lock", "versioning", "ending_rules", "public_by", "region"):
        assert not is_fit(conformance(replace(GOOD, **{name: None})))
    assert is_fit(conformance(replace(GOOD, encryption=None)))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"has_lock": False}, "lock"),
        ({"default_lock_mode": "GOVERNANCE"}, "lock"),
        ({"default_lock_mode": ""}, "lock"),
        ({"default_lock_days": 6}, "lock"),
        ({"versioning": ""}, "versioning"),
        ({"versioning": "Suspended"}, "versioning"),
        ({"ending_rules": ("tidy",)}, "lifecycle"),
        ({"public_by": ("acl",)}, "public-access"),
        ({"region": "us-west-2"}, "region"),
        ({"region": "eu-west-2"}, "region"),  # London
        ({"region": "eu-central-2"}, "region"),  # Zürich
    ],
)
def test_one_bad_thing_is_bad_and_only_that(change, name):
    found = states(replace(GOOD, **change))

    assert {each for each, state in found.items() if state is not State.OK} == {name}
    assert found[name] is State.BAD
    assert not is_fit(conformance(replace(GOOD, **change)))


def test_a_lock_the_box_gives_counts_as_one_the_bucket_gives():
    bare = replace(GOOD, default_lock_mode="", default_lock_days=0)

    assert states(bare, lock_mode="COMPLIANCE")["lock"] is State.OK
    assert states(bare, lock_mode="GOVERNANCE")["lock"] is State.BAD


@pytest.mark.parametrize(("region", "state"), [("", State.UNKNOWN), ("moon-1", State.UNKNOWN)])
def test_a_place_nobody_knows_is_asked_about(region, state):
    assert states(replace(GOOD, region=region))["region"] is state
    assert states(replace(GOOD, region=region), regions={"moon-1": "FR"})["region"] is (
        State.OK if region else State.UNKNOWN
    )


def test_the_list_of_regions_is_of_countries():
    for region, country in REGIONS.items():
        state = states(replace(GOOD, region=region.upper()))["region"]
        assert state is (State.OK if country in EEA else State.BAD)
        assert len(country) == 2


def test_every_line_is_said_in_both_languages():
    for facts in (GOOD, BucketFacts(), replace(GOOD, ending_rules=("tidy",), public_by=("acl",))):
        for each in conformance(facts):
            assert each.words("fr") != each.words("en")
            assert "%(" not in each.words("fr")
