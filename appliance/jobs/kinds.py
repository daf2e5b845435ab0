"""What kinds of slow work there are: one frozen spec per kind, with its lock and its retry rule.

A file path in a spec is base64 (beam 7: specs are shown in job lists and logs).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import ClassVar, Final

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.model import SnapshotId, SourceId


@dataclass(frozen=True, slots=True)
class Spec:
    """The root of all specs: plain JSON values only."""

    #: Stable name, ``noun.verb``.
    kind: ClassVar[str]
    #: What a person reads.
    title: ClassVar[str]
    #: Runs again by itself when its process died.
    restarts: ClassVar[bool] = True
    #: Attempts for retryable errors, the first included.
    attempts: ClassVar[int] = 3

    @property
    def lock(self) -> str:
        """What it runs alone on; empty for nothing."""
        return ""

    @property
    def source(self) -> SourceId | None:
        """The source it is about."""
        value = getattr(self, "source_id", None)
        return None if value is None else SourceId(value)

    @property
    def wish(self) -> str:
        """The same wish waits only once."""
        values = ",".join(f"{name}={value}" for name, value in sorted(self.to_json().items()))
        if len(values) > 120:  # a restore of many files
            values = sha256(values.encode()).hexdigest()
        return f"{self.kind}({values})"

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OnRepository(Spec):
    """Work that opens a repository: one at a time for each."""

    source_id: SourceId

    @property
    def lock(self) -> str:
        """One running job per repository."""
        return f"repository:{self.source_id}"


@dataclass(frozen=True, slots=True)
class TakeSnapshot(OnRepository):
    """Read a source into a new snapshot, then queue its proof."""

    kind: ClassVar[str] = "snapshot.take"
    title: ClassVar[str] = mark("Backup")


@dataclass(frozen=True, slots=True)
class ImportPushed(OnRepository):
    """Read what a machine pushed by itself into the catalogue."""

    kind: ClassVar[str] = "snapshot.import"
    title: ClassVar[str] = mark("Reading what the machine sent")


@dataclass(frozen=True, slots=True)
class VerifySnapshot(OnRepository):
    """Restore a sample of a snapshot and compare it byte for byte; then queue pruning."""

    snapshot_id: SnapshotId
    kind: ClassVar[str] = "snapshot.verify"
    title: ClassVar[str] = mark("Proof: restoring a sample")


@dataclass(frozen=True, slots=True)
class CheckRepository(OnRepository):
    """Re-read stored bytes: a slice of them (rolling), or every one with ``full``."""

    full: bool = False
    kind: ClassVar[str] = "repository.check"
    title: ClassVar[str] = mark("Re-reading what is stored")


@dataclass(frozen=True, slots=True)
class Prune(OnRepository):
    """Remove the snapshots retention does not keep, then give their space back."""

    kind: ClassVar[str] = "repository.prune"
    title: ClassVar[str] = mark("Removing old snapshots")


@dataclass(frozen=True, slots=True)
class RebuildCatalogue(OnRepository):
    """Make the list of files again from the repository."""

    kind: ClassVar[str] = "catalogue.rebuild"
    title: ClassVar[str] = mark("Making the list of files again")


@dataclass(frozen=True, slots=True)
class RestoreFiles(OnRepository):
    """Bring files back: to a folder of the box, a share, or their machine.

    Reads only, yet runs alone on the repository: a compaction in the middle would slow it.
    """

    snapshot_id: SnapshotId
    paths: tuple[str, ...]  # base64 of the paths as the catalogue holds them
    destination: str  # folder · share · machine
    place: str = ""  # base64 of the folder (folder, share) or of the folder on the machine; "" = the original place
    share_id: int | None = None
    replace: bool = False  # a person said that existing files may be replaced
    requested_by: str = ""
    kind: ClassVar[str] = "files.restore"
    title: ClassVar[str] = mark("Restoring files")
    restarts: ClassVar[bool] = False  # what was restored so far is on the sheet; a person decides


@dataclass(frozen=True, slots=True)
class CheckMachine(Spec):
    """Try a machine and say in words what works."""

    source_id: SourceId
    kind: ClassVar[str] = "machine.check"
    title: ClassVar[str] = mark("Trying the machine")
    attempts: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class ProbeHostKey(Spec):
    """Ask a machine for its host key, so that a person can confirm it."""

    source_id: SourceId
    kind: ClassVar[str] = "machine.probe"
    title: ClassVar[str] = mark("Looking for the machine")
    attempts: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class SetUpSource(OnRepository):
    """Make the key, the repository and the vault entries of a new source; safe to run again."""

    kind: ClassVar[str] = "source.set-up"
    title: ClassVar[str] = mark("Preparing the repository")


@dataclass(frozen=True, slots=True)
class WakeMachine(Spec):
    """Send a Wake-on-LAN packet before a machine's window."""

    source_id: SourceId
    kind: ClassVar[str] = "machine.wake"
    title: ClassVar[str] = mark("Waking the machine")
    attempts: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class OnTarget(Spec):
    """Work that writes at a target, or reads much of it: one at a time for each."""

    target_id: int

    @property
    def lock(self) -> str:
        """One running job per target."""
        return f"target:{self.target_id}"


@dataclass(frozen=True, slots=True)
class SetUpTarget(Spec):
    """Make the key the box signs in with, and ask the place for its host key; safe to run again."""

    target_id: int
    kind: ClassVar[str] = "target.set-up"
    title: ClassVar[str] = mark("Preparing the destination")
    attempts: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class CheckTarget(Spec):
    """Try a target and say in words what works; runs beside a push that lasts days."""

    target_id: int
    kind: ClassVar[str] = "target.check"
    title: ClassVar[str] = mark("Trying the destination")
    attempts: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class PushCopy(OnTarget):
    """Send what a target lacks and publish a generation, then queue its verification."""

    kind: ClassVar[str] = "copy.push"
    title: ClassVar[str] = mark("Sending the copy")


@dataclass(frozen=True, slots=True)
class VerifyCopy(OnTarget):
    """Compare what a target has with what was sent, read a part back, remove what may go."""

    full: bool = False  # read every object back
    kind: ClassVar[str] = "copy.verify"
    title: ClassVar[str] = mark("Proof: reading the copy back")


@dataclass(frozen=True, slots=True)
class TamperCopy(OnTarget):
    """Try to harm a canary at a target with the box's own credentials; ask a bucket for its settings."""

    kind: ClassVar[str] = "copy.tamper"
    title: ClassVar[str] = mark("Trying to harm the copy")


@dataclass(frozen=True, slots=True)
class AdoptCopy(OnTarget):
    """Verify and count what was carried to a target by disk."""

    kind: ClassVar[str] = "copy.adopt"
    title: ClassVar[str] = mark("Reading what was carried there")


@dataclass(frozen=True, slots=True)
class RunDrill(OnTarget):
    """Make the box again from a target in a scratch place, compare, measure and remove it.

    The kit's words lie sealed in the vault under ``drill:words`` and are forgotten when it ends.
    """

    kind: ClassVar[str] = "drill.run"
    title: ClassVar[str] = mark("Exercise: making the box again")
    restarts: ClassVar[bool] = False  # a person is there for it: it is they who begin it again
    attempts: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class TidyDisk(Spec):
    """Empty the bins of what is past its days, forget uploads nobody went on with, measure every share."""

    kind: ClassVar[str] = "disk.tidy"
    title: ClassVar[str] = mark("Tidying the shares")

    @property
    def lock(self) -> str:
        """One at a time."""
        return "disk.tidy"


@dataclass(frozen=True, slots=True)
class SmbApply(Spec):
    """Tell Samba who may see what by the file explorer now, and give it the passwords that wait."""

    kind: ClassVar[str] = "smb.apply"
    title: ClassVar[str] = mark("Rights in the file explorer")

    @property
    def lock(self) -> str:
        """One at a time."""
        return "smb.apply"


@dataclass(frozen=True, slots=True)
class TunnelApply(Spec):
    """Write down who may come in through the tunnel."""

    kind: ClassVar[str] = "tunnel.apply"
    title: ClassVar[str] = mark("Who may come in through the tunnel")

    @property
    def lock(self) -> str:
        """One at a time."""
        return "tunnel"


@dataclass(frozen=True, slots=True)
class RenewCertificate(Spec):
    """Get the web interface's certificate from an authority by ACME, or a newer one."""

    #: Ask the authority though this box does not see the DNS record itself.
    anyway: bool = False
    kind: ClassVar[str] = "certificate.renew"
    title: ClassVar[str] = mark("Certificate by ACME")

    @property
    def lock(self) -> str:
        """One at a time."""
        return "certificate"


@dataclass(frozen=True, slots=True)
class RestoreFolder(Spec):
    """Write a folder of a share back as it was in a night: where it was, or beside what is there now.

    Goes on where it was when its process died: what was fetched is in the draft.
    """

    source_id: SourceId  # of the share
    snapshot_id: SnapshotId
    share_id: int
    path: str  # base64, below the share
    stored: str  # base64, as the catalogue has it in that night
    draft: str  # 32 hexadecimal digits, of this restore alone
    kind: ClassVar[str] = "folder.restore"
    title: ClassVar[str] = mark("Bringing a folder back")

    @property
    def lock(self) -> str:
        """One at a time into a share: each counts on the room that is left."""
        return f"folder.restore:{self.share_id}"

    @property
    def wish(self) -> str:
        """The same folder of the same night waits once, whoever asks again."""
        path = sha256(self.path.encode()).hexdigest()
        return f"{self.kind}({self.share_id},{self.snapshot_id},{path})"


@dataclass(frozen=True, slots=True)
class VerifyIndex(Spec):
    """Compare what the search knows of every share with its disk."""

    kind: ClassVar[str] = "disk.index-verify"
    title: ClassVar[str] = mark("Comparing the search with the disk")

    @property
    def lock(self) -> str:
        """One at a time."""
        return "disk.index-verify"


@dataclass(frozen=True, slots=True)
class SendNotices(Spec):
    """Take the notices that are due out of the box, by each way; tell the outside monitor."""

    kind: ClassVar[str] = "notices.send"
    title: ClassVar[str] = mark("Sending notices")

    @property
    def lock(self) -> str:
        """One at a time."""
        return "notices.send"


KINDS: Final[dict[str, type[Spec]]] = {
    spec.kind: spec
    for spec in (
        TakeSnapshot,
        ImportPushed,
        VerifySnapshot,
        CheckRepository,
        Prune,
        RebuildCatalogue,
        RestoreFiles,
        CheckMachine,
        ProbeHostKey,
        SetUpSource,
        WakeMachine,
        SetUpTarget,
        CheckTarget,
        PushCopy,
        VerifyCopy,
        TamperCopy,
        AdoptCopy,
        RunDrill,
        TidyDisk,
        RestoreFolder,
        VerifyIndex,
        SmbApply,
        TunnelApply,
        SendNotices,
        RenewCertificate,
    )
}


def from_json(kind: str, values: Mapping[str, object]) -> Spec:
    """Return the spec of ``kind`` with ``values``.

    Raises:
        InvalidInput: the kind or a field is unknown, or one is missing.
    """
    spec = KINDS.get(kind)
    if spec is None:
        raise InvalidInput("kind", f"unknown job kind {kind}")
    names = {each.name for each in fields(spec)}
    if not set(values) <= names:
        raise InvalidInput("spec", f"unknown fields for {kind}")
    given = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    try:
        return spec(**given)
    except TypeError as error:
        raise InvalidInput("spec", f"a field of {kind} is missing") from error
