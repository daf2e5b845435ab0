"""What the kit's state says needs doing, for the home page, the copies and the command line."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from appliance.db import facts, targets
from appliance.db.schema import secret
from appliance.jobs import kit_words
from appliance.language import mark
from appliance.policy.findings import Finding, Severity

#: Copies that only sheets nobody has could open are no copies: after so long it is an alarm.
UNCONFIRMED_ALARM: Final = timedelta(days=7)


def kit_findings(connection: Connection, now: datetime) -> list[Finding]:
    """Return what needs doing about the kit; nothing while no destination was added."""
    living = targets.all_living(connection)
    if not living:
        return []
    known = kit_words.state(connection)
    if known.confirmed_at is None:
        since = now - min(each.created_at for each in living)
        grave = Severity.ALARM if since >= UNCONFIRMED_ALARM else Severity.WARNING
        return [
            Finding(
                "kit.not-confirmed",
                grave,
                mark(
                    "Nobody has shown yet that the copies can be opened: the kit is not confirmed."
                ),
                mark("Print the recovery kit, then type the words of its sheets."),
            )
        ]
    found = []
    if known.next is not None:
        found.append(
            Finding(
                "kit.next-not-confirmed",
                Severity.WARNING,
                mark("A new kit was begun and does not count yet: the former sheets still hold."),
                mark("Print the new sheets and type their words, or give the new kit up."),
            )
        )
    assert known.rehearse_by is not None  # noqa: S101 - it is confirmed
    if now >= known.rehearse_by:
        found.append(
            Finding(
                "kit.rehearsal-due",
                Severity.WARNING,
                mark("The words of the recovery kit were last typed %(ago)s ago."),
                mark("Take the sheets out of their places and type their words once."),
                {"ago": now - known.confirmed_at},
            )
        )
    if known.file_written_at is None:
        found.append(
            Finding(
                "kit.file-missing",
                Severity.WARNING,
                mark("The kit file, which says where the copies are, was never written."),
                mark("Write the kit file to a USB stick and keep it with the sheets."),
            )
        )
    elif not is_file_openable(connection):
        found.append(
            Finding(
                "kit.file-of-former",
                Severity.ALARM,
                mark(
                    "The kit file on the USB stick is of a former kit: the sheets of today do not open it."
                ),
                mark("Write the kit file to the USB stick again before anything else."),
            )
        )
    elif not is_file_fresh(connection):
        found.append(
            Finding(
                "kit.file-old",
                Severity.WARNING,
                mark("The destinations or the kit changed since the kit file was written."),
                mark("Write the kit file to the USB stick again."),
            )
        )
    return found


def is_file_fresh(connection: Connection) -> bool:
    """Say whether the kit file that was written last still says everything."""
    file = facts.find(connection, "kit.file")
    return isinstance(file, dict) and file["digest"] == file_digest(connection)


def file_written(connection: Connection, *, now: datetime) -> None:
    """Record that a kit file of this moment left the box; inside ``Database.write()``."""
    coming = facts.find(connection, "kit.next")
    opened_by = [facts.find(connection, "kit.recipient")]
    if isinstance(coming, dict):
        opened_by.append(coming["recipient"])
    stored = {
        "written_at": now.isoformat(),
        "digest": file_digest(connection),
        "opened_by": opened_by,
    }
    facts.put(connection, "kit.file", stored, now=now)


def is_file_openable(connection: Connection) -> bool:
    """Say whether the sheets that count open the kit file that was written last."""
    file = facts.find(connection, "kit.file")
    return isinstance(file, dict) and facts.find(connection, "kit.recipient") in file["opened_by"]


def file_digest(connection: Connection) -> str:
    """Return a hash over what a kit file depends on: targets, their secrets' dates, recipient, former kits.

    A new kit counts as if it held already: a file written while it waits is not out of date when it does.
    The sealed bytes of secrets are left out: a recovery seals them anew without changing what they say.
    """
    places = [
        (each.id, each.name, each.label, each.kind, each.place)
        for each in targets.all_living(connection)
    ]
    dates = [
        (row.name, row.created_at.isoformat())
        for row in connection.execute(
            select(secret.c.name, secret.c.created_at)
            .where(secret.c.name.startswith("target:", autoescape=True))
            .order_by(secret.c.name)
        )
    ]
    coming, former = facts.find(connection, "kit.next"), facts.find(connection, "kit.former")
    kit = [
        coming["recipient"]
        if isinstance(coming, dict)
        else facts.find(connection, "kit.recipient"),
        coming["former"]
        if isinstance(coming, dict)
        else (former["sealed"] if isinstance(former, dict) else ""),
        facts.find(connection, "practice.name"),
    ]
    text = json.dumps([places, dates, kit], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
