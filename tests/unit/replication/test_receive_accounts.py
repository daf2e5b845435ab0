"""Accounts of a receiving box."""

import stat

import pytest

from appliance.errors import AlreadyExists, InvalidInput, NotFound, SettingsInvalid
from appliance.replication.receive_accounts import FILE_NAME, Senders

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJm"


@pytest.fixture
def senders(tmp_path):
    return Senders(tmp_path)


def test_a_sender_is_found_by_its_id_and_by_another_reader_too(senders, tmp_path):
    made = senders.add("cabinet", name="Cabinet", public_key=f"{KEY} box@home", quota_bytes=10)

    assert made.public_key == KEY
    assert Senders(tmp_path).find("cabinet") == made
    assert senders.find("voisin") is None
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("wrong", ["", "..", "a/b", "A", "-a", "a" * 33, "a\nb", "é"])
def test_an_id_is_a_folders_name_and_nothing_else(senders, wrong):
    with pytest.raises(InvalidInput):
        senders.add(wrong, name="x", public_key=KEY, quota_bytes=10)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 nonsense",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==",
        KEY[:-4],
        KEY + "AAAA",
        KEY.replace("ssh-ed25519", "ssh-rsa"),
        'command="x" ' + KEY,
    ],
)
def test_only_the_public_half_of_an_ed25519_key_is_taken(senders, wrong):
    with pytest.raises(InvalidInput):
        senders.add("cabinet", name="x", public_key=wrong, quota_bytes=10)


def test_one_key_is_one_sender(senders):
    """Or two practices' copies would lie in one folder."""
    senders.add("cabinet", name="x", public_key=KEY, quota_bytes=10)

    with pytest.raises(AlreadyExists):
        senders.add("voisin", name="x", public_key=KEY, quota_bytes=10)
    with pytest.raises(AlreadyExists):
        senders.add("cabinet", name="x", public_key=OTHER, quota_bytes=10)
    with pytest.raises(InvalidInput):
        senders.add("voisin", name="x", public_key=OTHER, quota_bytes=0)


def test_a_quota_is_changed_and_an_account_taken_out(senders):
    senders.add("cabinet", name="x", public_key=KEY, quota_bytes=10)
    senders.set_quota("cabinet", 20)
    assert senders.find("cabinet").quota_bytes == 20

    senders.revoke("cabinet")

    assert senders.all() == []
    for act in (lambda: senders.revoke("cabinet"), lambda: senders.set_quota("cabinet", 1)):
        with pytest.raises(NotFound):
            act()


@pytest.mark.parametrize(
    "text", ["nonsense", "cabinet = 3", '[cabinet]\nname = "x"', f'[".."]\npublic_key = "{KEY}"']
)
def test_a_file_that_cannot_be_read_is_not_an_empty_one(senders, tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)

    with pytest.raises(SettingsInvalid):
        senders.all()
