"""The kit: what a person needs to make the box again. Sheets with words, and a file for a USB stick.

The recovery secret is made once. The box keeps its public half for ever (it seals to it every night) and
the secret itself only until a person has typed words from the sheets: then it is erased here. What needs
no unsealing (typing the words, a new kit, what is known of it) is in ``jobs.kit_words``.

Secrets of the vault: ``kit:secret`` and ``kit:sheets`` (until confirmed), ``box:signing-key``.
Formats: docs/formats/kit.md.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Final

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sqlalchemy import Connection

from appliance.db import facts, secrets
from appliance.errors import AlreadyExists, SecretUnreadable, SheetOfAnotherKit
from appliance.jobs.kit_words import (
    NEXT_SECRET,
    NEXT_SHEETS,
    SECRET,
    SHEETS,
    confirm,
    open_former,
)
from appliance.language import mark
from appliance.ledger import events
from appliance.vault import words
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal

__all__ = [
    "FILE_MAGIC",
    "SECRET",
    "SHEETS",
    "SIGNING_KEY",
    "KitFile",
    "Sheet",
    "confirm",
    "identities",
    "make",
    "read_file",
    "signer_from_text",
    "signer_text",
    "signing_key",
    "split",
    "write_file",
]

SIGNING_KEY: Final = "box:signing-key"
FILE_MAGIC: Final = b"armoire kit 1\n"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One recovery sheet, as it is printed."""

    kit_number: str
    number: int  # 1 …
    needed: int
    sheets: int
    holder: str  # who keeps it
    words: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class KitFile:
    """What lies on the USB stick, sealed to the words."""

    box_id: str
    practice: str
    made_at: str  # ISO, UTC
    signer: str  # Ed25519 public key, hex
    #: name · label · kind · place (``policy.place``) · secrets ({"key", "password", "s3": base64}) · reads_only
    targets: tuple[Mapping[str, object], ...] = field(repr=False)  # credentials are in it
    number: str = ""  # of the kit, five digits, as on the sheets
    #: base64 of age to the words: identities of kits before, one a line; none, one, or one for each kit.
    former: tuple[str, ...] = ()


def make(connection: Connection, keys: Path, *, now: datetime) -> str:
    """Make the recovery secret and the signing key, once, and return the recipient ``age1…``.

    Safe to call again: what is there stays.
    """
    known = facts.find(connection, "kit.recipient")
    if isinstance(known, str):
        return known
    secret = words.make_secret()
    recipient = words.recipient(secret)
    secrets.put_sealed(connection, SECRET, seal(secret, keys), now=now)
    raw = Ed25519PrivateKey.generate().private_bytes(
        Encoding.Raw, PrivateFormat.Raw, NoEncryption()
    )
    secrets.put_sealed(connection, SIGNING_KEY, seal(Secret(raw), keys), now=now)
    facts.put(connection, "kit.recipient", recipient, now=now)
    events.record(connection, at=now, event="kit.made", subject="box")
    return recipient


def signing_key(connection: Connection, keys: Path) -> Ed25519PrivateKey:
    """Return the key generations are signed with.

    Raises:
        SecretMissing, KeyMissing, SecretUnreadable.
    """
    raw = unseal(SIGNING_KEY, secrets.get_sealed(connection, SIGNING_KEY), keys)
    return Ed25519PrivateKey.from_private_bytes(raw.reveal())


def signer_text(key: Ed25519PublicKey) -> str:
    """Return a public key as the kit carries it, 64 hex digits."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def signer_from_text(text: str) -> Ed25519PublicKey:
    """Return the key out of ``signer_text``'s form.

    Raises:
        ValueError: it is none.
    """
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))


def split(
    connection: Connection, keys: Path, *, needed: int, holders: Sequence[str], now: datetime
) -> list[Sheet]:
    """Return the sheets, one per holder; until they are confirmed the same ones are returned again.

    While a new kit waits to be confirmed, the sheets are the new kit's.

    Args:
        connection: inside ``Database.write()``.
        keys: of the box.
        needed: how many sheets give the secret back.
        holders: who keeps each: one name, or three for two of three.
        now: aware UTC.

    Raises:
        AlreadyExists: the kit was confirmed: the words are not here any more. Re-key instead.
    """
    coming = facts.find(connection, "kit.next")
    is_next = isinstance(coming, dict)
    if not is_next and facts.find(connection, "kit.confirmed_at") is not None:
        raise AlreadyExists("confirmed kit", str(facts.find(connection, "kit.number")))
    plan = {"needed": needed, "holders": list(holders)}
    known = coming["plan"] if isinstance(coming, dict) else facts.find(connection, "kit.plan")
    secret_name, sheets_name = (NEXT_SECRET, NEXT_SHEETS) if is_next else (SECRET, SHEETS)
    sealed = secrets.find_sealed(connection, sheets_name)
    if sealed is not None and known == plan:
        texts = json.loads(unseal(sheets_name, sealed, keys).reveal())
    else:
        secret = unseal(secret_name, secrets.get_sealed(connection, secret_name), keys)
        texts = words.split(secret, needed=needed, sheets=len(holders))
        secrets.put_sealed(
            connection, sheets_name, seal(Secret(json.dumps(texts).encode()), keys), now=now
        )
        number = words.kit_number(texts[0])
        if isinstance(coming, dict):
            facts.put(connection, "kit.next", dict(coming, plan=plan, number=number), now=now)
        else:
            facts.put(connection, "kit.plan", plan, now=now)
            facts.put(connection, "kit.number", number, now=now)
        events.record(
            connection, at=now, event="kit.split", subject="box", needed=needed, sheets=len(holders)
        )
    return [
        Sheet(words.kit_number(text), place, needed, len(holders), holder, tuple(text.split()))
        for place, (text, holder) in enumerate(zip(texts, holders, strict=True), start=1)
    ]


def write_file(kit: KitFile, *, recipient: str, also: Sequence[str] = ()) -> bytes:
    """Return the kit file: a line of ASCII, then JSON sealed to the words; ``also`` to those of a new kit."""
    text = json.dumps(asdict(kit), sort_keys=True, ensure_ascii=False).encode()
    opened_by = [pyrage.x25519.Recipient.from_str(each) for each in (recipient, *also)]
    return FILE_MAGIC + bytes(pyrage.encrypt(text, opened_by))


def read_file(data: bytes, secret: Secret) -> KitFile:
    """Return what is in a kit file.

    Raises:
        SecretUnreadable: it is no kit file, or one of another kit.
    """
    if not data.startswith(FILE_MAGIC):
        raise SecretUnreadable(mark("the kit file"))
    opener = pyrage.x25519.Identity.from_str(words.identity(secret).reveal().decode("ascii"))
    known = {each.name for each in fields(KitFile)}
    try:
        values = json.loads(pyrage.decrypt(data[len(FILE_MAGIC) :], [opener]))
        values["targets"] = tuple(values["targets"])
        values["former"] = tuple(values.get("former", ()))
        # A later program may say more; what is missing makes it no kit file.
        return KitFile(**{name: value for name, value in values.items() if name in known})
    except (pyrage.DecryptError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SecretUnreadable(mark("the kit file")) from error


def identities(kit: KitFile, secret: Secret) -> Secret:
    """Return what opens everything this kit stands for: an age identity file, one identity a line.

    The first is the words' own; others are of kits before, whose objects still lie at the targets.
    """
    found = [words.identity(secret)]
    for sealed in kit.former:
        # A file written while a new kit waits serves both: each opens what is sealed to its words.
        with suppress(SheetOfAnotherKit):
            found.append(open_former(sealed, secret))
    return Secret(b"\n".join(each.reveal() for each in found))
