"""One box at a time: after a recovery the old box, should it wake up, finds that another took over.

The object ``takeover/<instance>`` is one line of JSON, signed with the box's signing key as a generation is:

    {"box":"…","count":1,"instance":"…","signature":"…","taken_at":"…"}

``count`` grows with every takeover a new box saw there; the highest one writes, every other box refuses.
A host that withholds the object is caught by the numbers of the generations (``push``).
"""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.db import facts
from appliance.db.engine import Database
from appliance.errors import ObjectAlreadyThere, ObjectAltered, TargetIdentityChanged
from appliance.replication.target import SealedFile, Target

PREFIX: Final = "takeover/"
LARGEST_BYTES: Final = 4096
#: Facts: who this box is since a recovery; where that is still to be said.
INSTANCE: Final = "box.instance"
PENDING: Final = "box.takeover-pending"


@dataclass(frozen=True, slots=True)
class Takeover:
    """A box took over at a place."""

    box_id: str
    instance: str
    count: int  # 1, 2 …
    taken_at: datetime  # aware UTC


#: Told name and SHA-256 of an object below PREFIX that this box never signed.
OnForged = Callable[[str, str], None]


def new_instance() -> str:
    """Return a random id for the box that a recovery makes, 32 hex digits."""
    return secrets.token_hex(16)


def publish(
    target: Target,
    *,
    box_id: str,
    instance: str,
    signing_key: Ed25519PrivateKey,
    spool: Path,
    now: datetime,
    on_forged: OnForged | None = None,
) -> Takeover:
    """Say at a place that ``instance`` is the box from now on; safe to call again.

    Raises:
        TargetRefuses: the account may only read: publish again with the account of the vault.
        ObjectAltered: a takeover lies there that this box never signed.
        Any TargetError.
    """
    before = known(target, box_id=box_id, signer=signing_key.public_key(), on_forged=on_forged)
    for each in before:
        if each.instance == instance:
            return each
    one = Takeover(
        box_id, instance, max((each.count for each in before), default=0) + 1, now.astimezone(UTC)
    )
    values = _values(one)
    signature = base64.b64encode(signing_key.sign(_canonical(values))).decode("ascii")
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = spool / f"takeover-{instance}"
    draft.write_bytes(_canonical({**values, "signature": signature}))
    try:
        target.create(PREFIX + instance, SealedFile.of(draft))
    except ObjectAlreadyThere:
        return _seen(target, one, signing_key.public_key())
    finally:
        draft.unlink(missing_ok=True)
    return one


def _seen(target: Target, wanted: Takeover, signer: Ed25519PublicKey) -> Takeover:
    """Return the takeover of this instance that a listing did not show yet.

    Raises:
        ObjectAltered: it is not ours.
    """
    return _read(target, PREFIX + wanted.instance, wanted.box_id, signer)


def known(
    target: Target,
    *,
    box_id: str,
    signer: Ed25519PublicKey,
    on_forged: OnForged | None = None,
) -> list[Takeover]:
    """Return the takeovers at a place, the one that holds now first.

    Args:
        target: where.
        box_id: of this box.
        signer: public half of the signing key.
        on_forged: told of every one that this box never signed, which is then left aside.

    Raises:
        ObjectAltered: one is not signed by this box, and nobody wants to be told.
        TargetListUnreadable, TargetUnreachable.
    """
    found = []
    for info in list(target.list(PREFIX)):
        try:
            found.append(_read(target, info.name, box_id, signer, size=info.size))
        except ObjectAltered:
            if on_forged is None:
                raise
            on_forged(info.name, _digest(target, info.name))
    return sorted(found, key=lambda each: (each.count, each.instance), reverse=True)


def check_takeover(
    target: Target,
    instance: str | None,
    *,
    box_id: str,
    signer: Ed25519PublicKey,
    on_forged: OnForged | None = None,
) -> None:
    """Return when this box is the one that may write at a place; asked before every push.

    Args:
        target: where.
        instance: the fact ``box.instance``; None for a box that was never recovered.
        box_id: of this box.
        signer: public half of the signing key.
        on_forged: as ``known``.

    Raises:
        TargetIdentityChanged: another box took over.
        ObjectAltered: a takeover lies there that this box never signed, and nobody wants to be told.
    """
    found = known(target, box_id=box_id, signer=signer, on_forged=on_forged)
    if found and found[0].instance != instance:
        raise TargetIdentityChanged(
            target.label,
            f"box {(instance or 'first')[:8]}",
            f"box {found[0].instance[:8]}, which took over on {found[0].taken_at:%Y-%m-%d %H:%M} UTC",
        )


def before_push(
    database: Database,
    target: Target,
    name: str,
    *,
    box_id: str,
    signing_key: Ed25519PrivateKey,
    spool: Path,
    now: datetime,
    on_forged: OnForged | None = None,
) -> None:
    """Return when this box may write at the place ``name``; say there first that it took over, if it still has to.

    The kit's account may only read, and a place may be away on the day of the fire: a recovery leaves the names
    of such places in the fact PENDING.

    Raises:
        TargetIdentityChanged: another box took over.
        ObjectAltered, or any TargetError.
    """
    with database.read() as connection:
        instance = facts.find(connection, INSTANCE)
        pending = facts.find(connection, PENDING)
    if isinstance(instance, str) and isinstance(pending, list) and name in pending:
        publish(
            target,
            box_id=box_id,
            instance=instance,
            signing_key=signing_key,
            spool=spool,
            now=now,
            on_forged=on_forged,
        )
        with database.write() as connection:
            waiting = facts.find(connection, PENDING)
            left = [each for each in waiting if each != name] if isinstance(waiting, list) else []
            facts.put(connection, PENDING, left, now=now)
    check_takeover(
        target,
        instance if isinstance(instance, str) else None,
        box_id=box_id,
        signer=signing_key.public_key(),
        on_forged=on_forged,
    )


def _digest(target: Target, name: str) -> str:
    digest = hashlib.sha256()
    for block in target.read(name):
        digest.update(block)
    return digest.hexdigest()


def _read(
    target: Target,
    name: str,
    box_id: str,
    signer: Ed25519PublicKey,
    *,
    size: int = 0,
) -> Takeover:
    if size > LARGEST_BYTES:
        raise ObjectAltered(target.label, name, "it is too large")
    data = b"".join(target.read(name, length=LARGEST_BYTES))
    try:
        values = json.loads(data)
        signature = base64.b64decode(values.pop("signature"), validate=True)
        signer.verify(signature, _canonical(values))
        one = Takeover(
            str(values["box"]),
            str(values["instance"]),
            int(values["count"]),
            datetime.fromisoformat(values["taken_at"]),
        )
    except (
        InvalidSignature,
        binascii.Error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise ObjectAltered(target.label, name, "its signature is not of this box") from error
    if one.box_id != box_id or name != PREFIX + one.instance:
        raise ObjectAltered(target.label, name, "it is of another box, or under another name")
    return one


def _values(one: Takeover) -> dict[str, object]:
    return {
        "box": one.box_id,
        "count": one.count,
        "instance": one.instance,
        "taken_at": one.taken_at.isoformat(),
    }


def _canonical(values: dict[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
