"""``armoire prune --dry-run``: which snapshots would go, why, and which files with them."""

from contextlib import closing
from datetime import datetime, tzinfo

from rich.console import Console

from appliance.catalogue import query, store
from appliance.commands.session import Answer, Session, clean, table, when
from appliance.db import snapshots
from appliance.language import mark
from appliance.model import SnapshotState, Source
from appliance.policy import retention
from appliance.policy.wording import size_words

NAMED = 20  # files named


def preview(session: Session, source: Source, *, now: datetime, zone: tzinfo) -> Answer:
    """Return what pruning ``source`` would remove now; nothing is changed."""
    with session.database.read() as connection:
        kept = {each.id: each for each in snapshots.of_source(connection, source.id)}
    decisions = retention.decide(
        [
            retention.KeepCandidate(
                each.id,
                each.started_at,
                each.protected,
                each.legal_hold,
                each.state is SnapshotState.COMPLETE,
            )
            for each in kept.values()
        ],
        source.plan.keep,
        now,
        zone,
    )
    going = [each.id for each in decisions if not each.kept]
    lost = None
    if going:
        with closing(store.of_source(session.settings, source.id)) as catalogue:
            lost = query.lost_if_removed(catalogue, going, limit=NAMED)

    def show(out: Console) -> None:
        out.print(retention.sentence(source.plan.keep, session.language))
        rows = [
            (
                str(each.id),
                when(kept[each.id].started_at),
                session.say(mark("stays")) if each.kept else session.say(mark("goes")),
                retention.reason_words(each.why, session.language),
            )
            for each in decisions
        ]
        out.print(table([""] * 4, rows))
        if source.frozen_reason is not None:
            reason = retention.FREEZE_TEXTS.get(
                retention.FreezeReason(source.frozen_reason), source.frozen_reason
            )
            out.print(
                session.say(
                    mark("Nothing is removed while something is in doubt: %(reason)s."),
                    reason=session.say(reason),
                )
            )
        if lost is None:
            out.print(session.say(mark("Nothing would go.")))
            return
        out.print(
            session.say(
                mark("%(files)s files (%(size)s) would exist in no snapshot any more."),
                files=lost.files,
                size=size_words(lost.bytes, session.language),
            )
        )
        for each in lost.first:
            out.print(f"  {clean(each.entry.path)}")

    body = {
        "source": source.name,
        "frozen": source.frozen_reason,
        "snapshots": [
            {"id": each.id, "kept": each.kept, "why": each.why.value} for each in decisions
        ],
        "lost_files": 0 if lost is None else lost.files,
        "lost_bytes": 0 if lost is None else lost.bytes,
        "lost_first": [] if lost is None else [each.entry.path for each in lost.first],
    }
    return Answer(body, show)
