"""``armoire links list | make | revoke``: links for correspondents, from the box itself."""

import os
from typing import Final

import click
from rich.console import Console

from appliance.accounts import passwords, people
from appliance.clock import utc_now
from appliance.commands.framework import Command, Group, answers, option
from appliance.commands.session import Answer, Session, clean, table, when
from appliance.commands.setting_up import base_url
from appliance.db import practice, shares
from appliance.disk import access, links, quarantine
from appliance.language import mark
from appliance.policy.outside_links import ASK, FILE_KINDS, GIVE, LONGEST_DAYS, Rules

_STATES: Final = {
    "open": mark("open"),
    "ended": mark("ended"),
    "revoked": mark("withdrawn"),
    "used-up": mark("used up"),
}


@click.group("links", cls=Group, help=mark("Links for correspondents: list, make, withdraw."))
def group() -> None:
    """Hold the commands of links."""


@group.command("list", help=mark("List the links for correspondents, the newest first."))
@option("--open", "only_open", is_flag=True, help=mark("Only those that are worth something now."))
@answers
def list_links(session: Session, *, only_open: bool) -> Answer:
    """List every link."""
    now = utc_now()
    with session.database.read() as connection:
        found = [each for each in links.listed(connection) if not only_open or each.is_open(now)]
        names = people.names(connection)
        labels = {each.id: each.name for each in shares.all_living(connection)}
        waits = quarantine.waiting(connection)

    def state(one: links.Link) -> str:
        if one.revoked_at is not None:
            return "revoked"
        return "ended" if one.ends_at <= now else "open" if one.is_open(now) else "used-up"

    def show(out: Console) -> None:
        say = session.say
        rows = [
            (
                str(each.id),
                say(mark("gives")) if each.kind == GIVE else say(mark("asks")),
                clean(each.label),
                labels.get(each.share_id, "–"),
                clean(names.get(each.person_id, "")),
                when(each.ends_at),
                say(_STATES[state(each)]),
                str(waits.get(each.id, 0) or ""),
            )
            for each in found
        ]
        head = (
            "",
            "",
            mark("For whom"),
            mark("Share"),
            mark("By"),
            mark("Until"),
            mark("State"),
            mark("Files that wait"),
        )
        out.print(table(tuple(say(each) if each else "" for each in head), rows))

    body = [
        {
            "id": each.id,
            "kind": each.kind,
            "label": each.label,
            "share": labels.get(each.share_id),
            "maker": names.get(each.person_id),
            "created_at": each.created_at,
            "ends_at": each.ends_at,
            "state": state(each),
            "uses": each.uses,
            "waiting": waits.get(each.id, 0),
        }
        for each in found
    ]
    return Answer({"links": body}, show)


@group.command(
    "make",
    help=mark(
        "Make a link in the name of a person, never for more than their rights.\n\n"
        "PATH is in the share; its address and its password are printed once."
    ),
)
@click.argument("share")
@click.argument("path", default="")
@option("--for", "label", required=True, metavar="WHOM", help=mark("For whom it is."))
@option(
    "--as",
    "login",
    required=True,
    metavar="LOGIN",
    help=mark("Whose link it is: their rights hold."),
)
@option("--ask", is_flag=True, help=mark("Ask for files into this folder instead of giving."))
@option("--days", type=click.IntRange(1, LONGEST_DAYS),
        help=mark("Days until it ends; without it as the practice chose."))  # fmt: skip
@option("--uses", type=click.IntRange(1, 1000), help=mark("Downloads after which it ends."))
@option("--no-password", is_flag=True, help=mark("Whoever has the address needs no password."))
@answers
def make(
    session: Session, share: str, path: str, *, label: str, login: str, ask: bool, days: int | None,
    uses: int | None, no_password: bool,
) -> Answer:  # fmt: skip
    """Make a link."""
    now = utc_now()
    with session.database.read() as connection:
        maker = people.get_by_login(connection, login)
        held = access.on_share(connection, maker, share, now=now)
        usual = practice.link_rules(connection).days
    made = links.make(
        session.database,
        held,
        os.fsencode(path.strip("/")),
        kind=ASK if ask else GIVE,
        person_id=maker.id,
        label=label,
        days=usual if days is None else days,
        now=now,
        hash_password=None if no_password else passwords.make_hash,
        most_uses=None if ask else uses,
        rules=Rules(frozenset(FILE_KINDS)) if ask else None,
    )
    url = links.address(base_url(session.settings), made.token)

    def show(out: Console) -> None:
        out.print(url, markup=False, soft_wrap=True)
        if made.password is not None:
            out.print(session.say(mark("Password: %(password)s"), password=made.password))
        out.print(session.say(mark("Until %(until)s."), until=when(made.link.ends_at)))

    return Answer(
        {
            "id": made.link.id,
            "url": url,
            "password": made.password,
            "ends_at": made.link.ends_at,
        },
        show,
    )


@group.command("revoke", cls=Command, help=mark("Withdraw a link at once."))
@click.argument("number", type=int)
@option(
    "--as", "login", required=True, metavar="LOGIN", help=mark("Who withdraws it, for the journal.")
)
@answers
def revoke(session: Session, number: int, *, login: str) -> Answer:
    """Withdraw a link."""
    with session.database.write() as connection:
        by = people.get_by_login(connection, login)
        links.revoke(connection, links.get(connection, number), by=by.id, now=utc_now())
    return Answer(
        {"id": number, "state": "revoked"},
        lambda out: out.print(session.say(mark("Link %(number)s is withdrawn."), number=number)),
    )
