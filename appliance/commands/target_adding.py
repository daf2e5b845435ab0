"""``armoire target add``, ``confirm`` and ``change``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from appliance.clock import utc_now
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Command, answers, complete_targets, option
from appliance.commands.session import Answer, Session, wrong
from appliance.commands.target_common import (
    KIND_NAMES,
    ask,
    find,
    job_bodies,
    reloaded,
    target_body,
)
from appliance.db.targets import TargetRow
from appliance.errors import NotFound, TargetIdentityChanged
from appliance.jobs import target_setup
from appliance.jobs.kinds import SetUpTarget
from appliance.language import mark
from appliance.policy import place as places
from appliance.policy.hosting import Nature
from appliance.policy.place import BoxPlace, DirectoryPlace, Place, S3Place, SftpPlace
from appliance.vault.secret import Secret

_NATURES: Final = click.Choice([each.value for each in Nature])


@click.command(
    "add",
    cls=Command,
    help=mark(
        "Add a place where copies go, prepare it, and say what to give its host.\n\n"
        "Passwords and secret keys are asked for, or read from standard input; never from the command line."
    ),
)
@click.argument("name")
@option("--kind", type=click.Choice(list(KIND_NAMES)), required=True,
        help=mark("What it is: a labelled disk or folder, an SFTP host, an S3 bucket, another Armoire."))  # fmt: skip
@option("--label", default="", help=mark("What people read instead of NAME."))
@option(
    "--nature", type=_NATURES, help=mark("What it is to the practice; without it nothing is sent.")
)
@option("--distance", "distance_km", type=click.IntRange(0, target_setup.MOST_KM), metavar="KM",
        help=mark("How far from this building it is."))  # fmt: skip
@option("--host", help=mark("Its name or address (sftp, box)."))
@option("--port", type=click.IntRange(1, 65535), help=mark("Its port; 22 for sftp, 2222 for box."))
@option("--user", help=mark("The account there (sftp); the name it gave this box (box)."))
@option(
    "--folder",
    default="",
    help=mark("Where objects go there (sftp), or the mounted disk (directory)."),
)
@option("--password", "asks_password", is_flag=True,
        help=mark("Ask for a password instead of making a key (sftp)."))  # fmt: skip
@option("--key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=mark("Use this ed25519 private key instead of making one (sftp, box)."))  # fmt: skip
@option("--host-key", "fingerprint", metavar="SHA256:…",
        help=mark("The fingerprint the host told you: confirmed if it is the one found."))  # fmt: skip
@option("--endpoint", metavar="https://…", help=mark("The address of the S3 host."))
@option("--region", default="", help=mark("The bucket's region."))
@option(
    "--country", default="", metavar="FR", help=mark("The region's country, where it is not known.")
)
@option("--bucket", help=mark("The name of the bucket."))
@option("--prefix", default="", help=mark("A folder of the bucket."))
@option("--lock", type=click.Choice(["COMPLIANCE", "GOVERNANCE"]), default=None,
        help=mark("Lock every new object (Object Lock)."))  # fmt: skip
@option("--lock-days", type=click.IntRange(1, 36500), default=None, metavar="DAYS",
        help=mark("For how long; 30 by default."))  # fmt: skip
@option("--connections", type=click.IntRange(1, places.MOST_CONNECTIONS), default=4, show_default=True,
        help=mark("How many connections a push uses."))  # fmt: skip
@answers
def add(session: Session, /, name: str, *, kind: str, **given: Any) -> Answer:  # noqa: ANN401 - click hands twenty options over
    """Add a target."""
    place, secrets = _asked(session, kind, given)
    nature = None if given["nature"] is None else Nature(given["nature"])
    with session.database.write() as connection:
        row = target_setup.add_target(
            connection,
            session.settings,
            name=name,
            label=given["label"],
            kind=kind,
            place=place,
            nature=nature,
            distance_km=given["distance_km"],
            secrets=secrets,
            person=None,
            now=utc_now(),
        )
    return _prepared(session, row, given["fingerprint"], added=True)


def _asked(
    session: Session, kind: str, given: Mapping[str, Any]
) -> tuple[Place, dict[str, Secret]]:
    match kind:
        case "sftp" | "box":
            if not given["host"] or not given["user"]:
                raise wrong("--host", mark("Give --host and --user."))
            secrets = _key_or_password(session, kind, given)
            common = {"host": given["host"], "connections": given["connections"]}
            if kind == "box":
                return BoxPlace(sender=given["user"], port=given["port"] or 2222, **common), secrets
            return SftpPlace(
                user=given["user"], port=given["port"] or 22, folder=given["folder"], **common
            ), secrets
        case "s3":
            if not given["endpoint"] or not given["bucket"]:
                raise wrong("--endpoint", mark("Give --endpoint and --bucket."))
            if given["lock_days"] and not given["lock"]:
                raise wrong("--lock-days", mark("Only together with --lock."))
            access = ask(session, mark("Access key"), hide=False)
            secret = ask(session, mark("Secret key"))
            place = S3Place(
                endpoint=given["endpoint"],
                region=given["region"] or "us-east-1",
                bucket=given["bucket"],
                prefix=given["prefix"],
                lock_mode=given["lock"] or "",
                lock_days=(given["lock_days"] or 30) if given["lock"] else 0,
                connections=given["connections"],
                country=given["country"].upper(),
            )
            return place, {"s3": target_setup.s3_secret(access, secret)}
        case _:
            if not given["folder"]:
                raise wrong("--folder", mark("Give the folder where the disk is mounted."))
            return _labelled(session, Path(given["folder"])), {}


def _key_or_password(session: Session, kind: str, given: Mapping[str, Any]) -> dict[str, Secret]:
    if given["asks_password"] and (given["key_file"] or kind == "box"):
        raise wrong(
            "--password", mark("A key or a password, not both; another box takes keys only.")
        )
    if given["key_file"]:
        return {"key": Secret(given["key_file"].read_bytes())}
    if given["asks_password"]:
        return {"password": Secret(ask(session, mark("Password")).encode())}
    return {}


def _labelled(session: Session, folder: Path) -> Place:
    """Return the place of a folder that stays mounted, labelling it when it carries no label yet."""
    from appliance.commands.disks import check_medium, label_folder  # noqa: PLC0415 - only here

    check_medium(session, folder)
    label = label_folder(session, folder, name=None, expires=None)
    return DirectoryPlace(
        disk_id=label.disk_id,
        folder=str(folder.absolute()),
        expires_on="" if label.expires is None else label.expires.isoformat(),
    )


def _prepared(
    session: Session, row: TargetRow, given: str | None, *, added: bool = False
) -> Answer:
    """Make the key, look at the host's identity, confirm it when a person does, and say what is next."""
    jobs = follow(session, [enqueue(session, SetUpTarget(row.id))])
    row = reloaded(session, row)
    offered = row.facts.get(target_setup.OFFERED_HOST_KEY)
    found = offered["fingerprint"] if isinstance(offered, dict) else None
    if isinstance(offered, dict) and not row.place.get("host_key"):
        if given is not None and given != found:
            raise TargetIdentityChanged(row.name, given, str(found))
        if given == found or _says_yes(session, str(found)):
            _pin(session, row, offered["host_key"])
            row = reloaded(session, row)
    public_key = row.facts.get(target_setup.PUBLIC_KEY)

    def show(out: Console) -> None:
        if added:
            out.print(session.say(mark("«%(name)s» is added."), name=row.name))
        if public_key:
            out.print(session.say(mark("Give this public key to the host:")))
            out.print(Text(str(public_key)))
        if row.kind == "box":
            out.print(session.say(mark("On the other box: «armoire receive add %(sender)s --key … --quota GIB»."),
                                  sender=row.place.get("sender", "")))  # fmt: skip
        if "host_key" in row.place and not row.place["host_key"]:
            out.print(session.say(
                mark("Its identity is not confirmed yet: compare, then "
                     "«armoire target confirm %(name)s --host-key %(fingerprint)s»."),
                name=row.name, fingerprint=found or "SHA256:…",
            ))  # fmt: skip
        if row.nature is None:
            out.print(session.say(mark("Nothing is sent there before you say what it is: "
                                       "«armoire target change %(name)s --nature …»."), name=row.name))  # fmt: skip
        elif row.nature == Nature.CERTIFIED_HOST.value and not row.dossier:
            out.print(session.say(mark("Fill in the host's dossier: «armoire host add %(name)s»."), name=row.name))  # fmt: skip
        out.print(session.say(mark("Then: «armoire target check %(name)s»."), name=row.name))

    body = {**target_body(row), "fingerprint": found, "jobs": job_bodies(session, jobs)}
    return Answer(body, show, exit_code_of(jobs))


def _says_yes(session: Session, found: str) -> bool:
    if session.as_json:
        return False
    session.tell(mark("The host shows this identity: %(fingerprint)s"), fingerprint=found)
    return session.confirm(session.say(mark("Is it the one your host told you?")))


def _pin(session: Session, row: TargetRow, host_key: str) -> None:
    with session.database.write() as connection:
        target_setup.confirm_host_key(connection, row.id, host_key, person=None, now=utc_now())


@click.command(
    "confirm",
    cls=Command,
    help=mark("Confirm the identity (host key) of a host, compared with what it told you."),
)
@click.argument("name", shell_complete=complete_targets)
@option("--host-key", "fingerprint", required=True, metavar="SHA256:…",
        help=mark("The fingerprint the host told you."))  # fmt: skip
@answers
def confirm(session: Session, name: str, *, fingerprint: str) -> Answer:
    """Confirm a host key."""
    row = find(session, name)
    follow(session, [enqueue(session, SetUpTarget(row.id))])
    row = reloaded(session, row)
    offered = row.facts.get(target_setup.OFFERED_HOST_KEY)
    if not isinstance(offered, dict):
        raise NotFound(mark("identity of a host"), name)
    if offered["fingerprint"] != fingerprint:
        raise TargetIdentityChanged(row.name, fingerprint, offered["fingerprint"])
    _pin(session, row, offered["host_key"])
    return Answer(
        target_body(reloaded(session, row)),
        lambda out: out.print(session.say(mark("The identity of «%(name)s» is confirmed."), name=name)),
    )  # fmt: skip


@click.command(
    "change",
    cls=Command,
    help=mark("Change a destination: its label, nature, distance, address or password."),
)
@click.argument("name", shell_complete=complete_targets)
@option("--label", help=mark("What people read instead of NAME."))
@option(
    "--nature", type=_NATURES, help=mark("What it is to the practice; without it nothing is sent.")
)
@option("--distance", "distance_km", type=click.IntRange(0, target_setup.MOST_KM), metavar="KM",
        help=mark("How far from this building it is."))  # fmt: skip
@option("--set", "pairs", multiple=True, metavar="FIELD=VALUE",
        help=mark("A field of its place, as «target show --json» names it; may be given several times."))  # fmt: skip
@option("--password", "asks_password", is_flag=True, help=mark("Ask for another password (sftp)."))
@option("--s3-keys", "asks_keys", is_flag=True, help=mark("Ask for other keys of the bucket (s3)."))
@answers
def change(
    session: Session,
    name: str,
    *,
    label: str | None,
    nature: str | None,
    distance_km: int | None,
    pairs: Sequence[str],
    asks_password: bool,
    asks_keys: bool,
) -> Answer:
    """Change a target."""
    row = find(session, name)
    secrets: dict[str, Secret] = {}
    if asks_password:
        secrets["password"] = Secret(ask(session, mark("Password")).encode())
    if asks_keys:
        access = ask(session, mark("Access key"), hide=False)
        secrets["s3"] = target_setup.s3_secret(access, ask(session, mark("Secret key")))
    with session.database.write() as connection:
        row = target_setup.change_target(
            connection,
            session.settings,
            row.id,
            label=label,
            place=_with(row, pairs) if pairs else None,
            nature=None if nature is None else Nature(nature),
            distance_km=target_setup.Keep.AS_IT_IS if distance_km is None else distance_km,
            secrets=secrets,
            person=None,
            now=utc_now(),
        )
    return Answer(
        target_body(row),
        lambda out: out.print(session.say(mark("«%(name)s» is changed."), name=name)),
    )


def _with(row: TargetRow, pairs: Sequence[str]) -> dict[str, Any]:
    values = dict(row.place)
    for pair in pairs:
        field, equals, value = pair.partition("=")
        if not equals or field not in values or field == "host_key":
            raise wrong("--set", mark("Write it as FIELD=VALUE, of a field of this destination."))
        before = values[field]
        if isinstance(before, bool):
            values[field] = value.lower() in {"1", "true", "yes", "oui"}
        elif isinstance(before, int):
            if not (value.isascii() and value.isdigit()):
                raise wrong(field, mark("a value of the right type."))
            values[field] = int(value)
        else:
            values[field] = value
    return values
