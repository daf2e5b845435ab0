"""A drill: the box made again from a place with the words alone, timed, and compared with the living one.

Nothing is written at the place, nor in the living box: `recover` runs as a drill into a folder of its own,
with a vault and a Borg home of its own. Whoever calls removes that folder.
"""

import errno
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import DBAPIError

from appliance.errors import (
    ArmoireError,
    BorgFailed,
    NoSpace,
    ObjectAltered,
    ObjectMissing,
    RepositoryDamaged,
    RepositoryReplaced,
    SecretMissing,
    SecretUnreadable,
    TargetUnreachable,
)
from appliance.errors import NothingToRecover as NothingThere
from appliance.policy.drills import Drill, RepositoryLine
from appliance.replication import recover_choice
from appliance.replication.drill_documents import compare_documents, read_first
from appliance.replication.recover import Line, RecoverySheet, note_first_readable, recover
from appliance.replication.recover_cache import Place, SegmentCache
from appliance.replication.recover_choice import Look, Proposal
from appliance.replication.recover_compare import Comparison, compare
from appliance.replication.recover_reading import CopyReader
from appliance.replication.target import Target
from appliance.replication.tools import Tools
from appliance.settings import Settings
from appliance.units import GIB, MIB
from appliance.vault.secret import Secret

#: Segments kept while the first document is read straight from the copy.
CACHE_BYTES: Final = 1 * GIB
#: A disk with less room than this was what stopped a program that does not say so.
NO_ROOM_BYTES: Final = 4 * MIB
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

#: What says that the copy, not the line nor this disk, does not make the box again.
VERDICTS: Final = (
    NothingThere,
    ObjectMissing,
    ObjectAltered,
    RepositoryDamaged,
    RepositoryReplaced,
    SecretMissing,
    SecretUnreadable,
)


@dataclass(frozen=True)
class Copy:
    """What a drill begins from: what the kit would tell after a fire."""

    target: str  # its name in the record
    label: str
    open_target: Callable[[], Target]
    identity: Secret  # what the words open: identities of age, one a line
    signer: Ed25519PublicKey
    box_id: str
    connections: int = 2


@dataclass(frozen=True)
class Watch:
    """How a drill speaks to the outside."""

    on_step: Callable[[str], None] = lambda _step: None
    on_bytes: Callable[[int, int], None] = lambda _done, _total: None  # plain bytes; one at a time
    should_stop: Callable[[], bool] = lambda: False


def rehearse(
    copy: Copy,
    living: Settings,
    folder: Path,
    tools: Tools,
    watch: Watch,
    *,
    now: Callable[[], datetime],
    seed: int = 0,
) -> Drill:
    """Make the box again below ``folder``, compare it, and return what was measured.

    Args:
        copy: where from.
        living: of this box; only read.
        folder: empty, of this drill alone.
        tools: what the worker lends.
        watch: progress.
        now: the clock.
        seed: of the sample of documents.

    Returns:
        The figures. When the copy itself does not make the box (VERDICTS), they say so by ``reason``.

    Raises:
        TargetUnreachable, TargetListUnreadable, TargetIdentityChanged, TargetRefuses: nothing is known then.
        NoSpace: the disk of the box does not hold a second one.
        JobCancelled.
    """
    work = _Rehearsal(copy, living, folder, tools, watch, now)
    with _full_disk_said(folder):
        try:
            return work.run(seed)
        except VERDICTS as error:
            return replace(work.drill, reason=error.code, total_s=work.elapsed())


class _Rehearsal:
    """One run of ``rehearse``."""

    def __init__(
        self,
        copy: Copy,
        living: Settings,
        folder: Path,
        tools: Tools,
        watch: Watch,
        now: Callable[[], datetime],
    ) -> None:
        self._copy = copy
        self._living = living
        self._folder = folder
        self._made = Settings(
            data=folder / "box",
            time_zone=living.time_zone,
            segment_bytes=living.segment_bytes,
        )
        self._tools = tools
        self._watch = watch
        self._now = now
        self._began = time.monotonic()
        self._began_at = now()
        self._done = 0
        self._door = threading.Lock()
        self._first_s = self._state_s = -1.0
        self.drill = Drill(copy.label, 0, "")

    def elapsed(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def run(self, seed: int) -> Drill:
        self._watch.on_step("drill-looking")
        look = self._look()
        proposal = recover_choice.propose([look])
        self.drill = Drill(
            self._copy.label,
            proposal.number,
            proposal.taken_at.isoformat(),
            data_age_s=max(0, int((self._began_at - proposal.taken_at).total_seconds())),
            lost_s=proposal.lost_s,
            faults=len(proposal.faults),
        )
        self._need_room(proposal)
        sheet = self._recover(proposal, look)
        restored_s = self.elapsed()
        self._watch.on_step("drill-comparing")
        found = compare(self._living, self._made, proposal.manifest)
        documents = compare_documents(
            self._living, self._made, self._tools, seed=seed, should_stop=self._watch.should_stop
        )
        return replace(
            self._with_comparison(sheet, found),
            state_s=self._state_s,
            first_document_s=self._first_s,
            restored_s=restored_s,
            documents=documents.read,
            documents_same=documents.same,
            documents_gone=documents.gone,
            documents_different=documents.different,
            total_s=self.elapsed(),
        )

    def _look(self) -> Look:
        target = self._copy.open_target()
        try:
            look = recover_choice.look(
                self._copy.target,
                target,
                signer=self._copy.signer,
                box_id=self._copy.box_id,
                identity=self._copy.identity,
            )
            if look.unreachable:
                # ``look`` keeps the code only: asked once more, the place says itself why.
                list(target.list("generations/"))
                raise TargetUnreachable(self._copy.label, "the line was cut")
        finally:
            target.close()
        return look

    def _need_room(self, proposal: Proposal) -> None:
        """Refuse at once what would stop half-way, after hours."""
        needed = int(sum(file.plain_size for file in proposal.manifest.files) * 1.05)
        needed += self._living.free_bytes_floor
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise NoSpace(str(self._folder), free, needed)

    def _recover(self, proposal: Proposal, look: Look) -> RecoverySheet:
        total = sum(file.plain_size for file in proposal.manifest.files)

        def on_bytes(count: int) -> None:
            with self._door:
                self._done += count
                self._watch.on_bytes(self._done, total)

        def on_step(step: str) -> None:
            self._watch.on_step("drill-state" if step == "state" else "drill-restoring")

        def on_state() -> None:
            self._state_s = self.elapsed()
            self._watch.on_step("drill-first")
            self._read_first(proposal)

        line = Line(
            {self._copy.target: self._copy.open_target},
            connections=self._copy.connections,
            on_bytes=on_bytes,
            on_step=on_step,
            on_state=on_state,
            should_stop=self._watch.should_stop,
        )
        return recover(
            proposal,
            [look],
            self._made,
            line,
            self._copy.identity,
            signer=self._copy.signer,
            now=self._now,
            is_drill=True,
        )

    def _read_first(self, proposal: Proposal) -> None:
        """Read a document straight from the copy, as one does in an emergency, and time it."""
        cache = SegmentCache(
            [Place(self._copy.open_target, proposal.manifest)],
            self._copy.identity,
            self._folder / "cache",
            CACHE_BYTES,
        )

        def on_first() -> None:
            self._first_s = self.elapsed()
            note_first_readable(self._made.data, self._now())

        reader = CopyReader(cache, partial(self._tools.open_chunks, self._made), on_first=on_first)
        try:
            read_first(reader, self._made, recover_choice.in_order(proposal.manifest))
        finally:
            reader.close()
            cache.close()
            shutil.rmtree(self._folder / "cache", ignore_errors=True)

    def _with_comparison(self, sheet: RecoverySheet, found: Comparison) -> Drill:
        labels = {each.source_id: each.label for each in sheet.repositories}
        return replace(
            self.drill,
            files=sheet.files,
            bytes=sheet.bytes,
            repositories=tuple(
                RepositoryLine(
                    each.source_id,
                    labels[each.source_id],
                    each.files,
                    each.bytes,
                    each.seconds,
                    "right" if each.check == "right" and not each.missing else "damaged",
                )
                for each in sheet.repositories
            ),
            segments=found.segments,
            segments_same=found.segments_same,
            segments_gone=found.segments_gone,
            segments_different=len(found.segments_different),
            secrets=sheet.secrets + len(sheet.unreadable_secrets),
            secrets_same=found.secrets_same,
            repositories_missing=len(found.repositories_missing),
            passphrases_wrong=len(found.passphrases_wrong),
            ledger_entries=found.ledger_entries,
            ledger_follows=found.ledger_follows,
        )


@contextmanager
def _full_disk_said(folder: Path) -> Iterator[None]:
    """Turn what a full disk makes programs say into NoSpace."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _no_space(folder) from error
        raise
    except (BorgFailed, DBAPIError) as error:
        if shutil.disk_usage(folder).free < NO_ROOM_BYTES:
            raise _no_space(folder) from error
        raise


def _no_space(folder: Path) -> ArmoireError:
    return NoSpace(str(folder), shutil.disk_usage(folder).free, 0)
