"""Passkeys (WebAuthn): as a second factor, and, when the device asked its holder, as the whole sign-in.

The key stays in the device; the box keeps its public half and counts. A passkey is of the name under
which the box is opened (armoire.local, the practice's own), never of a bare address.
Source: W3C Web Authentication Level 3 §7; measured-web.md G.
"""

import hashlib
import ipaddress
import json
import secrets
import threading
import time
from base64 import urlsafe_b64decode
from datetime import datetime
from typing import Any, Final

import webauthn
from sqlalchemy import Connection, insert, select, update
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from appliance.accounts import people, second_factors
from appliance.db.schema_people import second_factor
from appliance.errors import PasskeyRefused
from appliance.model import Person, PersonId

CHALLENGE_LIFE_S: Final = 300.0
CHALLENGES_AT_MOST: Final = 1_000
#: The purpose of the challenges asked for before signing in.
ANYBODY: Final = "in"
ANSWER_BYTES_AT_MOST: Final = 16_384
_NAME: Final = "Armoire"


class Challenges:
    """What devices were asked to sign, each good once and for some minutes, in memory.

    Those anybody may ask for, before signing in, push out only each other.
    """

    def __init__(self) -> None:
        self._made: dict[bytes, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def make(self, purpose: str) -> bytes:
        """Return a new challenge for this purpose: «in», «second:12», «add:3»."""
        challenge = secrets.token_bytes(32)
        with self._lock:
            now = time.monotonic()
            alike = [
                key
                for key, (each, ends) in self._made.items()
                if ends <= now or (each == ANYBODY) == (purpose == ANYBODY)
            ]
            if len(alike) >= CHALLENGES_AT_MOST:
                del self._made[alike[0]]  # the oldest
            self._made[challenge] = purpose, now + CHALLENGE_LIFE_S
        return challenge

    def take(self, challenge: bytes, purpose: str) -> bool:
        """Use a challenge up; return whether it was made for this and is still good."""
        with self._lock:
            kept = self._made.pop(challenge, None)
        return kept is not None and kept[0] == purpose and time.monotonic() < kept[1]


def fits(host: str) -> bool:
    """Return whether passkeys can be made under this name: a browser makes none for an address."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return bool(host)
    return False


def creation_options(connection: Connection, person: Person, *, host: str, challenge: bytes) -> str:
    """Return what the browser needs to make a passkey, as JSON."""
    handle = hashlib.sha256(f"{person.id}:{person.created_at.isoformat()}".encode()).digest()[:16]
    options = webauthn.generate_registration_options(
        rp_id=host,
        rp_name=_NAME,
        user_name=person.login,
        user_id=handle,
        user_display_name=person.name,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_known(connection, person.id),
    )
    return webauthn.options_to_json(options)


def request_options(
    connection: Connection, person_id: PersonId | None, *, host: str, challenge: bytes
) -> str:
    """Return what the browser needs to use a passkey, as JSON; None: anybody's, the whole sign-in."""
    options = webauthn.generate_authentication_options(
        rp_id=host,
        challenge=challenge,
        allow_credentials=None if person_id is None else _known(connection, person_id),
        user_verification=(
            UserVerificationRequirement.REQUIRED
            if person_id is None
            else UserVerificationRequirement.PREFERRED
        ),
    )
    return webauthn.options_to_json(options)


def add(
    connection: Connection,
    person: Person,
    answer: str,
    *,
    label: str,
    host: str,
    origin: str,
    challenges: Challenges,
    now: datetime,
) -> None:
    """Keep a new passkey inside the caller's write.

    Raises:
        PasskeyRefused: it does not answer our challenge, or is known already.
        NotAllowed: the account may have no way of its own.
    """
    people.demand_nominative(connection, person.id)
    challenge = _challenge(answer)
    if not challenges.take(challenge, f"add:{person.id}"):
        raise PasskeyRefused
    try:
        made = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=host,
            expected_origin=origin,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyRefused from error
    if _find(connection, made.credential_id) is not None:
        raise PasskeyRefused
    connection.execute(
        insert(second_factor).values(
            person_id=person.id,
            kind="passkey",
            label=label.strip()[:200],
            credential_id=made.credential_id,
            public_key=made.credential_public_key,
            counter=made.sign_count,
            created_at=now,
            confirmed_at=now,
        )
    )
    second_factors.record(connection, person.id, "second-factor.add", "passkey", now=now)


def use(
    connection: Connection,
    answer: str,
    *,
    purpose: str,
    person_id: PersonId | None,
    host: str,
    origin: str,
    challenges: Challenges,
    now: datetime,
) -> PersonId:
    """Check a passkey's answer inside the caller's write and return whose it is.

    Args:
        connection: of the write.
        answer: the browser's, JSON.
        purpose: what the challenge was made for.
        person_id: who must answer; None: whoever does, and the device has asked its holder (PIN, finger).
        host: the name the box is opened under.
        origin: ``https://host[:port]``.
        challenges: those made.
        now: aware.

    Raises:
        PasskeyRefused: the challenge is not ours, used or old; the key is unknown, another's, or a copy
            (its count went back); the holder was not asked though they should.
    """
    challenge = _challenge(answer)
    if not challenges.take(challenge, purpose):
        raise PasskeyRefused
    row = _find(connection, _credential_id(answer))
    if row is None or row.public_key is None or person_id not in {None, row.person_id}:
        raise PasskeyRefused
    try:
        checked = webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=host,
            expected_origin=origin,
            credential_public_key=row.public_key,
            credential_current_sign_count=row.counter,
            require_user_verification=person_id is None,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyRefused from error
    connection.execute(
        update(second_factor)
        .where(second_factor.c.id == row.id)
        .values(counter=checked.new_sign_count, used_at=now)
    )
    return PersonId(row.person_id)


def _known(connection: Connection, person_id: PersonId) -> list[PublicKeyCredentialDescriptor]:
    rows = connection.execute(
        select(second_factor.c.credential_id).where(
            second_factor.c.person_id == person_id,
            second_factor.c.kind == "passkey",
            second_factor.c.removed_at.is_(None),
            second_factor.c.credential_id.is_not(None),
        )
    )
    return [PublicKeyCredentialDescriptor(id=row.credential_id) for row in rows]


def _find(connection: Connection, credential_id: bytes) -> Any:  # noqa: ANN401 - a row
    return connection.execute(
        select(second_factor).where(
            second_factor.c.credential_id == credential_id, second_factor.c.removed_at.is_(None)
        )
    ).first()


def _challenge(answer: str) -> bytes:
    data = _decoded(_loaded(answer).get("response", {}).get("clientDataJSON", ""))
    try:
        said = json.loads(data)
        return _decoded(said["challenge"])
    except (ValueError, KeyError, TypeError) as error:
        raise PasskeyRefused from error


def _credential_id(answer: str) -> bytes:
    return _decoded(_loaded(answer).get("rawId", ""))


def _loaded(answer: str) -> dict[str, Any]:
    if len(answer) > ANSWER_BYTES_AT_MOST:
        raise PasskeyRefused
    try:
        found = json.loads(answer)
    except ValueError as error:
        raise PasskeyRefused from error
    if not isinstance(found, dict) or not isinstance(found.get("response"), dict):
        raise PasskeyRefused
    return found


def _decoded(text: object) -> bytes:
    try:
        return urlsafe_b64decode(str(text) + "=" * (-len(str(text)) % 4))
    except ValueError as error:
        raise PasskeyRefused from error
