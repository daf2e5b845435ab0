"""Drills: what one measured, what may be said of it, and when the next one is due (domain.md SAV-15).

The figures of a drill are the figures of its proof ``drill.complete``: plain JSON, kept in the chain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final

from appliance.language import mark
from appliance.model import Outcome
from appliance.policy.findings import Finding, Severity

PROOF: Final = "drill.complete"
#: domain.md SAV-15 asks for a full restore a year; the house asks for one a quarter.
EVERY: Final = timedelta(days=92)
#: Said so long before the last one is a quarter old.
AHEAD: Final = timedelta(days=7)
#: A year without any: no more a reminder.
LATE: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class RepositoryLine:
    """One repository of the box that was made again."""

    source_id: int
    label: str
    files: int
    bytes: int
    seconds: float
    check: str  # right · damaged


@dataclass(frozen=True, slots=True)
class Drill:
    """What a drill measured. Times in seconds from its beginning; -1 for what was not reached."""

    target: str  # label of the place
    generation: int  # 0: none could be taken
    taken_at: str  # of the generation, ISO 8601, UTC; "" for none
    data_age_s: int = 0  # from the generation to the drill
    lost_s: int = 0  # of newer generations that could not be used
    state_s: float = -1.0  # accounts, rights and catalogues are back
    first_document_s: float = -1.0
    restored_s: float = -1.0  # everything is back and checked by Borg
    total_s: float = -1.0  # compared, too
    files: int = 0
    bytes: int = 0
    repositories: tuple[RepositoryLine, ...] = ()
    documents: int = 0  # read out of the new box and out of the living one
    documents_same: int = 0
    documents_gone: int = 0  # the living box removed them since
    documents_different: int = 0
    segments: int = 0
    segments_same: int = 0
    segments_gone: int = 0
    segments_different: int = 0
    secrets: int = 0
    secrets_same: int = 0
    repositories_missing: int = 0
    passphrases_wrong: int = 0
    ledger_entries: int = 0
    ledger_follows: bool = True
    faults: int = 0  # generations withheld, altered or forged at the place
    #: What the strictest plan promises; 0 for nothing.
    dmia_s: int = 0
    pdma_s: int = 0
    #: Code of the error that ended it, "" when it went to its end.
    reason: str = ""
    job: int = 0

    @property
    def is_right(self) -> bool:
        """Whether the box that was made is this box."""
        return not (
            self.reason
            or self.documents_different
            or self.segments_different
            or self.repositories_missing
            or self.passphrases_wrong
            or not self.ledger_follows
            or any(each.check != "right" for each in self.repositories)
        )

    @property
    def outcome(self) -> Outcome:
        """PROVEN only when the newest generation made this box, and something of it was compared."""
        if not self.is_right:
            return Outcome.FAILED
        compared = self.documents_same or self.segments_same or not self.repositories
        return (
            Outcome.INCONCLUSIVE if self.lost_s or self.faults or not compared else Outcome.PROVEN
        )

    @property
    def is_slower_than_promised(self) -> bool:
        """Whether bringing everything back took longer than the strictest plan allows."""
        return 0 < self.dmia_s < self.restored_s

    @property
    def is_older_than_promised(self) -> bool:
        """Whether more work would have been lost than the strictest plan allows."""
        return 0 < self.pdma_s < self.data_age_s


def to_figures(drill: Drill) -> dict[str, object]:
    """Return the figures of the proof."""
    values = asdict(drill)
    values["repositories"] = [asdict(each) for each in drill.repositories]
    return values


def from_figures(figures: Mapping[str, Any]) -> Drill:
    """Return the drill out of ``to_figures``' form; what another version of the program added is left out."""
    known = {each.name for each in fields(Drill)}
    values = {name: value for name, value in figures.items() if name in known}
    lines = {each.name for each in fields(RepositoryLine)}
    values["repositories"] = tuple(
        RepositoryLine(**{name: each[name] for name in each if name in lines})
        for each in figures.get("repositories", ())
    )
    return Drill(**{"target": "", "generation": 0, "taken_at": "", **values})


def with_promises(drill: Drill, *, dmia_s: int, pdma_s: int, job: int) -> Drill:
    """Return the drill with what the plans promise now, and the job that ran it."""
    return replace(drill, dmia_s=dmia_s, pdma_s=pdma_s, job=job)


def next_due(last_right: datetime | None, first_copy: datetime | None) -> datetime | None:
    """Return when the next drill is due; None while there is nothing to exercise with.

    Args:
        last_right: when a drill last made the box again; None: never.
        first_copy: when a generation was first published; None: never.
    """
    if first_copy is None:
        return None
    # The first one at once: a copy nobody ever came back from is a hope.
    return first_copy if last_right is None else last_right + EVERY


def findings(
    *,
    last: tuple[datetime, Outcome, Drill] | None,
    last_right: datetime | None,
    first_copy: datetime | None,
    now: datetime,
) -> list[Finding]:
    """Return what there is to say about drills.

    Args:
        last: the newest drill of all: when it ended, how, and what it measured.
        last_right: when a drill last made the box again; None: never.
        first_copy: when a generation was first published; None: never.
        now: aware UTC.
    """
    found = []
    due = next_due(last_right, first_copy)
    if last is not None and last[1] is Outcome.FAILED:
        found.append(
            Finding(
                "drill.failed",
                Severity.ALARM,
                mark("The last exercise could not make the box again from «%(target)s»."),
                mark("Look at its sheet, have the copy read back, and begin another exercise."),
                {"target": last[2].target},
            )
        )
    elif last is not None and last[1] is Outcome.PROVEN and last[2].is_slower_than_promised:
        found.append(
            Finding(
                "drill.slow",
                Severity.WARNING,
                mark("The last exercise took %(took)s; the plans promise %(promised)s."),
                mark("A faster line or a disk nearby shortens it; otherwise correct the plans."),
                {
                    "took": timedelta(seconds=last[2].restored_s),
                    "promised": timedelta(seconds=last[2].dmia_s),
                },
            )
        )
    if due is not None and now >= due - AHEAD:
        found.append(_reminder(last_right, now))
    return found


def _reminder(last_right: datetime | None, now: datetime) -> Finding:
    action = mark("Take the recovery sheets and begin an exercise: «armoire drill», or its page.")
    if last_right is None:
        return Finding(
            "drill.never",
            Severity.NOTICE,
            mark("Nobody has yet tried to make the box again from its copy."),
            action,
        )
    age = now - last_right
    return Finding(
        "drill.due",
        Severity.WARNING if age >= LATE else Severity.NOTICE,
        mark("The last successful exercise was %(age)s ago; one a quarter is asked for."),
        action,
        {"age": age},
    )


def strictest(plans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return (DMIA, PDMA) in seconds out of the (dmia_hours, pdma_hours) of living plans; 0 for none."""
    if not plans:
        return 0, 0
    return min(each[0] for each in plans) * 3600, min(each[1] for each in plans) * 3600
