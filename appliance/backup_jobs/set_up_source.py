"""The job that makes what a new source needs: its SSH key, its repository, their secrets in the vault.

Every step looks whether it was done before, and is done whole or not at all; so the job may be
killed at any line and run again. Nothing is ever made twice: a second passphrase or a second key
would lock a machine or a repository out.
"""

import secrets
from pathlib import Path
from typing import Final

from appliance.backup_jobs.borg_library import create_repository, export_key, open_repository
from appliance.backup_jobs.ssh import make_key
from appliance.clock import utc_now
from appliance.db import repositories, sources
from appliance.db import secrets as vault_rows
from appliance.errors import AlreadyExists, RepositoryMissing
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import SetUpSource
from appliance.language import mark
from appliance.ledger import events
from appliance.model import JobState, Source, SourceKind
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal

PASSPHRASE_BITS: Final = 256
#: In the source's facts: the public half of the box's key for this machine, «ssh-ed25519 AAAA… armoire-3».
PUBLIC_KEY: Final = "public_key"


def run(context: JobContext, spec: SetUpSource) -> JobState:
    """Make what is missing of a source's key, passphrase, repository and exported key.

    Raises:
        NotFound: the source was removed while the job waited.
        RepositoryMissing: the disk of the repositories is not there.
        WrongPassphrase: a repository that is not ours lies at its place.
        KeyMissing: the box has no key pair.
    """
    with context.database.read() as connection:
        source = sources.get(connection, spec.source_id)
    if source.kind is SourceKind.PULLED:
        _make_ssh_key(context, source)
    passphrase = _passphrase(context, source)
    borg_id = _repository(context, source, passphrase)
    _export_key(context, source, borg_id)
    with context.database.write() as connection:
        if repositories.find(connection, source.id) is None:
            repositories.add(
                connection,
                source.id,
                path=str(_place(context, source)),
                borg_id=borg_id,
                now=utc_now(),
            )
            events.record(
                connection,
                at=utc_now(),
                event="repository.made",
                subject=f"source:{source.id}",
                actor=context.actor,
                borg_id=borg_id,
            )
    context.note(mark("The repository and its key are ready."))
    return JobState.SUCCEEDED


def _make_ssh_key(context: JobContext, source: Source) -> None:
    name = f"machine:{source.id}:ssh-key"
    with context.database.write() as connection:
        if vault_rows.find_sealed(connection, name) is not None:
            return
        private, public = make_key(f"armoire-{source.id}")
        # Both halves in one transaction: a public key shown to a person always has its private one.
        sealed = seal(private, context.settings.keys)
        vault_rows.put_sealed(connection, name, sealed, now=utc_now())
        sources.set_facts(connection, source.id, {PUBLIC_KEY: public})


def _passphrase(context: JobContext, source: Source) -> Secret:
    """Return the repository's passphrase; it is in the vault before anything is closed with it."""
    name = f"repository:{source.id}:passphrase"
    with context.database.write() as connection:
        sealed = vault_rows.find_sealed(connection, name)
        if sealed is None:
            # Hex digits: a person may have to type it, and Borg takes no line end in it.
            made = Secret(secrets.token_hex(PASSPHRASE_BITS // 8).encode("ascii"))
            vault_rows.put_sealed(
                connection, name, seal(made, context.settings.keys), now=utc_now()
            )
            return made
    return unseal(name, sealed, context.settings.keys)


def _repository(context: JobContext, source: Source, passphrase: Secret) -> str:
    """Return the id of the source's repository, made now when there was none."""
    place = _place(context, source)
    with context.database.read() as connection:
        known = repositories.find(connection, source.id)
        # On a box that never had a repository the folder may be made; later its absence means
        # that a disk is not plugged in, and a new empty repository would hide that.
        first = not any(
            repositories.find(connection, one.id) for one in sources.all_living(connection)
        )
    if first:
        context.settings.repositories.mkdir(mode=0o700, exist_ok=True)
    if known is None:
        try:
            return create_repository(
                place,
                passphrase,
                context.settings.borg_home,
                segment_bytes=context.settings.segment_bytes,
            )
        except AlreadyExists:
            context.note(mark("A repository was begun before; it is used."))
    elif not place.exists():
        raise RepositoryMissing(str(place))
    # It is ours only when our passphrase opens it: a run that was killed made it, or nobody of us did.
    with open_repository(
        place,
        passphrase,
        context.settings.borg_home,
        expected_id=None if known is None else known.borg_id,
    ) as repository:
        return str(repository.id)


def _export_key(context: JobContext, source: Source, borg_id: str) -> None:
    name = f"repository:{source.id}:key"
    exported = export_key(_place(context, source), borg_id)
    with context.database.write() as connection:
        if vault_rows.find_sealed(connection, name) is None:
            sealed = seal(exported, context.settings.keys)
            vault_rows.put_sealed(connection, name, sealed, now=utc_now())


def _place(context: JobContext, source: Source) -> Path:
    return context.settings.repositories / str(source.id)
