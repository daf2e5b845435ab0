"""What a person may do on the shares right now: the one answer every door asks for.

``policy.share_rights`` decides; here its readings are fetched. A right taken away is gone with the next
request: readings are remembered only for as long as nobody has written into the database (``Database.recall``),
and no decision is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from appliance.db import shares, terms
from appliance.db.engine import Database, Moment
from appliance.db.shares import Share
from appliance.errors import NotAllowed, NotFound
from appliance.model import Person, Role
from appliance.policy.share_rights import (
    PROFESSIONALS,
    Emergency,
    Grant,
    LocumTerm,
    Right,
    rights_on,
)


@dataclass(frozen=True, slots=True)
class Held:
    """A share and what a person may do on it."""

    share: Share
    rights: frozenset[Right]

    def may(self, right: Right) -> bool:
        """Return whether ``right`` is among them."""
        return right in self.rights

    def demand(self, right: Right) -> None:
        """Return when ``right`` is among them.

        Raises:
            NotAllowed: it is not.
        """
        if right not in self.rights:
            raise NotAllowed(f"share.{right.value}")


@dataclass(frozen=True, slots=True)
class Readings:
    """All that is stored about what one person may do on the shares; what holds is asked for a moment."""

    person: Person
    shares: tuple[Share, ...]  # living, by label
    grants: tuple[Grant, ...]
    terms: tuple[LocumTerm, ...]
    emergencies: tuple[Emergency, ...]

    def held(self, now: datetime) -> list[Held]:
        """Return the shares on which they have any right at ``now``, by label."""
        found = [Held(share, self._rights(share, now)) for share in self.shares]
        return [each for each in found if each.rights]

    def on_share(self, name: str, now: datetime) -> Held:
        """Return the share called ``name`` and what they may do on it at ``now``.

        Raises:
            NotFound: there is none, or the person has no right on it: the two look alike.
        """
        for share in self.shares:
            if share.name == name:
                rights = self._rights(share, now)
                if rights:
                    return Held(share, rights)
                break
        raise NotFound("share", name)

    def _rights(self, share: Share, now: datetime) -> frozenset[Right]:
        return rights_on(
            share.id,
            self.person,
            self.grants,
            now=now,
            terms=self.terms,
            emergencies=self.emergencies,
        )


def read(connection: Connection, person: Person, *, now: datetime) -> Readings:
    """Return what is stored about what a person may do; emergency accesses that ended by ``now`` are left out."""
    return read_each(connection, [person], now=now)[0]


def read_each(
    connection: Connection, everybody: Iterable[Person], *, now: datetime
) -> list[Readings]:
    """Return what ``read`` does, of each of several people; what is the same for all is read once."""
    of_all = _of_all(connection)
    return [Readings(person, *of_all, *_of(connection, person, now)) for person in everybody]


def recall(database: Database | Moment, person: Person, *, now: datetime) -> Readings:
    """Return what ``read`` does; the database is read again only when somebody wrote into it.

    What is the same for everybody is read once for all of them.
    """
    moment = database.moment() if isinstance(database, Database) else database
    return Readings(
        person,
        *moment.recall("access", _of_all),
        *moment.recall(("access", person), lambda connection: _of(connection, person, now)),
    )


def _of_all(connection: Connection) -> tuple[tuple[Share, ...], tuple[Grant, ...]]:
    return tuple(shares.all_living(connection)), tuple(shares.grants(connection))


def _of(
    connection: Connection, person: Person, now: datetime
) -> tuple[tuple[LocumTerm, ...], tuple[Emergency, ...]]:
    is_locum, is_professional = person.role is Role.LOCUM, person.role in PROFESSIONALS
    return (
        tuple(terms.of_locum(connection, person.id)) if is_locum else (),
        tuple(terms.running_emergencies(connection, person.id, now=now)) if is_professional else (),
    )


def held(connection: Connection, person: Person, *, now: datetime) -> list[Held]:
    """Return the shares on which a person has any right, by label."""
    return read(connection, person, now=now).held(now)


def on_share(connection: Connection, person: Person, name: str, *, now: datetime) -> Held:
    """Return the share called ``name`` and what a person may do on it.

    Raises:
        NotFound: there is none, or the person has no right on it: the two look alike.
    """
    return read(connection, person, now=now).on_share(name, now)
