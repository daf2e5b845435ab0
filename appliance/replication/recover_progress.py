"""How far a recovery is: ``recovery.json`` of the data folder, written in one step."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from appliance.errors import AlreadyExists, AlreadyRunning, InvalidInput
from appliance.language import mark
from appliance.replication import state, takeover
from appliance.replication.recover_choice import Proposal
from appliance.replication.recover_sheet import iso, write_whole
from appliance.settings import Settings

PROGRESS: Final = "recovery.json"
FORMAT: Final = 1


@dataclass(slots=True)
class Progress:
    """What ``recovery.json`` holds; times as ISO 8601."""

    box: str
    target: str
    number: int
    sha256: str
    instance: str
    started_at: str
    attempts: int = 0
    state: dict[str, Any] | None = None
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Place → objects read there that are not what was sent.
    altered: dict[str, list[str]] = field(default_factory=dict)
    finished_at: str = ""


def begun(data: Path) -> tuple[str, int] | None:
    """Return place and number of the generation a recovery in this data folder was begun with, or None."""
    found = read_progress(data)
    return None if found is None else (found.target, found.number)


def altered(data: Path, target: str) -> frozenset[str]:
    """Return the objects that a recovery in this data folder read at a place and found altered: for ``look``."""
    found = read_progress(data)
    return frozenset() if found is None else frozenset(found.altered.get(target, ()))


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """Hold the lock of a data folder: one recovery at a time.

    Raises:
        AlreadyRunning: another process holds it.
    """
    # Not through a link, and nothing is cut: root runs this, and others write in the folder.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(data / ".recovery.lock", flags, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(str(data)) from error
        yield


def begin(settings: Settings, proposal: Proposal, now: datetime) -> Progress:
    """Return where an earlier run was, or a new beginning; this attempt is counted.

    Raises:
        AlreadyExists: something lives in the data folder that no recovery put there.
        InvalidInput: a recovery of another generation has brought its state already.
    """
    progress = read_progress(settings.data)
    if progress is not None and progress.sha256 != proposal.sha256:
        if progress.state is not None or (settings.data / state.DATABASE).exists():
            raise InvalidInput(
                "generation",
                mark("A recovery of another generation was begun here. Go on with that one."),
            )
        known, progress = progress.altered, _fresh(proposal, now)
        progress.altered = known
    if progress is None:
        # What lies there may be newer than the copy: a person decides, not this program.
        lives = (settings.data / state.DATABASE).exists()
        if lives or (settings.repositories.is_dir() and any(settings.repositories.iterdir())):
            raise AlreadyExists("box", str(settings.data))
        progress = _fresh(proposal, now)
    if not progress.finished_at:
        progress.attempts += 1
        write_progress(settings.data, progress)
    return progress


def _fresh(proposal: Proposal, now: datetime) -> Progress:
    return Progress(
        box=proposal.manifest.box_id,
        target=proposal.target,
        number=proposal.number,
        sha256=proposal.sha256,
        instance=takeover.new_instance(),
        started_at=iso(now),
    )


def read_progress(data: Path) -> Progress | None:
    """Return how far a recovery in this data folder is, None where none was begun."""
    try:
        values = json.loads((data / PROGRESS).read_bytes())
    except FileNotFoundError:
        return None
    values.pop("format")
    return Progress(**values)


def write_progress(data: Path, progress: Progress) -> None:
    """Keep how far it is."""
    write_whole(data / PROGRESS, json.dumps({"format": FORMAT, **asdict(progress)}, indent=1))
