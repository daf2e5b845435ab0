"""Is a bucket fit to keep copies? What its host said about it, judged.

A question that was not answered is unknown, never good.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from appliance.language import Language, mark, translate
from appliance.policy.hosting import EEA

#: Region → country (ISO 3166-1) of hosts a French practice meets. What is not here is asked of a person.
#: Source: the hosts' own lists of regions, 2026: AWS, OVHcloud, Scaleway, Outscale, Exoscale, Clever Cloud, IONOS.
REGIONS: Final[Mapping[str, str]] = {
    "eu-central-1": "DE",
    "eu-central-2": "CH",
    "eu-north-1": "SE",
    "eu-south-1": "IT",
    "eu-south-2": "ES",
    "eu-west-1": "IE",
    "eu-west-2": "GB",
    "eu-west-3": "FR",
    "fr-par": "FR",
    "nl-ams": "NL",
    "pl-waw": "PL",
    "gra": "FR",
    "rbx": "FR",
    "sbg": "FR",
    "eu-west-par": "FR",
    "de": "DE",
    "waw": "PL",
    "uk": "GB",
    "bhs": "CA",
    "ca-central-1": "CA",
    "us-east-1": "US",
    "us-east-2": "US",
    "us-west-1": "US",
    "us-west-2": "US",
    "cloudgouv-eu-west-1": "FR",
    "de-fra-1": "DE",
    "de-muc-1": "DE",
    "at-vie-1": "AT",
    "bg-sof-1": "BG",
    "ch-gva-2": "CH",
    "ch-dk-2": "CH",
}
#: Shorter than this a lock would end before anyone looked.
LOCK_DAYS: Final = 7


class State(StrEnum):
    """How a question is answered."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """What the host answered; None: it did not, or not to this account."""

    has_lock: bool | None = None
    default_lock_mode: str = ""  # COMPLIANCE, GOVERNANCE or none
    default_lock_days: int = 0
    versioning: str | None = None  # Enabled, Suspended or «» for never
    #: Rules that are switched on and end something, by their ids; those that only end half uploads do not count.
    ending_rules: tuple[str, ...] | None = None
    #: How strangers may come in: «acl», «policy», «anyone»; empty: not at all.
    public_by: tuple[str, ...] | None = None
    region: str | None = None
    encryption: str | None = None  # AES256, aws:kms; «» for none


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the conformance page."""

    name: str  # lock · versioning · lifecycle · public-access · region · encryption
    state: State
    text: str  # English template over ``facts``
    facts: dict[str, object] = field(default_factory=dict)

    def words(self, language: Language) -> str:
        """Return the line in the reader's language."""
        return translate(self.text, language, **self.facts)


def conformance(
    facts: BucketFacts, *, lock_mode: str = "", regions: Mapping[str, str] = REGIONS
) -> list[Answer]:
    """Return every question with its answer, in the order of the page.

    Args:
        facts: what the host said.
        lock_mode: what this box gives each new object (COMPLIANCE, GOVERNANCE or none).
        regions: region → country, the person's own entries included.
    """
    return [
        _lock(facts, lock_mode),
        _versioning(facts),
        _lifecycle(facts),
        _public(facts),
        _region(facts, regions),
        _encryption(facts),
    ]


def is_fit(answers: list[Answer]) -> bool:
    """Return whether nothing is bad and nothing that decides is unknown; encryption by the host decides nothing."""
    return all(
        each.state is State.OK or (each.name == "encryption" and each.state is State.UNKNOWN)
        for each in answers
    )


def _lock(facts: BucketFacts, lock_mode: str) -> Answer:
    if facts.has_lock is None:
        return Answer("lock", State.UNKNOWN, _NO_ANSWER)
    if not facts.has_lock:
        return Answer(
            "lock",
            State.BAD,
            mark("Object Lock is off. It can only be chosen when a bucket is made: make another."),
        )
    mode = lock_mode or facts.default_lock_mode
    if not mode:
        return Answer(
            "lock",
            State.BAD,
            mark("Object Lock is on, but neither this box nor the bucket gives objects a lock."),
        )
    if not lock_mode and facts.default_lock_days < LOCK_DAYS:
        return Answer(
            "lock",
            State.BAD,
            mark("The bucket locks objects for %(days)s days only; choose 7 at least."),
            {"days": facts.default_lock_days},
        )
    if mode == "GOVERNANCE":
        return Answer(
            "lock",
            State.BAD,
            mark(
                "The lock is GOVERNANCE: an account with the right can go around it. Choose COMPLIANCE."
            ),
        )
    return Answer("lock", State.OK, mark("Object Lock is on, in COMPLIANCE mode."))


def _versioning(facts: BucketFacts) -> Answer:
    match facts.versioning:
        case None:
            return Answer("versioning", State.UNKNOWN, _NO_ANSWER)
        case "Enabled":
            return Answer("versioning", State.OK, mark("Versions are kept."))
        case _:
            return Answer(
                "versioning",
                State.BAD,
                mark("Versions are not kept: what is written over is lost. Switch versions on."),
            )


def _lifecycle(facts: BucketFacts) -> Answer:
    if facts.ending_rules is None:
        return Answer("lifecycle", State.UNKNOWN, _NO_ANSWER)
    if facts.ending_rules:
        return Answer(
            "lifecycle",
            State.BAD,
            mark(
                "A lifecycle rule deletes or moves objects (%(rules)s). Remove it: this box decides what goes."
            ),
            {"rules": ", ".join(facts.ending_rules)},
        )
    return Answer("lifecycle", State.OK, mark("No lifecycle rule deletes or moves objects."))


def _public(facts: BucketFacts) -> Answer:
    if facts.public_by is None:
        return Answer("public-access", State.UNKNOWN, _NO_ANSWER)
    if facts.public_by:
        return Answer(
            "public-access",
            State.BAD,
            mark("Strangers can reach the bucket (%(ways)s). Close it today."),
            {"ways": ", ".join(facts.public_by)},
        )
    return Answer("public-access", State.OK, mark("A stranger was refused."))


def _region(facts: BucketFacts, regions: Mapping[str, str]) -> Answer:
    region = (facts.region or "").lower()
    country = regions.get(region)
    if not region:
        return Answer(
            "region", State.UNKNOWN, mark("The host does not say where the bucket lies. Ask it.")
        )
    if country is None:
        return Answer(
            "region",
            State.UNKNOWN,
            mark(
                "The host calls the place «%(region)s»; which country that is, is not known. Ask it."
            ),
            {"region": region},
        )
    if country.upper() not in EEA:
        return Answer(
            "region",
            State.BAD,
            mark(
                "The bucket lies in %(country)s (%(region)s), outside the European Economic Area: "
                "health data may not be stored there."
            ),
            {"region": region, "country": country.upper()},
        )
    return Answer(
        "region",
        State.OK,
        mark("The bucket lies in %(country)s (%(region)s), by what the host says."),
        {"region": region, "country": country.upper()},
    )


def _encryption(facts: BucketFacts) -> Answer:
    if facts.encryption is None:
        return Answer("encryption", State.UNKNOWN, _NO_ANSWER)
    if not facts.encryption:
        return Answer(
            "encryption",
            State.OK,
            mark(
                "The host adds no encryption of its own. Everything is sealed before it leaves this box."
            ),
        )
    return Answer(
        "encryption",
        State.OK,
        mark("The host encrypts too (%(how)s). Everything is sealed before it leaves this box."),
        {"how": facts.encryption},
    )


_NO_ANSWER: Final = mark(
    "The host did not answer this, or not to our account. Look in its own pages."
)
