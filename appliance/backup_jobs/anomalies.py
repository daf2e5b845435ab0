"""What a night looks like in figures, from the catalogue and from bytes out of the repository.

The judgement is ``policy.anomaly``'s. Figures are stored with the snapshot, so that the next nights
are compared with what was usual; nights that raised a red alarm are no example.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Final

from sqlalchemy import Connection

from appliance.backup_jobs.borg_library_items import unpack_chunks
from appliance.catalogue import query
from appliance.catalogue.query import ChangeKind
from appliance.catalogue.store import Catalogue
from appliance.db import anomalies, snapshots, sources
from appliance.ledger import events
from appliance.model import Entry, EntryKind, SnapshotId, SourceId
from appliance.policy.anomaly import (
    HISTORY,
    AnomalyLevel,
    Canary,
    FoundAnomaly,
    RunFigures,
    judge_run,
)
from appliance.policy.ransomware import (
    ContentSample,
    appended_suffix,
    has_known_suffix,
    is_ransom_note,
    judge_contents,
    pair_renames,
)
from appliance.policy.retention import FreezeReason

#: A file that nobody has a reason to touch; a practice may place one in any folder.
CANARY_NAME: Final = b".armoire-canari"
#: Changed and new files whose first bytes are looked at.
CONTENTS_SAMPLED: Final = 120
#: Snapshots looked through for history: red ones are passed over.
_LOOK_BACK: Final = 3 * HISTORY

Fetch = Callable[[Iterable[bytes]], Iterator[bytes]]


@dataclass
class _Changes:
    """What is different from the snapshot before. Folders and links are not counted."""

    changed: list[Entry] = field(default_factory=list)
    added: list[Entry] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    canary: Canary = Canary.ABSENT


def figures(
    catalogue: Catalogue,
    fetch: Fetch,
    *,
    snapshot_id: SnapshotId,
    at: datetime,
    new_bytes: int,
) -> RunFigures:
    """Return what the newest snapshot of a catalogue looks like beside the one before it.

    Args:
        catalogue: its night is committed.
        fetch: plaintext of chunks out of the repository.
        snapshot_id: the newest snapshot.
        at: when it was taken.
        new_bytes: what it added to the repository.

    Raises:
        RepositoryDamaged: a chunk written a moment ago does not come back.
    """
    totals = query.totals(catalogue, snapshot_id)
    known = catalogue.known_snapshots()  # newest first
    previous = next((each for each in known if each < snapshot_id), None)
    if previous is None:
        return RunFigures(
            at, files_before=0, added=totals.files, original_bytes=totals.bytes, new_bytes=new_bytes
        )
    before = query.totals(catalogue, previous)
    found = _changes(catalogue, previous, snapshot_id)
    pairs = pair_renames(
        [(each.path, each.chunks) for each in found.gone],
        [(each.path, each.chunks) for each in found.added],
    )
    moved = {new for _, new in pairs}
    new_paths = [each.path for each in found.added]
    return RunFigures(
        at,
        files_before=before.files,
        changed=len(found.changed),
        added=len(found.added) - len(pairs),
        vanished=len(found.gone) - len(pairs),
        renamed=len(pairs),
        original_bytes=totals.bytes,
        original_bytes_before=before.bytes,
        new_bytes=new_bytes,
        contents=_contents(
            [*found.changed, *(each for each in found.added if each.path not in moved)],
            fetch,
            seed=snapshot_id,
        ),
        known_suffixes=sum(has_known_suffix(path) for path in new_paths),
        ransom_notes=sum(is_ransom_note(path) for path in new_paths),
        appended=appended_suffix((each.path for each in found.gone), new_paths)[1],
        canary=found.canary,
    )


def _changes(catalogue: Catalogue, before: SnapshotId, after: SnapshotId) -> _Changes:
    found = _Changes()
    for change in query.compare(catalogue, before, after):
        old = change.before if change.before and change.before.kind is EntryKind.FILE else None
        new = change.after if change.after and change.after.kind is EntryKind.FILE else None
        if change.path.rpartition(b"/")[2] == CANARY_NAME and old is not None:
            if new is None:
                found.canary = Canary.GONE
            elif new.chunks != old.chunks:
                found.canary = Canary.CHANGED
        if change.kind is ChangeKind.REMOVED or (new is None and old is not None):
            if old is not None:
                found.gone.append(old)
        elif new is not None and old is None:
            found.added.append(new)
        elif new is not None and old is not None and new.chunks != old.chunks:
            found.changed.append(new)
    return found


def _contents(entries: Sequence[Entry], fetch: Fetch, *, seed: int) -> ContentSample:
    """Look at the first bytes of some; the same seed looks at the same files."""
    with_content = [each for each in entries if each.chunks]
    if len(with_content) > CONTENTS_SAMPLED:
        with_content = Random(seed).sample(with_content, CONTENTS_SAMPLED)  # noqa: S311 - a sample, not a secret
    # One at a time: a first chunk has up to 8 MiB.
    return judge_contents(
        (each.path, next(iter(fetch([unpack_chunks(each.chunks)[0][0]])))) for each in with_content
    )


# --- stored with the snapshot ----------------------------------------------------------------


def to_stats(run: RunFigures, found: Sequence[FoundAnomaly]) -> dict[str, object]:
    """Return what ``snapshot.stats`` keeps of a judged night."""
    return {
        "figures": {**asdict(run), "at": run.at.isoformat(), "canary": run.canary.value},
        "anomalies": [
            {"kind": one.kind.value, "level": one.level.value, **one.reading} for one in found
        ],
    }


def from_stats(stats: Mapping[str, Any]) -> RunFigures | None:
    """Return the figures of a night that may serve as an example, None of a red or unjudged one."""
    stored = stats.get("figures")
    if not isinstance(stored, dict):
        return None
    if any(one.get("level") == AnomalyLevel.RED.value for one in stats.get("anomalies", ())):
        return None
    try:
        return RunFigures(
            **{
                **stored,
                "at": datetime.fromisoformat(stored["at"]),
                "contents": ContentSample(**stored["contents"]),
                "canary": Canary(stored["canary"]),
            }
        )
    except (TypeError, ValueError, KeyError):
        return None  # written by another version: no example, no error


def judge(connection: Connection, source_id: SourceId, run: RunFigures) -> list[FoundAnomaly]:
    """Return what is abnormal about ``run`` against the source's last nights, red first."""
    history = [
        one
        for each in snapshots.of_source(connection, source_id, limit=_LOOK_BACK, with_removed=True)
        if (one := from_stats(snapshots.stats(connection, each.id))) is not None
    ]
    return judge_run(run, list(reversed(history[:HISTORY])))


def open_red(
    connection: Connection,
    source_id: SourceId,
    snapshot_id: SnapshotId,
    found: Sequence[FoundAnomaly],
    *,
    now: datetime,
    actor: str,
) -> int:
    """Open an anomaly for each red finding, freeze pruning, write the ledger; return how many."""
    red = [one for one in found if one.level is AnomalyLevel.RED]
    for one in red:
        anomalies.add(
            connection,
            source_id=source_id,
            snapshot_id=snapshot_id,
            kind=one.kind.value,
            reading=one.reading,
            now=now,
        )
    if red:
        sources.freeze(connection, source_id, FreezeReason.ANOMALY_OPEN.value, now=now)
        events.record(
            connection,
            at=now,
            event="anomaly.opened",
            subject=f"snapshot:{snapshot_id}",
            actor=actor,
            kinds=[one.kind.value for one in red],
        )
    return len(red)
