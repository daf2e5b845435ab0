"""A new box from a copy: state first, then repositories, most wanted first; killed anywhere it goes on.

What was done is in ``recovery.json`` of the data folder, written in one step. Files that are there already
and right are not fetched again. Nothing is written to a repository before `borg check` read it and its
nonces jumped. The sheet at the end is ``recovery-sheet.json``.
"""

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.db import facts, targets
from appliance.db.engine import Database, open_database
from appliance.errors import (
    AlreadyExists,
    AlreadyRunning,
    InvalidInput,
    JobCancelled,
    NotFound,
    ObjectAltered,
    ObjectMissing,
    RepositoryDamaged,
    SecretUnreadable,
    TargetError,
    VaultError,
)
from appliance.language import mark
from appliance.ledger import events
from appliance.replication import fetch, kit, recover_borg, state, takeover
from appliance.replication.manifest import CopiedFile
from appliance.replication.recover_adopt import adopt
from appliance.replication.recover_choice import Content, Look, Proposal, content, in_order
from appliance.replication.state import STATE
from appliance.replication.target import Target
from appliance.settings import Settings
from appliance.vault.secret import Secret

PROGRESS: Final = "recovery.json"
SHEET: Final = "recovery-sheet.json"
READABLE: Final = "recovery-readable"
FORMAT: Final = 1


@dataclass(frozen=True)
class Line:
    """How a recovery reaches the places, and speaks to the outside."""

    #: Name of each place → opens a connection of one thread's own.
    open_target: Mapping[str, Callable[[], Target]]
    connections: int = 1
    on_bytes: Callable[[int], None] = lambda _count: None  # plain bytes that are back; any thread
    on_step: Callable[[str], None] = lambda _step: None  # state · repository:3 · targets
    #: The box's state is in place: emergency reading may begin.
    on_state: Callable[[], None] = lambda: None
    should_stop: Callable[[], bool] = lambda: False


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
        return json.dumps(
            {"format": FORMAT, **asdict(self)}, default=_iso, sort_keys=True, indent=1
        )


@dataclass(slots=True)
class _Progress:
    """What ``recovery.json`` holds."""

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
    finished_at: str = ""


def recover(
    proposal: Proposal,
    looks: Sequence[Look],
    settings: Settings,
    line: Line,
    identity: Secret,
    *,
    signer: Ed25519PublicKey,
    now: Callable[[], datetime],
    wanted: Sequence[int] = (),
    accept_incomplete: bool = False,
    is_drill: bool = False,
) -> RecoverySheet:
    """Make the box of ``proposal`` again in an empty data folder and return the sheet.

    Call it again with the same generation after any cut: it goes on. Once finished it returns the sheet.

    Args:
        proposal: what ``propose`` said, and a person accepted.
        looks: what it was made from; files missing or altered at one place come from another.
        settings: of the new box.
        line: connections and callbacks.
        identity: ``AGE-SECRET-KEY-1…`` of the sheets.
        signer: public half of the box's signing key, from the kit.
        now: the clock.
        wanted: source ids, most wanted first.
        accept_incomplete: bring what can be had when files are missing everywhere.
        is_drill: the box lives on: nothing is said nor written at any place.

    Raises:
        AlreadyRunning: another recovery runs in this data folder.
        AlreadyExists: a box lives there.
        InvalidInput: a recovery of another generation was begun there.
        ObjectMissing, ObjectAltered: no place has a file as it was; what came stays.
        TargetUnreachable, JobCancelled: call again.
        SecretUnreadable, RepositoryDamaged: the state does not open.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    with _alone(settings.data):
        progress = _begin(settings, proposal, now())
        if progress.finished_at:
            return read_sheet(settings.data)
        if proposal.missing and not accept_incomplete:
            raise ObjectMissing(proposal.target, proposal.missing[0].object)
        work = _Recovery(
            proposal, looks, settings, line, identity, progress, now, accept_incomplete
        )
        with work.connections():
            if progress.state is None:
                work.bring_state()
            line.on_state()
            for source_id in in_order(proposal.manifest, wanted):
                if str(source_id) not in progress.repositories:
                    work.bring_repository(source_id)
            database = open_database(settings.database)
            try:
                if not is_drill:
                    line.on_step("targets")
                    work.take_places(database, signer)
                return work.finish(database, is_drill=is_drill)
            finally:
                database.close()


def begun(data: Path) -> tuple[str, int] | None:
    """Return place and number of the generation a recovery in this data folder was begun with, or None."""
    found = _read_progress(data)
    return None if found is None else (found.target, found.number)


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


class _Recovery:
    """One run of ``recover``."""

    def __init__(
        self,
        proposal: Proposal,
        looks: Sequence[Look],
        settings: Settings,
        line: Line,
        identity: Secret,
        progress: _Progress,
        now: Callable[[], datetime],
        accept_incomplete: bool,  # noqa: FBT001 - passed on
    ) -> None:
        self._proposal = proposal
        self._looks = looks
        self._settings = settings
        self._line = line
        self._identity = identity
        self._progress = progress
        self._now = now
        self._accept_incomplete = accept_incomplete
        self._own = threading.local()
        self._opened: list[Target] = []
        self._door = threading.Lock()
        self._others = _elsewhere(proposal, looks)

    @contextmanager
    def connections(self) -> Iterator[None]:
        """Close what the threads opened."""
        try:
            yield
        finally:
            for each in self._opened:
                each.close()

    # --- the state -------------------------------------------------------------------------

    def bring_state(self) -> None:
        settings, progress = self._settings, self._progress
        self._line.on_step("state")
        place = settings.repositories / str(STATE)
        staged = settings.data / ".recovery-state"
        if not (settings.data / state.DATABASE).exists():
            self._fetch(STATE, place)
            recover_borg.clean(place, settings.borg_home, self._borg_id(STATE))
            if not recover_borg.check(
                place, settings.borg_home, should_stop=self._line.should_stop
            ):
                raise RepositoryDamaged(str(place), "its check found damage")
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(mode=0o700)
            recover_borg.extract_newest(
                place,
                state.open_passphrase(place, self._identity),
                settings.borg_home,
                staged,
                should_stop=self._line.should_stop,
            )
            recover_borg.jump_nonce(place)
        taken = state.unstage(
            _top_of(staged),
            settings,
            self._identity,
            instance=progress.instance,
            now=self._now(),
            came_from={
                "target": progress.target,
                "number": progress.number,
                "generation_at": _iso(self._proposal.taken_at),
            },
        )
        if taken.box_id != self._proposal.manifest.box_id:
            raise RepositoryDamaged(str(place), "it is the state of another box")
        # The times of the state's files, before anything is written there again.
        progress.state = {
            "at": _iso(self._now()),
            "secrets": taken.secrets,
            "unreadable": list(taken.unreadable),
        }
        _write_progress(settings.data, progress)
        shutil.rmtree(staged, ignore_errors=True)

    # --- repositories ----------------------------------------------------------------------

    def bring_repository(self, source_id: int) -> None:
        settings = self._settings
        self._line.on_step(f"repository:{source_id}")
        began = time.monotonic()
        place = settings.repositories / str(source_id)
        files = [file for file in self._proposal.manifest.files if file.repository == source_id]
        missing = self._fetch(source_id, place)
        recover_borg.clean(place, settings.borg_home, self._borg_id(source_id))
        is_right = recover_borg.check(place, settings.borg_home, should_stop=self._line.should_stop)
        jump = recover_borg.jump_nonce(place)
        os.sync()  # done means done, even when the power goes now
        label = next(
            each.label
            for each in self._proposal.manifest.repositories
            if each.source_id == source_id
        )
        self._progress.repositories[str(source_id)] = asdict(
            RepositoryBack(
                source_id,
                label,
                len(files) - len(missing),
                sum(file.plain_size for file in files if file.path not in missing),
                round(time.monotonic() - began, 3),
                "right" if is_right and not missing else "damaged",
                tuple(missing),
                jump.before,
                jump.after,
            )
        )
        note_first_readable(settings.data, self._now())
        _write_progress(settings.data, self._progress)

    def _borg_id(self, source_id: int) -> str:
        for each in self._proposal.manifest.repositories:
            if each.source_id == source_id:
                return each.borg_id
        raise NotFound("repository", str(source_id))

    def _fetch(self, source_id: int, place: Path) -> list[str]:
        """Bring every file of a repository; return the paths of those nobody has."""
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = [file for file in self._proposal.manifest.files if file.repository == source_id]
        wanted = {file.path for file in files}
        # A repository being brought back holds nothing of its own yet: what a cut left and Borg
        # made while reading (a newer index, a lock) would contradict what comes.
        for stray in place.rglob("*"):
            if stray.is_file() and stray.relative_to(place).as_posix() not in wanted:
                stray.unlink()
        missing: list[str] = []
        with ThreadPoolExecutor(self._line.connections, thread_name_prefix="recover") as pool:
            running: dict[Future[None], CopiedFile] = {
                pool.submit(self._fetch_one, file, place / file.path): file for file in files
            }
            done, waiting = wait(running, return_when=FIRST_EXCEPTION)
            failed = self._failure(done, running, missing)
            while failed is None and waiting:
                done, waiting = wait(waiting, return_when=FIRST_EXCEPTION)
                failed = self._failure(done, running, missing)
            if failed is not None:
                pool.shutdown(wait=True, cancel_futures=True)
                raise failed
        return sorted(missing)

    def _failure(
        self,
        done: set[Future[None]],
        running: Mapping[Future[None], CopiedFile],
        missing: list[str],
    ) -> BaseException | None:
        for future in done:
            error = future.exception()
            if error is None:
                continue
            file = running[future]
            lost = isinstance(error, (ObjectMissing, ObjectAltered))
            if lost and self._accept_incomplete and file.repository != STATE:
                missing.append(file.path)
            else:
                return error
        return None

    def _fetch_one(self, file: CopiedFile, place: Path) -> None:
        if self._line.should_stop():
            raise JobCancelled
        if not _is_right(place, file):
            self._from_anywhere(file, place)
        self._line.on_bytes(file.plain_size)

    def _from_anywhere(self, file: CopiedFile, place: Path) -> None:
        first: TargetError | None = None
        for name, candidate in [
            (self._proposal.target, file),
            *self._others.get(content(file), ()),
        ]:
            try:
                fetch.fetch_file(self._target(name), candidate, place, identity=self._identity)
            except TargetError as error:
                first = first or error
            else:
                return
        assert first is not None  # noqa: S101 - the loop ran at least once
        raise first

    def _target(self, name: str) -> Target:
        mine: dict[str, Target] = self._own.__dict__.setdefault("targets", {})
        if name not in mine:
            opened = self._line.open_target[name]()
            mine[name] = opened
            with self._door:
                self._opened.append(opened)
        return mine[name]

    # --- afterwards ------------------------------------------------------------------------

    def take_places(self, database: Database, signer: Ed25519PublicKey) -> None:
        """Write what lies at each place into the record, and say there that this box took over."""
        times = self._times()
        for look in self._looks:
            if look.target in self._progress.targets:
                continue
            adopted = 0
            with suppress(NotFound):
                with database.read() as connection:
                    row = targets.get_by_name(connection, look.target)
                adopted = adopt(database, row.id, look.generations, times, now=self._now())
            told = self._tell(database, look.target, signer)
            self._progress.targets[look.target] = asdict(TargetAfter(look.target, adopted, told))
            _write_progress(self._settings.data, self._progress)
        published = {
            name for name, each in self._progress.targets.items() if each["takeover"] == "published"
        }
        with database.write() as connection:
            living = [row.name for row in targets.all_living(connection)]
            pending = [name for name in living if name not in published]
            facts.put(connection, takeover.PENDING, pending, now=self._now())

    def _tell(self, database: Database, name: str, signer: Ed25519PublicKey) -> str:
        try:
            with database.read() as connection:
                key = kit.signing_key(connection, self._settings.keys)
            if kit.signer_text(key.public_key()) != kit.signer_text(signer):
                raise SecretUnreadable(kit.SIGNING_KEY)
            takeover.publish(
                self._target(name),
                box_id=self._proposal.manifest.box_id,
                instance=self._progress.instance,
                signing_key=key,
                spool=self._settings.data / ".recovery-spool",
                now=self._now(),
            )
        except (TargetError, VaultError) as error:
            return error.code  # an account that may only read: the next push says it
        finally:
            shutil.rmtree(self._settings.data / ".recovery-spool", ignore_errors=True)
        return "published"

    def _times(self) -> dict[Content, int]:
        found = {}
        for file in self._proposal.manifest.files:
            place = self._settings.repositories / str(file.repository) / file.path
            with suppress(OSError):
                facts_of = place.stat()
                # Segments never change; the nonce did, and is sent again.
                if file.path.startswith("data/"):
                    is_same = facts_of.st_size == file.plain_size
                else:
                    is_same = _is_right(place, file)
                if is_same:
                    found[content(file)] = facts_of.st_mtime_ns
        return found

    def finish(self, database: Database, *, is_drill: bool) -> RecoverySheet:
        progress, proposal, data = self._progress, self._proposal, self._settings.data
        finished = self._now()
        started = datetime.fromisoformat(progress.started_at)
        assert progress.state is not None  # noqa: S101 - it came first
        back = tuple(
            RepositoryBack(**{**each, "missing": tuple(each["missing"])})
            for each in progress.repositories.values()
        )
        readable = data / READABLE
        sheet = RecoverySheet(
            is_drill=is_drill,
            box_id=proposal.manifest.box_id,
            instance=progress.instance,
            target=progress.target,
            number=progress.number,
            taken_at=proposal.taken_at,
            data_age_s=int((started - proposal.taken_at).total_seconds()),
            lost_s=proposal.lost_s,
            attempts=progress.attempts,
            started_at=started,
            state_at=datetime.fromisoformat(progress.state["at"]),
            first_readable_at=(
                datetime.fromisoformat(readable.read_text("ascii"))
                if readable.exists()
                else finished
            ),
            finished_at=finished,
            files=sum(each.files for each in back),
            bytes=sum(each.bytes for each in back),
            secrets=int(progress.state["secrets"]),
            unreadable_secrets=tuple(progress.state["unreadable"]),
            repositories=back,
            targets=tuple(TargetAfter(**each) for each in progress.targets.values()),
            faults=tuple(
                f"{name}: generation {fault.number} {fault.reason}"
                for name, fault in proposal.faults
            ),
        )
        with database.write() as connection:
            if facts.find(connection, "box.recovery-finished") != progress.instance:
                events.record(
                    connection,
                    at=finished,
                    event="box.recovery-finished",
                    subject="box",
                    instance=sheet.instance,
                    number=sheet.number,
                    files=sheet.files,
                    bytes=sheet.bytes,
                    repositories=len(back),
                    is_whole=sheet.is_whole,
                    seconds=int((finished - started).total_seconds()),
                )
                facts.put(connection, "box.recovery-finished", progress.instance, now=finished)
        _write(data / SHEET, sheet.as_json())
        progress.finished_at = _iso(finished)
        _write_progress(data, progress)
        readable.unlink(missing_ok=True)
        return sheet


def _elsewhere(
    proposal: Proposal, looks: Sequence[Look]
) -> dict[Content, list[tuple[str, CopiedFile]]]:
    found: dict[Content, list[tuple[str, CopiedFile]]] = {}
    for look in looks:
        for looked in look.generations:
            if looked.manifest is None or (
                (look.target, looked.number) == (proposal.target, proposal.number)
            ):
                continue
            absent = set(looked.missing)
            for file in looked.manifest.files:
                if file not in absent:
                    found.setdefault(content(file), []).append((look.target, file))
    return found


def _top_of(staged: Path) -> Path:
    """Return the folder that holds the state, however deep the archive names it."""
    found = next(staged.rglob(state.DESCRIPTION), None)
    return staged if found is None else found.parent


def _is_right(place: Path, file: CopiedFile) -> bool:
    try:
        if place.stat().st_size != file.plain_size:
            return False
        with place.open("rb") as there:
            return hashlib.file_digest(there, "sha256").hexdigest() == file.plain_sha256
    except FileNotFoundError:
        return False


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    with (data / ".recovery.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(str(data)) from error
        yield


def _begin(settings: Settings, proposal: Proposal, now: datetime) -> _Progress:
    progress = _read_progress(settings.data)
    if progress is not None and progress.sha256 != proposal.sha256:
        if progress.state is not None or (settings.data / state.DATABASE).exists():
            raise InvalidInput(
                "generation",
                mark("A recovery of another generation was begun here. Go on with that one."),
            )
        progress = _fresh(proposal, now)
    if progress is None:
        # What lies there may be newer than the copy: a person decides, not this program.
        lives = (settings.data / state.DATABASE).exists()
        if lives or (settings.repositories.is_dir() and any(settings.repositories.iterdir())):
            raise AlreadyExists("box", str(settings.data))
        progress = _fresh(proposal, now)
    if not progress.finished_at:
        progress.attempts += 1
        _write_progress(settings.data, progress)
    return progress


def _fresh(proposal: Proposal, now: datetime) -> _Progress:
    return _Progress(
        box=proposal.manifest.box_id,
        target=proposal.target,
        number=proposal.number,
        sha256=proposal.sha256,
        instance=takeover.new_instance(),
        started_at=_iso(now),
    )


def _read_progress(data: Path) -> _Progress | None:
    try:
        values = json.loads((data / PROGRESS).read_bytes())
    except FileNotFoundError:
        return None
    values.pop("format")
    return _Progress(**values)


def _write_progress(data: Path, progress: _Progress) -> None:
    _write(data / PROGRESS, json.dumps({"format": FORMAT, **asdict(progress)}, indent=1))


def _write(place: Path, text: str) -> None:
    draft = place.with_name(place.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(place)


def _iso(moment: object) -> str:
    assert isinstance(moment, datetime)  # noqa: S101 - nothing else needs telling
    return moment.isoformat()
