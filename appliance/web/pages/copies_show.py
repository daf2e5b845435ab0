"""One copy: what was proven about it, its generations, its timetable, and what can be done with it."""

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Annotated, ClassVar, Final

from fastapi import APIRouter, Form, Request
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.responses import Response

from appliance.clock import utc_now
from appliance.db import copies
from appliance.db.copies import GenerationRow
from appliance.db.targets import TargetRow
from appliance.errors import InvalidInput
from appliance.jobs import copy_readings
from appliance.jobs.copy_readings import CopyStatus, nature_of, place_of
from appliance.language import Language, mark, translate
from appliance.model import Job, JobState
from appliance.policy import bandwidth, disk_state
from appliance.policy.bandwidth import Rule
from appliance.policy.hosting import Nature
from appliance.policy.immutability import ACTION_TEXTS
from appliance.policy.place import S3Place, where
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, needs
from appliance.web.pages import tones
from appliance.web.pages.copies import (
    CopyLine,
    Transfer,
    TransfersFragment,
    line_of,
    pace_of,
    running_now,
)
from appliance.web.pages.copies_add import NATURES
from appliance.web.pages.copies_names import KIND_NAMES, NATURE_NAMES
from appliance.web.pages.copies_view import at_work, by_name
from appliance.web.pages.home import ToDo
from appliance.web.pages.job_view import JobView, view
from appliance.web.pages.plan import DAYS
from appliance.web.render import Page, Words, refreshed, render, words_of

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]

SHOWN: Final = 12  # generations on the page
#: Rows of the timetable's form, empty ones included.
RULES: Final = 6
#: kB/s in the form; a pause is 0.
_KILO: Final = 1000
CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")

QUESTIONS: Final[dict[str, str]] = {
    "lock": mark("Does a lock keep objects from being deleted?"),
    "versioning": mark("Are older versions kept?"),
    "lifecycle": mark("Does the host delete anything by itself?"),
    "public-access": mark("Can strangers get in?"),
    "region": mark("In which country does it lie?"),
    "encryption": mark("Does the host encrypt too?"),
}
ATTEMPTS: Final[dict[str, tuple[str, str]]] = {
    "refused": (tones.GOOD, mark("refused")),
    "without-effect": (tones.GOOD, mark("accepted, but the copy is still whole")),
    "done": (tones.BAD, mark("it worked")),
    "unknown": (tones.WARN, mark("could not be tried")),
}
_STATES: Final = {"ok": tones.GOOD, "bad": tones.BAD, "unknown": tones.WARN}


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One way to harm the copy that was tried."""

    what: str
    tone: str
    outcome: str
    detail: str
    action: str  # ``policy.immutability.Action``
    how: str  # refused · without-effect · done · unknown


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """One question about a bucket, with the age of its answer."""

    question: str
    tone: str
    text: str
    facts: dict[str, object]
    at: datetime | None
    name: str  # of the question: lock · versioning …
    state: str  # ok · bad · unknown


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One row of the timetable's form."""

    number: int
    days: frozenset[int]
    start: str
    end: str
    rate: str  # kB/s


@dataclass(frozen=True, slots=True)
class Upload:
    """One sending that ended well, on the chart."""

    at: datetime
    sent_bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes per second, over all."""
        return self.sent_bytes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class CopyPage(Page):
    """Everything copies/show.html may use."""

    template: ClassVar[str] = "copies/show.html"
    line: CopyLine
    status: CopyStatus
    target: TargetRow
    kind_name: str
    nature_name: str | None
    natures: tuple[tuple[str, str, str], ...]
    place_name: str
    disk_says: tuple[str, str] | None  # tone and text: may the disk be taken away?
    is_host: bool
    is_bucket: bool
    todo: list[ToDo]
    generations: list[GenerationRow]
    attempts: list[AttemptLine]
    tampered_at: datetime | None
    answers: list[AnswerLine]
    rules: list[RuleRow]
    days: tuple[str, ...]
    rate_now: str  # how fast copies may leave just now, in words
    next_change: datetime | None
    uploads: list[Upload]  # oldest first
    recent: list[JobView]
    transfers: list[Transfer]
    waiting: int
    poll_s: int
    done: str | None
    problems: tuple[tuple[str, str], ...] = ()


DONE: Final = {
    "queued": mark("It is on the list of tasks."),
    "waiting": mark("It is on the list of tasks already."),
    "bandwidth": mark("The timetable was kept. A copy under way obeys it within seconds."),
    "changed": mark("The change was kept."),
}


@router.get("/copies/{name}", name="copy", dependencies=[needs(Action.COPIES_SEE)])
async def show_copy(request: Request, box: TheBox, name: str, done: str = "") -> Response:
    """Show everything about a copy."""
    words = words_of(request)
    page = await box.read_aside(lambda c: gather(c, box, words, name, DONE.get(done)))
    return render(request, page)


@router.get("/live/copies/{name}", name="live-copy", dependencies=[needs(Action.COPIES_SEE)])
async def poll_copy(request: Request, box: TheBox, name: str, pace: int = 0) -> Response:
    """Return what is done about a copy; when work begins or ends, the page is loaded anew."""
    with box.database.read() as connection:
        row = by_name(connection, name)
        transfers, waiting = running_now(at_work(connection), {int(row.id): (row.label, row.name)})
    if pace and pace != pace_of(transfers, waiting):
        return refreshed()
    return render(request, TransfersFragment(transfers, waiting))


def gather(connection: Connection, box: Box, words: Words, name: str, done: str | None) -> CopyPage:
    """Return everything the page of a copy says."""
    now = utc_now()
    row = by_name(connection, name)
    status = copy_readings.copy_status(connection, box.settings, row, now)
    transfers, waiting = running_now(at_work(connection), {int(row.id): (row.label, row.name)})
    rules = rules_of(row)
    local = now.astimezone(box.zone)
    place = place_of(row)
    nature = nature_of(row)
    return CopyPage(
        line=line_of(status, words),
        status=status,
        target=row,
        kind_name=KIND_NAMES.get(row.kind, row.kind),
        nature_name=None if nature is None else NATURE_NAMES[nature],
        natures=NATURES,
        place_name="" if place is None else where(place),
        disk_says=disk_state.said(row.facts),
        is_host=nature is Nature.CERTIFIED_HOST,
        is_bucket=isinstance(place, S3Place),
        todo=[ToDo(one, tones.SEVERITY[one.severity], False) for one in status.reasons],
        generations=[
            each for each in copies.generations(connection, row.id) if each.published_at is not None
        ][:SHOWN],
        attempts=attempt_lines(row),
        tampered_at=None if status.last_tamper is None else status.last_tamper.at,
        answers=answer_lines(row),
        rules=rule_rows(rules),
        days=DAYS,
        rate_now=rate_words(bandwidth.rate_at(rules, local), words),
        next_change=bandwidth.next_change(rules, local),
        uploads=uploads_of(status),
        recent=[view(job, {}, now) for job in status.history[:6]],
        transfers=transfers,
        waiting=waiting,
        poll_s=pace_of(transfers, waiting),
        done=done,
    )


def rules_of(row: TargetRow) -> tuple[Rule, ...]:
    """Return the timetable of a copy; an empty one when it cannot be read."""
    try:
        return bandwidth.from_stored(row.bandwidth)
    except InvalidInput:
        return ()


def attempt_lines(row: TargetRow) -> list[AttemptLine]:
    """Return what the last night's attempts on the canary did, in words."""
    stored = row.facts.get("tamper")
    attempts = stored.get("attempts") if isinstance(stored, dict) else None
    found = []
    for one in attempts if isinstance(attempts, list) else []:
        if not isinstance(one, dict):
            continue
        how = str(one.get("outcome"))
        how = how if how in ATTEMPTS else "unknown"
        tone, outcome = ATTEMPTS[how]
        names = {action.value: text for action, text in ACTION_TEXTS.items()}
        action = str(one.get("action"))
        detail = str(one.get("detail") or "")
        found.append(AttemptLine(names.get(action, action), tone, outcome, detail, action, how))
    return found


def answer_lines(row: TargetRow) -> list[AnswerLine]:
    """Return what the bucket's host answered, each with when it last did."""
    stored = row.facts.get("bucket")
    answers = stored.get("answers") if isinstance(stored, dict) else None
    found = []
    for one in answers if isinstance(answers, list) else []:
        if not isinstance(one, dict):
            continue
        name, facts, state = str(one.get("name")), one.get("facts"), str(one.get("state"))
        found.append(
            AnswerLine(
                QUESTIONS.get(name, name),
                _STATES.get(state, tones.WARN),
                str(one.get("text", "")),
                dict(facts) if isinstance(facts, dict) else {},
                _moment(one.get("answered_at")),
                name,
                state if state in _STATES else "unknown",
            )
        )
    return found


def _moment(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def uploads_of(status: CopyStatus) -> list[Upload]:
    """Return what sendings that ended well moved, oldest first."""
    return [each for job in reversed(status.history) if (each := upload(job)) is not None]


def upload(job: Job) -> Upload | None:
    """Return what a sending moved; None for one that did not end well or moved nothing."""
    if job.state not in {JobState.SUCCEEDED, JobState.WARNED} or job.finished_at is None:
        return None
    sent = job.result.get("sent_bytes")
    if not isinstance(sent, int) or job.started_at is None:
        return None
    took = job.result.get("seconds")
    seconds = (
        float(took)
        if isinstance(took, int | float)
        else (job.finished_at - job.started_at).total_seconds()
    )
    return Upload(job.finished_at, sent, seconds)


def rate_words(bytes_s: int | None, words: Words) -> str:
    """Return how fast copies may leave, in words."""
    if bytes_s is None:
        return words.text(mark("as fast as the line"))
    if bytes_s == 0:
        return words.text(mark("nothing leaves"))
    return words.text(mark("at most %(speed)s/s"), speed=words.size(bytes_s))


def rule_rows(rules: tuple[Rule, ...]) -> list[RuleRow]:
    """Return the timetable's rows, empty ones after those that say something."""
    rows = [
        RuleRow(
            number,
            each.days,
            each.start.isoformat("minutes"),
            each.end.isoformat("minutes"),
            "" if each.bytes_s is None else str(each.bytes_s // _KILO),
        )
        for number, each in enumerate(rules)
    ]
    spare = range(len(rows), max(RULES, len(rows) + 1))
    return [*rows, *(RuleRow(number, frozenset(), "", "", "") for number in spare)]


def parse_rules(form: FormData, language: Language) -> tuple[list[Rule], list[tuple[str, str]]]:
    """Return the timetable out of the form, and what is wrong with it; rows without a day are left out."""
    rules: list[Rule] = []
    problems: list[tuple[str, str]] = []

    def wrong(number: int, text: str) -> None:
        problems.append((f"rule-{number}", translate(text, language)))

    for number in range(50):
        days = {int(str(each)) for each in form.getlist(f"days-{number}") if str(each).isdecimal()}
        if not days:
            continue
        start = str(form.get(f"start-{number}", "")).strip()
        end = str(form.get(f"end-{number}", "")).strip()
        rate = str(form.get(f"rate-{number}", "")).strip()
        if not CLOCK.fullmatch(start) or not CLOCK.fullmatch(end):
            wrong(number, mark("Two times, such as 08:00 and 19:00."))
        elif rate and (not rate.isdecimal() or len(rate) > 8):
            wrong(
                number, mark("A number of kilobytes per second; 0 is a pause, empty is no limit.")
            )
        elif not days <= bandwidth.EVERY_DAY:
            wrong(number, mark("Days from Monday to Sunday."))
        else:
            rules.append(
                Rule(
                    int(rate) * _KILO if rate else None,
                    frozenset(days),
                    time.fromisoformat(start),
                    time.fromisoformat(end),
                )
            )
    return rules, problems
