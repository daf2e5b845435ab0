"""Restoring: what comes back, where it goes, what is never overwritten, and the sheet it leaves."""

import os
import stat
from zoneinfo import ZoneInfo

import pytest

from appliance.backup_jobs import restore as restore_job
from appliance.db import restore_sheets
from appliance.errors import (
    InvalidInput,
    NotFound,
    NothingRestored,
    RootUnreadable,
    WouldOverwrite,
)
from appliance.jobs.kinds import RestoreFiles
from appliance.ledger import chain
from appliance.model import JobState, Outcome
from appliance.packed import pack_path, unpack_path
from tests.integration.test_night_is_proven import flip_a_bit_of
from tests.support.box import Box
from tests.support.trees import make_odd_tree, make_small_tree

pytestmark = pytest.mark.integration


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "source"
    made.mkdir()
    make_small_tree(made, files=15)
    (made / "lettre.pdf").write_bytes(b"of that night")
    os.utime(made / "lettre.pdf", ns=(0, 1_700_000_000_123_456_789))
    (made / "lettre.pdf").chmod(0o640)
    return made


@pytest.fixture
def share(box, folder):
    made = box.add_share(folder)
    box.take(made)
    return made


def stored(path):
    return os.fsencode(path).lstrip(b"/")


def bring_back(box, source, *paths, to="folder", at=b"", **options):
    spec = RestoreFiles(
        source.id,
        box.newest(source).id,
        tuple(pack_path(path) for path in paths),
        to,
        place=pack_path(os.fsencode(at)) if at else "",
        **options,
    )
    return box.run(spec)


def sheet(box):
    with box.database.read() as connection:
        return restore_sheets.get(connection, restore_sheets.newest(connection)[0].id)


def day(box, source):
    """Return the practice's day: near midnight it is not that of UTC."""
    zone = ZoneInfo(box.settings.time_zone)
    return f"{box.newest(source).started_at.astimezone(zone):%Y-%m-%d}"


def tree(root):
    return {
        os.fsencode(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_a_file_comes_back_with_bytes_mode_and_times_and_leaves_a_sheet(
    box, share, folder, tmp_path
):
    """The six fields of a «fiche de restauration» (domain.md SAV-16), and the ledger."""
    out = tmp_path / "out"

    state = bring_back(
        box, share, stored(folder / "lettre.pdf"), at=out, requested_by="Dr Élodie Martin"
    )

    assert state is JobState.SUCCEEDED
    back = out / "lettre.pdf"
    assert back.read_bytes() == b"of that night"
    assert stat.S_IMODE(back.stat().st_mode) == 0o640
    assert back.stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert [path.name for path in out.iterdir()] == ["lettre.pdf"]
    found, paths = sheet(box)
    assert (found.operator, found.requested_by) == ("box", "Dr Élodie Martin")
    assert (found.files, found.bytes, found.check) == (1, 13, Outcome.PROVEN)
    assert found.snapshot_at == box.newest(share).started_at
    assert [unpack_path(each) for each in paths] == [stored(folder / "lettre.pdf")]
    with box.database.read() as connection:
        (entry,) = [e for e in chain.entries(connection) if e.event == "files.restored"]
    assert entry.body["files"] == 1
    assert "lettre" not in str(entry.body)


def test_a_folder_comes_back_with_all_that_is_below_it(box, share, folder, tmp_path):
    """Deep ones, and its own time, which writing into it would have changed."""
    chosen = folder / "dossier 1"
    os.utime(chosen, ns=(0, 1_600_000_000 * 10**9))
    box.take(share)

    bring_back(box, share, stored(chosen), at=tmp_path / "out")

    assert tree(tmp_path / "out" / "dossier 1") == tree(chosen)
    assert (tmp_path / "out" / "dossier 1").stat().st_mtime == 1_600_000_000


def test_a_whole_snapshot_comes_back_under_one_folder(box, share, folder, tmp_path):
    """Its name says which source and which day."""
    bring_back(box, share, b"", at=tmp_path / "out")

    (top,) = (tmp_path / "out").iterdir()
    assert top.name == f"documents {day(box, share)}"
    assert tree(top / str(folder).lstrip("/")) == tree(folder)


def test_an_existing_file_in_a_chosen_folder_is_never_overwritten(box, share, folder, tmp_path):
    """Nothing at all is written before somebody says yes."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "lettre.pdf").write_bytes(b"mine")

    with pytest.raises(WouldOverwrite):
        bring_back(box, share, b"", stored(folder / "lettre.pdf"), at=out)
    assert tree(out) == {b"lettre.pdf": b"mine"}

    bring_back(box, share, stored(folder / "lettre.pdf"), at=out, replace=True)
    assert tree(out) == {b"lettre.pdf": b"of that night"}


def test_at_its_own_place_a_file_comes_back_beside_the_one_that_is_there(box, share, folder):
    """«lettre (restauré 2026-03-12).pdf», and a second one is numbered."""
    (folder / "lettre.pdf").write_bytes(b"of today")

    bring_back(box, share, stored(folder / "lettre.pdf"), to="share", share_id=share.id)
    bring_back(box, share, stored(folder / "lettre.pdf"), to="machine")

    assert (folder / "lettre.pdf").read_bytes() == b"of today"
    assert (folder / f"lettre (restauré {day(box, share)}).pdf").read_bytes() == b"of that night"
    assert (folder / f"lettre (restauré {day(box, share)}, 2).pdf").read_bytes() == b"of that night"


def test_at_its_own_place_a_deleted_file_gets_its_name_back(box, share, folder):
    """Its folder is made again too."""
    gone = min((folder / "dossier 1").rglob("*.dat"))
    content = gone.read_bytes()
    for path in sorted((folder / "dossier 1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "dossier 1").rmdir()

    bring_back(box, share, stored(gone), to="share", share_id=share.id)

    assert gone.read_bytes() == content


def test_a_whole_root_never_runs_over_what_is_there(box, share, folder):
    """It goes into a folder of its own."""
    before = tree(folder)

    bring_back(box, share, stored(folder), to="share", share_id=share.id)

    after = folder / f"source (restauré {day(box, share)})"
    assert tree(after) == before
    assert {path: data for path, data in tree(folder).items() if b"restaur" not in path} == before


def test_rights_of_a_share_are_the_same_afterwards(box, share, folder, tmp_path):
    """Extended attributes and ACLs too: the difference is nothing (domain.md SAV-16)."""
    chosen = folder / "lettre.pdf"
    os.setxattr(chosen, "user.note", b"vu")
    acl = _set_acl(chosen)
    box.take(share)

    bring_back(box, share, stored(chosen), at=tmp_path / "out")

    back = tmp_path / "out" / "lettre.pdf"
    assert os.getxattr(back, "user.note") == b"vu"
    if acl is not None:
        assert os.getxattr(back, "system.posix_acl_access") == acl
    assert (back.stat().st_uid, back.stat().st_gid) == (chosen.stat().st_uid, chosen.stat().st_gid)


def _set_acl(path):
    # user::rw- user:1234:r-- group::r-- mask::r-- other::---; Source: acl(5), linux/posix_acl_xattr.h
    entries = [
        (1, 6, 0xFFFFFFFF),
        (2, 4, 1234),
        (4, 4, 0xFFFFFFFF),
        (16, 4, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    ]
    import struct

    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", value)
    except OSError:
        return None
    return value


def test_an_odd_tree_comes_back_name_for_name(box, tmp_path):
    """Names that are not UTF-8, with newlines, links; very deep folders."""
    odd = tmp_path / "odd"
    make_odd_tree(odd)
    share = box.add_share(odd)
    box.take(share)

    state = bring_back(box, share, stored(odd), at=tmp_path / "out")

    from tests.support import trees

    assert state is JobState.SUCCEEDED
    before, after = trees.snapshot_of_tree(odd), trees.snapshot_of_tree(tmp_path / "out" / "odd")
    assert {p: s for p, s in after.items() if s.kind in {"file", "folder", "link"}} == {
        p: s for p, s in before.items() if s.kind in {"file", "folder", "link"}
    }


def test_a_link_in_the_way_is_not_followed(box, share, folder, tmp_path):
    """Somebody who may write there must not lead a restore out of its folder."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "dossier 1").parent.mkdir()
    elsewhere.mkdir()
    (out / "dossier 1").symlink_to(elsewhere)

    with pytest.raises(NothingRestored):
        bring_back(box, share, stored(folder / "dossier 1"), at=out, replace=True)

    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "hostile", [b"../../evil", b"a/../../evil", b"/evil", b"a//evil", b"a/./evil", b".."]
)
def test_hostile_names_lead_nowhere(hostile):
    """Names out of an archive that a machine pushed may be anything."""
    from appliance.backup_jobs.restore_places import CannotPlace, safe_parts

    with pytest.raises(CannotPlace):
        safe_parts(hostile)


@pytest.mark.parametrize(
    "name", [b"CON", b"nul.txt", b"a:b", b"what?", b"end.", b"end ", b"com1.x"]
)
def test_names_that_windows_cannot_hold_are_said_so(name):
    """Before anything is sent."""
    from appliance.backup_jobs.restore_places import CannotPlace, check_windows

    with pytest.raises(CannotPlace):
        check_windows((b"fine", name))
    check_windows((b"C\xc3\xb4t\xc3\xa9 (1).pdf", b"conference.txt"))


def test_a_damaged_file_is_not_written_and_the_others_are(box, share, folder, tmp_path):
    """The sheet names it; what is there is whole."""
    (folder / "dossier 1" / "large.bin").write_bytes(os.urandom(1_000_000))
    box.take(share)
    flip_a_bit_of(box, share, folder / "dossier 1" / "large.bin")

    state = bring_back(box, share, stored(folder / "dossier 1"), at=tmp_path / "out")

    assert state is JobState.WARNED
    found, _ = sheet(box)
    assert (found.check, found.figures["damaged"]) == (Outcome.FAILED, 1)
    assert unpack_path(found.figures["failures"][0]["path"]) == stored(
        folder / "dossier 1" / "large.bin"
    )
    expected = tree(folder / "dossier 1")
    del expected[b"large.bin"]
    assert tree(tmp_path / "out" / "dossier 1") == expected


def test_a_path_that_is_not_in_the_snapshot_is_not_found(box, share, tmp_path):
    """And the sheet says that nothing was restored."""
    with pytest.raises(NotFound):
        bring_back(box, share, b"nowhere", at=tmp_path / "out")
    assert sheet(box)[0].files == 0


def test_the_boxs_own_folders_are_no_destination(box, share, folder):
    """A restore must not write into repositories or keys."""
    for place in (box.settings.repositories / "1", box.settings.keys, box.settings.data):
        with pytest.raises(InvalidInput):
            bring_back(box, share, stored(folder), at=place)


def test_a_place_outside_the_share_is_refused(box, share, folder, tmp_path):
    """Neither by «..» nor by a link."""
    (folder / "out").symlink_to(tmp_path)
    for place in (b"../", b"out", os.fsencode(folder / "..")):
        with pytest.raises(InvalidInput):
            bring_back(box, share, stored(folder), to="share", share_id=share.id, at=place)


def test_a_share_that_is_not_mounted_gets_nothing(box, share, folder):
    """Its folder is not made anew where its disk should be."""
    away = folder.with_name("away")
    folder.rename(away)

    with pytest.raises(RootUnreadable):
        bring_back(box, share, stored(folder / "lettre.pdf"), to="share", share_id=share.id)

    assert not folder.exists()


def test_an_error_half_way_leaves_a_sheet_of_what_was_done(
    box, share, folder, tmp_path, monkeypatch
):
    """A person sees what is there already."""
    real, calls = restore_job._one, []

    def break_later(*arguments):
        if len(calls) == 5:
            raise OSError(5, "Input/output error")
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(restore_job, "_one", break_later)

    with pytest.raises(OSError, match="Input/output"):
        bring_back(box, share, stored(folder), at=tmp_path / "out")

    found, _ = sheet(box)
    assert found.files == len(tree(tmp_path / "out"))
    assert not list((tmp_path / "out").rglob("*.part"))


# --- back to the machine -----------------------------------------------------------------------


@pytest.fixture
def machine(box, sshd, folder):
    made = box.add_machine(sshd, folder)
    box.take(made)
    return made


def test_a_file_goes_back_to_its_machine_beside_the_one_that_is_there(box, machine, folder):
    """Mode and time as they were; what is there stays."""
    (folder / "lettre.pdf").write_bytes(b"of today")
    gone = min((folder / "dossier 1").rglob("*.dat"))
    content, seconds = gone.read_bytes(), int(gone.stat().st_mtime)
    gone.unlink()

    bring_back(box, machine, stored(folder / "lettre.pdf"), stored(gone), to="machine")

    assert (folder / "lettre.pdf").read_bytes() == b"of today"
    beside = folder / f"lettre (restauré {day(box, machine)}).pdf"
    assert beside.read_bytes() == b"of that night"
    assert stat.S_IMODE(beside.stat().st_mode) == 0o640
    assert gone.read_bytes() == content
    assert int(gone.stat().st_mtime) == seconds


def test_a_file_of_the_machine_is_replaced_only_after_a_yes(box, machine, folder):
    """And then whole: never half of it."""
    (folder / "lettre.pdf").write_bytes(b"encrypted")

    bring_back(box, machine, stored(folder / "lettre.pdf"), to="machine", replace=True)

    assert (folder / "lettre.pdf").read_bytes() == b"of that night"
    assert not [path for path in folder.iterdir() if "restaur" in path.name or ".part" in path.name]


def test_a_folder_goes_to_another_folder_of_the_machine(box, machine, folder, tmp_path):
    """Its folders are made; links on the way are not followed."""
    bring_back(box, machine, stored(folder / "dossier 1"), to="machine", at=tmp_path / "new")

    assert tree(tmp_path / "new" / "dossier 1") == tree(folder / "dossier 1")


def test_a_restore_to_the_original_place_stays_in_the_folders_backed_up(box, machine, folder):
    """Cross-restore is off (domain.md SAV-20): a machine's files go to that machine only."""
    with pytest.raises(InvalidInput):
        bring_back(box, machine, b"etc/passwd", to="machine")
    with pytest.raises(InvalidInput):
        bring_back(box, machine, stored(folder), to="other-machine")


def test_a_machines_file_goes_into_a_share(box, machine, folder, tmp_path):
    """It belongs to whoever the folder there belongs to."""
    other = tmp_path / "partage"
    (other / "reçu").mkdir(parents=True)
    share = box.add_share(other)

    bring_back(
        box, machine, stored(folder / "lettre.pdf"), to="share", share_id=share.id,
        at="reçu",
    )  # fmt: skip

    back = other / "reçu" / "lettre.pdf"
    assert back.read_bytes() == b"of that night"
    assert back.stat().st_uid == other.stat().st_uid
