"""What the box tells of files that came by a request: that they are there, that they go soon, that they were lost."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from appliance.accounts import notices
from appliance.db import facts
from appliance.db.schema_disk import received_file
from appliance.disk import links, quarantine_upkeep
from appliance.errors import LinkGone
from appliance.language import mark

#: Facts: the last file that was told of; when who was reminded; what was lost and told.
ARRIVED: Final = "notices.arrived"
EXPIRING: Final = "notices.expiring"
LOST: Final = "notices.lost"

#: Files that come one after the other are one notice: after so much silence, or so long after the first.
SETTLES: Final = timedelta(minutes=2)
LONGEST_ARRIVAL: Final = timedelta(minutes=15)
REMIND_EVERY: Final = timedelta(days=7)

_ARRIVED_TEXT: Final = mark(
    "Files arrived by your request «%(label)s»: %(count)s. Accept or refuse them."
)
_EXPIRING_TEXT: Final = mark(
    "Files that came by your request «%(label)s» (%(count)s) are removed soon: accept or refuse them."
)
_LOST_TEXT: Final = mark(
    "Files that came by your request «%(label)s» (%(count)s) were lost: ask the sender again."
)
#: The same, for those who run the box: who asked for the files would not read it.
_OF_ANOTHER: Final = {
    _ARRIVED_TEXT: mark(
        "Files arrived by the request «%(label)s» of somebody who is not here any more: %(count)s. Accept or refuse them."
    ),
    _EXPIRING_TEXT: mark(
        "Files that came by the request «%(label)s» of somebody who is not here any more (%(count)s) are removed soon: "
        "accept or refuse them."
    ),
    _LOST_TEXT: mark(
        "Files that came by the request «%(label)s» of somebody who is not here any more (%(count)s) were lost: ask the "
        "sender again."
    ),
}


def tell_expiring(connection: Connection, now: datetime) -> None:
    """Remind who asked for files, once a week, that those nobody decided about go soon."""
    waiting = quarantine_upkeep.expiring(connection, now=now)
    stored = facts.find(connection, EXPIRING)
    told = dict(stored) if isinstance(stored, dict) else {}
    kept = {key: at for key, at in told.items() if int(key) in waiting}
    for link_id, count in waiting.items():
        last = kept.get(str(link_id))
        if last is None or now - datetime.fromisoformat(last) >= REMIND_EVERY:
            _tell_link(connection, link_id, "link.expiring", _EXPIRING_TEXT, count, now)
            quarantine_upkeep.note_reminded(connection, link_id, now=now)
            kept[str(link_id)] = now.isoformat()
    if kept != told:
        facts.put(connection, EXPIRING, kept, now=now)


def tell_lost(connection: Connection, now: datetime) -> None:
    """Tell who asked for files that some were lost, each time more are."""
    stored = facts.find(connection, LOST)
    told = dict(stored) if isinstance(stored, dict) else {}
    found = quarantine_upkeep.lost(connection)
    for link_id, (count, at) in found.items():
        if told.get(str(link_id)) != at.isoformat():
            _tell_link(connection, link_id, "link.lost", _LOST_TEXT, count, now)
    kept = {str(link_id): at.isoformat() for link_id, (_, at) in found.items()}
    if kept != told:
        facts.put(connection, LOST, kept, now=now)


def arrivals(connection: Connection, now: datetime) -> list[tuple[int, int, int]]:
    """Return link, count and highest number of the files that came by it and nobody was told of, once it is quiet."""
    last = facts.find(connection, ARRIVED)
    known = last if isinstance(last, int) else 0
    query = (
        select(
            received_file.c.link_id,
            func.count(),
            func.max(received_file.c.id),
            func.min(received_file.c.received_at),
            func.max(received_file.c.received_at),
        )
        .where(received_file.c.id > known, received_file.c.decided_at.is_(None))
        .group_by(received_file.c.link_id)
    )
    rows = connection.execute(query).all()
    if not rows:
        return []
    first, newest = min(row[3] for row in rows), max(row[4] for row in rows)
    # All links wait for the last one: the number told of is one for all of them.
    if now - newest < SETTLES and now - first < LONGEST_ARRIVAL:
        return []
    return [(int(row[0]), int(row[1]), int(row[2])) for row in rows]


def tell_arrivals(
    connection: Connection, arrived: Sequence[tuple[int, int, int]], now: datetime
) -> None:
    """Tell who asked for files that they are there; ``arrived``: of ``arrivals``, not empty."""
    for link_id, count, _highest in arrived:
        _tell_link(connection, link_id, "link.arrived", _ARRIVED_TEXT, count, now)
    facts.put(connection, ARRIVED, max(each[2] for each in arrived), now=now)


def _tell_link(
    connection: Connection, link_id: int, code: str, text: str, count: int, now: datetime
) -> None:
    one = links.get(connection, link_id)
    try:
        links.rights_of_maker(connection, one, now=now)
    except LinkGone:
        whom = None  # a locum who left, a closed account: nobody would read it
    else:
        whom = one.person_id
    notices.put(
        connection,
        code,
        _OF_ANOTHER[text] if whom is None else text,
        {"label": one.label, "count": count, "href": f"/links/{link_id}"},
        person_id=whom,
        now=now,
    )
