"""What a person may do on the shares right now: the one answer every door asks for.

``policy.share_rights`` decides; here its readings are fetched. Nothing is kept: a right taken away is gone
with the next request.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from appliance.db import shares, terms
from appliance.db.shares import Share
from appliance.errors import NotAllowed, NotFound
from appliance.model import Person, Role
from appliance.policy.share_rights import Right, rights_on


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


def held(connection: Connection, person: Person, *, now: datetime) -> list[Held]:
    """Return the shares on which a person has any right, by label."""
    grants = shares.grants(connection)
    their_terms = terms.of_locum(connection, person.id) if person.role is Role.LOCUM else []
    emergencies = terms.running_emergencies(connection, person.id, now=now)
    found = [
        Held(
            share,
            rights_on(
                share.id,
                person,
                grants,
                now=now,
                terms=their_terms,
                emergencies=emergencies,
            ),
        )
        for share in shares.all_living(connection)
    ]
    return [each for each in found if each.rights]


def on_share(connection: Connection, person: Person, name: str, *, now: datetime) -> Held:
    """Return the share called ``name`` and what a person may do on it.

    Raises:
        NotFound: there is none, or the person has no right on it: the two look alike.
    """
    for each in held(connection, person, now=now):
        if each.share.name == name:
            return each
    raise NotFound("share", name)
