"""Links for correspondents: a file or a folder to be taken, or files to be sent; never for longer than its maker's rights.

The address holds 256 random bits, of which the row has the SHA-256. Whatever the link is asked for, the rights
its maker has at that moment are asked for first: with the end of a term, of a right or of an account it ends.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from appliance.db import practice, shares
from appliance.db.engine import Database
from appliance.db.schema import person
from appliance.db.schema_disk import link
from appliance.db.shares import ShareId
from appliance.disk import access, listing
from appliance.disk.access import Held
from appliance.errors import (
    InvalidInput,
    LinkGone,
    LinkPasswordWrong,
    NotAFolder,
    NotAllowed,
    NotFound,
    TooManyAttempts,
)
from appliance.language import mark
from appliance.ledger import events
from appliance.model import Person, PersonId, Role
from appliance.packed import pack_path
from appliance.policy import outside_links, throttle
from appliance.policy.outside_links import ASK, GIVE, KINDS, LONGEST_DAYS, LONGEST_LABEL, Rules
from appliance.policy.share_rights import Right
from appliance.vault.tokens import digest, make_token

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is read as something else
DOOR: Final = "link"


@dataclass(frozen=True, slots=True)
class Link:
    """A link, as stored."""

    id: int
    kind: str  # give · ask
    share_id: ShareId
    path: bytes
    person_id: PersonId
    label: str  # for whom
    password_hash: str | None
    failures: int
    locked_until: datetime | None
    created_at: datetime
    ends_at: datetime
    most_uses: int | None
    uses: int
    rules: Rules
    revoked_at: datetime | None

    def is_open(self, now: datetime, *, goes_on: bool = False) -> bool:
        """Return whether it is worth anything, its maker's rights apart."""
        return outside_links.is_open(
            created_at=self.created_at,
            ends_at=self.ends_at,
            revoked_at=self.revoked_at,
            uses=self.uses,
            # What an «ask» may receive is in its rules; a full one still says so.
            most_uses=self.most_uses if self.kind == GIVE else None,
            now=now,
            goes_on=goes_on,
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """A link that is worth something now."""

    link: Link
    maker: Person
    held: Held  # the share, with the rights its maker has right now


@dataclass(frozen=True, slots=True)
class Made:
    """What is shown once: the token of the address, and the password."""

    link: Link
    token: str
    password: str | None


def address(base: str, token: str) -> str:
    """Return what a correspondent is given: ``https://name[:port]/l/…``."""
    return f"{base}/l/{token}"


def make(
    database: Database,
    held: Held,
    path: bytes,
    *,
    kind: str,
    person_id: PersonId,
    label: str,
    days: int,
    now: datetime,
    hash_password: Callable[[str], str] | None,
    most_uses: int | None = None,
    rules: Rules | None = None,
) -> Made:
    """Make a link and return what is shown once.

    ``hash_password`` (``accounts.passwords.make_hash``) takes tens of milliseconds: call this in a thread. None:
    who has the address needs no password.

    Raises:
        NotAllowed: the maker may not share out, see (give) or add (ask).
        InvalidInput: no label, a length that is not 1 to 90 days, no kind of file.
        FileMissing, NotAFolder: what is given is not there; files are asked into a folder.
    """
    _demand(held, kind)
    label = label.strip()
    if not label or len(label) > LONGEST_LABEL:
        raise InvalidInput("label", mark("For whom it is, please."))
    with database.read() as connection:
        chosen = practice.link_rules(connection)
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidInput("days", mark("From 1 to 90 days, please."))
    if days > chosen.longest_days:
        raise InvalidInput("days", mark("Fewer days: the practice allows no longer link."))
    if chosen.needs_password and hash_password is None:
        raise InvalidInput("password", mark("The practice wants a password on every link."))
    if most_uses is not None and not 1 <= most_uses <= 1000:
        raise InvalidInput("most_uses", mark("From 1 to 1000, or nothing, please."))
    if kind == ASK and (rules is None or not rules.kinds):
        raise InvalidInput("kinds", mark("At least one kind of file, please."))
    found = listing.entry(held.share.folder, path)
    if kind == ASK and found.kind != "folder":
        raise NotAFolder
    if found.kind not in {"file", "folder"}:
        raise InvalidInput("path", mark("A file or a folder, please."))
    token = make_token()
    password = new_password() if hash_password else None
    values = {
        "token_hash": digest(token),
        "kind": kind,
        "share_id": held.share.id,
        "path": path,
        "person_id": person_id,
        "label": label,
        "password_hash": hash_password(password) if hash_password and password else None,
        "created_at": now,
        "ends_at": now + timedelta(days=days),
        "most_uses": most_uses,
        "rules": rules.stored() if rules is not None else {},
    }
    with database.write() as connection:
        result = connection.execute(insert(link).values(**values))
        assert result.inserted_primary_key is not None  # noqa: S101 - an INSERT has one
        made = get(connection, int(result.inserted_primary_key[0]))
        events.record(
            connection,
            at=now,
            event="link.made",
            subject=f"share:{held.share.id}",
            person_id=person_id,
            link=made.id,
            kind=kind,
            path=pack_path(path),
            ends_at=made.ends_at.isoformat(),
            has_password=password is not None,
        )
    return Made(made, token, password)


def new_password() -> str:
    """Return a password of 59 random bits that can be told by telephone: «k7mq-x3vd-p9ht»."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(3))


def open_link(
    connection: Connection, token: str, *, now: datetime, goes_on: bool = False
) -> Opened:
    """Return the link of an address, when it is worth something right now.

    Raises:
        LinkGone: it never was, has ended, was withdrawn or used up, or its maker may not share this any more:
            these look alike.
    """
    row = connection.execute(select(link).where(link.c.token_hash == digest(token))).first()
    if row is None:
        raise LinkGone
    found = _link(row)
    if not found.is_open(now, goes_on=goes_on):
        raise LinkGone
    return rights_of_maker(connection, found, now=now)


def rights_of_maker(connection: Connection, one: Link, *, now: datetime) -> Opened:
    """Return a link with its maker and the rights they have right now.

    Raises:
        LinkGone: they may not share this any more: a right, a term, an account or the share ended.
    """
    try:
        share = shares.get(connection, one.share_id)
        maker = _maker(connection, one.person_id)
        held = access.on_share(connection, maker, share.name, now=now)
        _demand(held, one.kind)
    except (NotFound, NotAllowed) as error:
        raise LinkGone from error
    return Opened(one, maker, held)


def check_password(
    database: Database,
    opened: Opened,
    password: str,
    *,
    matches: Callable[[str | None, str], bool],
    address: str,
    now: datetime,
) -> None:
    """Return when this is the link's password. ``matches`` (``accounts.passwords``) is slow: call it in a thread.

    Raises:
        LinkPasswordWrong: it is not.
        TooManyAttempts: after three failures one waits, longer each time.
        LinkGone: after ten it is withdrawn.
    """
    one = opened.link
    gate = throttle.gate(one.failures, one.locked_until, now)
    if gate.blocked:
        raise LinkGone
    if not gate.open:
        raise TooManyAttempts(gate.wait_s)
    right = one.password_hash is None or matches(one.password_hash, password)
    with database.write() as connection:
        if right:
            if one.failures:
                _change(connection, one.id, failures=0, locked_until=None)
            return
        failures = get(connection, one.id).failures + 1  # attempts may run side by side
        locked = throttle.locked_until(failures, now)
        _change(connection, one.id, failures=failures, locked_until=locked)
        events.record(
            connection,
            at=now,
            event="link.refused",
            subject=f"share:{one.share_id}",
            actor=actor(one),
            link=one.id,
            address=address,
            failures=failures,
        )
        if failures >= throttle.BLOCKED_AT:
            _change(connection, one.id, revoked_at=now)
            events.record(
                connection,
                at=now,
                event="link.revoked",
                subject=f"share:{one.share_id}",
                link=one.id,
                why="failures",
            )
    raise LinkPasswordWrong


def record_access(
    connection: Connection,
    opened: Opened,
    event: str,
    path: bytes,
    *,
    address: str,
    now: datetime,
    is_use: bool = False,
    size: int = 0,
    files: int = 0,
) -> None:
    """Write into the ledger what was asked of a link; ``is_use`` counts it.

    Raises:
        LinkGone: it was used up meanwhile.
    """
    one = opened.link
    if is_use:
        changed = connection.execute(
            update(link)
            .where(
                link.c.id == one.id,
                link.c.revoked_at.is_(None),
                (link.c.most_uses.is_(None)) | (link.c.uses < link.c.most_uses),
            )
            .values(uses=link.c.uses + 1)
        )
        if changed.rowcount == 0:
            raise LinkGone
    events.record(
        connection,
        at=now,
        event=event,
        subject=f"share:{one.share_id}",
        actor=actor(one),
        door=DOOR,
        link=one.id,
        path=pack_path(path),
        address=address,
        bytes=size,
        files=files,
    )


def revoke(connection: Connection, one: Link, *, by: PersonId, now: datetime) -> None:
    """Withdraw a link, at once; withdrawing it again changes nothing."""
    if one.revoked_at is not None:
        return
    _change(connection, one.id, revoked_at=now)
    events.record(
        connection,
        at=now,
        event="link.revoked",
        subject=f"share:{one.share_id}",
        person_id=by,
        link=one.id,
    )


def get(connection: Connection, link_id: int) -> Link:
    """Return a link, whatever has become of it.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(link).where(link.c.id == link_id)).first()
    if row is None:
        raise NotFound("link", str(link_id))
    return _link(row)


def listed(
    connection: Connection, *, person_id: PersonId | None = None, limit: int = 500
) -> list[Link]:
    """Return links, the newest first: a person's, or everybody's."""
    query = select(link).order_by(link.c.id.desc()).limit(limit)
    if person_id is not None:
        query = query.where(link.c.person_id == person_id)
    return [_link(row) for row in connection.execute(query)]


def actor(one: Link) -> str:
    """Return who a link is in the ledger."""
    return f"link:{one.id}"


def _demand(held: Held, kind: str) -> None:
    if kind not in KINDS:
        raise InvalidInput("kind", mark("give or ask, please."))
    held.demand(Right.SHARE_OUT)
    held.demand(Right.SEE if kind == GIVE else Right.ADD)


def _maker(connection: Connection, person_id: PersonId) -> Person:
    row = connection.execute(select(person).where(person.c.id == person_id)).one()
    return Person(
        id=PersonId(row.id),
        login=row.login,
        name=row.name,
        role=Role(row.role),
        language=row.language,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )


def _change(connection: Connection, link_id: int, **values: object) -> None:
    connection.execute(update(link).where(link.c.id == link_id).values(**values))


def _link(row: Row[Any]) -> Link:
    return Link(
        id=row.id,
        kind=row.kind,
        share_id=ShareId(row.share_id),
        path=row.path,
        person_id=PersonId(row.person_id),
        label=row.label,
        password_hash=row.password_hash,
        failures=row.failures,
        locked_until=row.locked_until,
        created_at=row.created_at,
        ends_at=row.ends_at,
        most_uses=row.most_uses,
        uses=row.uses,
        rules=Rules.of(row.rules or {}),
        revoked_at=row.revoked_at,
    )
