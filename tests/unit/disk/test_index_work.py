"""News of the kernel reach the index: with real fanotify where it may be had, real inotify everywhere."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.db.practice import Searched
from appliance.disk.index_file import path_of
from appliance.disk.index_search import Place, find
from appliance.disk.index_watch import Fanotify, Inotify
from appliance.disk.index_work import Librarian, wish_path


def _fanotify_or_skip(root: Path) -> Fanotify:
    try:
        return Fanotify(root)
    except OSError:
        pytest.skip("fanotify needs a privilege this process has not")


WATCHERS = {"inotify": lambda _root: Inotify(), "fanotify": _fanotify_or_skip}


@pytest.fixture(params=sorted(WATCHERS))
def librarian(request, settings, share) -> Iterator[Librarian]:
    """What keeps the index of one share, with each way to hear of changes."""
    if request.param == "fanotify":
        _fanotify_or_skip(share.folder).close()
    made = Librarian(settings, lambda: [share], watcher=WATCHERS[request.param])
    yield made
    made.close()


def settle(librarian: Librarian, is_so: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not follow"
        librarian.turn(patience_s=0.05)


def paths(settings, share, words: str) -> list[str]:
    return sorted(each.path.decode() for each in find(settings, [share], words).hits)


def test_every_change_is_found_without_a_scan(settings, share, librarian):
    """Made, moved, renamed, deleted, in folders that are new themselves."""
    librarian.turn()
    (share.folder / "Dupont" / "2026").mkdir(parents=True)
    (share.folder / "Dupont" / "2026" / "radio.dcm").write_bytes(b"1")
    settle(librarian, lambda: paths(settings, share, "radio") == ["Dupont/2026/radio.dcm"])
    (share.folder / "Dupont" / "2026").rename(share.folder / "Dupont" / "older")
    settle(librarian, lambda: paths(settings, share, "radio") == ["Dupont/older/radio.dcm"])
    (share.folder / "Dupont" / "older" / "scanner.dcm").write_bytes(b"1")
    settle(librarian, lambda: paths(settings, share, "scanner") == ["Dupont/older/scanner.dcm"])
    (share.folder / "Dupont").rename(share.folder / "Dupont-Petit")
    settle(librarian, lambda: paths(settings, share, "radio") == ["Dupont-Petit/older/radio.dcm"])
    (share.folder / "Dupont-Petit" / "older" / "irm.dcm").write_bytes(b"1")
    settle(librarian, lambda: paths(settings, share, "irm") == ["Dupont-Petit/older/irm.dcm"])
    shutil.rmtree(share.folder / "Dupont-Petit")
    settle(librarian, lambda: paths(settings, share, "dupont") == [])


def test_a_folder_moved_in_and_out_of_the_share(settings, share, librarian, tmp_path):
    """All it holds appears, then is gone, at once."""
    librarian.turn()
    outside = tmp_path / "outside"
    (outside / "deep" / "deeper").mkdir(parents=True)
    (outside / "deep" / "deeper" / "bilan.pages").write_bytes(b"1")
    outside.rename(share.folder / "in")
    settle(librarian, lambda: paths(settings, share, "bilan") == ["in/deep/deeper/bilan.pages"])
    (share.folder / "in" / "deep" / "deeper" / "second bilan.pages").write_bytes(b"1")
    settle(librarian, lambda: len(paths(settings, share, "bilan")) == 2)
    (share.folder / "in").rename(outside)
    settle(librarian, lambda: paths(settings, share, "bilan") == [])


def test_a_damaged_index_heals_while_it_is_used(settings, share, librarian):
    """A page overwritten under it: made again from the disk."""
    for number in range(300):
        (share.folder / f"radio {number}").write_bytes(b"1")
    settle(librarian, lambda: len(paths(settings, share, "radio")) == 50)
    kept = librarian._kept[share.id]
    kept.keeper.index.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = path_of(settings, share.id)
    with path.open("r+b") as file:
        for place in range(4096, path.stat().st_size, 4096):
            file.seek(place)
            file.write(b"\xff" * 4096)
    kept.keeper.index.connection.execute("PRAGMA shrink_memory")
    kept.keeper.look_at_all()
    settle(librarian, lambda: len(paths(settings, share, "radio")) == 50)
    assert find(settings, [share], "radio").unready == ()
    settle(librarian, lambda: librarian.is_settled)


def test_a_removed_share_keeps_no_index(settings, share, tmp_path):
    """What stood in its documents does not outlast it."""
    living = [share]
    librarian = Librarian(settings, lambda: list(living))
    librarian.turn()
    assert path_of(settings, share.id).exists()
    living.clear()
    librarian._shares_at = 0.0
    librarian.turn(patience_s=0)
    assert not path_of(settings, share.id).exists()
    librarian.close()


def test_somebody_may_ask_for_another_look(settings, share, monkeypatch):
    """The nightly comparison found a difference: the whole share is looked at."""
    librarian = Librarian(settings, lambda: [share])
    settle(librarian, lambda: path_of(settings, share.id).exists())
    kept = librarian._kept[share.id]
    kept.keeper.settle()
    kept.keeper.index.connection.execute("DELETE FROM entry WHERE id > 1")
    (share.folder / "radio").write_bytes(b"1")
    kept.keeper.settle()
    list(kept.watcher.news())  # lost
    wish_path(settings, share.id).touch()
    librarian._shares_at = 0.0
    settle(librarian, lambda: paths(settings, share, "radio") == ["radio"])
    assert not wish_path(settings, share.id).exists()
    librarian.close()


def test_news_that_were_lost_mean_a_look_at_everything(settings, share, monkeypatch):
    """An inotify queue that ran over: 16,384 events by default, here more at once."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip("the queue is longer here")
    librarian = Librarian(settings, lambda: [share], watcher=lambda _root: Inotify())
    settle(librarian, lambda: librarian.is_settled and bool(librarian._kept))
    probe = share.folder / "probe"
    for number in range(limit // 3 + 100):
        probe.write_bytes(b"1")
        probe.rename(share.folder / f"other {number % 2}")
    (share.folder / "the last radio").write_bytes(b"1")
    settle(librarian, lambda: paths(settings, share, "last radio") == ["the last radio"])
    librarian.close()


@pytest.fixture
def previews(settings) -> Iterator[None]:
    """The real sandboxed process of the previews."""
    from appliance.process import end_group, start
    from appliance.worker.service import PREVIEW_MAIN, child_environment

    settings.run.mkdir(parents=True, exist_ok=True)
    process = start([*PREVIEW_MAIN, "--data", str(settings.data)], env=child_environment())
    until = time.monotonic() + 90
    while not settings.preview_socket.exists() and time.monotonic() < until:
        time.sleep(0.05)
    yield
    process.terminate()
    end_group(process, grace_s=5)


def test_texts_are_read_by_the_sandbox_and_found(settings, share, previews):
    """Plain and office texts; a file that is none of what it says is passed over, the others go on."""
    from docx import Document

    document = Document()
    document.add_paragraph("Compte rendu : fracture du scaphoïde, cœur normal.")
    document.save(share.folder / "lettre.docx")
    (share.folder / "note.txt").write_text("Rappeler Mme Lefèvre pour la scintigraphie.")
    (share.folder / "broken.pdf").write_bytes(b"no pdf at all")
    librarian = Librarian(settings, lambda: [share])

    def found(words: str) -> list[str]:
        hits = find(settings, [share], words, place=Place.TEXTS).hits
        return [each.path.decode() for each in hits]

    settle(librarian, lambda: bool(librarian._kept) and librarian.is_settled, seconds=40)
    assert found("scaphoide") == ["lettre.docx"]
    assert found("LEFEVRE scintigr") == ["note.txt"]
    states = dict(
        librarian._kept[share.id].keeper.index.connection.execute(
            "SELECT CAST(name AS TEXT), text FROM entry WHERE id > 1"
        )
    )
    assert states == {"lettre.docx": 2, "note.txt": 2, "broken.pdf": 3}
    (share.folder / "note.txt").write_text("Autre texte.")
    settle(librarian, lambda: found("scintigraphie") == [] and found("autre") == ["note.txt"])
    (share.folder / "note.txt").unlink()
    settle(librarian, lambda: found("autre") == [])
    librarian.close()


def test_what_is_read_of_documents_follows_the_practices_choice(settings, share):
    """Chosen while it runs or while it is stopped: what another choice had read does not stay."""
    (share.folder / "image.dcm").write_bytes(b"\0" * 128 + b"DICM")
    (share.folder / "note.txt").write_text("Madame Lefèvre")
    chosen = [Searched()]

    def states() -> dict[str, bool]:
        """Return name → whether its text is read, or was tried."""
        index = librarian._kept[share.id].keeper.index
        return {
            name: text != 0
            for name, text in index.connection.execute(
                "SELECT CAST(name AS TEXT), text FROM entry WHERE id > 1"
            )
        }

    def follows(image: bool, note: bool) -> None:
        librarian._shares_at = float("-inf")  # it asks every few seconds
        settle(librarian, lambda: bool(librarian._kept))
        settle(librarian, lambda: states() == {"image.dcm": image, "note.txt": note})

    librarian = Librarian(settings, lambda: [share], searched=lambda: chosen[0])
    follows(image=False, note=True)
    chosen[0] = Searched(dicom=True)
    follows(image=True, note=True)
    chosen[0] = Searched(texts=False, dicom=True)
    follows(image=True, note=False)
    librarian.close()

    chosen[0] = Searched(texts=False)
    librarian = Librarian(settings, lambda: [share], searched=lambda: chosen[0])
    follows(image=False, note=False)
    librarian.close()


#: In a user namespace of its own the kernel gives three watches, or no queue at all.
_FEW = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.unit.disk.test_index_work import follow_with_few
Path(f"/proc/sys/user/{sys.argv[1]}").write_text(sys.argv[2])
follow_with_few(Path(sys.argv[3]))
"""


def follow_with_few(folder: Path) -> None:
    """Index a share of ten folders, find all of it, be blind, and find a new file at the next look."""
    from appliance.clock import utc_now
    from appliance.db.shares import Share
    from appliance.settings import Settings

    settings = Settings(data=folder / "data")
    settings.data.mkdir()
    share = Share(
        id=1, name="documents", label="Documents", folder=folder / "share", source_id=None,
        over_smb=False, over_dav=False, is_time_machine=False, bin_days=30, quota_bytes=None,
        used_bytes=0, created_at=utc_now(),
    )  # fmt: skip
    for number in range(10):
        (share.folder / f"folder{number}").mkdir(parents=True)
        (share.folder / f"folder{number}" / "letter.pages").write_bytes(b"1")
    told: list[frozenset[int]] = []
    librarian = Librarian(settings, lambda: [share], on_blind=told.append)
    try:
        settle(librarian, lambda: len(paths(settings, share, "letter")) == 10)
        settle(librarian, lambda: told[-1:] == [frozenset({1})])
        (share.folder / "folder9" / "radio.pages").write_bytes(b"1")
        wish_path(settings, 1).touch()  # what the quarter of an hour does, at once
        settle(librarian, lambda: paths(settings, share, "radio") != [])
    finally:
        librarian.close()
    print("FOLLOWED", told)


@pytest.mark.parametrize(
    ("limit", "most"), [("max_inotify_watches", "3"), ("max_inotify_instances", "0")]
)
def test_beyond_the_kernel_s_limit_nothing_is_lost_and_it_is_told(tmp_path, limit, most):
    """Too many folders for this machine: the search looks again by itself, and a page says why it is late."""
    import subprocess
    import sys

    own = subprocess.run(
        ["unshare", "--user", "--map-root-user", "true"], capture_output=True, check=False
    )
    if own.returncode != 0:
        pytest.skip("no user namespaces here")
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            sys.executable,
            "-c",
            _FEW,
            limit,
            most,
            str(tmp_path),
        ],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "FOLLOWED [frozenset({1})]" in done.stdout, done.stdout + done.stderr


def test_shares_that_are_watched_whole_are_not_told_of(settings, share):
    """Told once, with nothing."""
    told: list[frozenset[int]] = []
    librarian = Librarian(
        settings, lambda: [share], watcher=lambda _root: Inotify(), on_blind=told.append
    )
    librarian.turn()
    librarian.turn(patience_s=0.01)
    librarian.close()

    assert told == [frozenset()]
