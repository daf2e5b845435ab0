"""The file explorer's door: real smbd, real smbclient, the helper over its real socket."""

import grp
import pwd
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import facts, secrets, shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.disk import access, actions, smb_calls, smb_passwords
from appliance.disk import bin as bins
from appliance.disk.actions import Doer
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import SmbApply
from appliance.ledger import chain
from appliance.model import JobState, Person, Role
from appliance.packed import unpack_path
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.worker.tasks import smb_apply, smb_plan
from appliance.worker.tasks.smb_watch import SmbWatch
from tests.support.smb import GROUP, OWNER, SmbServer

pytestmark = [pytest.mark.integration]


class Practice:
    """A box with a doctor who may do all, a secretary who reads, a stranger, and Samba."""

    def __init__(self, settings: Settings, database: Database, server: SmbServer) -> None:
        self.settings = replace(settings, smb_run=str(server.run))
        self.database = database
        self.server = server
        self.eye = SmbWatch(self.settings, database)
        now = utc_now()
        with database.write() as c:
            facts.put(c, "network.local", ["127.0.0.0/8"], now=now)
            self.doctor = self._person(c, "anne.martin", Role.OWNER)
            self.secretary = self._person(c, "lea.petit", Role.SECRETARY)
            self.stranger = self._person(c, "tom.blanc", Role.ASSOCIATE)
            self.admin = self._person(c, "max.tech", Role.TECHNICAL_ADMIN)
            self.share = self.add_share(c, "documents", smb=True)
            self.closed = self.add_share(c, "closed", smb=False)
            shares.grant(c, self.share.id, ALL, person_id=self.doctor.id, by=None, now=now)
            shares.grant(c, self.closed.id, ALL, person_id=self.doctor.id, by=None, now=now)
            shares.grant(c, self.share.id, {Right.SEE}, role=Role.SECRETARY, by=None, now=now)
        self.passwords = server.passwords
        for each in (self.doctor, self.secretary, self.stranger, self.admin):
            if each.login not in self.passwords:
                self.give_password(each)

    def _person(self, c, login: str, role: Role) -> Person:
        return people.add(
            c, login=login, name=login, role=role, language="fr", password_hash=None, now=utc_now()
        )

    def add_share(self, c, name: str, *, smb: bool) -> Share:
        folder = self.settings.shares / name
        folder.mkdir(parents=True)
        shutil.chown(folder, OWNER, GROUP)
        folder.chmod(0o2770)
        made = shares.add(c, name=name, label=f"{name} é", folder=folder, now=utc_now())
        shares.change(c, made.id, over_smb=smb)
        return shares.get(c, made.id)

    def give_password(self, person: Person, words: str | None = None) -> str:
        words = smb_passwords.make() if words is None else words
        with self.database.write() as c:
            smb_passwords.ask(
                c, person.id, seal(Secret(words.encode()), self.settings.keys), now=utc_now()
            )
        self.passwords[person.login] = words
        return words

    def rights(self, rights: set[Right], **whom: object) -> None:
        with self.database.write() as c:
            shares.grant(c, self.share.id, rights, by=None, now=utc_now(), **whom)

    def settle(self) -> JobState | None:
        """Do what the worker does within two seconds: look, and run the job when one was queued."""
        state = None
        if self.eye.turn(utc_now()):
            with self.database.write() as c:
                job = queue.claim(c, runner="test", now=utc_now())
            assert job is not None
            assert job.kind == SmbApply.kind
            with JobContext(self.settings, self.database, job) as context:
                state = smb_apply.run(context, SmbApply())
            with self.database.write() as c:
                queue.finish(c, job.id, state, now=utc_now())
        return state

    def ask(self, person: Person, command: str, share: str = "documents", **more: Path):
        return self.server.client(
            share, person.login, self.passwords[person.login], command, **more
        )

    def events(self, event: str) -> list:
        with self.database.read() as c:
            return chain.newest(c, limit=100, event=event)


@pytest.fixture(scope="module")
def server() -> Iterator[SmbServer]:
    with SmbServer() as server:
        yield server


@pytest.fixture
def practice(server: SmbServer, request: pytest.FixtureRequest) -> Iterator[Practice]:
    from appliance.db.engine import open_database
    from appliance.vault.seal import make_keys

    data = server.root / f"{abs(hash(request.node.name)):x}"
    data.mkdir()
    settings = Settings(data=data)
    make_keys(settings.keys)
    database = open_database(settings.database, create=True)
    made = Practice(settings, database, server)
    assert made.settle() is JobState.SUCCEEDED, (server.folder / "helper.log").read_text()
    if not smb_calls_running(server):
        server.start()
    yield made
    database.close()


def smb_calls_running(server: SmbServer) -> bool:
    return (server.run / "smbd.pid").exists()


def test_each_person_has_the_rights_of_every_other_door(practice: Practice):
    """Who may do all writes, who sees reads, who has nothing is not even shown the share."""
    (practice.server.folder / "letter.txt").write_bytes(b"Dear colleague")

    wrote = practice.ask(practice.doctor, "put letter.txt; mkdir folder; ls")
    read = practice.ask(practice.secretary, "get letter.txt letter.back")
    refused = [
        practice.ask(practice.secretary, command)
        for command in (
            "put letter.txt other.txt",
            "del letter.txt",
            "mkdir x",
            "rename letter.txt y",
        )
    ]

    assert wrote.ok
    assert read.ok
    assert (practice.server.folder / "letter.back").read_bytes() == b"Dear colleague"
    assert all(
        "NT_STATUS_ACCESS_DENIED" in each.out or "NT_STATUS_MEDIA_WRITE_PROTECTED" in each.out
        for each in refused
    )
    names = sorted(each.name for each in practice.share.folder.iterdir())
    assert [each for each in names if each != ".armoire"] == ["folder", "letter.txt"]
    assert practice.server.shares_of("anne.martin", practice.passwords["anne.martin"]) == [
        "documents"
    ]
    for other in (practice.stranger, practice.admin):
        assert "NT_STATUS_" in practice.ask(other, "ls").out
        assert practice.server.shares_of(other.login, practice.passwords[other.login]) == []


def test_a_share_that_is_not_for_smb_is_not_there(practice: Practice):
    """Its switch is off: whatever the rights."""
    assert "BAD_NETWORK_NAME" in practice.ask(practice.doctor, "ls", share="closed").out


@pytest.mark.parametrize(
    ("user", "password"),
    [("anne.martin", "wrong-wrong-wrong"), ("guest", ""), ("", ""), ("root", "root")],
)
def test_nobody_comes_in_without_their_own_password(practice: Practice, user: str, password: str):
    """No guest, no anonymous list, no account of the system."""
    said = practice.server.client("documents", user, password, "ls")

    assert not said.ok
    assert "LOGON_FAILURE" in said.out or "ACCESS_DENIED" in said.out
    assert practice.server.shares_of(user, password) == []


def test_files_belong_to_whom_they_would_through_the_browser(practice: Practice):
    """Owner, group and mode are the same whichever door a file came through."""
    (practice.server.folder / "a.txt").write_bytes(b"a")
    assert practice.ask(practice.doctor, "mkdir f; put a.txt; cd f; put a.txt").ok
    with practice.database.read() as c:
        held = access.on_share(c, practice.doctor, "documents", now=utc_now())
    actions.make_folder(
        practice.database, held, b"web", doer=Doer(practice.doctor.id, "web"), now=utc_now()
    )

    folder, web = practice.share.folder / "f", practice.share.folder / "web"
    for file in (practice.share.folder / "a.txt", folder / "a.txt"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o660
        assert file.stat().st_uid == pwd.getpwnam(OWNER).pw_uid
        assert file.stat().st_gid == web.stat().st_gid == grp.getgrnam(GROUP).gr_gid
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(web.stat().st_mode)
    assert folder.stat().st_gid == web.stat().st_gid


def test_what_is_deleted_in_the_explorer_is_in_the_bin_and_comes_back(practice: Practice):
    """A file and a whole folder; put back in the browser, they are in the explorer again."""
    (practice.server.folder / "x.txt").write_bytes(b"xyz")
    made = practice.ask(
        practice.doctor, "put x.txt; mkdir d; cd d; put x.txt; mkdir e; cd e; put x.txt y.txt"
    )
    gone = practice.ask(practice.doctor, "del x.txt; deltree d")
    assert made.ok
    assert gone.ok, gone.out
    assert not (practice.share.folder / "d").exists()

    practice.eye.turn(utc_now() + timedelta(seconds=10))

    with practice.database.read() as c:
        found = {each.path: each for each in bins.items(c, practice.share.id)}
    assert set(found) == {b"x.txt", b"d"}
    assert (found[b"d"].kind, found[b"d"].files, found[b"d"].door) == ("folder", 2, "smb")
    assert {each.person_id for each in found.values()} == {practice.doctor.id}
    with practice.database.read() as c:
        held = access.on_share(c, practice.doctor, "documents", now=utc_now())
    for each in found.values():
        actions.put_back(
            practice.database, held, each.id, doer=Doer(practice.doctor.id, "web"), now=utc_now()
        )
    assert practice.ask(practice.doctor, "get x.txt x1; cd d/e; get y.txt x2").ok
    assert (practice.server.folder / "x2").read_bytes() == b"xyz"


def test_the_same_name_deleted_twice_is_twice_in_the_bin(practice: Practice):
    """Nothing in the bin is written over."""
    for content in (b"first", b"second"):
        (practice.server.folder / "t.txt").write_bytes(content)
        assert practice.ask(practice.doctor, "put t.txt; del t.txt").ok

    practice.eye.turn(utc_now() + timedelta(seconds=10))

    with practice.database.read() as c:
        found = bins.items(c, practice.share.id)
    folder = bins.own_folder(practice.share, bins.BIN)
    assert [each.path for each in found] == [b"t.txt"] * 2
    assert {(folder / each.stored).read_bytes() for each in found} == {b"first", b"second"}


def test_what_is_deleted_in_the_browser_is_not_seen_in_the_explorer(practice: Practice):
    """The bin, parts of uploads and quarantine are ours: no name of theirs opens over SMB."""
    (practice.share.folder / "w.txt").write_bytes(b"w")
    with practice.database.read() as c:
        held = access.on_share(c, practice.doctor, "documents", now=utc_now())
    item = actions.delete(
        practice.database, held, b"w.txt", doer=Doer(practice.doctor.id, "web"), now=utc_now()
    )

    listed = practice.ask(practice.doctor, "ls")
    assert listed.ok
    assert ".armoire" not in listed.out
    assert "w.txt" not in listed.out
    for command in (
        "ls .armoire/*",
        f"get .armoire/bin/{item.stored} got",
        "mkdir .armoire/x",
        "rename .armoire y",
        "deltree .armoire",
    ):
        assert "NT_STATUS_" in practice.ask(practice.doctor, command).out, command
    assert (bins.own_folder(practice.share, bins.BIN) / item.stored).read_bytes() == b"w"
    actions.put_back(
        practice.database, held, item.id, doer=Doer(practice.doctor.id, "web"), now=utc_now()
    )
    assert "w.txt" in practice.ask(practice.doctor, "ls").out


def test_who_did_what_is_in_the_ledger(practice: Practice):
    """Opened, added, moved, deleted, by whom and from where, the path packed; nothing twice after a restart."""
    (practice.server.folder / "s.txt").write_bytes(b"s")
    practice.ask(practice.doctor, "mkdir été; cd été; put s.txt; rename s.txt r.txt; get r.txt")
    practice.ask(practice.secretary, "cd été; get r.txt")
    practice.ask(practice.doctor, "cd été; del r.txt")
    practice.eye.turn(utc_now())
    again = SmbWatch(practice.settings, practice.database)
    again.turn(utc_now())

    def said(event: str) -> list[tuple[str, bytes]]:
        return [
            (each.actor, unpack_path(each.body["path"]))
            for each in reversed(practice.events(event))
        ]

    doctor, secretary = f"person:{practice.doctor.id}", f"person:{practice.secretary.id}"
    r = "été/r.txt".encode()
    assert said("folder.made") == [(doctor, "été".encode())]
    assert said("file.added") == [(doctor, "été/s.txt".encode())]
    assert said("file.opened") == [(doctor, r), (secretary, r)]
    assert said("file.deleted") == [(doctor, r)]
    moved = practice.events("file.moved")[0]
    assert unpack_path(moved.body["to_path"]) == r
    assert moved.body["address"] == "127.0.0.1"
    assert {each.body["door"] for each in practice.events("file.opened")} == {"smb"}
    with practice.database.read() as c:
        chain.verify(c)


def test_no_log_of_the_system_names_a_document(practice: Practice):
    """The audit lies in memory and is read from there; smbd's own words and the helper's name no file."""
    (practice.server.folder / "DUPONT.txt").write_bytes(b"s")
    practice.ask(practice.doctor, "put DUPONT.txt; get DUPONT.txt; del DUPONT.txt")

    audit = practice.server.run / "audit" / "audit.log"
    named = [
        each
        for each in practice.server.folder.rglob("*")
        if each.is_file()
        and each.name != "DUPONT.txt"
        and b"DUPONT" in each.read_bytes()
        and not each.is_relative_to(practice.settings.data)
    ]
    assert [each for each in named if "lock" not in each.parts] == [audit]
    assert stat.S_IMODE(audit.parent.stat().st_mode) == 0o2750
    assert audit.parent.stat().st_gid == audit.stat().st_gid == grp.getgrnam(GROUP).gr_gid
    assert audit.stat().st_mode & stat.S_IRGRP  # the worker's account is of this group


def test_a_right_taken_away_ends_at_once_for_who_is_connected(practice: Practice):
    """The connection of who lost it is cut; the others keep what they have open."""
    keeps, loses = _Held(practice, practice.doctor), _Held(practice, practice.secretary)
    with keeps, loses:
        assert {each.person_id for each in smb_calls.sessions(practice.settings)} == {
            practice.doctor.id,
            practice.secretary.id,
        }
        began = time.monotonic()
        practice.rights(set(), role=Role.SECRETARY)
        assert practice.settle() is JobState.SUCCEEDED
        left = {each.person_id for each in smb_calls.sessions(practice.settings)}

        assert left == {practice.doctor.id}
        assert time.monotonic() - began < 30
        assert "NT_STATUS_" in practice.ask(practice.secretary, "ls").out


def test_a_new_right_works_without_a_new_start(practice: Practice):
    """Read live: nobody else's connection is cut for it."""
    (practice.server.folder / "n.txt").write_bytes(b"n")
    with _Held(practice, practice.doctor):
        practice.rights({Right.SEE}, role=Role.ASSOCIATE)
        practice.rights({Right.SEE, Right.ADD, Right.CHANGE, Right.DELETE}, role=Role.SECRETARY)
        practice.settle()

        assert len(smb_calls.sessions(practice.settings)) == 1
        assert practice.ask(practice.stranger, "ls").ok
        assert practice.ask(practice.secretary, "put n.txt").ok


@pytest.mark.parametrize("missing", [Right.ADD, Right.CHANGE, Right.DELETE])
def test_who_may_not_do_all_of_writing_only_reads(practice: Practice, missing: Right):
    """SMB knows no «add but not delete»: less than the whole is reading."""
    practice.rights(set(ALL) - {missing}, role=Role.SECRETARY)
    practice.settle()

    assert practice.ask(practice.secretary, "ls").ok
    assert "NT_STATUS_ACCESS_DENIED" in practice.ask(practice.secretary, "mkdir no").out


def test_a_disabled_account_is_out_at_once(practice: Practice):
    """Its password opens nothing, its connection is gone."""
    with _Held(practice, practice.doctor):
        with practice.database.write() as c:
            people.disable(c, practice.doctor.id, now=utc_now())
        practice.settle()

        assert smb_calls.sessions(practice.settings) == []
    assert "NT_STATUS_" in practice.ask(practice.doctor, "ls").out


def test_a_locum_is_there_from_the_first_minute_to_the_last(practice: Practice):
    """Nobody does anything at the end of the term: the plan of the next minute is another one."""
    from sqlalchemy import insert

    from appliance.db.schema_people import locum

    now = utc_now()
    with practice.database.write() as c:
        person = practice._person(c, "ida.roux", Role.LOCUM)
        c.execute(
            insert(locum).values(
                person_id=person.id,
                replaces_id=practice.doctor.id,
                sponsor_id=practice.doctor.id,
                starts_at=now + timedelta(hours=1),
                ends_at=now + timedelta(hours=2),
                rights={str(practice.share.id): ["see"]},
            )
        )

    def readers(at: datetime) -> tuple[int, ...]:
        with practice.database.read() as c:
            return smb_plan.wanted(c, now=at).shares[0].readers

    assert person.id not in readers(now)
    assert person.id in readers(now + timedelta(hours=1))
    assert person.id not in readers(now + timedelta(hours=2))


def test_a_new_password_replaces_the_former_and_is_kept_nowhere(practice: Practice):
    """Sealed on its way, forgotten once Samba has it; an empty one takes it away."""
    old = practice.passwords["anne.martin"]
    practice.give_password(practice.doctor)
    practice.settle()

    assert practice.ask(practice.doctor, "ls").ok
    assert "LOGON_FAILURE" in practice.server.client("documents", "anne.martin", old, "ls").out
    with practice.database.read() as c:
        name = smb_passwords.secret_name(practice.doctor.id)
        assert secrets.find_sealed(c, name) is None
        assert smb_passwords.since(c, practice.doctor.id) is not None
    practice.give_password(practice.doctor, "")
    practice.settle()
    del practice.server.passwords["anne.martin"]
    assert "LOGON_FAILURE" in practice.server.client("documents", "anne.martin", old, "ls").out
    with practice.database.read() as c:
        assert smb_passwords.since(c, practice.doctor.id) is None


def test_smb_speaks_version_3_signed_and_encrypted(practice: Practice):
    """An older protocol is refused; what Windows offers by itself is encrypted."""
    import subprocess

    with _Held(practice, practice.doctor):
        (session,) = smb_calls.sessions(practice.settings)
        assert session.dialect == "SMB3_11"
        assert session.cipher.startswith("AES-128")
    old = subprocess.run(
        [
            *("smbclient", "//127.0.0.1/documents", "-p", str(practice.server.port)),
            *("--option=client min protocol=NT1", "-m", "SMB2_10", "-c", "ls"),
            *("-U", f"anne.martin%{practice.passwords['anne.martin']}"),
        ],
        capture_output=True,
        check=False,
    )
    assert old.returncode != 0


def test_it_listens_where_it_was_told_and_nowhere_else(practice: Practice):
    """Every listening socket of smbd is at an address of a declared network."""
    found = {
        each.laddr.ip
        for pid in practice.server.smbd_pids
        for each in psutil.Process(pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }
    assert found == {"127.0.0.1"}


def test_a_network_that_can_be_reached_from_outside_is_never_listened_on(practice: Practice):
    """Declared by mistake, it is passed over by the worker and refused by the helper."""
    from appliance.errors import InvalidInput

    with practice.database.write() as c:
        facts.put(c, "network.local", ["127.0.0.0/8", "0.0.0.0/0", "8.8.8.0/24"], now=utc_now())
    with practice.database.read() as c:
        plan = smb_plan.wanted(c, now=utc_now())
    assert plan.networks == ("127.0.0.0/8",)
    with pytest.raises(InvalidInput):
        smb_calls.apply(practice.settings, replace(plan, networks=("0.0.0.0/0",)))


def test_a_configuration_samba_refuses_never_comes_into_use(practice: Practice, monkeypatch):
    """It is tried before it replaces the one in use, in one step."""
    from appliance.disk import smb_samba
    from appliance.disk.smb_config import Places
    from appliance.errors import SmbFailed

    places = Places(
        practice.server.base, practice.server.run, OWNER, GROUP, (practice.server.root,), port=1
    )
    before = places.config.read_text()
    monkeypatch.setattr(smb_samba, "render", lambda *_, **__: before + "no such option = yes\n")
    with practice.database.read() as c:
        plan = smb_plan.wanted(c, now=utc_now())

    with pytest.raises(SmbFailed):
        smb_samba.Samba(places).apply(plan)

    assert places.config.read_text() == before
    assert practice.ask(practice.doctor, "ls").ok


def test_a_hostile_name_forges_no_entry_of_the_ledger(practice: Practice):
    """A line of the audit cannot be written by naming a file."""
    forged = f"lea.petit|127.0.0.1|documents|unlinkat|ok|{practice.share.folder}/forged.txt"
    (practice.server.folder / "h.txt").write_bytes(b"h")
    practice.ask(practice.doctor, f'put h.txt "a\n{forged.replace("/", "_")}"')
    # Folders named so that the second line of the name ends with a path of the share.
    place = practice.share.folder / "a\nlea.petit|1|documents|unlinkat|ok|"
    place = place / str(practice.share.folder).lstrip("/")
    place.mkdir(parents=True)
    (place / "forged.txt").write_bytes(b"x")
    for each in (practice.share.folder, *practice.share.folder.rglob("*")):
        shutil.chown(each, OWNER, GROUP)
    practice.ask(practice.doctor, "recurse; prompt; mget *")
    practice.eye.turn(utc_now())

    log = (practice.server.run / "audit" / "audit.log").read_bytes()
    assert b"\nlea.petit|1|documents|unlinkat|ok|/" in log  # it was tried
    assert practice.events("file.deleted") == []
    assert {each.actor for each in practice.events("file.opened")} <= {
        f"person:{practice.doctor.id}"
    }


class _Held:
    """A connection that stays open."""

    def __init__(self, practice: Practice, person: Person) -> None:
        self.practice, self.person = practice, person

    def __enter__(self):
        import subprocess

        server = self.practice.server
        self.process = subprocess.Popen(
            [
                *("smbclient", "//127.0.0.1/documents", "-p", str(server.port), "-m", "SMB3"),
                *("-U", f"{self.person.login}%{self.practice.passwords[self.person.login]}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=server.folder,
        )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if any(
                each.person_id == self.person.id and "documents" in each.shares
                for each in smb_calls.sessions(self.practice.settings)
            ):
                return self
            time.sleep(0.05)
        raise RuntimeError("smbclient did not connect")

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        time.sleep(0.1)


def test_what_word_saves_over_is_in_the_bin_under_its_own_name(practice: Practice):
    """A program renames the letter away, puts the new one there and deletes the former: the letter as it was."""
    for number in (1, 2):
        (practice.server.folder / f"{number}.txt").write_bytes(b"version %d" % number)
    done = practice.ask(
        practice.doctor,
        "put 1.txt letter.docx; put 2.txt ~WRD0001.tmp; rename letter.docx ~WRL0001.tmp;"
        " rename ~WRD0001.tmp letter.docx; del ~WRL0001.tmp",
    )
    assert done.ok, done.out

    practice.eye.turn(utc_now() + timedelta(seconds=10))

    with practice.database.read() as c:
        (item,) = bins.items(c, practice.share.id)
    assert item.path == b"letter.docx"
    folder = bins.own_folder(practice.share, bins.BIN)
    assert (folder / item.stored).read_bytes() == b"version 1"
    assert (practice.share.folder / "letter.docx").read_bytes() == b"version 2"


def test_a_file_renamed_then_deleted_is_in_the_bin_under_its_last_name(practice: Practice):
    """Nothing took its place: what was deleted is what people saw."""
    (practice.server.folder / "a.txt").write_bytes(b"a")
    assert practice.ask(practice.doctor, "put a.txt; rename a.txt b.txt; del b.txt").ok

    practice.eye.turn(utc_now() + timedelta(seconds=10))

    with practice.database.read() as c:
        assert [each.path for each in bins.items(c, practice.share.id)] == [b"b.txt"]


def test_what_is_written_over_in_place_is_in_no_bin(practice: Practice):
    """The limit that docs/decisions/0197 tells: only the night's snapshot keeps it. Mended, this test goes."""
    for number in (1, 2):
        (practice.server.folder / f"{number}.txt").write_bytes(b"version %d" % number)
    done = practice.ask(
        practice.doctor,
        "put 1.txt notes.txt; put 2.txt notes.txt; put 1.txt over.txt; put 2.txt new.txt;"
        " rename new.txt over.txt -f",
    )
    assert done.ok, done.out

    practice.eye.turn(utc_now() + timedelta(seconds=10))

    with practice.database.read() as c:
        assert bins.items(c, practice.share.id) == []
    for name in ("notes.txt", "over.txt"):
        assert (practice.share.folder / name).read_bytes() == b"version 2"


@pytest.mark.parametrize("name", ["été.txt", "e\u0301te\u0301.txt"])
def test_a_name_is_kept_as_a_mac_or_a_pc_wrote_it(practice: Practice, name: str):
    """Composed or not: the same bytes on the disk, and the file opens again by the name it was given."""
    (practice.server.folder / "n").write_bytes(b"n")
    assert practice.ask(practice.doctor, f'put n "{name}"; get "{name}" back').ok

    assert (practice.share.folder / name).read_bytes() == b"n"
    assert (practice.server.folder / "back").read_bytes() == b"n"


def test_a_time_machine_share_says_so_and_has_an_end(practice: Practice):
    """What a Mac asks before it offers the share; Samba's own reading of the configuration."""
    import subprocess

    from sqlalchemy import update

    from appliance.db.schema_disk import share as shares_of

    with practice.database.write() as c:
        made = practice.add_share(c, "macs", smb=True)
        shares.grant(c, made.id, ALL, person_id=practice.doctor.id, by=None, now=utc_now())
        c.execute(
            update(shares_of)
            .where(shares_of.c.id == made.id)
            .values(is_time_machine=True, quota_bytes=5_000_000_000)
        )
    practice.settle()

    read = subprocess.run(
        [
            *("testparm", "--suppress-prompt", "--section-name=macs"),
            str(practice.server.base / "smb.conf"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "fruit:time machine = yes" in read
    assert "fruit:time machine max size = 5000000000" in read
    assert "vfs objects = acl_xattr catia fruit streams_xattr\n" in read
    assert practice.ask(practice.doctor, "mkdir bundle; ls", share="macs").ok


def test_beside_an_outside_address_smbd_binds_the_local_one_only(tmp_path: Path):
    """A box with a public address too (domain.md SEC-11): nothing of SMB listens there."""
    import subprocess

    from appliance.disk.smb_config import Places, SmbPlan
    from appliance.disk.smb_samba import Samba
    from tests.support.smb import why_not

    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    places = Places(tmp_path / "b", tmp_path / "r", OWNER, GROUP, (tmp_path,), port=18_445)
    own = ["127.0.0.1", "192.168.77.1", "203.0.113.5"]
    done = Samba(places).apply(SmbPlan("ARMOIRE", "", ("192.168.77.0/24",)), own)
    assert done.addresses == ("192.168.77.1",)
    script = (
        "ip link set lo up && ip addr add 192.168.77.1/24 dev lo && ip addr add 203.0.113.5/24 dev lo"
        f" && exec smbd --foreground --no-process-group --configfile={places.config}"
    )
    smbd = subprocess.Popen(["unshare", "--net", "sh", "-c", script], start_new_session=True)
    try:
        end = time.monotonic() + 60
        heard = ""
        while ":18445" not in heard:
            assert time.monotonic() < end
            assert smbd.poll() is None
            time.sleep(0.1)
            heard = subprocess.run(
                ["nsenter", "-t", str(smbd.pid), "-n", "ss", "-lntuH"],
                capture_output=True,
                text=True,
                check=False,
            ).stdout
    finally:
        smbd.terminate()
        smbd.wait(10)
    assert {line.split()[4] for line in heard.splitlines()} == {"192.168.77.1:18445"}


def test_the_worker_does_all_this_by_itself(practice: Practice):
    """Nobody calls anything: a right taken away ends a connection, and what was done is in the ledger."""
    import os
    import subprocess
    import sys

    worker = subprocess.Popen(
        [sys.executable, "-m", "appliance.cli", "worker"],
        env={
            **os.environ,
            "ARMOIRE_DATA": str(practice.settings.data),
            "ARMOIRE_SMB_RUN": practice.settings.smb_run,
        },
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )

    def soon(is_so) -> None:
        end = time.monotonic() + 40
        while not is_so():
            assert worker.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)

    try:
        (practice.server.folder / "letter.txt").write_bytes(b"x")
        with _Held(practice, practice.secretary):
            assert practice.ask(practice.doctor, "put letter.txt; del letter.txt").ok
            practice.rights(set(), role=Role.SECRETARY)
            soon(lambda: smb_calls.sessions(practice.settings) == [])
        soon(lambda: practice.events("file.deleted"))

        def binned() -> list:
            with practice.database.read() as c:
                return bins.items(c, practice.share.id)

        soon(binned)
    finally:
        worker.terminate()
        worker.wait(60)
    with practice.database.read() as c:
        chain.verify(c)
