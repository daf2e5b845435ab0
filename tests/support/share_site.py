"""A share of a box, the doctor who made it and may do all there, and her session."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db.engine import Database, open_database
from appliance.db.shares import Share
from appliance.disk import set_up
from appliance.model import Person, Role
from appliance.settings import Settings


@dataclass(frozen=True)
class ShareSite:
    """A box that nobody serves yet, its share «documents», its owner, her session."""

    settings: Settings
    database: Database
    share: Share
    doctor: Person
    token: str


def make(settings: Settings) -> ShareSite:
    """A new box where ``settings`` say; its ``database`` is the caller's to close."""
    settings.data.mkdir(parents=True, exist_ok=True)
    database = open_database(settings.database, create=True)
    with database.write() as connection:
        doctor = add_doctor(connection)
        share = add_share(connection, settings, doctor)
        token = start_session(connection, doctor)
    return ShareSite(settings, database, share, doctor, token)


def add_doctor(
    connection: Connection, *, name: str = "Dr Anne Martin", language: str = "fr"
) -> Person:
    """Let the owner of the box in."""
    return add_person(connection, Role.OWNER, "anne.martin", name, language=language)


def add_person(
    connection: Connection, role: Role, login: str, name: str, *, language: str = "fr"
) -> Person:
    """Let somebody in who has no password."""
    return people.add(
        connection,
        login=login,
        name=name,
        role=role,
        language=language,
        password_hash=None,
        now=utc_now(),
    )


def add_share(
    connection: Connection,
    settings: Settings,
    doctor: Person,
    *,
    name: str = "documents",
    label: str = "Documents du cabinet",
    folder: Path | None = None,
) -> Share:
    """Make a share of the doctor's; ``folder``: one that exists, or else one of its own."""
    return set_up.make_share(
        connection,
        settings,
        name=name,
        label=label,
        person_id=doctor.id,
        now=utc_now(),
        folder=folder,
    )


def start_session(connection: Connection, whom: Person) -> str:
    """Sign somebody in from this machine; return the token, for the cookie."""
    return sessions.start(
        connection, whom.id, now=utc_now(), address="127.0.0.1", user_agent="tests"
    )
