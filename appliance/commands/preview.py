"""``armoire prune --dry-run``: which snapshots would go, why, and which files with them."""

from contextlib import closing
from datetime import datetime, tzinfo

from rich.console import Console

from appliance.catalogue import prune_preview, store
from appliance.commands.session import Answer, Session, clean, table, when
from appliance.db import snapshots
from appliance.jobs import frozen
from appliance.language import mark
from appliance.model import Source
from appliance.policy import retention
from appliance.policy.wording import size_words

NAMED = 20  # files named


def preview(session: Session, source: Source, *, now: datetime, zone: tzinfo) -> Answer:
    """Return what pruning ``source`` would remove now; nothing is changed."""
    with (
        closing(store.of_source(session.settings, source.id)) as catalogue,
        session.database.read() as connection,
    ):
        found = prune_preview.preview(connection, catalogue, source, now=now, tz=zone, names=NAMED)
        kept = {each.id: each for each in snapshots.of_source(connection, source.id)}
        reasons = frozen.reasons(connection, source, now=now)
    lost = found.lost

    def show(out: Console) -> None:
        out.print(retention.sentence(source.plan.keep, session.language))
        rows = [
            (
                str(each.id),
                when(kept[each.id].started_at),
                session.say(mark("stays")) if each.kept else session.say(mark("goes")),
                retention.reason_words(each.why, session.language),
            )
            for each in found.decisions
        ]
        out.print(table([""] * 4, rows))
        for reason in reasons:
            out.print(
                session.say(
                    mark("Nothing is removed while something is in doubt: %(reason)s."),
                    reason=session.say(retention.FREEZE_TEXTS[reason]),
                )
            )
        if not found.removed:
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
        "frozen": [each.value for each in reasons],
        "snapshots": [
            {"id": each.id, "kept": each.kept, "why": each.why.value} for each in found.decisions
        ],
        "lost_files": lost.files,
        "lost_bytes": lost.bytes,
        "lost_first": [each.entry.path for each in lost.first],
    }
    return Answer(body, show)
