"""The job that prepares a target: the key the box signs in with, and the identity its host shows now.

Safe to run again: a key is made once, and nothing is pinned by looking.
"""

from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import secrets as vault_rows
from appliance.db import targets
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import InvalidInput
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import SetUpTarget
from appliance.jobs.target_setup import OFFERED_HOST_KEY, PUBLIC_KEY
from appliance.language import mark
from appliance.ledger import events
from appliance.model import JobState
from appliance.policy import place as places
from appliance.policy.place import BoxPlace, SftpPlace
from appliance.replication import host_key
from appliance.replication.open_target import key_name, password_name
from appliance.replication.tools import Tools
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal


def run(context: JobContext, spec: SetUpTarget, tools: Tools) -> JobState:  # noqa: ARG001
    """Make what is missing and ask the host who it is.

    Returns:
        WARNED when another identity answers than the one that was confirmed.

    Raises:
        NotFound: the target was removed while the job waited.
        InvalidInput: the key that was given cannot be used.
        KeyMissing: the box has no key pair.
        TargetUnreachable: nobody answers; the key is made all the same.
    """
    with context.database.read() as connection:
        row = targets.get(connection, TargetId(spec.target_id))
    place = places.parse(row.kind, row.place)
    if not isinstance(place, SftpPlace | BoxPlace):
        return JobState.SUCCEEDED  # a disk and a bucket have neither
    with context.database.write() as connection:
        _make_key(connection, context, row, utc_now())
    context.step("connecting")
    found, shown = host_key.probe(place.host, place.port)
    with context.database.write() as connection:
        offered = {"host_key": found, "fingerprint": shown, "at": utc_now().isoformat()}
        targets.set_facts(connection, row.id, {OFFERED_HOST_KEY: offered})
    context.result.update(fingerprint=shown)
    if place.host_key and place.host_key.split()[:2] != found.split()[:2]:
        context.note(
            mark("Another identity answers than the one that was confirmed."), level="warning"
        )
        return JobState.WARNED
    return JobState.SUCCEEDED


def _make_key(connection: Connection, context: JobContext, row: TargetRow, now: datetime) -> None:
    """Make the pair, or read the public half of a key that was given; both halves in one transaction."""
    name = key_name(row.id)
    sealed = vault_rows.find_sealed(connection, name)
    if sealed is None and vault_rows.find_sealed(connection, password_name(row.id)) is not None:
        return  # the host was told to ask for a password
    if sealed is not None:
        if PUBLIC_KEY in row.facts:
            return
        public = _public(unseal(name, sealed, context.settings.keys))
    else:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        made = seal(Secret(private), context.settings.keys)
        vault_rows.put_sealed(connection, name, made, now=now)
        public = _line(key)
        events.record(
            connection, at=now, event="target.key-made", subject=f"target:{row.id}",
            actor=context.actor, fingerprint=places.fingerprint(public),
        )  # fmt: skip
    targets.set_facts(connection, row.id, {PUBLIC_KEY: f"{public} armoire-{row.id}"})


def _public(secret: Secret) -> str:
    try:
        key = load_ssh_private_key(secret.reveal(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        # «from None»: the library's text may quote the key.
        raise InvalidInput(
            "key", mark("an ed25519 private key in OpenSSH's format, without a password.")
        ) from None
    return _line(key)


def _line(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
