"""Bringing the files of a repository back: over several connections, from whichever place has them."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import JobCancelled, ObjectAltered, ObjectMissing, TargetError
from appliance.replication import fetch
from appliance.replication.manifest import CopiedFile
from appliance.replication.recover_choice import Content, Look, Proposal, content
from appliance.replication.state import STATE
from appliance.replication.target import Target
from appliance.vault.secret import Secret


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


class Fetcher:
    """Fetches repositories of one proposal."""

    def __init__(
        self,
        proposal: Proposal,
        looks: Sequence[Look],
        line: Line,
        identity: Secret,
        *,
        accept_incomplete: bool,
    ) -> None:
        self._proposal = proposal
        self._line = line
        self._identity = identity
        self._accept_incomplete = accept_incomplete
        self._own = threading.local()
        self._opened: list[Target] = []
        self._door = threading.Lock()
        self._others = _elsewhere(proposal, looks)
        #: Place → objects read there that are not what was sent.
        self.altered: dict[str, set[str]] = {}

    @contextmanager
    def connections(self) -> Iterator[None]:
        """Close what the threads opened."""
        try:
            yield
        finally:
            for each in self._opened:
                each.close()

    def repository(self, source_id: int, place: Path) -> list[str]:
        """Bring every file of a repository to ``place``; return the paths of those nobody has.

        Files that are there already and right stay; others that lie there go.

        Raises:
            ObjectMissing, ObjectAltered: of the first file no place has as it was, unless incomplete is accepted.
            TargetUnreachable, JobCancelled.
        """
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
        if not is_right(place, file):
            self._from_anywhere(file, place)
        self._line.on_bytes(file.plain_size)

    def _from_anywhere(self, file: CopiedFile, place: Path) -> None:
        first: TargetError | None = None
        for name, candidate in [
            (self._proposal.target, file),
            *self._others.get(content(file), ()),
        ]:
            try:
                fetch.fetch_file(self.target(name), candidate, place, identity=self._identity)
            except TargetError as error:
                first = first or error
                if isinstance(error, ObjectAltered):
                    with self._door:
                        self.altered.setdefault(name, set()).add(candidate.object)
            else:
                return
        assert first is not None  # noqa: S101 - the loop ran at least once
        raise first

    def target(self, name: str) -> Target:
        """Return this thread's own connection to a place."""
        mine: dict[str, Target] = self._own.__dict__.setdefault("targets", {})
        if name not in mine:
            opened = self._line.open_target[name]()
            mine[name] = opened
            with self._door:
                self._opened.append(opened)
        return mine[name]


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


def is_right(place: Path, file: CopiedFile) -> bool:
    """Say whether the file is there with the bytes that were sent."""
    try:
        if place.stat().st_size != file.plain_size:
            return False
        with place.open("rb") as there:
            return hashlib.file_digest(there, "sha256").hexdigest() == file.plain_sha256
    except FileNotFoundError:
        return False
