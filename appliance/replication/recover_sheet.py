"""The sheet of a recovery: who brought what back from where, in what time, and how it was checked."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.errors import NotFound

SHEET: Final = "recovery-sheet.json"
READABLE: Final = "recovery-readable"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class RepositoryBack:
    """One repository that came back."""

    source_id: int
    label: str
    files: int
    bytes: int
    seconds: float
    check: str  # right · damaged
    missing: tuple[str, ...]  # paths of files no place had
    nonce_before: int
    nonce_after: int


@dataclass(frozen=True, slots=True)
class TargetAfter:
    """What was done at a place."""

    target: str
    adopted: int  # generations written into the record
    takeover: str  # published, or the code of the error that kept us from it


@dataclass(frozen=True, slots=True)
class RecoverySheet:
    """What a recovery did, with times: aware UTC."""

    is_drill: bool
    box_id: str
    instance: str
    target: str
    number: int
    taken_at: datetime  # of the generation
    data_age_s: int  # from the generation to the beginning of the recovery
    lost_s: int  # of newer generations that could not be used
    attempts: int
    started_at: datetime
    state_at: datetime  # accounts, rights and catalogues are back
    first_readable_at: datetime  # a document was, or could be, read
    finished_at: datetime
    files: int
    bytes: int
    secrets: int
    unreadable_secrets: tuple[str, ...]
    repositories: tuple[RepositoryBack, ...]
    targets: tuple[TargetAfter, ...]
    faults: tuple[str, ...]  # «place: generation 3 missing»

    @property
    def is_whole(self) -> bool:
        """Whether everything of the generation is back and every check was right."""
        return not self.unreadable_secrets and all(
            each.check == "right" and not each.missing for each in self.repositories
        )

    def as_json(self) -> str:
        """Return the sheet as JSON, times as ISO 8601."""
        return json.dumps({"format": FORMAT, **asdict(self)}, default=iso, sort_keys=True, indent=1)


def note_first_readable(data: Path, at: datetime) -> None:
    """Record that the first document was read straight from the copy; only the first time counts."""
    with suppress(FileExistsError), (data / READABLE).open("x") as file:
        file.write(at.isoformat())


def read_sheet(data: Path) -> RecoverySheet:
    """Return the sheet of the recovery that made this box.

    Raises:
        NotFound: it was not made by one, or it is not finished.
    """
    try:
        values = json.loads((data / SHEET).read_bytes())
    except FileNotFoundError as error:
        raise NotFound("recovery", str(data)) from error
    values.pop("format")
    for name in ("taken_at", "started_at", "state_at", "first_readable_at", "finished_at"):
        values[name] = datetime.fromisoformat(values[name])
    values["repositories"] = tuple(
        RepositoryBack(**{**each, "missing": tuple(each["missing"])})
        for each in values["repositories"]
    )
    values["targets"] = tuple(TargetAfter(**each) for each in values["targets"])
    values["unreadable_secrets"] = tuple(values["unreadable_secrets"])
    values["faults"] = tuple(values["faults"])
    return RecoverySheet(**values)


def write_sheet(data: Path, sheet: RecoverySheet) -> None:
    """Put the sheet into the data folder, whole."""
    write_whole(data / SHEET, sheet.as_json())
    (data / READABLE).unlink(missing_ok=True)


def first_readable(data: Path, otherwise: datetime) -> datetime:
    """Return when the first document could be read."""
    try:
        return datetime.fromisoformat((data / READABLE).read_text("ascii"))
    except FileNotFoundError:
        return otherwise


def write_whole(place: Path, text: str) -> None:
    """Write a small file in one step, safe from a power cut."""
    draft = place.with_name(place.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(place)


def iso(moment: object) -> str:
    """Return a time as ISO 8601."""
    assert isinstance(moment, datetime)  # noqa: S101 - nothing else needs telling
    return moment.isoformat()
