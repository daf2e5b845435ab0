"""Opening repositories in process: what plain Borg makes we read, what we make plain Borg reads."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.backup_jobs import borg_library as library
from appliance.backup_jobs.borg_library import Mode
from appliance.backup_jobs.borg_library_items import unpack_chunks
from appliance.errors import (
    AlreadyExists,
    ArchiveListUnreadable,
    ChunkMissing,
    RepositoryDamaged,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryReplaced,
    WrongPassphrase,
)
from appliance.model import EntryKind
from appliance.vault.secret import Secret

pytestmark = pytest.mark.integration

PASSPHRASE = Secret("an «ordinary» phrase".encode())
BORG = str(Path(sys.executable).with_name("borg"))


def run_borg(home: Path, *arguments: str, cwd: Path | None = None) -> str:
    """Run the plain `borg` program on what we made."""
    done = subprocess.run(
        [BORG, *arguments],
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "BORG_BASE_DIR": str(home),
            "BORG_PASSPHRASE": PASSPHRASE.reveal().decode(),
            "BORG_EXIT_CODES": "modern",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> Path:
    path = tmp_path / "repository"
    library.create_repository(path, PASSPHRASE, home)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "letters" / "empty").mkdir(parents=True)
    (folder / "letters" / "née.txt").write_bytes(b"bonjour")
    (folder / "zero").write_bytes(b"")
    (folder / "big").write_bytes(os.urandom(3_000_000))
    (folder / "link").symlink_to("letters/née.txt")
    os.link(folder / "letters" / "née.txt", folder / "same")
    (folder / os.fsdecode(b"latin-\xe9")).write_bytes(b"x")
    return folder


def test_a_new_repository_is_empty_and_plain_borg_checks_it(repository, home):
    """What we create is a repository like any other, and its emptiness was read, not assumed."""
    with library.open_repository(repository, PASSPHRASE, home) as opened:
        assert opened.archives() == []
        assert len(opened.id) == 64
    run_borg(home, "check", "--verify-data", str(repository))
    assert "max_segment_size = 16777216" in (repository / "config").read_text()
    assert not list(repository.parent.glob(".repository.new-*"))


def test_what_plain_borg_wrote_is_read_whole(repository, home, tree):
    """Every item, its kind, its size and its bytes come back."""
    run_borg(home, "create", "--comment", "run 7", f"{repository}::one", ".", cwd=tree)
    with library.open_repository(repository, PASSPHRASE, home) as opened:
        (archive,) = opened.archives()
        found = {entry.path: entry for entry in opened.entries(archive.id)}
        contents = {
            path: b"".join(opened.fetch(identity for identity, _ in unpack_chunks(entry.chunks)))
            for path, entry in found.items()
            if entry.kind is EntryKind.FILE
        }
    assert (archive.name, archive.comment) == ("one", "run 7")
    on_disk = {os.fsencode(each.relative_to(tree)): each for each in tree.rglob("*")}
    assert set(found) - {b"."} == set(on_disk)
    for path, each in on_disk.items():
        if each.is_symlink():
            assert found[path].target == os.fsencode(os.readlink(each))
        elif each.is_dir():
            assert found[path].kind is EntryKind.FOLDER
        else:
            assert contents[path] == each.read_bytes()
            assert found[path].size == each.stat().st_size
            assert found[path].mtime_ns == each.stat().st_mtime_ns


def test_a_wrong_passphrase_is_said_as_such(repository, home):
    """Neither prompt nor traceback: the vault does not fit."""
    with pytest.raises(WrongPassphrase):
        with library.open_repository(repository, Secret(b"another"), home):
            pass
    with pytest.raises(WrongPassphrase):
        with library.open_reader(repository, Secret(b"another"), home):
            pass


def test_the_passphrase_never_enters_the_environment(repository, home, monkeypatch):
    """And what the environment says about Borg is not obeyed, and comes back afterwards."""
    monkeypatch.setenv("BORG_PASSPHRASE", "nonsense")
    monkeypatch.setenv("BORG_CACHE_DIR", "/nowhere")
    seen = []
    with library.open_repository(repository, PASSPHRASE, home):
        seen += [PASSPHRASE.reveal().decode() in value for value in os.environ.values()]
    assert not any(seen)
    assert os.environ["BORG_PASSPHRASE"] == "nonsense"
    assert os.environ["BORG_CACHE_DIR"] == "/nowhere"
    assert "BORG_BASE_DIR" not in os.environ


@pytest.mark.parametrize("left", ["nothing", "empty folder", "no data folder"])
def test_an_unplugged_disk_is_never_an_empty_repository(repository, home, left):
    """An empty mount point is a missing repository."""
    if left == "no data folder":
        shutil.rmtree(repository / "data")
    else:
        shutil.rmtree(repository)
        if left == "empty folder":
            repository.mkdir()
    with pytest.raises(RepositoryMissing):
        with library.open_repository(repository, PASSPHRASE, home):
            pass
    with pytest.raises(RepositoryMissing), library.open_reader(repository, PASSPHRASE, home):
        pass
    with pytest.raises(RepositoryMissing):
        library.create_repository(repository / "not-there" / "r", PASSPHRASE, home)


def test_another_repository_at_the_place_is_refused(repository, home, tmp_path):
    """The id is pinned; both ids are said."""
    with library.open_repository(repository, PASSPHRASE, home) as opened:
        identity = opened.id
    shutil.rmtree(repository)
    other = library.create_repository(repository, PASSPHRASE, home)
    with pytest.raises(RepositoryReplaced) as raised:
        with library.open_repository(repository, PASSPHRASE, home, expected_id=identity):
            pass
    assert (raised.value.expected, raised.value.found) == (identity, other)


def test_an_older_state_put_back_is_refused(repository, home, tree, tmp_path):
    """A repository that went back in time must not be written on: its counters would repeat."""
    shutil.copytree(repository, tmp_path / "older")
    run_borg(home, "create", f"{repository}::one", ".", cwd=tree)
    shutil.rmtree(repository)
    (tmp_path / "older").rename(repository)
    with pytest.raises(RepositoryReplaced):
        with library.open_repository(repository, PASSPHRASE, home, mode=Mode.WRITE):
            pass


def test_a_moved_repository_opens_at_its_new_place(repository, home, tree, tmp_path):
    """The id is what counts, not where the disk was mounted; nobody is asked."""
    run_borg(home, "create", f"{repository}::one", ".", cwd=tree)
    moved = repository.rename(tmp_path / "elsewhere")
    with library.open_repository(moved, PASSPHRASE, home) as opened:
        assert [each.name for each in opened.archives()] == ["one"]


def test_two_writers_exclude_each_other(repository, home):
    """Also inside one process, where Borg's own lock would let the second one in."""
    with library.open_repository(repository, PASSPHRASE, home, mode=Mode.WRITE):
        with pytest.raises(RepositoryLocked):
            with library.open_repository(repository, PASSPHRASE, home, mode=Mode.WRITE):
                pass
        code = (
            "import sys\nfrom pathlib import Path\n"
            "from appliance.backup_jobs import borg_library as l\n"
            "from appliance.errors import RepositoryLocked\nfrom appliance.vault.secret import Secret\n"
            "try:\n  with l.open_repository(Path(sys.argv[1]), Secret(sys.argv[2].encode()),"
            " Path(sys.argv[3]), lock_wait_s=0.1): pass\n"
            "except RepositoryLocked: sys.exit(7)\n"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, repository, PASSPHRASE.reveal().decode(), home],
            check=False,
        )
        assert other.returncode == 7
    with library.open_repository(repository, PASSPHRASE, home, mode=Mode.WRITE):
        pass


@pytest.mark.parametrize(
    ("holder", "opens"), [("another program", True), ("python", False), ("nobody", True)]
)
def test_a_lock_is_broken_only_when_its_holder_is_provably_gone(repository, home, holder, opens):
    """After a restart the number of the holder may be another program's; a Python one may be ours."""
    from borg.platform import get_process_id

    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    argv = ["sleep", "60"] if holder == "another program" else sleeping
    other = subprocess.Popen(argv)
    try:
        time.sleep(0.2)
        if holder == "nobody":
            other.kill()
            other.wait()
        host = get_process_id()[0]
        (repository / "lock.exclusive").mkdir()
        (repository / "lock.exclusive" / f"{host}.{other.pid}-0").touch()
        entry = {"exclusive": [[host, other.pid, 0]]}
        (repository / "lock.roster").write_text(json.dumps(entry))
        if opens:
            with library.open_repository(repository, PASSPHRASE, home, mode=Mode.WRITE) as opened:
                assert opened.archives() == []
        else:
            with pytest.raises(RepositoryLocked):
                with library.open_repository(
                    repository, PASSPHRASE, home, mode=Mode.WRITE, lock_wait_s=0.2
                ):
                    pass
    finally:
        other.kill()
        other.wait()


def test_create_never_replaces_what_is_there(repository, home, tmp_path):
    """Neither a repository nor a folder with something in it; leftovers of a kill are removed."""
    with pytest.raises(AlreadyExists):
        library.create_repository(repository, PASSPHRASE, home)
    (tmp_path / ".second.new-0123").mkdir()
    (tmp_path / "second").mkdir()
    assert len(library.create_repository(tmp_path / "second", PASSPHRASE, home)) == 64
    assert not (tmp_path / ".second.new-0123").exists()


def test_the_exported_key_is_what_borg_exports(repository, home, tmp_path):
    """So `borg key import` takes it."""
    run_borg(home, "key", "export", str(repository), str(tmp_path / "key"))
    assert library.export_key(repository).reveal() == (tmp_path / "key").read_bytes()


def flip(path: Path, offset: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def segment_files(repository: Path) -> list[Path]:
    """Return the segment files, oldest first."""
    return sorted((each for each in repository.glob("data/*/*")), key=lambda each: int(each.name))


def test_an_altered_list_of_archives_is_not_an_empty_one(repository, home, tree):
    """One flipped bit in the manifest: an error that says so."""
    run_borg(home, "create", f"{repository}::one", ".", cwd=tree)
    manifest = segment_files(repository)[-2]
    flip(manifest, manifest.stat().st_size - 5)
    with pytest.raises((ArchiveListUnreadable, RepositoryDamaged)):
        with library.open_repository(repository, PASSPHRASE, home) as opened:
            opened.archives()


def test_an_altered_chunk_is_found_when_read(repository, home, tree):
    """Bytes are verified before they leave, by the locked way and by the reader."""
    run_borg(home, "create", f"{repository}::one", ".", cwd=tree)
    with library.open_repository(repository, PASSPHRASE, home) as opened:
        (archive,) = opened.archives()
        big = next(each for each in opened.entries(archive.id) if each.path == b"big")
    ids = [identity for identity, _ in unpack_chunks(big.chunks)]
    largest = max(segment_files(repository), key=lambda each: each.stat().st_size)
    flip(largest, largest.stat().st_size // 2)
    with library.open_repository(repository, PASSPHRASE, home) as opened:
        with pytest.raises(RepositoryDamaged):
            list(opened.fetch(ids))
    with library.open_reader(repository, PASSPHRASE, home) as reader:
        with pytest.raises(RepositoryDamaged):
            list(reader.fetch(ids))


def test_the_reader_reads_under_a_lock_and_through_a_compaction(repository, home, tree):
    """It holds no lock, meets one without waiting, and follows chunks that a compaction moved."""
    run_borg(home, "create", f"{repository}::one", ".", cwd=tree)
    (tree / "other").write_bytes(os.urandom(2_000_000))
    run_borg(home, "create", f"{repository}::two", ".", cwd=tree)
    with library.open_repository(repository, PASSPHRASE, home) as opened:
        newest = opened.archives()[0]
        found = {each.path: each for each in opened.entries(newest.id)}
    ids = {path: [i for i, _ in unpack_chunks(found[path].chunks)] for path in (b"big", b"other")}
    with library.open_reader(repository, PASSPHRASE, home) as reader:
        with library.open_repository(repository, PASSPHRASE, home, mode=Mode.WRITE):
            assert b"".join(reader.fetch(ids[b"big"])) == (tree / "big").read_bytes()
        files = set(repository.rglob("*"))
        run_borg(home, "delete", f"{repository}::one")
        run_borg(home, "compact", "--threshold", "0", str(repository))
        assert set(repository.rglob("*")) != files
        assert b"".join(reader.fetch(ids[b"other"])) == (tree / "other").read_bytes()
        assert b"".join(reader.fetch(ids[b"big"])) == (tree / "big").read_bytes()
        run_borg(home, "delete", f"{repository}::two")
        run_borg(home, "compact", "--threshold", "0", str(repository))
        with pytest.raises(ChunkMissing):
            list(reader.fetch([bytes(32)[:-1] + b"x"]))


def test_the_reader_writes_nothing(repository, home, tree):
    """Not a byte of the repository differs after it was there, lock files included."""
    run_borg(home, "create", f"{repository}::one", ".", cwd=tree)

    def state():
        return {
            each: (each.stat().st_mtime_ns, each.read_bytes() if each.is_file() else b"")
            for each in [repository, *repository.rglob("*")]
        }

    before = state()
    with library.open_reader(repository, PASSPHRASE, home) as reader:
        with pytest.raises(ChunkMissing):
            list(reader.fetch([b"\1" * 32]))
    assert state() == before
