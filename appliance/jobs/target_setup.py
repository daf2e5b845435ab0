"""Adding, changing and removing a target: what a person does, whether in a page or in a terminal.

Secrets are sealed here with the box's public key (the web may), never opened. Every change is in the ledger
with who made it; a declared nature and a dossier are decisions of a doctor, so each has its own event.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

from sqlalchemy import Connection

from appliance.db import secrets as vault_rows
from appliance.db import targets
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import InvalidInput
from appliance.jobs import kit_access
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.policy import bandwidth as rates
from appliance.policy import dossier as dossiers
from appliance.policy import place as places
from appliance.policy.hosting import Nature
from appliance.policy.place import BoxPlace, DirectoryPlace, Place, SftpPlace
from appliance.settings import Settings
from appliance.vault.seal import seal
from appliance.vault.secret import Secret

#: Which secrets each kind takes; ``target:<id>:<name>`` in the vault. A key is made by ``target.set-up``.
SECRETS: Final[dict[str, frozenset[str]]] = {
    "directory": frozenset(),
    "sftp": frozenset({"key", "password"}),
    "box": frozenset({"key"}),
    "s3": frozenset({"s3"}),
}
#: In the target's facts: the public half of the key the box signs in with, «ssh-ed25519 AAAA… armoire-3».
PUBLIC_KEY: Final = "public_key"
#: In the target's facts: {"host_key": line, "fingerprint": «SHA256:…», "at": ISO time}. Nothing is pinned
#: by looking: ``confirm_host_key`` does, when a person says so.
OFFERED_HOST_KEY: Final = "offered_host_key"
#: In the target's facts: {"job": id, "at": ISO time, "ended": bool, "results": [{check, outcome, text, facts}…]}.
CHECK: Final = "check"
MOST_KM: Final = 20_040  # half around the Earth
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_LONGEST_LABEL: Final = 200


class Keep(Enum):
    """Stands for «as it is» where None means something."""

    AS_IT_IS = "as-it-is"


def s3_secret(access_key: str, secret_key: str) -> Secret:
    """Return a bucket's two keys as the vault keeps them under «s3»."""
    return Secret(json.dumps({"access_key": access_key, "secret_key": secret_key}).encode())


def add_target(
    connection: Connection,
    settings: Settings,
    *,
    name: str,
    label: str,
    kind: str,
    place: Place | Mapping[str, Any],
    nature: Nature | None,
    distance_km: int | None,
    secrets: Mapping[str, Secret],
    person: PersonId | None,
    now: datetime,
) -> TargetRow:
    """Add a target and return it; ``target.set-up`` is the caller's to queue.

    Args:
        connection: inside ``Database.write()``.
        settings: of the box.
        name: a slug, for the command line.
        label: what people read; empty: the name.
        kind: directory · sftp · s3 · box.
        place: where it is.
        nature: what it is to the practice; None: not declared yet, so nothing is sent there.
        distance_km: how far away, as declared; None: not known.
        secrets: by ``SECRETS``' names; a bucket's by ``s3_secret``.
        person: who adds it; None: at the console of the box.
        now: aware UTC.

    Raises:
        InvalidInput: a value cannot be used.
        AlreadyExists: the name is taken.
        KeyMissing: the box has no key pair.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput("name", mark("Small letters, digits and «-», at most 64."))
    parsed = _parsed(kind, place)
    _check_secrets(kind, secrets)
    if kind == "s3" and "s3" not in secrets:
        raise InvalidInput("s3", mark("the two keys of the bucket."))
    _check_disk(connection, parsed, None)
    row = targets.add(
        connection,
        name=name,
        label=_label(label or name),
        kind=kind,
        place=places.to_stored(parsed),
        now=now,
        nature=None if nature is None else nature.value,
    )
    if distance_km is not None:
        targets.change(connection, row.id, distance_km=_distance(distance_km))
    _seal(connection, settings, row.id, secrets, now)
    who = _who(person)
    events.record(
        connection, at=now, event="target.added", subject=_subject(row.id), kind=kind, **who
    )
    if nature is not None:
        _declared(connection, row.id, None, nature.value, now, who)
    return targets.get(connection, row.id)


def change_target(
    connection: Connection,
    settings: Settings,
    target_id: TargetId,
    *,
    label: str | None = None,
    place: Place | Mapping[str, Any] | None = None,
    nature: Nature | None = None,
    distance_km: int | Keep | None = Keep.AS_IT_IS,
    secrets: Mapping[str, Secret] | None = None,
    person: PersonId | None,
    now: datetime,
) -> TargetRow:
    """Change what is given, and return the target; None leaves a thing as it is.

    Another host, port or account must show its identity again: the confirmed host key goes unless the
    new place carries one.

    Raises:
        NotFound: there is no such target.
        InvalidInput: a value cannot be used; the disk of a target is not another disk.
        AlreadyExists, KeyMissing: as ``add_target``.
    """
    row = targets.get(connection, target_id)
    values: dict[str, object] = {}
    forgotten: dict[str, object] = {}
    if label is not None:
        values["label"] = _label(label)
    if place is not None:
        before, after = places.parse(row.kind, row.place), _parsed(row.kind, place)
        _check_disk(connection, after, row)
        if _host(before) != _host(after) and _host_key(before) == _host_key(after):
            after = _with_host_key(after, "")
        if not places.is_same_spot(before, after):
            forgotten = {OFFERED_HOST_KEY: None, CHECK: None}
        values["place"] = places.to_stored(after)
    if nature is not None and nature.value != row.nature:
        values["nature"] = nature.value
    if not isinstance(distance_km, Keep):
        values["distance_km"] = None if distance_km is None else _distance(distance_km)
    if secrets:
        _check_secrets(row.kind, secrets)
        _seal(connection, settings, target_id, secrets, now)
    if values:
        targets.change(connection, target_id, **values)
    if forgotten:
        targets.set_facts(connection, target_id, forgotten)
    who = _who(person)
    what = sorted({*values, *(f"secret:{each}" for each in secrets or ())} - {"nature"})
    if what:
        events.record(
            connection, at=now, event="target.changed", subject=_subject(target_id), what=what, **who
        )  # fmt: skip
    if "nature" in values and nature is not None:
        _declared(connection, target_id, row.nature, nature.value, now, who)
    return targets.get(connection, target_id)


def set_bandwidth(
    connection: Connection,
    target_id: TargetId,
    rules: Sequence[rates.Rule],
    *,
    person: PersonId | None,
    now: datetime,
) -> TargetRow:
    """Set how fast copies may leave, by the hour; a running push obeys within seconds.

    Raises:
        NotFound: there is no such target.
        InvalidInput: the rules would let nothing leave ever, or a value cannot be used.
    """
    stored = rates.to_stored(rates.check(rules))
    targets.change(connection, target_id, bandwidth=stored)
    events.record(
        connection, at=now, event="target.bandwidth-set", subject=_subject(target_id),
        rules=stored, **_who(person),
    )  # fmt: skip
    return targets.get(connection, target_id)


def set_dossier(
    connection: Connection,
    target_id: TargetId,
    changes: Mapping[str, Any],
    *,
    person: PersonId | None,
    now: datetime,
) -> TargetRow:
    """Put ``changes`` (JSON, as ``policy.dossier.parse`` reads it) into the host's dossier.

    Fields that are not named stay; contract points are joined one by one. The ledger names the fields, not
    their contents, but a hash of the whole, so that what was known on a day can be shown.

    Raises:
        NotFound: there is no such target.
        InvalidInput: a field cannot be used.
    """
    row = targets.get(connection, target_id)
    before = dossiers.parse(row.dossier)
    after = dossiers.to_stored(dossiers.merged(before, changes))
    changed = sorted(
        name for name in {*row.dossier, *after} if row.dossier.get(name) != after.get(name)
    )
    if not changed:
        return row
    targets.change(connection, target_id, dossier=after)
    events.record(
        connection, at=now, event="target.dossier-changed", subject=_subject(target_id),
        fields=changed, sha256=dossiers.digest(after), **_who(person),
    )  # fmt: skip
    return targets.get(connection, target_id)


def confirm_host_key(
    connection: Connection,
    target_id: TargetId,
    host_key: str,
    *,
    person: PersonId | None,
    now: datetime,
) -> str:
    """Pin the host key a person compared with what the host told them; return its fingerprint.

    Raises:
        NotFound: there is no such target.
        InvalidInput: it is no public key, or this kind of target has none.
    """
    row = targets.get(connection, target_id)
    place = places.parse(row.kind, row.place)
    if not isinstance(place, SftpPlace | BoxPlace):
        raise InvalidInput("host_key", mark("only for SFTP hosts and other boxes."))
    shown = places.fingerprint(host_key)
    pinned = replace(place, host_key=" ".join(host_key.split()[:2]))
    targets.change(connection, target_id, place=places.to_stored(pinned))
    events.record(
        connection,
        at=now,
        event="target.host-key-confirmed",
        subject=_subject(target_id),
        fingerprint=shown,
        before=places.fingerprint(place.host_key) if place.host_key else None,
        **_who(person),
    )
    return shown


def remove_target(
    connection: Connection, target_id: TargetId, *, person: PersonId | None, now: datetime
) -> None:
    """Stop sending to a target and forget its secrets. What lies there stays: the practice asks for it back.

    Raises:
        NotFound: there is no such target.
    """
    targets.change(connection, target_id, removed_at=now)
    vault_rows.forget(connection, _secret_names(target_id, ("key", "password", "s3")))
    kit_access.forget_reading(connection, target_id)
    events.record(
        connection, at=now, event="target.removed", subject=_subject(target_id), **_who(person)
    )


# --- the small parts -------------------------------------------------------------------------


def _parsed(kind: str, place: Place | Mapping[str, Any]) -> Place:
    values = place if isinstance(place, Mapping) else places.to_stored(place)
    parsed = places.parse(kind, values)
    key = _host_key(parsed)
    if key:
        places.fingerprint(key)
    return parsed


def _check_secrets(kind: str, secrets: Mapping[str, Secret]) -> None:
    if {"key", "password"} <= set(secrets):
        raise InvalidInput("password", mark("a key or a password, not both."))
    unknown = set(secrets) - SECRETS[kind]
    if unknown:
        raise InvalidInput(min(unknown), mark("no such secret for this kind of destination."))


def _check_disk(connection: Connection, place: Place, own: TargetRow | None) -> None:
    """One disk is one target; a target's disk is never exchanged under it."""
    if not isinstance(place, DirectoryPlace):
        return
    if own is not None and own.place.get("disk_id") != place.disk_id:
        raise InvalidInput("disk_id", mark("the same disk; another disk is another destination."))
    for each in targets.all_living(connection):
        if own is None and each.place.get("disk_id") == place.disk_id:
            raise InvalidInput("disk_id", mark("a disk that is not a destination already."))


def _host(place: Place) -> tuple[str, int] | None:
    return (place.host, place.port) if isinstance(place, SftpPlace | BoxPlace) else None


def _host_key(place: Place) -> str:
    return place.host_key if isinstance(place, SftpPlace | BoxPlace) else ""


def _with_host_key(place: Place, host_key: str) -> Place:
    if isinstance(place, SftpPlace | BoxPlace):
        return replace(place, host_key=host_key)
    return place


def _label(label: str) -> str:
    text = label.strip()
    if not text or len(text) > _LONGEST_LABEL:
        raise InvalidInput("label", mark("a text of at most 200 characters."))
    return text


def _distance(distance_km: int) -> int:
    if not 0 <= distance_km <= MOST_KM:
        raise InvalidInput("distance_km", mark("kilometres, from 0 on."))
    return distance_km


def _seal(
    connection: Connection,
    settings: Settings,
    target_id: TargetId,
    secrets: Mapping[str, Secret],
    now: datetime,
) -> None:
    for name, secret in secrets.items():
        sealed = seal(secret, settings.keys)
        vault_rows.put_sealed(connection, f"target:{target_id}:{name}", sealed, now=now)
    # One way in at a time: the newer one wins.
    if "key" in secrets or "password" in secrets:
        other = "key" if "password" in secrets else "password"
        vault_rows.forget(connection, _secret_names(target_id, (other,)))
        targets.set_facts(connection, target_id, {PUBLIC_KEY: None})


def _secret_names(target_id: TargetId, names: Iterable[str]) -> list[str]:
    return [f"target:{target_id}:{name}" for name in names]


def _declared(
    connection: Connection,
    target_id: TargetId,
    before: str | None,
    nature: str,
    now: datetime,
    who: Mapping[str, Any],
) -> None:
    """HDS-01: the ledger names who declared what a place is to the practice."""
    events.record(
        connection, at=now, event="target.nature-declared", subject=_subject(target_id),
        nature=nature, before=before, **who,
    )  # fmt: skip


def _who(person: PersonId | None) -> dict[str, Any]:
    return {"actor": "console"} if person is None else {"person_id": person}


def _subject(target_id: TargetId) -> str:
    return f"target:{target_id}"
