"""``armoire host``: the dossier of a certified host, and the two papers for it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from appliance.clock import utc_now
from appliance.commands.framework import Group, answers, complete_targets, option
from appliance.commands.session import Answer, ExitCode, Session, wrong
from appliance.commands.target_common import find
from appliance.db import copies, practice
from appliance.db.targets import TargetRow
from appliance.errors import InvalidInput
from appliance.jobs import target_setup
from appliance.jobs.copy_readings import verdict_of
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import Outcome
from appliance.policy import dossier as dossiers
from appliance.policy import letters
from appliance.policy import place as places
from appliance.policy.drills import PROOF
from appliance.policy.hosting import (
    CONTRACT_POINTS,
    CertificateState,
    Dossier,
    Nature,
    Verdict,
    contract_points,
)
from appliance.policy.wording import size_words

LETTERS: Final = ("designation", "reversibility")
_STATES: Final = {
    CertificateState.INCOMPLETE: mark("the dossier is incomplete"),
    CertificateState.VALID: mark("the certificate is valid"),
    CertificateState.TO_RENEW: mark("the certificate ends soon"),
    CertificateState.EXPIRED: mark("the certificate has ended"),
    CertificateState.SUSPENDED: mark("the certificate is suspended"),
}
_EXPECTED: Final = mark("Write it as FIELD=VALUE, of a field that «host show --json» names.")


@click.group("host", cls=Group, help=mark("The dossiers of certified health-data hosts."))
def host() -> None:
    """Hold the commands about hosts."""


@host.command(
    "add",
    help=mark(
        "Declare a destination to be at a certified health-data host, and begin its dossier.\n\n"
        "--set company=… --set siren=… --set activities=1,2,6 --set sites=Metz/FR;Lyon/FR "
        "--set contract.3=present --set professional=NAME/RPPS/2026-02-01; «» empties a field."
    ),
)
@click.argument("name", metavar="TARGET", shell_complete=complete_targets)
@option("--set", "pairs", multiple=True, metavar="FIELD=VALUE",
        help=mark("A field of the dossier; may be given several times."))  # fmt: skip
@option("--file", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=mark("A JSON file with fields of the dossier."))  # fmt: skip
@option("--document", "documents", multiple=True, metavar="KIND=FILE",
        help=mark("A paper whose hash is kept: certificate, contract, audit-summary …"))  # fmt: skip
@answers
def add(
    session: Session,
    name: str,
    *,
    pairs: Sequence[str],
    source: Path | None,
    documents: Sequence[str],
) -> Answer:
    """Begin a dossier."""
    row = find(session, name)
    changes = _changes(row, pairs, source, documents)
    with session.database.write() as connection:
        target_setup.change_target(
            connection,
            session.settings,
            row.id,
            nature=Nature.CERTIFIED_HOST,
            person=None,
            now=utc_now(),
        )
        target_setup.set_dossier(connection, row.id, changes, person=None, now=utc_now())
    return _shown(session, name)


@host.command("edit", help=mark("Change fields of a host's dossier; the others stay."))
@click.argument("name", metavar="TARGET", shell_complete=complete_targets)
@option("--set", "pairs", multiple=True, metavar="FIELD=VALUE",
        help=mark("A field of the dossier; may be given several times."))  # fmt: skip
@option("--file", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=mark("A JSON file with fields of the dossier."))  # fmt: skip
@option("--document", "documents", multiple=True, metavar="KIND=FILE",
        help=mark("A paper whose hash is kept: certificate, contract, audit-summary …"))  # fmt: skip
@answers
def edit(
    session: Session,
    name: str,
    *,
    pairs: Sequence[str],
    source: Path | None,
    documents: Sequence[str],
) -> Answer:
    """Change a dossier."""
    row = find(session, name)
    changes = _changes(row, pairs, source, documents)
    if not changes:
        raise wrong("--set", _EXPECTED)
    with session.database.write() as connection:
        target_setup.set_dossier(connection, row.id, changes, person=None, now=utc_now())
    return _shown(session, name)


@host.command(
    "show", help=mark("Show a host's dossier, what it lacks, and whether copies may be sent there.")
)
@click.argument("name", metavar="TARGET", shell_complete=complete_targets)
@answers
def show_host(session: Session, name: str) -> Answer:
    """Show a dossier."""
    return _shown(session, name)


@host.command(
    "letter",
    help=mark(
        "Print a paper for the host as HTML, in French: «designation» names the health professional who may "
        "reach the data, «reversibility» says how everything comes back."
    ),
)
@click.argument("name", metavar="TARGET", shell_complete=complete_targets)
@click.argument("paper", type=click.Choice(LETTERS), default="designation")
@option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help=mark("Write it to this file.")
)
@answers
def letter(session: Session, name: str, paper: str, *, out: Path | None) -> Answer:
    """Print a letter."""
    row = find(session, name)
    text, missing = _paper(session, row, paper)
    if out is not None:
        try:
            out.write_text(text, "utf-8")
        except OSError as error:
            raise InvalidInput("--out", mark("a file that can be written.")) from error

    def show(console: Console) -> None:
        if out is None:
            console.print(text, soft_wrap=True)
        else:
            console.print(Text(session.say(mark("Written to %(path)s: open it in a browser and print it."), path=str(out))))  # fmt: skip
            if missing:
                console.print(session.say(mark("The dossier is incomplete: the paper has dotted lines to fill in.")))  # fmt: skip

    body = {"target": row.name, "paper": paper, "path": None if out is None else str(out),
            "html": text if out is None else None, "missing": list(missing)}  # fmt: skip
    return Answer(body, show, ExitCode.WARNED if missing else ExitCode.DONE)


# --- showing ---------------------------------------------------------------------------------


def _shown(session: Session, name: str) -> Answer:
    row = find(session, name)
    dossier = dossiers.parse(row.dossier)
    verdict = verdict_of(row, session.in_force, utc_now())

    def show(out: Console) -> None:
        out.print(Text(f"{row.label} — {dossier.company or '–'}"))
        if verdict.state is not None:
            left = "" if verdict.days_left is None else f" ({verdict.days_left} d)"
            out.print(Text(session.say(_STATES[verdict.state]) + left))
        out.print(session.say(
            mark("Copies may be sent there.") if verdict.may_send else mark("Nothing new is sent there.")
        ))  # fmt: skip
        for each in verdict.remarks:
            sign, colour = ("✗", "red") if each.blocks else ("!", "yellow")
            out.print(Text(f"{sign} {session.say(each.text, **each.facts)}"), style=colour)
        for number, text in enumerate(contract_points(), 1):
            state = dossier.contract.get(number)
            out.print(
                Text(f"  {number:2}. {'–' if state is None else state.value:8} {session.say(text)}")
            )

    code = ExitCode.DONE if verdict.may_send else ExitCode.WARNED
    return Answer(_body(session, row, dossier, verdict), show, code)


def _body(
    session: Session, row: TargetRow, dossier: Dossier, verdict: Verdict
) -> dict[str, object]:
    return {
        "target": row.name,
        "nature": row.nature,
        "dossier": dossiers.to_stored(dossier),
        "may_send": verdict.may_send,
        "state": None if verdict.state is None else verdict.state.value,
        "days_left": verdict.days_left,
        "remarks": [
            {
                "code": each.code,
                "blocks": each.blocks,
                "text": session.say(each.text, **each.facts),
            }
            for each in verdict.remarks
        ],
    }


# --- papers ----------------------------------------------------------------------------------


def _paper(session: Session, row: TargetRow, paper: str) -> tuple[str, tuple[str, ...]]:
    dossier = dossiers.parse(row.dossier)
    zone = session.zone
    today = utc_now().astimezone(zone).date()
    with session.database.read() as connection:
        named, postal = practice.name(connection), practice.address(connection)
        kept = [each for each in copies.generations(connection, row.id) if each.published_at]
        drill = proofs.latest_of_target(connection, row.id, PROOF, Outcome.PROVEN)
    if paper == "designation":
        written = letters.designation(dossier, practice=named, postal=postal, today=today)
        return render(paper, letter=written), written.missing
    newest = kept[0] if kept else None
    sheet = letters.reversibility(
        dossier,
        practice=named,
        target=row.label,
        kind=row.kind,
        where=places.where(places.parse(row.kind, row.place)),
        generations=len(kept),
        newest_on=None if newest is None else newest.taken_at.astimezone(zone).date(),
        objects=0 if newest is None else newest.files,
        size=size_words(0 if newest is None else newest.plain_bytes, "fr"),
        last_drill_on=None if drill is None else drill.at.astimezone(zone).date(),
        today=today,
    )
    return render(paper, sheet=sheet), sheet.missing


def render(paper: str, **values: object) -> str:
    """Return a paper as one HTML file that needs nothing else; the pages' own templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - only here

    pages = Environment(
        loader=PackageLoader("appliance.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = files("appliance.web").joinpath("static", "letter.css").read_text("utf-8")
    return pages.get_template(f"letters/{paper}.html").render(
        stylesheet=None, styles=styles, **values
    )


# --- reading what a person wrote -------------------------------------------------------------


def _changes(
    row: TargetRow, pairs: Sequence[str], source: Path | None, documents: Sequence[str]
) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if source is not None:
        try:
            read = json.loads(source.read_bytes())
        except (OSError, ValueError) as error:
            raise wrong("--file", mark("A JSON file with fields of the dossier.")) from error
        if not isinstance(read, dict):
            raise wrong("--file", mark("A JSON file with fields of the dossier."))
        changes.update(read)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise wrong("--set", _EXPECTED)
        _set(changes, name.strip(), value.strip())
    if documents:
        kept = [*row.dossier.get("documents", [])]
        for each in documents:
            kind, equals, path = each.partition("=")
            if not equals:
                raise wrong("--document", mark("Write it as KIND=FILE."))
            kept.append({"kind": kind, "sha256": _digest(Path(path))})
        changes["documents"] = kept
    return changes


def _set(changes: dict[str, Any], name: str, value: str) -> None:
    head, dot, rest = name.partition(".")
    if head == "contract" and dot:
        changes.setdefault("contract", {}).update(dict.fromkeys(_points(rest), value))
    elif name in _PARSED:
        changes[name] = _PARSED[name](value)
    else:
        changes[name] = value


def _points(text: str) -> list[str]:
    """Return the points of «3», «1-14» or «1,3»."""
    found: list[str] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise wrong("--set", _EXPECTED)
        end = min(int(last), CONTRACT_POINTS + 1) if dash else int(first)
        found += [str(point) for point in range(int(first), end + 1)]
    return found


def _numbers(value: str) -> list[int]:
    parts = [each.strip() for each in value.split(",") if each.strip()]
    if not all(each.isascii() and each.isdigit() for each in parts):
        raise wrong("activities", mark("numbers from 1 to 6."))
    return [int(each) for each in parts]


def _list(value: str) -> list[str]:
    return [each.strip() for each in value.split(";") if each.strip()]


def _sites(value: str) -> list[dict[str, str]]:
    return [
        {"city": city.strip(), "country": country.strip()}
        for city, _, country in (each.rpartition("/") for each in _list(value))
    ]


def _subcontractors(value: str) -> list[dict[str, object]]:
    """Read «Name/role/certified/1,2; …»: the last two may be left out."""
    found: list[dict[str, object]] = []
    for each in _list(value):
        name, role, certified, activities = ([part.strip() for part in each.split("/")] + [""] * 3)[
            :4
        ]
        found.append({"name": name, "role": role, "is_certified": certified == "certified",
                      "activities": _numbers(activities)})  # fmt: skip
    return found


def _person(value: str) -> Mapping[str, str]:
    """Read «Dr Claire Morel/10001234567/2026-02-01»; without a day, since today."""
    if not value:
        return {}
    name, rpps, since = ([part.strip() for part in value.split("/")] + ["", ""])[:3]
    return {"name": name, "rpps": rpps, "designated_on": since or utc_now().date().isoformat()}


def _days(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise wrong("grace_days", mark("a number of days from 0 to 90."))
    return int(value)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise wrong("--document", mark("A file that can be read.")) from error


_PARSED: Final = {
    "activities": _numbers,
    "sites": _sites,
    "subcontractors": _subcontractors,
    "foreign_laws": _list,
    "products": _list,
    "professional": _person,
    "deputy": _person,
    "grace_days": _days,
}
