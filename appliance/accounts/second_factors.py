"""Second factors: codes of an application (TOTP), recovery codes, and the list of them with the passkeys.

A TOTP secret is sealed to the web process's own key; a recovery code is 80 random bits of which the
SHA-256 is stored; of a code of the application the step is remembered, so that none is good twice.
Source: RFC 6238 §5.2 (one use a step); docs/decisions/0177 and 0178.
"""

import hashlib
import hmac
import re
import secrets
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyotp
from sqlalchemy import Connection, Row, func, insert, select, update

from appliance.accounts import people
from appliance.db.schema_people import second_factor
from appliance.errors import CodeWrong, NotFound
from appliance.ledger import events
from appliance.model import Person, PersonId
from appliance.vault.secret import Secret
from appliance.vault.web_key import open_for_web, opens, seal_for_web

ISSUER: Final = "Armoire"
STEP_S: Final = 30
#: Steps before and after now that are taken: clocks of phones are off by some seconds.
WINDOW: Final = (0, -1, 1)
CODES: Final = 10
_CODE_BYTES: Final = 10  # 80 bits: 16 signs of base32
#: Makes the wait for a second factor, not the codes, what an attacker must beat.
_DIGITS: Final = 6
_CODE: Final = re.compile(r"[0-9]{6}")


@dataclass(frozen=True, slots=True)
class Factor:
    """A living second factor."""

    id: int
    kind: str  # totp · passkey
    label: str
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Draft:
    """An application's secret, shown until its first code proves that it was taken."""

    id: int
    secret: str  # base32, to type
    address: str  # otpauth://…, to scan


def of_person(connection: Connection, person_id: PersonId) -> list[Factor]:
    """Return the confirmed applications and passkeys of a person, newest first."""
    rows = connection.execute(
        select(second_factor)
        .where(*_living(person_id), second_factor.c.kind.in_(("totp", "passkey")))
        .order_by(second_factor.c.id.desc())
    )
    return [Factor(row.id, row.kind, row.label, row.created_at, row.used_at) for row in rows]


def has_any(connection: Connection, person_id: PersonId, folder: Path) -> bool:
    """Return whether the person can show a second factor: one that this box can check.

    Args:
        connection: to the state.
        person_id: whose.
        folder: of the web's key; an application sealed to the key of a box that burnt counts no more.
    """
    return any(
        row.kind == "passkey" or opens(row.secret, folder)
        for row in _rows(connection, person_id, ("totp", "passkey"))
    )


def codes_left(connection: Connection, person_id: PersonId) -> int:
    """Return how many recovery codes are left."""
    return connection.execute(
        select(func.count())
        .select_from(second_factor)
        .where(
            *_living(person_id),
            second_factor.c.kind == "recovery",
            second_factor.c.used_at.is_(None),
        )
    ).scalar_one()


def begin_totp(connection: Connection, person: Person, folder: Path, *, now: datetime) -> Draft:
    """Begin an application inside the caller's write; an older draft of theirs ends.

    Raises:
        NotAllowed: the account may have no way of its own.
    """
    people.demand_nominative(connection, person.id)
    connection.execute(
        update(second_factor)
        .where(
            second_factor.c.person_id == person.id,
            second_factor.c.kind == "totp",
            second_factor.c.confirmed_at.is_(None),
            second_factor.c.removed_at.is_(None),
        )
        .values(removed_at=now, secret=None)
    )
    text = pyotp.random_base32()
    result = connection.execute(
        insert(second_factor).values(
            person_id=person.id,
            kind="totp",
            label="",
            secret=seal_for_web(Secret(text.encode("ascii")), folder),
            created_at=now,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    return _draft(result.inserted_primary_key[0], text, person)


def find_draft(connection: Connection, person: Person, folder: Path) -> Draft | None:
    """Return the application a person has begun and not confirmed, or None."""
    row = connection.execute(
        select(second_factor).where(
            second_factor.c.person_id == person.id,
            second_factor.c.kind == "totp",
            second_factor.c.confirmed_at.is_(None),
            second_factor.c.removed_at.is_(None),
        )
    ).first()
    if row is None or not opens(row.secret, folder):
        return None
    return _draft(row.id, open_for_web(row.secret, folder).reveal().decode("ascii"), person)


def confirm_totp(
    connection: Connection, person: Person, code: str, folder: Path, *, label: str, now: datetime
) -> None:
    """Take the application into use inside the caller's write: its first code proves it.

    Raises:
        CodeWrong: it is not a code of the draft of now, or there is no draft.
    """
    draft = find_draft(connection, person, folder)
    if draft is None:
        raise CodeWrong
    step = _step_of(draft.secret, code, now)
    if step is None:
        raise CodeWrong
    connection.execute(
        update(second_factor)
        .where(second_factor.c.id == draft.id)
        .values(confirmed_at=now, used_at=now, counter=step, label=label.strip()[:200])
    )
    record(connection, person.id, "second-factor.add", "totp", now=now)


def use_code(
    connection: Connection, person_id: PersonId, code: str, folder: Path, *, now: datetime
) -> str:
    """Use a code of an application or a recovery code up; return which: «totp» or «recovery».

    Raises:
        CodeWrong: it is neither, or was used; of two uses at the same moment one gets this.
    """
    typed = re.sub(r"[\s-]", "", code).upper()
    if _CODE.fullmatch(typed):
        for row in _rows(connection, person_id, ("totp",)):
            if not opens(row.secret, folder):
                continue
            text = open_for_web(row.secret, folder).reveal().decode("ascii")
            step = _step_of(text, typed, now)
            if step is None:
                continue
            changed = connection.execute(
                update(second_factor)
                .where(second_factor.c.id == row.id, second_factor.c.counter < step)
                .values(counter=step, used_at=now)
            )
            if changed.rowcount == 1:
                return "totp"
        raise CodeWrong
    changed = connection.execute(
        update(second_factor)
        .where(
            *_living(person_id),
            second_factor.c.kind == "recovery",
            second_factor.c.code_hash == _hash(typed),
            second_factor.c.used_at.is_(None),
        )
        .values(used_at=now)
    )
    if changed.rowcount != 1:
        raise CodeWrong
    return "recovery"


def make_codes(connection: Connection, person_id: PersonId, *, now: datetime) -> list[str]:
    """Make ten recovery codes inside the caller's write and return them, once; older ones end."""
    connection.execute(
        update(second_factor)
        .where(*_living(person_id), second_factor.c.kind == "recovery")
        .values(removed_at=now)
    )
    codes = [b32encode(secrets.token_bytes(_CODE_BYTES)).decode("ascii") for _ in range(CODES)]
    connection.execute(
        insert(second_factor),
        [
            {
                "person_id": person_id,
                "kind": "recovery",
                "label": "",
                "code_hash": _hash(code),
                "created_at": now,
                "confirmed_at": now,
            }
            for code in codes
        ],
    )
    record(connection, person_id, "second-factor.codes", "recovery", now=now)
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]


def remove(connection: Connection, person_id: PersonId, factor_id: int, *, now: datetime) -> None:
    """Remove one's application or passkey inside the caller's write; its secret is erased.

    With the last one the recovery codes go: they are no factor of their own.

    Raises:
        NotFound: this person has no such factor.
    """
    row = connection.execute(
        select(second_factor).where(
            *_living(person_id),
            second_factor.c.id == factor_id,
            second_factor.c.kind.in_(("totp", "passkey")),
        )
    ).first()
    if row is None:
        raise NotFound("second factor", str(factor_id))
    _erase(connection, [factor_id], now)
    record(connection, person_id, "second-factor.remove", row.kind, now=now)
    if not of_person(connection, person_id):
        _erase(connection, [each.id for each in _rows(connection, person_id, ("recovery",))], now)


def remove_all(
    connection: Connection, person_id: PersonId, *, by: PersonId | None, now: datetime
) -> int:
    """Remove every second factor of a person who lost them; return how many. By the console when None."""
    found = _rows(connection, person_id, ("totp", "passkey", "recovery"))
    _erase(connection, [each.id for each in found], now)
    events.record(
        connection,
        at=now,
        event="second-factor.reset",
        subject=f"person:{person_id}",
        person_id=by,
        actor="console",
    )
    return len(found)


def record(
    connection: Connection, person_id: PersonId, event: str, kind: str, *, now: datetime
) -> None:
    """Write a change of one's own factors in the ledger."""
    events.record(
        connection,
        at=now,
        event=event,
        subject=f"person:{person_id}",
        person_id=person_id,
        kind=kind,
    )


def _erase(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    connection.execute(
        update(second_factor)
        .where(second_factor.c.id.in_(list(ids)))
        .values(removed_at=now, secret=None, public_key=None, credential_id=None)
    )


def _rows(connection: Connection, person_id: PersonId, kinds: Sequence[str]) -> Sequence[Row[Any]]:
    return connection.execute(
        select(second_factor).where(*_living(person_id), second_factor.c.kind.in_(kinds))
    ).all()


def _living(person_id: PersonId) -> tuple[Any, ...]:
    return (
        second_factor.c.person_id == person_id,
        second_factor.c.confirmed_at.is_not(None),
        second_factor.c.removed_at.is_(None),
    )


def _draft(factor_id: int, text: str, person: Person) -> Draft:
    address = pyotp.TOTP(text).provisioning_uri(name=person.login, issuer_name=ISSUER)
    return Draft(factor_id, text, address)


def _step_of(text: str, code: str, now: datetime) -> int | None:
    """Return the step whose code this is, the present one or its neighbours; None: none."""
    typed = re.sub(r"\s", "", code)
    if not _CODE.fullmatch(typed):
        return None
    made = pyotp.TOTP(text, digits=_DIGITS, interval=STEP_S)
    present = int(now.timestamp()) // STEP_S
    for offset in WINDOW:
        if hmac.compare_digest(made.generate_otp(present + offset), typed):
            return present + offset
    return None


def _hash(typed: str) -> str:
    return hashlib.sha256(typed.encode()).hexdigest()
