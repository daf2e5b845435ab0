"""A device that makes a passkey and signs with it, as a browser hands its answers on (Web Authentication §6, §7).

The numbers and layouts are those of the standard, none of the code under test: no attestation, ES256.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from os import urandom
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256


class PasskeyDevice:
    """One passkey, for the site it was made at."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._id = urandom(32)
        self._count = 0

    def make(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer the options of a registration."""
        point = self._key.public_key().public_numbers()
        key = {
            1: 2,
            3: -7,
            -1: 1,
            -2: _bytes(point.x),
            -3: _bytes(point.y),
        }  # COSE: EC2, ES256, P-256
        known = bytes(16) + len(self._id).to_bytes(2, "big") + self._id + cbor2.dumps(key)
        data = self._data(options["rp"]["id"], 0x41) + known
        said = {"fmt": "none", "attStmt": {}, "authData": data}
        return self._answer(
            {
                "clientDataJSON": self._client("webauthn.create", options),
                "attestationObject": _packed(cbor2.dumps(said)),
            }
        )

    def sign(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer the options of a sign-in."""
        self._count += 1
        data = self._data(options["rpId"], 0x01)
        client = self._client("webauthn.get", options)
        signed = data + hashlib.sha256(_unpacked(client)).digest()
        return self._answer(
            {
                "clientDataJSON": client,
                "authenticatorData": _packed(data),
                "signature": _packed(self._key.sign(signed, ec.ECDSA(SHA256()))),
            }
        )

    def _data(self, site: str, flags: int) -> bytes:
        return (
            hashlib.sha256(site.encode()).digest() + bytes([flags]) + self._count.to_bytes(4, "big")
        )

    def _client(self, kind: str, options: dict[str, Any]) -> str:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin}
        return _packed(json.dumps(said).encode())

    def _answer(self, response: dict[str, Any]) -> dict[str, Any]:
        number = _packed(self._id)
        return {"id": number, "rawId": number, "type": "public-key", "response": response}


def _bytes(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _packed(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _unpacked(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
