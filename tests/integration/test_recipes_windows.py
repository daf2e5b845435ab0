"""Windows' shadow copies and commands, on the simulated host (tests/support/windows.py says what it keeps)."""

import pytest

from appliance.backup_jobs import sftp
from appliance.backup_jobs.recipes import OWED, server_path
from appliance.errors import InvalidInput, JobCancelled, MachineError, RecipeFailed
from appliance.model import Consistency, System
from tests.integration.recipe_box import RecipeBox
from tests.support.windows import WindowsHost

pytestmark = pytest.mark.integration
ROOT = r"C:\Users\Médecin\Documents"


@pytest.fixture
def host():
    with WindowsHost() as one:
        one.write(ROOT + r"\boîte d'Élodie.pst", b"ouvert" * 1000)
        one.lock(ROOT + r"\boîte d'Élodie.pst")
        yield one
        assert one.not_simulated == []


@pytest.fixture
def box(settings, database, box_keys, host):
    return RecipeBox(settings, database, host, system=System.WINDOWS, roots=(ROOT,))


def clean(host, box) -> bool:
    return host.shadows_alive == [] and host.links_alive == [] and not box.facts.get(OWED)


def fetch(box, path: str) -> bytes:
    with sftp.connect(box.endpoint) as client:
        return b"".join(client.read_file(server_path(System.WINDOWS, path)))


def test_an_open_file_is_read_through_the_shadow_copy(host, box):
    """And stored where it belongs; the level says what it is worth."""
    box.use("windows-vss")
    with pytest.raises(sftp.SftpRefused):
        fetch(box, ROOT + r"\boîte d'Élodie.pst")

    with box.prepare() as prepared:
        assert prepared.consistency is Consistency.VSS_SIMPLE
        (read,) = prepared.roots
        assert read != ROOT
        assert prepared.stored_as == {read: ROOT}
        assert fetch(box, read + r"\boîte d'Élodie.pst") == b"ouvert" * 1000
        assert len(host.shadows_alive) == 1

    assert clean(host, box)


def test_each_volume_has_its_shadow_copy(host, database, settings, box_keys):
    """A drive of its own for the documents is usual."""
    host.add_drive("D")
    host.write(r"D:\Imagerie\a.dcm", b"x")
    box = RecipeBox(
        settings, database, host, system=System.WINDOWS, roots=(ROOT, r"D:\Imagerie", "D:/")
    )
    box.use("windows-vss")

    with box.prepare() as prepared:
        assert len(host.shadows_alive) == 2
        assert sorted(prepared.stored_as.values()) == sorted([ROOT, r"D:\Imagerie", "D:/"])
        read = next(one for one, stored in prepared.stored_as.items() if stored == r"D:\Imagerie")
        assert fetch(box, read + r"\a.dcm") == b"x"

    assert clean(host, box)


@pytest.mark.parametrize("error", [RuntimeError, JobCancelled])
def test_the_shadow_copy_is_removed_when_the_reading_fails(host, box, error):
    """Also when a person stopped the job: what was made is taken away first."""
    box.use("windows-vss")

    with pytest.raises(error), box.prepare():
        box.context.ask_stop()
        raise error

    assert clean(host, box)


@pytest.mark.parametrize("number_known", [True, False])
def test_what_a_killed_run_left_is_removed_by_the_next(host, box, number_known):
    """Even when it was killed before it had written the shadow copy's number down."""
    box.use("windows-vss")
    killed = box.prepare()
    killed.__enter__()  # and never left: the process is gone
    (left,) = host.shadows_alive
    if not number_known:
        from appliance.db import sources

        with box.database.write() as connection:
            owed = sources.facts(connection, box.source_id)[OWED]
            for each in owed.values():
                each["shadow"] = ""
            sources.set_facts(connection, box.source_id, {OWED: owed})

    with box.prepare():
        assert left not in host.shadows_alive
        assert len(host.shadows_alive) == 1

    assert clean(host, box)
    del killed


def test_the_line_cut_while_reading_leaves_it_for_the_next_run(host, box):
    """The program on the machine died with the line; the next run removes what it made."""
    box.use("windows-vss")
    with pytest.raises(MachineError), box.prepare() as prepared:
        host.offline = True
        host.cut()
        fetch(box, prepared.roots[0])
    assert len(host.shadows_alive) == 1
    assert box.facts[OWED]
    host.offline = False

    with box.prepare():
        pass

    assert clean(host, box)


def test_what_is_owed_is_settled_when_the_recipe_was_taken_off(host, box):
    """A person changed the source meanwhile; the shadow copy is removed all the same."""
    box.use("windows-vss")
    killed = box.prepare()
    killed.__enter__()
    from appliance.db import sources

    with box.database.write() as connection:
        sources.change(connection, box.source_id, recipes=())

    with box.prepare() as prepared:
        assert prepared.roots == (ROOT,)

    assert clean(host, box)
    del killed


def test_somebody_elses_shadow_copy_is_left_alone(host, box):
    """A restore point is not ours to remove."""
    theirs = host.disk.make_shadow("C", "ClientAccessible")
    box.use("windows-vss")

    with box.prepare():
        pass

    assert host.shadows_alive == [theirs.device]


@pytest.mark.parametrize("why", ["no space", "no right"])
def test_no_shadow_copy_fails_the_run(host, box, why):
    """The files are not read in their place: that would be worth less than was promised."""
    box.use("windows-vss")
    host.vss_failure = 6 if why == "no space" else 0
    host.admin = why != "no right"

    with pytest.raises(RecipeFailed) as raised, box.prepare():
        pass

    assert raised.value.step == "shadow copy"
    assert host.shadows_alive == []


def test_a_recipe_for_another_system_is_refused(box):
    """Before anything is sent."""
    box.use("sqlite", file="/x")

    with pytest.raises(InvalidInput), box.prepare():
        pass


def test_commands_run_before_and_after_on_windows(host, box):
    """In this order, and «after» also when the reading failed."""
    ran: list[str] = []
    host.programs["arret"] = lambda argv, _stdin: (ran.append("arret"), (0, "", ""))[1]
    host.programs["marche"] = lambda argv, _stdin: (ran.append("marche"), (0, "", ""))[1]
    box.use("commands", before="arret", after="marche", level="stopped")

    with pytest.raises(RuntimeError), box.prepare() as prepared:
        assert prepared.consistency is Consistency.STOPPED
        assert ran == ["arret"]
        assert box.facts[OWED]
        raise RuntimeError

    assert ran == ["arret", "marche"]
    assert not box.facts[OWED]


def test_a_failing_command_fails_the_run_on_windows(host, box):
    """Its exit code is obeyed; «after» runs all the same."""
    ran: list[str] = []
    host.programs["arret"] = lambda argv, _stdin: (3, "", "non")
    host.programs["marche"] = lambda argv, _stdin: (ran.append("marche"), (0, "", ""))[1]
    box.use("commands", before="arret", after="marche")

    with pytest.raises(RecipeFailed), box.prepare():
        pass

    assert ran == ["marche"]


def test_the_worst_level_counts(host, box):
    """Two recipes: the weaker one is what the snapshot is worth."""
    box.use("windows-vss")
    box.use("commands")

    with box.prepare() as prepared:
        assert prepared.consistency is Consistency.UNKNOWN


def test_nothing_of_a_value_reaches_the_command_line_in_clear(host, box):
    """cmd.exe and the process list see base64."""
    box.use("commands", before='Write-Output "& del C:\\ | ‘x’"')

    with box.prepare():
        pass

    assert not any("del C:" in line for line in host.commands)
    assert all(" -EncodedCommand " in line for line in host.commands if "powershell" in line)
