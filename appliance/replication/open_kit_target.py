"""From a place named in a kit file to a connection: after a fire there is no vault to ask.

A place in the kit file is a JSON object: ``name``, ``label``, ``kind`` (as ``policy.place``), ``place`` (the
stored JSON of the place) and ``secrets``: ``key`` (an OpenSSH private key), ``password``, ``s3`` (JSON of
``access_key`` and ``secret_key``), each in base64, those that the place has.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from appliance.clock import utc_now
from appliance.errors import InvalidInput, TargetIdentityChanged, TargetUnreachable
from appliance.language import mark
from appliance.policy import place as places
from appliance.policy.place import DirectoryPlace, Place, S3Place
from appliance.replication.open_target import (
    Credentials,
    find_disk,
    open_place,
    s3_credentials,
)
from appliance.replication.target import Target
from appliance.vault.secret import Secret

#: A disk past its last day is not trusted with a new copy; what lies on it is still read.
_EVERY_DAY: Final = date.min


@dataclass(frozen=True, slots=True)
class KitTarget:
    """A place of the kit file, read."""

    name: str
    label: str
    place: Place
    credentials: Credentials

    @property
    def connections(self) -> int:
        """How many connections it takes at once."""
        return 1 if isinstance(self.place, DirectoryPlace) else self.place.connections


def read_kit_target(values: Mapping[str, object]) -> KitTarget:
    """Return a place of the kit file.

    Raises:
        InvalidInput: it was written by another program; nothing secret is in the text.
    """
    try:
        name, label, kind = (str(values[each]) for each in ("name", "label", "kind"))
        stored, secrets = values["place"], values.get("secrets") or {}
        opened = {
            str(each): Secret(base64.b64decode(str(text), validate=True))
            for each, text in secrets.items()  # type: ignore[attr-defined]
        }
        place = places.parse(kind, dict(stored))  # type: ignore[call-overload]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InvalidInput("kit", mark("A place in the kit file cannot be read.")) from None
    if isinstance(place, S3Place):
        if "s3" not in opened:
            return KitTarget(name, label, place, Credentials())
        return KitTarget(name, label, place, s3_credentials("kit", opened["s3"]))
    return KitTarget(name, label, place, Credentials(opened.get("key"), opened.get("password")))


def open_kit_target(
    target: KitTarget, *, box_id: str, disks: Sequence[Path] = ()
) -> Callable[[], Target]:
    """Return what opens a connection to a place of the kit, as often and in as many threads as wanted.

    Args:
        target: as ``read_kit_target`` gave it.
        box_id: of the kit.
        disks: folders where a person mounted disks; a place that is a disk is looked for there first, by
            the label on it, then where it used to be, then on every mounted disk.

    Raises:
        The returned call: TargetUnreachable, TargetIdentityChanged, TargetRefuses.
    """
    place = target.place
    if isinstance(place, DirectoryPlace):
        return partial(_open_disk, place, box_id, disks)
    if isinstance(place, S3Place):
        place = replace(place, lock_mode="", lock_days=0)  # nothing is kept there by reading
    return open_place(
        place,
        target.credentials,
        box_id=box_id,
        zone=ZoneInfo("UTC"),
        now=utc_now,
    )


def _open_disk(place: DirectoryPlace, box_id: str, disks: Sequence[Path]) -> Target:
    from appliance.replication.targets.directory import (  # noqa: PLC0415 - as in open_target
        DirectoryTarget,
        find_label,
    )

    known = [Path(place.folder)] if place.folder else []
    for folder in (*disks, *known):
        try:
            label = find_label(folder)
        except (TargetIdentityChanged, OSError):
            continue
        if label is not None and label.disk_id == place.disk_id:
            return DirectoryTarget(folder, disk_id=place.disk_id, box_id=box_id, today=_EVERY_DAY)
    found = find_disk(place.disk_id)
    if found is None:
        raise TargetUnreachable(f"disk {place.disk_id}", "the disk is not plugged in")
    return DirectoryTarget(found, disk_id=place.disk_id, box_id=box_id, today=_EVERY_DAY)
