"""From a target's row and its secrets to a connection: the only place where the kinds are told apart."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from appliance.db import facts, secrets
from appliance.db.targets import TargetRow
from appliance.errors import (
    NotInitialised,
    SecretUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.jobs.disks import MOUNTS, find_disk
from appliance.policy import place as places
from appliance.policy.place import BoxPlace, DirectoryPlace, Place, S3Place, SftpPlace
from appliance.replication.target import Target
from appliance.settings import Settings
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal

__all__ = [
    "Credentials",
    "find_disk",
    "key_name",
    "open_credentials",
    "open_place",
    "open_target",
    "password_name",
    "s3_credentials",
    "s3_name",
]

#: boto3 makes clients from one shared session, which is not safe in several threads at once.
_one_at_a_time: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens a place; each may be absent."""

    private_key: Secret | None = None  # OpenSSH format, ed25519
    password: Secret | None = None
    s3_access_key: str = ""
    s3_secret_key: Secret | None = None


def key_name(target_id: int) -> str:
    """Return the vault's name of the private key the box signs in with."""
    return f"target:{target_id}:key"


def password_name(target_id: int) -> str:
    """Return the vault's name of an SFTP password."""
    return f"target:{target_id}:password"


def s3_name(target_id: int) -> str:
    """Return the vault's name of a bucket's keys, JSON ``{"access_key": …, "secret_key": …}``."""
    return f"target:{target_id}:s3"


def open_target(
    connection: Connection,
    row: TargetRow,
    settings: Settings,
    *,
    now: Callable[[], datetime],
    mounts: Path = MOUNTS,
) -> Callable[[], Target]:
    """Return what opens a connection to ``row``'s place, as often and in as many threads as wanted.

    Args:
        connection: for the secrets; not needed afterwards.
        row: of the target.
        settings: of the box.
        now: the clock: a disk's last day, an object's lock.
        mounts: ``/proc/self/mountinfo``, where a disk without a fixed folder is looked for.

    Raises:
        InvalidInput: the stored place cannot be read.
        SecretMissing, KeyMissing, SecretUnreadable: the vault's reasons.
        NotInitialised: the box has no id.
        The returned call raises what the kind's own constructor raises: TargetUnreachable (a disk that is
        not plugged in), TargetIdentityChanged, TargetRefuses.
    """
    place = places.parse(row.kind, row.place)
    box_id = facts.find(connection, "box.id")
    if not isinstance(box_id, str):
        raise NotInitialised(str(settings.data))
    credentials = open_credentials(connection, row.id, place, settings)
    return open_place(
        place,
        credentials,
        box_id=box_id,
        zone=ZoneInfo(settings.time_zone),
        now=now,
        mounts=mounts,
    )


def open_credentials(
    connection: Connection, target_id: int, place: Place, settings: Settings
) -> Credentials:
    """Return the credentials of a target out of the vault.

    Raises:
        SecretMissing: a bucket's keys, or another box's key, are not there.
        KeyMissing, SecretUnreadable: as ``vault.unseal``.
    """

    def find(name: str) -> Secret | None:
        sealed = secrets.find_sealed(connection, name)
        return None if sealed is None else unseal(name, sealed, settings.keys)

    def get(name: str) -> Secret:
        return unseal(name, secrets.get_sealed(connection, name), settings.keys)

    if isinstance(place, S3Place):
        return s3_credentials(s3_name(target_id), get(s3_name(target_id)))
    if isinstance(place, BoxPlace):
        return Credentials(private_key=get(key_name(target_id)))
    if isinstance(place, SftpPlace):
        return Credentials(find(key_name(target_id)), find(password_name(target_id)))
    return Credentials()


def s3_credentials(name: str, secret: Secret) -> Credentials:
    """Return a bucket's keys out of their JSON.

    Raises:
        SecretUnreadable: it is not what ``target add`` seals; its text shows nothing of it.
    """
    try:
        values = json.loads(secret.reveal())
        access_key, secret_key = values["access_key"], values["secret_key"]
    except (ValueError, KeyError, TypeError):
        raise SecretUnreadable(name) from None
    if not isinstance(access_key, str) or not isinstance(secret_key, str):
        raise SecretUnreadable(name)
    return Credentials(s3_access_key=access_key, s3_secret_key=Secret(secret_key.encode()))


def open_place(
    place: Place,
    credentials: Credentials,
    *,
    box_id: str,
    zone: ZoneInfo,
    now: Callable[[], datetime],
    mounts: Path = MOUNTS,
) -> Callable[[], Target]:
    """Return what opens a connection to ``place``; for a kit, which knows places without rows.

    Args:
        place: where.
        credentials: what opens it.
        box_id: whose copies lie there: a disk of another box is refused.
        zone: of the practice: a disk's last day ends at its midnight.
        now: the clock.
        mounts: where a disk without a fixed folder is looked for.
    """
    if isinstance(place, DirectoryPlace):
        return lambda: _directory(place, box_id, now().astimezone(zone).date(), mounts)
    if isinstance(place, S3Place):
        return lambda: _s3(place, credentials, now)
    if isinstance(place, BoxPlace):
        return lambda: _box(place, credentials)
    return lambda: _sftp(place, credentials)


# The kinds are imported when they are opened: paramiko and boto3 weigh 60 MB together.


def _directory(place: DirectoryPlace, box_id: str, today: date, mounts: Path) -> Target:
    from appliance.replication.targets.directory import DirectoryTarget  # noqa: PLC0415

    label = f"disk {place.disk_id}"
    if place.expires_on and today > date.fromisoformat(place.expires_on):
        raise TargetRefuses(label, "write", f"the disk is past its date {place.expires_on}")
    folder = Path(place.folder) if place.folder else find_disk(place.disk_id, mounts=mounts)
    if folder is None:
        raise TargetUnreachable(label, "the disk is not plugged in")
    return DirectoryTarget(folder, disk_id=place.disk_id, box_id=box_id, today=today)


def _sftp(place: SftpPlace, credentials: Credentials) -> Target:
    from appliance.replication.targets.sftp import SftpAccount, SftpTarget  # noqa: PLC0415

    _confirmed(f"sftp {place.host}", place.host_key)
    return SftpTarget(
        SftpAccount(
            host=place.host,
            port=place.port,
            user=place.user,
            host_key=place.host_key,
            folder=place.folder or ".",
            password=credentials.password,
            private_key=credentials.private_key,
        )
    )


def _box(place: BoxPlace, credentials: Credentials) -> Target:
    from appliance.replication.targets.box import BoxAccount, BoxTarget  # noqa: PLC0415

    _confirmed(f"box {place.host}", place.host_key)
    if credentials.private_key is None:
        raise TargetRefuses(f"box {place.host}", "sign in", "no key was made for it yet")
    return BoxTarget(
        BoxAccount(
            host=place.host,
            port=place.port,
            sender=place.sender,
            host_key=place.host_key,
            private_key=credentials.private_key,
        )
    )


def _s3(place: S3Place, credentials: Credentials, now: Callable[[], datetime]) -> Target:
    from appliance.replication.targets.s3 import S3Account, S3Target  # noqa: PLC0415

    if credentials.s3_secret_key is None:
        raise TargetRefuses(f"s3 {place.bucket}", "sign in", "its keys are not known")
    lock = timedelta(days=place.lock_days)
    account = S3Account(
        endpoint=place.endpoint,
        bucket=place.bucket,
        access_key=credentials.s3_access_key,
        secret_key=credentials.s3_secret_key,
        region=place.region,
        prefix=f"{place.prefix.strip('/')}/" if place.prefix.strip("/") else "",
        lock_mode=place.lock_mode,
    )
    with _one_at_a_time:
        return S3Target(account, retain_until=(lambda: now() + lock) if place.lock_mode else None)


def _confirmed(label: str, host_key: str) -> None:
    if not host_key:
        raise TargetRefuses(label, "sign in", "its host key was not confirmed yet")
