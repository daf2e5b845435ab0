"""``armoire network``: local networks, where the box listens, closing it, a suggestion for its firewall."""

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.framework import Group, answers
from appliance.commands.session import Answer, Session, table, when
from appliance.jobs import network as readings
from appliance.language import mark
from appliance.policy import listening
from appliance.policy.listening import REASON_WORDS


@click.group("network", cls=Group, help=mark("Local networks, and where the box listens."))
def network() -> None:
    """Hold the commands about the network."""


@network.command(
    "show", help=mark("Show the local networks, and which address of the box is listened on.")
)
@answers
def show(session: Session) -> Answer:
    """Show the way in."""
    settings = session.settings
    with session.database.read() as connection:
        rule = readings.rule(connection, settings)
        is_declared = readings.is_declared(connection)
        opened = readings.opened(connection)
        who = "" if opened is None else readings.name_of(connection, opened.by)
        smb_in_tunnel = readings.smb_in_tunnel(connection)
    found = listening.doors(readings.cards(), rule)

    def tell(out: Console) -> None:
        say = session.say
        if opened is not None:
            out.print(
                say(
                    mark(
                        "Correspondents' links can be opened from the Internet, by decision of %(name)s, on %(opened_at)s. "
                        "Nobody can sign in from there."
                    )
                    if opened.links_only
                    else mark(
                        "The box is open to the Internet by decision of %(name)s, on %(opened_at)s."
                    ),
                    name=who,
                    opened_at=when(opened.at),
                ),
                style="bold",
            )
        if not is_declared:
            out.print(say(mark("Nothing was declared yet: the box takes the networks it stands in itself.")))  # fmt: skip
        rows = [(str(each), say(mark("local network"))) for each in rule.networks]
        rows += [
            (
                f"{each.address}",
                f"{say(mark('listens') if each.is_bound else mark('closed'))} · {say(REASON_WORDS[each.why])}",
            )
            for each in found
        ]
        out.print(table(("", ""), rows))

    body = {
        "networks": [str(each) for each in rule.networks],
        "is_declared": is_declared,
        "port": settings.listen_port,
        "addresses": [
            {
                "interface": each.interface,
                "address": each.address,
                "listens": each.is_bound,
                "why": each.why.value,
            }
            for each in found
        ],
        "opened_at": None if opened is None else opened.at,
        "opened_by": None if opened is None else int(opened.by),
        "opened_for": None if opened is None else "links" if opened.links_only else "all",
        "front": settings.front_address or None,
        "smb_in_tunnel": smb_in_tunnel,
    }
    return Answer(body, tell)


@network.command("declare", help=mark("Declare a local network, like 192.168.1.0/24."))
@click.argument("text", metavar="NETWORK")
@answers
def declare(session: Session, *, text: str) -> Answer:
    """Declare a network."""
    with session.database.write() as connection:
        made = readings.declare(connection, text, now=utc_now(), actor="command")
    return Answer(
        {"network": str(made)},
        lambda out: out.print(
            session.say(mark("The network is declared. The box listens there within some seconds."))
        ),
    )


@network.command("forget", help=mark("Declare a local network no longer."))
@click.argument("text", metavar="NETWORK")
@answers
def forget(session: Session, *, text: str) -> Answer:
    """Forget a network."""
    with session.database.write() as connection:
        readings.forget(connection, text, now=utc_now(), actor="command")
    return Answer(
        {"network": text},
        lambda out: out.print(session.say(mark("The network is declared no longer."))),
    )


@network.command(
    "close",
    help=mark(
        "Close the box to the Internet. It is opened in the web interface only, by a person."
    ),
)
@answers
def close(session: Session) -> Answer:
    """Close the box."""
    with session.database.write() as connection:
        was_open = readings.close(connection, now=utc_now(), actor="command")
    return Answer(
        {"was_open": was_open},
        lambda out: out.print(
            session.say(
                mark("The box is closed to the Internet again.")
                if was_open
                else mark("The box was not open to the Internet.")
            )
        ),
    )


@network.command(
    "firewall",
    help=mark("Print a suggestion for the box's firewall (nftables). It is never applied by itself."),
)  # fmt: skip
@answers
def firewall(session: Session) -> Answer:
    """Print the suggestion."""
    with session.database.read() as connection:
        text = readings.firewall(connection, session.settings)
    return Answer(
        {"nftables": text},
        lambda out: out.print(text, markup=False, highlight=False, soft_wrap=True, end=""),
    )
