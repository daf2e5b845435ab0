"""Settings come from one file and the environment; what is wrong is named."""

import pytest

from appliance.errors import SettingsInvalid
from appliance.settings import load


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    (tmp_path / "armoire.toml").write_text("listen_port = 9000\ntime_zone = 'Indian/Reunion'\n")

    found = load(tmp_path, {"ARMOIRE_LISTEN_PORT": "9001"})

    assert (found.listen_port, found.time_zone, found.worker_jobs) == (9001, "Indian/Reunion", 2)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("listen_port = ", "armoire.toml"),
        ("listen_prt = 1", "listen_prt"),
        ("listen_port = 'a'", "listen_port"),
        ("listen_port = true", "listen_port"),
        ("time_zone = 3", "time_zone"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, text, word):
    (tmp_path / "armoire.toml").write_text(text)

    with pytest.raises(SettingsInvalid) as raised:
        load(tmp_path, {})

    assert word in f"{raised.value}"


def test_the_data_folder_is_absolute(tmp_path, monkeypatch):
    """A daemon may change its folder."""
    monkeypatch.chdir(tmp_path)

    assert load(tmp_path.relative_to(tmp_path), {}).data.is_absolute()
