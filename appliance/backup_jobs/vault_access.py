"""Secrets out of the database, opened with the box's key: the worker's processes only (beam 1)."""

from sqlalchemy import Connection

from appliance.db import secrets
from appliance.model import SourceId
from appliance.settings import Settings
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal


def open_secret(connection: Connection, settings: Settings, name: str) -> Secret:
    """Return the secret called ``name``.

    Raises:
        SecretMissing: none has this name.
        KeyMissing, SecretUnreadable: as ``vault.unseal``.
    """
    return unseal(name, secrets.get_sealed(connection, name), settings.keys)


def repository_passphrase(
    connection: Connection, settings: Settings, source_id: SourceId
) -> Secret:
    """Return what opens the repository of a source.

    Raises:
        SecretMissing, KeyMissing, SecretUnreadable.
    """
    return open_secret(connection, settings, f"repository:{source_id}:passphrase")


def repository_key(connection: Connection, settings: Settings, source_id: SourceId) -> Secret:
    """Return Borg's key of a repository as it was exported to the vault, still closed by the passphrase.

    Raises:
        SecretMissing, KeyMissing, SecretUnreadable.
    """
    return open_secret(connection, settings, f"repository:{source_id}:key")


def machine_key(connection: Connection, settings: Settings, source_id: SourceId) -> Secret:
    """Return the private SSH key with which the box signs in on a machine.

    Raises:
        SecretMissing, KeyMissing, SecretUnreadable.
    """
    return open_secret(connection, settings, f"machine:{source_id}:ssh-key")
