"""The kit file for a USB stick: where the copies are and how to reach them, sealed to the words."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from appliance.db import facts, secrets, targets
from appliance.db.targets import TargetRow
from appliance.errors import NotFound
from appliance.jobs import kit_access
from appliance.replication.kit import KitFile, signer_text, signing_key, write_file
from appliance.settings import Settings
from appliance.vault.unseal import unseal

NAME: Final = "armoire.kit"
#: Short names of a target's secrets; those of ``jobs.kit_access`` go before the ones the box sends with.
SECRETS: Final = ("key", "password", "s3")


def build_kit_file(connection: Connection, settings: Settings, *, now: datetime) -> bytes:
    """Return the kit file of this moment: every living target, sealed to the words of the kit that counts.

    While a new kit waits for its words, the file opens with either: it stays right when the new one holds.

    Credentials are those for reading where the practice entered some (``target:<id>:read-…``), else the
    ones the box sends with; ``reads_only`` of a target says which.

    Args:
        connection: a read is enough; ``jobs.kit_readings.file_written`` is the caller's.
        settings: of the box.
        now: aware UTC.

    Raises:
        NotFound: no kit was made.
        SecretMissing, KeyMissing, SecretUnreadable: of the vault.
    """
    recipient = facts.find(connection, "kit.recipient")
    if not isinstance(recipient, str):
        raise NotFound("kit", "–")
    coming = facts.find(connection, "kit.next")
    before = facts.find(connection, "kit.former")
    former = [
        str(sealed)
        for sealed in (
            coming["former"] if isinstance(coming, dict) else "",
            before["sealed"] if isinstance(before, dict) else "",
        )
        if sealed
    ]
    kit = KitFile(
        box_id=str(facts.find(connection, "box.id") or ""),
        practice=str(facts.find(connection, "practice.name") or ""),
        made_at=now.isoformat(),
        signer=signer_text(signing_key(connection, settings.keys).public_key()),
        targets=tuple(
            _target(connection, settings, each) for each in targets.all_living(connection)
        ),
        number=str(facts.find(connection, "kit.number") or ""),
        former=tuple(former),
    )
    also = [str(coming["recipient"])] if isinstance(coming, dict) else []
    return write_file(kit, recipient=recipient, also=also)


def targets_in(connection: Connection) -> list[tuple[str, bool]]:
    """Return label and ``reads_only`` of every target a kit file of now names."""
    return [
        (each.label, kit_access.reads_only(connection, each))
        for each in targets.all_living(connection)
    ]


def _target(connection: Connection, settings: Settings, target: TargetRow) -> Mapping[str, object]:
    is_reading = kit_access.reads_only(connection, target)
    given: dict[str, str] = {}
    for short in SECRETS:
        name = kit_access.name_of(target.id, short) if is_reading else f"target:{target.id}:{short}"
        plain = _plain(connection, settings, name)
        if plain is not None:
            given[short] = base64.b64encode(plain).decode("ascii")
    place = dict(target.place)
    user = _plain(connection, settings, kit_access.name_of(target.id, kit_access.USER))
    if is_reading and user is not None:
        place["user"] = user.decode()
    return {
        "name": target.name,
        "label": target.label,
        "kind": target.kind,
        "place": place,
        "secrets": given,
        "reads_only": is_reading,
    }


def _plain(connection: Connection, settings: Settings, name: str) -> bytes | None:
    sealed = secrets.find_sealed(connection, name)
    return None if sealed is None else unseal(name, sealed, settings.keys).reveal()
