"""A machine that pushes by itself: the real script, the real borg, a real sshd; and what it must not do."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.backup_jobs import import_pushed, push_access
from appliance.backup_jobs.borg import PROGRAM
from appliance.backup_jobs.import_pushed import KEY_CHANGED
from appliance.backup_jobs.push_access import authorized_keys, set_push_key
from appliance.backup_jobs.push_rollback import roll_back, transactions
from appliance.backup_jobs.push_script import PushAddress, push_script
from appliance.catalogue import query
from appliance.clock import utc_now
from appliance.db import anomalies, repositories, snapshots, sources
from appliance.errors import (
    AlreadyExists,
    ArchiveVanished,
    InvalidInput,
    RepositoryDamaged,
)
from appliance.jobs.kinds import ImportPushed, SetUpSource, VerifySnapshot
from appliance.jobs.pushed import SEEN, new_pushes
from appliance.ledger import chain
from appliance.model import Consistency, JobState, SnapshotState, SourceKind, System
from appliance.units import MIB
from tests.support.box import ROOT, Box
from tests.support.sshd import make_key
from tests.support.trees import make_small_tree

pytestmark = pytest.mark.integration


class Machine:
    """One pushed machine: the installed script, and the same borg with whatever arguments."""

    def __init__(
        self, box: Box, sshd, folder: Path, name: str, *, quota=None, passphrase=None
    ) -> None:
        self.box, self.prefix = box, folder / f"machine-{name}"
        self.files = folder / f"files-{name}"
        make_small_tree(self.files, files=30, seed=len(name))
        with box.database.write() as connection:
            self.source = sources.add(
                connection, name=name, label=name, kind=SourceKind.PUSHED, roots=(str(self.files),),
                now=utc_now(), quota_bytes=quota,
            )  # fmt: skip
        box.run(SetUpSource(self.source.id))
        with box.database.read() as connection:
            self.repository = repositories.get(connection, self.source.id)
        address = PushAddress(sshd.host, sshd.port, sshd.user, sshd.host_key)
        script = push_script(self.source, self.repository, address)
        secret = (passphrase or box.passphrase(self.source).reveal()).decode()
        self.prefix.mkdir()
        done = subprocess.run(
            ["/bin/sh", "-c", script], input=f"{secret}\n", capture_output=True, text=True, check=False,
            env={"PATH": f"{Path(PROGRAM).parent}:/usr/bin:/bin", "ARMOIRE_PREFIX": str(self.prefix)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.public = done.stdout.strip()
        with box.database.write() as connection:
            set_push_key(connection, self.source.id, self.public)
        (sshd.folder / "authorized_keys").write_text(authorized_keys(box.database, box.settings))

    def push(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.prefix / "etc/armoire-push/push.sh"], capture_output=True, text=True, check=False,
            env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    def borg(
        self, *arguments: str, repository: str = "", key: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """What somebody on the machine may try."""
        place = self.prefix / "etc/armoire-push"
        lines = (place / "push.sh").read_text().splitlines()
        script = "\n".join([*[line.replace('$(cd "$(dirname "$0")" && pwd)', str(place)) for line in lines if "create" not in line and "CODE" not in line],
                            f"[ -z '{repository}' ] || export BORG_REPO='{repository}'", '"$BORG" "$@"'])  # fmt: skip
        return subprocess.run(
            ["/bin/sh", "-c", script, "sh", *arguments], capture_output=True, text=True, check=False,
            env={"PATH": "/usr/bin:/bin", "BORG_DELETE_I_KNOW_WHAT_I_AM_DOING": "YES"},
        )  # fmt: skip

    def facts(self):
        with self.box.database.read() as connection:
            return sources.facts(connection, self.source.id)


@pytest.fixture
def box(tmp_path):
    one = Box(tmp_path / "data")
    yield one
    one.close()


@pytest.fixture
def machine(box, sshd, tmp_path):
    return Machine(box, sshd, tmp_path, "portable")


def test_what_a_machine_pushes_is_listed_and_proven(machine, box):
    """The archive comes from elsewhere; catalogue, proof and ledger are as for any night."""
    assert new_pushes(Path(machine.repository.path), None)
    done = machine.push()
    assert done.returncode == 0, done.stderr

    assert box.run(ImportPushed(machine.source.id)) is JobState.SUCCEEDED

    (snapshot,) = box.snapshots(machine.source)
    assert snapshot.files_seen == 30
    assert snapshot.state is SnapshotState.COMPLETE
    assert snapshot.consistency is Consistency.FILES
    assert snapshot.archive.startswith(f"{machine.source.id}-2")
    stored = os.fsencode(machine.files).lstrip(b"/")
    found = query.totals(box.catalogue(machine.source), snapshot.id)
    assert found.files == 30
    assert query.folder(box.catalogue(machine.source), snapshot.id, stored)
    assert not new_pushes(Path(machine.repository.path), machine.facts()[SEEN])
    assert box.run(VerifySnapshot(machine.source.id, snapshot.id)) is not JobState.FAILED
    with box.database.read() as connection:
        names = [entry.event for entry in chain.entries(connection)]
    assert "snapshot.imported" in names


def test_only_changes_are_written_for_the_second_push(machine, box):
    """Two pushes between two looks are two snapshots, oldest first."""
    machine.push()
    time.sleep(1.1)
    (machine.files / "nouveau.txt").write_text("nouveau")
    (machine.files / "PG_VERSION").write_text("15")
    machine.push()
    assert new_pushes(Path(machine.repository.path), machine.facts().get(SEEN))

    box.run(ImportPushed(machine.source.id))
    box.run(ImportPushed(machine.source.id))

    second, first = box.snapshots(machine.source)
    assert (first.files_seen, second.files_seen) == (30, 32)
    assert first.started_at < second.started_at
    assert 0 < second.changed <= 4
    assert second.consistency is Consistency.UNKNOWN  # the files of a running PostgreSQL
    assert second.state is SnapshotState.WARNED


def test_a_push_that_goes_on_is_waited_for(machine, box):
    """Half a push is not looked at."""
    machine.push()
    lock = Path(machine.repository.path) / "lock.exclusive"
    holder = subprocess.Popen(
        [PROGRAM, "with-lock", machine.repository.path, "sleep", "20"], stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "BORG_BASE_DIR": str(machine.prefix / "other"),
             "BORG_PASSPHRASE": box.passphrase(machine.source).reveal().decode(),
             "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"},
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not lock.exists():
            assert time.monotonic() < end
            time.sleep(0.02)

        assert not new_pushes(Path(machine.repository.path), None)
    finally:
        holder.kill()
        holder.wait()


def test_a_deletion_by_the_client_is_seen_freezes_and_can_be_undone(machine, box, tmp_path):
    """Append-only keeps the bytes; the alarm comes before anything could be compacted."""
    machine.push()
    box.run(ImportPushed(machine.source.id))
    (first,) = box.snapshots(machine.source)
    good = transactions(Path(machine.repository.path))[-1].number
    assert machine.borg("delete", f"::{first.archive}").returncode == 0
    time.sleep(1.1)
    machine.push()
    assert machine.borg("compact").returncode in {0, 1, 2}

    with pytest.raises(ArchiveVanished):
        box.run(ImportPushed(machine.source.id))

    with box.database.read() as connection:
        source = sources.get(connection, machine.source.id)
        alarms = anomalies.open_ones(connection, source.id)
        listed = snapshots.of_source(connection, source.id)
        ledger = [entry.event for entry in chain.entries(connection)]
    assert source.frozen_reason == "archive-vanished"
    assert [alarm.snapshot_id for alarm in alarms] == [first.id]
    assert "snapshot.vanished" in ledger
    assert len(listed) == 2  # what was pushed since is not lost either

    path = Path(machine.repository.path)
    aside = roll_back(
        path, good, expected_id=machine.repository.borg_id, home=box.settings.borg_home
    )
    assert any(aside.iterdir())
    checked = subprocess.run(
        [PROGRAM, "check", "--verify-data", str(path)], capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "BORG_BASE_DIR": str(tmp_path / "check"),
             "BORG_PASSPHRASE": box.passphrase(machine.source).reveal().decode(),
             "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"},
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    with box.database.read() as connection:
        passphrase = box.passphrase(machine.source)
    from appliance.backup_jobs.borg_library import open_repository

    with open_repository(
        path, passphrase, box.settings.borg_home, expected_id=machine.repository.borg_id
    ) as repository:
        assert first.archive in {archive.name for archive in repository.archives()}


class _Killed(BaseException):
    pass


def test_an_import_may_be_killed_and_run_again(machine, box):
    """At lines all over the job: every archive is listed once, and the catalogue says the same."""
    machine.push()
    name = import_pushed.__file__
    stopped = 0
    for line in range(1, 200, 7):
        left = line

        def trace(frame, event, _argument):
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
            box.run(ImportPushed(machine.source.id))
            break
        except _Killed:
            stopped += 1
        finally:
            sys.settrace(usual)
    assert stopped > 5
    box.run(ImportPushed(machine.source.id))
    assert len(box.snapshots(machine.source)) == 1
    box.assert_agreement(machine.source)


def test_a_key_reaches_its_own_repository_only(machine, box, sshd, tmp_path):
    """One key = one repository; no shell, no SFTP, no forwarding."""
    other = Machine(box, sshd, tmp_path, "imagerie")
    theirs = f"ssh://{sshd.user}@{sshd.host}:{sshd.port}{other.repository.path}"

    done = machine.borg("list", repository=theirs)

    assert done.returncode != 0
    assert "not allowed" in done.stderr.lower()
    key = machine.prefix / "etc/armoire-push/key"
    ssh_argv = [
        "ssh", "-F", "none", "-i", key, "-p", str(sshd.port), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
        "-o", f"UserKnownHostsFile={key.parent / 'known_hosts'}", f"{sshd.user}@{sshd.host}",
    ]  # fmt: skip
    shell = subprocess.run(
        [*ssh_argv, "echo", "broken"], capture_output=True, input=b"", check=False, timeout=20
    )
    assert b"broken" not in shell.stdout


def test_what_goes_over_the_quota_is_refused_clearly(box, sshd, tmp_path):
    """And nothing half is listed."""
    machine = Machine(box, sshd, tmp_path, "gros", quota=10 * MIB)
    (machine.files / "gros.bin").write_bytes(os.urandom(12 * MIB))

    done = machine.push()

    assert done.returncode != 0
    assert "quota" in done.stderr.lower()
    box.run(ImportPushed(machine.source.id))
    assert box.snapshots(machine.source) == []


def test_a_changed_repository_key_raises_the_alarm(machine, box):
    """Append-only lets a client write the repository's settings: the key lies there."""
    machine.push()
    box.run(ImportPushed(machine.source.id))
    config = Path(machine.repository.path) / "config"
    text = config.read_text()
    start = text.index("key = ") + 10
    config.write_text(text[:start] + ("A" if text[start] != "A" else "B") + text[start + 1 :])

    with pytest.raises(RepositoryDamaged) as raised:
        box.run(ImportPushed(machine.source.id))

    assert raised.value.reason == "the key stored in it was changed by the machine"
    with box.database.read() as connection:
        assert sources.get(connection, machine.source.id).frozen_reason
        assert [one.kind for one in anomalies.open_ones(connection, machine.source.id)] == [
            KEY_CHANGED
        ]


def test_the_passphrase_is_in_one_file_only_root_may_read(machine, box):
    """Neither in the script nor in the timer nor in an argument list."""
    place = machine.prefix / "etc/armoire-push"
    secret = box.passphrase(machine.source).reveal()

    for path in place.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0 or path.name == "key.pub", path
            assert secret not in path.read_bytes() or path.name == "passphrase"
    assert (place / "passphrase").read_bytes() == secret + b"\n"


def test_an_old_or_shared_key_is_not_let_in(machine, box, sshd, tmp_path):
    """A new key replaces the old; the same key for two machines is refused."""
    with box.database.write() as connection:
        other = sources.add(
            connection,
            name="autre",
            label="Autre",
            kind=SourceKind.PUSHED,
            roots=("/x",),
            now=utc_now(),
        )
    with pytest.raises(AlreadyExists), box.database.write() as connection:
        set_push_key(connection, other.id, machine.public)
    new = make_key(tmp_path / "new")
    with box.database.write() as connection:
        set_push_key(connection, machine.source.id, new)

    text = authorized_keys(box.database, box.settings)

    assert new.split()[1] in text
    assert machine.public.split()[1] not in text
    assert text.count("\n") == 1
    with box.database.write() as connection:
        sources.remove(connection, machine.source.id, now=utc_now())
    assert authorized_keys(box.database, box.settings) == ""


def test_what_is_no_key_and_no_pushed_machine_is_refused(machine, box, tmp_path):
    """A line with options of its own never gets into authorized_keys."""
    with box.database.write() as connection:
        share = sources.add(
            connection,
            name="partage",
            label="P",
            kind=SourceKind.SHARE,
            roots=("/x",),
            now=utc_now(),
        )
    good = make_key(tmp_path / "good")
    for source_id, key in (
        (share.id, good), (machine.source.id, "ssh-ed25519"), (machine.source.id, f'command="sh" {good}'),
        (machine.source.id, f"{good}\nssh-ed25519 AAAA"), (machine.source.id, "ssh-ed25519 Zm9v"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput), box.database.write() as connection:
            set_push_key(connection, source_id, key)


def test_the_command_line_prints_script_and_passphrase(machine, box, sshd, tmp_path):
    """As they are, whatever the width of the terminal; that the passphrase was shown is in the ledger."""

    def armoire(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "appliance.cli", "--data", str(box.settings.data), "machine", *arguments],
            capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "COLUMNS": "40"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "host.pub").write_text(f"{sshd.host_key} root@armoire\n")
    script = armoire(
        "push-script", "portable", "--host", sshd.host, "--port", str(sshd.port), "--account", sshd.user,
        "--host-key", str(tmp_path / "host.pub"),
    )  # fmt: skip
    address = PushAddress(sshd.host, sshd.port, sshd.user, sshd.host_key)
    assert script.strip() == push_script(machine.source, machine.repository, address).strip()
    passphrase = armoire("push-passphrase", "portable").strip()
    assert passphrase.encode() == box.passphrase(machine.source).reveal()
    assert passphrase not in script
    with box.database.read() as connection:
        assert "repository.passphrase-shown" in [e.event for e in chain.entries(connection)]


def test_the_macos_script_is_a_script_too(machine):
    """Its syntax is checked here; launchd exists on a Mac only."""
    import dataclasses

    mac = dataclasses.replace(machine.source, system=System.MACOS, roots=("/Users/l'été $HOME",))
    script = push_script(
        mac, machine.repository, PushAddress("armoire.local", 22, "armoire", "ssh-ed25519 AAAA")
    )

    assert subprocess.run(["/bin/sh", "-n"], input=script.encode(), check=False).returncode == 0
    assert "LaunchDaemons" in script
    windows = dataclasses.replace(machine.source, system=System.WINDOWS)
    with pytest.raises(InvalidInput):
        push_script(windows, machine.repository, PushAddress("a", 22, "a", "ssh-ed25519 AAAA"))


def test_a_quota_too_small_for_borg_is_refused():
    """Before it makes every push fail."""
    with pytest.raises(InvalidInput):
        push_access.serve_argv("/srv/x", 1000)
    assert push_access.serve_argv("/srv/x", None)[-1] == "/srv/x"
