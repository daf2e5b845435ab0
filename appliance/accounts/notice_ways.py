"""The ways notices leave the box by: the practice's and each person's; and the e-mail server.

Secrets lie sealed in the vault, which only the worker opens: «notice-way:<id>» (a service's address with its
keys), «notices:mail» (the e-mail server's password), «notices:ping» (the outside monitor's address).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from sqlalchemy import Connection, Row, delete, func, insert, literal, select, update

from appliance.accounts import notices, people
from appliance.db import facts, secrets
from appliance.db.schema import person
from appliance.db.schema_people import notice_delivery, notice_way
from appliance.errors import InvalidInput, NotFound
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId, Role
from appliance.policy.notice_ways import Kind, MailServer
from appliance.policy.notices import Rules, Topic, wanted
from appliance.policy.roles import Action, may

#: Facts.
RULES: Final = "notices.rules"
MAIL: Final = "notices.mail"
#: Secrets.
MAIL_SECRET: Final = "notices:mail"  # noqa: S105 - a name
PING_SECRET: Final = "notices:ping"  # noqa: S105 - a name
MOST_WAYS: Final = 20  # of the practice, or of one person
EMAIL_CHANGED: Final = mark("Notices to you leave the box by another way from now on: %(way)s.")


@dataclass(frozen=True, slots=True)
class Way:
    """One way out."""

    id: int
    person_id: PersonId | None  # None: the practice's
    kind: Kind
    label: str  # an e-mail's address, a service's name
    topics: frozenset[Topic]
    created_at: datetime
    worked_at: datetime | None
    failed_at: datetime | None
    problem: str | None  # of policy.notices.PROBLEMS

    @property
    def secret(self) -> str:
        """Name of what is sealed for it."""
        return f"notice-way:{self.id}"


@dataclass(frozen=True, slots=True)
class Listening:
    """A way, and who listens at its end."""

    way: Way
    runs_it: bool  # the practice's, or of somebody who runs the box
    is_open: bool  # nobody closed their account


def add(
    connection: Connection,
    *,
    person_id: PersonId | None,
    kind: Kind,
    label: str,
    topics: list[str],
    by: PersonId | None,
    now: datetime,
    sealed: bytes | None = None,
) -> Way:
    """Add a way inside the caller's write, and return it.

    Args:
        connection: of the write.
        person_id: whose; None: the practice's.
        kind: email or service.
        label: what people read; the address of an e-mail.
        topics: of ``policy.notices.Topic``.
        by: who did it; None: the command line.
        now: aware.
        sealed: the service's address, sealed.

    Raises:
        InvalidInput: there are many already. NotAllowed: a sealed envelope leaves nothing behind.
    """
    if person_id is not None:
        people.demand_nominative(connection, person_id)
    if len(living(connection, person_id)) >= MOST_WAYS:
        raise InvalidInput("way", mark("There are many already: remove one first."))
    result = connection.execute(
        insert(notice_way).values(
            person_id=person_id,
            kind=kind.value,
            label=label,
            topics=wanted(topics),
            created_at=now,
            created_by=by,
        )
    )
    assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
    made = get(connection, int(result.inserted_primary_key[0]))
    if sealed is not None:
        secrets.put_sealed(connection, made.secret, sealed, now=now)
    _record(connection, "notices.way-added", made, by, now)
    _tell(connection, made, by, now)
    return made


def change(
    connection: Connection, way: Way, topics: list[str], *, by: PersonId | None, now: datetime
) -> None:
    """Choose anew what a way is for."""
    connection.execute(
        update(notice_way).where(notice_way.c.id == way.id).values(topics=wanted(topics))
    )
    _record(connection, "notices.way-changed", get(connection, way.id), by, now)


def remove(connection: Connection, way: Way, *, by: PersonId | None, now: datetime) -> None:
    """Remove a way and its secret; what waited for it is not sent."""
    connection.execute(
        update(notice_way).where(notice_way.c.id == way.id).values(removed_at=now, problem=None)
    )
    connection.execute(
        update(notice_delivery)
        .where(notice_delivery.c.way_id == way.id, notice_delivery.c.next_at.is_not(None))
        .values(next_at=None, given_up_at=now)
    )
    secrets.forget(connection, [way.secret])
    _record(connection, "notices.way-removed", way, by, now)


def get(connection: Connection, way_id: int) -> Way:
    """Return a living way.

    Raises:
        NotFound: there is none.
    """
    query = select(notice_way).where(notice_way.c.id == way_id, notice_way.c.removed_at.is_(None))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("way", str(way_id))
    return _way(row)


def living(connection: Connection, person_id: PersonId | None) -> list[Way]:
    """Return the ways of a person, or with None of the practice, the oldest first."""
    whose = (
        notice_way.c.person_id.is_(None)
        if person_id is None
        else notice_way.c.person_id == person_id
    )
    query = select(notice_way).where(whose, notice_way.c.removed_at.is_(None))
    return [_way(row) for row in connection.execute(query.order_by(notice_way.c.id))]


def everybodys(connection: Connection) -> list[Listening]:
    """Return every way with who listens at its end, the oldest first."""
    query = (
        select(notice_way, person.c.role, person.c.disabled_at)
        .outerjoin(person, person.c.id == notice_way.c.person_id)
        .where(notice_way.c.removed_at.is_(None))
        .order_by(notice_way.c.id)
    )
    return [
        Listening(
            _way(row),
            runs_it=row.person_id is None or may(Role(row.role), Action.SETTINGS_CHANGE),
            is_open=row.disabled_at is None,
        )
        for row in connection.execute(query)
    ]


def for_notice(
    known: Iterable[Listening], person_id: PersonId | None, topic: Topic | None
) -> list[Way]:
    """Return the ways by which a notice about ``topic`` leaves: of living people, who want it.

    Args:
        known: of ``everybodys``.
        person_id: whom the notice is for; None: those who run the box, and the practice's ways.
        topic: of it; None: of none, it leaves by no way.
    """
    return [
        each.way
        for each in known
        if topic in each.way.topics
        and each.is_open
        and (each.way.person_id == person_id or (person_id is None and each.runs_it))
    ]


def worked(connection: Connection, way_id: int, *, now: datetime) -> None:
    """Record that a message left by a way."""
    connection.execute(
        update(notice_way)
        .where(notice_way.c.id == way_id)
        .values(worked_at=now, failed_at=None, problem=None)
    )


def failed(connection: Connection, way_id: int, problem: str, *, now: datetime) -> None:
    """Record that none did, and why; since when stays."""
    since = notice_way.c.failed_at
    connection.execute(
        update(notice_way)
        .where(notice_way.c.id == way_id)
        .values(failed_at=func.coalesce(since, literal(now, since.type)), problem=problem)
    )


# --- the practice's settings ---------------------------------------------------------------


def rules(connection: Connection) -> Rules:
    """Return how the practice wants to be told."""
    found = facts.find(connection, RULES)
    return Rules.of(found if isinstance(found, dict) else {})


def put_rules(connection: Connection, wished: Rules, *, by: PersonId | None, now: datetime) -> None:
    """Store how the practice wants to be told."""
    facts.put(connection, RULES, wished.stored(), now=now)
    events.record(
        connection,
        at=now,
        event="notices.rules-changed",
        subject="box",
        person_id=by,
        **wished.stored(),
    )


def mail_server(connection: Connection) -> MailServer | None:
    """Return the e-mail server, or None."""
    found = facts.find(connection, MAIL)
    return MailServer.of(found) if isinstance(found, dict) else None


def put_mail_server(
    connection: Connection,
    server: MailServer,
    sealed: bytes | None,
    *,
    by: PersonId | None,
    now: datetime,
) -> None:
    """Store the e-mail server; what waits is tried at once.

    Args:
        connection: of the write.
        server: it.
        sealed: its password; None: as before, unless the server or the user is another.
        by: who did it; None: the command line.
        now: aware.

    Raises:
        InvalidInput: a user without a password, or a certificate that is none.
    """
    if server.ca:
        try:
            x509.load_pem_x509_certificates(server.ca.encode())
        except ValueError as error:
            raise InvalidInput("ca", mark("This is no certificate in PEM form.")) from error
    before = mail_server(connection)
    is_same = before is not None and (before.server, before.user) == (server.server, server.user)
    if sealed is not None and server.user:
        secrets.put_sealed(connection, MAIL_SECRET, sealed, now=now)
    elif not server.user or not is_same:
        # A password is never shown to another server than the one it was typed for.
        secrets.forget(connection, [MAIL_SECRET])
    if server.user and secrets.find_sealed(connection, MAIL_SECRET) is None:
        raise InvalidInput("password", mark("The password of this user, please."))
    facts.put(connection, MAIL, server.stored(), now=now)
    events.record(
        connection,
        at=now,
        event="notices.mail-server-changed",
        subject="box",
        person_id=by,
        server=server.server,
        port=server.port,
        security=server.security.value,
    )
    facts.put(connection, facts.MAIL_TRIED, None, now=now)
    mails = select(notice_way.c.id).where(notice_way.c.kind == Kind.EMAIL.value)
    connection.execute(
        update(notice_delivery)
        .where(notice_delivery.c.next_at.is_not(None), notice_delivery.c.way_id.in_(mails))
        .values(next_at=now)
    )


def remove_mail_server(connection: Connection, *, by: PersonId | None, now: datetime) -> None:
    """Forget the e-mail server and its password."""
    secrets.forget(connection, [MAIL_SECRET])
    facts.put(connection, MAIL, None, now=now)
    facts.put(connection, facts.MAIL_TRIED, None, now=now)
    events.record(
        connection, at=now, event="notices.mail-server-removed", subject="box", person_id=by
    )


def put_ping(
    connection: Connection, sealed: bytes | None, *, by: PersonId | None, now: datetime
) -> None:
    """Store the sealed address of the outside monitor; None: there is none any more."""
    if sealed is None:
        secrets.forget(connection, [PING_SECRET])
        facts.put(connection, facts.PING, None, now=now)
    else:
        secrets.put_sealed(connection, PING_SECRET, sealed, now=now)
        facts.put(connection, facts.PING, {"set_at": now.isoformat()}, now=now)
    events.record(
        connection,
        at=now,
        event="notices.monitor-changed",
        subject="box",
        person_id=by,
        is_set=sealed is not None,
    )


def ping(connection: Connection) -> dict[str, Any] | None:
    """Return ``set_at``, ``tried_at``, ``last_at`` and ``problem`` of the outside monitor; None: there is none."""
    found = facts.find(connection, facts.PING)
    return dict(found) if isinstance(found, dict) else None


def pinged(connection: Connection, *, now: datetime, problem: str | None) -> None:
    """Record that the outside monitor was told, or why it was not."""
    known = ping(connection)
    if known is None:
        return
    known["problem"] = problem
    known["tried_at"] = now.isoformat()
    if problem is None:
        known["last_at"] = now.isoformat()
    facts.put(connection, facts.PING, known, now=now)


def _tell(connection: Connection, way: Way, by: PersonId | None, now: datetime) -> None:
    if way.person_id is not None:
        notices.put(
            connection,
            "account.email-changed",
            EMAIL_CHANGED,
            {"way": way.label, "href": "/notices/settings"},
            person_id=way.person_id,
            now=now,
            is_seen=by == way.person_id,
        )


def _record(
    connection: Connection, event: str, way: Way, by: PersonId | None, now: datetime
) -> None:
    subject = "box" if way.person_id is None else f"person:{way.person_id}"
    events.record(
        connection,
        at=now,
        event=event,
        subject=subject,
        person_id=by,
        way=way.id,
        kind=way.kind.value,
        topics=sorted(way.topics),
    )


def forget_old(connection: Connection, *, before: datetime) -> None:
    """Forget what was sent, or given up, before a moment: notices themselves stay."""
    old = select(notices.table.c.id).where(notices.table.c.at < before)
    connection.execute(
        delete(notice_delivery).where(
            notice_delivery.c.next_at.is_(None), notice_delivery.c.notice_id.in_(old)
        )
    )


def _way(row: Row[Any]) -> Way:
    known = {each.value for each in Topic}
    return Way(
        row.id,
        None if row.person_id is None else PersonId(row.person_id),
        Kind(row.kind),
        row.label,
        frozenset(Topic(each) for each in row.topics if each in known),
        row.created_at,
        row.worked_at,
        row.failed_at,
        row.problem,
    )
