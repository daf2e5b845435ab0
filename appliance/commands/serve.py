"""``armoire serve`` and ``armoire worker``: the two processes of a box.

Nothing here imports what runs programs or opens secrets: the web interface runs in this process (beam 1).
"""

import ctypes
import signal
from typing import Final

import click

from appliance.commands.framework import Command, answers, option
from appliance.commands.session import Answer, ExitCode, Session, nothing_to_show
from appliance.errors import NotInitialised, RecoveryUnfinished
from appliance.jobs.recovery_status import is_unfinished
from appliance.language import mark

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def end_with_parent() -> None:
    """Get SIGTERM when the process that started this one is gone, so that nothing is left behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


@click.command(
    "serve",
    cls=Command,
    help=mark("Serve the web interface until Ctrl-C. It holds no key and runs no program."),
)
@option("--with-parent", is_flag=True, hidden=True)
@option("--read-only", is_flag=True, hidden=True)
@answers
def serve(session: Session, *, with_parent: bool, read_only: bool) -> Answer:
    """Serve the web interface; ``--read-only`` while «armoire recover» brings the box back."""
    if with_parent:
        end_with_parent()
    require_box(session, is_recovering=read_only)
    from appliance.web import server  # noqa: PLC0415 - heavy, and the other commands do not need it

    server.run(session.settings, read_only=read_only)
    return Answer({"stopped": True}, nothing_to_show)


@click.command(
    "worker",
    cls=Command,
    help=mark("Run the worker until Ctrl-C: jobs, the timetable, files out of snapshots."),
)
@option("--with-parent", is_flag=True, hidden=True)
@answers
def worker(session: Session, *, with_parent: bool) -> Answer:
    """Run the worker."""
    if with_parent:
        end_with_parent()
    require_box(session)
    from appliance.worker import service  # noqa: PLC0415 - its log is set up on import of it

    code = service.serve(session.settings)
    return Answer({"stopped": code == 0}, nothing_to_show, ExitCode(code))


def require_box(session: Session, *, is_recovering: bool = False) -> None:
    """Return when there is a box in the data folder, whole.

    Raises:
        NotInitialised: there is none.
        RecoveryUnfinished: it is being made again, and this is not its own read-only interface.
    """
    if not is_recovering and is_unfinished(session.settings):
        raise RecoveryUnfinished(str(session.folder))
    if session.settings.database_url == "" and not (session.folder / "state.sqlite").exists():
        raise NotInitialised(str(session.folder))
