"""``armoire init`` and ``armoire link``: a box starts empty, and nobody has a default password."""

import errno
import os
import secrets
import stat
from datetime import datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from appliance.accounts import links, people, second_factors, sessions
from appliance.clock import utc_now
from appliance.commands.framework import Command, answers, option
from appliance.commands.session import Answer, Session
from appliance.db import facts
from appliance.db.engine import open_database
from appliance.errors import NotFound
from appliance.language import mark
from appliance.ledger import events
from appliance.policy.listening import base_address
from appliance.settings import Settings
from appliance.vault.seal import make_keys
from appliance.worker import box_source

BOX_ID: Final = "box.id"


def prepare(settings: Settings, now: datetime) -> bool:
    """Make what a box is made of in its data folder; return whether it was not there before.

    Safe to run again at any line: keys and box id are made once and never replaced.
    """
    os.umask(0o007 if _is_shared(settings.data) else 0o077)
    for folder in (
        settings.data,
        settings.catalogues,
        settings.keys,
        settings.repositories,
        settings.borg_home,
        settings.run,
        settings.data / "log",
    ):
        if folder != settings.data and _is_planted(folder):
            raise PermissionError(errno.EPERM, "somebody else's link", str(folder))
        _make_private(folder)
    if not settings.database_url:
        # SQLite gives its journal the mode of the database: both accounts of a box write to them.
        path = settings.data / "state.sqlite"
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o660))
    make_keys(settings.keys)
    database = open_database(settings.database, create=True)
    try:
        with database.write() as connection:
            is_new = facts.find(connection, BOX_ID) is None
            if is_new:
                box_id = secrets.token_hex(8)
                facts.put(connection, BOX_ID, box_id, now=now)
                events.record(connection, at=now, event="box.made", subject=f"box:{box_id}")
        box_source.ensure(settings, database, now)
    finally:
        database.close()
    return is_new


def _is_shared(folder: Path) -> bool:
    """Return whether the worker and the web interface have accounts of their own (systemd/tmpfiles.d)."""
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        return False
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def _is_planted(folder: Path) -> bool:
    """Return whether it is a link that neither root nor this account made: it may lead to any folder."""
    return folder.is_symlink() and folder.lstat().st_uid not in {0, os.geteuid()}


def _make_private(folder: Path) -> None:
    """Make a folder for us alone; one that is there keeps its group, and lets no other people in."""
    if folder.exists():
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~0o007)
    else:
        folder.mkdir(mode=0o700, parents=True)


def first_link(session: Session) -> str | None:
    """Return a new address with which the first account is made, or None when there is an account."""
    with session.database.write() as connection:
        if people.count(connection) > 0:
            return None
        return links.address(
            base_url(session.settings), links.make_first_link(connection, now=utc_now())
        )


def base_url(settings: Settings) -> str:
    """Return the address of the web interface as this machine reaches it."""
    host = base_address(settings.listen_address)
    return f"https://{f'[{host}]' if ':' in host else host}:{settings.listen_port}"


@click.command(
    "init",
    cls=Command,
    help=mark(
        "Make a new, empty box in the data folder.\n\n"
        "Prints a one-time link for the first account: there is no default password. "
        "Safe to run again."
    ),
)
@answers
def init(session: Session) -> Answer:
    """Make the box."""
    is_new = prepare(session.settings, utc_now())
    link = first_link(session)

    def show(out: Console) -> None:
        folder = session.settings.data
        out.print(
            session.say(mark("The box is ready in %(folder)s."), folder=folder)
            if is_new
            else session.say(mark("The box in %(folder)s was there already."), folder=folder),
            markup=False,
        )
        if link is not None:
            out.print(
                session.say(mark("Open this once, within 24 hours, to make the first account:"))
            )
            out.print(link)
            out.print(
                session.say(mark("Next: «armoire run» starts the web interface and the worker."))
            )

    return Answer({"data": str(session.settings.data), "is_new": is_new, "link": link}, show)


@click.command(
    "link",
    cls=Command,
    help=mark(
        "Print a one-time sign-in link.\n\n"
        "With LOGIN for that person; without, for the first account of an empty box."
    ),
)
@click.argument("login", required=False)
@option(
    "--forget-second-factor",
    is_flag=True,
    help=mark("Remove the second factors of LOGIN too: phone and recovery codes are lost."),
)
@answers
def link(session: Session, login: str | None, *, forget_second_factor: bool) -> Answer:
    """Make a link."""
    now = utc_now()
    if login is None:
        address = first_link(session)
        if address is None:
            raise NotFound(mark("first account to make"), "")
    else:
        with session.database.write() as connection:
            person = people.get_by_login(connection, login)
            if forget_second_factor:
                second_factors.remove_all(connection, person.id, by=None, now=now)
                sessions.end_others(connection, person.id, but=None, now=now)
            address = links.address(
                base_url(session.settings), links.make_link_for(connection, person, now)
            )
            events.record(
                connection,
                at=now,
                event="link.made",
                subject=f"person:{person.id}",
                actor="console",
            )
    return Answer({"link": address}, lambda out: out.print(address))
