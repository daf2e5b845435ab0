r"""The nouns of the house, as frozen values. No I/O, no decisions.

Times are aware UTC. Sizes are bytes. Paths of backed-up files are ``bytes`` as the source names
them (a name need not be UTF-8), relative to ``/``, without a leading slash, parts parted by ``/``:
exactly the path Borg stores. A Windows file ``C:\Users\a`` is ``C/Users/a``.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType

SourceId = NewType("SourceId", int)
SnapshotId = NewType("SnapshotId", int)
JobId = NewType("JobId", int)
PersonId = NewType("PersonId", int)

#: The source that is the box's own state; also its repository's number in a copy. Others begin at 1.
BOX_SOURCE: Final = SourceId(0)


class SourceKind(StrEnum):
    """How a source is read."""

    PULLED = "pulled"  # over SSH, by the box
    PUSHED = "pushed"  # by the machine, into `borg serve --append-only`
    SHARE = "share"  # a folder tree of the box
    BOX = "box"  # the box's own state; its number is BOX_SOURCE


class System(StrEnum):
    """The operating system of a machine."""

    LINUX = "linux"
    MACOS = "macos"
    WINDOWS = "windows"


class Consistency(StrEnum):
    """The level a recipe reached, best first; only the first three may be green (domain.md APP-01)."""

    DUMP = "dump"
    VSS_WRITER = "vss-writer"
    STOPPED = "stopped"
    VSS_SIMPLE = "vss-simple"
    FILES = "files"  # no application: plain files need no recipe
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Keep:
    """What retention keeps. A rule of 0 keeps nothing by itself."""

    within_days: int = 15
    daily: int = 15
    weekly: int = 8
    monthly: int = 12
    yearly: int = 0  # data minimisation, domain.md RET-05


@dataclass(frozen=True, slots=True)
class Plan:
    """When a source is backed up, what is kept, and what was promised (domain.md SAV-01)."""

    window_start: str = "20:00"  # local time of the practice, HH:MM
    window_end: str = "06:00"
    #: ISO weekdays, Monday is 1, on which a night may begin.
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    keep: Keep = field(default_factory=Keep)
    pdma_hours: int = 24  # data that may be lost at most
    dmia_hours: int = 24  # interruption that may last at most
    verify_data_every_days: int = 31  # every byte re-read at least so often
    wake_on_lan: bool = True
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class RecipeUse:
    """A recipe applied to a source, with the values its places ask for."""

    name: str
    values: dict[str, str] = field(
        default_factory=dict
    )  # never a secret; secrets are named in the vault


@dataclass(frozen=True, slots=True)
class Source:
    """What is backed up: a machine or a share."""

    id: SourceId
    name: str  # slug, unique: letters, digits, «-»; used in commands
    label: str  # what people read
    kind: SourceKind
    created_at: datetime
    roots: tuple[str, ...]  # absolute paths as the source names them; for a share: the one folder
    excludes: tuple[
        str, ...
    ] = ()  # Borg patterns («sh:**/Cache», «pf:/proc»), on top of the system's defaults
    system: System = System.LINUX
    host: str | None = None
    port: int = 22
    user: str | None = None
    host_key: str | None = None  # «ssh-ed25519 AAAA…», pinned; None until confirmed
    mac: str | None = None  # learned, for Wake-on-LAN
    recipes: tuple[RecipeUse, ...] = ()
    plan: Plan = field(default_factory=Plan)
    quota_bytes: int | None = None  # pushed sources
    last_seen_at: datetime | None = None
    #: Why nothing is pruned (``policy.findings`` words), None when nothing is in doubt.
    frozen_reason: str | None = None
    frozen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """The one Borg repository of a source."""

    source_id: SourceId
    path: str
    borg_id: str  # 64 hex digits: what must be found there
    created_at: datetime
    size_bytes: int = 0  # on disk, at the last look
    checked_at: datetime | None = (
        None  # last rolling `borg check --repository-only` that found nothing
    )
    all_read_since: datetime | None = None  # every byte was re-read since then, and was right


class SnapshotState(StrEnum):
    """What is known about a snapshot."""

    COMPLETE = "complete"  # everything asked for is in it
    WARNED = "warned"  # some files could not be read, or changed while read


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One Borg archive, listed once it is complete."""

    id: SnapshotId
    source_id: SourceId
    archive: str  # name of the archive: ids and times, never a person
    archive_id: str  # 64 hex digits
    job_id: JobId | None
    started_at: datetime
    finished_at: datetime
    state: SnapshotState
    consistency: Consistency
    files_seen: int  # regular files the source showed
    items: int  # items in the archive
    original_bytes: int
    new_bytes: int  # compressed, deduplicated: what this snapshot added to the repository
    changed: int = 0
    vanished: int = 0
    warnings: int = 0
    protected: bool = False
    legal_hold: bool = False
    removed_at: datetime | None = None


class ReadEventKind(StrEnum):
    """Why a file is not, or not surely, in a snapshot as it was."""

    CHANGED_WHILE_READ = "changed-while-read"
    VANISHED = "vanished"
    UNREADABLE = "unreadable"
    SKIPPED_SPECIAL = "skipped-special"  # socket, device, pipe
    LOOP = "loop"
    NAME_REFUSED = "name-refused"  # a server sent «..», «/», NUL in a name
    TOO_LARGE = "too-large"  # grew for ever
    LIVE_DATABASE = "live-database"  # raw copy of a running database
    DAMAGED = "damaged"  # found later, by a proof or a check: what is stored is not what was read
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """One thing met while a source was read."""

    kind: ReadEventKind
    path: bytes
    reason: str  # never holds a path


class EntryKind(StrEnum):
    """What an item of a snapshot is."""

    FILE = "f"
    FOLDER = "d"
    LINK = "l"
    OTHER = "o"


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a snapshot, as the catalogue holds it."""

    path: bytes
    kind: EntryKind
    size: int
    mtime_ns: int  # since the epoch
    mode: int
    uid: int | None = None
    gid: int | None = None
    owner: str | None = None
    group: str | None = None
    target: bytes | None = None  # of a link
    #: For a file: 36 bytes a chunk: id (32 bytes), size (unsigned 32 bit little endian). b"" else.
    chunks: bytes = b""


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    WARNED = "warned"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # its heart stopped; requeued if its kind says so


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. Totals are estimates and may be None."""

    step: str = ""  # a word of ``jobs.kinds``: connecting, reading, proving …
    done: int = 0
    total: int | None = None
    unit: str = "bytes"
    files: int = 0
    bytes_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of slow work."""

    id: JobId
    kind: str
    spec: dict[str, object]  # ids and options; file paths only as base64 (beam 7)
    lock: str  # what it runs alone on: «repository:3»; "" for nothing
    state: JobState
    queued_at: datetime
    not_before: datetime
    attempt: int
    source_id: SourceId | None = None
    person_id: PersonId | None = None
    parent_id: JobId | None = None
    started_at: datetime | None = None
    beat_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_asked_at: datetime | None = None
    progress: Progress = field(default_factory=Progress)
    error_code: str | None = None
    error_facts: dict[str, object] = field(default_factory=dict)
    result: dict[str, object] = field(default_factory=dict)  # figures only


class Outcome(StrEnum):
    """How a verification ended."""

    PROVEN = "proven"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"  # it could not be done: not green, not an alarm by itself


@dataclass(frozen=True, slots=True)
class Proof:
    """A stored, chained record of something verified."""

    seq: int  # in the ledger
    at: datetime
    #: snapshot.sample · snapshot.count · repository.check · repository.data · drill.restore · …
    kind: str
    outcome: Outcome
    source_id: SourceId | None
    snapshot_id: SnapshotId | None
    figures: dict[str, object]  # what was checked, how many, how long
    target_id: int | None = None  # copy.listing · copy.read-back · copy.complete · copy.tamper · …


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One link of the chain."""

    seq: int
    at: datetime
    event: str  # noun.verb
    actor: str  # «person:3», «box», «job:12»
    subject: str  # «source:3», «snapshot:17»
    body: dict[str, object]
    previous: str  # 64 hex digits
    digest: str  # 64 hex digits


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something abnormal about a run, open until a person closes it."""

    id: int
    source_id: SourceId
    snapshot_id: SnapshotId | None
    opened_at: datetime
    kind: str  # of ``policy.anomaly``
    reading: dict[str, float]  # value, usual, threshold …
    closed_at: datetime | None = None
    closed_by: PersonId | None = None
    closing_reason: str | None = None


class Role(StrEnum):
    """Who a person is in the practice (domain.md SEC-03)."""

    OWNER = "owner"  # titulaire
    ASSOCIATE = "associate"  # collaborateur
    LOCUM = "locum"  # remplaçant
    SECRETARY = "secretary"  # secrétaire
    TECHNICAL_ADMIN = "technical-admin"  # admin technique: sees no document
    SEALED_ENVELOPE = "sealed-envelope"  # nobody's: the account in the safe, for one use (SEC-04)


@dataclass(frozen=True, slots=True)
class Person:
    """A nominative account."""

    id: PersonId
    login: str
    name: str
    role: Role
    language: str
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RestoreSheet:
    """Fiche de restauration, six mandatory fields (domain.md SAV-16)."""

    id: int
    job_id: JobId | None
    source_id: SourceId
    snapshot_id: SnapshotId
    operator: str
    requested_by: str
    files: int
    bytes: int
    snapshot_at: datetime
    restored_at: datetime
    destination: str  # browser · share · machine · folder
    check: Outcome
    figures: dict[str, object]
