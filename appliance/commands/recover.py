"""``armoire recover``: after a fire, from the kit and a bare machine to the whole box."""

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.framework import Command, answers, option
from appliance.commands.recover_board import BACK, Board, begin
from appliance.commands.recover_moved import check_names, read_moved
from appliance.commands.recover_run import Plan, Recovering
from appliance.commands.recover_search import Search, open_kit
from appliance.commands.recover_show import (
    print_proposal,
    print_sheet,
    progress_words,
    remarks,
)
from appliance.commands.recover_state import hand_over
from appliance.commands.session import Answer, ExitCode, Session
from appliance.commands.setting_up import base_url, prepare
from appliance.db import sources
from appliance.db.engine import open_database
from appliance.errors import (
    AlreadyExists,
    AlreadyRunning,
    InvalidInput,
    NoSpace,
    NotFound,
    ObjectAltered,
    ObjectMissing,
    TargetError,
)
from appliance.jobs import recovery_status
from appliance.jobs.recovery_status import Phase, RecoveryStatus
from appliance.language import explain, mark
from appliance.model import SourceKind
from appliance.replication import recover_progress
from appliance.replication.recover_choice import Proposal
from appliance.settings import PREFIX, Settings, load
from appliance.worker import locks

#: How often an older generation is proposed by itself, after objects turned out to be altered.
MOST_CHOICES: Final = 8
#: A line on the terminal so often, where it is no terminal.
SAY_S: Final = 30.0
_STAYS: Final = mark("This share is back already; it stays where it is.")


@click.command(
    "recover",
    cls=Command,
    help=mark(
        "After a fire: make the box again from a copy, with the kit and the words of the sheets.\n\n"
        "Documents can be read in the browser as soon as accounts and catalogues are back; the rest "
        "comes behind them. Stopped or killed, the same command goes on where it was."
    ),
)
@option("--kit", "kit_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=mark("The kit file, from the USB stick."))  # fmt: skip
@option("--words-fd", type=int, metavar="N",
        help=mark("Read the words from this descriptor, one sheet a line, instead of asking."))  # fmt: skip
@option("--target", "chosen", multiple=True, metavar="NAME",
        help=mark("Look at this place only; may be given several times."))  # fmt: skip
@option("--disk", "disks", multiple=True, metavar="FOLDER",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help=mark("Where a disk with copies is mounted; it is known by its label."))  # fmt: skip
@option("--first", "first", multiple=True, metavar="SOURCE",
        help=mark("Bring this source back first; may be given several times."))  # fmt: skip
@option("--share", "moved", multiple=True, metavar="NAME=FOLDER",
        help=mark("Bring this share back to another folder, empty or new; may be given several times."))  # fmt: skip
@option("--yes", is_flag=True, help=mark("Take what is proposed without asking."))
@option("--accept-incomplete", is_flag=True,
        help=mark("Bring back what can be had when objects are missing everywhere."))  # fmt: skip
@option("--look", "only_look", is_flag=True,
        help=mark("Show what the places hold and what would be proposed; change nothing."))  # fmt: skip
@option("--without-reading", is_flag=True,
        help=mark("Do not serve documents meanwhile."))  # fmt: skip
@option("--listen", metavar="ADDRESS[:PORT]",
        help=mark("Where the web interface listens meanwhile, when this machine has another address."))  # fmt: skip
@answers
def recover(
    session: Session,
    *,
    kit_file: Path | None,
    words_fd: int | None,
    chosen: tuple[str, ...],
    disks: tuple[Path, ...],
    first: tuple[str, ...],
    moved: tuple[str, ...],
    yes: bool,
    accept_incomplete: bool,
    only_look: bool,
    without_reading: bool,
    listen: str | None,
) -> Answer:
    """Make the box again."""
    settings = session.settings
    before = recovery_status.read_report(settings)
    if before is not None and before.phase is Phase.DONE:
        if not any(each.state == "failed" for each in before.shares):
            if moved:
                raise InvalidInput("share", _STAYS)
            return _answer(session, before)
        before = replace(before, phase=Phase.SHARES)  # those that failed are tried again
    _is_free(settings, before)
    folders = read_moved(settings, moved, {} if before is None else before.folders)
    _settle_modes(settings.data)
    with locks.hold(locks.of_worker(settings)) as is_mine:
        if not is_mine:
            raise AlreadyRunning(str(settings.data))
        heard = _Heard(session)
        progress = recover_progress.read_progress(settings.data)
        if before is not None and progress is not None and progress.finished_at:
            _can_move(settings, before, folders)
            board = Board(settings, replace(before, folders=folders))
            board.keep()
            Recovering(None, settings, board, on_tick=heard.tick, on_web=heard.web).run()
        else:
            search = Search(session, open_kit(session, kit_file, words_fd), chosen, disks)
            if only_look:
                return search.only_look()
            board = _recover(
                session,
                search,
                heard,
                first=first,
                folders=folders,
                yes=yes,
                accept_incomplete=accept_incomplete,
                is_readable=not without_reading,
                listen=_listen(listen),
            )
        return _answer(session, _finish(session, board))


def _is_free(settings: Settings, before: RecoveryStatus | None) -> None:
    """Return when no box lives in the data folder, before anybody types forty words.

    Raises:
        AlreadyExists: one does.
    """
    begun = before is not None or recover_progress.read_progress(settings.data) is not None
    if (settings.data / "state.sqlite").exists() and not begun:
        raise AlreadyExists("box", str(settings.data))


def _can_move(settings: Settings, before: RecoveryStatus, folders: Mapping[str, str]) -> None:
    """Return when the shares that were named have still to come back.

    Raises:
        NotFound: the box has no share of this name.
        InvalidInput: it is back, elsewhere.
    """
    database = open_database(settings.database)
    try:
        with database.read() as connection:
            known = {
                each.name: each
                for each in sources.all_living(connection)
                if each.kind is SourceKind.SHARE
            }
    finally:
        database.close()
    check_names(folders, known)
    back = {each.source_id for each in before.shares if each.state in BACK}
    for name, folder in folders.items():
        if known[name].id in back and known[name].roots[0] != folder:
            raise InvalidInput("share", _STAYS)


def _settle_modes(data: Path) -> None:
    """Let the group of the data folder in where worker and web interface have accounts of their own."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = data.stat().st_mode
    os.umask(0o007 if mode & stat.S_ISGID and mode & stat.S_IWGRP else 0o077)


# --- doing it --------------------------------------------------------------------------------


class _Heard:
    """Says on the terminal how it goes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said_at = utc_now() - timedelta(days=1)

    def tick(self, status: RecoveryStatus) -> None:
        """Show a line: in place on a terminal, now and then elsewhere."""
        now = utc_now()
        err = self._session.err
        if err.is_terminal:
            line = progress_words(self._session, status)[: max(20, err.width - 1)]
            err.file.write(f"\r\x1b[K{line}")
            err.file.flush()
        elif (now - self._said_at).total_seconds() >= SAY_S:
            self._said_at = now
            err.print(progress_words(self._session, status))

    def web(self, settings: Settings, has_failed: bool) -> None:  # noqa: FBT001 - a callback
        """Say where documents can be read, or that they cannot."""
        if self._session.err.is_terminal:
            self._session.err.file.write("\r\x1b[K")
        if has_failed:
            self._session.tell(
                mark("The web interface ended by itself; see %(log)s, and --listen."),
                log=settings.data / "log" / "serve.log",
            )
            return
        self._session.tell(
            mark("Documents can be read now, at %(address)s, with the accounts of before."),
            address=base_url(settings),
        )


def _recover(
    session: Session,
    search: Search,
    heard: _Heard,
    *,
    first: Sequence[str],
    folders: Mapping[str, str],
    yes: bool,
    accept_incomplete: bool,
    is_readable: bool,
    listen: dict[str, str],
) -> Board:
    settings = session.settings
    for _ in range(MOST_CHOICES):
        proposal = search.look()
        check_names(
            folders, [each.name for each in proposal.manifest.repositories if each.kind == "share"]
        )
        print_proposal(session, session.err, search.targets, proposal, utc_now())
        _accept(session, proposal, yes=yes, accept_incomplete=accept_incomplete)
        _has_room(settings, proposal)
        wanted = _wanted(proposal, first)
        status = begin(
            proposal,
            search.label(proposal.target),
            wanted,
            remarks(search.targets, proposal),
            recovery_status.read_report(settings),
            utc_now(),
            folders,
        )
        board = Board(settings, status)
        board.keep()
        plan = Plan(
            settings,
            proposal,
            search.looks,
            search.open_target,
            max(each.connections for each in search.targets if each.name == proposal.target),
            search.kit.identity,
            search.kit.signer,
            wanted,
            accept_incomplete,
            is_readable,
            listen,
        )
        try:
            Recovering(plan, settings, board, on_tick=heard.tick, on_web=heard.web).run()
        except (ObjectMissing, ObjectAltered) as error:
            session.tell(explain(error, session.language))
            if (settings.data / "state.sqlite").exists():
                accept_incomplete = _bring_what_can_be_had(session, error)
        else:
            return board
    raise NotFound("generation", "–")


def _accept(session: Session, proposal: Proposal, *, yes: bool, accept_incomplete: bool) -> None:
    """Return when a person takes the proposal.

    Raises:
        InvalidInput: nobody said yes; nothing was changed.
        ObjectMissing: it is not whole, and nobody said that this is accepted.
    """
    if proposal.missing and not accept_incomplete:
        session.tell(mark("Give --accept-incomplete to bring back what can be had."))
        raise ObjectMissing(proposal.target, proposal.missing[0].object)
    if yes:
        return
    session.tell(
        mark("The box of before must not run any more: two boxes with one identity harm copies.")
    )
    if not session.confirm(session.say(mark("Make this machine the box of the practice?"))):
        raise InvalidInput("yes", mark("Nobody said yes: answer the question, or give --yes."))


def _bring_what_can_be_had(session: Session, error: TargetError) -> bool:
    """Return True when a person takes an incomplete box.

    Raises:
        TargetError: the one given; nobody said yes.
    """
    if session.confirm(session.say(mark("Bring back what can be had?"))):
        return True
    session.tell(mark("What came stays. Give --accept-incomplete to bring back what can be had."))
    raise error


def _has_room(settings: Settings, proposal: Proposal) -> None:
    """Return when the disk can hold the box.

    Raises:
        NoSpace.
    """
    needed = sum(file.plain_size for file in proposal.manifest.files)
    there = sum(path.stat().st_size for path in settings.repositories.rglob("*") if path.is_file())
    free = shutil.disk_usage(settings.data).free
    if free < needed - there:
        raise NoSpace(str(settings.data), free, needed - there)


def _wanted(proposal: Proposal, names: Sequence[str]) -> list[int]:
    """Return the ids of sources by their names or numbers.

    Raises:
        NotFound: the generation has none of this name.
    """
    known = {each.name: each.source_id for each in proposal.manifest.repositories}
    known |= {str(each.source_id): each.source_id for each in proposal.manifest.repositories}
    for name in names:
        if name not in known:
            raise NotFound("source", name)
    return [known[name] for name in names]


def _listen(text: str | None) -> dict[str, str]:
    """Return «ADDRESS[:PORT]» as settings of the environment.

    Raises:
        InvalidInput: the port is no number.
    """
    if text is None:
        return {}
    address, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not address:
        address, port = text, ""
    if port and not (port.isdigit() and 1 <= int(port) <= 65535):
        raise InvalidInput("listen", mark("An address, or an address and a port."))
    found = {f"{PREFIX}LISTEN_ADDRESS": address.strip("[]")}
    return {**found, f"{PREFIX}LISTEN_PORT": port} if port else found


def _finish(session: Session, board: Board) -> RecoveryStatus:
    """Make what the state did not bring, and leave the sheet."""
    settings = load(session.settings.data)
    prepare(settings, utc_now())
    hand_over(settings.data)
    now = utc_now()
    status = board.change(
        phase=Phase.DONE,
        finished_at=now,
        readable_at=board.status.readable_at or now,
        bytes_back=board.status.bytes_total,
    )
    status = board.keep()
    recovery_status.forget_live(settings)
    hand_over(settings.data)
    return status


def _answer(session: Session, status: RecoveryStatus) -> Answer:
    def show(out: Console) -> None:
        if session.err.is_terminal:
            session.err.file.write("\r\x1b[K")
        print_sheet(session, out, status)
        out.print(
            session.say(
                mark(
                    "Next: «armoire run», or «systemctl start armoire.target». The sheet is at /recovery."
                )
            )
        )

    body = {**asdict(status), "is_whole": status.is_whole}
    return Answer(body, show, ExitCode.DONE if status.is_whole else ExitCode.WARNED)
