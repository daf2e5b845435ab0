"""Every error a person may meet, as one tree.

ArmoireError
├── InputError                what a person or a program gave us is wrong; nothing was changed
│   ├── InvalidInput          input.invalid
│   ├── NotFound              input.not-found
│   ├── AlreadyExists         input.already-exists
│   ├── AlreadyQueued         job.already-queued
│   └── SnapshotGoing         input.snapshot-going
├── Refused                   allowed input, but not for this person or not now
│   ├── ReadingOnly           access.reading-only
│   ├── NotSignedIn           access.not-signed-in
│   ├── NotAllowed            access.not-allowed
│   ├── TooManyAttempts       access.too-many-attempts
│   ├── AccountBlocked        access.account-blocked
│   ├── PasswordWrong         access.password-wrong
│   ├── AccountNotOpen        access.account-not-open
│   ├── CodeWrong             access.code-wrong
│   ├── PasskeyRefused        access.passkey-refused
│   ├── SecondFactorDue       access.second-factor-due
│   ├── SecondFactorMissing   access.second-factor-missing
│   ├── ProofNeeded           access.proof-needed
│   ├── OutsideRefused        access.outside-refused
│   ├── EnvelopeOpened        access.envelope-opened
│   ├── KitConfirmed          kit.confirmed
│   ├── TunnelFull            access.tunnel-full
│   ├── FrontSilent           network.front-silent
│   ├── FrontUnknown          network.front-unknown
│   ├── ClosedOutside         network.closed-outside
│   ├── LinkExpired           access.link-expired
│   ├── DiskRefused           target.disk-refused
│   └── Frozen                backup.frozen
├── BoxError                  the box cannot do it
│   ├── SettingsInvalid       settings.invalid
│   ├── NotInitialised        box.not-initialised
│   ├── DatabaseUnusable      box.database-unusable
│   ├── NoSpace               box.no-space
│   ├── ClockWrong            box.clock-wrong
│   ├── WorkerUnreachable     box.worker-unreachable
│   ├── AlreadyRunning        box.already-running
│   ├── RecoveryUnfinished    box.recovery-unfinished
│   ├── ToolMissing           box.tool-missing
│   ├── ToolTimeout           box.tool-timeout
│   ├── SmbHelperMissing      smb.helper-missing
│   ├── SmbFailed             smb.failed
│   └── LedgerBroken          ledger.broken
├── VaultError
│   ├── KeyMissing            vault.key-missing
│   ├── SecretMissing         vault.secret-missing
│   ├── SecretUnreadable      vault.secret-unreadable
│   ├── WordUnknown           kit.word-unknown
│   ├── WordsWrong            kit.words-wrong
│   ├── SheetMissing          kit.sheet-missing
│   ├── SheetTwice            kit.sheet-twice
│   ├── SheetOfAnotherKit     kit.sheet-of-another-kit
│   └── KitDoesNotOpen        kit.does-not-open
├── MachineError              a machine of the practice
│   ├── MachineUnreachable    machine.unreachable          (retryable)
│   ├── ConnectionLost        machine.connection-lost      (retryable)
│   ├── KeyRefused            machine.key-refused
│   ├── HostKeyUnknown        machine.host-key-unknown
│   ├── HostKeyChanged        machine.host-key-changed
│   ├── SftpUnavailable       machine.sftp-unavailable
│   ├── ProtocolViolation     machine.protocol-violation
│   ├── RootUnreadable        machine.root-unreadable
│   └── RecipeFailed          recipe.failed
├── BackupError               a Borg repository
│   ├── RepositoryMissing     backup.repository-missing
│   ├── RepositoryLocked      backup.repository-locked     (retryable)
│   ├── RepositoryDamaged     backup.repository-damaged
│   ├── RepositoryReplaced    backup.repository-replaced
│   ├── WrongPassphrase       backup.wrong-passphrase
│   ├── SnapshotMissing       backup.snapshot-missing
│   ├── ArchiveListUnreadable backup.archive-list-unreadable
│   ├── ArchiveVanished       backup.archive-vanished
│   ├── ChunkMissing          backup.chunk-missing         (retryable)
│   ├── ProofFailed           backup.proof-failed
│   └── BorgFailed            backup.borg-failed
├── TargetError               a place where copies go
│   ├── TargetUnreachable     target.unreachable          (retryable)
│   ├── TargetFull            target.full
│   ├── TargetRefuses         target.refuses
│   ├── TargetIdentityChanged target.identity-changed
│   ├── TargetListUnreadable  target.list-unreadable      (retryable)
│   ├── ObjectAlreadyThere    target.object-already-there
│   ├── ObjectMissing         target.object-missing
│   ├── ObjectAltered         target.object-altered
│   ├── SendingNotAllowed     target.sending-not-allowed
│   ├── StateNotSaved         target.state-not-saved      (retryable)
│   └── NothingToRecover      target.nothing-to-recover
├── CatalogueError
│   ├── CatalogueMissing      catalogue.missing
│   ├── CatalogueDamaged      catalogue.damaged
│   ├── CatalogueBusy         catalogue.busy               (retryable)
│   └── NightOutOfOrder       catalogue.night-out-of-order
├── RestoreError
│   ├── WouldOverwrite        restore.would-overwrite
│   └── NothingRestored       restore.nothing
├── DiskError                 a file of the network disk
│   ├── FileMissing           disk.file-missing
│   ├── NotAFile              disk.not-a-file
│   ├── NotAFolder            disk.not-a-folder
│   ├── NameTaken             disk.name-taken
│   ├── FileChanged           disk.file-changed
│   ├── ShareFull             disk.share-full
│   ├── ShareNotWritable      disk.share-not-writable
│   ├── ShareMoved            disk.share-moved
│   ├── RestoreBusy           disk.restore-busy
│   ├── UploadGone            disk.upload-gone
│   ├── UploadDamaged         disk.upload-damaged
│   ├── UploadBusy            disk.upload-busy
│   ├── LinkGone              disk.link-gone
│   ├── LinkPasswordWrong     disk.link-password-wrong
│   ├── FileRefused           disk.file-refused
│   └── NotPreviewed          disk.not-previewed
├── CertificateError          a certificate by ACME
│   ├── AuthorityUnreachable  certificate.authority-unreachable (retryable)
│   ├── TermsNotAgreed        certificate.terms
│   ├── AuthorityAccountMissing certificate.account-missing
│   ├── NameNotResolved       certificate.name-not-resolved
│   ├── PortClosed            certificate.port-closed
│   ├── AnswerWrong           certificate.answer-wrong
│   ├── RecordMissing         certificate.record-missing
│   ├── AuthorityLimits       certificate.rate-limited
│   ├── CertificateRefused    certificate.refused
│   ├── NoListener            certificate.no-listener
│   ├── HookFailed            certificate.hook-failed
│   └── WebSilent             certificate.web-silent       (retryable)
├── JobCancelled              job.cancelled
└── JobCrashed                job.crashed

A class says what happened, its fields are the facts, ``public`` is what a person may be told
(an English template; the French one is in ``locales/``) and ends with what to do next.
Fields marked ``private()`` may name a patient's file: they never reach ``str()``, so no log.
"""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar


def private() -> Any:  # noqa: ANN401 - what dataclasses.field returns is typed so
    """Mark a field that may hold a patient's file name or a person's data."""
    return field(repr=False, metadata={"private": True})


@dataclass(eq=False)
class ArmoireError(Exception):
    """The root: has a stable code, a text for people, and says whether trying again may help."""

    code: ClassVar[str] = "armoire.error"
    #: English template over the fields, for a person; ends with what to do next.
    public: ClassVar[str] = "Something went wrong. The details are in the log of the box."
    #: Obeyed by the runner: the same work may succeed later without a change.
    retryable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        # BaseException keeps what it was called with, and would show it.
        self.args = ()

    @property
    def facts(self) -> dict[str, object]:
        """Every field, private ones included: for the person's own screen only."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def loggable(self) -> dict[str, object]:
        """The fields that may be logged."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if not each.metadata.get("private")
        }

    def __str__(self) -> str:
        facts = " ".join(f"{name}={value!r}" for name, value in self.loggable.items())
        return f"{self.code} {facts}".rstrip()


# --- input ---------------------------------------------------------------------------------


@dataclass(eq=False)
class InputError(ArmoireError):
    """What was given is wrong; nothing was changed."""

    code = "input.error"
    public = "This cannot be used as it is. Nothing was changed."


@dataclass(eq=False)
class InvalidInput(InputError):
    """A field has a value that cannot be used."""

    #: The field's name, as in the form or the command.
    name: str
    #: An English sentence (a translatable text) saying what is expected.
    expected: str
    code = "input.invalid"
    public = "%(name)s: %(expected)s Nothing was changed."


@dataclass(eq=False)
class NotFound(InputError):
    """Nothing has this name or number."""

    noun: str
    identity: str = private()
    code = "input.not-found"
    public = "There is no %(noun)s «%(identity)s» here. Check the name in the list."


@dataclass(eq=False)
class AlreadyExists(InputError):
    """The name is taken."""

    noun: str
    identity: str = private()
    code = "input.already-exists"
    public = "There is already a %(noun)s «%(identity)s». Choose another name."


@dataclass(eq=False)
class AlreadyQueued(InputError):
    """The same job already waits; nothing was added."""

    kind: str
    subject: str
    job_id: int
    code = "job.already-queued"
    public = "This is already waiting (job %(job_id)s). Nothing was added."


@dataclass(eq=False)
class SnapshotGoing(InputError):
    """A pruning has begun to remove the snapshot; nothing was changed."""

    snapshot_id: int
    code = "input.snapshot-going"
    public = (
        "This snapshot is being removed just now: the plan does not keep it. Protect another one,"
        " or look again in a few minutes whether it is still there."
    )


# --- refusals ------------------------------------------------------------------------------


@dataclass(eq=False)
class Refused(ArmoireError):
    """Not for this person, or not now."""

    code = "access.refused"
    public = "This is refused."


@dataclass(eq=False)
class ReadingOnly(Refused):
    """The box is being made again from a copy: documents can be read, nothing can be changed."""

    code = "access.reading-only"
    public = (
        "The box is being made again from a copy: documents can be read, nothing can be changed yet. "
        "Nothing was done."
    )


@dataclass(eq=False)
class NotSignedIn(Refused):
    """No session, or an ended one."""

    code = "access.not-signed-in"
    public = "Please sign in."


@dataclass(eq=False)
class NotAllowed(Refused):
    """The person's role does not include this."""

    action: str
    code = "access.not-allowed"
    public = "Your account may not do this. Ask the person responsible for the box."


@dataclass(eq=False)
class TooManyAttempts(Refused):
    """Too many failed sign-ins."""

    wait_s: int
    code = "access.too-many-attempts"
    public = "Too many attempts. Wait %(wait_s)s seconds, then try again."


@dataclass(eq=False)
class AccountBlocked(Refused):
    """So many sign-ins failed that waiting does not help (domain.md SEC-07)."""

    code = "access.account-blocked"
    public = (
        "This account is blocked after too many failed attempts. "
        "Ask for a one-time link with «armoire link»."
    )


@dataclass(eq=False)
class PasswordWrong(Refused):
    """The password that was asked for again is not this person's."""

    code = "access.password-wrong"
    public = "This is not your password. Nothing was shown."


@dataclass(eq=False)
class CodeWrong(Refused):
    """A one-time code that is not the one of now, was used already, or never was."""

    code = "access.code-wrong"
    public = "This code is wrong or was used already. Wait for the next one, then type it again."


@dataclass(eq=False)
class PasskeyRefused(Refused):
    """A passkey's answer that does not fit: another site, another key, an old challenge."""

    code = "access.passkey-refused"
    public = "This passkey was not recognised. Try again, or use another way."


@dataclass(eq=False)
class SecondFactorDue(Refused):
    """The session waits for its second factor."""

    code = "access.second-factor-due"
    public = "Your second factor is still due. Sign in again in the browser."


@dataclass(eq=False)
class SecondFactorMissing(Refused):
    """From outside two factors are asked for, and this account has one (domain.md SEC-09)."""

    code = "access.second-factor-missing"
    public = (
        "From outside the practice a second factor is asked for, and you have none yet. "
        "Make one at the practice, or ask for a one-time link."
    )


@dataclass(eq=False)
class ProofNeeded(Refused):
    """What matters most asks again who it is."""

    code = "access.proof-needed"
    public = "Show again who you are, then do this once more. Nothing was changed."


@dataclass(eq=False)
class OutsideRefused(Refused):
    """A sign-in through another service that cannot be taken.

    reason: a sentence of ours, translatable; never what the service said.
    """

    reason: str
    code = "access.outside-refused"
    public = "The sign-in through the other service was not accepted: %(reason)s"


@dataclass(eq=False)
class AccountNotOpen(Refused):
    """A locum outside the term: it has not begun, or has ended (domain.md SEC-02)."""

    starts_at: datetime | None  # of the next term; None: no term is to come
    code = "access.account-not-open"
    public = (
        "This account is open during a replacement only. "
        "Ask the doctor who prepared it, if the dates are not right."
    )


@dataclass(eq=False)
class EnvelopeOpened(Refused):
    """The code of a sealed envelope that was used before: it is good once (domain.md SEC-04)."""

    code = "access.envelope-opened"
    public = (
        "This envelope was opened before: its code was good once. Ask an owner to seal a new one, or run "
        "«armoire link» on the box."
    )


@dataclass(eq=False)
class KitConfirmed(Refused):
    """The words of the kit were typed: the box has none to print."""

    code = "kit.confirmed"
    public = (
        "The words of this kit were typed already: the box has forgotten them. Make a new kit if a "
        "sheet was lost."
    )


@dataclass(eq=False)
class TunnelFull(Refused):
    """Every address of the tunnel's network was given."""

    code = "access.tunnel-full"
    public = "The tunnel has no address left for another device. Ask whoever runs the box."


@dataclass(eq=False)
class FrontSilent(Refused):
    """The web server in front did not say who is visiting, or said something that cannot be."""

    code = "network.front-silent"
    public = (
        "The web server in front of the box does not say who is visiting, so nobody is let in. Whoever runs the box: "
        "it has to send X-Forwarded-For with the visitor's own address (docs/front.md)."
    )


@dataclass(eq=False)
class FrontUnknown(Refused):
    """A web server stands in front of the box that nobody named: everybody would seem to be at the practice."""

    code = "network.front-unknown"
    public = (
        "A web server stands in front of the box, and the setting front_address does not name it, so nobody is let "
        "in. Whoever runs the box: docs/front.md says what to set."
    )


@dataclass(eq=False)
class ClosedOutside(Refused):
    """A visitor from the Internet, and nobody decided that the box is open to it."""

    code = "network.closed-outside"
    public = (
        "From here the box is reached through its tunnel only: switch WireGuard on and try again."
    )


@dataclass(eq=False)
class LinkExpired(Refused):
    """A one-time link was used, has ended, or never was."""

    code = "access.link-expired"
    public = "This link was already used or has ended. Ask for a new one with «armoire link»."


@dataclass(eq=False)
class DiskRefused(Refused):
    """A disk that was plugged in is not one to copy to; nothing was written on it."""

    disk: str  # what is written on its label, or where it is mounted
    reason: str
    code = "target.disk-refused"
    public = "The disk «%(disk)s» is not used: %(reason)s Nothing was written on it."


@dataclass(eq=False)
class Frozen(Refused):
    """Pruning is frozen because something is in doubt (beam 6)."""

    source_id: int
    reason: str
    code = "backup.frozen"
    public = "Nothing is removed from this repository while something is in doubt: %(reason)s."


# --- the box itself ------------------------------------------------------------------------


@dataclass(eq=False)
class BoxError(ArmoireError):
    """The box cannot do it."""

    code = "box.error"


@dataclass(eq=False)
class SettingsInvalid(BoxError):
    """The settings file cannot be used."""

    path: str
    reason: str
    code = "settings.invalid"
    public = "The settings file %(path)s cannot be used: %(reason)s. Correct it and start again."


@dataclass(eq=False)
class NotInitialised(BoxError):
    """The data folder holds no box yet."""

    path: str
    code = "box.not-initialised"
    public = "There is no box in %(path)s yet. Run «armoire init» first."


@dataclass(eq=False)
class DatabaseUnusable(BoxError):
    """The state database is damaged or newer than this program."""

    path: str
    reason: str
    code = "box.database-unusable"
    public = "The database %(path)s cannot be used: %(reason)s."


@dataclass(eq=False)
class NoSpace(BoxError):
    """A disk of the box is full, or would be."""

    path: str
    free_bytes: int
    needed_bytes: int
    code = "box.no-space"
    public = (
        "The disk of the box is full (%(path)s). Free some space or add a disk; "
        "what is already kept is safe."
    )
    retryable = True


@dataclass(eq=False)
class ClockWrong(BoxError):
    """The clock went back or is far from what the last records say."""

    now: str
    last: str
    code = "box.clock-wrong"
    public = (
        "The clock of the box says %(now)s, but the last record is of %(last)s. "
        "Set the clock right; until then nothing is removed."
    )


@dataclass(eq=False)
class WorkerUnreachable(BoxError):
    """The worker does not answer."""

    code = "box.worker-unreachable"
    public = "The part of the box that opens snapshots does not answer. Try again in a minute."
    retryable = True


@dataclass(eq=False)
class AlreadyRunning(BoxError):
    """Another worker has this data folder."""

    path: str
    code = "box.already-running"
    public = "A worker runs in %(path)s already. End it first."


@dataclass(eq=False)
class RecoveryUnfinished(BoxError):
    """A recovery was begun in this data folder and has to go on first."""

    path: str
    code = "box.recovery-unfinished"
    public = (
        "The box in %(path)s is being made again from a copy. "
        "Run «armoire recover» again with the kit: it goes on where it was."
    )


@dataclass(eq=False)
class ToolMissing(BoxError):
    """A program is not installed."""

    program: str
    code = "box.tool-missing"
    public = "The program «%(program)s» is not installed on the box. Run «make install» again."


@dataclass(eq=False)
class SmbHelperMissing(BoxError):
    """What sets the file explorer's access up with the rights of root does not answer."""

    code = "smb.helper-missing"
    public = (
        "Access by the file explorer is not set up on this box: the unit armoire-smb does not answer. "
        "systemd/README.md says how it is installed; the disk works in the browser meanwhile."
    )
    retryable = True


@dataclass(eq=False)
class SmbFailed(BoxError):
    """A program of Samba refused; what was in use before still is."""

    program: str
    exit_code: int
    code = "smb.failed"
    public = (
        "Access by the file explorer was left as it was: «%(program)s» refused (%(exit_code)s). "
        "The log of the unit armoire-smb says more."
    )


@dataclass(eq=False)
class ToolTimeout(BoxError):
    """A program took too long and was stopped."""

    program: str
    timeout_s: float
    code = "box.tool-timeout"
    public = "«%(program)s» did not end within %(timeout_s)s seconds and was stopped."
    retryable = True


@dataclass(eq=False)
class LedgerBroken(BoxError):
    """The chain of the ledger does not verify."""

    seq: int
    reason: str
    code = "ledger.broken"
    public = "The journal was altered at entry %(seq)s (%(reason)s). Keep the box as it is and call for help."


# --- vault ---------------------------------------------------------------------------------


@dataclass(eq=False)
class VaultError(ArmoireError):
    """A secret cannot be had."""

    code = "vault.error"


@dataclass(eq=False)
class KeyMissing(VaultError):
    """The box's private key is not there or not readable by this user."""

    path: str
    code = "vault.key-missing"
    public = "The key of the box cannot be read (%(path)s). Only the worker may read it."


@dataclass(eq=False)
class SecretMissing(VaultError):
    """No secret has this name."""

    name: str
    code = "vault.secret-missing"
    public = "A secret is missing from the vault (%(name)s). Restore the vault from a copy."


@dataclass(eq=False)
class SecretUnreadable(VaultError):
    """A sealed secret does not open with the box's key."""

    name: str
    code = "vault.secret-unreadable"
    public = "A secret does not open with the key of this box (%(name)s). Restore the right key."


@dataclass(eq=False)
class WordUnknown(VaultError):
    """A word typed from a recovery sheet is not one of the 1,024."""

    sheet: int  # 1 …
    position: int  # 1 …
    near: str  # words of the list that look like it, for the person; may be empty
    code = "kit.word-unknown"
    public = "Sheet %(sheet)s: word number %(position)s is not one of the words. Near: %(near)s."


@dataclass(eq=False)
class WordsWrong(VaultError):
    """The words of a sheet do not fit together."""

    sheet: int
    #: 1 … when one single other word would make the sheet right; 0 when it cannot be told.
    position: int
    code = "kit.words-wrong"
    public = "Sheet %(sheet)s: the words do not fit together. Look at word number %(position)s again (0: look at each)."


@dataclass(eq=False)
class SheetMissing(VaultError):
    """More sheets are needed."""

    given: int
    needed: int
    code = "kit.sheet-missing"
    public = "%(needed)s sheets are needed, %(given)s given. Ask another holder."


@dataclass(eq=False)
class SheetTwice(VaultError):
    """The same sheet was given twice."""

    sheet: int
    code = "kit.sheet-twice"
    public = "Sheet %(sheet)s was already given. Take another one."


@dataclass(eq=False)
class SheetOfAnotherKit(VaultError):
    """Sheets of two kits were mixed."""

    sheet: int
    code = "kit.sheet-of-another-kit"
    public = "Sheet %(sheet)s belongs to another kit. Take sheets with the same kit number."


@dataclass(eq=False)
class KitDoesNotOpen(VaultError):
    """The words are right by themselves, and do not open this kit file."""

    code = "kit.does-not-open"
    public = (
        "These words do not open this kit file: it belongs to another kit, or was altered. "
        "Take the file and the sheets with the same kit number."
    )


# --- machines ------------------------------------------------------------------------------


@dataclass(eq=False)
class MachineError(ArmoireError):
    """Something about a machine of the practice."""

    code = "machine.error"


@dataclass(eq=False)
class MachineUnreachable(MachineError):
    """No answer at this address."""

    host: str
    port: int
    reason: str
    code = "machine.unreachable"
    public = (
        "The machine does not answer at %(host)s, port %(port)s. Is it switched on, "
        "on the same network, with its SSH server running?"
    )
    retryable = True


@dataclass(eq=False)
class ConnectionLost(MachineError):
    """The line was cut while reading."""

    host: str
    code = "machine.connection-lost"
    public = (
        "The connection to the machine was lost. What was read so far is kept; it goes on later."
    )
    retryable = True


@dataclass(eq=False)
class KeyRefused(MachineError):
    """The machine does not accept the box's key."""

    host: str
    user: str
    code = "machine.key-refused"
    public = (
        "The machine does not accept the key of the box for «%(user)s». "
        "Run the lines shown under «Add this machine» on it again."
    )


@dataclass(eq=False)
class HostKeyUnknown(MachineError):
    """The machine's host key was never confirmed."""

    host: str
    fingerprint: str
    code = "machine.host-key-unknown"
    public = "The identity of the machine was not confirmed yet (%(fingerprint)s). Compare and confirm it."


@dataclass(eq=False)
class HostKeyChanged(MachineError):
    """Another machine answers at this address, or the system was reinstalled."""

    host: str
    expected: str
    found: str
    code = "machine.host-key-changed"
    public = (
        "Another identity answers at %(host)s: %(found)s instead of %(expected)s. Nothing was read. "
        "If the machine was reinstalled, confirm its new identity; if not, somebody may be in between: call for help."
    )


@dataclass(eq=False)
class SftpUnavailable(MachineError):
    """SSH works, SFTP does not."""

    host: str
    reason: str
    code = "machine.sftp-unavailable"
    public = "The machine accepts the connection but offers no file access (SFTP): %(reason)s."


@dataclass(eq=False)
class ProtocolViolation(MachineError):
    """What the machine sent is not SFTP."""

    host: str
    reason: str
    code = "machine.protocol-violation"
    public = (
        "The machine sent something that cannot be understood (%(reason)s). Nothing of it was kept."
    )


@dataclass(eq=False)
class RootUnreadable(MachineError):
    """A folder that must be backed up cannot be read at all."""

    reason: str
    root: str = private()
    code = "machine.root-unreadable"
    public = "The folder «%(root)s» cannot be read (%(reason)s). Check the path and the rights of the account."


@dataclass(eq=False)
class RecipeFailed(MachineError):
    """An application could not be made consistent; the run has failed."""

    recipe: str
    step: str
    reason: str
    #: What the program on the machine said; it may hold anything.
    said: str = field(default="", repr=False, metadata={"private": True})
    code = "recipe.failed"
    public = "The step «%(step)s» of «%(recipe)s» failed: %(reason)s. Nothing is removed until it works again."


# --- backup --------------------------------------------------------------------------------


@dataclass(eq=False)
class BackupError(ArmoireError):
    """Something about a repository."""

    code = "backup.error"


@dataclass(eq=False)
class RepositoryMissing(BackupError):
    """No repository where one must be: an unplugged disk is never an empty repository."""

    path: str
    code = "backup.repository-missing"
    public = "The repository is not at its place (%(path)s). Is its disk plugged in?"


@dataclass(eq=False)
class RepositoryLocked(BackupError):
    """Another process is at work on it."""

    path: str
    code = "backup.repository-locked"
    public = "The repository is in use. This will be tried again."
    retryable = True


@dataclass(eq=False)
class RepositoryDamaged(BackupError):
    """Stored bytes are not what was written."""

    path: str
    reason: str
    code = "backup.repository-damaged"
    public = "Part of what is stored was damaged (%(reason)s). Nothing is removed; check the disk of the box."


@dataclass(eq=False)
class RepositoryReplaced(BackupError):
    """The repository at this place has another identity than the one that was made."""

    path: str
    expected: str
    found: str
    code = "backup.repository-replaced"
    public = "Another repository lies at the place of this one (%(path)s). Nothing was written."


@dataclass(eq=False)
class WrongPassphrase(BackupError):
    """The passphrase in the vault does not open the repository."""

    path: str
    code = "backup.wrong-passphrase"
    public = "The key in the vault does not open this repository. Restore the vault from a copy."


@dataclass(eq=False)
class SnapshotMissing(BackupError):
    """The archive of a listed snapshot is not in the repository."""

    snapshot_id: int
    code = "backup.snapshot-missing"
    public = "This snapshot is no longer in its repository."


@dataclass(eq=False)
class ArchiveListUnreadable(BackupError):
    """The list of archives cannot be read: never the same as an empty one."""

    path: str
    reason: str
    code = "backup.archive-list-unreadable"
    public = "The list of snapshots cannot be read (%(reason)s). Nothing is removed."


@dataclass(eq=False)
class ArchiveVanished(BackupError):
    """An archive disappeared and nobody here removed it."""

    source_id: int
    archives: tuple[str, ...]
    code = "backup.archive-vanished"
    public = (
        "Snapshots disappeared that this box did not remove. Everything is frozen: call for help."
    )


@dataclass(eq=False)
class ChunkMissing(BackupError):
    """A reader without a lock does not find a piece of a file: it was moved or removed meanwhile."""

    path: str
    chunk: str  # 64 hex digits
    code = "backup.chunk-missing"
    public = "This version of the file was moved or removed at this very moment. Open it again."
    retryable = True


@dataclass(eq=False)
class ProofFailed(BackupError):
    """Bytes restored from a snapshot are not the bytes that were backed up."""

    snapshot_id: int
    mismatches: int
    code = "backup.proof-failed"
    public = (
        "The last snapshot could not be proven: %(mismatches)s files differ. Nothing is removed."
    )


@dataclass(eq=False)
class BorgFailed(BackupError):
    """Borg ended with an error that has no class of its own here."""

    exit_code: int
    message: str = private()
    code = "backup.borg-failed"
    public = "The backup program stopped with an error (%(exit_code)s). The details are in the log of the box."


# --- targets -------------------------------------------------------------------------------


@dataclass(eq=False)
class TargetError(ArmoireError):
    """Something about a place where copies go."""

    code = "target.error"


@dataclass(eq=False)
class TargetUnreachable(TargetError):
    """No answer, or the line was cut."""

    target: str
    reason: str
    code = "target.unreachable"
    public = "The place of the copy does not answer (%(reason)s). It will be tried again; what was sent stays sent."
    retryable = True


@dataclass(eq=False)
class TargetFull(TargetError):
    """No room left, or the quota is reached."""

    target: str
    code = "target.full"
    public = "The place of the copy is full. Free some space there or buy more; the copies already there are safe."


@dataclass(eq=False)
class TargetRefuses(TargetError):
    """The place does not let us: wrong password, missing right, object lock."""

    target: str
    action: str
    reason: str
    code = "target.refuses"
    public = "The place of the copy refuses this (%(action)s: %(reason)s). Check the account there."


@dataclass(eq=False)
class TargetIdentityChanged(TargetError):
    """Another host answers, another disk is plugged in, another box's copies lie there."""

    target: str
    expected: str
    found: str
    code = "target.identity-changed"
    public = "This is not the place it was: %(found)s instead of %(expected)s. Nothing was sent."


@dataclass(eq=False)
class TargetListUnreadable(TargetError):
    """What lies there cannot be listed whole: never the same as an empty place."""

    target: str
    reason: str
    code = "target.list-unreadable"
    public = "What lies at the place of the copy cannot be listed (%(reason)s). Nothing is removed."
    retryable = True


@dataclass(eq=False)
class ObjectAlreadyThere(TargetError):
    """An object of this name exists: objects are written once."""

    target: str
    name: str
    code = "target.object-already-there"
    public = "An object of this name is already there. Nothing was overwritten."


@dataclass(eq=False)
class ObjectMissing(TargetError):
    """An object that must be there is not."""

    target: str
    name: str
    code = "target.object-missing"
    public = "Part of the copy is missing at its place (%(name)s). It is sent again the next night."


@dataclass(eq=False)
class ObjectAltered(TargetError):
    """An object is not what was sent."""

    target: str
    name: str
    reason: str
    code = "target.object-altered"
    public = (
        "Part of the copy was altered at its place (%(reason)s). Ask the host; nothing is removed."
    )


@dataclass(eq=False)
class SendingNotAllowed(TargetError):
    """The rules of hosting do not allow new sends to this place."""

    target: str
    reason: str
    code = "target.sending-not-allowed"
    public = "Nothing is sent to this place: %(reason)s"


@dataclass(eq=False)
class StateNotSaved(TargetError):
    """The box's own state has no snapshot yet: a copy without it could not be made into a box again."""

    code = "target.state-not-saved"
    public = (
        "The box's own state was not saved yet. It is being saved now; the copy follows by itself."
    )
    retryable = True


@dataclass(eq=False)
class NothingToRecover(TargetError):
    """No place shows a generation of this box that opens with these words."""

    #: Codes of what kept places from answering, or «–».
    reason: str
    code = "target.nothing-to-recover"
    public = "No copy of this box was found that opens with these words (%(reason)s). Try another place or another kit."


# --- catalogue -----------------------------------------------------------------------------


@dataclass(eq=False)
class CatalogueError(ArmoireError):
    """Something about a catalogue."""

    code = "catalogue.error"


@dataclass(eq=False)
class CatalogueMissing(CatalogueError):
    """The catalogue file is not there."""

    source_id: int
    code = "catalogue.missing"
    public = (
        "The list of files of this source is missing. «armoire catalogue rebuild» makes it again."
    )


@dataclass(eq=False)
class CatalogueDamaged(CatalogueError):
    """The catalogue file cannot be read or contradicts the repository."""

    source_id: int
    reason: str
    code = "catalogue.damaged"
    public = (
        "The list of files of this source is damaged. «armoire catalogue rebuild» makes it again."
    )


@dataclass(eq=False)
class CatalogueBusy(CatalogueError):
    """Another night, a rebuild or a pruning is writing the catalogue."""

    source_id: int
    code = "catalogue.busy"
    public = "The list of files of this source is being written. This will be tried again."
    retryable = True


@dataclass(eq=False)
class NightOutOfOrder(CatalogueError):
    """A snapshot that is not newer than the newest of the catalogue; nothing was written."""

    source_id: int
    snapshot_id: int
    newest_id: int
    code = "catalogue.night-out-of-order"
    public = (
        "Snapshot %(snapshot_id)s is not newer than snapshot %(newest_id)s, which is already listed. "
        "«armoire catalogue rebuild» makes the list again."
    )


# --- restore -------------------------------------------------------------------------------


@dataclass(eq=False)
class RestoreError(ArmoireError):
    """A restore cannot be done as asked."""

    code = "restore.error"


@dataclass(eq=False)
class WouldOverwrite(RestoreError):
    """A file is already at the place, and nobody said to replace it."""

    count: int
    path: str = private()
    code = "restore.would-overwrite"
    public = "«%(path)s» already exists. Restore beside it, or say that it may be replaced."


@dataclass(eq=False)
class NothingRestored(RestoreError):
    """Not one of the files asked for could be put in its place."""

    failed: int
    code = "restore.nothing"
    public = (
        "None of the %(failed)s files could be restored. "
        "The restore sheet says why for each; choose another folder and try again."
    )


# --- the network disk ----------------------------------------------------------------------


@dataclass(eq=False)
class DiskError(ArmoireError):
    """Something on the network disk is not as asked; nothing was changed."""

    code = "disk.error"


@dataclass(eq=False)
class FileMissing(DiskError):
    """Nothing is at this path."""

    code = "disk.file-missing"
    public = (
        "This file or folder is not there any more. Look in its earlier versions, or in the bin."
    )


@dataclass(eq=False)
class NotAFile(DiskError):
    """A folder, a link or a device, where a file was asked for."""

    code = "disk.not-a-file"
    public = (
        "This is not a file that can be opened: a folder, or a link, which the box does not follow."
    )


@dataclass(eq=False)
class NotAFolder(DiskError):
    """A file or a link, where a folder was asked for."""

    code = "disk.not-a-folder"
    public = "This is not a folder: a file, or a link, which the box does not follow."


@dataclass(eq=False)
class NameTaken(DiskError):
    """The name is in use in this folder."""

    name: str = private()
    code = "disk.name-taken"
    public = "«%(name)s» is already there. Choose another name, or say that it may be replaced."


@dataclass(eq=False)
class FileChanged(DiskError):
    """Somebody changed the file since it was looked at."""

    code = "disk.file-changed"
    public = "Somebody changed this file since you opened it. Open it again; nothing was lost."


@dataclass(eq=False)
class ShareFull(DiskError):
    """The share's quota, or the disk's free space, is not enough."""

    free_bytes: int
    code = "disk.share-full"
    public = "There is not enough room: %(free_bytes)s bytes are left. Nothing was written."


@dataclass(eq=False)
class ShareNotWritable(DiskError):
    """The worker may not write into the share's folder: read-only for it, or another's."""

    code = "disk.share-not-writable"
    public = (
        "The box may not write into the folder of this share: its disk is read-only, or armoire-worker is not let in."
        " Who looks after the box adds it under ReadWritePaths= («systemctl edit armoire-worker»). Nothing was written."
    )


@dataclass(eq=False)
class ShareMoved(DiskError):
    """The share lies in another folder than when the work began."""

    code = "disk.share-moved"
    public = "This share was given another folder meanwhile. It begins anew there, by itself."
    retryable = True


@dataclass(eq=False)
class RestoreBusy(DiskError):
    """Another process is at work on the same draft of a folder that comes back."""

    code = "disk.restore-busy"
    public = "This folder is being written by another task still. This will be tried again."
    retryable = True


@dataclass(eq=False)
class LinkGone(DiskError):
    """A correspondent's link never was, has ended, was withdrawn, or its maker may not share any more."""

    code = "disk.link-gone"
    public = "This link has ended or was withdrawn. Ask the practice that sent it for a new one."


@dataclass(eq=False)
class LinkPasswordWrong(DiskError):
    """The password of a correspondent's link is another one."""

    code = "disk.link-password-wrong"
    public = "This is not the password of this link. Ask the practice that sent it."


@dataclass(eq=False)
class FileRefused(DiskError):
    """A correspondent's file is not among those that were asked for."""

    #: An English text, translatable.
    reason: str
    code = "disk.file-refused"
    public = "This file is not taken: %(reason)s. Ask the practice if it must come all the same."


@dataclass(eq=False)
class UploadGone(DiskError):
    """An upload is not known any more: it ended, or waited too long."""

    code = "disk.upload-gone"
    public = "This upload is not known any more. Send the file again."


@dataclass(eq=False)
class UploadDamaged(DiskError):
    """What arrived is not what was sent."""

    code = "disk.upload-damaged"
    public = "The file arrived damaged and was not kept. Send it again."


@dataclass(eq=False)
class UploadBusy(DiskError):
    """Two requests send the same upload at once."""

    code = "disk.upload-busy"
    public = "This file is being sent from another window already."


@dataclass(eq=False)
class NotPreviewed(DiskError):
    """A file cannot be shown: of an unknown kind, damaged, or too large to be read safely."""

    reason: str
    code = "disk.not-previewed"
    public = "This file cannot be shown here (%(reason)s). Download it to open it."


# --- certificate ---------------------------------------------------------------------------


@dataclass(eq=False)
class CertificateError(ArmoireError):
    """A certificate known everywhere could not be had; the one before stays in use."""

    code = "certificate.error"


@dataclass(eq=False)
class AuthorityUnreachable(CertificateError):
    """The authority does not answer, or with something that is not ACME."""

    host: str
    reason: str
    code = "certificate.authority-unreachable"
    public = "The certificate authority does not answer (%(host)s: %(reason)s). The certificate in use stays; this is tried again."
    retryable = True


@dataclass(eq=False)
class TermsNotAgreed(CertificateError):
    """The authority asks that its terms be agreed to, and nobody has."""

    terms: str
    code = "certificate.terms"
    public = "The certificate authority asks that its terms be agreed to: read %(terms)s, then ask again and say that you agree."


@dataclass(eq=False)
class AuthorityAccountMissing(CertificateError):
    """The authority signs only for those who have an account there, and none was named."""

    code = "certificate.account-missing"
    public = (
        "This certificate authority signs only for who has an account there: open one, then ask again with the "
        "account's number and key."
    )


@dataclass(eq=False)
class NameNotResolved(CertificateError):
    """The authority finds no address under this name."""

    name: str
    detail: str
    code = "certificate.name-not-resolved"
    public = (
        "The certificate authority cannot find «%(name)s» in the DNS (%(detail)s). "
        "Check the name at whoever runs its DNS zone, then renew again."
    )


@dataclass(eq=False)
class PortClosed(CertificateError):
    """The authority could not connect to the box by HTTP."""

    name: str
    detail: str
    code = "certificate.port-closed"
    public = (
        "The certificate authority cannot reach «%(name)s» by HTTP, port 80 (%(detail)s). A box that is not exposed "
        "to the Internet is right to be out of reach: use the way by DNS instead."
    )


@dataclass(eq=False)
class AnswerWrong(CertificateError):
    """Something else than this box answered the authority's question, or an old record."""

    name: str
    detail: str
    code = "certificate.answer-wrong"
    public = (
        "The certificate authority did not get the expected answer for «%(name)s» (%(detail)s). By HTTP: another "
        "program or machine answers under this name. By DNS: the record is an old one, or was mistyped."
    )


@dataclass(eq=False)
class RecordMissing(CertificateError):
    """The authority does not see the TXT record."""

    name: str
    detail: str
    code = "certificate.record-missing"
    public = "The certificate authority does not find the DNS record of «%(name)s» (%(detail)s). Enter it as shown, wait until it is public, then renew again."


@dataclass(eq=False)
class AuthorityLimits(CertificateError):
    """Too many certificates or failures of late; asking again sooner makes it worse."""

    detail: str
    #: Seconds the authority asks to wait; 0: it did not say.
    wait_s: int
    code = "certificate.rate-limited"
    public = "The certificate authority has had too many requests for this name (%(detail)s). The box waits; the certificate in use stays."


@dataclass(eq=False)
class CertificateRefused(CertificateError):
    """The authority said no, and why."""

    problem: str  # the last part of the problem's URN, RFC 8555 section 6.7
    detail: str
    code = "certificate.refused"
    public = (
        "The certificate authority refused (%(problem)s: %(detail)s). The certificate in use stays."
    )


@dataclass(eq=False)
class NoListener(CertificateError):
    """The port on which the authority's question is answered cannot be had."""

    port: int
    reason: str
    code = "certificate.no-listener"
    public = (
        "The box cannot answer the certificate authority on port %(port)s (%(reason)s). Free the port, give the web "
        "interface the right to it (systemd/README.md), set «acme_http_port», or use the way by DNS."
    )


@dataclass(eq=False)
class HookFailed(CertificateError):
    """The administrator's program that enters DNS records is not safe to run, or failed."""

    reason: str
    code = "certificate.hook-failed"
    public = "The program that enters DNS records («acme_hook») was not run or failed (%(reason)s). Check it, then renew again."


@dataclass(eq=False)
class WebSilent(CertificateError):
    """The web interface, which makes the certificate's key, did nothing."""

    code = "certificate.web-silent"
    public = "The web interface is not running: it makes the key of the certificate. Start it, then renew again."
    retryable = True


# --- jobs ----------------------------------------------------------------------------------


@dataclass(eq=False)
class JobCancelled(ArmoireError):
    """A person stopped the job, or the box is stopping."""

    code = "job.cancelled"
    public = "This was stopped."


@dataclass(eq=False)
class JobCrashed(ArmoireError):
    """A job met something nobody foresaw: a mistake in this program."""

    reason: str  # the type of the error, never its text: that may name a file
    code = "job.crashed"
    public = (
        "This stopped for a reason the program did not foresee (%(reason)s). "
        "The log of the box says where; please report it."
    )


def all_errors() -> list[type[ArmoireError]]:
    """Return every error class, parents first: the docs and the translations are checked with it."""
    found: list[type[ArmoireError]] = []
    waiting: list[type[ArmoireError]] = [ArmoireError]
    while waiting:
        one = waiting.pop(0)
        found.append(one)
        waiting.extend(one.__subclasses__())
    return found
