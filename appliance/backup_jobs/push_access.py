"""How a machine that pushes by itself is let in: one key, one repository, nothing but appending.

The machine's key may start `borg serve --append-only` on its own repository and nothing else. sshd of
the box asks for these lines (``AuthorizedKeysCommand``), so a removed machine is shut out at once.

Source: Borg 1.4 manual, «borg serve», «Append-only mode»; sshd(8), AUTHORIZED_KEYS FILE FORMAT.
"""

import shlex
from typing import Final

from sqlalchemy import Connection

from appliance.backup_jobs import ssh
from appliance.backup_jobs.borg import PROGRAM
from appliance.db import repositories, sources
from appliance.db.engine import Database
from appliance.errors import AlreadyExists, InvalidInput
from appliance.language import mark
from appliance.model import Repository, Source, SourceId, SourceKind
from appliance.settings import Settings
from appliance.units import MIB

#: In the source's facts: the public key of the machine, «ssh-ed25519 AAAA…».
PUSH_KEY: Final = "push_key"
#: Borg refuses a smaller quota. Source: borg 1.4, archiver.py parse_storage_quota.
SMALLEST_QUOTA: Final = 10 * MIB


def set_push_key(connection: Connection, source_id: SourceId, public_key: str) -> str:
    """Let the machine that holds ``public_key`` push into its repository; return its fingerprint.

    A former key of this machine is let in no more.

    Raises:
        NotFound: there is no such source.
        InvalidInput: the source does not push, or this is no public key.
        AlreadyExists: another machine uses this key: one key is one repository.
    """
    source = sources.get(connection, source_id)
    if source.kind is not SourceKind.PUSHED:
        raise InvalidInput("source", mark("This machine does not push."))
    parts = public_key.split()
    if len(parts) < 2 or "\n" in public_key.strip():
        raise InvalidInput("key", mark("One line «ssh-ed25519 AAAA…» is needed."))
    key = f"{parts[0]} {parts[1]}"
    fingerprint = ssh.fingerprint(key)
    for other in sources.all_living(connection):
        if other.id != source_id and sources.facts(connection, other.id).get(PUSH_KEY) == key:
            raise AlreadyExists("key", fingerprint)
    sources.set_facts(connection, source_id, {PUSH_KEY: key})
    return fingerprint


def authorized_keys(database: Database, settings: Settings) -> str:
    """Return the lines for sshd: one for each living machine that pushes and has a key.

    Args:
        database: the state.
        settings: unused today; the contract of every printer of the box.
    """
    del settings
    lines = []
    with database.read() as connection:
        for source in sources.all_living(connection):
            key = sources.facts(connection, source.id).get(PUSH_KEY)
            repository = repositories.find(connection, source.id)
            if source.kind is SourceKind.PUSHED and isinstance(key, str) and repository:
                lines.append(authorized_line(source, repository, key))
    return "".join(f"{line}\n" for line in lines)


def authorized_line(source: Source, repository: Repository, key: str) -> str:
    """Return the line of one machine: its key, restricted to appending to its one repository."""
    command = shlex.join(serve_argv(repository.path, source.quota_bytes))
    # sshd takes \" inside the quotes and nothing else; shlex.join makes neither «"» nor a lone «\».
    escaped = command.replace("\\", "\\\\").replace('"', '\\"')
    return f'restrict,command="{escaped}" {key} armoire-push-{source.id}'


def serve_argv(repository_path: str, quota_bytes: int | None) -> tuple[str, ...]:
    """Return the forced command.

    Raises:
        InvalidInput: the quota is under 10 MiB, or the path could be read as an option.
    """
    if not repository_path.startswith("/"):
        raise InvalidInput("path", mark("A whole path is needed."))
    if quota_bytes is not None and quota_bytes < SMALLEST_QUOTA:
        raise InvalidInput("quota", mark("A quota is at least 10 MB."))
    quota = () if quota_bytes is None else ("--storage-quota", str(quota_bytes))
    return (
        *(PROGRAM, "serve", "--umask", "0077", "--append-only"),
        *("--restrict-to-repository", repository_path, *quota),
    )
