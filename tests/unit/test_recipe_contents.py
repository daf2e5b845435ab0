"""A dump that is not whole is seen from its bytes; a raw copy of a live database from its names."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs.live_databases import consistency_after, live_database_events
from appliance.backup_jobs.recipe_contents import checked
from appliance.backup_jobs.recipe_schema import Content
from appliance.backup_jobs.recipe_vss import link_on, shadow_in, through, volume_of
from appliance.backup_jobs.recipes import server_path
from appliance.errors import RecipeFailed
from appliance.model import Consistency, Entry, EntryKind, ReadEvent, ReadEventKind, System
from appliance.policy.anomaly import anomaly_words


def passed(blocks, content) -> bytes:
    return b"".join(
        checked(iter(blocks), content, lambda reason: RecipeFailed("r", "dump", reason))
    )


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.fixture(scope="module")
def sqlite_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "x"
    with sqlite3.connect(path) as one:
        one.execute("CREATE TABLE t (x)")
        one.executemany("INSERT INTO t VALUES (?)", [(str(n) * 50,) for n in range(200)])
    one.close()
    return path.read_bytes()


WHOLE = {
    Content.ANY: b"x",
    Content.PG_CUSTOM: b"PGDMP" + bytes(100),
    Content.PG_SQL: b"--\n" * 900 + b"-- PostgreSQL database cluster dump complete\n--\n\n",
    Content.MARIADB_SQL: b"INSERT;\n" * 900 + b"-- Dump completed on 2026-11-23 20:00:00\n",
}


@pytest.mark.parametrize("content", list(WHOLE))
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_whole_dump_passes_unchanged(content, size):
    """However its bytes are cut into blocks."""
    assert passed(cut(WHOLE[content], size), content) == WHOLE[content]


@pytest.mark.parametrize("content", [Content.PG_SQL, Content.MARIADB_SQL])
def test_a_dump_without_its_last_line_fails(content):
    """Its program died, or somebody's disk was full."""
    with pytest.raises(RecipeFailed) as raised:
        passed([WHOLE[content][:-60]], content)

    assert raised.value.reason == "the dump is cut or is no dump"


@pytest.mark.parametrize("content", list(Content))
def test_an_empty_dump_fails(content):
    """Nothing is no dump of anything."""
    for blocks in ([], [b""]):
        with pytest.raises(RecipeFailed) as raised:
            passed(blocks, content)
        assert raised.value.reason == "the dump is empty"


@given(st.data())
def test_a_sqlite_copy_has_exactly_the_pages_it_says(sqlite_file, data):
    """One byte less is a cut copy."""
    assert passed(cut(sqlite_file, 1000), Content.SQLITE) == sqlite_file
    length = data.draw(st.integers(1, len(sqlite_file) - 1))
    with pytest.raises(RecipeFailed):
        passed([sqlite_file[:length]], Content.SQLITE)


def test_an_error_page_is_no_postgresql_dump():
    """What a wrapper wrote in place of pg_dump."""
    with pytest.raises(RecipeFailed):
        passed([b"ERROR: no such host" * 10], Content.PG_CUSTOM)


# --- live databases ----------------------------------------------------------------------------


def entry(path: str, kind=EntryKind.FILE) -> Entry:
    return Entry(path.encode(), kind, 1, 0, 0o600)


def test_a_raw_copy_of_a_live_database_is_named_once():
    """A cluster has hundreds of folders with the same files in them."""
    events = live_database_events(
        [
            entry("srv/pg/PG_VERSION"), entry("srv/pg/base/1/PG_VERSION"), entry("srv/pg/base/5/PG_VERSION"),
            entry("srv/mysql/ibdata1"), entry("srv/mysql/cabinet/patient.ibd"),
            entry("C/Donnees/BASE.MDF"), entry("C/HFSQL/PATIENT.FIC"), entry("srv/lettres/lettre.pdf"),
            entry("_armoire/postgresql/PG_VERSION"), entry("srv/dossier.mdf", EntryKind.FOLDER),
        ]
    )  # fmt: skip

    assert [(event.path, event.reason) for event in events] == [
        (b"C/Donnees", "SQL Server"),
        (b"C/HFSQL", "HFSQL"),
        (b"srv/mysql", "MariaDB/MySQL (InnoDB)"),
        (b"srv/pg", "PostgreSQL"),
    ]
    assert {event.kind for event in events} == {ReadEventKind.LIVE_DATABASE}


def test_files_with_a_live_database_among_them_are_never_green():
    """Unknown; what a recipe reached stays."""
    live = [ReadEvent(ReadEventKind.LIVE_DATABASE, b"x", "PostgreSQL")]
    other = [ReadEvent(ReadEventKind.VANISHED, b"x", "gone")]

    assert consistency_after(Consistency.FILES, live) is Consistency.UNKNOWN
    assert consistency_after(Consistency.FILES, other) is Consistency.FILES
    assert consistency_after(Consistency.DUMP, live) is Consistency.DUMP
    assert consistency_after(Consistency.VSS_SIMPLE, live) is Consistency.VSS_SIMPLE


@pytest.mark.parametrize("kind", ["archive-vanished", "repository-key-changed"])
def test_alarms_about_a_pushed_machine_have_words(kind):
    """Not a code."""
    french, english = anomaly_words(kind, {}, "fr"), anomaly_words(kind, {}, "en")

    assert kind not in {french, english}
    assert french != english


# --- Windows' paths ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "read"),
    [
        ("C:\\Users\\é", "C:\\armoire-3-17\\Users\\é"),
        ("c:/Users", "C:\\armoire-3-17\\Users"),
        ("/C:/Users", "C:\\armoire-3-17\\Users"),
        ("C:\\", "C:\\armoire-3-17"),
        ("C:", "C:\\armoire-3-17"),
        ("D:\\Imagerie", "D:\\Imagerie"),
        ("\\\\serveur\\partage", "\\\\serveur\\partage"),
    ],
)
def test_a_root_is_read_through_its_volumes_shadow_copy(root, read):
    """Other volumes and network paths stay where they are."""
    assert through({"C:\\": link_on("C:\\", 3, 17)}, root) == read


def test_small_things_about_windows():
    """Volumes, numbers of shadow copies, paths for SFTP."""
    assert volume_of("d:/x") == "D:\\"
    assert volume_of("relative") is None
    assert (
        shadow_in("\r\n{3808876B-C176-4E48-B7AE-04046E6CC752}\r\n")
        == "{3808876B-C176-4E48-B7AE-04046E6CC752}"
    )
    assert shadow_in("no") is None
    assert server_path(System.WINDOWS, "C:\\Users\\é") == "/C:/Users/é".encode()
    assert server_path(System.LINUX, "/a\\b") == b"/a\\b"
