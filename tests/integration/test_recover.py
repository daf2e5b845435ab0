"""The fire: from a copy and the words alone a new box, whichever line it is killed at."""

import contextlib
import itertools
import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from appliance.backup_jobs.borg_library import Mode, open_reader, open_repository
from appliance.db import facts, repositories, secrets, targets
from appliance.db.engine import open_database
from appliance.db.schema import ledger
from appliance.errors import (
    AlreadyExists,
    AlreadyRunning,
    ChunkMissing,
    InvalidInput,
    NotFound,
    NothingToRecover,
    ObjectAltered,
    ObjectMissing,
    RepositoryDamaged,
    SecretUnreadable,
    SheetMissing,
    TargetIdentityChanged,
    TargetUnreachable,
    WordUnknown,
)
from appliance.ledger import chain
from appliance.model import Entry, EntryKind, SourceId
from appliance.replication import kit, recover, recover_progress, takeover
from appliance.replication.manifest import object_name
from appliance.replication.recover_borg import SLOT
from appliance.replication.recover_cache import Place, SegmentCache
from appliance.replication.recover_choice import Proposal, propose
from appliance.replication.recover_compare import compare
from appliance.replication.recover_reading import CopyReader
from appliance.settings import Settings
from appliance.vault import words
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal
from tests.support.copied_box import (
    BOX,
    FIRE,
    CopiedBox,
    borg,
    line_to,
    look_at,
    open_disk,
    push_box,
    tree_of,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Two nights of a box on one disk; read only: each test burns a disk of its own."""
    box = CopiedBox(tmp_path_factory.mktemp("old"))
    box.night()
    box.night()
    yield box
    box.database.close()


@pytest.fixture
def disk(copied, tmp_path):
    return Path(shutil.copytree(copied.disk, tmp_path / "disk"))


@pytest.fixture
def new(tmp_path):
    return Settings(data=tmp_path / "new")


def proposal_of(box, disk):
    look = look_at(box, disk)
    return propose([look]), [look]


def rise(box, new, disk, *, proposal=None, looks=None, **more) -> recover.RecoverySheet:
    if proposal is None:
        proposal, looks = proposal_of(box, disk)
    return recover.recover(
        proposal,
        looks,
        new,
        more.pop("line", None) or line_to(disque=disk),
        more.pop("identity", box.identity),
        signer=box.signer,
        now=more.pop("now", lambda: FIRE),
        **more,
    )


def passphrase_of(settings, number) -> str:
    database = open_database(settings.database)
    with database.read() as connection:
        name = f"repository:{number}:passphrase"
        opened = unseal(name, secrets.get_sealed(connection, name), settings.keys)
    database.close()
    return opened.reveal().decode()


def nonce_of(repository: Path) -> int:
    return int((repository / "nonce").read_text(), 16)


def object_of(proposal: Proposal, *, repository: int, only_in_newest_of=None) -> str:
    older = {file.object for file in only_in_newest_of.files} if only_in_newest_of else set()
    return next(
        file.object
        for file in proposal.manifest.files
        if file.repository == repository
        and file.path.startswith("data/")
        and file.object not in older
    )


def test_from_the_ashes_the_whole_box_comes_back_and_goes_on(copied, disk, new, tmp_path):
    """Everything is there, Borg agrees, the next night works, and costs what is new."""
    sheet = rise(copied, new, disk)

    for number in (1, 2):
        place = new.repositories / str(number)
        home, key = new.borg_home, passphrase_of(new, number)
        assert nonce_of(place) >= nonce_of(copied.repository(number)) + SLOT
        borg(home, key, "check", "--verify-data", str(place))
        out = tmp_path / f"out-{number}"
        out.mkdir()
        borg(home, key, "extract", f"{place}::02", cwd=out)
        assert tree_of(out) == tree_of(copied.trees[number])
        with open_repository(place, Secret(key.encode()), home, mode=Mode.WRITE) as opened:
            assert [each.name for each in opened.archives()] == ["02", "01"]
        before = nonce_of(place)
        (out / "new.pdf").write_bytes(b"n" * 30_000)
        borg(home, key, "create", f"{place}::03", ".", cwd=out)
        assert nonce_of(place) > before
        assert borg(home, key, "list", "--short", str(place)).split() == ["01", "02", "03"]
    assert sheet.is_whole
    assert [each.source_id for each in sheet.repositories] == [2, 1]  # shares first
    assert (sheet.number, sheet.lost_s, sheet.attempts) == (2, 0, 1)
    assert sheet.data_age_s == int((FIRE - sheet.taken_at).total_seconds())
    assert sheet.targets == (recover.TargetAfter("disque", 1, "published"),)
    assert recover.read_sheet(new.data) == sheet
    assert json.loads(sheet.as_json())["number"] == 2
    database = open_database(new.database)
    with database.read() as connection:
        assert repositories.get(connection, SourceId(1)).path == str(new.repositories / "1")
        assert facts.find(connection, "box.instance") == sheet.instance
        assert facts.find(connection, takeover.PENDING) == []
        told = [each.event for each in chain.newest(connection, limit=2)]
        chain.verify(connection)
    database.close()
    assert told == ["box.recovery-finished", "box.recovered"]
    assert not list(new.data.glob(".recovery-s*"))


def test_the_new_box_pushes_on_what_lies_there_and_the_old_one_may_not(copied, disk, new):
    """The first night after a fire is no first copy; an old box that wakes up writes nothing."""
    sheet = rise(copied, new, disk)
    database = open_database(new.database)
    with database.read() as connection:
        target = targets.get_by_name(connection, "disque")
        key = kit.signing_key(connection, new.keys)
    moved = CopiedBox.__new__(CopiedBox)
    moved.__dict__.update(copied.__dict__, disk=disk, signing_key=key)

    pushed = push_box(new, database, target.id, moved, FIRE)

    assert pushed.number == 3
    assert pushed.reused_objects > pushed.sent_objects
    assert all(
        not file.path.startswith("data/")
        for file in _sent(copied, disk)
        if file.repository in {1, 2}
    )
    assert look_at(copied, disk).faults == ()
    there = open_disk(disk)
    takeover.check_takeover(there, sheet.instance, box_id=BOX, signer=copied.signer)
    with pytest.raises(TargetIdentityChanged):
        takeover.check_takeover(there, None, box_id=BOX, signer=copied.signer)
    with pytest.raises(TargetIdentityChanged):
        push_box(copied.settings, copied.database, copied.target_id, moved, FIRE)
    database.close()


def _look_closely(copied, new, manifest):
    """The comparison is right, and every harm in it is seen."""
    found = compare(copied.settings, new, manifest)
    assert found.is_right
    assert found.segments == found.segments_same > 4
    assert found.secrets_same >= 3  # the kit's own is in no copy
    assert (found.secrets_changed, found.segments_gone) == ((), 0)
    assert found.ledger_entries > 0
    segment = next((new.repositories / "1" / "data" / "0").iterdir())
    right = segment.read_bytes()
    segment.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    assert compare(copied.settings, new, manifest).segments_different == (
        f"1/data/0/{segment.name}",
    )
    segment.write_bytes(right)
    (new.repositories / "2").rename(new.data / "aside")
    harmed = compare(copied.settings, new, manifest)
    assert harmed.repositories_missing == (2,)
    (new.data / "aside").rename(new.repositories / "2")
    database = open_database(new.database)
    with database.write() as connection:
        name = "repository:1:passphrase"
        secrets.put_sealed(connection, name, seal(Secret(b"other"), new.keys), now=FIRE)
        connection.execute(
            update(ledger).where(ledger.c.seq == found.ledger_entries).values(digest="x" * 64)
        )
    database.close()
    harmed = compare(copied.settings, new, manifest)
    assert (harmed.passphrases_wrong, harmed.secrets_changed) == ((1,), (name,))
    assert not harmed.ledger_follows
    assert not harmed.is_right


def test_a_drill_makes_the_box_and_leaves_every_place_as_it_was(copied, disk, new):
    """The box lives on: a drill that took over would stop its copies."""
    before = tree_of(disk)

    sheet = rise(copied, new, disk, is_drill=True)

    assert sheet.is_whole
    assert sheet.is_drill
    assert sheet.targets == ()
    assert tree_of(disk) == before
    _look_closely(copied, new, proposal_of(copied, disk)[0].manifest)
    takeover.check_takeover(open_disk(disk), None, box_id=BOX, signer=copied.signer)


def _sent(box, disk):
    """Return the files of generation 3 that generation 2 does not name."""
    look = look_at(box, disk)
    newest = propose([look]).manifest
    assert newest.number == 3
    (disk / object_name(3)).rename(disk / "aside")
    before = propose([look_at(box, disk)]).manifest
    (disk / "aside").rename(disk / object_name(3))
    known = {file.object for file in before.files}
    return [file for file in newest.files if file.object not in known]


def die_at_rename(count: int) -> None:
    """End this process, as a kill does, right after so many files took their names."""
    left = itertools.count(1)
    real = Path.rename

    def dying(path, target):
        real(path, target)
        if next(left) == count:
            os._exit(9)

    Path.rename = dying


def test_killed_again_and_again_it_goes_on_where_it_was(copied, disk, new, tmp_path):
    """A process that dies at every tenth rename still makes the box, fetching nothing twice."""
    proposal, looks = proposal_of(copied, disk)
    runs = 0
    while runs < 20:
        runs += 1
        child = os.fork()
        if child == 0:
            die_at_rename(10)
            code = 1
            with contextlib.suppress(BaseException):
                rise(copied, new, disk, proposal=proposal, looks=looks)
                code = 0
            os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in {0, 9}
        if status == 0:
            break

    sheet = rise(copied, new, disk, proposal=proposal, looks=looks)

    assert runs > 2
    assert sheet.attempts == runs
    assert sheet.is_whole
    out = tmp_path / "out"
    out.mkdir()
    place = new.repositories / "2"
    borg(new.borg_home, passphrase_of(new, 2), "extract", f"{place}::02", cwd=out)
    assert tree_of(out) == tree_of(copied.trees[2])
    database = open_database(new.database)
    with database.read() as connection:
        assert len(chain.newest(connection, event="box.recovered")) == 1
        assert len(chain.newest(connection, event="box.recovery-finished")) == 1
    database.close()


def test_a_finished_recovery_touches_nothing_any_more(copied, disk, new):
    """The new box lives: what it wrote since is not replaced by the copy."""
    sheet = rise(copied, new, disk)
    (new.repositories / "1" / "nonce").write_text("00ff000000000000")

    again = rise(copied, new, disk)

    assert again == sheet
    assert (new.repositories / "1" / "nonce").read_text() == "00ff000000000000"


def test_without_its_newest_objects_it_falls_back_and_says_what_is_lost(copied, disk, new):
    whole, _ = proposal_of(copied, disk)
    older = copied.disk / object_name(1)
    assert older.exists()
    newest = (disk / object_name(2)).rename(disk / "aside")
    first = propose([look_at(copied, disk)]).manifest
    newest.rename(disk / object_name(2))
    (disk / object_of(whole, repository=1, only_in_newest_of=first)).unlink()

    proposal, looks = proposal_of(copied, disk)
    sheet = rise(copied, new, disk, proposal=proposal, looks=looks)

    assert (proposal.number, proposal.is_whole, proposal.lost_s) == (1, True, 86_400)
    (skipped,) = proposal.skipped
    assert (skipped.number, skipped.reason, dict(skipped.missing)) == (2, "missing-objects", {1: 1})
    assert sheet.is_whole
    listed = borg(
        new.borg_home, passphrase_of(new, 1), "list", "--short", str(new.repositories / "1")
    )
    assert listed.split() == ["01"]


def test_what_one_disk_lost_comes_from_another(copied, disk, new, tmp_path):
    """Two damaged copies make one whole box."""
    whole, _ = proposal_of(copied, disk)
    other = Path(shutil.copytree(disk, tmp_path / "other"))
    (disk / object_of(whole, repository=1)).unlink()
    altered = other / object_of(whole, repository=2)
    altered.write_bytes(altered.read_bytes()[:-1] + b"x")
    looks = [look_at(copied, disk), look_at(copied, other, name="autre")]

    proposal = propose(looks)
    sheet = rise(
        copied,
        new,
        disk,
        proposal=proposal,
        looks=looks,
        line=line_to(disque=disk, autre=other),
    )

    assert proposal.number == 2
    assert sheet.is_whole
    assert {each.target: each.takeover for each in sheet.targets} == {
        "disque": "published",
        "autre": "published",
    }


def test_what_nobody_has_is_named_and_the_rest_comes_back_when_asked(copied, disk, new):
    """An old object lost everywhere must not keep the practice from all the others."""
    whole, _ = proposal_of(copied, disk)
    gone = object_of(whole, repository=1)
    (disk / gone).unlink()
    (disk / object_name(1)).unlink()

    proposal, looks = proposal_of(copied, disk)
    with pytest.raises(ObjectMissing):
        rise(copied, new, disk, proposal=proposal, looks=looks)
    sheet = rise(copied, new, disk, proposal=proposal, looks=looks, accept_incomplete=True)

    assert [file.object for file in proposal.missing] == [gone]
    assert not sheet.is_whole
    states = {each.source_id: (each.check, len(each.missing)) for each in sheet.repositories}
    assert states == {1: ("damaged", 1), 2: ("right", 0)}


def test_an_object_altered_in_place_stops_it_and_what_came_stays(copied, disk, new):
    whole, looks = proposal_of(copied, disk)
    victim = disk / object_of(whole, repository=1)
    right = victim.read_bytes()
    victim.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    with pytest.raises(ObjectAltered):
        rise(copied, new, disk, proposal=whole, looks=looks)
    victim.write_bytes(right)
    inode = next((new.repositories / "2" / "data" / "0").iterdir()).stat().st_ino

    sheet = rise(copied, new, disk, proposal=whole, looks=looks)

    assert sheet.is_whole
    assert sheet.attempts == 2
    assert next((new.repositories / "2" / "data" / "0").iterdir()).stat().st_ino == inode


def test_a_state_that_was_altered_makes_it_fall_back_once_it_was_read(copied, disk, new):
    """A listing shows sizes only; what reading showed is not forgotten."""
    newest, looks = proposal_of(copied, disk)
    (disk / object_name(2)).rename(disk / "aside")
    older = {file.object for file in propose([look_at(copied, disk)]).manifest.files}
    (disk / "aside").rename(disk / object_name(2))
    victim = next(
        file
        for file in newest.manifest.files
        if file.repository == 0 and file.path.startswith("data/") and file.object not in older
    )
    (disk / victim.object).write_bytes(b"x" * victim.sealed_size)
    with pytest.raises(ObjectAltered):
        rise(copied, new, disk, proposal=newest, looks=looks)

    look = look_at(copied, disk, known_bad=recover.altered(new.data, "disque"))
    proposal = propose([look])
    sheet = rise(copied, new, disk, proposal=proposal, looks=[look])

    assert recover.altered(new.data, "disque") == {victim.object}
    assert (proposal.number, sheet.number, sheet.is_whole) == (1, 1, True)


def test_wrong_words_and_another_kit_open_nothing(copied, disk, new):
    other = words.identity(Secret(b"another kit 1234"))

    with pytest.raises(NothingToRecover):
        propose([look_at(copied, disk, identity=other)])
    proposal, looks = proposal_of(copied, disk)
    with pytest.raises(ObjectAltered):
        rise(copied, new, disk, proposal=proposal, looks=looks, identity=other)
    assert not (new.data / "state.sqlite").exists()
    kit_file = kit.write_file(
        kit.KitFile(BOX, "Cabinet", "2026-11-23", kit.signer_text(copied.signer), ()),
        recipient=copied.recipient,
    )
    with pytest.raises(SecretUnreadable):
        kit.read_file(kit_file, Secret(b"another kit 1234"))


def test_a_kit_of_another_box_finds_nothing_here(copied, disk):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from appliance.replication.recover_choice import look

    found = look(
        "disque",
        open_disk(disk),
        signer=Ed25519PrivateKey.generate().public_key(),
        box_id=BOX,
        identity=copied.identity,
    )

    assert found.generations == ()
    assert [fault.reason for fault in found.faults] == ["altered", "altered"]
    with pytest.raises(NothingToRecover):
        propose([found])


def test_with_one_of_three_sheets_lost_the_box_comes_back(copied, disk, new):
    sheets = words.split(copied.words, needed=2, sheets=3)
    with pytest.raises(SheetMissing):
        words.join(sheets[:1])
    with pytest.raises(WordUnknown):
        words.join([sheets[0], sheets[2].replace(sheets[2].split()[4], "armoire", 1)])

    identity = words.identity(words.join([sheets[2], sheets[0]]))

    look = look_at(copied, disk, identity=identity)
    assert rise(
        copied, new, disk, proposal=propose([look]), looks=[look], identity=identity
    ).is_whole


def test_a_folder_where_something_lives_is_left_alone(copied, disk, new):
    """What lies there may be newer than the copy: a person decides."""
    (new.repositories / "1").mkdir(parents=True)

    with pytest.raises(AlreadyExists):
        rise(copied, new, disk)

    assert not (new.data / recover_progress.PROGRESS).exists()
    with pytest.raises(NotFound):
        recover.read_sheet(new.data)


def test_one_recovery_at_a_time_and_of_one_generation(copied, disk, new):
    whole, looks = proposal_of(copied, disk)
    seen = []

    def other_one():
        with pytest.raises(AlreadyRunning):
            rise(copied, new, disk, proposal=whole, looks=looks)
        seen.append("refused")
        raise TargetUnreachable("disque", "the line was cut")

    line = replace(line_to(disque=disk), on_state=other_one)
    with pytest.raises(TargetUnreachable):
        rise(copied, new, disk, proposal=whole, looks=looks, line=line)
    assert seen == ["refused"]
    assert recover.begun(new.data) == ("disque", 2)
    (disk / object_name(2)).unlink()

    older, others = proposal_of(copied, disk)
    with pytest.raises(InvalidInput):
        rise(copied, new, disk, proposal=older, looks=others)


# --- emergency reading ---------------------------------------------------------------------


def cache_of(box, disk, folder, limit=1 << 30) -> SegmentCache:
    manifest, _ = proposal_of(box, disk)
    return SegmentCache(
        [Place(lambda: open_disk(disk), manifest.manifest)], box.identity, folder, limit
    )


def entry_of(box, name: bytes, number: int = 1) -> Entry:
    with open_repository(
        box.repository(number), Secret(f"pass-{number}".encode()), box.settings.borg_home
    ) as repository:
        newest = repository.archives()[0]
        return next(each for each in repository.entries(newest.id) if each.path == name)


def test_a_segment_is_fetched_once_however_many_ask(copied, disk, tmp_path):
    cache = cache_of(copied, disk, tmp_path / "cache")
    path = next(
        file.path
        for file in proposal_of(copied, disk)[0].manifest.files
        if file.repository == 1 and file.path.startswith("data/")
    )
    found: list[bytes] = []

    threads = [
        threading.Thread(target=lambda: found.append(cache.path(1, path).read_bytes()))
        for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert cache.fetched == 1
    assert set(found) == {(copied.repository(1) / path).read_bytes()}
    with pytest.raises(NotFound):
        cache.path(1, "data/0/999")
    cache.close()


def test_the_cache_stays_small_and_survives_its_process(copied, disk, tmp_path, monkeypatch):
    monkeypatch.setattr("appliance.replication.recover_cache.ALWAYS_KEPT", 1)
    manifest = proposal_of(copied, disk)[0].manifest
    segments = [file for file in manifest.files if file.path.startswith("data/")]
    limit = sum(file.plain_size for file in segments) // 2
    cache = cache_of(copied, disk, tmp_path / "cache", limit)
    for file in segments:
        cache.path(file.repository, file.path)
    small = cache.size_bytes
    cache.close()

    again = cache_of(copied, disk, tmp_path / "cache", limit)
    again.path(segments[-1].repository, segments[-1].path)

    assert 0 < small <= limit
    assert again.fetched == 0
    assert again.size_bytes == small
    on_disk = sum(
        path.stat().st_size
        for path in (tmp_path / "cache").rglob("*")
        if path.is_file() and path.name.isdigit()
    )
    assert on_disk == small


@pytest.fixture
def reading(copied, disk, tmp_path):
    """Emergency reading of the copy on ``disk``."""
    cache = cache_of(copied, disk, tmp_path / "cache")
    readable: list[str] = []

    def open_chunks(source_id, place, before_read):
        key = Secret(f"pass-{source_id}".encode())
        return open_reader(place, key, tmp_path / "home", before_read=before_read)

    reader = CopyReader(cache, open_chunks, on_first=lambda: readable.append("first"))
    reader.readable = readable
    yield reader
    reader.close()
    cache.close()


def test_a_document_is_read_from_the_copy_before_anything_is_restored(copied, reading, tmp_path):
    """Only the segments that hold it are fetched; the bytes are those of the old box."""
    data = b"".join(reading.read(1, entry_of(copied, b"02-1.pdf")))
    assert data == (copied.trees[1] / "02-1.pdf").read_bytes()
    segments = [path for path in (tmp_path / "cache" / "1" / "data").rglob("*") if path.is_file()]
    all_of_them = [path for path in (copied.repository(1) / "data").rglob("*") if path.is_file()]
    assert 0 < len(segments) < len(all_of_them)
    assert not (tmp_path / "cache" / "2").exists()
    assert reading.readable == ["first"]

    b"".join(reading.read(2, entry_of(copied, b"01-0.pdf", number=2)))

    assert reading.readable == ["first"]


def test_what_is_no_file_or_another_length_is_not_served(copied, reading):
    entry = entry_of(copied, b"02-1.pdf")
    with pytest.raises(NotFound):
        reading.read(1, replace(entry, kind=EntryKind.FOLDER))
    with pytest.raises(NotFound):
        reading.read(9, entry)
    with pytest.raises(RepositoryDamaged):
        reading.read(1, replace(entry, chunks=entry.chunks[:32] + b"\1\0\0\0"))
    with pytest.raises(ChunkMissing):
        reading.read(1, replace(entry, chunks=b"\7" * 32 + entry.chunks[32:36]))
    assert reading.readable == []


def test_a_copy_that_goes_away_is_said_so_and_nothing_else_is_claimed(
    copied, disk, reading, tmp_path
):
    """A segment that could not be fetched is no damaged repository; when it is back, so are we."""
    entry = entry_of(copied, b"01-2.pdf")
    b"".join(reading.read(1, entry_of(copied, b"02-3.pdf")))
    disk.rename(tmp_path / "pulled-out")
    with pytest.raises(TargetUnreachable):
        reading.read(1, entry)
    (tmp_path / "pulled-out").rename(disk)

    assert b"".join(reading.read(1, entry)) == (copied.trees[1] / "01-2.pdf").read_bytes()


def test_an_altered_segment_is_never_served_and_another_place_stands_in(copied, disk, tmp_path):
    manifest = proposal_of(copied, disk)[0].manifest
    file = next(
        each for each in manifest.files if each.repository == 1 and each.path.startswith("data/")
    )
    other = Path(shutil.copytree(disk, tmp_path / "other"))
    (disk / file.object).write_bytes(b"x" * file.sealed_size)
    alone = cache_of(copied, disk, tmp_path / "a")
    with pytest.raises(ObjectAltered):
        alone.path(file.repository, file.path)
    both = SegmentCache(
        [Place(lambda: open_disk(disk), manifest), Place(lambda: open_disk(other), manifest)],
        copied.identity,
        tmp_path / "b",
        1 << 30,
    )

    assert both.path(file.repository, file.path).stat().st_size == file.plain_size
    assert not list((tmp_path / "a").rglob("*.part"))
    alone.close()
    both.close()
