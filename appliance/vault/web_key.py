"""The web process's own key: for what it must read itself, and nothing of the backups.

TOTP secrets and the client secret of an outside sign-in are checked by the process that faces the
network. They are sealed (age, X25519) to a key of its own, ``tls/web.key`` (0600, of its account): a
database alone, or a copy of it, opens none of them; and this key opens no secret of the vault.
docs/decisions/0177.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

import pyrage

from appliance.errors import SecretUnreadable
from appliance.vault.secret import Secret

NAME: Final = "web.key"
_MARK_BYTES: Final = 8


def seal_for_web(secret: Secret, folder: Path) -> bytes:
    """Return ``secret`` sealed to the key in ``folder`` (made on first use), behind the key's mark."""
    recipient = _identity(folder).to_public()
    return _mark(str(recipient)) + bytes(pyrage.encrypt(secret.reveal(), [recipient]))


def open_for_web(sealed: bytes, folder: Path) -> Secret:
    """Return what ``seal_for_web`` sealed.

    Raises:
        SecretUnreadable: it was sealed to another box's key, or damaged.
    """
    if not opens(sealed, folder):
        raise SecretUnreadable(NAME)
    try:
        return Secret(bytes(pyrage.decrypt(sealed[_MARK_BYTES:], [_identity(folder)])))
    except pyrage.DecryptError as error:
        raise SecretUnreadable(NAME) from error


def opens(sealed: bytes, folder: Path) -> bool:
    """Return whether it was sealed to this very key: after a recovery the key is another."""
    return sealed[:_MARK_BYTES] == _mark(str(_identity(folder).to_public()))


def _mark(recipient: str) -> bytes:
    return hashlib.sha256(recipient.encode("ascii")).digest()[:_MARK_BYTES]


def _identity(folder: Path) -> pyrage.x25519.Identity:
    path = folder / NAME
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        text = _make(path)
    return pyrage.x25519.Identity.from_str(text.strip())


def _make(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{pyrage.x25519.Identity.generate()}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another thread was first: theirs stays
    finally:
        draft.unlink()
    return path.read_text("ascii")
