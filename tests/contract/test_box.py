"""Another Armoire as a target: the contract, and senders that were taken over."""

import hashlib
import os
import random
import socket
import stat
import struct
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.message import Message
from paramiko.sftp import CMD_EXTENDED, CMD_OPEN

from appliance.db import targets
from appliance.errors import (
    AlreadyRunning,
    ObjectAlreadyThere,
    TargetFull,
    TargetIdentityChanged,
    TargetListUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.replication import fetch, manifest, plan, push, receive, receive_paths
from appliance.replication.receive_calls import Limits
from appliance.vault import words
from appliance.vault.secret import Secret
from tests.contract.target_contract import Place, TargetContract, content, sealed
from tests.support.receiver import Receiver, wait_until

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path) as one:
        yield one


class TestBox(TargetContract):
    @pytest.fixture
    def place(self, receiver):
        def limit(room: int) -> None:
            used = receiver.server._stores["cabinet"].used_bytes
            receiver.senders.set_quota("cabinet", used + room)

        return Place(receiver.target, receiver.stop, receiver.start, limit, can_remove=False)


# --- a hostile client ---------------------------------------------------------------------------


@pytest.fixture
def hostile(receiver, tmp_path):
    """One whole object, and the bare SFTP client of whoever has the sender's key tonight."""
    target = receiver.target()
    target.create("objects/ab/one", sealed(tmp_path, b"the first bytes"))
    receiver.add("voisin")
    neighbour = receiver.target("voisin")
    neighbour.create("objects/secret", sealed(tmp_path, b"of the neighbour"))
    yield target.bare("objects/one")[0]
    assert content(receiver.target(), "objects/ab/one") == b"the first bytes"
    assert content(receiver.target("voisin"), "objects/secret") == b"of the neighbour"


ONE = "objects/ab/one"


def put_draft(client, path: str, data: bytes) -> str:
    folder, _, leaf = path.rpartition("/")
    draft = f"{folder}/.{leaf}.{hashlib.sha256(data).hexdigest()[:16]}.part"
    with client.open(draft, "wb") as file:
        file.write(data)
    return draft


ACTS = [
    lambda client: client.remove(ONE),
    lambda client: client.open(ONE, "wb"),
    lambda client: client.open(ONE, "r+b"),
    lambda client: client.open(ONE, "ab"),
    lambda client: client.truncate(ONE, 0),
    lambda client: client.chmod(ONE, 0o666),
    lambda client: client.utime(ONE, (1, 1)),
    lambda client: client.chown(ONE, 0, 0),
    lambda client: client.rename(ONE, "objects/ab/two"),
    lambda client: client.rename(ONE, "objects/ab/.one.0123456789abcdef.part"),
    lambda client: client.rename("objects/ab", "objects/gone"),
    lambda client: client.rename(put_draft(client, ONE, b"other"), ONE),
    lambda client: client.posix_rename(put_draft(client, ONE, b"other"), ONE),
    lambda client: client.rename(put_draft(client, ONE, b"x"), "objects/ab/another"),
    lambda client: client.rename(put_draft(client, ONE, b"x"), "objects/one"),
    lambda client: client.rmdir("objects/ab"),
    lambda client: client.symlink("../../../host_key", "objects/link"),
    lambda client: client.readlink(ONE),
    lambda client: client.open("objects/plain-new-name", "wb"),
    lambda client: client.mkdir("objects/.hidden"),
    lambda client: client.mkdir("x" * 201),
    lambda client: client.mkdir("x" * 60_000),
]


def test_what_is_whole_cannot_be_changed_in_any_way(receiver, hostile):
    def whole() -> list[tuple[str, bytes]]:
        return sorted(
            (str(path), path.read_bytes())
            for path in receiver.place().rglob("*")
            if path.is_file() and not path.name.endswith(".part")
        )

    before = whole()
    for number, act in enumerate(ACTS):
        with pytest.raises(OSError):
            act(hostile)
            pytest.fail(f"number {number} was allowed")
        assert whole() == before, number
    assert not any(path.is_symlink() for path in receiver.place().rglob("*"))


PATHS = [
    "../voisin/objects/secret",
    "/../voisin/objects/secret",
    "objects/../../voisin/objects/secret",
    "./../voisin",
    "..",
    "../..",
    "../../host_key",
    "../../senders.toml",
    "/etc/passwd",
    "//etc/passwd",
    "objects//ab/one",
    "objects/./ab/one",
    "objects/ab/one/..",
    "objects\\..\\one",
    "objects/ab/\x00one",
    "~/x",
    "",
]


def test_no_path_leads_out_of_ones_own_folder(receiver, hostile):
    """What lies elsewhere is neither read, nor listed, nor told apart from nothing."""
    elsewhere = sorted(str(path) for path in receiver.folder.rglob("*"))
    for path in PATHS:
        acts = {
            "open": lambda path=path: hostile.open(path, "rb").close(),
            "write": lambda path=path: hostile.open(path, "wb").close(),
            "mkdir": lambda path=path: hostile.mkdir(path),
            "remove": lambda path=path: hostile.remove(path),
        }
        if path:
            acts["stat"] = lambda path=path: hostile.stat(path)
            acts["list"] = lambda path=path: hostile.listdir(path)
        for name, act in acts.items():
            with pytest.raises((OSError, ValueError)):
                act()
                pytest.fail(f"{name} {path!r} was allowed")
    assert sorted(str(path) for path in receiver.folder.rglob("*")) == elsewhere


def test_nobody_sees_another_sender(hostile):
    assert hostile.listdir(".") == ["objects"]
    assert hostile.listdir("/") == ["objects"]
    assert hostile.normalize(".") == "/"


def test_a_link_that_came_there_by_some_other_way_is_not_followed(receiver, hostile):
    (receiver.place() / "out").symlink_to(receiver.place("voisin"))
    (receiver.place() / "objects" / "link").symlink_to(receiver.root / "host_key")

    for path in ("out/objects/secret", "objects/link"):
        with pytest.raises(OSError):
            hostile.open(path, "rb").close()
    with pytest.raises(OSError):
        hostile.listdir("out")
    assert hostile.listdir("objects") == ["ab"]


def test_a_draft_left_open_writes_nothing_into_the_object_it_became(receiver, hostile):
    """The oldest trick against «write once»: keep the handle."""
    draft = "objects/ab/.two.0123456789abcdef.part"
    file = hostile.open(draft, "wb")
    file.write(b"good")
    receiver.target().bare("objects/one")[0].rename(draft, "objects/ab/two")

    with pytest.raises((OSError, EOFError, paramiko.SSHException)):
        file.write(b"evil")
        file.flush()
        file.seek(0)
        file.write(b"evil")
        file.close()

    assert content(receiver.target(), "objects/ab/two") == b"good"


def test_a_kill_between_the_two_steps_of_publishing_leaves_no_second_name_to_write_to(receiver):
    """One file with two names: the draft's goes, or what is whole could be changed through it."""
    target = receiver.target()
    target.stat("objects/one")
    folder = receiver.place() / "objects"
    folder.mkdir()
    (folder / "one").write_bytes(b"whole")
    draft = folder / ".one.0123456789abcdef.part"
    os.link(folder / "one", draft)

    with target.bare("objects/one")[0].open("objects/.one.0123456789abcdef.part", "wb") as file:
        file.write(b"evil")

    assert (folder / "one").read_bytes() == b"whole"
    assert draft.read_bytes() == b"evil"
    assert draft.stat().st_ino != (folder / "one").stat().st_ino


def test_ten_thousand_open_files_are_refused_and_the_session_lives(hostile):
    opened = []
    with pytest.raises(OSError):
        for number in range(10_000):
            opened.append(hostile.open(f"objects/.f{number}.0123456789abcdef.part", "wb"))
    assert len(opened) == Limits().open_files
    for each in opened:
        each.close()
    assert hostile.stat(ONE).st_size == 15


def test_a_packet_of_a_gigabyte_ends_that_session_only(receiver, hostile):
    channel = receiver.target().bare("objects/one")[0].get_channel()
    channel.sendall(struct.pack(">IB", 1 << 23, CMD_OPEN))

    assert channel.recv(1) == b""
    assert hostile.stat(ONE).st_size == 15


@pytest.mark.parametrize(
    "name", ["posix-rename@openssh.com", "hardlink@openssh.com", "copy-data", "check-file"]
)
def test_extensions_that_could_change_or_stall_something_are_unknown(hostile, name):
    message = Message()
    with pytest.raises(OSError):
        hostile._request(CMD_EXTENDED, name, ONE, "objects/ab/other", message)


def test_nothing_but_sftp_is_offered(receiver):
    transport = receiver.target().bare("objects/one")[0].get_channel().get_transport()
    fresh = receiver.target()
    transport = fresh.bare("objects/one")[0].get_channel().get_transport()

    with pytest.raises(paramiko.SSHException):
        transport.open_session()  # one channel per connection
    with pytest.raises(paramiko.SSHException):
        transport.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1))
    with pytest.raises(paramiko.SSHException):
        transport.request_port_forward("127.0.0.1", 0)


@pytest.mark.parametrize("ask", ["exec_command", "invoke_shell", "get_pty"])
def test_no_shell_and_no_program(receiver, ask):
    line = socket.create_connection(("127.0.0.1", receiver.port))
    transport = paramiko.Transport(line)
    try:
        transport.start_client(timeout=10)
        key = paramiko.Ed25519Key.from_private_key_file(str(receiver.folder / "key-cabinet"))
        transport.auth_publickey("cabinet", key)
        channel = transport.open_session()
        with pytest.raises(paramiko.SSHException):
            getattr(channel, ask)(*(["id"] if ask == "exec_command" else []))
    finally:
        transport.close()


# --- who comes in -------------------------------------------------------------------------------


def test_only_the_senders_own_key_opens_its_folder(receiver):
    receiver.add("voisin")

    with pytest.raises(TargetRefuses):
        receiver.target("cabinet", key="voisin").stat("objects/one")
    with pytest.raises(TargetRefuses):
        receiver.target("root", key="voisin").stat("objects/one")
    assert receiver.target("voisin").stat("objects/one") is None


def test_a_known_public_key_shown_and_another_ones_signature_open_nothing(receiver):
    """A public key is no secret: only its signature counts."""
    receiver.add("voisin")
    line = socket.create_connection(("127.0.0.1", receiver.port))
    transport = paramiko.Transport(line)
    try:
        transport.start_client(timeout=10)
        mine = paramiko.Ed25519Key.from_private_key_file(str(receiver.folder / "key-voisin"))
        theirs = paramiko.Ed25519Key.from_private_key_file(str(receiver.folder / "key-cabinet"))

        class Forged(paramiko.Ed25519Key):
            def __init__(self):
                pass

            def sign_ssh_data(self, data, algorithm=None):
                return mine.sign_ssh_data(data, algorithm)

            def __getattr__(self, name):
                return getattr(theirs, name)

            def asbytes(self):
                return theirs.asbytes()

            def get_name(self):
                return theirs.get_name()

        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("cabinet", Forged())
    finally:
        transport.close()


def test_passwords_are_never_asked_for_and_a_few_attempts_end_the_connection(receiver):
    line = socket.create_connection(("127.0.0.1", receiver.port))
    transport = paramiko.Transport(line)
    try:
        transport.start_client(timeout=10)
        with pytest.raises(paramiko.BadAuthenticationType):
            transport.auth_none("cabinet")
        for _ in range(Limits().sign_in_attempts):
            with suppress(paramiko.SSHException, EOFError):
                transport.auth_password("cabinet", "secret", fallback=False)
        wait_until(lambda: not transport.is_active())
    finally:
        transport.close()
    assert receiver.target().stat("objects/one") is None


def test_a_sender_that_was_taken_out_is_out_at_once(receiver):
    target = receiver.target()
    target.stat("objects/one")
    transport = target.bare("objects/one")[0].get_channel().get_transport()

    receiver.senders.revoke("cabinet")

    wait_until(lambda: not transport.is_active())
    with pytest.raises(TargetRefuses):
        receiver.target().stat("objects/one")


def test_who_never_signs_in_loses_the_place(tmp_path):
    with Receiver(tmp_path, limits=Limits(sessions=2, sign_in_s=0.5)) as receiver:
        silent = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(2)]
        try:
            with pytest.raises(TargetUnreachable):
                receiver.target().stat("objects/one")
            wait_until(lambda: not receiver.server._sessions, 20)
            assert receiver.target().stat("objects/one") is None
        finally:
            for each in silent:
                each.close()


def test_one_sender_cannot_take_every_place(tmp_path):
    with Receiver(tmp_path, limits=Limits(sessions_of_sender=2)) as receiver:
        receiver.add("voisin")
        for _ in range(2):
            receiver.target().stat("objects/one")

        with pytest.raises(TargetUnreachable):
            receiver.target().stat("objects/one")
        assert receiver.target("voisin").stat("objects/one") is None
        receiver.opened[0].close()
        wait_until(lambda: receiver.server._of_sender["cabinet"] < 2)
        assert receiver.target().stat("objects/one") is None


def test_a_changed_host_key_stops_everything(receiver, tmp_path):
    pinned = receiver.host_key
    receiver.stop()
    (receiver.root / "host_key").unlink()
    receiver.start()

    with pytest.raises(TargetIdentityChanged):
        receiver.target(host_key=pinned).create("objects/one", sealed(tmp_path, b"one"))


def test_the_host_key_is_made_once_and_is_nobody_elses_to_read(receiver):
    path = receiver.root / "host_key"
    before = path.read_bytes()

    assert receive.make_host_key(receiver.root) == receiver.host_key
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert receive.fingerprint(receiver.root).startswith("SHA256:")


def test_two_servers_never_share_a_folder(receiver):
    with pytest.raises(AlreadyRunning):
        receive.ReceiveServer(receiver.root).start()


# --- room ---------------------------------------------------------------------------------------


def test_a_quota_is_said_in_its_own_words_and_holds_for_holes_and_empty_files_too(
    receiver, tmp_path
):
    target = receiver.target()
    target.create("objects/one", sealed(tmp_path, b"one"))
    receiver.senders.set_quota("cabinet", 200_000)
    client = target.bare("objects/one")[0]

    with client.open("objects/.h.0123456789abcdef.part", "wb") as file:
        file.seek(10_000_000_000)
        with pytest.raises(OSError, match="quota reached"):
            file.write(b"x")
            file.flush()
    made = 0
    with pytest.raises(OSError, match="quota reached"):
        for made in range(1_000):
            client.open(f"objects/.e{made}.0123456789abcdef.part", "wb").close()
    assert made < 50
    with pytest.raises(TargetFull):
        receiver.target().create("objects/more", sealed(tmp_path, bytes(300_000)))


def test_a_folder_holds_so_many_and_no_more_and_lists_them_all(receiver, tmp_path, monkeypatch):
    """A list that does not fit the memory would end the box for every sender."""
    monkeypatch.setattr(receive_paths, "FOLDER_ENTRIES", 150)
    client = receiver.target().bare("objects/one")[0]
    client.mkdir("objects")
    with pytest.raises(OSError, match="too many in one folder"):
        for number in range(200):
            client.open(f"objects/.d{number}.0123456789abcdef.part", "wb").close()

    assert len(client.listdir("objects")) == 150
    with pytest.raises(OSError, match="too many in one folder"):
        client.mkdir("objects/more")


def test_what_a_draft_used_is_given_back_when_it_goes(receiver, tmp_path):
    target = receiver.target()
    target.create("objects/one", sealed(tmp_path, b"one"))
    store = receiver.server._stores["cabinet"]
    before = store.used_bytes
    client = target.bare("objects/one")[0]
    draft = put_draft(client, "objects/two", bytes(100_000))
    with client.open(draft, "wb"):
        pass
    client.remove(draft)

    assert store.used_bytes == before
    assert target.free_bytes() == (1 << 30) - before - (((1 << 30) - before) % 4096)


def test_what_is_used_is_counted_again_after_a_restart(receiver, tmp_path):
    target = receiver.target()
    for number in range(5):
        target.create(f"objects/{number}", sealed(tmp_path, bytes(10_000 + number)))
    used = receiver.server._stores["cabinet"].used_bytes
    target.close()
    receiver.stop()
    receiver.start()
    receiver.target().stat("objects/1")

    assert receiver.server._stores["cabinet"].used_bytes == used


def test_only_drafts_nobody_went_on_with_go_by_themselves(receiver, tmp_path):
    target = receiver.target()
    target.create("objects/one", sealed(tmp_path, b"one"))
    client = target.bare("objects/one")[0]
    old, young = (put_draft(client, f"objects/{name}", b"half") for name in ("old", "young"))
    long_ago = time.time() - receive.STALE_S - 60
    for path in (old, "objects/one"):
        os.utime(receiver.place() / path, (long_ago, long_ago))
    store = receiver.server._stores["cabinet"]

    assert store.sweep(older_than_s=receive.STALE_S, now_s=time.time()) == 1
    assert sorted(path.name for path in (receiver.place() / "objects").iterdir()) == sorted(
        ["one", Path(young).name]
    )


# --- kills --------------------------------------------------------------------------------------


def test_a_kill_in_the_middle_of_an_upload_and_it_goes_on_where_it_was(tmp_path):
    receiver = Receiver(tmp_path)
    data = random.Random(9).randbytes(12_000_000)
    one = sealed(tmp_path, data)
    sent = [0]

    def kill(count: int) -> None:
        sent[0] += count
        if sent[0] > 8_000_000 and receiver.process is not None:
            wait_until(lambda: any((receiver.place() / "objects").glob(".big.*")))
            time.sleep(0.2)  # what is in flight arrives
            receiver.kill()

    receiver.start_process()
    try:
        with pytest.raises(TargetUnreachable):
            receiver.target().create("objects/big", one, on_bytes=kill)
        (draft,) = (receiver.place() / "objects").iterdir()
        there = draft.stat().st_size
        receiver.start_process()
        again: list[int] = []
        assert list(receiver.target().list()) == []
        receiver.target().create("objects/big", one, on_bytes=again.append)

        assert 0 < there < len(data)
        assert sum(again) == len(data) - there
        assert content(receiver.target(), "objects/big") == data
    finally:
        for each in receiver.opened:
            each.close()
        receiver.stop()


def test_killed_at_random_moments_there_is_never_half_an_object(tmp_path):
    """Whatever the list shows is whole."""
    receiver = Receiver(tmp_path)
    chance = random.Random(11)
    datas = {f"objects/{number:02d}": chance.randbytes(400_000) for number in range(12)}
    files = {name: sealed(tmp_path, data) for name, data in datas.items()}
    try:
        for round_ in range(4):
            receiver.start_process()
            die_at = chance.randrange(1, 9)
            seen = 0

            def count(_count: int, die_at=die_at, round_=round_) -> None:
                nonlocal seen
                seen += 1
                if seen == die_at and receiver.process is not None and round_ < 3:
                    receiver.process.kill()

            target = receiver.target()
            for name, one in files.items():
                try:
                    target.create(name, one, on_bytes=count)
                except ObjectAlreadyThere:
                    pass
                except TargetUnreachable:
                    break
            receiver._ended() if round_ < 3 else None
            for path in receiver.place().rglob("*"):
                if path.is_file() and not path.name.startswith("."):
                    name = path.relative_to(receiver.place()).as_posix()
                    assert path.read_bytes() == datas[name]
        assert {info.name for info in receiver.target().list()} == set(datas)
    finally:
        for each in receiver.opened:
            each.close()
        receiver.stop()


def test_a_place_that_cannot_be_listed_is_not_an_empty_one(receiver):
    target = receiver.target()
    target.stat("objects/one")
    receiver.stop()

    with pytest.raises((TargetUnreachable, TargetListUnreadable)):
        list(target.list())


# --- a box that was taken over tonight --------------------------------------------------------------

SECRET = Secret(bytes(range(16)))
KEY = Ed25519PrivateKey.generate()
BOX = push.Box("box-1", words.recipient(SECRET), KEY)


def pushed(database, receiver, folder: Path) -> push.Pushed:
    """A real push of a few files to the other box."""
    chance = random.Random(13)
    files = []
    for number in range(6):
        path = folder / "moment" / "1" / "data" / "0" / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(50_000))
        facts = path.stat()
        files.append(plan.LocalFile(1, f"data/0/{number}", facts.st_size, facts.st_mtime_ns))
    with database.write() as connection:
        target_id = targets.add(
            connection, name="autre", label="Autre", kind="box", place={}, now=NOW
        ).id
    repository = manifest.CopiedRepository(1, "a" * 64, "accueil", "Accueil", "pulled")
    return push.push(
        database,
        target_id,
        box=BOX,
        moment=push.Moment(NOW, folder / "moment", tuple(files), (repository,)),
        line=push.Line(receiver.target, connections=3),
        spool=folder / "spool",
        now=lambda: NOW,
    )


def test_a_sender_taken_over_tonight_cannot_harm_what_is_already_there(
    database, receiver, tmp_path
):
    """With the sender's key, and even the box's signing key: what came before stays readable, whole."""
    pushed(database, receiver, tmp_path)
    client = receiver.target().bare("objects/one")[0]
    names = [info.name for info in receiver.target().list()]
    draft = put_draft(client, "generations/x", b"rubbish")
    for name in names:
        for act in (
            lambda name=name: client.remove(name),
            lambda name=name: client.truncate(name, 0),
            lambda name=name: client.open(name, "r+b"),
            lambda name=name: client.rename(name, name + "-taken"),
            lambda name=name: client.rename(draft, name),
            lambda name=name: client.posix_rename(draft, name),
        ):
            with pytest.raises(OSError):
                act()
    forged = manifest.build(
        manifest.Manifest("box-1", 2, NOW, "f" * 64, "evil", (), ()),
        recipient=BOX.recipient,
        signing_key=KEY,
    )
    receiver.target().create("generations/0000000002", sealed(tmp_path, forged))
    receiver.target().create("generations/0000000003", sealed(tmp_path, b"not even signed"))

    target = receiver.target()
    found = fetch.survey(target, signer=KEY.public_key(), box_id="box-1", kept=(1,))
    first = next(each for each in found.generations if each.header.number == 1)
    one = fetch.open_generation(
        target, first, identity=words.identity(SECRET), signer=KEY.public_key()
    )
    place = tmp_path / "back"
    fetch.fetch_repository(target, one, 1, place, identity=words.identity(SECRET))

    assert {(fault.number, fault.reason) for fault in found.faults} == {
        (2, "not-following"),
        (3, "altered"),
    }
    for number in range(6):
        assert (place / "data/0" / str(number)).read_bytes() == (
            tmp_path / "moment/1/data/0" / str(number)
        ).read_bytes()


def test_what_was_last_received_is_remembered(database, receiver, tmp_path):
    """The dead-man alarm of the second building reads this."""
    assert [(each.object_at, each.generation_at) for each in receive.received(receiver.root)] == [
        (None, None)
    ]

    receiver.target().create("objects/one", sealed(tmp_path, b"one"))
    (first,) = receive.received(receiver.root)
    assert first.object_at is not None
    assert first.generation_at is None
    pushed(database, receiver, tmp_path)
    (second,) = receive.received(receiver.root)
    assert second.generation_at is not None
    assert second.object_at >= first.object_at
