"""``armoire disk``: labelled disks that take turns. A disk is known by what is written on it, never by its path."""

import os
import secrets
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from appliance.clock import utc_now
from appliance.commands.following import enqueue, follow
from appliance.commands.framework import Group, answers, option
from appliance.commands.session import Answer, ExitCode, Session, wrong
from appliance.commands.target_common import job_bodies, refused_if, target_body
from appliance.db import facts, targets
from appliance.db.targets import TargetRow
from appliance.errors import DiskRefused, NotInitialised, TargetIdentityChanged
from appliance.jobs import target_setup
from appliance.jobs.kinds import PushCopy, SetUpTarget
from appliance.language import mark
from appliance.ledger import events
from appliance.policy.disk_state import DISK, DiskState
from appliance.policy.hosting import Nature
from appliance.policy.place import DirectoryPlace
from appliance.replication.targets.directory import DiskLabel, find_label, write_label

_NATURES: Final = click.Choice(
    [Nature.SAME_PRACTICE_HERE.value, Nature.SAME_PRACTICE_ELSEWHERE.value]
)
UNLABELLED: Final = mark("it carries no label. Label it first: «armoire disk label FOLDER».")
UNREADABLE: Final = mark(
    "its label cannot be read. Do not label it again before you know whose it is."
)
OF_ANOTHER_BOX: Final = mark("its label says that it belongs to another box.")
NOT_LISTED: Final = mark("this box labelled it, but it is no destination any more.")
EXPIRED: Final = mark(
    "it is past the date on its label. Take a new disk, and keep this one until that one is proven."
)
OWN_DISK: Final = mark("this folder is on the box's own disk: a copy there burns with it.")


@click.group("disk", cls=Group, help=mark("Labelled disks that take turns."))
def disk() -> None:
    """Hold the commands about disks."""


@disk.command(
    "label",
    help=mark(
        "Write a label on a mounted disk and make it a destination.\n\n"
        "Whatever path it is plugged in at later, it is known by this label. Nothing else on it is touched."
    ),
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option("--name", required=True, help=mark("The destination's name; write it on the disk too."))
@option("--label", default="", help=mark("What people read instead of NAME."))
@option("--nature", type=_NATURES, default=Nature.SAME_PRACTICE_ELSEWHERE.value, show_default=True,
        help=mark("Where it is kept between two copies: in this building or in another."))  # fmt: skip
@option("--distance", "distance_km", type=click.IntRange(0, target_setup.MOST_KM), metavar="KM",
        help=mark("How far from this building it is kept."))  # fmt: skip
@option("--expires", type=click.DateTime(["%Y-%m-%d"]), metavar="2029-12-31",
        help=mark("After this day it is not trusted any more; disks live some five years."))  # fmt: skip
@option("--always-here", is_flag=True, help=mark("It always appears at this folder (fstab)."))
@option(
    "--anyway",
    is_flag=True,
    help=mark("Even on the box's own disk, where a copy protects from little."),
)
@answers
def label(
    session: Session,
    folder: Path,
    *,
    name: str,
    label: str,
    nature: str,
    distance_km: int | None,
    expires: datetime | None,
    always_here: bool,
    anyway: bool,
) -> Answer:
    """Label a disk."""
    folder = folder.absolute()
    if not anyway:
        check_medium(session, folder)
    last = None if expires is None else expires.date()
    if last is not None and last < _today(session):
        raise wrong("--expires", mark("A day in the future."))
    written = label_folder(session, folder, name=name, expires=last)
    row = _of_disk(session, written.disk_id)
    if row is None:
        with session.database.write() as connection:
            row = target_setup.add_target(
                connection,
                session.settings,
                name=name,
                label=label,
                kind="directory",
                place=DirectoryPlace(
                    disk_id=written.disk_id,
                    folder=str(folder) if always_here else "",
                    is_removable=True,
                    expires_on="" if written.expires is None else written.expires.isoformat(),
                ),
                nature=Nature(nature),
                distance_km=distance_km,
                secrets={},
                person=None,
                now=utc_now(),
            )
    follow(session, [enqueue(session, SetUpTarget(row.id))])

    def show(out: Console) -> None:
        out.print(Text(session.say(
            mark("The disk is labelled. Write on it: «%(name)s», number %(number)s."),
            name=written.name, number=written.disk_id[:8],
        )))  # fmt: skip
        out.print(Text(session.say(mark("Now: «armoire disk plugged %(folder)s» copies to it."),
                                   folder=str(folder))))  # fmt: skip

    return Answer({**target_body(row), **label_body(written)}, show)


@disk.command(
    "plugged",
    help=mark(
        "Copy to the disk that is mounted at FOLDER, and verify; systemd calls this when one is plugged in."
    ),
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@answers
def plugged(session: Session, folder: Path) -> Answer:
    """Copy to a disk."""
    folder = folder.absolute()
    written = recognised(session, folder)
    row = _of_disk(session, written.disk_id)
    if row is None:
        raise DiskRefused(written.name, NOT_LISTED)
    _record(session, row, DiskState.COPYING, folder)
    try:
        jobs = follow(session, [enqueue(session, PushCopy(row.id))])
    except BaseException:
        _record(session, row, DiskState.FAILED, folder)
        raise
    code = refused_if(jobs)
    worked = code in {ExitCode.DONE, ExitCode.WARNED}
    _record(session, row, DiskState.DONE if worked else DiskState.FAILED, folder)

    def show(out: Console) -> None:
        if worked:
            text = mark(
                "The copy on «%(name)s» is complete. Unmount the disk before you take it away."
            )
        else:
            text = mark("The copy on «%(name)s» is not complete. What is written on it stays good.")
        out.print(Text(session.say(text, name=written.name)))

    body = {"target": row.name, **label_body(written), "jobs": job_bodies(session, jobs)}
    return Answer(body, show, code)


@disk.command(
    "away",
    help=mark(
        "Say that the disk that was mounted at FOLDER may be taken away; systemd calls this once it is unmounted."
    ),
)
@click.argument("folder", type=click.Path(path_type=Path))
@answers
def away(session: Session, folder: Path) -> Answer:
    """Say that a disk may go."""
    folder = folder.absolute()
    if os.path.ismount(folder):
        raise DiskRefused(str(folder), mark("it is still mounted."))
    with session.database.read() as connection:
        rows = targets.all_living(connection)
    found = [each for each in rows if _fact(each).get("folder") == str(folder)]
    row = max(found, key=lambda each: str(_fact(each)["at"]), default=None)
    if row is None:  # a disk that was refused: nothing was written, it may always go
        return Answer({"target": None, "state": DiskState.AWAY.value}, lambda _out: None)
    was_copying = _fact(row)["state"] == DiskState.COPYING.value
    state = DiskState.PULLED_OUT if was_copying else DiskState.AWAY
    _record(session, row, state, folder)
    text = {
        DiskState.AWAY: mark("You may take the disk «%(name)s» away."),
        DiskState.PULLED_OUT: mark(
            "The disk «%(name)s» went while a copy was under way. The copies on it stay good: plug it in "
            "again, the copy goes on where it was."
        ),
    }[state]
    return Answer(
        {"target": row.name, "state": state.value},
        lambda out: out.print(Text(session.say(text, name=row.label))),
        ExitCode.DONE if state is DiskState.AWAY else ExitCode.WARNED,
    )


# --- labels ----------------------------------------------------------------------------------


def check_medium(session: Session, folder: Path) -> None:
    """Return when ``folder`` is on another disk than the box.

    Raises:
        InvalidInput: there is no such folder.
        DiskRefused: it is on the box's own disk.
    """
    try:
        device = folder.stat().st_dev
    except OSError as error:
        raise wrong("--folder", mark("Give the folder where the disk is mounted.")) from error
    if device == session.settings.data.stat().st_dev:
        raise DiskRefused(str(folder), OWN_DISK)


def label_folder(
    session: Session, folder: Path, *, name: str | None, expires: date | None
) -> DiskLabel:
    """Return the label of this box on the disk at ``folder``, written now when it had none.

    Raises:
        DiskRefused: it carries a label that is not ours, or that cannot be read.
        TargetFull, TargetRefuses, TargetUnreachable: the disk's own reasons.
    """
    box_id = _box_id(session)
    found = _read(folder)
    if found is not None:
        if found.box_id != box_id:
            raise DiskRefused(found.name, OF_ANOTHER_BOX)
        return found
    made = DiskLabel(
        disk_id=secrets.token_hex(16),
        box_id=box_id,
        name=name or folder.name,
        first_used=_today(session),
        expires=expires,
    )
    _give_to_worker(session, folder)
    write_label(folder, made)
    with session.database.write() as connection:
        events.record(
            connection, at=utc_now(), event="disk.labelled", subject=f"disk:{made.disk_id}",
            actor="console", expires=None if expires is None else expires.isoformat(),
        )  # fmt: skip
    return made


def recognised(session: Session, folder: Path) -> DiskLabel:
    """Return the label of the disk at ``folder`` once it is one to copy to; reads only.

    Raises:
        DiskRefused: unlabelled, another box's, expired, or its label cannot be read.
    """
    found = _read(folder)
    if found is None:
        raise DiskRefused(str(folder), UNLABELLED)
    if found.box_id != _box_id(session):
        raise DiskRefused(found.name, OF_ANOTHER_BOX)
    if found.expires is not None and found.expires < _today(session):
        raise DiskRefused(found.name, EXPIRED)
    return found


def label_body(label: DiskLabel) -> dict[str, object]:
    """Return a label as ``--json`` shows it."""
    return {
        "disk": label.name,
        "disk_id": label.disk_id,
        "first_used": label.first_used,
        "expires": label.expires,
    }


def _read(folder: Path) -> DiskLabel | None:
    try:
        return find_label(folder)
    except TargetIdentityChanged as error:
        raise DiskRefused(str(folder), UNREADABLE) from error


def _give_to_worker(session: Session, folder: Path) -> None:
    """Let the account of the box write on a disk that root labels; exFAT has no owners and needs none."""
    owner = session.settings.data.stat()
    if os.geteuid() != 0 or owner.st_uid == folder.stat().st_uid:
        return
    try:
        os.chown(folder, owner.st_uid, owner.st_gid)
    except OSError:
        return


def _box_id(session: Session) -> str:
    with session.database.read() as connection:
        found = facts.find(connection, "box.id")
    if not isinstance(found, str):
        raise NotInitialised(str(session.settings.data))
    return found


def _of_disk(session: Session, disk_id: str) -> TargetRow | None:
    with session.database.read() as connection:
        return next(
            (
                each
                for each in targets.all_living(connection)
                if each.place.get("disk_id") == disk_id
            ),
            None,
        )


def _today(session: Session) -> date:
    return utc_now().astimezone(session.zone).date()


def _fact(row: TargetRow) -> dict[str, Any]:
    found = row.facts.get(DISK)
    return found if isinstance(found, dict) else {}


def _record(session: Session, row: TargetRow, state: DiskState, folder: Path) -> None:
    now = utc_now()
    fact = {"state": state.value, "folder": str(folder), "at": now.isoformat()}
    with session.database.write() as connection:
        targets.set_facts(connection, row.id, {DISK: fact})
        events.record(
            connection,
            at=now,
            event=f"disk.{state.value}",
            subject=f"target:{row.id}",
            actor="console",
        )
