"""What the worker writes for people who look after the box."""

import os

import pytest

from appliance.worker import log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves files of root behind")
def test_a_log_begun_by_root_is_the_workers_to_go_on_with(tmp_path):
    """«sudo armoire disk label» on a box: the next job writes to the same log."""
    from appliance.settings import Settings

    (tmp_path / "log").mkdir()
    os.chown(tmp_path / "log", 65534, 65534)

    with log.file_of(Settings(data=tmp_path), "jobs") as file:
        file.write(b"x")

    assert (tmp_path / "log" / "jobs.log").stat().st_uid == 65534
