"""The second half of the demonstration: a host of copies, a kit, a push, its proofs, and a drill.

What a person does with paper and two hands is done here by the demonstration itself, and said so: it
confirms its own kit, and keeps the words in a file beside the practice, which no real box ever does.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from appliance.clock import utc_now
from appliance.commands.drill import follow_drill
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.session import Answer, ExitCode, Session
from appliance.db import copies, targets
from appliance.db.targets import TargetId, TargetRow
from appliance.demo.practice import HOST_OF_COPIES, Practice
from appliance.demo.servers import HOST
from appliance.errors import NotFound
from appliance.jobs import drill_asking, kit_readings, kit_words, target_setup
from appliance.jobs.copy_readings import copy_status
from appliance.jobs.kinds import PushCopy, SetUpTarget
from appliance.language import mark
from appliance.ledger import proofs
from appliance.policy.copy_status import CopyProof
from appliance.policy.hosting import Nature
from appliance.policy.place import SftpPlace
from appliance.policy.wording import size_words
from appliance.replication import kit, kit_documents
from appliance.vault import words

LABEL: Final = "Hébergeur de démonstration"
HOLDER: Final = "Démonstration"
DISTANCE_KM: Final = 12


def prepare_copies(session: Session, practice: Practice) -> TargetRow:
    """Tell the box about its host and give it a kit, as a person would; what is there already stays."""
    _own_kit(session, practice)
    row = _host(session, practice)
    _own_kit_file(session, practice)
    return row


def sheet_of(practice: Practice) -> Path:
    """Return the file with the words of the demonstration's sheet."""
    return practice.folder / HOST_OF_COPIES / "feuille-de-demonstration.txt"


def _own_kit(session: Session, practice: Practice) -> None:
    settings, now = session.settings, utc_now()
    place = sheet_of(practice)
    with session.database.read() as connection:
        if kit_words.state(connection).confirmed_at is not None:
            return
    place.parent.mkdir(parents=True, exist_ok=True)
    with session.database.write() as connection:
        (sheet,) = kit.split(connection, settings.keys, needed=1, holders=[HOLDER], now=now)
        text = " ".join(sheet.words)
        place.touch(mode=0o600)
        place.write_text(text + "\n", "ascii")
        kit_words.confirm(connection, [text], now=now)
    session.database.forget_for_good()
    if not session.as_json:
        session.err.print(
            Panel(
                session.say(
                    mark(
                        "Only in this demonstration: the box confirmed its own recovery kit. On a real box "
                        "the sheets are printed, kept by people, and typed in by one of them; no copy of "
                        "the words stays on the box. Here they lie in %(place)s, for the exercise."
                    ),
                    place=place,
                ),
                title=session.say(mark("Recovery kit no. %(number)s"), number=sheet.kit_number),
                border_style="yellow",
            )
        )


def _own_kit_file(session: Session, practice: Practice) -> None:
    """Write the kit file that a person would keep on a USB stick, when what it says has changed."""
    if not sheet_of(practice).exists():
        return  # a real kit, in people's hands
    place = practice.folder / HOST_OF_COPIES / "armoire.kit"
    with session.database.write() as connection:
        if place.exists() and kit_readings.is_file_fresh(connection):
            return
        place.touch(mode=0o600)
        place.write_bytes(kit_documents.write_file(connection, session.settings, now=utc_now()))
    session.tell(
        mark("Its kit file is %(place)s: what «armoire recover --kit» asks for."), place=place
    )


def _host(session: Session, practice: Practice) -> TargetRow:
    server = practice.host
    practice.copies.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = SftpPlace(HOST, server.user, server.port, str(practice.copies))
    # We made this server's key ourselves a moment ago: it needs no comparing by eye.
    pinned = replace(place, host_key=server.host_key)
    now = utc_now()
    with session.database.write() as connection:
        try:
            row = targets.get_by_name(connection, HOST_OF_COPIES)
        except NotFound:
            row = target_setup.add_target(
                connection,
                session.settings,
                name=HOST_OF_COPIES,
                label=LABEL,
                kind="sftp",
                place=place,
                nature=Nature.SAME_PRACTICE_ELSEWHERE,
                distance_km=DISTANCE_KM,
                secrets={},
                person=None,
                now=now,
            )
            target_setup.confirm_host_key(connection, row.id, server.host_key, person=None, now=now)
        else:
            if row.place["port"] != server.port:
                target_setup.change_target(
                    connection, session.settings, row.id, place=pinned, person=None, now=now
                )
    if target_setup.PUBLIC_KEY not in row.facts:
        follow(session, [enqueue(session, SetUpTarget(row.id))])
        with session.database.read() as connection:
            row = targets.get(connection, row.id)
    # The line a person pastes at the host.
    server.authorize(str(row.facts[target_setup.PUBLIC_KEY]))
    return row


def send(session: Session, row: TargetRow) -> Answer:
    """Push, verify, try to harm the copy, and show what is proven of it."""
    session.tell(mark("The copy goes to «%(label)s», sealed."), label=row.label)
    jobs = follow(session, [enqueue(session, PushCopy(row.id))])
    now = utc_now()
    with session.database.read() as connection:
        status = copy_status(connection, session.settings, targets.get(connection, row.id), now)
        newest = next(
            (each for each in copies.generations(connection, row.id) if each.published_at), None
        )
        found = {
            kind: proofs.latest_of_target(connection, row.id, kind.value)
            for kind in (
                CopyProof.LISTING, CopyProof.READ_BACK, CopyProof.COMPLETE, CopyProof.TAMPER
            )
        }  # fmt: skip
    outcomes = {kind.value: one.outcome.value for kind, one in found.items() if one is not None}
    body = {
        "target": row.name,
        "level": status.level.value,
        "generation": None if newest is None else newest.number,
        "new_bytes": None if newest is None else newest.new_bytes,
        "proofs": outcomes,
    }

    def show(out: Console) -> None:
        language = session.language
        if newest is not None:
            out.print(
                session.say(
                    mark(
                        "Generation %(number)s: %(sent)s sent, %(whole)s in all, %(files)s files."
                    ),
                    number=newest.number,
                    sent=size_words(newest.new_bytes, language),
                    whole=size_words(newest.plain_bytes, language),
                    files=newest.files,
                )
            )
        out.print(Text(status.sentence.words(language)))
        tamper = found[CopyProof.TAMPER]
        if tamper is not None and not status.is_immutable_shown:
            out.print(
                Text(
                    session.say(
                        mark("Tried with the box's own key: this host lets a copy be removed. "
                             "Only a locked bucket, another box or a disk in a drawer holds against that.")
                    ),
                    style="yellow",
                )
            )  # fmt: skip

    return Answer(body, show, exit_code_of(jobs))


def exercise(session: Session, practice: Practice, target_id: TargetId) -> Answer | None:
    """Make the box again from the copy; None when the kit is a real one, whose words we do not have."""
    try:
        typed = sheet_of(practice).read_text("ascii")
    except FileNotFoundError:
        session.tell(mark("The kit was confirmed by a person: only they can begin an exercise."))
        return None
    session.tell(
        mark("An exercise: the box is made again beside itself, from the copy and the words alone.")
    )
    job_id = drill_asking.ask(
        session.database, session.settings, target_id, words.join([typed]), now=utc_now()
    )
    return follow_drill(session, job_id)


def worst(answers: list[Answer]) -> ExitCode:
    """Return the gravest code of these."""
    return ExitCode(max((each.exit_code for each in answers), default=ExitCode.DONE))
