"""Secrets are never shown, and open only with the box's key."""

import pickle

import pytest

from appliance.errors import KeyMissing, SecretUnreadable
from appliance.process import run
from appliance.vault.seal import make_keys, seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal


def test_a_secret_never_shows_itself():
    secret = Secret(b"hunter2")

    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {secret:>20}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_what_is_sealed_opens_with_the_key_of_the_box_only(settings, box_keys, tmp_path):
    sealed = seal(Secret(b"phrase"), box_keys)

    assert b"phrase" not in sealed
    assert unseal("one", sealed, box_keys) == Secret(b"phrase")
    make_keys(tmp_path / "other")
    with pytest.raises(SecretUnreadable):
        unseal("one", sealed, tmp_path / "other")


def test_an_altered_secret_is_refused(box_keys):
    sealed = bytearray(seal(Secret(b"phrase"), box_keys))
    sealed[-1] ^= 1

    with pytest.raises(SecretUnreadable):
        unseal("one", bytes(sealed), box_keys)


def test_debians_age_opens_it_without_us(box_keys, tmp_path):
    """The format outlives the program."""
    (tmp_path / "sealed").write_bytes(seal(Secret(b"phrase"), box_keys))

    argv = ["age", "-d", "-i", str(box_keys / "box.key"), str(tmp_path / "sealed")]

    assert run(argv, timeout_s=20).stdout == "phrase"


def test_a_key_pair_is_made_once_and_half_of_one_is_completed(tmp_path):
    keys = tmp_path / "keys"
    make_keys(keys)
    private = (keys / "box.key").read_bytes()
    (keys / "box.pub").unlink()

    make_keys(keys)

    assert (keys / "box.key").read_bytes() == private
    assert (keys / "box.key").stat().st_mode & 0o777 == 0o600
    assert unseal("x", seal(Secret(b"a"), keys), keys) == Secret(b"a")


def test_without_a_key_nothing_is_sealed_or_opened(tmp_path):
    with pytest.raises(KeyMissing):
        seal(Secret(b"a"), tmp_path)
    with pytest.raises(KeyMissing):
        unseal("x", b"a", tmp_path)
