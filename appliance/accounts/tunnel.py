"""Devices that come in through the tunnel: each is a person's, and lives no longer than their account.

A device's private key is made for the person, shown once, and stored nowhere.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sqlalchemy import Connection, Row, insert, select, update

from appliance.accounts import people
from appliance.db import facts, terms
from appliance.db.schema_people import tunnel_device
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId, Role
from appliance.policy import tunnel
from appliance.policy.share_rights import running_term
from appliance.policy.tunnel import Peer

#: Facts: name and port the practice's router is reached under, and the box's public key.
ENDPOINT: Final = facts.TUNNEL_ENDPOINT
PUBLIC_KEY: Final = "tunnel.public-key"
MOST_DEVICES: Final = 5  # of one person
#: A device speaks every two minutes while it is there; what is shown need not be finer.
SEEN_EVERY: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Device:
    """One device."""

    id: int
    person_id: PersonId
    label: str
    public_key: str
    address: str
    created_at: datetime
    ends_at: datetime | None
    seen_at: datetime | None


def make_keys() -> tuple[str, str]:
    """Return a private and its public key, base64."""
    key = X25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b64encode(private).decode("ascii"), b64encode(public).decode("ascii")


def add(
    connection: Connection,
    person_id: PersonId,
    label: str,
    public_key: str,
    *,
    by: PersonId,
    now: datetime,
    ends_at: datetime | None = None,
) -> Device:
    """Let a device of a person in, inside the caller's write, and return it.

    Raises:
        InvalidInput: no name, no key, or too many devices. TunnelFull.
        NotAllowed: the account may have no way of its own.
    """
    people.demand_nominative(connection, person_id)
    if not label.strip() or len(label) > 100:
        raise InvalidInput("label", mark("A name for the device, please."))
    if len(of_person(connection, person_id)) >= MOST_DEVICES:
        raise InvalidInput("label", mark("At most five devices a person: revoke one first."))
    taken = connection.execute(select(tunnel_device.c.address)).scalars().all()
    address = tunnel.next_address(taken)
    result = connection.execute(
        insert(tunnel_device).values(
            person_id=person_id,
            label=label.strip(),
            public_key=tunnel.check_key(public_key),
            address=address,
            created_at=now,
            ends_at=ends_at,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    number = int(result.inserted_primary_key[0])
    events.record(
        connection,
        at=now,
        event="tunnel.device-added",
        subject=f"person:{person_id}",
        person_id=by,
        actor=None,
        device=number,
    )
    return next(each for each in of_person(connection, person_id) if each.id == number)


def revoke(
    connection: Connection,
    device_id: int,
    *,
    by: PersonId,
    now: datetime,
    person_id: PersonId | None = None,
) -> None:
    """Shut a device out; of ``person_id`` only, when given.

    Raises:
        NotFound: there is no such living device.
    """
    query = update(tunnel_device).where(
        tunnel_device.c.id == device_id, tunnel_device.c.revoked_at.is_(None)
    )
    if person_id is not None:
        query = query.where(tunnel_device.c.person_id == person_id)
    if connection.execute(query.values(revoked_at=now)).rowcount == 0:
        raise NotFound("device", str(device_id))
    events.record(
        connection,
        at=now,
        event="tunnel.device-revoked",
        subject=f"device:{device_id}",
        person_id=by,
        actor=None,
    )


def news(connection: Connection, heard: Mapping[str, datetime]) -> dict[int, datetime]:
    """Return the living devices that were heard since what is known of them: id → when."""
    return {
        each.id: heard[each.public_key]
        for each in living(connection)
        if each.public_key in heard
        and (each.seen_at is None or heard[each.public_key] - each.seen_at >= SEEN_EVERY)
    }


def note_seen(connection: Connection, seen: Mapping[int, datetime]) -> None:
    """Store when devices were last heard, inside the caller's write. No event: it is no doing of anybody."""
    for device_id, at in seen.items():
        connection.execute(
            update(tunnel_device).where(tunnel_device.c.id == device_id).values(seen_at=at)
        )


def of_person(connection: Connection, person_id: PersonId) -> list[Device]:
    """Return the living devices of a person, the newest first."""
    return [each for each in living(connection) if each.person_id == person_id]


def living(connection: Connection) -> list[Device]:
    """Return every device that was not revoked, the newest first."""
    query = (
        select(tunnel_device)
        .where(tunnel_device.c.revoked_at.is_(None))
        .order_by(tunnel_device.c.id.desc())
    )
    return [_device(row) for row in connection.execute(query)]


def peers(connection: Connection, *, now: datetime) -> list[Peer]:
    """Return the devices that may come in at ``now``: of living accounts, of locums in their term only."""
    everybody = {each.id: each for each in people.everybody(connection)}
    found = []
    for device in living(connection):
        person = everybody[device.person_id]
        if person.disabled_at is not None or (device.ends_at is not None and now >= device.ends_at):
            continue
        if person.role is Role.LOCUM and (
            running_term(terms.of_locum(connection, person.id), now) is None
        ):
            continue
        found.append(Peer(device.public_key, device.address))
    return found


def endpoint(connection: Connection) -> tuple[str, int] | None:
    """Return the name and port the box is reached under from outside; None: not set yet."""
    found = facts.find(connection, ENDPOINT)
    return tunnel.check_endpoint(found) if isinstance(found, str) and found else None


def _device(row: Row[Any]) -> Device:
    return Device(
        row.id,
        PersonId(row.person_id),
        row.label,
        row.public_key,
        row.address,
        row.created_at,
        row.ends_at,
        row.seen_at,
    )
