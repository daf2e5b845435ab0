"""The nightly tamper test: try to harm an object that is there for this, with the box's own credentials.

A canary (``canary/0000000001`` …) is an object like any other, small, with its own hash in it. Every way to
harm one is tried on it, and then the canary is read back: what counts is what is still there, not what the
host answered. A place that keeps it keeps the same canary for years; elsewhere a new one is made when one
dies. No other object is touched, and no setting of a bucket is left changed.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import paramiko
from botocore.exceptions import BotoCoreError, ClientError

from appliance.errors import (
    ArmoireError,
    InvalidInput,
    ObjectAltered,
    ObjectMissing,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.policy.immutability import Action, Attempt, Immutability, Outcome, judge
from appliance.replication.target import SealedFile, Target
from appliance.replication.targets.box import BoxTarget
from appliance.replication.targets.directory import DirectoryTarget
from appliance.replication.targets.s3 import S3Target
from appliance.replication.targets.sftp import SftpTarget

FOLDER: Final = "canary/"
_MAGIC: Final = b"armoire canary 1\n"
_LARGEST: Final = 4096
#: A canary whose lock ends sooner is of no use any more: after its end anything may be deleted anywhere.
LOCK_LEFT: Final = timedelta(days=1)
_HARM: Final = b"tampered with\n"
_ERASED: Final = "NoSuchLifecycleConfiguration"


@dataclass(frozen=True, slots=True)
class TamperResult:
    """What was tried on one night."""

    kind: str
    tested_at: datetime
    attempts: tuple[Attempt, ...]
    judgement: Immutability

    @property
    def is_immutable(self) -> bool:
        """Only when every attempt of this kind was made and none did harm."""
        return self.judgement.is_immutable

    @property
    def body(self) -> dict[str, object]:
        """The proof's JSON: figures and codes only."""
        return {
            "kind": self.kind,
            "immutable": self.is_immutable,
            "attempts": [
                {"action": each.action, "outcome": each.outcome, "detail": each.detail}
                for each in self.attempts
            ],
        }


class Lost(Exception):
    """The line was lost during an attempt: nothing is known of its outcome."""


class Refused(Exception):
    """The host said no; the text is its code."""


class _Vandal(Protocol):
    """Ways to harm an object at one kind of place."""

    kind: str
    #: Each raises Refused or Lost, or returns what the host said to it.
    acts: dict[Action, Callable[[str], str]]
    #: Which of them lay something beside or over the canary even when it is whole afterwards.
    leaves: frozenset[Action]

    def is_usable(self, name: str, now: datetime) -> bool:
        """Say whether this canary can still prove something."""
        ...

    def clean(self, name: str) -> None:
        """Remove what an attempt left beside the canary, where that is allowed."""
        ...


def tamper_test(target: Target, *, spool: Path, now: datetime) -> TamperResult:
    """Try every way to harm an object at ``target`` and return what happened.

    Args:
        target: opened with the credentials the box sends with, and the retention it gives new objects.
        spool: a folder on the box's disk.
        now: aware UTC.

    Raises:
        TargetUnreachable, TargetListUnreadable, TargetFull, TargetRefuses: no canary could be laid down or
            read: nothing is known.
        InvalidInput: a kind of target nobody knows how to harm.
    """
    vandal = _vandal(target)
    attempts: list[Attempt] = []
    canary: tuple[str, bytes] | None = None
    for action, act in vandal.acts.items():
        name, data = canary or _canary(target, vandal, spool=spool, now=now)
        attempts.append(_attempt(target, action, act, name, data))
        outcome = attempts[-1].outcome
        if outcome is Outcome.UNKNOWN:
            break  # the line is gone: what was not tried is unknown by itself
        if action in vandal.leaves or outcome is Outcome.DONE:
            vandal.clean(name)
        canary = None if outcome is Outcome.DONE else (name, data)
    return TamperResult(vandal.kind, now, tuple(attempts), judge(vandal.kind, attempts))


def is_canary(name: str) -> bool:
    """Say whether an object is one of these, and no part of a copy."""
    return name.startswith(FOLDER)


def _attempt(
    target: Target, action: Action, act: Callable[[str], str], name: str, data: bytes
) -> Attempt:
    try:
        detail, accepted = act(name), True
    except Refused as error:
        detail, accepted = str(error), False
    except (Lost, TargetUnreachable) as error:
        return Attempt(action, Outcome.UNKNOWN, str(error) if isinstance(error, Lost) else "line")
    if detail.startswith("unlocked"):
        return Attempt(action, Outcome.DONE, detail)
    try:
        whole = _content(target, name) == data
    except ObjectMissing:
        whole = False
    except ArmoireError as error:
        return Attempt(action, Outcome.UNKNOWN, error.code)
    if not whole:
        return Attempt(action, Outcome.DONE, detail)
    return Attempt(action, Outcome.WITHOUT_EFFECT if accepted else Outcome.REFUSED, detail)


# --- the canary ---------------------------------------------------------------------------------


def _canary(target: Target, vandal: _Vandal, *, spool: Path, now: datetime) -> tuple[str, bytes]:
    """Return a whole, usable canary: the newest one that is there, or a new one."""
    numbers = []
    for info in target.list(FOLDER):
        text = info.name.removeprefix(FOLDER)
        if text.isdigit() and info.size <= _LARGEST:
            numbers.append(int(text))
    for number in sorted(numbers, reverse=True)[:1]:
        name = f"{FOLDER}{number:010d}"
        with suppress(ObjectMissing, ObjectAltered):
            data = _content(target, name)
            if _is_whole(data) and vandal.is_usable(name, now):
                return name, data
        with suppress(TargetRefuses):  # a dead one is of no use; where it cannot go, it stays
            target.remove(name)
    data = _new_canary()
    name = f"{FOLDER}{max(numbers, default=0) + 1:010d}"
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = spool / f"canary-{secrets.token_hex(4)}"
    try:
        path.write_bytes(data)
        target.create(name, SealedFile.of(path))
    finally:
        path.unlink(missing_ok=True)
    if _content(target, name) != data:
        raise ObjectAltered(target.label, name, "its content is not what was sent")
    return name, data


def _new_canary() -> bytes:
    body = _MAGIC + secrets.token_hex(32).encode() + b"\n"
    return body + hashlib.sha256(body).hexdigest().encode() + b"\n"


def _is_whole(data: bytes) -> bool:
    body, _, digest = data[:-1].rpartition(b"\n")
    return data.startswith(_MAGIC) and digest.decode("ascii", "replace") == (
        hashlib.sha256(body + b"\n").hexdigest()
    )


def _content(target: Target, name: str) -> bytes:
    return b"".join(target.read(name, length=_LARGEST))


# --- who tries ----------------------------------------------------------------------------------


def _vandal(target: Target) -> _Vandal:
    match target:
        case DirectoryTarget():
            return _OnDisk(target)
        case SftpTarget():
            return _OverSftp(target)
        case S3Target():
            return _InBucket(target)
        case _:
            raise InvalidInput("target", "a disk, an SFTP host, an S3 host or another box.")


class _OnDisk:
    kind = "directory"
    leaves = frozenset({Action.REPLACE})

    def __init__(self, target: DirectoryTarget) -> None:
        self._root = target.root
        self.acts = {
            Action.DELETE: self._act(lambda path: path.unlink()),
            Action.OVERWRITE: self._act(self._overwrite),
            Action.TRUNCATE: self._act(lambda path: os.truncate(path, 0)),
            Action.RENAME: self._act(lambda path: path.rename(self._beside(path))),
            Action.REPLACE: self._act(self._replace),
        }

    def is_usable(self, name: str, now: datetime) -> bool:  # noqa: ARG002
        return True

    def clean(self, name: str) -> None:
        with suppress(OSError):
            self._beside(self._root / name).unlink()

    def _act(self, act: Callable[[Path], object]) -> Callable[[str], str]:
        def tried(name: str) -> str:
            try:
                act(self._root / name)
            except OSError as error:
                raise Refused(os.strerror(error.errno or 0)) from error
            return "accepted"

        return tried

    def _beside(self, path: Path) -> Path:
        return path.with_name(f".{path.name}.part")

    def _overwrite(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.write(_HARM)

    def _replace(self, path: Path) -> None:
        self._beside(path).write_bytes(_HARM)
        self._beside(path).replace(path)


class _OverSftp:
    """The same calls against a host and against another box: the box refuses them."""

    leaves = frozenset({Action.REPLACE, Action.RENAME})

    def __init__(self, target: SftpTarget) -> None:
        self.kind = "box" if isinstance(target, BoxTarget) else "sftp"
        self._target = target
        self.acts = {
            Action.OVERWRITE: self._act(self._overwrite),
            Action.TRUNCATE: self._act(lambda client, path: client.truncate(path, 0)),
            Action.RENAME: self._act(lambda client, path: client.rename(path, path + "-taken")),
            Action.REPLACE: self._act(self._replace),
            Action.DELETE: self._act(lambda client, path: client.remove(path)),
        }

    def is_usable(self, name: str, now: datetime) -> bool:  # noqa: ARG002
        return True

    def clean(self, name: str) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException, ArmoireError):
            client, path = self._target.bare(name)
            for each in (self._draft(path), path + "-taken"):
                with suppress(OSError):
                    client.remove(each)

    def _act(self, act: Callable[[paramiko.SFTPClient, str], object]) -> Callable[[str], str]:
        def tried(name: str) -> str:
            client, path = self._target.bare(name)
            try:
                act(client, path)
            except (EOFError, paramiko.SSHException, TimeoutError, ConnectionError) as error:
                raise Lost(type(error).__name__) from error
            except OSError as error:
                if "closed" in str(error).lower():
                    raise Lost("line") from error
                raise Refused(
                    os.strerror(error.errno) if error.errno else str(error)[:40]
                ) from error
            return "accepted"

        return tried

    def _draft(self, path: str) -> str:
        folder, _, leaf = path.rpartition("/")
        return f"{folder}/.{leaf}.{'0' * 16}.part"

    def _overwrite(self, client: paramiko.SFTPClient, path: str) -> None:
        with client.open(path, "r+b") as file:
            file.write(_HARM)

    def _replace(self, client: paramiko.SFTPClient, path: str) -> None:
        with client.open(self._draft(path), "wb") as file:
            file.write(_HARM)
        try:
            client.posix_rename(self._draft(path), path)
        except OSError:
            client.rename(self._draft(path), path)


class _InBucket:
    kind = "s3"
    leaves = frozenset({Action.OVERWRITE, Action.TRUNCATE, Action.DELETE})

    def __init__(self, target: S3Target) -> None:
        self._target = target
        self._client: Any = target.client
        self._bucket = target.bucket
        self.acts = {
            Action.LIFECYCLE: self._act(self._lifecycle),
            Action.SHORTEN_RETENTION: self._act(self._shorten),
            Action.OVERWRITE: self._act(lambda key: self._put(key, _HARM)),
            Action.TRUNCATE: self._act(lambda key: self._put(key, b"")),
            Action.DELETE: self._act(
                lambda key: self._client.delete_object(Bucket=self._bucket, Key=key)
            ),
            Action.DELETE_VERSION: self._act(
                lambda key: self._client.delete_object(
                    Bucket=self._bucket, Key=key, **self._version(key)
                )
            ),
            Action.BYPASS_GOVERNANCE: self._act(
                lambda key: self._client.delete_object(
                    Bucket=self._bucket,
                    Key=key,
                    BypassGovernanceRetention=True,
                    **self._version(key),
                )
            ),
        }

    def is_usable(self, name: str, now: datetime) -> bool:
        """A canary whose lock is over would be deleted where others are not."""
        until = self._locked_until(self._target.key(name))
        return until is None or until - now > LOCK_LEFT

    def clean(self, name: str) -> None:
        """Remove the versions and markers an attempt laid over the canary; locked ones stay."""
        key = self._target.key(name)
        kept = self._version(key).get("VersionId")
        if kept is None:
            return
        with suppress(ClientError, BotoCoreError):
            found = self._client.list_object_versions(Bucket=self._bucket, Prefix=key)
            for each in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
                if each["Key"] == key and each["VersionId"] != kept:
                    with suppress(ClientError):
                        self._client.delete_object(
                            Bucket=self._bucket, Key=key, VersionId=each["VersionId"]
                        )

    def _act(self, act: Callable[[str], object]) -> Callable[[str], str]:
        def tried(name: str) -> str:
            with self._mapped():
                said = act(self._target.key(name))
            return said if isinstance(said, str) else "accepted"

        return tried

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(error.response.get("Error", {}).get("Code", status))
            if status >= 500 or code == "SlowDown":
                raise Lost(code) from error
            raise Refused(code) from error
        except (BotoCoreError, OSError) as error:
            raise Lost(type(error).__name__) from error

    def _put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data)

    def _version(self, key: str) -> dict[str, str]:
        """Name the oldest version: it is the object. Nothing where the bucket has no versions."""
        found = self._client.list_object_versions(Bucket=self._bucket, Prefix=key)
        versions = [each for each in found.get("Versions", []) if each["Key"] == key]
        oldest = min(
            versions, key=lambda each: (each["LastModified"], each["VersionId"]), default=None
        )
        if oldest is None or oldest["VersionId"] in {None, "null"}:
            return {}
        return {"VersionId": oldest["VersionId"]}

    def _locked_until(self, key: str) -> datetime | None:
        retention = self._retention(key)
        until: datetime | None = retention.get("RetainUntilDate")
        return until

    def _retention(self, key: str) -> dict[str, Any]:
        try:
            found = self._client.get_object_retention(
                Bucket=self._bucket, Key=key, **self._version(key)
            )
        except ClientError:
            return {}
        retention: dict[str, Any] = found.get("Retention", {})
        return retention

    def _shorten(self, key: str) -> str:
        """Ask for a shorter time, in its own mode and then in the weaker one.

        Never in the stronger one: a host may take that, and the canary would be another than before.
        """
        before = self._retention(key)
        until = before.get("RetainUntilDate")
        if until is None:
            return "unlocked"
        for mode in dict.fromkeys((before.get("Mode", "GOVERNANCE"), "GOVERNANCE")):
            with suppress(Refused), self._mapped():
                self._client.put_object_retention(
                    Bucket=self._bucket,
                    Key=key,
                    Retention={"Mode": mode, "RetainUntilDate": until - timedelta(hours=1)},
                    BypassGovernanceRetention=True,
                    **self._version(key),
                )
        after = self._locked_until(key)
        if after is None or after < until:
            return "unlocked: shortened"
        raise Refused("kept")

    def _lifecycle(self, key: str) -> str:
        """Ask for a rule no host may accept (two of one name): what it says tells whether we may set one.

        Nothing is changed where the host checks what it is given; where it takes anything, what was there is
        put back at once. The rule names nothing and is switched off. A rule cannot delete what is locked.
        """
        rule = {
            "ID": "armoire-tamper-test",
            "Filter": {"Prefix": self._target.key(FOLDER + "never")},
            "Status": "Disabled",
            "Expiration": {"Days": 3650},
        }
        before = self._rules()
        try:
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket, LifecycleConfiguration={"Rules": [*(before or []), rule, rule]}
            )
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(error.response.get("Error", {}).get("Code", status))
            if status in {401, 403} or status >= 500 or code in {"NotImplemented", "AccessDenied"}:
                raise
            may = f"allowed ({code})"
        else:
            self._put_back(before)
            may = "accepted"
        return may if self._locked_until(key) is not None else f"unlocked: {may}"

    def _rules(self) -> list[dict[str, Any]] | None:
        try:
            found = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == _ERASED:
                return []
            return None  # we may not even look
        rules: list[dict[str, Any]] = found.get("Rules", [])
        return rules

    def _put_back(self, before: list[dict[str, Any]] | None) -> None:
        if before:
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket, LifecycleConfiguration={"Rules": before}
            )
        else:
            self._client.delete_bucket_lifecycle(Bucket=self._bucket)
