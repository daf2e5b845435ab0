"""The host's dossier as JSON (``TargetRow.dossier``) and back: read strictly, every field of the HDS record.

``policy.hosting.judge`` says what is missing; here only what cannot be meant is refused. A dossier that a
person fills in over weeks is therefore storable from its first field on.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import date
from hashlib import sha256
from typing import Any, Final

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.policy.hosting import (
    ACTIVITIES,
    CONTRACT_POINTS,
    AccessFromOutside,
    ContractState,
    Document,
    Dossier,
    Professional,
    Site,
    Subcontractor,
)

VERSIONS: Final = ("v1", "v2")
DOCUMENT_KINDS: Final = (
    "certificate",
    "contract",
    "audit-summary",
    "subcontractor-certificate",
    "transfers-page",
    "designation-letter",
    "destruction-certificate",
)
#: After a certificate's end a practice may give itself so long to get the new one.
MOST_GRACE_DAYS: Final = 90
LONGEST_TEXT: Final = 500  # characters
MOST_ITEMS: Final = 50  # of any list
_HEX: Final = frozenset("0123456789abcdef")
_TEXTS: Final = frozenset(
    {
        "company",
        "incident_contact",
        "certificate_number",
        "certification_body",
        "residual_risk",
        "contract_reference",
        "contact",
    }
)
_DATES: Final = frozenset(
    {
        "issued_on",
        "expires_on",
        "suspended_on",
        "list_checked_on",
        "audited_on",
        "transfers_read_on",
        "contract_signed_on",
    }
)


def parse(values: Mapping[str, Any]) -> Dossier:
    """Return the dossier that ``values`` describe; a field that is not there is empty.

    Dates are ISO («2026-11-23») or empty; countries ISO 3166-1 alpha-2; contract points «1» … «14».

    Raises:
        InvalidInput: a field is unknown, of another type, or cannot be meant; its name is dotted
            («sites.0.country»).
    """
    unknown = set(values) - {each.name for each in fields(Dossier)}
    if unknown:
        raise InvalidInput(min(unknown), mark("a field of the host's dossier."))
    read = {name: _reader(name)(name, value) for name, value in values.items()}
    dossier = Dossier(**read)
    if (
        dossier.issued_on is not None
        and dossier.expires_on is not None
        and dossier.expires_on < dossier.issued_on
    ):
        raise InvalidInput("expires_on", mark("a day after the certificate was issued."))
    return dossier


def to_stored(dossier: Dossier) -> dict[str, Any]:
    """Return the JSON of ``TargetRow.dossier``: what is empty is left out; ``parse`` gives the same back."""
    stored: dict[str, Any] = {}
    for each in fields(Dossier):
        value = _plain(getattr(dossier, each.name))
        if value not in ("", None, [], {}, 0):
            stored[each.name] = value
    return stored


def merged(dossier: Dossier, changes: Mapping[str, Any]) -> Dossier:
    """Return the dossier with the fields of ``changes`` (JSON, as for ``parse``) in place of its own.

    Contract points are merged one by one; every other field is replaced whole.

    Raises:
        InvalidInput: as ``parse``.
    """
    both = {**to_stored(dossier), **changes}
    if "contract" in changes and isinstance(changes["contract"], Mapping):
        both["contract"] = {**to_stored(dossier).get("contract", {}), **changes["contract"]}
    return parse(both)


def with_account(dossier: Dossier, *, professional_disabled: bool) -> Dossier:
    """Return the dossier, told whether the designated professional's account here is switched off."""
    if dossier.professional is None:
        return dossier
    return replace(
        dossier,
        professional=replace(dossier.professional, account_disabled=professional_disabled),
    )


def digest(stored: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a stored dossier in its canonical form, 64 hex digits."""
    text = json.dumps(stored, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


# --- one field -------------------------------------------------------------------------------


def _reader(name: str) -> Callable[[str, Any], Any]:
    if name in _TEXTS:
        return _text
    if name in _DATES:
        return _date
    return _READERS[name]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise InvalidInput(name, mark("a text of at most 500 characters."))
    return value.strip()


def _date(name: str, value: object) -> date | None:
    if value is None or value == "":
        return None
    try:
        return date.fromisoformat(value)  # type: ignore[arg-type]  # anything else is refused here
    except (TypeError, ValueError) as error:
        raise InvalidInput(name, mark("a date, as 2026-11-23.")) from error


def _siren(name: str, value: object) -> str:
    text = _text(name, value).replace(" ", "")
    if text and not (len(text) == 9 and text.isascii() and text.isdigit()):
        raise InvalidInput(name, mark("nine digits."))
    return text


def _version(name: str, value: object) -> str:
    if value not in ("", *VERSIONS):
        raise InvalidInput(name, mark("v1 or v2."))
    return str(value)


def _activities(name: str, value: object) -> frozenset[int]:
    found = _list(name, value)
    if not all(type(each) is int and each in ACTIVITIES for each in found):
        raise InvalidInput(name, mark("numbers from 1 to 6."))
    return frozenset(found)


def _access(name: str, value: object) -> AccessFromOutside | None:
    if value is None or value == "":
        return None
    try:
        return AccessFromOutside(str(value))
    except ValueError as error:
        raise InvalidInput(name, mark("none, adequacy or safeguards.")) from error


def _page(name: str, value: object) -> str:
    text = _text(name, value)
    if text and not text.startswith(("https://", "http://")):
        raise InvalidInput(name, mark("an address that begins with https://."))
    return text


def _texts(name: str, value: object) -> tuple[str, ...]:
    read = (_text(f"{name}.{number}", each) for number, each in enumerate(_list(name, value)))
    return tuple(each for each in read if each)


def _sites(name: str, value: object) -> tuple[Site, ...]:
    found = []
    for number, each in enumerate(_list(name, value)):
        at = f"{name}.{number}"
        entry = _entry(at, each, {"city", "country"}, {"country"})
        country = _text(f"{at}.country", entry["country"]).upper()
        if len(country) != 2 or not country.isascii() or not country.isalpha():
            raise InvalidInput(f"{at}.country", mark("a country's two letters, as FR."))
        found.append(Site(_text(f"{at}.city", entry.get("city", "")), country))
    return tuple(found)


def _subcontractors(name: str, value: object) -> tuple[Subcontractor, ...]:
    found = []
    for number, each in enumerate(_list(name, value)):
        at = f"{name}.{number}"
        entry = _entry(at, each, {"name", "role", "is_certified", "activities"}, {"name"})
        certified = entry.get("is_certified", False)
        found.append(
            Subcontractor(
                _text(f"{at}.name", entry["name"]),
                _text(f"{at}.role", entry.get("role", "")),
                _bool(f"{at}.is_certified", certified),
                _activities(f"{at}.activities", entry.get("activities", [])),
            )
        )
    return tuple(found)


def _professional(name: str, value: object) -> Professional | None:
    if value is None or value == {}:
        return None
    allowed = {"name", "rpps", "designated_on", "account_disabled"}
    entry = _entry(name, value, allowed, {"name", "rpps", "designated_on"})
    who = _text(f"{name}.name", entry["name"])
    on = _date(f"{name}.designated_on", entry["designated_on"])
    if not who:
        raise InvalidInput(f"{name}.name", mark("the person's name."))
    if on is None:
        raise InvalidInput(f"{name}.designated_on", mark("a date, as 2026-11-23."))
    rpps = _text(f"{name}.rpps", entry["rpps"]).replace(" ", "")
    disabled = _bool(f"{name}.account_disabled", entry.get("account_disabled", False))
    return Professional(who, rpps, on, disabled)


def _contract(name: str, value: object) -> dict[int, ContractState]:
    if not isinstance(value, Mapping):
        raise InvalidInput(name, mark("a state for each point."))
    found: dict[int, ContractState] = {}
    for point, state in value.items():
        text = str(point)
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= CONTRACT_POINTS):
            raise InvalidInput(f"{name}.{text[:20]}", mark("a point from 1 to 14."))
        try:
            found[int(text)] = ContractState(str(state))
        except ValueError as error:
            raise InvalidInput(f"{name}.{text}", mark("missing, asked or present.")) from error
    return dict(sorted(found.items()))


def _documents(name: str, value: object) -> tuple[Document, ...]:
    found = []
    for number, each in enumerate(_list(name, value)):
        at = f"{name}.{number}"
        entry = _entry(at, each, {"kind", "sha256"}, {"kind", "sha256"})
        if entry["kind"] not in DOCUMENT_KINDS:
            raise InvalidInput(f"{at}.kind", ", ".join(DOCUMENT_KINDS) + ".")
        digest = _text(f"{at}.sha256", entry["sha256"]).lower()
        if len(digest) != 64 or not set(digest) <= _HEX:
            raise InvalidInput(f"{at}.sha256", mark("64 hexadecimal digits."))
        found.append(Document(entry["kind"], digest))
    return tuple(found)


def _grace(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= MOST_GRACE_DAYS:
        raise InvalidInput(name, mark("a number of days from 0 to 90."))
    return value


def _list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list | tuple | set | frozenset) or len(value) > MOST_ITEMS:
        raise InvalidInput(name, mark("a list of at most 50 entries."))
    return list(value)


def _entry(name: str, value: object, allowed: set[str], needed: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(name, mark("an entry with its fields."))
    wrong = sorted(set(value) - allowed) + sorted(needed - set(value))
    if wrong:
        raise InvalidInput(f"{name}.{wrong[0]}", mark("a field of the host's dossier."))
    return value


def _bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(name, mark("yes or no."))
    return value


_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "siren": _siren,
    "version": _version,
    "activities": _activities,
    "sites": _sites,
    "access_from_outside": _access,
    "foreign_laws": _texts,
    "transfers_page": _page,
    "subcontractors": _subcontractors,
    "products": _texts,
    "contract": _contract,
    "professional": _professional,
    "deputy": _professional,
    "documents": _documents,
    "grace_days": _grace,
}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Site):
        return {"city": value.city, "country": value.country}
    if isinstance(value, Subcontractor):
        return {
            "name": value.name,
            "role": value.role,
            "is_certified": value.is_certified,
            "activities": sorted(value.activities),
        }
    if isinstance(value, Professional):
        return {
            "name": value.name,
            "rpps": value.rpps,
            "designated_on": value.designated_on.isoformat(),
            **({"account_disabled": True} if value.account_disabled else {}),
        }
    if isinstance(value, Document):
        return {"kind": value.kind, "sha256": value.sha256}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(point): state.value for point, state in value.items()}
    if isinstance(value, AccessFromOutside):
        return value.value
    return value
