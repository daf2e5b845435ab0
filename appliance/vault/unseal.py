"""Opening what was sealed to the box: the worker only (beam 1, checked by import-linter)."""

from pathlib import Path

import pyrage

from appliance.errors import KeyMissing, SecretUnreadable
from appliance.vault.secret import Secret


def unseal(name: str, sealed: bytes, keys: Path) -> Secret:
    """Return the secret called ``name`` out of ``sealed``.

    Raises:
        KeyMissing: ``keys/box.key`` is not there, or not readable by this user.
        SecretUnreadable: it was sealed to another key, or altered.
    """
    path = keys / "box.key"
    try:
        identity = pyrage.x25519.Identity.from_str(path.read_text("ascii").strip())
    except (OSError, ValueError, pyrage.IdentityError) as error:
        raise KeyMissing(str(path)) from error
    try:
        return Secret(bytes(pyrage.decrypt(sealed, [identity])))
    except pyrage.DecryptError as error:
        raise SecretUnreadable(name) from error
