"""Making a share: its folder, its nights, and who begins with which rights."""

import os
import re
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from appliance.db import practice, shares, sources
from appliance.db.shares import Share
from appliance.disk.paths import RESERVED
from appliance.errors import AlreadyExists, InvalidInput
from appliance.folders import make_shared
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId, Role, SourceKind
from appliance.policy.roles import WITHOUT_DOCUMENTS
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
#: Names that Samba or our own addresses need.
#: Of Samba, and the address of the search.
_TAKEN: Final = frozenset(
    {"homes", "printers", "global", "ipc", "print", "netlogon", "sysvol", "search"}
)
#: Of ours, nothing is backed up twice: what is in the bin is in earlier snapshots.
EXCLUDES: Final = (f"sh:**/{os.fsdecode(RESERVED)}",)


def make_share(
    connection: Connection,
    settings: Settings,
    *,
    name: str,
    label: str,
    person_id: PersonId | None,
    now: datetime,
    folder: Path | None = None,
) -> Share:
    """Make a share and its folder, and a source so that its nights begin; the caller queues SetUpSource for it.

    Whoever makes it may do all there; nobody else anything.

    Args:
        connection: inside ``Database.write()``.
        settings: of the box.
        name: slug, 1 to 40 of ``a-z 0-9 -``; its name over SMB and WebDAV.
        label: what people read.
        person_id: who makes it; None: nobody has a right yet.
        now: aware UTC.
        folder: an existing absolute folder; None: one of its own below ``Settings.shares``.

    Raises:
        InvalidInput: the name or the folder cannot be a share's.
        AlreadyExists: a living share or source has this name, or a share has this folder.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise InvalidInput("name", mark("Small letters, digits and «-», at most 40."))
    if not label.strip() or len(label) > 200:
        raise InvalidInput("label", mark("A name for people, please."))
    place = folder or settings.shares / name
    check_folder(settings, place)
    for other in shares.all_living(connection):
        if _overlap(place, other.folder):
            raise AlreadyExists("share", other.name)
    source_id = None
    for source in sources.all_living(connection):
        if source.kind is SourceKind.SHARE and [Path(each) for each in source.roots] == [place]:
            source_id = source.id  # backed up already
    if folder is None:
        make_shared(place)
    if source_id is None:
        source_id = sources.add(
            connection,
            name=name,
            label=label,
            kind=SourceKind.SHARE,
            roots=(str(place),),
            excludes=EXCLUDES,
            now=now,
        ).id
    made = shares.add(
        connection,
        name=name,
        label=label.strip(),
        folder=place,
        now=now,
        source_id=source_id,
        bin_days=practice.bin_days(connection),
    )
    if person_id is not None:
        shares.grant(connection, made.id, ALL, person_id=person_id, by=person_id, now=now)
    events.record(
        connection,
        at=now,
        event="share.made",
        subject=f"share:{made.id}",
        person_id=person_id,
        actor=None if person_id is not None else "console",
        name=name,
    )
    return made


def give_rights(
    connection: Connection,
    share: Share,
    rights: frozenset[Right],
    *,
    by: PersonId | None,
    now: datetime,
    person_id: PersonId | None = None,
    role: Role | None = None,
) -> None:
    """Give a person or a role exactly these rights on a share, and write it down (domain.md SEC-05).

    ``by`` is None at the console of the box.

    Raises:
        InvalidInput: rights without «see» that need it, or to whom no document may be shown.
    """
    if role in WITHOUT_DOCUMENTS and rights:
        raise InvalidInput("role", mark("A technical administrator sees no document."))
    if rights - {Right.ADD} and Right.SEE not in rights:
        raise InvalidInput("rights", mark("Who changes, deletes or shares must see."))
    shares.grant(connection, share.id, rights, person_id=person_id, role=role, by=by, now=now)
    events.record(
        connection,
        at=now,
        event="share.rights",
        subject=f"share:{share.id}",
        person_id=by,
        actor=None if by is not None else "console",
        whom=f"person:{person_id}" if person_id is not None else f"role:{role}",
        rights=sorted(each.value for each in rights),
    )


def change_share(
    connection: Connection,
    share: Share,
    values: Mapping[str, object],
    *,
    by: PersonId | None,
    now: datetime,
) -> None:
    """Set columns of a share, and write it down; its name for people may be a patient's and is left out there."""
    shares.change(connection, share.id, **values)
    events.record(
        connection,
        at=now,
        event="share.changed",
        subject=f"share:{share.id}",
        person_id=by,
        actor=None if by is not None else "console",
        **{key: value for key, value in values.items() if key != "label"},
    )


def close_share(
    connection: Connection, share: Share, *, person_id: PersonId | None, now: datetime
) -> None:
    """Close a share, every door of it and every right on it; its files, nights and snapshots stay."""
    shares.remove(connection, share.id, now=now)
    events.record(
        connection,
        at=now,
        event="share.closed",
        subject=f"share:{share.id}",
        person_id=person_id,
        actor=None if person_id is not None else "console",
    )


def check_folder(settings: Settings, place: Path, *, may_be_made: bool = False) -> None:
    """Return when ``place`` may be a share; ``may_be_made``: or may be made, where it is not there.

    Raises:
        InvalidInput: it is relative, a link, not a folder, the system's, or holds the box's own data.
    """
    sentence = mark("An absolute folder that is no link, and not one of the system or of the box.")
    if not place.is_absolute() or place != Path(os.path.normpath(place)):
        raise InvalidInput("folder", sentence)
    try:
        real = Path(os.path.realpath(place))
    except ValueError as error:  # a NUL: no path holds one
        raise InvalidInput("folder", sentence) from error
    own = Path(os.path.realpath(settings.data))
    is_ours = _overlap(real, own) and Path(os.path.realpath(settings.shares)) not in real.parents
    if is_ours and place != settings.data / "practice" and not _is_below(real, own / "practice"):
        raise InvalidInput("folder", sentence)
    if any(_is_below(Path(each), real) or _is_below(real, Path(each)) for each in _SYSTEM):
        raise InvalidInput("folder", sentence)
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        if _is_below(place, settings.shares) or (may_be_made and place.parent.is_dir()):
            return
        raise InvalidInput("folder", sentence) from None
    except OSError as error:  # below a file, behind a closed door, or longer than a name may be
        raise InvalidInput("folder", sentence) from error
    if not stat.S_ISDIR(mode) or real.name != place.name:
        raise InvalidInput("folder", sentence)


_SYSTEM: Final = ("/proc", "/sys", "/dev", "/etc", "/usr", "/boot", "/run", "/bin", "/lib")


def _is_below(place: Path, other: Path) -> bool:
    return place == other or other in place.parents


def _overlap(one: Path, other: Path) -> bool:
    return _is_below(one, other) or _is_below(other, one)
