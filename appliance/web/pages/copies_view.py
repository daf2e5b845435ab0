"""What the pages say about a target: the words for its kind, its nature, its place, and its jobs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from appliance.db import targets
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import InvalidInput
from appliance.jobs import queue
from appliance.jobs.copy_readings import CopyStatus, nature_of, place_of
from appliance.jobs.kinds import (
    AdoptCopy,
    CheckTarget,
    PushCopy,
    RunDrill,
    SetUpTarget,
    TamperCopy,
    VerifyCopy,
)
from appliance.language import mark
from appliance.model import Job, JobState, Outcome, Proof
from appliance.policy import dossier as dossiers
from appliance.policy.copies import Indicator, Missing
from appliance.policy.copy_status import COPY_LEVEL_NAMES
from appliance.policy.hosting import Dossier, Nature
from appliance.policy.place import BoxPlace, DirectoryPlace, S3Place, SftpPlace
from appliance.policy.status import Level, worst
from appliance.web.pages import tones
from appliance.web.pages.copies_names import ZONE_NAMES
from appliance.web.pages.copy_map import Drawing, Names, Spot, Symbol, Zone, draw
from appliance.web.render import Words

_ZONES: Final[dict[Nature | None, Zone]] = {
    None: Zone.UNDECLARED,
    Nature.OTHER: Zone.UNDECLARED,
    Nature.SAME_PRACTICE_HERE: Zone.HERE,
    Nature.SAME_PRACTICE_ELSEWHERE: Zone.ELSEWHERE,
    Nature.CERTIFIED_HOST: Zone.HOST,
}
#: The kinds of jobs about one target, those people wait for first.
JOB_KINDS: Final = tuple(
    each.kind
    for each in (PushCopy, VerifyCopy, TamperCopy, AdoptCopy, RunDrill, SetUpTarget, CheckTarget)
)


def dossier_of(row: TargetRow) -> Dossier:
    """Return the host's dossier; an empty one when it cannot be read."""
    try:
        return dossiers.parse(row.dossier)
    except InvalidInput:
        return Dossier()


def zone_of(row: TargetRow) -> Zone:
    """Return where on the map a target belongs: by what an owner doctor declared, never by its kind."""
    return _ZONES[nature_of(row)]


def symbol_of(row: TargetRow) -> Symbol:
    """Return what is drawn for a target."""
    if row.kind == "directory":
        return Symbol.DISK
    if row.kind == "box":
        return Symbol.BUILDING
    return Symbol.HOST if row.kind in {"sftp", "s3"} else Symbol.UNKNOWN


def place_words(row: TargetRow) -> str:
    """Return the address of a target, as far as a person wants to read it; no secret, no key."""
    match place_of(row):
        case DirectoryPlace() as disk:
            return disk.folder or disk.disk_id[:8]
        case SftpPlace(host=host) | BoxPlace(host=host):
            return host
        case S3Place() as bucket:
            return f"{bucket.bucket} · {bucket.region}"
        case _:
            return ""


def where_words(row: TargetRow, words: Words) -> str:
    """Return «Roubaix (FR) · 220 km»: the host's city and how far away it is, as far as declared."""
    parts = []
    sites = dossier_of(row).sites
    if nature_of(row) is Nature.CERTIFIED_HOST and sites:
        city = sites[0].city or sites[0].country
        parts.append(f"{city} ({sites[0].country})" if sites[0].city else city)
    elif row.kind == "directory":
        parts.append(
            words.text(mark("removable disk")) if is_removable(row) else words.text(mark("disk"))
        )
    else:
        parts.append(place_words(row))
    if row.distance_km is not None and zone_of(row) is not Zone.HERE:
        parts.append(words.text(mark("%(km)s km"), km=words.number(row.distance_km)))
    return " · ".join(part for part in parts if part)


def is_removable(row: TargetRow) -> bool:
    """Return whether it is a disk that is taken away between two copies."""
    place = place_of(row)
    return isinstance(place, DirectoryPlace) and place.is_removable


def by_name(connection: Connection, name: str) -> TargetRow:
    """Return the living target called ``name``.

    Raises:
        NotFound: there is none.
    """
    return targets.get_by_name(connection, name)


def newest_jobs(connection: Connection, target_id: TargetId, kinds: Iterable[str]) -> list[Job]:
    """Return the newest job of each kind about a target, those that exist, in the order of ``kinds``."""
    found = []
    for kind in kinds:
        jobs = queue.newest(connection, limit=60, kind=kind)
        mine = next((job for job in jobs if job.spec.get("target_id") == target_id), None)
        if mine is not None:
            found.append(mine)
    return found


def at_work(connection: Connection) -> dict[int, list[Job]]:
    """Return what runs or waits about each target, by its id; oldest first."""
    found: dict[int, list[Job]] = {}
    for job in queue.waiting(connection):
        target_id = job.spec.get("target_id")
        if job.kind in JOB_KINDS and isinstance(target_id, int):
            found.setdefault(target_id, []).append(job)
    return found


def transfer(jobs: Iterable[Job]) -> Job | None:
    """Return the job that is sending just now, of one target's."""
    return next(
        (job for job in jobs if job.kind == PushCopy.kind and job.state is JobState.RUNNING), None
    )


def facts_text(facts: Mapping[str, object], name: str) -> str:
    """Return a fact that is a text, or «»."""
    value = facts.get(name)
    return value if isinstance(value, str) else ""


# --- the truth about copies, in words ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One part of 3-2-1, and whether it is so."""

    figure: str  # «3», «2», «1»
    text: str
    said: str  # what was found
    is_met: bool


def rule_lines(indicator: Indicator, words: Words) -> list[RuleLine]:
    """Return 3-2-1 in words: three copies, two kinds of media, one elsewhere, one disconnected."""
    missing = set(indicator.missing)
    yes, no = mark("yes"), mark("not yet")
    return [
        RuleLine(
            "3",
            mark("copies known to be good, the originals included"),
            words.number(indicator.copies),
            Missing.COPIES not in missing,
        ),
        RuleLine(
            "2",
            mark("kinds of media, so that one weakness does not take all"),
            words.number(indicator.media),
            Missing.MEDIA not in missing,
        ),
        RuleLine(
            "1",
            mark("copy in another building: for a fire, a flood, a theft"),
            words.text(yes if indicator.has_offsite else no),
            Missing.OFFSITE not in missing,
        ),
        RuleLine(
            "1",
            mark("copy disconnected from everything: for an attacker with our keys"),
            words.text(yes if indicator.has_offline else no),
            Missing.OFFLINE not in missing,
        ),
    ]


def overall_tone(statuses: Sequence[CopyStatus]) -> str:
    """Return the tone of the worst copy; without one, a warning: everything is in one building."""
    return tones.LEVEL[worst([each.level for each in statuses])] if statuses else tones.WARN


def overall_sentence(statuses: Sequence[CopyStatus], words: Words) -> str:
    """Return one sentence about all copies: all is well, or the worst thing first."""
    if not statuses:
        return words.text(
            mark(
                "All these backups are in the building of the box: a fire or a theft takes them too."
            )
        )
    green = [each for each in statuses if each.is_green]
    ages = [words.now - each.proven_at for each in green if each.proven_at is not None]
    if len(green) == len(statuses) and ages:
        return words.count(
            "Sealed, sent and verified: %(count)s copy besides this box, of %(age)s ago.",
            "Sealed, sent and verified: %(count)s copies besides this box, the newest of %(age)s ago.",
            len(statuses),
            age=words.span(min(ages)),
        )
    bad = worst([each.level for each in statuses])
    first = next(each for each in statuses if each.level is bad)
    said = first.sentence.words(words.language)
    others = len(statuses) - len(green) - 1
    if others <= 0:
        return said
    return f"{said} " + words.count(
        "%(count)s other copy needs attention.",
        "%(count)s other copies need attention.",
        others,
    )


def picture(
    statuses: Sequence[CopyStatus], busy: Mapping[int, list[Job]], words: Words
) -> tuple[Drawing, Drawing]:
    """Return the map of the copies: the drawing for a screen and the one for a phone."""
    names = Names(
        words.text(ZONE_NAMES[Zone.HERE]), {zone: words.text(ZONE_NAMES[zone]) for zone in Zone}
    )
    return draw([_spot(each, busy.get(each.target.id, []), words) for each in statuses], names)


def _spot(status: CopyStatus, jobs: Sequence[Job], words: Words) -> Spot:
    row = status.target
    sending = transfer(jobs)
    if sending is not None:
        speed = sending.progress.bytes_per_s
        lag = (
            words.text(mark("sending, %(speed)s/s"), speed=words.size(speed))
            if speed
            else words.text(mark("sending"))
        )
    elif status.newest_at is None:
        lag = words.text(mark("nothing yet"))
    else:
        lag = words.ago(status.newest_at)
    state = words.text(COPY_LEVEL_NAMES[status.level])
    is_first = sending is not None and status.level is Level.UNKNOWN
    if is_first:
        state = words.text(mark("first copy under way"))
    where = where_words(row, words)
    if status.is_offline:
        where = words.text(mark("%(what)s, unplugged"), what=where)
    zone = words.text(ZONE_NAMES[zone_of(row)])
    said = f"{row.label}. {zone}, {where}. {status.sentence.words(words.language)}"
    return Spot(
        href=f"/copies/{row.name}",
        label=row.label,
        zone=zone_of(row),
        symbol=symbol_of(row),
        where=where,
        lag=lag,
        tone=tones.BUSY if is_first else level_tone(status),
        state=state,
        said=said,
        is_away=status.is_offline,
        is_sending=sending is not None,
    )


def copy_name(target_id: object, names: Mapping[int, str]) -> str | None:
    """Return the name of the copy a finding is about, or None."""
    return names.get(target_id) if isinstance(target_id, int) else None


def level_tone(status: CopyStatus) -> str:
    """Return the tone of one copy."""
    return tones.LEVEL[status.level]


@dataclass(frozen=True, slots=True)
class ProofLine:
    """What was asked about a copy, and what the answer proves."""

    question: str
    text: str
    facts: Mapping[str, object]
    tone: str
    at: datetime | None


_NEVER: Final = mark("Not asked yet.")
_UNCLEAR: Final = mark("It could not be found out the last time.")


def proof_lines(status: CopyStatus) -> list[ProofLine]:
    """Return the questions a person has about a copy, each with its newest answer."""
    since = status.read_back_since
    read_back = (
        mark("Part of it came back and was compared, byte by byte.")
        if since is None
        else mark("Every object came back and was compared since %(day)s.")
    )
    lines = [
        _line(
            mark("Is everything there?"),
            status.last_listing,
            mark("The place lists everything that was sent."),
            mark("The place does not list everything that was sent."),
        ),
        _line(
            mark("Is it still what was sent?"),
            status.last_read_back,
            read_back,
            mark("Something that came back is not what was sent."),
            day="" if since is None else since,
        ),
        _line(
            mark("Does it hold a whole box?"),
            status.last_complete,
            mark("A complete state of the box lies there: signed, in order, nothing missing."),
            mark("No complete state of the box was found there."),
        ),
    ]
    judged, tamper = status.immutability, status.last_tamper
    question = mark("Could a thief with our key destroy it?")
    if judged is None or tamper is None:
        lines.append(ProofLine(question, mark("Not tried yet."), {}, tones.CALM, None))
    else:
        tone = tones.GOOD if status.is_immutable_shown else tones.WARN
        lines.append(ProofLine(question, judged.text, {}, tone, tamper.at))
    return lines


def _line(question: str, proof: Proof | None, good: str, bad: str, **facts: object) -> ProofLine:
    if proof is None:
        return ProofLine(question, _NEVER, {}, tones.CALM, None)
    text = {Outcome.PROVEN: good, Outcome.FAILED: bad}.get(proof.outcome, _UNCLEAR)
    return ProofLine(question, text, facts, tones.OUTCOME[proof.outcome], proof.at)
