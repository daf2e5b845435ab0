"""Paths in a form that specs, addresses and the ledger carry: base64url, so that no name is read in passing (beam 7)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from appliance.errors import InvalidInput
from appliance.language import mark


def pack_path(path: bytes) -> str:
    """Return a path in the form specs, addresses and the ledger carry it."""
    return urlsafe_b64encode(path).decode("ascii").rstrip("=")


def unpack_path(text: str) -> bytes:
    """Return the path out of ``pack_path``'s form.

    Raises:
        InvalidInput: it is not base64.
    """
    try:
        return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError as error:
        raise InvalidInput("path", mark("This is not a path of a snapshot.")) from error
