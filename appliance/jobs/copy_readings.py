"""What is stored about the copies, as ``policy.copy_status`` and ``policy.copies`` ask for it.

Pages, API, command line and home say the same because they all read through here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from appliance.db import copies, facts, forged, sources, targets
from appliance.db.targets import TargetRow
from appliance.errors import InvalidInput
from appliance.jobs import disks, queue
from appliance.jobs.kinds import PushCopy, VerifyCopy
from appliance.jobs.kit_readings import kit_findings
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import Job, JobState, Outcome, Proof, SourceKind
from appliance.policy import copies as three_two_one
from appliance.policy import dossier as dossiers
from appliance.policy import place as places
from appliance.policy.copies import MISSING_TEXTS, Copy, Indicator, Missing
from appliance.policy.copy_status import (
    IDENTITY_CODES,
    CopyJudgement,
    CopyProof,
    CopyReading,
    Sentence,
    host_notices,
    judge,
)
from appliance.policy.findings import Finding, Severity
from appliance.policy.hosting import Dossier, Nature, Verdict
from appliance.policy.hosting import judge as judge_hosting
from appliance.policy.immutability import Immutability
from appliance.policy.place import DirectoryPlace
from appliance.policy.status import Level, ProofKind
from appliance.settings import Settings

#: Pushes shown on a page.
HISTORY: Final = 60
_ELSEWHERE: Final = frozenset({Nature.SAME_PRACTICE_ELSEWHERE, Nature.CERTIFIED_HOST})


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """The truth about one copy, and everything a page shows of it."""

    target: TargetRow
    level: Level  # the same word as of sources; only PROVEN is green
    sentence: Sentence
    reasons: tuple[Finding, ...]  # why it is not green, gravest first
    generations: int
    newest_number: int | None
    newest_at: datetime | None  # the moment of the box that the newest generation holds
    published_at: datetime | None  # when that generation was complete there
    lag: timedelta | None  # age of newest_at; None while there is none
    proven_at: datetime | None  # the moment that is proven to lie there whole
    published_bytes: int  # plain bytes of the newest generation
    objects: int  # of the newest generation
    read_back_since: datetime | None  # every object was read back since then; None: not all yet
    unread_objects: int | None  # never read back; None: not known
    last_listing: Proof | None
    last_read_back: Proof | None
    last_complete: Proof | None
    last_tamper: Proof | None
    last_conformance: Proof | None
    is_immutable_shown: bool
    immutability: Immutability | None
    verdict: Verdict
    notices: tuple[Finding, ...]  # of the host's certificate
    last_push: Job | None  # the newest that ended
    running: Job | None  # a push under way, or waiting
    history: tuple[Job, ...]  # pushes, newest first
    is_removable: bool
    is_offline: bool  # disconnected just now
    is_offsite: bool  # in another building, as declared
    is_kit_confirmed: bool
    forged: int  # objects somebody else wrote, that nobody looked at
    judgement: CopyJudgement

    @property
    def is_green(self) -> bool:
        """Only what proofs say."""
        return self.level is Level.PROVEN


def copy_statuses(connection: Connection, settings: Settings, now: datetime) -> list[CopyStatus]:
    """Return the truth about every living target, by label."""
    return [copy_status(connection, settings, row, now) for row in targets.all_living(connection)]


def copy_status(
    connection: Connection, settings: Settings, row: TargetRow, now: datetime
) -> CopyStatus:
    """Return the truth about one target: a handful of indexed reads."""
    found = copies.summary(connection, row.id)
    pushes = queue.newest(connection, limit=HISTORY, kind=PushCopy.kind, lock=PushCopy(row.id).lock)
    ended = next((each for each in pushes if each.state in queue.ENDED), None)
    telling = _stranger_met(connection, row, ended) or ended
    # A push that is waiting to be tried again says less than one at work.
    running = next((each for each in pushes if each.state is JobState.RUNNING), None) or next(
        (each for each in pushes if each.state is JobState.QUEUED), None
    )
    latest = {kind: proofs.latest_of_target(connection, row.id, kind) for kind in CopyProof}
    verdict = verdict_of(row, settings, now)
    place = place_of(row)
    removable = isinstance(place, DirectoryPlace) and place.is_removable
    kit = facts.find(connection, "kit.confirmed_at") is not None
    strangers = forged.count_open(connection, row.id)
    judged = judge(
        CopyReading(
            target_id=row.id,
            label=row.label,
            kind=row.kind,
            created_at=row.created_at,
            verdict=verdict,
            is_kit_confirmed=kit,
            newest_at=None if found is None else found.taken_at,
            proofs=[each for each in latest.values() if each is not None],
            last_push_state=None if telling is None else telling.state,
            last_push_error=None if telling is None else telling.error_code,
            is_running=running is not None and running.state is JobState.RUNNING,
            is_removable=removable,
            carried_over=_carried_over(pushes),
            forged=strangers,
        ),
        now,
    )
    read_back = latest[CopyProof.READ_BACK]
    since = None if read_back is None else read_back.figures.get("since")
    unread = None if read_back is None else read_back.figures.get("unread")
    return CopyStatus(
        target=row,
        level=judged.level,
        sentence=judged.sentence,
        reasons=judged.reasons,
        generations=0 if found is None else found.generations,
        newest_number=None if found is None else found.number,
        newest_at=None if found is None else found.taken_at,
        published_at=None if found is None else found.published_at,
        lag=None if found is None else now - found.taken_at,
        proven_at=judged.proven_at,
        published_bytes=0 if found is None else found.plain_bytes,
        objects=0 if found is None else found.files,
        read_back_since=datetime.fromisoformat(since) if isinstance(since, str) else None,
        unread_objects=unread if isinstance(unread, int) else None,
        last_listing=latest[CopyProof.LISTING],
        last_read_back=read_back,
        last_complete=latest[CopyProof.COMPLETE],
        last_tamper=latest[CopyProof.TAMPER],
        last_conformance=latest[CopyProof.CONFORMANCE],
        is_immutable_shown=judged.is_immutable_shown,
        immutability=judged.immutability,
        verdict=verdict,
        notices=host_notices(row.id, row.label, verdict),
        last_push=ended,
        running=running,
        history=tuple(pushes),
        is_removable=removable,
        is_offline=removable
        and isinstance(place, DirectoryPlace)
        and not disks.is_plugged_in(place),
        is_offsite=nature_of(row) in _ELSEWHERE,
        is_kit_confirmed=kit,
        forged=strangers,
        judgement=judged,
    )


def _stranger_met(connection: Connection, row: TargetRow, push: Job | None) -> Job | None:
    """Return the newest verification when it met another box or host, and no push ended since."""
    found = queue.newest(
        connection, limit=1, states=queue.ENDED, kind=VerifyCopy.kind, lock=VerifyCopy(row.id).lock
    )
    if not found or found[0].error_code not in IDENTITY_CODES:
        return None
    return found[0] if push is None or found[0].id > push.id else None


def _carried_over(pushes: list[Job]) -> int:
    """Return how many repositories the newest push that published could not freeze."""
    good = {JobState.SUCCEEDED, JobState.WARNED}
    newest = next((each for each in pushes if each.state in good), None)
    found = 0 if newest is None else newest.result.get("carried_over", 0)
    return found if isinstance(found, int) else 0


def verdict_of(row: TargetRow, settings: Settings, now: datetime) -> Verdict:
    """Return whether new objects may be sent to a target; a dossier that cannot be read is an empty one."""
    try:
        dossier = dossiers.parse(row.dossier)
    except InvalidInput:
        dossier = Dossier()
    today = now.astimezone(ZoneInfo(settings.time_zone)).date()
    return judge_hosting(nature_of(row), dossier, today)


def nature_of(row: TargetRow) -> Nature | None:
    """Return what an owner doctor declared; a word of a newer program is none."""
    try:
        return None if row.nature is None else Nature(row.nature)
    except ValueError:
        return None


def place_of(row: TargetRow) -> places.Place | None:
    """Return where a target lies, or None when what is stored cannot be read."""
    try:
        return places.parse(row.kind, row.place)
    except InvalidInput:
        return None


def copies_indicator(
    connection: Connection,
    settings: Settings,
    now: datetime,
    known: list[CopyStatus] | None = None,
) -> Indicator:
    """Return where the practice stands with three copies, two media, one offline, one elsewhere.

    Args:
        connection: of the state.
        settings: of the box.
        now: aware UTC.
        known: what ``copy_statuses`` returned at that moment, when the caller has it already.
    """
    statuses = copy_statuses(connection, settings, now) if known is None else known
    return _indicator(connection, statuses, now)


def copy_findings(
    connection: Connection,
    settings: Settings,
    now: datetime,
    known: list[CopyStatus] | None = None,
) -> list[Finding]:
    """Return what needs doing about the copies, in no order; ``known`` as for ``copies_indicator``."""
    statuses = copy_statuses(connection, settings, now) if known is None else known
    found = [
        reason
        for each in statuses
        for reason in each.reasons
        if reason.code != "copy.kit-not-confirmed"  # said once, by the kit itself
    ]
    found += kit_findings(connection, now)
    if all(each.newest_at is None for each in statuses):
        # Green sources in a building that may burn are not the whole truth (domain.md SAV-10, SAV-18).
        found.append(
            Finding(
                "copies.none-elsewhere",
                Severity.NOTICE,
                mark(
                    "All these backups are in the building of the box: a fire or a theft takes them too."
                ),
                mark("Keep another copy in another building, disconnected or at a certified host."),
            )
        )
        return found
    found += _missing(_indicator(connection, statuses, now), statuses)
    return found


def _indicator(connection: Connection, statuses: list[CopyStatus], now: datetime) -> Indicator:
    living = [each for each in sources.all_living(connection) if each.kind is not SourceKind.BOX]
    if not living:
        return three_two_one.indicator([], now)
    samples = [
        proofs.latest(connection, each.id, ProofKind.SAMPLE, outcome=Outcome.PROVEN)
        for each in living
    ]
    at_home = [each.at for each in samples if each is not None]
    only_shares = all(each.kind is SourceKind.SHARE for each in living)
    return three_two_one.indicator(
        [
            # What people work on. A share lies on the box itself: the same medium as its repository.
            Copy("disk-box" if only_shares else "disk-machines", now),
            Copy("disk-box", min(at_home) if len(at_home) == len(living) else None),
            *(_as_copy(each) for each in statuses),
        ],
        now,
    )


def _as_copy(status: CopyStatus) -> Copy:
    """A copy nobody has shown to open, or of which a part came back wrong, does not count."""
    read_back = status.last_read_back
    counts = (
        status.is_kit_confirmed
        and read_back is not None
        and read_back.outcome is Outcome.PROVEN
        and (status.last_listing is None or status.last_listing.outcome is not Outcome.FAILED)
    )
    medium = {"sftp": "host-files", "s3": "object-store", "box": "disk-second-box"}.get(
        status.target.kind, "disk-usb" if status.is_removable else "disk-mount"
    )
    return Copy(
        medium,
        status.proven_at if counts else None,
        is_offsite=status.is_offsite,
        is_offline=status.is_offline,
        is_write_once=status.is_immutable_shown,
    )


def _missing(indicator: Indicator, statuses: list[CopyStatus]) -> list[Finding]:
    """Say what 3-2-1 still asks for, without repeating what a target says of itself."""
    found: list[Finding] = []
    if Missing.OFFSITE in indicator.missing:
        found.append(
            Finding(
                "copies.missing-offsite",
                Severity.WARNING,
                MISSING_TEXTS[Missing.OFFSITE],
                mark("Keep another copy in another building, disconnected or at a certified host."),
            )
        )
    if Missing.OFFLINE in indicator.missing:
        has_disks = any(each.is_removable for each in statuses)
        allowed = (
            three_two_one.OFFLINE_AGE_WITH_WORM
            if indicator.has_write_once
            else three_two_one.OFFLINE_AGE
        )
        found.append(
            Finding(
                "copies.offline-old",
                Severity.WARNING if has_disks else Severity.NOTICE,
                mark("No copy of the last %(allowed)s lies on a disk that is unplugged."),
                mark(
                    "Plug in the next disk, wait until the box says it is done, and carry it away."
                )
                if has_disks
                else mark("Add two labelled disks that take turns, one of them always unplugged."),
                {"allowed": allowed},
            )
        )
    found += [
        Finding(
            f"copies.missing-{each}",
            Severity.NOTICE,
            MISSING_TEXTS[each],
            mark("Look at the page of the copies: it says which count, and why others do not."),
        )
        for each in indicator.missing
        if each in {Missing.COPIES, Missing.MEDIA}
    ]
    return found
