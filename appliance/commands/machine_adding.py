"""``armoire machine add`` and ``confirm``: a machine is made known, its identity pinned."""

import sys
from collections.abc import Sequence
from typing import Final

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Command, answers, option
from appliance.commands.session import Answer, ExitCode, Session, wrong
from appliance.commands.sources import check_name, machine_named, plan_of, source_body
from appliance.db import secrets as vault_rows
from appliance.db import sources
from appliance.errors import HostKeyChanged, MachineError, NotFound
from appliance.jobs.kinds import SetUpSource
from appliance.language import mark
from appliance.ledger import events
from appliance.model import RecipeUse, Source, SourceKind, System
from appliance.policy import instructions
from appliance.units import GIB
from appliance.vault.seal import seal
from appliance.vault.secret import Secret

ROOTS: Final = {
    System.LINUX: ("/home", "/srv"),
    System.MACOS: ("/Users",),
    System.WINDOWS: ("C:/Users",),
}


def recipes_of(names: Sequence[str], pairs: Sequence[str]) -> tuple[RecipeUse, ...]:
    """Return the recipes of these names with the values given as «postgresql.databases=a,b».

    Raises:
        InvalidInput: a value names no recipe that is used.
    """
    values: dict[str, dict[str, str]] = {name: {} for name in names}
    for pair in pairs:
        place, equals, value = pair.partition("=")
        name, dot, key = place.partition(".")
        if not equals or not dot or name not in values:
            raise wrong("--value", mark("Write it as RECIPE.NAME=VALUE, of a recipe you named."))
        values[name][key] = value
    return tuple(RecipeUse(name, values[name]) for name in values)


@click.command(
    "add",
    cls=Command,
    help=mark(
        "Add a machine that the box reads over SSH, or one that pushes by itself.\n\n"
        "Prints the two or three lines to run on it, and the fingerprint to compare."
    ),
)
@click.argument("name")
@option("--system", type=click.Choice([each.value for each in System]), default="linux",
        show_default=True, help=mark("Its operating system."))  # fmt: skip
@option("--host", help=mark("Its name or address on the network."))
@option("--port", type=click.IntRange(1, 65535), default=22, show_default=True,
        help=mark("The port of its SSH server."))  # fmt: skip
@option("--user", help=mark("The account under which the box comes."))
@option(
    "--root", "roots", multiple=True, help=mark("A folder to back up; may be given several times.")
)
@option("--exclude", "excludes", multiple=True,
        help=mark("A Borg pattern of what is left out; may be given several times."))  # fmt: skip
@option("--label", help=mark("What people read instead of NAME."))
@option("--recipe", "recipes", multiple=True, metavar="NAME",
        help=mark("Make an application consistent first; may be given several times."))  # fmt: skip
@option("--value", "values", multiple=True, metavar="RECIPE.NAME=VALUE",
        help=mark("What a recipe asks for; may be given several times."))  # fmt: skip
@option("--recipe-secret", "secret_of", metavar="NAME",
        help=mark("Ask for (or read from standard input) the secret of this recipe."))  # fmt: skip
@option("--window", metavar="20:00-06:00", help=mark("When its nights may begin."))
@option("--mac", help=mark("Its network card's address, for Wake-on-LAN."))
@option("--host-key", "fingerprint", metavar="SHA256:…",
        help=mark("The fingerprint you read on the machine: confirmed if it is the one found."))  # fmt: skip
@option(
    "--pushed",
    is_flag=True,
    help=mark("The machine pushes by itself; the box never connects to it."),
)
@option("--quota", "quota_gib", type=click.IntRange(1, 1_000_000), metavar="GIB",
        help=mark("With --pushed: what its repository may hold."))  # fmt: skip
@answers
def add(
    session: Session,
    name: str,
    *,
    system: str,
    host: str | None,
    port: int,
    user: str | None,
    roots: tuple[str, ...],
    excludes: tuple[str, ...],
    label: str | None,
    recipes: tuple[str, ...],
    values: tuple[str, ...],
    secret_of: str | None,
    window: str | None,
    mac: str | None,
    fingerprint: str | None,
    pushed: bool,
    quota_gib: int | None,
) -> Answer:
    """Add a machine."""
    of_system = System(system)
    if not pushed and (not host or not user):
        raise wrong("--host", mark("Give --host and --user, or --pushed."))
    if quota_gib and not pushed:
        raise wrong("--quota", mark("Only together with --pushed."))
    uses = recipes_of(recipes, values)
    if secret_of is not None and secret_of not in {each.name for each in uses}:
        raise wrong("--recipe-secret", mark("Name one of the recipes given with --recipe."))
    if not pushed:
        _check_recipes(session, uses, of_system)
    secret = None if secret_of is None else _ask_secret(session)
    now = utc_now()
    with session.database.write() as connection:
        made = sources.add(
            connection,
            name=check_name(name),
            label=label or name,
            kind=SourceKind.PUSHED if pushed else SourceKind.PULLED,
            roots=roots or ROOTS[of_system],
            now=now,
            system=of_system,
            host=None if pushed else host,
            port=port,
            user=None if pushed else user,
            excludes=excludes,
            recipes=uses,
            plan=plan_of(window),
            quota_bytes=quota_gib * GIB if quota_gib else None,
        )
        if mac:
            sources.change(connection, made.id, mac=mac)
        if secret is not None:
            sealed = seal(secret, session.settings.keys)
            vault_rows.put_sealed(
                connection, f"machine:{made.id}:recipe:{secret_of}", sealed, now=now
            )
        events.record(
            connection, at=now, event="source.added", subject=f"source:{made.id}", actor="console",
            kind=made.kind.value,
        )  # fmt: skip
    jobs = follow(session, [enqueue(session, SetUpSource(made.id))])
    found = None if pushed else _probe(session, made)
    if found is not None and _is_confirmed(session, found[1], fingerprint):
        _pin(session, made, found[0])
    return _added(session, made, found, exit_code_of(jobs), fingerprint)


def _check_recipes(session: Session, recipes: Sequence[RecipeUse], system: System) -> None:
    from appliance.backup_jobs.recipe_schema import load_recipes  # noqa: PLC0415 - only here

    known = load_recipes(session.settings)
    for each in recipes:
        recipe = known.get(each.name)
        if recipe is None:
            raise NotFound("recipe", each.name)
        if system not in recipe.systems:
            raise wrong("--recipe", mark("This recipe is for another system."))
        recipe.resolve(each.values)


def _ask_secret(session: Session) -> Secret:
    if sys.stdin.isatty():
        typed: str = click.prompt(session.say(mark("Secret")), hide_input=True, err=True)
    else:
        typed = sys.stdin.readline().rstrip("\n")
    if not typed:
        raise wrong("--recipe-secret", mark("Nothing was given on standard input."))
    return Secret(typed.encode())


def _probe(session: Session, source: Source) -> tuple[str, str] | None:
    """Return the host key that the machine shows and its fingerprint, or None while it is away."""
    from appliance.backup_jobs.ssh import probe_host_key  # noqa: PLC0415 - heavy

    assert source.host is not None  # noqa: S101 - a pulled machine has one
    try:
        return probe_host_key(source.host, source.port)
    except MachineError as error:
        if not session.as_json:
            session.give_error(error)
        return None


def _is_confirmed(session: Session, found: str, given: str | None) -> bool:
    if given is not None:
        return given == found
    if session.as_json:
        return False
    session.tell(mark("The machine shows this identity: %(fingerprint)s"), fingerprint=found)
    return session.confirm(
        session.say(mark("Is it the one the machine itself shows (ssh-keygen -lf)?"))
    )


def _pin(session: Session, source: Source, host_key: str) -> None:
    from appliance.backup_jobs.machines import confirm_host_key  # noqa: PLC0415 - heavy

    with session.database.write() as connection:
        confirm_host_key(connection, source.id, host_key, person_id=None, now=utc_now())


def _added(
    session: Session,
    source: Source,
    found: tuple[str, str] | None,
    code: ExitCode,
    given: str | None,
) -> Answer:
    with session.database.read() as connection:
        now_known = sources.get(connection, source.id)
        facts = sources.facts(connection, source.id)
    public_key = str(facts.get("public_key", ""))
    steps = _steps(source, public_key) if public_key else []
    if given is not None and found is not None and given != found[1]:
        raise HostKeyChanged(source.host or "", given, found[1])

    def show(out: Console) -> None:
        out.print(session.say(mark("«%(name)s» is added."), name=source.name))
        if steps:
            out.print(session.say(mark("On the machine:")))
        for number, each in enumerate(steps, 1):
            out.print(f"{number}. {each.words(session.language)}")
            for line in each.lines:
                out.print(f"     {line}")
        if source.kind is SourceKind.PUSHED:
            out.print(
                session.say(
                    mark("Then «armoire machine push-key %(name)s KEY.pub» lets its key push."),
                    name=source.name,
                )
            )
        elif now_known.host_key is None:
            out.print(
                session.say(
                    mark(
                        "Its identity is not confirmed yet: compare, then "
                        "«armoire machine confirm %(name)s --host-key %(fingerprint)s»."
                    ),
                    name=source.name,
                    fingerprint=found[1] if found else "SHA256:…",
                )
            )
        if source.kind is SourceKind.PULLED:
            out.print(
                session.say(mark("Then: «armoire machine check %(name)s»."), name=source.name)
            )

    body = {
        **source_body(now_known),
        "public_key": public_key or None,
        "fingerprint": None if found is None else found[1],
        "steps": [{"text": each.words(session.language), "lines": each.lines} for each in steps],
    }
    return Answer(body, show, code)


def _steps(source: Source, public_key: str) -> list[instructions.Step]:
    return instructions.steps(
        source.system,
        public_key,
        user=source.user or "",
        roots=source.roots,
        runs_commands=bool(source.recipes),
    )


@click.command(
    "confirm",
    cls=Command,
    help=mark(
        "Confirm the identity (host key) of a machine, the first time or after it was reinstalled."
    ),
)
@click.argument("name")
@option("--host-key", "fingerprint", required=True, metavar="SHA256:…",
        help=mark("The fingerprint you read on the machine."))  # fmt: skip
@answers
def confirm(session: Session, name: str, *, fingerprint: str) -> Answer:
    """Confirm a host key."""
    source = machine_named(session, name)
    from appliance.backup_jobs.ssh import probe_host_key  # noqa: PLC0415 - heavy

    host_key, found = probe_host_key(source.host or "", source.port)
    if found != fingerprint:
        raise HostKeyChanged(source.host or "", fingerprint, found)
    _pin(session, source, host_key)
    return Answer(
        {"name": name, "fingerprint": found},
        lambda out: out.print(session.say(mark("Confirmed: %(fingerprint)s"), fingerprint=found)),
    )
