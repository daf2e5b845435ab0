"""The keys of the web interface in the box's own state: sealed to the recovery sheets, and put back on a new box.

The authority that the practice's devices trust, the key that opens the applications' secrets, certificates that were
brought or had by ACME. Without them every device would have to trust anew and everybody to enrol again after a fire.
They leave as the box's key does: for the sheets alone. docs/decisions/0188.
"""

import base64
import json
import logging
from pathlib import Path
from typing import Final

import pyrage

from appliance.errors import SecretUnreadable
from appliance.folders import put_file
from appliance.vault import words
from appliance.vault.secret import Secret

log = logging.getLogger(__name__)

#: The sealed file, beside ``box.key.age``.
NAME: Final = "tls.age"
#: What is kept, with the mode it gets again. The box's own leaf is not: it is made anew for the new box's addresses.
KEPT: Final = {
    "ca.crt": 0o644,
    "ca.key": 0o600,
    "web.key": 0o600,
    "own.crt": 0o644,
    "own.key": 0o600,
    "acme.pem": 0o600,
    "acme-next.key": 0o600,
}
#: Bytes a file of them may have.
LONGEST: Final = 1 << 20


def seal_web_keys(folder: Path, place: Path, recipient: str, before: object) -> list[object] | None:
    """Seal what lies in ``folder`` into ``place`` and return what to compare next time; None: there is nothing.

    What did not change is not sealed again, so that it is sent once.

    Args:
        folder: the settings' ``tls``.
        place: the file to write.
        recipient: ``age1…`` of the sheets.
        before: what this returned the last time.
    """
    try:
        stamp: list[object] = [recipient, *(_stamp(folder / name) for name in KEPT)]
        if place.exists() and before == stamp:
            return stamp
        found = {name: _read(folder / name) for name in KEPT}
    except PermissionError:
        # A night must not fail over it; what was sealed before goes on being kept.
        log.warning("state.web-keys-unreadable")
        return list(before) if place.exists() and isinstance(before, list) else None
    there = {name: content for name, content in found.items() if content is not None}
    if not there:
        return None
    text = json.dumps(
        {name: base64.b64encode(there[name]).decode("ascii") for name in sorted(there)}
    )
    sealed = pyrage.encrypt(text.encode("ascii"), [pyrage.x25519.Recipient.from_str(recipient)])
    put_file(place, bytes(sealed), 0o600)
    return stamp


def put_web_keys_back(place: Path, folder: Path, identity: Secret) -> None:
    """Write what ``seal_web_keys`` sealed into ``folder``; a copy of before there was such a file brings nothing.

    Safe to run again; what a new box made for itself meanwhile gives way.

    Raises:
        SecretUnreadable: the sheets do not open it, or it holds something else.
    """
    if not place.exists():
        return
    try:
        plain = bytes(pyrage.decrypt(place.read_bytes(), words.openers(identity)))
        found = {
            str(name): base64.b64decode(content, validate=True)
            for name, content in json.loads(plain).items()
        }
    except (pyrage.DecryptError, ValueError, AttributeError, TypeError) as error:
        raise SecretUnreadable(NAME) from error
    if not found.keys() <= KEPT.keys():
        raise SecretUnreadable(NAME)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Keys before what belongs to them: a certificate never stands beside another's key for long.
    for name in sorted(found, key=lambda each: (each.endswith(".crt"), each)):
        put_file(folder / name, found[name], KEPT[name])


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST)
    except FileNotFoundError:
        return None


def _stamp(path: Path) -> list[int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino]
