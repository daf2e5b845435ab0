"""Sealing to the box: needs the public key only, so the web process may do it.

Secrets are sealed with age (X25519) to the box's recipient, kept in ``keys/box.pub``:
`age -d -i box.key` opens them without us. Source: age-encryption.org/v1.
"""

import os
from pathlib import Path

import pyrage

from appliance.errors import KeyMissing
from appliance.vault.secret import Secret


def seal(secret: Secret, keys: Path) -> bytes:
    """Return ``secret`` sealed to the box's public key.

    Raises:
        KeyMissing: ``keys/box.pub`` is not there or holds no age recipient.
    """
    path = keys / "box.pub"
    try:
        recipient = pyrage.x25519.Recipient.from_str(path.read_text("ascii").strip())
    except (OSError, ValueError, pyrage.RecipientError) as error:
        raise KeyMissing(str(path)) from error
    return bytes(pyrage.encrypt(secret.reveal(), [recipient]))


def make_keys(keys: Path) -> None:
    """Make the box's key pair, once: an existing one is never replaced. Atomic.

    ``box.key`` is 0600 and written before ``box.pub``, so a public key always has its private half.
    """
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    private, public = keys / "box.key", keys / "box.pub"
    if not private.exists():
        _write_new(private, str(pyrage.x25519.Identity.generate()), 0o600)
    if not public.exists():
        identity = pyrage.x25519.Identity.from_str(private.read_text("ascii").strip())
        _write_new(public, str(identity.to_public()), 0o644)


def _write_new(path: Path, text: str, mode: int) -> None:
    draft = path.with_suffix(path.suffix + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.link(draft, path)  # fails when another process was first: theirs stays
    draft.unlink()
