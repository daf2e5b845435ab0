"""What the practice chose about signing in, within what domain.md SEC-08 and SEC-09 allow."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, ScalarSelect, select

from appliance.db import facts
from appliance.db.schema import fact
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.policy import throttle

FACT: Final = "sign-in.rules"
_IDLE: Final = int(throttle.IDLE.total_seconds() // 60)
_IDLE_MOST: Final = int(throttle.IDLE_AT_MOST.total_seconds() // 60)
_LOCAL_MOST: Final = int(throttle.LOCAL_SESSION.total_seconds() // 3600)
_REMOTE_MOST: Final = int(throttle.REMOTE_SESSION.total_seconds() // 3600)


@dataclass(frozen=True, slots=True)
class Rules:
    """How long a session lives, and of whom a second factor is asked at the practice too."""

    idle_minutes: int = _IDLE  # 5 to 30
    local_hours: int = _LOCAL_MOST  # 1 to 12
    remote_hours: int = _REMOTE_MOST  # 1 to 4
    second_factor_for_all: bool = False

    @property
    def idle(self) -> timedelta:
        """Without a click for so long, a session ends."""
        return min(timedelta(minutes=max(self.idle_minutes, 1)), throttle.IDLE_AT_MOST)

    def life(self, *, is_local: bool) -> timedelta:
        """Return how long a session lives at most."""
        if is_local:
            return min(timedelta(hours=max(self.local_hours, 1)), throttle.LOCAL_SESSION)
        return min(timedelta(hours=max(self.remote_hours, 1)), throttle.REMOTE_SESSION)


def read(connection: Connection) -> Rules:
    """Return the practice's rules, those of the program where nothing was chosen."""
    return from_fact(facts.find(connection, FACT))


def query() -> ScalarSelect[Any]:
    """Return the rules as a part of another query, for ``from_fact``."""
    return select(fact.c.value).where(fact.c.name == FACT).scalar_subquery()


def from_fact(found: object) -> Rules:
    """Return the rules in a stored fact; what is missing or of another kind is the program's."""
    if not isinstance(found, dict):
        return Rules()
    usual = asdict(Rules())
    return Rules(
        **{
            name: found[name] if type(found.get(name)) is type(value) else value
            for name, value in usual.items()
        }
    )


def put(connection: Connection, rules: Rules, *, by: PersonId | None, now: datetime) -> None:
    """Store the rules, inside the caller's write; living sessions follow the idle limit at once.

    Raises:
        InvalidInput: a limit lies beyond what is allowed.
    """
    for name, value, least, most in (
        ("idle_minutes", rules.idle_minutes, 5, _IDLE_MOST),
        ("local_hours", rules.local_hours, 1, _LOCAL_MOST),
        ("remote_hours", rules.remote_hours, 1, _REMOTE_MOST),
    ):
        if not least <= value <= most:
            raise InvalidInput(name, mark("Choose one of the offered lengths."))
    facts.put(connection, FACT, asdict(rules), now=now)
    events.record(
        connection,
        at=now,
        event="sign-in.rules",
        subject="box",
        person_id=by,
        actor=None if by is not None else "console",
        **asdict(rules),
    )
