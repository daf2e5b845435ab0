"""``armoire receive``: keep the copies of another Armoire, in the practice's second building."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Final

import click
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.framework import Group, answers, option
from appliance.commands.serve import require_box
from appliance.commands.session import Answer, ExitCode, Session, clean, table, when
from appliance.language import mark
from appliance.ledger import events
from appliance.policy.deadman import silence_finding
from appliance.policy.findings import Severity
from appliance.units import GIB

#: Below the data folder.
FOLDER: Final = "receive"
PORT: Final = 2222


@click.group(
    "receive",
    cls=Group,
    help=mark(
        "Keep the copies of another Armoire of the practice.\n\n"
        "The other box may add to its own folder here, and change or delete nothing."
    ),
)
def receive() -> None:
    """Hold the commands about receiving."""


@receive.command("serve", help=mark("Receive until Ctrl-C. Prints the host key to pin over there."))
@option("--address", default="0.0.0.0", show_default=True,  # noqa: S104 - it is there to be reached
        help=mark("An address of this box to listen on."))  # fmt: skip
@option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True,
        help=mark("The port to listen on; 0: any free one."))  # fmt: skip
@answers
def serve(session: Session, *, address: str, port: int) -> Answer:
    """Receive."""
    root = _root(session)
    from appliance.replication.receive import ReceiveServer  # noqa: PLC0415 - heavy

    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ReceiveServer(root, address=address, port=port) as server:
            body = _host_key(root) | {"port": server.port}
            session.tell(
                mark("Receiving on port %(port)s. Host key: %(fingerprint)s. Ctrl-C ends it."),
                **body,
            )
            asked.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Answer(body, lambda _out: None)


@receive.command("key", help=mark("Print this box's host key, to be entered on the other box."))
@answers
def key(session: Session) -> Answer:
    """Print the host key."""
    body = _host_key(_root(session))

    def show(out: Console) -> None:
        out.print(body["host_key"])
        out.print(body["fingerprint"])

    return Answer(body, show)


@receive.command("add", help=mark("Let another Armoire send its copies here."))
@click.argument("name")
@option("--key", "public_key", required=True, metavar="ssh-ed25519 …",
        help=mark("Its public key, as it shows it."))  # fmt: skip
@option("--quota", "quota_gib", required=True, type=click.IntRange(1, 1_000_000), metavar="GIB",
        help=mark("How much it may keep here."))  # fmt: skip
@option("--label", default="", help=mark("What people read instead of NAME."))
@answers
def add(session: Session, name: str, *, public_key: str, quota_gib: int, label: str) -> Answer:
    """Let a sender in."""
    root = _root(session)
    from appliance.replication.receive_accounts import Senders  # noqa: PLC0415

    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Senders(root).add(name, name=label, public_key=public_key, quota_bytes=quota_gib * GIB)
    _record(session, "sender.added", made.id, quota_bytes=made.quota_bytes)
    body = {"sender": made.id, "quota_bytes": made.quota_bytes, **_host_key(root)}

    def show(out: Console) -> None:
        out.print(
            session.say(
                mark("Enter this on the other box: account %(sender)s, and the host key"), **body
            )
        )
        out.print(body["host_key"])

    return Answer(body, show)


@receive.command("quota", help=mark("Change how much a sender may keep here."))
@click.argument("name")
@click.argument("quota_gib", type=click.IntRange(1, 1_000_000), metavar="GIB")
@answers
def quota(session: Session, name: str, quota_gib: int) -> Answer:
    """Change a quota."""
    root = _root(session)
    from appliance.replication.receive_accounts import Senders  # noqa: PLC0415

    Senders(root).set_quota(name, quota_gib * GIB)
    _record(session, "sender.quota", name, quota_bytes=quota_gib * GIB)
    return Answer({"sender": name, "quota_bytes": quota_gib * GIB}, lambda _out: None)


@receive.command("revoke", help=mark("Let a sender in no more. What it sent stays."))
@click.argument("name")
@answers
def revoke(session: Session, name: str) -> Answer:
    """Take a sender out."""
    root = _root(session)
    from appliance.replication.receive_accounts import Senders  # noqa: PLC0415

    Senders(root).revoke(name)
    _record(session, "sender.revoked", name)
    return Answer({"sender": name}, lambda _out: None)


@receive.command("list", help=mark("List who sends here, what came last, and who is silent."))
@answers
def list_senders(session: Session) -> Answer:
    """List senders; exit code 3 when one is silent."""
    root = _root(session)
    from appliance.replication.receive import received  # noqa: PLC0415 - heavy

    now = utc_now()
    rows = []
    for each in received(root):
        finding = silence_finding(
            each.sender.name, now=now, object_at=each.object_at, generation_at=each.generation_at
        )
        rows.append((each, finding))
    is_bad = any(found and found.severity is not Severity.NOTICE for _, found in rows)
    body = {
        "senders": [
            {
                "sender": each.sender.id,
                "label": each.sender.name,
                "quota_bytes": each.sender.quota_bytes,
                "object_at": each.object_at,
                "generation_at": each.generation_at,
                "finding": found and {"code": found.code, "severity": found.severity.value},
            }
            for each, found in rows
        ]
    }

    def show(out: Console) -> None:
        titles = [mark("Sender"), mark("Last copy"), mark("Last object"), ""]
        out.print(
            table(
                [session.say(each) if each else "" for each in titles],
                [
                    (
                        each.sender.id,
                        when(each.generation_at),
                        when(each.object_at),
                        clean(found.words(session.language)) if found else "",
                    )
                    for each, found in rows
                ],
            )
        )

    return Answer(body, show, ExitCode.WARNED if is_bad else ExitCode.DONE)


def _root(session: Session) -> Path:
    require_box(session)
    return session.settings.data / FOLDER


def _host_key(root: Path) -> dict[str, object]:
    from appliance.replication.receive import fingerprint, make_host_key  # noqa: PLC0415 - heavy

    return {"host_key": make_host_key(root), "fingerprint": fingerprint(root)}


def _record(session: Session, event: str, sender: str, *, quota_bytes: int | None = None) -> None:
    with session.database.write() as connection:
        if quota_bytes is None:
            events.record(connection, at=utc_now(), event=event, subject=f"sender:{sender}")
        else:
            events.record(
                connection,
                at=utc_now(),
                event=event,
                subject=f"sender:{sender}",
                quota_bytes=quota_bytes,
            )
