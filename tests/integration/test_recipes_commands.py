"""Commands before and after, and the editor's own backup, through a real sshd."""

import os
import time
from contextlib import suppress
from datetime import timedelta

import psutil
import pytest

from appliance.backup_jobs.recipes import OWED
from appliance.clock import utc_now
from appliance.db import sources
from appliance.errors import InvalidInput, MachineError, RecipeFailed
from appliance.model import Consistency
from tests.integration.recipe_box import RecipeBox

pytestmark = pytest.mark.integration


@pytest.fixture
def diary(tmp_path):
    path = tmp_path / "journal d'essai"
    path.touch()
    return path


@pytest.fixture
def box(settings, database, box_keys, sshd):
    return RecipeBox(settings, database, sshd)


def write(diary, word: str) -> str:
    return f"""echo {word} >> "{diary}" """


def lines(diary, count: int = 0) -> list[str]:
    end = time.monotonic() + 60
    while len(diary.read_text().split()) < count and time.monotonic() < end:
        time.sleep(0.02)
    return diary.read_text().split()


def test_before_and_after_stand_around_the_reading(box, diary):
    """And nothing is owed any more."""
    box.use("commands", before=write(diary, "avant"), after=write(diary, "apres"), level="stopped")

    with box.prepare() as prepared:
        assert prepared.consistency is Consistency.STOPPED
        assert lines(diary) == ["avant"]
        assert box.facts[OWED]

    assert lines(diary) == ["avant", "apres"]
    assert not box.facts[OWED]


def test_after_runs_when_the_reading_failed(box, diary):
    """The reading's own error is what is told."""
    box.use("commands", before=write(diary, "avant"), after=write(diary, "apres"))

    with pytest.raises(ZeroDivisionError), box.prepare():
        raise ZeroDivisionError

    assert lines(diary) == ["avant", "apres"]


def test_after_runs_by_itself_when_the_line_is_cut(box, diary, sshd):
    """Nobody finds the practice's program stopped in the morning; the run has failed."""
    box.use("commands", before=write(diary, "avant"), after=write(diary, "apres"))

    with pytest.raises(MachineError), box.prepare():
        for process in sshd.sessions():
            with suppress(psutil.NoSuchProcess):
                if process.name() == "sshd":
                    process.kill()
        assert lines(diary, 2) == ["avant", "apres"]

    assert box.facts[OWED]  # not known to have run: the next run settles it once more
    with box.prepare():
        assert lines(diary) == ["avant", "apres", "apres", "avant"]
    assert not box.facts[OWED]


def test_a_failing_before_fails_the_run_and_after_still_runs(box, diary):
    """Nothing is read that is not consistent."""
    box.use("commands", before="exit 3", after=write(diary, "apres"))

    with pytest.raises(RecipeFailed) as raised, box.prepare():
        pytest.fail("it was read")

    assert raised.value.step == "before"
    assert lines(diary) == ["apres"]


def test_a_failing_after_fails_the_run(box, diary):
    """A service that does not start again is no detail."""
    box.use("commands", before=write(diary, "avant"), after="exit 4")

    with pytest.raises(RecipeFailed) as raised, box.prepare():
        pass

    assert raised.value.step == "after"
    assert box.facts[OWED]


def test_what_a_killed_run_owes_is_settled_first(box, diary):
    """Written down before it was owed."""
    box.use("commands", before=write(diary, "avant"), after=write(diary, "apres"))
    owed = {"after:commands": {"recipe": "commands", "values": dict(box.source.recipes[0].values)}}
    with box.database.write() as connection:
        sources.set_facts(connection, box.source_id, {OWED: owed})

    with box.prepare():
        assert lines(diary) == ["apres", "avant"]


def test_an_unknown_recipe_or_value_is_refused_before_anything_runs(box, diary):
    """Even when it is the second one."""
    box.use("commands", before=write(diary, "avant"))
    box.use("nothing-of-the-kind")

    with pytest.raises(InvalidInput), box.prepare():
        pass

    assert lines(diary) == []


def test_a_service_is_stopped_and_started_again(box, diary, sshd, tmp_path):
    """By its exact name. (A systemctl of the test's own: no systemd runs here.)"""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(f"""#!/bin/sh\nprintf '%s|' "$@" >> "{diary}"\n""")
    (programs / "sudo").write_text("""#!/bin/sh\nshift\nexec "$@"\n""")
    for path in programs.iterdir():
        path.chmod(0o755)
    sshd.stop_process()
    # The account's login shell may set a PATH of its own.
    command = f'env PATH="{programs}:/usr/bin:/bin" /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
    sshd._config = f"ForceCommand {command}"
    sshd.start()
    box.use("stopped-service", service="médi store@1.service")

    with box.prepare() as prepared:
        assert prepared.consistency is Consistency.STOPPED
        assert diary.read_text() == "stop|--|médi store@1.service|"

    assert diary.read_text().endswith("|start|--|médi store@1.service|")


# --- the editor's own backup -------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "sauvegardes"
    place.mkdir()
    for day in range(5):
        add(place, f"cabinet-{day}.bak", 1000 + day, timedelta(days=day, hours=2))
    return place


def add(place, name, size, age):
    path = place / name
    path.write_bytes(b"x" * size)
    at = (utc_now() - age).timestamp()
    os.utime(path, (at, at))
    return path


def test_a_good_backup_of_the_editor_is_taken(box, folder):
    """Its folder is read, even when nobody named it as a root."""
    box.use("editor-folder", folder=str(folder), names="*.bak")

    with box.prepare() as prepared:
        assert prepared.roots == ("/etc", str(folder))
        assert prepared.consistency is Consistency.DUMP


def test_a_folder_that_is_read_anyway_is_not_read_twice(settings, database, box_keys, sshd, folder):
    """One root inside another is one."""
    box = RecipeBox(settings, database, sshd, roots=(str(folder.parent),))
    box.use("editor-folder", folder=str(folder))

    with box.prepare() as prepared:
        assert prepared.roots == (str(folder.parent),)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("stale", "the editor's newest backup is older than 26 hours"),
        ("shrunk", "the editor's newest backup is less than half as large as usual"),
        ("empty", "the folder of the editor's backup holds no backup"),
        ("missing", "the folder cannot be read"),
    ],
)
def test_a_bad_backup_of_the_editor_fails_the_run(box, folder, change, reason):
    """Better known tonight than in the week of the fire."""
    match change:
        case "stale":
            (folder / "cabinet-0.bak").unlink()
            (folder / "cabinet-1.bak").unlink()
        case "shrunk":
            add(folder, "cabinet-new.bak", 400, timedelta(minutes=5))
        case "empty":
            for path in folder.iterdir():
                path.unlink()
        case "missing":
            folder = folder / "nowhere"
    box.use("editor-folder", folder=str(folder), names="*.BAK")

    with pytest.raises(RecipeFailed) as raised, box.prepare():
        pass

    assert raised.value.reason == reason


def test_the_editors_folder_needs_no_shell(settings, database, box_keys, sshd, folder):
    """A key that may only read files is enough."""
    box = RecipeBox(settings, database, sshd)
    keys = sshd.folder / "authorized_keys"
    keys.write_text(f'restrict,command="internal-sftp -R" {keys.read_text()}')
    box.use("editor-folder", folder=str(folder))

    with box.prepare() as prepared:
        assert str(folder) in prepared.roots
