"""The last part of a recovery: the files of shares go back to their folders."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.backup_jobs.restore_share import ShareBack, restore_share
from appliance.clock import utc_now
from appliance.commands.recover_board import Board, lines_of_shares
from appliance.commands.recover_moved import check_room, move_share
from appliance.db import snapshots, sources
from appliance.db.engine import Database, open_database
from appliance.errors import ArmoireError, JobCancelled, NoSpace
from appliance.jobs.recovery_status import ShareLine
from appliance.ledger import events
from appliance.model import Source, SourceId, SourceKind
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
            board.share(line.source_id, state="restoring", problem="", problem_facts={})
            work = _Work(settings, database, board, line, shares, should_stop)
            work.run(None if snapshot is None else snapshot.original_bytes)
            board.keep()
    finally:
        database.close()


@dataclass(frozen=True)
class _Work:
    """One share to its folder: that of before, or another one."""

    settings: Settings
    database: Database
    board: Board
    line: ShareLine
    shares: Sequence[Source]
    should_stop: Callable[[], bool]

    def run(self, needed: int | None) -> None:
        """Bring it, and say on the board what became of it.

        Args:
            needed: bytes of its newest snapshot; None: it was never backed up, there is nothing.

        Raises:
            JobCancelled.
        """
        number = self.line.source_id
        try:
            back = self._bring(needed)
            self._record(back)
        except JobCancelled:
            self.board.share(number, state="waiting")
            raise
        except ArmoireError as error:
            self._failed(type(error).public, error.facts)
        except OSError as error:
            # Its text names a file; the reason alone does not.
            self._failed("%(reason)s", {"reason": error.strerror or type(error).__name__})
        else:
            self.board.share(
                number,
                state="partly" if back.failed else "back",
                files=back.files,
                bytes=back.bytes,
                left_alone=back.left_alone,
                failed=back.failed,
            )

    def _failed(self, problem: str, facts: Mapping[str, Any]) -> None:
        self.board.share(self.line.source_id, state="failed", problem=problem, problem_facts=facts)

    @property
    def _share(self) -> Source:
        return next(each for each in self.shares if each.id == self.line.source_id)

    def _bring(self, needed: int | None) -> ShareBack:
        root = Path(self.line.root)
        is_moved = self.line.root != self._share.roots[0]
        if is_moved:
            check_room(root, self._share, self.shares)
        if needed is not None:
            _has_room(root, needed)
        if is_moved:
            root.mkdir(exist_ok=True)
        if needed is None:
            return ShareBack()
        return restore_share(
            self.settings,
            self.line.source_id,
            root if is_moved else None,
            should_stop=self.should_stop,
            on_file=lambda done: self.board.share(
                self.line.source_id, files=done.files, bytes=done.bytes
            ),
        )

    def _record(self, back: ShareBack) -> None:
        """Write down what came, and only now where the share lies from here on: a killed attempt begins anew."""
        share, now = self._share, utc_now()
        subject = f"source:{share.id}"
        with self.database.write() as connection:
            if self.line.root != share.roots[0]:
                move_share(connection, share, Path(self.line.root))
                events.record(connection, at=now, event="share.moved", subject=subject)
            events.record(
                connection,
                at=now,
                event="share.recovered",
                subject=subject,
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
