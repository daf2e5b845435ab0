"""``armoire machine push-key``, ``push-script``, ``push-passphrase``, and ``push-keys``: machines that push."""

import socket
from pathlib import Path
from typing import Final, TextIO

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.framework import Command, answers, option
from appliance.commands.session import Answer, Session, wrong
from appliance.commands.sources import machine_named
from appliance.db import repositories, sources
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.ledger import events
from appliance.model import Source, SourceKind

#: The account of the box the repositories belong to (systemd/sysusers.d).
ACCOUNT: Final = "armoire-worker"
HOST_KEY: Final = "/etc/ssh/ssh_host_ed25519_key.pub"


def _pushing(session: Session, name: str) -> Source:
    with session.database.read() as connection:
        source = sources.get_by_name(connection, name)
    if source.kind is not SourceKind.PUSHED:
        raise InvalidInput("source", mark("This machine does not push."))
    return source


@click.command(
    "push-script",
    cls=Command,
    help=mark(
        "Print the script that sets up a machine that pushes (Linux, macOS).\n\n"
        "Run it there as root; it asks for the passphrase («push-passphrase») and prints the key for «push-key»."
    ),
)
@click.argument("name")
@option("--host", required=True, help=mark("The box, as that machine reaches it."))
@option("--port", type=click.IntRange(1, 65_535), default=22, show_default=True,
        help=mark("Port of the box's SSH server."))  # fmt: skip
@option("--account", default=ACCOUNT, show_default=True,
        help=mark("The account of the box the repositories belong to."))  # fmt: skip
@option("--host-key", "host_key", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        default=HOST_KEY, show_default=True,
        help=mark("Public host key of the box, pinned on the machine."))  # fmt: skip
@answers
def push_script(
    session: Session, name: str, *, host: str, port: int, account: str, host_key: Path
) -> Answer:
    """Print the set-up script of a machine that pushes."""
    from appliance.backup_jobs import push_script as scripts  # noqa: PLC0415 - heavy

    source = _pushing(session, name)
    parts = host_key.read_text("utf-8", "replace").split()
    if len(parts) < 2:
        raise wrong("--host-key", mark("One line «ssh-ed25519 AAAA…» is needed."))
    with session.database.read() as connection:
        repository = repositories.get(connection, source.id)
    address = scripts.PushAddress(host, port, account, f"{parts[0]} {parts[1]}")
    script = scripts.push_script(source, repository, address)
    return Answer({"name": name, "script": script}, lambda out: out.print(script))


@click.command(
    "push-passphrase",
    cls=Command,
    help=mark(
        "Print the passphrase of the repository a machine pushes into. That it was shown is in the journal."
    ),
)
@click.argument("name")
@answers
def push_passphrase(session: Session, name: str) -> Answer:
    """Print the passphrase a machine that pushes needs."""
    from appliance.backup_jobs import vault_access  # noqa: PLC0415 - opens secrets, only here

    source = _pushing(session, name)
    with session.database.write() as connection:
        secret = vault_access.repository_passphrase(connection, session.settings, source.id)
        events.record(
            connection,
            at=utc_now(),
            event="repository.passphrase-shown",
            subject=f"source:{source.id}",
            actor="console",
        )
    text = secret.reveal().decode("ascii")
    return Answer({"name": name, "passphrase": text}, lambda out: out.print(text))


@click.command(
    "push-key",
    cls=Command,
    help=mark("Let the holder of a public key push into the repository of this machine."),
)
@click.argument("name")
@click.argument("key", type=click.File("r", encoding="utf-8"), metavar="KEY.pub")
@answers
def push_key(session: Session, name: str, key: TextIO) -> Answer:
    """Let a machine push."""
    from appliance.backup_jobs.push_access import set_push_key  # noqa: PLC0415 - heavy

    source = machine_named(session, name)
    now = utc_now()
    with session.database.write() as connection:
        fingerprint = set_push_key(connection, source.id, key.read(10_000))
        events.record(
            connection, at=now, event="machine.push-key", subject=f"source:{source.id}",
            actor="console", fingerprint=fingerprint,
        )  # fmt: skip
        repository = repositories.get(connection, source.id)

    def show(out: Console) -> None:
        out.print(session.say(mark("This key may push: %(fingerprint)s"), fingerprint=fingerprint))
        out.print(session.say(mark("The repository, as the machine names it:")))
        out.print(f"ssh://armoire-worker@{socket.gethostname()}{repository.path}")

    body = {"name": name, "fingerprint": fingerprint, "repository": repository.path}
    return Answer(body, show)


@click.command(
    "push-keys",
    cls=Command,
    help=mark(
        "Print the keys of the machines that push, as sshd asks for them.\n\n"
        "See systemd/sshd_config.d/armoire-push.conf."
    ),
)
@answers
def push_keys(session: Session) -> Answer:
    """Print authorized keys."""
    from appliance.backup_jobs.push_access import authorized_keys  # noqa: PLC0415 - heavy

    lines = authorized_keys(session.database, session.settings)
    return Answer({"lines": lines.splitlines()}, lambda out: out.print(lines, end=""))
