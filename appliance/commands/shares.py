"""``armoire share make | rights | show | bin | close``: the network disk's shares and who may do what there."""

from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console
from sqlalchemy import Connection

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Command, answers, option
from appliance.commands.session import Answer, ExitCode, Session, clean, table, when, wrong
from appliance.db import repositories, shares
from appliance.db.shares import Share
from appliance.disk import access, set_up
from appliance.disk import bin as bins
from appliance.errors import NotFound
from appliance.jobs.kinds import SetUpSource
from appliance.language import Language, mark
from appliance.model import Person, PersonId, Role
from appliance.policy.share_rights import ALL, Right
from appliance.policy.share_words import rights_words, sentence
from appliance.policy.wording import size_words

RIGHTS = [each.value for each in Right]


@click.command("make", cls=Command, help=mark("Make a share of the network disk, with its nights."))
@click.argument("name")
@option("--label", help=mark("What people read instead of NAME."))
@option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
        help=mark("An existing folder of the box; else the share gets one of its own."))  # fmt: skip
@option("--for", "login", metavar="LOGIN", help=mark("Who may do everything there."))
@answers
def make(
    session: Session, name: str, *, label: str | None, folder: Path | None, login: str | None
) -> Answer:
    """Make a share."""
    now = utc_now()
    with session.database.write() as connection:
        person_id = None if login is None else people.get_by_login(connection, login).id
        made = set_up.make_share(
            connection,
            session.settings,
            name=name,
            label=label or name,
            person_id=None,
            now=now,
            folder=None if folder is None else folder.absolute(),
        )
        if person_id is not None:
            set_up.give_rights(connection, made, ALL, by=None, now=now, person_id=person_id)
        has_nights = (
            made.source_id is None or repositories.find(connection, made.source_id) is not None
        )
    jobs = []
    if made.source_id is not None and not has_nights:
        jobs = follow(session, [enqueue(session, SetUpSource(made.source_id))])
    return Answer(
        _body(made),
        lambda out: out.print(session.say(mark("«%(name)s» is made."), name=made.name)),
        exit_code_of(jobs),
    )


@click.command(
    "rights",
    cls=Command,
    help=mark(
        "Say who may do what on a share, or give rights.\n\n"
        "WHOM is a login or a role; RIGHT: see, add, change, delete, share-out. "
        "They are exactly these from then on; «none» takes all away."
    ),
)
@click.argument("name")
@click.argument("whom", required=False)
@click.argument("rights", nargs=-1, type=click.Choice([*RIGHTS, "all", "none"]), metavar="RIGHT...")
@answers
def rights(session: Session, name: str, whom: str | None, rights: tuple[str, ...]) -> Answer:
    """Give rights."""
    if whom is not None:
        if not rights:
            raise wrong("RIGHT", mark("Name the rights, or «none»."))
        wanted = (
            ALL if "all" in rights else frozenset(Right(each) for each in rights if each != "none")
        )
        with session.database.write() as connection:
            share = shares.get_by_name(connection, name)
            is_role = whom in {each.value for each in Role}
            set_up.give_rights(
                connection,
                share,
                wanted,
                by=None,
                now=utc_now(),
                role=Role(whom) if is_role else None,
                person_id=None if is_role else people.get_by_login(connection, whom).id,
            )
    with session.database.read() as connection:
        share = shares.get_by_name(connection, name)
        held = _held(connection, share)

    def show(out: Console) -> None:
        for person, each in held:
            out.print(sentence(person, each, session.language), markup=False)

    body = [{"login": person.login, "role": person.role.value, "rights": sorted(each)}
            for person, each in held]  # fmt: skip
    return Answer({"name": name, "people": body}, show)


@click.command(
    "show", cls=Command, help=mark("Show a share: its folder, its doors, its size, its rights.")
)
@click.argument("name")
@answers
def show(session: Session, name: str) -> Answer:
    """Show a share."""
    with session.database.read() as connection:
        share = shares.get_by_name(connection, name)
        held = _held(connection, share)
        grants = shares.grants(connection, share.id)
        names = people.names(connection)

    def tell(out: Console) -> None:
        say = session.say
        rows = [
            (say(mark("Folder")), clean(str(share.folder))),
            (say(mark("Doors")), _doors(share)),
            (say(mark("Size")), _size(share, session.language)),
            (say(mark("Bin, days")), str(share.bin_days)),
        ]
        for grant in grants:
            whom = names.get(grant.person_id or PersonId(0)) or str(grant.role)
            rows.append((whom, rights_words(grant.rights, session.language)))
        out.print(table(("", ""), rows))
        for person, each in held:
            out.print(sentence(person, each, session.language), markup=False)

    return Answer(_body(share), tell)


@click.command(
    "bin", cls=Command, help=mark("List what is in the bin of a share, or put something back.")
)
@click.argument("name")
@option("--put-back", "item_id", type=int, metavar="NUMBER", help=mark("Put this one back."))
@answers
def bin_(session: Session, name: str, *, item_id: int | None) -> Answer:
    """Look into the bin."""
    now = utc_now()
    with session.database.read() as connection:
        share = shares.get_by_name(connection, name)
        found = bins.items(connection, share.id)
    if item_id is not None:
        with session.database.read() as connection:
            item = bins.find(connection, share.id, item_id)
        path = bins.put_back(session.database, share, item, now=now)
        return Answer(
            {"id": item.id, "path": clean(path)},
            lambda out: out.print(
                session.say(mark("It is back: %(path)s"), path=clean(path)), markup=False
            ),
        )

    def tell(out: Console) -> None:
        if not found:
            out.print(session.say(mark("The bin is empty.")))
            return
        titles = (mark("number"), mark("where it was"), mark("deleted"), mark("goes on"))
        rows = [
            (str(each.id), clean(each.path), when(each.deleted_at), when(bins.goes_on(share, each)))
            for each in found
        ]
        out.print(table([session.say(each) for each in titles], rows))

    body = [
        {
            "id": each.id,
            "path": clean(each.path),
            "kind": each.kind,
            "size_bytes": each.size,
            "deleted_at": each.deleted_at,
            "goes_on": bins.goes_on(share, each),
        }
        for each in found
    ]
    return Answer({"name": name, "items": body}, tell)


@click.command(
    "close",
    cls=Command,
    help=mark("Close a share: nobody reaches it any more. Its files and nights stay."),
)
@click.argument("name")
@option("--yes", is_flag=True, help=mark("Do not ask."))
@answers
def close(session: Session, name: str, *, yes: bool) -> Answer:
    """Close a share."""
    with session.database.read() as connection:
        share = shares.get_by_name(connection, name)
    question = session.say(
        mark("Close «%(name)s» for everybody? Its files stay on the box."), name=name
    )
    if not yes and not session.confirm(question):
        session.tell(mark("Nothing was changed. Say --yes to do it."))
        return Answer({"name": name, "closed": False}, lambda _out: None, ExitCode.REFUSED)
    with session.database.write() as connection:
        set_up.close_share(connection, share, person_id=None, now=utc_now())
    return Answer(
        {"name": name, "closed": True},
        lambda out: out.print(session.say(mark("«%(name)s» is closed."), name=name)),
    )


def _held(connection: Connection, share: Share) -> list[tuple[Person, frozenset[Right]]]:
    """Return everybody with what they may do on a share right now."""
    now = utc_now()
    found = []
    living = [each for each in people.everybody(connection) if each.disabled_at is None]
    for readings in access.read_each(connection, living, now=now):
        rights: frozenset[Right] = frozenset()
        with suppress(NotFound):
            rights = readings.on_share(share.name, now).rights
        found.append((readings.person, rights))
    return found


def _doors(share: Share) -> str:
    wanted = (("SMB", share.over_smb), ("WebDAV", share.over_dav),
              ("Time Machine", share.is_time_machine))  # fmt: skip
    return ", ".join(["HTTPS", *(name for name, is_open in wanted if is_open)])


def _size(share: Share, language: Language) -> str:
    used = size_words(share.used_bytes, language)
    return (
        used if share.quota_bytes is None else f"{used} / {size_words(share.quota_bytes, language)}"
    )


def _body(share: Share) -> dict[str, object]:
    return {
        "name": share.name,
        "label": share.label,
        "folder": str(share.folder),
        "over_smb": share.over_smb,
        "over_dav": share.over_dav,
        "is_time_machine": share.is_time_machine,
        "bin_days": share.bin_days,
        "quota_bytes": share.quota_bytes,
        "used_bytes": share.used_bytes,
    }
