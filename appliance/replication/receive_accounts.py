"""Who may send to this box: one account per sending Armoire, one ed25519 key each.

``senders.toml`` below the receiving folder, 0600, read again whenever it changes: an account that is taken
out lets nobody in from that moment on, and what it sent stays.
"""

import base64
import binascii
import os
import re
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

from appliance.errors import AlreadyExists, InvalidInput, NotFound, SettingsInvalid
from appliance.language import mark

FILE_NAME: Final = "senders.toml"
KEY_KIND: Final = "ssh-ed25519"
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
#: The blob of an ed25519 key: length and name, length and 32 bytes (RFC 8709).
_BLOB_HEAD: Final = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
_BLOB_BYTES: Final = len(_BLOB_HEAD) + 32


@dataclass(frozen=True, slots=True)
class Sender:
    """An Armoire that may send here."""

    id: str  # its account and its folder: [a-z0-9-], at most 32
    name: str  # for people
    public_key: str  # «ssh-ed25519 AAAA…»
    quota_bytes: int  # everything it may lay down here, drafts and a little for each file included


class Senders:
    """The accounts of a receiving folder; safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        """Prepare; the file need not be there yet."""
        self._path = root / FILE_NAME
        self._door = threading.Lock()
        self._known: dict[str, Sender] = {}
        self._seen: tuple[int, int, int] | None = None

    def all(self) -> list[Sender]:
        """Return every sender, by id.

        Raises:
            SettingsInvalid: the file cannot be read: never the same as «nobody».
        """
        with self._door:
            return sorted(self._read().values(), key=lambda one: one.id)

    def find(self, sender_id: str) -> Sender | None:
        """Return the sender of this id, or None.

        Raises:
            SettingsInvalid: the file cannot be read.
        """
        with self._door:
            return self._read().get(sender_id)

    def add(self, sender_id: str, *, name: str, public_key: str, quota_bytes: int) -> Sender:
        """Let a sender in and return its account.

        Raises:
            InvalidInput: the id, the key or the quota cannot be used.
            AlreadyExists: the id is taken, or the key is another sender's: copies would mix.
            SettingsInvalid: the file cannot be read.
        """
        if not _ID.fullmatch(sender_id):
            raise InvalidInput("id", mark("lower-case letters, digits and «-», at most 32."))
        if quota_bytes <= 0:
            raise InvalidInput("quota", mark("a number of bytes above 0."))
        sender = Sender(sender_id, name.strip() or sender_id, check_key(public_key), quota_bytes)
        with self._door:
            known = dict(self._read())
            if sender_id in known or sender.public_key in {
                each.public_key for each in known.values()
            }:
                raise AlreadyExists("sender", sender_id)
            self._write({**known, sender_id: sender})
        return sender

    def set_quota(self, sender_id: str, quota_bytes: int) -> None:
        """Change how much a sender may lay down; sessions under way obey at once.

        Raises:
            NotFound: there is none of this id.
        """
        with self._door:
            known = dict(self._read())
            before = known.get(sender_id)
            if before is None:
                raise NotFound("sender", sender_id)
            known[sender_id] = Sender(before.id, before.name, before.public_key, quota_bytes)
            self._write(known)

    def revoke(self, sender_id: str) -> None:
        """Let a sender in no more; what it sent stays.

        Raises:
            NotFound: there is none of this id.
        """
        with self._door:
            known = dict(self._read())
            if known.pop(sender_id, None) is None:
                raise NotFound("sender", sender_id)
            self._write(known)

    def _read(self) -> dict[str, Sender]:
        try:
            facts = self._path.stat()
            seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if seen != self._seen:
                values = tomllib.loads(self._path.read_text("utf-8"))
                self._known = {key: _sender(key, each) for key, each in values.items()}
                self._seen = seen
        except FileNotFoundError:
            self._known, self._seen = {}, None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, InvalidInput) as error:
            raise SettingsInvalid(str(self._path), type(error).__name__) from error
        return self._known

    def _write(self, senders: dict[str, Sender]) -> None:
        values = {
            each.id: {
                "name": each.name,
                "public_key": each.public_key,
                "quota_bytes": each.quota_bytes,
            }
            for each in senders.values()
        }
        draft = self._path.with_name(f".{FILE_NAME}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(tomli_w.dumps(values).encode())
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._path)


def check_key(text: str) -> str:
    """Return «ssh-ed25519 AAAA…» without its comment.

    Raises:
        InvalidInput: it is not the public half of an ed25519 key.
    """
    expected = mark("the public half of an ed25519 key: «ssh-ed25519 AAAA…».")
    kind, _, rest = text.strip().partition(" ")
    words = rest.split()
    try:
        blob = base64.b64decode(words[0], validate=True)
    except (IndexError, binascii.Error, ValueError) as error:
        raise InvalidInput("key", expected) from error
    if kind != KEY_KIND or not blob.startswith(_BLOB_HEAD) or len(blob) != _BLOB_BYTES:
        raise InvalidInput("key", expected)
    return f"{KEY_KIND} {base64.b64encode(blob).decode('ascii')}"


def _sender(sender_id: str, values: dict[str, Any]) -> Sender:
    quota = values["quota_bytes"]
    if not _ID.fullmatch(sender_id) or not isinstance(quota, int):
        raise ValueError(sender_id)
    return Sender(sender_id, str(values["name"]), check_key(values["public_key"]), quota)
