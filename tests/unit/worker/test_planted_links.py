"""The web interface's account writes in folders of the box in which root's commands write too."""

import os

import pytest

from appliance.clock import utc_now
from appliance.commands import recover_state, setting_up
from appliance.errors import AlreadyRunning
from appliance.jobs import drill_scratch, recovery_status
from appliance.replication import recover_progress
from appliance.worker import locks


@pytest.fixture
def target(tmp_path):
    """A file of root's elsewhere."""
    made = tmp_path / "shadow"
    made.write_bytes(b"root's")
    made.chmod(0o600)
    return made


def is_untouched(target):
    return target.read_bytes() == b"root's" and target.stat().st_mode & 0o777 == 0o600


def test_a_lock_is_not_made_through_a_link(settings, tmp_path, target):
    """Neither an empty file elsewhere nor one that is cut."""
    run = settings.run
    run.mkdir()
    new = tmp_path / "nologin"
    (run / "worker.lock").symlink_to(new)
    (run / "drill.lock").symlink_to(new)
    with pytest.raises(OSError), locks.hold(run / "worker.lock"):
        pass
    with pytest.raises(OSError), drill_scratch._lock(settings, 0.0):
        pass
    (settings.data / ".recovery.lock").symlink_to(target)
    with pytest.raises(OSError), recover_progress.alone(settings.data):
        pass
    assert not new.exists()
    assert is_untouched(target)


def test_one_recovery_at_a_time(settings):
    """The second is told; after the first another may begin."""
    for _ in range(2):
        with recover_progress.alone(settings.data):
            with pytest.raises(AlreadyRunning), recover_progress.alone(settings.data):
                pass


def test_the_status_of_a_recovery_is_not_written_through_a_link(tmp_path, target):
    """What lies in its way is taken away."""
    place = tmp_path / "run" / "recovery.json"
    place.parent.mkdir()
    (place.parent / "recovery.json.new").symlink_to(target)

    now = utc_now()
    status = recovery_status.RecoveryStatus(
        recovery_status.Phase.STATE, now, now, place="usb", number=1, taken_at=now
    )
    recovery_status._write(place, status, is_safe=True)

    assert is_untouched(target)
    assert place.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_link_in_the_place_of_the_state_is_not_opened_to_the_group(tmp_path, target):
    """What a recovery made is given to the box's accounts, not what a link leads to."""
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 1234, 1234)
    (data / "state.sqlite").symlink_to(target)

    recover_state.hand_over(data)

    assert is_untouched(target)
    assert target.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root meets links of others there")
def test_a_box_is_not_made_through_links_of_others(settings, tmp_path):
    """`armoire init`, run by root: folders elsewhere keep their mode; an administrator's own link is followed."""
    etc = tmp_path / "etc"
    etc.mkdir()
    etc.chmod(0o755)
    settings.catalogues.symlink_to(etc)
    os.lchown(settings.catalogues, 65534, 65534)
    umask = os.umask(0o022)
    try:
        with pytest.raises(PermissionError):
            setting_up.prepare(settings, utc_now())
        assert etc.stat().st_mode & 0o777 == 0o755
        os.lchown(settings.catalogues, 0, 0)
        (settings.data / "state.sqlite").symlink_to(tmp_path / "nologin")
        with pytest.raises(OSError, match="symbolic links"):
            setting_up.prepare(settings, utc_now())
    finally:
        os.umask(umask)
    assert not (tmp_path / "nologin").exists()
