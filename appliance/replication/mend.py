"""A segment found damaged at home is fetched back from the newest copy that has it.

The box cannot open what it sent: a person brings the words. Nothing is thrown away (beam 6): what was damaged
is moved aside. Only what is proven damaged is mended: a segment whose own checksums are wrong, or one that
Borg's check named; a segment that merely differs from the copy is reported and left.
Source: Borg 1.4 internals, «Segments»: 8 bytes «BORG_SEG», then entries of CRC-32, size, tag, key and data;
committed segments never change.
"""

import os
import struct
import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path
from typing import BinaryIO, Final

from appliance import folders
from appliance.db.engine import Database
from appliance.errors import ObjectAltered, ObjectMissing, RepositoryMissing
from appliance.ledger import events
from appliance.replication.fetch import fetch_file
from appliance.replication.manifest import CopiedFile, Manifest
from appliance.replication.target import Target
from appliance.vault.secret import Secret

_MAGIC: Final = b"BORG_SEG"
_HEADER: Final = struct.Struct("<IIB")  # CRC-32 of all that follows, size of the whole entry, tag
#: Borg 1.4: largest object, 20 MiB, and a little.
_LARGEST_ENTRY: Final = 20 * 1024 * 1024 + 64 * 1024
_LAST_TAG: Final = 15


class Doubt(StrEnum):
    """Why a segment is not what it was."""

    DAMAGED = "damaged"  # its own checksums are wrong
    NAMED = "named"  # Borg's check found it, and it differs from the copy
    GONE = "gone"  # Borg's check misses it
    DIFFERS = "differs"  # whole by itself, and not what the copy has: left alone


@dataclass(frozen=True, slots=True)
class Suspect:
    """A segment that is not what was copied."""

    file: CopiedFile
    doubt: Doubt

    @property
    def may_be_mended(self) -> bool:
        """Whether it is proven that the copy is the right one."""
        return self.doubt is not Doubt.DIFFERS


@dataclass(frozen=True, slots=True)
class Mending:
    """What was done to a repository."""

    mended: tuple[str, ...]  # «data/0/17»
    #: Path → why it could not be had from any copy.
    failed: dict[str, str]
    kept_aside: Path  # where the damaged bytes are


def find_suspects(
    repository: Path, manifest: Manifest, source_id: int, *, named: Collection[str] = ()
) -> list[Suspect]:
    """Return the segments of a repository that are not what a generation holds. Reads all of them.

    Args:
        repository: the folder.
        manifest: an opened generation, the newest.
        source_id: whose files of it.
        named: paths («data/0/17») that Borg's own check found damaged or missing.

    Raises:
        RepositoryMissing: nothing lies there.
    """
    if not (repository / "config").is_file():
        raise RepositoryMissing(str(repository))
    found: list[Suspect] = []
    for file in manifest.files:
        if file.repository != source_id or not file.path.startswith("data/"):
            continue
        path = repository / file.path
        try:
            with path.open("rb") as here:
                if file_digest(here, "sha256").hexdigest() == file.plain_sha256:
                    continue
                here.seek(0)
                whole = is_whole_segment(here)
        except FileNotFoundError:
            # Compaction removes segments every week: only Borg knows that one is missed.
            if file.path in named:
                found.append(Suspect(file, Doubt.GONE))
            continue
        except OSError:
            whole = False  # the disk cannot read it
        if not whole:
            found.append(Suspect(file, Doubt.DAMAGED))
        else:
            found.append(Suspect(file, Doubt.NAMED if file.path in named else Doubt.DIFFERS))
    return found


def mend(
    suspects: Sequence[Suspect],
    repository: Path,
    sources: Sequence[tuple[Target, Manifest]],
    *,
    identity: Secret,
    locked: Callable[[], AbstractContextManager[object]],
    database: Database,
    now: Callable[[], datetime],
) -> Mending:
    """Put back the segments that may be mended, and say so in the ledger. Killed at any line, run it again.

    Args:
        suspects: of ``find_suspects``.
        repository: the folder.
        sources: targets and opened generations to fetch from, best first.
        identity: opens the copies; from the sheets.
        locked: takes Borg's lock.
        database: of the box, for the ledger.
        now: the clock.

    Raises:
        RepositoryLocked: from ``locked``; nothing was changed.
        Any TargetError but a missing or altered object, which the next source may have.
    """
    source_id = next((each.file.repository for each in suspects), 0)
    fetched = repository.with_name(f".mend-{repository.name}")
    aside = repository.with_name(f".damaged-{repository.name}")
    mended: list[str] = []
    failed: dict[str, str] = {}
    with locked():
        for suspect in suspects:
            if not suspect.may_be_mended:
                continue
            path = suspect.file.path
            draft = fetched / path
            reason = _fetch(suspect.file, draft, sources, identity)
            if reason is not None:
                failed[path] = reason
                continue
            _swap(draft, repository / path, aside / f"{path}.{now():%Y%m%dT%H%M%SZ}")
            mended.append(path)
            with database.write() as connection:
                events.record(
                    connection,
                    at=now(),
                    event="repository.mended",
                    subject=f"source:{source_id}",
                    path=path,
                    why=suspect.doubt.value,
                    sha256=suspect.file.plain_sha256,
                )
    for folder in sorted(fetched.rglob("*"), reverse=True):
        with suppress(OSError):
            folder.rmdir()
    with suppress(OSError):
        fetched.rmdir()
    return Mending(tuple(mended), failed, aside)


def is_whole_segment(file: BinaryIO) -> bool:
    """Say whether every entry of a segment has the checksum it carries, to the file's last byte."""
    if file.read(len(_MAGIC)) != _MAGIC:
        return False
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            return False
        checksum, size, tag = _HEADER.unpack(header)
        if not _HEADER.size <= size <= _LARGEST_ENTRY or tag > _LAST_TAG:
            return False
        rest = file.read(size - _HEADER.size)
        if len(rest) != size - _HEADER.size or zlib.crc32(rest, zlib.crc32(header[4:])) != checksum:
            return False
    return True


def _fetch(
    file: CopiedFile, draft: Path, sources: Sequence[tuple[Target, Manifest]], identity: Secret
) -> str | None:
    """Bring the segment to ``draft``; return why no source gave it, None when one did."""
    reason = "no copy has it"
    for target, manifest in sources:
        same = next(
            (
                each
                for each in manifest.files
                if (each.repository, each.path, each.plain_sha256)
                == (file.repository, file.path, file.plain_sha256)
            ),
            None,
        )
        if same is None:
            continue
        try:
            fetch_file(target, same, draft, identity=identity)
        except (ObjectMissing, ObjectAltered) as error:
            reason = error.code
            continue
        with draft.open("rb") as there:
            if is_whole_segment(there):
                return None
        # It was already damaged when it was sent.
        draft.unlink()
        reason = "damaged in the copy too"
    return reason


def _swap(draft: Path, place: Path, aside: Path) -> None:
    """Put ``draft`` in its place, durable; what was there goes aside with its time."""
    aside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        facts = place.stat()
        os.chmod(draft, facts.st_mode & 0o7777)  # noqa: PTH101 - beside utime
        # The same time and size: the next push knows the segment and does not send it again.
        os.utime(draft, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        with suppress(FileExistsError):
            os.link(place, aside)
    folders.sync(draft)
    draft.replace(place)
    for folder in (place.parent, aside.parent):
        folders.sync(folder)
