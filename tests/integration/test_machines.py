"""Trying a machine: what works and what does not, in words, as it is found out."""

import socket
from datetime import timedelta

import pytest

from appliance.backup_jobs import check_machine, probe_host_key, ssh, wake_machine
from appliance.backup_jobs.check_machine import CHECK
from appliance.backup_jobs.machine_wake import magic_packet
from appliance.backup_jobs.machines import check, confirm_host_key
from appliance.backup_jobs.probe_host_key import PROBED
from appliance.backup_jobs.recipes import load_recipes
from appliance.clock import utc_now
from appliance.db import secrets, sources
from appliance.errors import InvalidInput, MachineUnreachable
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import CheckMachine, ProbeHostKey, WakeMachine
from appliance.ledger import chain
from appliance.model import JobState, RecipeUse, SourceKind, System
from appliance.vault.seal import seal
from tests.support.sshd import free_port
from tests.support.trees import make_small_tree
from tests.support.windows import WindowsHost

pytestmark = pytest.mark.integration


class Tried:
    def __init__(self, settings, database, host, roots, *, system=System.LINUX) -> None:
        self.settings, self.database, self.host = settings, database, host
        key, self.public = ssh.make_key()
        host.authorize(self.public)
        with database.write() as connection:
            source = sources.add(
                connection, name="poste", label="Poste", kind=SourceKind.PULLED, roots=tuple(map(str, roots)),
                now=utc_now(), host=host.host, port=host.port, user=host.user, system=system,
            )  # fmt: skip
            self.id = source.id
            sources.change(connection, source.id, host_key=host.host_key)
            sources.set_facts(connection, source.id, {"public_key": self.public})
            name = f"machine:{source.id}:ssh-key"
            secrets.put_sealed(connection, name, seal(key, settings.keys), now=utc_now())

    def change(self, **values):
        with self.database.write() as connection:
            sources.change(connection, self.id, **values)

    @property
    def source(self):
        with self.database.read() as connection:
            return sources.get(connection, self.id)

    @property
    def facts(self):
        with self.database.read() as connection:
            return sources.facts(connection, self.id)

    def run(self, module, spec, **options) -> JobState:
        with self.database.write() as connection:
            job = queue.get(connection, queue.enqueue(connection, spec, now=utc_now()))
        try:
            return module.run(JobContext(self.settings, self.database, job), spec, **options)
        finally:
            with self.database.write() as connection:
                connection.exec_driver_sql("DELETE FROM job_note")
                connection.exec_driver_sql("DELETE FROM job")

    def check(self) -> dict[str, str]:
        """Outcome by name; the last of that name counts."""
        self.state = self.run(check_machine, CheckMachine(self.id))
        found = self.facts[CHECK]
        assert found["ended"]
        return {one["name"]: one["outcome"] for one in found["results"]}


@pytest.fixture
def tried(settings, database, box_keys, sshd, tmp_path):
    make_small_tree(tmp_path / "files", files=20)
    return Tried(settings, database, sshd, [tmp_path / "files"])


def test_a_machine_where_all_works(tried):
    """Every check passes, with figures, and is stored where the page reads it."""
    found = tried.check()

    assert found == {
        "reachable": "ok",
        "host-key": "ok",
        "key": "ok",
        "sftp": "ok",
        "root": "ok",
        "space": "ok",
        "clock": "ok",
    }
    assert tried.state is JobState.SUCCEEDED
    root = next(one for one in tried.facts[CHECK]["results"] if one["name"] == "root")
    assert root["facts"]["files"] == 20
    assert root["facts"]["whole"] is True
    assert abs(tried.facts["clock_offset_s"]) < 5
    assert tried.source.last_seen_at is not None


def test_the_words_are_french_and_english(tried):
    """A person reads them; nothing is left unfilled."""
    source = tried.source
    with tried.database.read() as connection:
        from appliance.backup_jobs import vault_access

        key = vault_access.machine_key(connection, tried.settings, tried.id)
    endpoint = ssh.Endpoint(source.host, source.port, source.user, source.host_key, key)

    for result in check(endpoint, source, load_recipes(tried.settings)):
        french, english = result.words("fr"), result.words("en")
        assert french != english
        assert "%(" not in french + english


def test_each_check_is_seen_as_it_passes(tried):
    """What was found before the job was stopped is on the page."""
    seen = []
    with tried.database.write() as connection:
        job = queue.get(
            connection, queue.enqueue(connection, CheckMachine(tried.id), now=utc_now())
        )
    context = JobContext(tried.settings, tried.database, job)
    usual = context.report

    def report(done, *rest, **options):
        seen.append(len(tried.facts[CHECK]["results"]))
        usual(done, *rest, **options)

    context.report = report
    check_machine.run(context, CheckMachine(tried.id))

    assert seen == list(range(1, 8))


def test_nobody_at_the_address(tried):
    """The first check says it, and nothing else is claimed."""
    tried.change(port=free_port())

    assert tried.check() == {"reachable": "failed"}
    assert tried.source.last_seen_at is None


def test_a_key_the_machine_does_not_know(tried, sshd):
    """The person is sent back to the lines to run."""
    sshd.revoke_all()

    assert tried.check() == {"reachable": "ok", "host-key": "ok", "key": "failed"}
    assert tried.state is JobState.WARNED


def test_an_identity_never_confirmed_or_changed_stops_there(tried, sshd):
    """Nothing is sent to a machine that may be another."""
    tried.change(host_key=None)
    assert tried.check() == {"reachable": "ok", "host-key": "failed"}
    tried.change(host_key=sshd.host_key)
    sshd.replace_host_key()

    assert tried.check() == {"reachable": "ok", "host-key": "failed"}
    (_, changed) = tried.facts[CHECK]["results"]
    assert changed["facts"]["found"] == ssh.fingerprint(sshd.host_key)


def test_a_server_without_sftp(tried, sshd):
    """The key is right, the files are not to be had."""
    sshd.stop_process()
    sshd._sftp = None
    sshd.start()

    assert tried.check() == {"reachable": "ok", "host-key": "ok", "key": "ok", "sftp": "failed"}


def test_roots_that_are_missing_or_empty(tried, tmp_path):
    """A typing mistake is found tonight."""
    tried.change(roots=(str(tmp_path / "nowhere"),))
    assert tried.check()["root"] == "failed"
    (tmp_path / "empty").mkdir()
    tried.change(roots=(str(tmp_path / "empty"),))
    assert tried.check()["root"] == "warning"
    tried.change(roots=("/usr/share",))
    assert tried.check()["root"] == "ok"
    root = next(one for one in tried.facts[CHECK]["results"] if one["name"] == "root")
    assert root["facts"]["files"] > 100


def test_a_key_that_may_only_read_files_is_enough_until_a_recipe_needs_more(tried, sshd):
    """The clock is not asked; a recipe that runs commands says what to do."""
    keys = sshd.folder / "authorized_keys"
    keys.write_text(f'restrict,command="internal-sftp -R" {keys.read_text()}')
    found = tried.check()
    assert found["clock"] == "skipped"
    assert tried.state is JobState.SUCCEEDED
    tried.change(recipes=(RecipeUse("postgresql"),))

    assert tried.check()["recipe"] == "failed"


@pytest.mark.parametrize(
    ("use", "outcome"),
    [
        (RecipeUse("postgresql"), "ok"),
        (RecipeUse("sqlite", {"file": "/x"}), "ok"),
        (RecipeUse("editor-folder", {"folder": "/x"}), "ok"),
        (RecipeUse("sqlite"), "failed"),
        (RecipeUse("windows-vss"), "failed"),
        (RecipeUse("unheard-of"), "failed"),
    ],
)
def test_recipes_are_tried_too(tried, use, outcome):
    """Programs and values, before the first night."""
    tried.change(recipes=(use,))

    assert tried.check()["recipe"] == outcome


def test_a_live_database_without_a_recipe_is_told_before_the_first_night(tried, tmp_path):
    """And no more once a recipe was chosen."""
    (tmp_path / "files" / "pg").mkdir()
    (tmp_path / "files" / "pg" / "PG_VERSION").write_text("15")
    (tmp_path / "files" / "PATIENT.FIC").write_text("hfsql")
    assert tried.check()["database"] == "warning"
    found = [one["facts"] for one in tried.facts[CHECK]["results"] if one["name"] == "database"]
    assert found == [
        {"engine": "HFSQL", "recipe": ""},
        {"engine": "PostgreSQL", "recipe": "postgresql"},
    ]
    tried.change(recipes=(RecipeUse("postgresql"),))

    assert "database" not in tried.check()


def test_a_missing_program_is_named(tried, settings, tmp_path):
    """So that it can be installed."""
    import dataclasses

    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.toml").write_text(
        'name = "mine"\nlevel = "dump"\nsystems = ["linux"]\nprograms = ["sh", "no-such-thing"]\n'
        'any_program = ["nor-this", "nor-that"]\ntitle = {fr = "a", en = "b"}\nabout = {fr = "a", en = "b"}\n'
        '[[steps]]\nkind = "stream"\npath = "x"\ncommand = "true"\n'
    )
    tried.settings = dataclasses.replace(settings, recipes_folder=str(tmp_path / "recipes"))
    tried.change(recipes=(RecipeUse("mine"),))

    assert tried.check()["recipe"] == "failed"
    found = tried.facts[CHECK]["results"][-1]
    assert found["facts"]["programs"] == "no-such-thing, nor-this / nor-that"


def test_a_windows_machine_is_tried_too(settings, database, box_keys):
    """Paths, clock and space, on the simulated host."""
    with WindowsHost() as host:
        host.write(r"C:\Users\Médecin\Documents\lettre.docx", b"x" * 10)
        host.free_bytes["C"] = 1000
        tried = Tried(
            settings, database, host, [r"C:\Users\Médecin\Documents"], system=System.WINDOWS
        )
        found = tried.check()
        assert found["root"] == "ok"
        assert found["clock"] == "ok"
        host.clock_offset = timedelta(minutes=-10)

        assert tried.check()["clock"] == "warning"
        assert -605 < tried.facts["clock_offset_s"] < -595
        assert host.not_simulated == []


# --- identity and waking -----------------------------------------------------------------------


def test_a_host_key_is_shown_first_and_pinned_when_a_person_says_so(tried, sshd):
    """Looking pins nothing; confirming is in the ledger."""
    tried.change(host_key=None)

    assert tried.run(probe_host_key, ProbeHostKey(tried.id)) is JobState.SUCCEEDED

    assert tried.source.host_key is None
    seen = tried.facts[PROBED]
    assert seen["fingerprint"] == ssh.fingerprint(sshd.host_key)
    with tried.database.write() as connection:
        confirm_host_key(connection, tried.id, seen["host_key"], person_id=None, now=utc_now())
    assert tried.source.host_key == sshd.host_key
    with tried.database.read() as connection:
        assert [e.event for e in chain.entries(connection)] == ["machine.host-key-confirmed"]
    sshd.replace_host_key()
    assert tried.run(probe_host_key, ProbeHostKey(tried.id)) is JobState.WARNED


def test_a_machine_that_is_off_is_said_to_be(tried):
    """The probe fails; the assistant goes on waiting."""
    tried.change(port=free_port())

    with pytest.raises(MachineUnreachable):
        tried.run(probe_host_key, ProbeHostKey(tried.id))


def test_waking_needs_an_address_and_sends_the_packet(tried):
    """The address is learned while the machine is on."""
    with pytest.raises(InvalidInput):
        tried.run(wake_machine, WakeMachine(tried.id))
    tried.change(mac="00:1b:21:ab:cd:ef")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(60)

        state = tried.run(wake_machine, WakeMachine(tried.id), to=listener.getsockname())

        assert state is JobState.SUCCEEDED
        assert listener.recv(200) == magic_packet("00:1b:21:ab:cd:ef")
