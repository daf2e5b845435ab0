"""Whole nights with recipes: what the snapshot holds, and that a failing recipe leaves no snapshot."""

import subprocess

import pytest

from appliance.backup_jobs import set_up_source
from appliance.catalogue import query
from appliance.clock import utc_now
from appliance.db import sources
from appliance.errors import RecipeFailed
from appliance.jobs.kinds import Prune, SetUpSource, VerifySnapshot
from appliance.model import Consistency, JobState, ReadEventKind, RecipeUse, SourceKind, System
from appliance.policy.retention import FreezeReason
from tests.support.box import Box
from tests.support.databases import PostgresCluster
from tests.support.trees import make_small_tree
from tests.support.windows import WindowsHost

pytestmark = pytest.mark.integration


@pytest.fixture
def box(tmp_path):
    one = Box(tmp_path / "data")
    yield one
    one.close()


def add_machine(box, host, *, roots, recipes, system=System.LINUX):
    with box.database.write() as connection:
        source = sources.add(
            connection, name="serveur", label="Serveur", kind=SourceKind.PULLED, roots=roots, system=system,
            host=host.host, port=host.port, user=host.user, recipes=recipes, now=utc_now(),
            excludes=("sh:**/nothing",),
        )  # fmt: skip
        sources.change(connection, source.id, host_key=host.host_key)
    box.run(SetUpSource(source.id))
    with box.database.read() as connection:
        host.authorize(str(sources.facts(connection, source.id)[set_up_source.PUBLIC_KEY]))
        return sources.get(connection, source.id)


def content(box, source, snapshot, path: bytes) -> bytes:
    entry = query.entry(box.catalogue(source), snapshot.id, path)
    from appliance.backup_jobs.borg_library_items import unpack_chunks

    with box.open(source) as repository:
        return b"".join(
            repository.fetch(identity for identity, _size in unpack_chunks(entry.chunks))
        )


def test_a_night_of_a_machine_with_postgresql(box, sshd, tmp_path):
    """Files and dump in one snapshot; a server that is off fails the run and prunes nothing."""
    files = tmp_path / "files"
    make_small_tree(files, files=10)
    with PostgresCluster() as cluster:
        cluster.create_database("cabinet")
        cluster.execute(
            "CREATE TABLE patient AS SELECT n FROM generate_series(1, 100) n", "cabinet"
        )
        use = RecipeUse(
            "postgresql",
            {"host": str(cluster.socket_folder), "port": str(cluster.port), "user": "postgres"},
        )
        source = add_machine(box, sshd, roots=(str(files),), recipes=(use,))

        assert box.take(source) is JobState.SUCCEEDED

        first = box.newest(source)
        assert first.consistency is Consistency.DUMP
        box.run(VerifySnapshot(source.id, first.id))
        dump = content(box, source, first, b"_armoire/postgresql/cabinet.dump")
        cluster.create_database("again")
        subprocess.run(
            [cluster.programs / "pg_restore", "-e", "-h", cluster.socket_folder, "-p", str(cluster.port), "-U",
             "postgres", "-d", "again"], input=dump, check=True,
        )  # fmt: skip
        assert cluster.query("SELECT count(*) FROM patient", "again") == [("100",)]

    with pytest.raises(RecipeFailed):
        box.take(source)

    assert [each.id for each in box.snapshots(source)] == [first.id]
    box.assert_agreement(source)
    box.run(Prune(source.id))
    assert box.source(source).frozen_reason == FreezeReason.RUN_FAILED.value
    assert [each.id for each in box.snapshots(source)] == [first.id]


def test_a_raw_copy_of_a_live_cluster_is_warned_about(box, sshd):
    """Plain files with a running PostgreSQL among them are of unknown consistency."""
    with PostgresCluster() as cluster:
        source = add_machine(box, sshd, roots=(str(cluster.data_folder),), recipes=())

        assert box.take(source) is JobState.WARNED

    snapshot = box.newest(source)
    assert snapshot.consistency is Consistency.UNKNOWN
    with box.database.read() as connection:
        from appliance.db import snapshots

        kinds = [event.kind for event in snapshots.events(connection, snapshot.id)]
    assert ReadEventKind.LIVE_DATABASE in kinds


def test_a_night_through_a_shadow_copy_is_stored_where_the_files_are(box):
    """The catalogue names the folders a person knows; the locked file is in; the second night knows the first."""
    with WindowsHost() as host:
        root = r"C:\Users\Médecin\Documents"
        host.write(root + r"\courrier\lettre.docx", b"lettre" * 100, mtime=1_790_000_000)
        host.write(root + r"\boîte.pst", b"ouvert" * 100, mtime=1_790_000_000)
        host.lock(root + r"\boîte.pst")
        source = add_machine(
            box, host, roots=(root,), recipes=(RecipeUse("windows-vss"),), system=System.WINDOWS
        )

        assert box.take(source) is JobState.SUCCEEDED
        first = box.newest(source)
        assert box.take(source) is JobState.SUCCEEDED
        second = box.newest(source)

        assert host.shadows_alive == []
        assert host.links_alive == []
        assert host.not_simulated == []
    paths = box.paths(source, first)
    assert "C/Users/Médecin/Documents/boîte.pst".encode() in paths
    assert not any(b"armoire-" in path for path in paths)
    assert paths == box.paths(source, second)
    assert first.consistency is Consistency.VSS_SIMPLE
    assert (
        content(box, source, first, "C/Users/Médecin/Documents/boîte.pst".encode())
        == b"ouvert" * 100
    )
    assert second.changed == 0
    assert second.vanished == 0
