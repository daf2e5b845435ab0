"""The form of a new place for copies: from what was typed to a place, with what is wrong field by field.

Reads the form and the target table only: what the place itself answers is the worker's to find out.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Connection

from appliance.db import targets
from appliance.errors import InvalidInput
from appliance.jobs.target_setup import MOST_KM, s3_secret
from appliance.language import Language, mark, translate
from appliance.policy import place as places
from appliance.policy.bucket import REGIONS
from appliance.policy.hosting import EEA, Nature
from appliance.policy.place import KINDS, Place
from appliance.vault.secret import Secret
from appliance.web.pages import tones
from appliance.web.source_new import slug

#: Addresses of the pages themselves.
RESERVED: Final = frozenset({"add"})
#: Nearer than this one fire, flood or theft may take both (domain.md row 8); a hint, never a refusal.
NEAR_KM: Final = 1
#: Usual values a person need not look up.
DEFAULTS: Final[dict[str, dict[str, str]]] = {
    "directory": {"is_removable": "on"},
    "sftp": {"port": "22"},
    "box": {"port": "2222"},
    "s3": {"lock_mode": "COMPLIANCE", "lock_days": "30"},
}
_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "directory": ("disk_id", "folder", "expires_on"),
    "sftp": ("host", "user", "folder"),
    "box": ("host", "sender"),
    "s3": ("endpoint", "region", "bucket", "prefix", "lock_mode", "country"),
}
_NUMBERS: Final[dict[str, tuple[str, ...]]] = {
    "directory": (),
    "sftp": ("port",),
    "box": ("port",),
    "s3": ("lock_days",),
}
#: Fields that may stay empty.
_OPTIONAL: Final = frozenset(
    {"folder", "expires_on", "prefix", "lock_mode", "lock_days", "country"}
)
_REQUIRED_TEXTS: Final[dict[str, str]] = {
    "disk_id": mark("The number on the disk's label, 32 characters."),
    "host": mark("The name or address of the host, without spaces."),
    "user": mark("The name of the account."),
    "sender": mark("The name the other box gave this one."),
    "endpoint": mark("An address that begins with https://"),
    "region": mark("The region, as the host calls it."),
    "bucket": mark("The name of the bucket."),
    "port": mark("A number from 1 to 65535."),
}


@dataclass(frozen=True, slots=True)
class Hint:
    """What can be said about a field while one types."""

    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class Typed:
    """A form that was read."""

    kind: str
    name: str
    label: str
    place: Place | None
    nature: Nature | None
    distance_km: int | None
    problems: tuple[tuple[str, str], ...]  # field, sentence
    hints: tuple[Hint, ...]


def read(
    connection: Connection,
    kind: str,
    form: Mapping[str, str],
    language: Language,
    *,
    may_declare: bool,
) -> Typed:
    """Return what was typed; an empty field that is needed is a problem.

    Args:
        connection: to see whether the name is free.
        kind: of ``policy.place.KINDS``.
        form: field → text; secrets are not looked at.
        language: of the sentences.
        may_declare: whether this person may say what the place is to the practice (HDS-01).
    """
    problems: list[tuple[str, str]] = []
    hints: list[Hint] = []

    def wrong(field: str, text: str) -> None:
        problems.append((field, translate(text, language)))

    def hint(tone: str, text: str, **facts: object) -> None:
        hints.append(Hint(tone, translate(text, language, **facts)))

    label = " ".join(form.get("label", "").split())
    name = slug(label)
    if not 2 <= len(label) <= 100 or not name:
        wrong("label", mark("A name of 2 to 100 characters."))
    elif name in RESERVED or name in {each.name for each in targets.all_living(connection)}:
        wrong("label", mark("There is already a copy of this name: choose another."))
    values, missing = _values(kind, form)
    for field in missing:
        wrong(field, _REQUIRED_TEXTS.get(field, mark("Something is missing here.")))
    place: Place | None = None
    if not missing:
        try:
            place = places.parse(kind, values)
        except InvalidInput as error:
            wrong(error.name, error.expected)
    if kind == "directory" and place is not None:
        taken = {str(each.place.get("disk_id")) for each in targets.all_living(connection)}
        if values["disk_id"] in taken:
            wrong("disk_id", mark("This disk is a copy already."))
        if values["expires_on"] and not _is_day(str(values["expires_on"])):
            wrong("expires_on", mark("A day, or nothing."))
    if kind == "s3" and values.get("region"):
        _region(str(values["region"]), str(values["country"]), hint, wrong)
    nature = _nature(form.get("nature", ""), wrong) if may_declare else None
    if nature is Nature.CERTIFIED_HOST:
        hint(tones.CALM, mark("Next you will be asked for the host's certificate and contract."))
    distance = _distance(form.get("distance_km", ""), wrong)
    if distance is not None and distance <= NEAR_KM and nature is not Nature.SAME_PRACTICE_HERE:
        hint(tones.WARN, mark("So near, one fire or flood may reach both places."))
    return Typed(kind, name, label, place, nature, distance, tuple(problems), tuple(hints))


def secrets_of(kind: str, form: Mapping[str, str]) -> dict[str, Secret]:
    """Return the secrets that were typed, by the names ``jobs.target_setup`` gives them.

    Raises:
        InvalidInput: a bucket without its two keys.
    """
    if kind == "sftp" and form.get("password"):
        return {"password": Secret(form["password"].encode())}
    if kind == "s3":
        access, secret = form.get("access_key", "").strip(), form.get("secret_key", "").strip()
        if not access or not secret:
            raise InvalidInput("access_key", mark("The two keys of the bucket's account."))
        return {"s3": s3_secret(access, secret)}
    return {}


def _values(kind: str, form: Mapping[str, str]) -> tuple[dict[str, object], list[str]]:
    values: dict[str, object] = {}
    missing: list[str] = []
    for field in _TEXTS[kind]:
        values[field] = form.get(field, "").strip()
    for field in _NUMBERS[kind]:
        text = form.get(field, "").strip()
        if text.isdecimal() and len(text) <= 9:
            values[field] = int(text)
        elif field in _OPTIONAL and not text:
            values[field] = 0
        else:
            missing.append(field)
    missing += [field for field in _TEXTS[kind] if not values[field] and field not in _OPTIONAL]
    if kind == "directory":
        values["is_removable"] = bool(form.get("is_removable"))
        values["disk_id"] = re.sub(r"[\s-]", "", str(values["disk_id"])).lower()
    if kind == "s3":
        values["country"] = str(values["country"]).upper()
    if kind == "s3" and not values["lock_mode"]:
        values["lock_days"] = 0
    return values, missing


def _region(
    region: str, said: str, hint: Callable[..., None], wrong: Callable[[str, str], None]
) -> None:
    """Judge where a bucket lies: by what is known of the region, else by what the host said."""
    known = REGIONS.get(region.lower())
    country = known or said or None
    if country is None:
        hint(
            tones.WARN,
            mark("Ask the host in which country «%(region)s» lies: it must be in the EEA."),
            region=region,
        )
    elif country in EEA:
        hint(
            tones.GOOD,
            mark("«%(region)s» lies in the European Economic Area (%(country)s)."),
            region=region,
            country=country,
        )
    else:
        wrong(
            "region" if known else "country",
            mark(
                "This place lies outside the European Economic Area: health data may not go there."
            ),
        )


def _nature(text: str, wrong: Callable[[str, str], None]) -> Nature | None:
    if not text:
        return None
    try:
        nature = Nature(text)
    except ValueError:
        wrong("nature", mark("Choose one of these."))
        return None
    if nature is Nature.OTHER:
        wrong(
            "nature",
            mark(
                "Only the practice itself or a certified host may keep health data; encryption does "
                "not change that (L.1111-8). This place cannot be used."
            ),
        )
    return nature


def _distance(text: str, wrong: Callable[[str, str], None]) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isdecimal() or len(text) > 6 or int(text) > MOST_KM:
        wrong("distance_km", mark("Kilometres, from 0 on; empty when not known."))
        return None
    return int(text)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_kind(kind: str) -> bool:
    """Return whether a kind of place has a form."""
    return kind in KINDS
