"""A new source's key, repository and secrets: made once, whole, whatever happens on the way."""

import sys
from types import FrameType

import pytest

from appliance.backup_jobs import set_up_source, ssh, vault_access
from appliance.backup_jobs.borg_library import open_repository
from appliance.clock import utc_now
from appliance.db import repositories, sources
from appliance.db import secrets as vault_rows
from appliance.errors import RepositoryMissing, WrongPassphrase
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import SetUpSource
from appliance.ledger import chain
from appliance.model import JobState, SourceKind

pytestmark = pytest.mark.integration


def add_source(database, kind=SourceKind.PULLED, name="accueil"):
    with database.write() as connection:
        return sources.add(
            connection, name=name, label=name, kind=kind, roots=("/srv",), host="127.0.0.1",
            user="armoire", now=utc_now(),
        )  # fmt: skip


def run_job(settings, database, source):
    with database.write() as connection:
        now = utc_now()
        job = queue.get(connection, queue.enqueue(connection, SetUpSource(source.id), now=now))
    context = JobContext(settings, database, job)
    try:
        return set_up_source.run(context, SetUpSource(source.id))
    finally:
        with database.write() as connection:
            connection.exec_driver_sql("DELETE FROM job_note")
            connection.exec_driver_sql("DELETE FROM job")


def everything_is_there(settings, database, source):
    with database.read() as connection:
        row = repositories.get(connection, source.id)
        passphrase = vault_access.repository_passphrase(connection, settings, source.id)
        key = vault_access.repository_key(connection, settings, source.id)
        made = [e for e in chain.entries(connection) if e.event == "repository.made"]
    with open_repository(
        settings.repositories / str(source.id),
        passphrase,
        settings.borg_home,
        expected_id=row.borg_id,
    ) as repository:
        assert repository.archives() == []
    assert key.reveal().startswith(f"BORG_KEY {row.borg_id}\n".encode())
    assert len(passphrase.reveal()) * 4 == 256
    assert [entry.subject for entry in made] == [f"source:{source.id}"]
    return row, passphrase


def test_a_pulled_machine_gets_a_key_a_repository_and_a_full_vault(settings, database, box_keys):
    """The private half is sealed, the public one is shown, and they are one pair."""
    source = add_source(database)

    assert run_job(settings, database, source) is JobState.SUCCEEDED

    everything_is_there(settings, database, source)
    with database.read() as connection:
        public = sources.facts(connection, source.id)["public_key"]
        private = vault_access.machine_key(connection, settings, source.id)
        sealed = vault_rows.get_sealed(connection, f"machine:{source.id}:ssh-key")
    assert public.split()[:2] == _public_of(private).split()[:2]
    assert b"PRIVATE KEY" not in sealed
    assert ssh.fingerprint(public).startswith("SHA256:")


def _public_of(private) -> str:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_ssh_private_key,
    )

    key = load_ssh_private_key(private.reveal(), None).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_a_share_needs_no_key(settings, database, box_keys):
    """Nothing is made that nobody needs."""
    source = add_source(database, SourceKind.SHARE)

    run_job(settings, database, source)

    everything_is_there(settings, database, source)
    with database.read() as connection:
        assert vault_rows.find_sealed(connection, f"machine:{source.id}:ssh-key") is None
        assert "public_key" not in sources.facts(connection, source.id)


def test_running_again_changes_nothing(settings, database, box_keys):
    """A second passphrase would lock the repository, a second key the machine."""
    source = add_source(database)
    run_job(settings, database, source)
    before = everything_is_there(settings, database, source)
    with database.read() as connection:
        public = sources.facts(connection, source.id)["public_key"]

    run_job(settings, database, source)

    assert everything_is_there(settings, database, source) == before
    with database.read() as connection:
        assert sources.facts(connection, source.id)["public_key"] == public


class _Killed(BaseException):
    pass


def test_it_may_be_killed_at_any_line_and_run_again(settings, database, box_keys):
    """For every other line of the job: stop there, run again, and all is as if nothing had happened."""
    name = set_up_source.__file__
    stopped = 0
    for line in range(1, 200, 2):  # every line would take twice as long
        source = add_source(database, name=f"poste-{line}")
        left = line

        def trace(frame: FrameType, event: str, _argument: object):
            nonlocal left
            if frame.f_code.co_filename != name:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    raise _Killed
            return trace

        usual = sys.gettrace()
        sys.settrace(trace)
        try:
            run_job(settings, database, source)
            break
        except _Killed:
            stopped += 1
        finally:
            sys.settrace(usual)
        run_job(settings, database, source)
        with database.write() as connection:
            row = repositories.get(connection, source.id)
            events = [e for e in chain.entries(connection) if e.subject == f"source:{source.id}"]
            passphrase = vault_access.repository_passphrase(connection, settings, source.id)
            vault_access.machine_key(connection, settings, source.id)
            vault_access.repository_key(connection, settings, source.id)
        with open_repository(
            settings.repositories / str(source.id),
            passphrase,
            settings.borg_home,
            expected_id=row.borg_id,
        ):
            pass
        assert len(events) == 1
    assert stopped > 15


def test_an_unplugged_disk_gets_no_new_repository(settings, database, box_keys):
    """A box that had repositories and finds none must not begin again from nothing."""
    first = add_source(database)
    run_job(settings, database, first)
    settings.repositories.rename(settings.data / "elsewhere")
    second = add_source(database, name="imagerie")

    for source in (first, second):
        with pytest.raises(RepositoryMissing):
            run_job(settings, database, source)

    assert not settings.repositories.exists()


def test_a_foreign_repository_at_the_place_is_not_taken(settings, database, box_keys, tmp_path):
    """Only what our passphrase opens is ours."""
    from appliance.backup_jobs.borg_library import create_repository
    from appliance.vault.secret import Secret

    source = add_source(database)
    settings.repositories.mkdir()
    create_repository(settings.repositories / str(source.id), Secret(b"theirs"), settings.borg_home)

    with pytest.raises(WrongPassphrase):
        run_job(settings, database, source)

    with database.read() as connection:
        assert repositories.find(connection, source.id) is None
