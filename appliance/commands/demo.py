"""``armoire demo``: a whole practice on 127.0.0.1, two nights, a copy, an exercise, then the product itself."""

from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from appliance.clock import utc_now
from appliance.commands.backup import back_up
from appliance.commands.demo_copies import exercise, prepare_copies, send, worst
from appliance.commands.following import enqueue, follow
from appliance.commands.framework import Command, answers, option
from appliance.commands.running import run_both
from appliance.commands.session import Answer, Session, nothing_to_show
from appliance.commands.setting_up import base_url, first_link, prepare
from appliance.db import facts, repositories, shares, snapshots, sources
from appliance.db.practice import NAME
from appliance.demo.practice import PATIENTS, DemoMachine, Practice, open_the_way
from appliance.demo.servers import HOST
from appliance.disk import set_up
from appliance.errors import AlreadyRunning
from appliance.jobs.kinds import SetUpSource
from appliance.language import mark
from appliance.model import BOX_SOURCE, Role, Source, SourceKind
from appliance.policy import instructions
from appliance.policy.share_rights import ALL
from appliance.policy.wording import size_words
from appliance.settings import FILE_NAME
from appliance.worker import locks

SHARE = ("partage", "Partage du cabinet")


@click.command(
    "demo",
    cls=Command,
    help=mark(
        "Build a small practice on 127.0.0.1, run its nights, copy it, and serve the product.\n\n"
        "Two real SSH servers, a real PostgreSQL where there is one, a share, a real SFTP host for the "
        "copies: all generated, all in the data folder. The first time two nights, later one more each "
        "time; then a push, its proofs, and an exercise. Ctrl-C ends everything."
    ),
)
@option("--no-serve", is_flag=True, help=mark("End after the nights, the copy and the exercise."))
@option("--patients", type=click.IntRange(1, 100_000), default=PATIENTS, show_default=True,
        help=mark("How many patients the practice has; each has about 15 files."))  # fmt: skip
@option("--no-database", is_flag=True, help=mark("Without PostgreSQL."))
@answers
def demo(session: Session, *, no_serve: bool, patients: int, no_database: bool) -> Answer:
    """Show everything."""
    settings = session.settings
    prepare(settings, utc_now())
    if locks.is_held(locks.of_worker(settings)):
        raise AlreadyRunning(str(settings.data))
    _stay_here(settings.data)
    folder = settings.data / "practice"
    open_the_way(settings.data, folder)
    practice = Practice(folder, patients=patients, with_database=not no_database)
    _fill(session, practice)
    nights: list[Answer] = []
    with practice:
        if practice.database is None and not no_database:
            session.tell(mark("PostgreSQL cannot run here: the practice has no database."))
        _name(session)
        _add_sources(session, practice)
        host = prepare_copies(session, practice)
        if practice.days == 0:
            nights.append(_night(session, 1))
        worked = practice.work_a_day()
        session.tell(
            mark("A day of work: %(added)s files added, %(changed)s changed, "
                 "%(renamed)s renamed, %(removed)s removed."),
            added=worked.added, changed=worked.changed, renamed=worked.renamed,
            removed=worked.removed,
        )  # fmt: skip
        nights.append(_night(session, practice.days + 1))
        _tell_totals(session)
        copy = send(session, host)
        copy.show(session.err)
        drill = exercise(session, practice, host.id)
        if drill is not None:
            drill.show(session.err)
        code = worst([*nights, copy, *([] if drill is None else [drill])])
        body = {
            "nights": [each.body for each in nights],
            "copy": copy.body,
            "drill": None if drill is None else drill.body,
        }
        if no_serve:
            return Answer(body, nothing_to_show, code)
        if session.as_json:
            return Answer(body, nothing_to_show, run_both(session))
        return Answer(body, nothing_to_show, run_both(session, ready=lambda: _invite(session)))


def _stay_here(data: Path) -> None:
    """Let the demonstration listen on this machine alone; a box that is used answers in its networks."""
    path = data / FILE_NAME
    if not path.exists():
        path.write_text('listen_address = "127.0.0.1"\n', "utf-8")


def _fill(session: Session, practice: Practice) -> None:
    labels = {
        "serveur": mark("Documents of the practice's server"),
        "secretariat": mark("Documents of the secretary's office"),
        "partage": mark("Documents of the share"),
    }
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        console=session.err,
        disable=not session.err.is_terminal,
    ) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(session.say(labels[what]), total=total)
                if not session.err.is_terminal:
                    session.tell(labels[what])
            progress.update(tasks[what], completed=done)

        practice.fill(report)


def _name(session: Session) -> None:
    """Name the practice, as the first step of the first day does; its papers bear it."""
    with session.database.write() as connection:
        if facts.find(connection, NAME) is None:
            said = session.say(mark("Demonstration practice"))
            facts.put(connection, NAME, said, now=utc_now())


def _add_sources(session: Session, practice: Practice) -> None:
    """Tell the box about the practice, as a person would; what it knows already is brought up to date."""
    jobs = []
    with session.database.read() as connection:
        known = {each.name: each for each in sources.all_living(connection)}
    for machine in practice.machines:
        source = _machine(session, machine, known.get(machine.name))
        jobs.append(enqueue(session, SetUpSource(source.id)))
    name, label = SHARE
    if name not in known:
        with session.database.write() as connection:
            made = sources.add(
                connection,
                name=name,
                label=label,
                kind=SourceKind.SHARE,
                roots=(str(practice.share),),
                now=utc_now(),
            )
        jobs.append(enqueue(session, SetUpSource(made.id)))
    _open_share(session, practice)
    jobs.append(enqueue(session, SetUpSource(BOX_SOURCE)))
    follow(session, jobs)
    for machine in practice.machines:
        with session.database.read() as connection:
            source = sources.get_by_name(connection, machine.name)
            key = str(sources.facts(connection, source.id)["public_key"])
        # The line a person pastes on a machine.
        line = instructions.authorized_key(key, runs_commands=bool(machine.recipes))
        machine.server.authorize(line)


def _open_share(session: Session, practice: Practice) -> None:
    """Make the practice's folder a share of the disk, on which every owner doctor may do everything."""
    name, label = SHARE
    now = utc_now()
    with session.database.write() as connection:
        if any(each.name == name for each in shares.all_living(connection)):
            return
        made = set_up.make_share(
            connection,
            session.settings,
            name=name,
            label=label,
            person_id=None,
            now=now,
            folder=practice.share,
        )
        set_up.give_rights(connection, made, ALL, by=None, now=now, role=Role.OWNER)
        shares.change(connection, made.id, over_dav=True)


def _machine(session: Session, machine: DemoMachine, known: Source | None) -> Source:
    server = machine.server
    with session.database.write() as connection:
        source = known or sources.add(
            connection,
            name=machine.name,
            label=machine.label,
            kind=SourceKind.PULLED,
            roots=machine.roots,
            now=utc_now(),
            host=HOST,
            port=server.port,
            user=server.user,
            recipes=machine.recipes,
        )
        # We made this server's key ourselves a moment ago: it needs no comparing by eye.
        sources.change(
            connection,
            source.id,
            port=server.port,
            host_key=server.host_key,
            recipes=machine.recipes,
        )
    return source


def _night(session: Session, number: int) -> Answer:
    session.tell(mark("Night %(number)s"), number=number)
    answer = back_up(session, None)
    answer.show(session.err)
    return answer


def _tell_totals(session: Session) -> None:
    """Say what all snapshots together hold, and what they take on the disk."""
    with session.database.read() as connection:
        living = sources.all_living(connection)
        held = sum(
            one.original_bytes
            for each in living
            for one in snapshots.of_source(connection, each.id)
        )
        found = [repositories.find(connection, each.id) for each in living]
    stored = sum(each.size_bytes for each in found if each is not None)
    session.tell(
        mark("All snapshots together show %(held)s and take %(stored)s on the disk."),
        held=size_words(held, session.language),
        stored=size_words(stored, session.language),
    )


def _invite(session: Session) -> None:
    address = first_link(session)
    if address is None:
        session.tell(mark("Sign in with your account, or make a link: «armoire link LOGIN»."))
    else:
        session.tell(mark("Open this once to make the first account:"))
        session.err.print(address, style="bold", soft_wrap=True)
    _tell_ways_in(session)


def _tell_ways_in(session: Session) -> None:
    """Say how the share is opened without a browser."""
    with session.database.read() as connection:
        if not any(
            each.name == SHARE[0] and each.over_dav for each in shares.all_living(connection)
        ):
            return
    session.tell(
        mark(
            "The practice's share in a file explorer or a program, by WebDAV: your login, and a password "
            "from «My account», «Passwords of programs»."
        )
    )
    session.err.print(f"{base_url(session.settings)}/dav/{SHARE[0]}", style="bold", soft_wrap=True)
    session.tell(
        mark(
            "SMB, as Windows opens it, gives each person an account of the system: not in this demonstration, "
            "on a box (systemd/README.md)."
        )
    )
