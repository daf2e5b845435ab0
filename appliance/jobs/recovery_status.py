"""How a recovery goes, for those who wait: written by `armoire recover`, read by the web and the commands.

``run/recovery.json`` of the data folder is written about once a second while it runs; what stays, also
after a kill, is ``recovery-report.json`` beside the state. Both hold one ``RecoveryStatus``.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from appliance.language import mark
from appliance.settings import Settings

FORMAT: Final = 1
LIVE: Final = "recovery.json"
REPORT: Final = "recovery-report.json"
#: A live status older than this is of a recovery that was stopped or killed.
SILENT: Final = timedelta(seconds=30)


class Phase(StrEnum):
    """Where a recovery is."""

    STATE = "state"  # accounts, rights, catalogues: nothing can be read yet
    REPOSITORIES = "repositories"  # documents can be read, repositories come back
    SHARES = "shares"  # files go back to the shared folders
    DONE = "done"


PHASE_NAMES: Final = {
    Phase.STATE: mark("Accounts, rights and catalogues"),
    Phase.REPOSITORIES: mark("Repositories"),
    Phase.SHARES: mark("Shared folders"),
    Phase.DONE: mark("Done"),
}
REPOSITORY_STATES: Final = {
    "waiting": mark("waiting"),
    "fetching": mark("coming back"),
    "right": mark("back, read again and right"),
    "damaged": mark("back, but damaged"),
}
SHARE_STATES: Final = {
    "waiting": mark("waiting"),
    "restoring": mark("coming back"),
    "back": mark("back"),
    "partly": mark("back, but not every file"),
    "failed": mark("not back"),
}


@dataclass(frozen=True, slots=True)
class RepositoryLine:
    """One repository that comes back."""

    source_id: int
    label: str
    kind: str
    bytes: int  # as it lies in the copy
    state: str = "waiting"  # waiting · fetching · right · damaged
    seconds: float = 0.0
    missing: int = 0  # files of it that no place had


@dataclass(frozen=True, slots=True)
class ShareLine:
    """One share whose files go back to their folder."""

    source_id: int
    label: str
    root: str
    state: str = "waiting"  # waiting · restoring · back · partly · failed
    snapshot_at: datetime | None = None
    files: int = 0
    bytes: int = 0
    left_alone: int = 0  # had their name taken already
    failed: int = 0
    problem: str = ""  # an English text, translatable
    problem_facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecoveryStatus:
    """A recovery at one moment; times are aware UTC."""

    phase: Phase
    at: datetime  # when this was written
    started_at: datetime
    #: Where from: the place's label, the generation's number and when it was taken.
    place: str
    number: int
    taken_at: datetime
    lost_s: int = 0  # seconds of work that newer, unusable generations held
    state_at: datetime | None = None
    readable_at: datetime | None = None  # the first document was read, or everything was back
    finished_at: datetime | None = None
    bytes_total: int = 0
    bytes_back: int = 0
    bytes_s: float = 0.0  # of the last half minute
    documents_read: int = 0  # straight from the copy
    attempts: int = 1
    secrets: int = 0
    unreadable_secrets: tuple[str, ...] = ()
    files: int = 0
    repositories: tuple[RepositoryLine, ...] = ()
    shares: tuple[ShareLine, ...] = ()
    #: Where shares were told to come back, when not to their folder of before: by their names.
    folders: Mapping[str, str] = field(default_factory=dict)
    #: Sentences (English, translatable) with their facts: what places withheld, altered, lack.
    remarks: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @property
    def left_s(self) -> int | None:
        """Return seconds until the repositories are back at the present pace, None when that cannot be told."""
        if self.phase is not Phase.REPOSITORIES or self.bytes_s <= 0:
            return None
        return int(max(0, self.bytes_total - self.bytes_back) / self.bytes_s)

    @property
    def left(self) -> timedelta | None:
        """Return ``left_s`` as a span."""
        return None if self.left_s is None else timedelta(seconds=self.left_s)

    @property
    def lost(self) -> timedelta:
        """Return ``lost_s`` as a span."""
        return timedelta(seconds=self.lost_s)

    @property
    def part(self) -> float:
        """Return how much of the repositories is back, 0 to 1."""
        if self.phase in {Phase.SHARES, Phase.DONE}:
            return 1.0
        return min(1.0, self.bytes_back / self.bytes_total) if self.bytes_total else 0.0

    @property
    def data_age(self) -> timedelta:
        """Return how old the copy was when the recovery began."""
        return max(timedelta(0), self.started_at - self.taken_at)

    @property
    def is_whole(self) -> bool:
        """Whether everything of the generation is back, read again and right."""
        return (
            self.phase is Phase.DONE
            and not self.unreadable_secrets
            and all(each.state == "right" and not each.missing for each in self.repositories)
            and all(each.state == "back" for each in self.shares)
        )

    def is_elsewhere(self, share: ShareLine) -> bool:
        """Return whether a share comes back to another folder than that of before."""
        return share.root in self.folders.values()

    def is_silent(self, now: datetime) -> bool:
        """Return whether nobody writes this any more, though it is not done."""
        return self.phase is not Phase.DONE and now - self.at > SILENT


def is_unfinished(settings: Settings) -> bool:
    """Return whether `armoire recover` was begun in this data folder and has to go on there."""
    found = read_report(settings)
    return found is not None and found.phase is not Phase.DONE


def read_live(settings: Settings) -> RecoveryStatus | None:
    """Return the newest status there is: of the running recovery, else of the last one; None for neither."""
    return _read(settings.run / LIVE) or read_report(settings)


def read_report(settings: Settings) -> RecoveryStatus | None:
    """Return what the last step of a recovery left, or None where there was none."""
    return _read(settings.data / REPORT)


def write_live(settings: Settings, status: RecoveryStatus) -> None:
    """Tell those who watch; a power cut may lose it."""
    _write(settings.run / LIVE, status, is_safe=False)


def write_report(settings: Settings, status: RecoveryStatus) -> None:
    """Keep the status, safe from a power cut."""
    _write(settings.data / REPORT, status, is_safe=True)


def forget_live(settings: Settings) -> None:
    """Remove the live status: the recovery is over, or was stopped."""
    (settings.run / LIVE).unlink(missing_ok=True)


def _write(place: Path, status: RecoveryStatus, *, is_safe: bool) -> None:
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    draft = place.with_name(place.name + ".new")
    text = json.dumps({"format": FORMAT, **asdict(status)}, default=_plain)
    draft.unlink(missing_ok=True)  # whatever somebody put there: root writes this
    with draft.open("x", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(text)
        if is_safe:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(place)


def _read(place: Path) -> RecoveryStatus | None:
    try:
        values = json.loads(place.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    values.pop("format")
    values["phase"] = Phase(values["phase"])
    for name in ("at", "started_at", "taken_at", "state_at", "readable_at", "finished_at"):
        values[name] = _moment(values[name])
    values["repositories"] = tuple(RepositoryLine(**each) for each in values["repositories"])
    values["shares"] = tuple(
        ShareLine(**{**each, "snapshot_at": _moment(each["snapshot_at"])})
        for each in values["shares"]
    )
    values["unreadable_secrets"] = tuple(values["unreadable_secrets"])
    values["remarks"] = tuple((text, facts) for text, facts in values["remarks"])
    return RecoveryStatus(**values)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
