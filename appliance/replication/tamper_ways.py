"""Ways to harm an object on a disk, at an SFTP host and at another box; what a way is."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import paramiko

from appliance.errors import ArmoireError
from appliance.policy.immutability import Action
from appliance.replication.targets.box import BoxTarget
from appliance.replication.targets.directory import DirectoryTarget
from appliance.replication.targets.sftp import SftpTarget

HARM: Final = b"tampered with\n"


class Lost(Exception):
    """The line was lost during an attempt: nothing is known of its outcome."""


class Refused(Exception):
    """The host said no; the text is its code."""


class Vandal(Protocol):
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


class OnDisk:
    """What whoever may write to a disk may do there."""

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
        """Say yes: nothing here has an end."""
        return True

    def clean(self, name: str) -> None:
        """Remove what an attempt left beside the canary."""
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
            file.write(HARM)

    def _replace(self, path: Path) -> None:
        self._beside(path).write_bytes(HARM)
        self._beside(path).replace(path)


class OverSftp:
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
        """Say yes: nothing here has an end."""
        return True

    def clean(self, name: str) -> None:
        """Remove what an attempt left beside the canary."""
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
            file.write(HARM)

    def _replace(self, client: paramiko.SFTPClient, path: str) -> None:
        with client.open(self._draft(path), "wb") as file:
            file.write(HARM)
        try:
            client.posix_rename(self._draft(path), path)
        except OSError:
            client.rename(self._draft(path), path)
