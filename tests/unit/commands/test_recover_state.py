"""Root makes the box again; its files belong to the accounts that will run it."""

import os

import pytest

from appliance.commands import recover_state
from appliance.settings import Settings

NOBODY = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@needs_root
def test_everything_root_made_is_given_to_the_account_of_its_folder(tmp_path):
    """The worker cannot open a database of root's; the web interface not the worker's certificate."""
    data = tmp_path / "data"
    for name, owner in (("", 1234), ("tls", NOBODY), ("repositories", 1234)):
        (data / name).mkdir(exist_ok=True)
        os.chown(data / name, owner, owner)
    (data / "tls" / "key.pem").write_text("x")
    (data / "repositories" / "1" / "data").mkdir(parents=True)
    (data / "repositories" / "1" / "data" / "0").write_text("x")
    (data / "state.sqlite").write_text("x")
    (data / "state.sqlite").chmod(0o600)
    settings = Settings(data=data)

    recover_state.hand_over(data)

    assert (data / "tls" / "key.pem").stat().st_uid == NOBODY
    assert (data / "repositories" / "1" / "data" / "0").stat().st_uid == 1234
    assert (data / "state.sqlite").stat().st_uid == 1234
    assert (data / "state.sqlite").stat().st_mode & 0o777 == 0o660
    assert f"--reuid={NOBODY}" in recover_state.without_privileges(settings)


def test_one_account_for_all_keeps_what_it_has(tmp_path):
    """A box in a person's own folder."""
    (tmp_path / "state.sqlite").write_text("x")
    (tmp_path / "state.sqlite").chmod(0o600)

    recover_state.hand_over(tmp_path)

    assert (tmp_path / "state.sqlite").stat().st_mode & 0o777 == 0o600
    assert recover_state.without_privileges(Settings(data=tmp_path)) == ()
