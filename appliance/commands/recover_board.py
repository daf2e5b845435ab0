"""Keeps the status of a recovery: fed by its threads, written for the web, shown on the terminal."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from appliance.clock import utc_now
from appliance.jobs import recovery_status
from appliance.jobs.recovery_status import Phase, RecoveryStatus, RepositoryLine, ShareLine
from appliance.model import Source
from appliance.replication.recover_choice import Proposal, in_order
from appliance.replication.recover_progress import Progress
from appliance.replication.state import STATE
from appliance.settings import Settings

#: The pace is that of so many seconds.
WINDOW_S: Final = 30.0
#: A share in such a state stays where it is.
BACK: Final = frozenset({"back", "partly"})


class Board:
    """One recovery's status; safe for several threads."""

    def __init__(self, settings: Settings, status: RecoveryStatus) -> None:
        self._settings = settings
        self._door = threading.Lock()
        self._status = status
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), status.bytes_back)])

    @property
    def status(self) -> RecoveryStatus:
        """Return the status now."""
        with self._door:
            return self._status

    def change(self, **values: Any) -> RecoveryStatus:  # noqa: ANN401 - as dataclasses.replace
        """Set fields and return the status."""
        with self._door:
            self._status = replace(self._status, **values)
            return self._status

    def came(self, count: int) -> None:
        """Count bytes of repositories that are back."""
        with self._door:
            back = self._status.bytes_back + count
            self._status = replace(self._status, bytes_back=back)

    def document_read(self) -> int:
        """Count a document read to its end; return how many."""
        with self._door:
            count = self._status.documents_read + 1
            self._status = replace(self._status, documents_read=count)
            return count

    def repository(self, source_id: int, **values: Any) -> None:  # noqa: ANN401 - as above
        """Set fields of a repository's line."""
        with self._door:
            self._status = replace(
                self._status,
                repositories=tuple(
                    replace(each, **values) if each.source_id == source_id else each
                    for each in self._status.repositories
                ),
            )

    def share(self, source_id: int, **values: Any) -> None:  # noqa: ANN401 - as above
        """Set fields of a share's line."""
        with self._door:
            self._status = replace(
                self._status,
                shares=tuple(
                    replace(each, **values) if each.source_id == source_id else each
                    for each in self._status.shares
                ),
            )

    def tell(self) -> RecoveryStatus:
        """Write the live status, with the pace of the last half minute; return it."""
        now = time.monotonic()
        with self._door:
            self._samples.append((now, self._status.bytes_back))
            while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW_S:
                self._samples.popleft()
            (began, before), (_, after) = self._samples[0], self._samples[-1]
            pace = max(0.0, (after - before) / (now - began)) if now > began else 0.0
            self._status = replace(self._status, at=utc_now(), bytes_s=pace)
            status = self._status
        recovery_status.write_live(self._settings, status)
        return status

    def keep(self) -> RecoveryStatus:
        """Write the status so that it stays; return it."""
        status = self.change(at=utc_now())
        recovery_status.write_report(self._settings, status)
        return status


def begin(
    proposal: Proposal,
    label: str,
    wanted: Sequence[int],
    remarks: Sequence[tuple[str, Mapping[str, Any]]],
    before: RecoveryStatus | None,
    now: datetime,
    folders: Mapping[str, str] | None = None,
) -> RecoveryStatus:
    """Return the status a recovery begins with, or goes on with.

    Args:
        proposal: what was accepted.
        label: of its place.
        wanted: source ids, most wanted first.
        remarks: sentences about what places showed.
        before: what an earlier attempt of the same data folder left.
        now: aware UTC.
        folders: where shares come back, when not to their folder of before.
    """
    sizes: dict[int, int] = {}
    for file in proposal.manifest.files:
        sizes[file.repository] = sizes.get(file.repository, 0) + file.plain_size
    known = {each.source_id: each for each in proposal.manifest.repositories}
    order = [STATE, *in_order(proposal.manifest, wanted)]
    return RecoveryStatus(
        phase=Phase.STATE,
        at=now,
        started_at=now if before is None else before.started_at,
        place=label,
        number=proposal.number,
        taken_at=proposal.taken_at,
        lost_s=proposal.lost_s,
        readable_at=None if before is None else before.readable_at,
        state_at=None if before is None else before.state_at,
        bytes_total=sum(sizes.values()),
        documents_read=0 if before is None else before.documents_read,
        attempts=1 if before is None else before.attempts + 1,
        repositories=tuple(
            RepositoryLine(each, known[each].label, known[each].kind, sizes.get(each, 0))
            for each in order
            if each in known
        ),
        shares=() if before is None else before.shares,
        remarks=tuple(remarks),
        folders=dict(folders or {}),
    )


def settle(board: Board, progress: Progress | None) -> frozenset[int]:
    """Take over what ``recovery.json`` says is back; return the sources whose repository is."""
    if progress is None:
        return frozenset()
    for text, back in progress.repositories.items():
        board.repository(
            int(text),
            state=back["check"],
            seconds=back["seconds"],
            missing=len(back["missing"]),
        )
    if progress.state is not None:
        board.repository(STATE, state="right")
        board.change(
            secrets=int(progress.state["secrets"]),
            unreadable_secrets=tuple(progress.state["unreadable"]),
            state_at=datetime.fromisoformat(progress.state["at"]),
        )
    return frozenset(int(text) for text in progress.repositories)


def lines_of_shares(
    board: Board, shares: Sequence[Source], snapshots: Mapping[int, datetime]
) -> list[ShareLine]:
    """Put the shares on the board, those of an earlier attempt as it left them; return those that wait."""
    known = {each.source_id: each for each in board.status.shares}
    lines = []
    for share in shares:
        line = known.get(share.id) or ShareLine(
            share.id, share.label, share.roots[0], snapshot_at=snapshots.get(share.id)
        )
        if line.state not in BACK:
            line = replace(line, root=board.status.folders.get(share.name, line.root))
        lines.append(line)
    board.change(shares=tuple(lines))
    return [each for each in lines if each.state not in BACK]
