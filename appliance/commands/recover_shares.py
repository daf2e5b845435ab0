"""The last part of a recovery: the files of shares go back to their folders."""

import shutil
from collections.abc import Callable
from pathlib import Path

from appliance.backup_jobs.restore_share import restore_share
from appliance.clock import utc_now
from appliance.commands.recover_board import Board, lines_of_shares
from appliance.db import snapshots, sources
from appliance.db.engine import Database, open_database
from appliance.errors import ArmoireError, JobCancelled, NoSpace
from appliance.jobs.recovery_status import ShareLine
from appliance.ledger import events
from appliance.model import SourceId, SourceKind
from appliance.settings import Settings


def bring_shares(settings: Settings, board: Board, *, should_stop: Callable[[], bool]) -> None:
    """Restore the newest snapshot of every share to its folder; one that failed keeps no other back.

    What an earlier attempt brought back is left alone: people work there again.

    Raises:
        JobCancelled: ``should_stop`` said so.
    """
    database = open_database(settings.database)
    try:
        with database.read() as connection:
            shares = [
                each for each in sources.all_living(connection) if each.kind is SourceKind.SHARE
            ]
            newest = {each.id: snapshots.newest(connection, each.id) for each in shares}
        known = {number: one.started_at for number, one in newest.items() if one is not None}
        for line in lines_of_shares(board, shares, {int(key): at for key, at in known.items()}):
            snapshot = newest.get(SourceId(line.source_id))
            if snapshot is None:
                board.share(line.source_id, state="back")  # never backed up: there is nothing
                continue
            board.share(line.source_id, state="restoring", problem="", problem_facts={})
            _one(settings, database, board, line, snapshot.original_bytes, should_stop)
            board.keep()
    finally:
        database.close()


def _one(
    settings: Settings,
    database: Database,
    board: Board,
    line: ShareLine,
    needed: int,
    should_stop: Callable[[], bool],
) -> None:
    try:
        _has_room(Path(line.root), needed)
        back = restore_share(
            settings,
            line.source_id,
            None,
            should_stop=should_stop,
            on_file=lambda done: board.share(line.source_id, files=done.files, bytes=done.bytes),
        )
    except JobCancelled:
        board.share(line.source_id, state="waiting")
        raise
    except ArmoireError as error:
        board.share(
            line.source_id, state="failed", problem=type(error).public, problem_facts=error.facts
        )
        return
    except OSError as error:
        # Its text names a file; the reason alone does not.
        board.share(
            line.source_id,
            state="failed",
            problem="%(reason)s",
            problem_facts={"reason": error.strerror or type(error).__name__},
        )
        return
    board.share(
        line.source_id,
        state="partly" if back.failed else "back",
        files=back.files,
        bytes=back.bytes,
        left_alone=back.left_alone,
        failed=back.failed,
    )
    with database.write() as connection:
        events.record(
            connection,
            at=utc_now(),
            event="share.recovered",
            subject=f"source:{line.source_id}",
            files=back.files,
            bytes=back.bytes,
            left_alone=back.left_alone,
            failed=back.failed,
        )


def _has_room(root: Path, needed: int) -> None:
    above = root
    while not above.exists():
        above = above.parent
    if any(root.iterdir()) if root.is_dir() else False:
        return  # an earlier attempt, or people's own files: how much is missing cannot be told
    free = shutil.disk_usage(above).free
    if free < needed:
        raise NoSpace(str(above), free, needed)
