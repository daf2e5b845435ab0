"""The nightly tamper test: try to harm an object that is there for this, with the box's own credentials.

A canary (``canary/0000000001`` …) is an object like any other, small, with its own hash in it. Every way to
harm one is tried on it, and then the canary is read back: what counts is what is still there, not what the
host answered. A place that keeps it keeps the same canary for years; elsewhere a new one is made when one
dies. No other object is touched, and no setting of a bucket is left changed.
"""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.errors import (
    ArmoireError,
    InvalidInput,
    ObjectAltered,
    ObjectMissing,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.policy.immutability import Action, Attempt, Immutability, Outcome, judge
from appliance.replication.tamper_bucket import InBucket
from appliance.replication.tamper_ways import Lost, OnDisk, OverSftp, Refused, Vandal
from appliance.replication.target import SealedFile, Target
from appliance.replication.targets.directory import DirectoryTarget
from appliance.replication.targets.s3 import S3Target
from appliance.replication.targets.sftp import SftpTarget

FOLDER: Final = "canary/"
_MAGIC: Final = b"armoire canary 1\n"
_LARGEST: Final = 4096


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


def _canary(target: Target, vandal: Vandal, *, spool: Path, now: datetime) -> tuple[str, bytes]:
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


def _vandal(target: Target) -> Vandal:
    match target:
        case DirectoryTarget():
            return OnDisk(target)
        case SftpTarget():
            return OverSftp(target)
        case S3Target():
            return InBucket(target)
        case _:
            raise InvalidInput("target", "a disk, an SFTP host, an S3 host or another box.")
