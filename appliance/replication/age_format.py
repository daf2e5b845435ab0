"""Writing an age file, block by block, without holding the interpreter's lock.

The library that speaks age for us elsewhere keeps every other thread of a push waiting while it seals
(docs/decisions/0252). Writing needs little of the format: one X25519 stanza and a stream of chunks. Reading stays
the library's, and in the tests that of ``age`` itself.
Source: C2SP age.md, v1.0.0 («The file format», «The X25519 recipient type»); RFC 5869; RFC 7748; RFC 8439.
"""

import os
from base64 import b64encode
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.vault.words import recipient_key

CHUNK_BYTES: Final = 64 * 1024
TAG_BYTES: Final = 16
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
_FILE_KEY_BYTES: Final = 16
_NONCE_BYTES: Final = 16
#: A key that seals one thing once may use one nonce: the wrapped file key.
_ONLY: Final = bytes(12)


class AgeStream:
    """One file being sealed to one recipient: ``head`` goes first, then every chunk, the last one said to be."""

    def __init__(self, recipient: str) -> None:
        """Make the keys of one file; both are random and used for this file alone.

        Args:
            recipient: ``age1…``, X25519.

        Raises:
            ValueError: it is none.
        """
        file_key = os.urandom(_FILE_KEY_BYTES)
        nonce = os.urandom(_NONCE_BYTES)
        self.head = _header(recipient, file_key) + nonce
        self._cipher = ChaCha20Poly1305(_derive(file_key, salt=nonce, info=b"payload"))
        self._counter = 0
        self._is_over = False

    def seal_into(self, plain: memoryview, out: memoryview, *, last: bool) -> int:
        """Seal ``plain`` into ``out`` and return how many bytes that made.

        Args:
            plain: whole chunks, CHUNK_BYTES each; the end of the file may be shorter, and empty only when the whole
                file is.
            out: at least SEALED_CHUNK_BYTES for each begun chunk.
            last: this is the end of the file; nothing comes after it.
        """
        if self._is_over or (not last and (not plain or len(plain) % CHUNK_BYTES)):
            raise ValueError("chunks out of order")
        if last and not plain and self._counter:
            raise ValueError("an empty chunk ends no file")
        made = 0
        for start in range(0, max(len(plain), 1), CHUNK_BYTES):
            chunk = plain[start : start + CHUNK_BYTES]
            is_end = last and start + CHUNK_BYTES >= len(plain)
            size = len(chunk) + TAG_BYTES
            self._cipher.encrypt_into(self._nonce(is_end), chunk, None, out[made : made + size])
            made += size
        self._is_over = last
        return made

    def _nonce(self, is_end: bool) -> bytes:  # noqa: FBT001 - one place
        nonce = self._counter.to_bytes(11, "big") + (b"\x01" if is_end else b"\x00")
        self._counter += 1
        return nonce


def _header(recipient: str, file_key: bytes) -> bytes:
    public = recipient_key(recipient)
    ours = X25519PrivateKey.generate()
    share = ours.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = ours.exchange(X25519PublicKey.from_public_bytes(public))
    wrapping = _derive(shared, salt=share + public, info=b"age-encryption.org/v1/X25519")
    wrapped = ChaCha20Poly1305(wrapping).encrypt(_ONLY, file_key, None)
    lines = (
        b"age-encryption.org/v1\n-> X25519 " + _base64(share) + b"\n" + _base64(wrapped) + b"\n---"
    )
    check = HMAC(_derive(file_key, salt=b"", info=b"header"), SHA256())
    check.update(lines)
    return lines + b" " + _base64(check.finalize()) + b"\n"


def _derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=salt or None, info=info).derive(secret)


def _base64(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")
