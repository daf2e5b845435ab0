"""What a handler asks for: the box, who is asking, and whether they may."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar
from zoneinfo import ZoneInfo

import anyio.to_thread
from fastapi import Depends, Request
from sqlalchemy import Connection

from appliance.accounts.app_passwords import AppPassword
from appliance.accounts.sessions import Session
from appliance.clock import utc_now
from appliance.db import practice
from appliance.db.engine import Database
from appliance.errors import NotAllowed, NotFound, ProofNeeded
from appliance.language import DEFAULT, Language
from appliance.ledger import events
from appliance.model import Person
from appliance.policy.roles import Action, may
from appliance.policy.second_factor import is_proven
from appliance.settings import Settings

Result = TypeVar("Result")

#: A person who may not see a thing is told that it is not there.
_SEEING: Final = frozenset(
    {
        Action.STATUS_SEE,
        Action.SOURCES_SEE,
        Action.SNAPSHOT_BROWSE,
        Action.FILE_OPEN,
        Action.LEDGER_SEE,
        Action.JOBS_SEE,
        Action.COPIES_SEE,
        Action.DISK_USE,
    }
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is asking, in a living session, or through a program with a password of its own."""

    person: Person
    session: Session  # of a program: number 0, nothing stored
    token: AppPassword | None = None

    def may(self, action: Action) -> bool:
        """Return whether this person's role includes ``action``."""
        return may(self.person.role, action)


class Box:
    """What every handler works with."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._given = settings
        self.database = database
        #: With what the practice chose; ``look`` takes what was chosen since.
        self.settings = settings
        self.look()

    def look(self) -> None:
        """Take what the practice chose; called with each request, before anything holds a connection."""
        self.settings = self.database.recall(
            "settings", lambda connection: practice.in_force(connection, self._given)
        )

    @property
    def zone(self) -> ZoneInfo:
        """The practice's time zone."""
        return ZoneInfo(self.settings.time_zone)

    async def write(self, change: Callable[[Connection], Result]) -> Result:
        """Run ``change`` in one write, whole or not at all, in a thread: it waits for the disk.

        Writes that wait at the same time share a commit.
        """
        return await anyio.to_thread.run_sync(self.database.write_together, change)

    async def read_aside(self, look: Callable[[Connection], Result]) -> Result:
        """Run a slower read in a thread; indexed point reads run inline with ``database.read()``."""

        def work() -> Result:
            with self.database.read() as connection:
                return look(connection)

        return await anyio.to_thread.run_sync(work)


async def aside(work: Callable[..., Result], *args: Any) -> Result:  # noqa: ANN401
    """Run ``work(*args)`` in a thread."""
    return await anyio.to_thread.run_sync(work, *args)


# Not «def»: for those FastAPI goes through a thread, twice with every request.
async def _box(request: Request) -> Box:
    return box_of(request)


async def _visitor(request: Request) -> Visitor:
    return visitor_of(request)


def box_of(request: Request) -> Box:
    """Return the box that answers."""
    box: Box = request.app.state.box
    return box


def visitor_of(request: Request) -> Visitor:
    """Return who is asking.

    What is asked for thousands of times a second takes box and visitor so, and not as dependencies: FastAPI spends
    50 microseconds on each.

    Raises:
        NotAllowed: nobody is in; the gate lets nobody through to a route that is not public.
    """
    visitor = find_visitor(request)
    if visitor is None:
        raise NotAllowed("visitor")
    return visitor


def find_visitor(request: Request) -> Visitor | None:
    """Return who is asking, or None on a public page."""
    return getattr(request.state, "visitor", None)


def find_half(request: Request) -> Visitor | None:
    """Return who has shown one factor and owes the second, on the few pages open to them; else None."""
    return getattr(request.state, "half", None)


def language_of(request: Request) -> Language:
    """Return the language of the answer: the person's, the chosen one, or the browser's."""
    visitor = find_visitor(request) or find_half(request)
    if visitor is not None:
        return "en" if visitor.person.language == "en" else "fr"
    chosen = request.cookies.get("__Host-lang")
    if chosen in {"fr", "en"}:
        return "en" if chosen == "en" else "fr"
    return accepted_language(request.headers.get("accept-language", ""))


def accepted_language(header: str) -> Language:
    """Return French or English, whichever an ``Accept-Language`` header prefers; French by default."""
    best: tuple[float, Language] | None = None
    for part in header.split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        name = tag.strip().lower()[:2]
        if name in {"fr", "en"} and quality > 0 and (best is None or quality > best[0]):
            best = (quality, "en" if name == "en" else "fr")
    return best[1] if best else DEFAULT


async def _proven(request: Request) -> None:
    visitor = find_visitor(request)
    if visitor is None or not is_proven(visitor.session.proven_at, utc_now()):
        raise ProofNeeded


def proven() -> Any:  # noqa: ANN401 - what FastAPI's Depends returns
    """Return the dependency of what matters most: the person showed just now who they are.

    Raises (when asked): ProofNeeded: the page that asks comes first, then this is done once more.
    """
    return Depends(_proven)


TheBox = Annotated[Box, Depends(_box)]
TheVisitor = Annotated[Visitor, Depends(_visitor)]


@dataclass(frozen=True, slots=True)
class Needs:
    """A route's demand: the visitor's role includes this action."""

    action: Action

    async def __call__(self, request: Request) -> None:
        """Refuse, or let pass.

        Raises:
            NotFound: the role may not even see this.
            NotAllowed: the role may see it, but not do it.
        """
        visitor = find_visitor(request)
        if visitor is not None and visitor.may(self.action):
            return
        if self.action in _SEEING:
            raise NotFound("page", request.url.path)
        box = box_of(request)
        if visitor is not None:
            who = visitor.person.id
            await box.write(
                lambda c: events.record(
                    c,
                    at=utc_now(),
                    event="access.refused",
                    subject=f"person:{who}",
                    person_id=who,
                    action=self.action.value,
                )
            )
        raise NotAllowed(self.action.value)


def needs(action: Action) -> Any:  # noqa: ANN401 - what FastAPI's Depends returns
    """Return the dependency that asks for ``action``."""
    return Depends(Needs(action))
