"""Emergency reading: a repository that is not here yet, its segments fetched when a chunk of them is asked for.

The cache's folder for a repository *is* a repository, as far as a reader goes that never lists segments:
what Borg keeps beside them is fetched at once, a segment when it is needed, and again after it was dropped.
"""

import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import NotFound, TargetError
from appliance.replication import fetch
from appliance.replication.manifest import CopiedFile, Manifest
from appliance.replication.recover_choice import content
from appliance.replication.target import Target
from appliance.vault.secret import Secret

#: However small the limit: what was fetched a moment ago is still to be opened.
ALWAYS_KEPT: Final = 16
_SEGMENTS: Final = "data/"
_GENERATION: Final = ".generation"


@dataclass(frozen=True)
class Place:
    """A target and the generation read from it."""

    open_target: Callable[[], Target]
    manifest: Manifest


class SegmentCache:
    """Files of a copy, opened and compared, in a folder of bounded size. Safe for several threads."""

    def __init__(
        self, places: Sequence[Place], identity: Secret, folder: Path, limit_bytes: int
    ) -> None:
        """Take over what an earlier process left in ``folder``; ask no target yet.

        Args:
            places: the generation to read; further ones stand in for objects missing or altered there.
            identity: ``AGE-SECRET-KEY-1…`` of the sheets.
            folder: of this cache alone; holds plain segments, still encrypted by Borg. 0700.
            limit_bytes: of segments, not counting the few files beside them nor the ALWAYS_KEPT newest.
        """
        self._places = places
        self._identity = identity
        self._folder = folder
        self._limit = limit_bytes
        self._door = threading.Condition()
        self._coming: set[tuple[int, str]] = set()
        self._kept: OrderedDict[tuple[int, str], int] = OrderedDict()  # size; oldest use first
        self._idle: list[tuple[int, Target]] = []
        self._files = {
            (file.repository, file.path): file for file in self._places[0].manifest.files
        }
        self.fetched = 0  # objects brought by this process
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_over()

    def path(self, repository: int, path: str) -> Path:
        """Return where the file lies now; fetched when it is not there, once however many ask.

        Open it soon: later ones push it out. What is open stays readable.

        Raises:
            NotFound: the generation names no such file.
            ObjectMissing, ObjectAltered, TargetUnreachable: no place gives it.
        """
        key = (repository, path)
        file = self._files.get(key)
        if file is None:
            raise NotFound("file of the copy", f"{repository}/{path}")
        place = self._folder / str(repository) / path
        with self._door:
            while key in self._coming:
                self._door.wait()
            if key in self._kept and place.exists():
                self._kept.move_to_end(key)
                return place
            self._coming.add(key)
        try:
            self._fetch(file, place)
            with self._door:
                self.fetched += 1
                self._kept[key] = file.plain_size
                self._kept.move_to_end(key)
                self._make_room()
        finally:
            with self._door:
                self._coming.discard(key)
                self._door.notify_all()
        return place

    def repository(self, repository: int) -> Path:
        """Return a folder that a reader may open as this repository, given ``before_read`` of it.

        Everything but the segments is fetched now.

        Raises:
            NotFound: the generation does not hold this repository.
            ObjectMissing, ObjectAltered, TargetUnreachable.
        """
        beside = [
            path
            for number, path in self._files
            if number == repository and not path.startswith(_SEGMENTS)
        ]
        if "config" not in beside:
            raise NotFound("repository of the copy", str(repository))
        for path in beside:
            self.path(repository, path)
        place = self._folder / str(repository)
        (place / "data").mkdir(exist_ok=True, mode=0o700)
        return place

    def before_read(self, repository: int) -> Callable[[int], None]:
        """Return what brings a segment, by its number, to its place; called before it is opened.

        A number the generation does not name is left alone: the reader finds nothing there.
        """
        paths = {
            int(path.rpartition("/")[2]): path
            for number, path in self._files
            if number == repository and path.startswith(_SEGMENTS)
        }

        def bring(segment: int) -> None:
            if segment in paths:
                self.path(repository, paths[segment])

        return bring

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the segments kept now."""
        with self._door:
            return sum(self._kept[key] for key in self._segments())

    def close(self) -> None:
        """Let go of connections; what was fetched stays for the next process."""
        with self._door:
            idle, self._idle = self._idle, []
        for _, target in idle:
            target.close()

    def _fetch(self, file: CopiedFile, place: Path) -> None:
        first: TargetError | None = None
        for number, candidate in self._candidates(file):
            try:
                target = self._take(number)
                try:
                    fetch.fetch_file(target, candidate, place, identity=self._identity)
                except BaseException:
                    with suppress(TargetError):
                        target.close()  # its connection may be what failed
                    raise
            except TargetError as error:
                first = first or error
                continue
            with self._door:
                self._idle.append((number, target))
            return
        assert first is not None  # noqa: S101 - the first place was asked
        raise first

    def _candidates(self, file: CopiedFile) -> list[tuple[int, CopiedFile]]:
        """Return the places in turn; the others are looked through only when they exist."""
        found = [(0, file)]
        for number, place in enumerate(self._places[1:], start=1):
            found += [
                (number, other) for other in place.manifest.files if content(other) == content(file)
            ]
        return found

    def _take(self, number: int) -> Target:
        with self._door:
            for place, (known, target) in enumerate(self._idle):
                if known == number:
                    del self._idle[place]
                    return target
        return self._places[number].open_target()

    def _segments(self) -> list[tuple[int, str]]:
        return [key for key in self._kept if key[1].startswith(_SEGMENTS)]

    def _make_room(self) -> None:
        segments = self._segments()
        size = sum(self._kept[key] for key in segments)
        for key in segments[:-ALWAYS_KEPT]:
            if size <= self._limit:
                return
            size -= self._kept.pop(key)
            (self._folder / str(key[0]) / key[1]).unlink(missing_ok=True)

    def _take_over(self) -> None:
        found = []
        first = self._places[0].manifest
        marker = self._folder / _GENERATION
        name_of = f"{first.box_id} {first.number} {first.previous}"
        if not marker.exists() or marker.read_text("utf-8") != name_of:
            for path in self._folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            marker.write_text(name_of, "utf-8")
        for path in self._folder.rglob("*"):
            if not path.is_file() or path == marker:
                continue
            number, _, name = path.relative_to(self._folder).as_posix().partition("/")
            file = self._files.get((int(number), name)) if number.isdigit() else None
            facts = path.stat()
            # Only segments: every chunk of them is checked when read. The rest is fetched anew.
            if file is None or facts.st_size != file.plain_size or not name.startswith(_SEGMENTS):
                path.unlink()  # a cut draft, or of another generation
                continue
            found.append((facts.st_mtime_ns, (file.repository, file.path), facts.st_size))
        for _, key, size in sorted(found):
            self._kept[key] = size
