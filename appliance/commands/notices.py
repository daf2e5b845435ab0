"""``armoire notices show | mail | add | test | remove``: by which ways notices leave the box."""

import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from appliance.accounts import deliveries, notice_ways, people
from appliance.accounts.notice_ways import Way
from appliance.clock import utc_now
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Group, answers, option
from appliance.commands.session import Answer, ExitCode, Session, clean, table, when
from appliance.commands.target_common import ask
from appliance.jobs.kinds import SendNotices
from appliance.language import mark
from appliance.policy import notice_ways as policy
from appliance.policy.notice_ways import Kind, Security
from appliance.policy.notices import OF_THE_BOX, PROBLEMS
from appliance.vault.seal import seal
from appliance.vault.secret import Secret

TOPICS: Final = [each.value for each in OF_THE_BOX]
#: Seconds a test is waited for when it was a try of its own.
WAIT_S: Final = 60.0


@click.group(
    "notices",
    cls=Group,
    help=mark("Notices that leave the box: by which ways, and whether they work."),
)
def group() -> None:
    """Hold the commands of notices."""


@group.command(
    "show", help=mark("Show the practice's ways, and when the last message left by each.")
)
@answers
def show(session: Session) -> Answer:
    """Show the ways."""
    with session.database.read() as connection:
        ways = notice_ways.living(connection, None)
        own = [
            (who, way)
            for who in people.everybody(connection)
            if who.disabled_at is None
            for way in notice_ways.living(connection, who.id)
        ]
        server = notice_ways.mail_server(connection)
        waiting = {each.id: deliveries.waiting(connection, each.id) for each in ways}
        ping = notice_ways.ping(connection)

    def tell(out: Console) -> None:
        say = session.say
        out.print(
            say(mark("No e-mail server is set."))
            if server is None
            else say(
                mark("E-mail leaves by %(server)s, port %(port)s."),
                server=server.server,
                port=server.port,
            )
        )
        rows = [
            (
                str(each.id),
                clean(each.label),
                ", ".join(sorted(each.topics)),
                "–" if each.worked_at is None else when(each.worked_at),
                "" if each.problem is None else say(PROBLEMS.get(each.problem, each.problem)),
            )
            for each in ways
        ]
        head = ("", mark("Way"), mark("Told by it"), mark("Last message"), mark("Trouble"))
        out.print(table(tuple(say(each) if each else "" for each in head), rows))
        if own:
            out.print(say(mark("Ways of people's own: %(count)s."), count=len(own)))

    body = {
        "mail_server": None if server is None else {"server": server.server, "port": server.port},
        "monitor": None
        if ping is None
        else {"last_at": ping.get("last_at"), "problem": ping.get("problem")},
        "ways": [{**_body(each), "waiting": waiting[each.id]} for each in ways],
        "own": [{**_body(way), "person": who.login} for who, way in own],
    }
    return Answer(body, tell)


@group.command(
    "mail",
    help=mark(
        "Set the e-mail server.\n\n"
        "The password is read from standard input, never from the command line."
    ),
)
@click.argument("server")
@option("--port", type=int, default=465, show_default=True, help=mark("Its port."))
@option("--security", type=click.Choice([each.value for each in Security]), default="tls", show_default=True,
        help=mark("How the line is encrypted."))  # fmt: skip
@option("--from", "sender", required=True, metavar="ADDRESS", help=mark("The sender's address."))
@option("--user", default="", help=mark("The user name, when it asks for one."))
@option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=mark("PEM of the authority of its certificate, when it is not a public one."))  # fmt: skip
@answers
def mail(
    session: Session,
    server: str,
    *,
    port: int,
    security: str,
    sender: str,
    user: str,
    ca: Path | None,
) -> Answer:
    """Set the e-mail server."""
    pem = "" if ca is None else ca.read_text("ascii", "replace")
    known = policy.check_server(
        server=server, port=str(port), security=security, sender=sender, user=user, ca=pem
    )
    sealed = None
    if known.user and (typed := ask(session, mark("Password of the e-mail server"))):
        sealed = seal(Secret(typed.encode()), session.settings.keys)
    with session.database.write() as connection:
        notice_ways.put_mail_server(connection, known, sealed, by=None, now=utc_now())
    return Answer(
        {"server": known.server, "port": known.port, "security": known.security.value},
        lambda out: out.print(
            session.say(mark("The e-mail server is set. Send a test to see whether it works."))
        ),
    )


@group.command(
    "add",
    help=mark(
        "Add a way of the practice: an e-mail address, or «-» to read a service's address.\n\n"
        "A service's address holds keys: it is read from standard input."
    ),
)
@click.argument("where")
@option("--about", "topics", multiple=True, type=click.Choice(TOPICS),
        help=mark("What is told this way; several times for several. Without it: all."))  # fmt: skip
@answers
def add(session: Session, where: str, *, topics: tuple[str, ...]) -> Answer:
    """Add a way."""
    sealed = None
    if where == "-":
        url = ask(session, mark("Address of the service")).strip()
        label, kind = policy.check_service(url).name, Kind.SERVICE
        sealed = seal(Secret(url.encode()), session.settings.keys)
    else:
        label, kind = policy.check_email(where), Kind.EMAIL
    with session.database.write() as connection:
        way = notice_ways.add(
            connection, person_id=None, kind=kind, label=label, topics=list(topics or TOPICS),
            by=None, now=utc_now(), sealed=sealed,
        )  # fmt: skip
    return Answer(
        _body(way),
        lambda out: out.print(session.say(mark("Way %(number)s is set."), number=way.id)),
    )


@group.command("test", help=mark("Send a test by one way, and say what became of it."))
@click.argument("number", type=int)
@answers
def test(session: Session, number: int) -> Answer:
    """Send a test."""
    with session.database.write() as connection:
        way = notice_ways.get(connection, number)
        deliveries.test(connection, way, by=None, now=utc_now())
    jobs = follow(session, [enqueue(session, SendNotices())])
    deadline = time.monotonic() + WAIT_S
    with session.database.read() as connection:
        found = deliveries.last_test(connection, number)
    while found is not None and found.sent_at is None and found.problem is None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
        with session.database.read() as connection:
            found = deliveries.last_test(connection, number)
    is_sent = found is not None and found.sent_at is not None
    problem = None if found is None else found.problem

    def tell(out: Console) -> None:
        if is_sent:
            out.print(session.say(mark("The test left: look whether it arrived.")))
        else:
            why = session.say(PROBLEMS.get(problem or "later", ""))
            out.print(session.say(mark("The test did not leave: %(why)s"), why=why))

    code = exit_code_of(jobs) if is_sent else ExitCode.FAILED
    return Answer({"id": number, "is_sent": is_sent, "problem": problem}, tell, code)


@group.command("remove", help=mark("Remove a way; what waits to leave by it is not sent."))
@click.argument("number", type=int)
@answers
def remove(session: Session, number: int) -> Answer:
    """Remove a way."""
    with session.database.write() as connection:
        way = notice_ways.get(connection, number)
        notice_ways.remove(connection, way, by=None, now=utc_now())
    return Answer(
        {"id": number},
        lambda out: out.print(session.say(mark("Way %(number)s is removed."), number=number)),
    )


def _body(way: Way) -> dict[str, object]:
    return {
        "id": way.id,
        "kind": way.kind.value,
        "label": way.label,
        "topics": sorted(way.topics),
        "worked_at": way.worked_at,
        "problem": way.problem,
    }
