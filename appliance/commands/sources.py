"""What the commands about machines and shares have in common: they are sources."""

import re
from typing import Final

from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.session import Answer, ExitCode, Session, clean, table, when, wrong
from appliance.db import repositories, sources
from appliance.errors import NotFound
from appliance.language import mark
from appliance.ledger import events
from appliance.model import Plan, Source, SourceKind

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_WINDOW: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


def check_name(name: str) -> str:
    """Return ``name`` when it may be a source's.

    Raises:
        InvalidInput: it is no slug, so it could not be typed in ``SOURCE@SNAPSHOT:PATH``.
    """
    if not NAME.fullmatch(name):
        raise wrong("NAME", mark("Small letters, digits and «-», at most 64."))
    return name


def plan_of(window: str | None) -> Plan | None:
    """Return the plan for a window «20:00-06:00»; None for None: the practice's usual hours.

    Raises:
        InvalidInput: this is no window.
    """
    if window is None:
        return None
    if not _WINDOW.fullmatch(window):
        raise wrong("--window", mark("Write it as 20:00-06:00."))
    start, end = window.split("-")
    return Plan(window_start=start, window_end=end)


def source_body(source: Source) -> dict[str, object]:
    """Return a source as ``--json`` shows it."""
    return {
        "id": source.id,
        "name": source.name,
        "label": source.label,
        "kind": source.kind.value,
        "system": source.system.value,
        "host": source.host,
        "port": source.port,
        "user": source.user,
        "roots": source.roots,
        "excludes": source.excludes,
        "recipes": [each.name for each in source.recipes],
        "host_key_confirmed": source.host_key is not None,
        "plan": source.plan,
        "last_seen_at": source.last_seen_at,
        "frozen": source.frozen_reason,
    }


def machine_named(session: Session, name: str) -> Source:
    """Return a machine.

    Raises:
        NotFound: there is none, or it is a share or the box itself.
    """
    with session.database.read() as connection:
        found = sources.get_by_name(connection, name)
    if found.kind in {SourceKind.SHARE, SourceKind.BOX}:
        raise NotFound("machine", name)
    return found


def list_sources(session: Session, kinds: set[SourceKind], noun: str) -> Answer:
    """Return the living sources of these kinds as an answer; ``noun`` is their key in ``--json``."""
    with session.database.read() as connection:
        found = [each for each in sources.all_living(connection) if each.kind in kinds]
        sizes = {
            each.id: made.size_bytes if (made := repositories.find(connection, each.id)) else 0
            for each in found
        }

    def show(out: Console) -> None:
        if not found:
            out.print(session.say(mark("There is none yet.")))
            return
        titles = (mark("name"), mark("system"), mark("where"), mark("folders"), mark("seen"))
        rows = [
            (
                each.name,
                each.system.value if each.kind is not SourceKind.SHARE else "–",
                f"{each.user}@{each.host}:{each.port}" if each.host else "–",
                clean(", ".join(each.roots)),
                when(each.last_seen_at),
            )
            for each in found
        ]
        out.print(table([session.say(each) for each in titles], rows))

    return Answer(
        {noun: [{**source_body(each), "stored_bytes": sizes[each.id]} for each in found]}, show
    )


def remove_source(session: Session, source: Source, *, yes: bool) -> Answer:
    """Stop backing a source up, once a person said yes; its snapshots stay."""
    question = session.say(
        mark("Stop backing «%(name)s» up? Its snapshots stay on the disk."), name=source.name
    )
    if not yes and not session.confirm(question):
        session.tell(mark("Nothing was changed. Say --yes to do it."))
        return Answer({"name": source.name, "removed": False}, lambda _out: None, ExitCode.REFUSED)
    now = utc_now()
    with session.database.write() as connection:
        sources.remove(connection, source.id, now=now)
        events.record(
            connection,
            at=now,
            event="source.removed",
            subject=f"source:{source.id}",
            actor="console",
        )
    return Answer(
        {"name": source.name, "removed": True},
        lambda out: out.print(session.say(mark("«%(name)s» is removed."), name=source.name)),
    )
