"""Where a target lies is read strictly."""

import pytest

from appliance.errors import InvalidInput
from appliance.policy import place
from appliance.policy.place import SftpPlace


def test_what_is_stored_is_read_back() -> None:
    """Every kind comes back as it was stored."""
    for one in (
        place.DirectoryPlace("0" * 32, "/mnt/disk", is_removable=True),
        SftpPlace("host.example", "cabinet", 2022, "copies", "ssh-ed25519 AAAA"),
        place.BoxPlace("192.0.2.4", "cabinet"),
        place.S3Place("https://s3.example", "fr", "bucket", "", "COMPLIANCE", 30),
    ):
        kind = next(name for name, made in place.KINDS.items() if type(one) is made)
        assert place.parse(kind, place.to_stored(one)) == one


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("ftp", {}),
        ("sftp", {"host": "h"}),
        ("sftp", {"host": "h", "user": "u", "password": "x"}),
        ("sftp", {"host": "h", "user": "u", "port": "22"}),
        ("sftp", {"host": "h", "user": "u", "port": True}),
        ("sftp", {"host": "h", "user": "u", "port": 70000}),
        ("sftp", {"host": "a b", "user": "u"}),
        ("sftp", {"host": "h", "user": ""}),
        ("box", {"host": "h", "sender": "s", "connections": 0}),
        ("directory", {"disk_id": "../.."}),
        ("s3", {"endpoint": "http://s3.example", "region": "fr", "bucket": "b"}),
        ("s3", {"endpoint": "https://s3.example", "region": "fr", "bucket": "b", "lock_days": 3}),
    ],
)
def test_what_cannot_be_a_place_is_refused(kind: str, values: dict[str, object]) -> None:
    """A wrong kind, field, type or range changes nothing and is said."""
    with pytest.raises(InvalidInput):
        place.parse(kind, values)


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def test_a_host_key_has_the_fingerprint_that_ssh_keygen_shows():
    """People compare it with what their host wrote to them. (This is GitHub's, published.)"""
    assert place.fingerprint(KEY) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    assert place.fingerprint(f"{KEY} root@host") == place.fingerprint(KEY)


@pytest.mark.parametrize(
    "line", ["", "ssh-ed25519", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMq", "ssh-ed25519 %%%"]
)
def test_what_is_no_key_has_no_fingerprint(line):
    """Another kind in front of the same bytes is no key either."""
    with pytest.raises(InvalidInput):
        place.fingerprint(line)


def test_a_place_is_another_one_when_its_address_is():
    """More lines or a new key are the same spot; another folder, port or disk is not."""
    here = place.SftpPlace("a", "u", folder="x")

    assert place.is_same_spot(here, place.SftpPlace("a", "u", folder="x", connections=9))
    assert place.is_same_spot(here, place.SftpPlace("a", "u", folder="x", host_key=KEY))
    assert not place.is_same_spot(here, place.SftpPlace("a", "u", folder="y"))
    assert not place.is_same_spot(here, place.BoxPlace("a", "u", port=22))
    assert not place.is_same_spot(
        place.DirectoryPlace("ab" * 16, "/mnt"), place.DirectoryPlace("cd" * 16, "/mnt")
    )


def test_where_a_place_is_is_said_in_a_few_characters():
    """For lists: no secret, no port that goes without saying."""
    assert place.where(place.SftpPlace("h", "u", folder="./copies")) == "u@h/copies"
    assert place.where(place.SftpPlace("h", "u", 2022)) == "u@h:2022"
    assert place.where(place.BoxPlace("h", "nord")) == "nord@h:2222"
    assert place.where(place.DirectoryPlace("ab" * 16)) == "disk abababab"
    assert place.where(place.S3Place("https://s3", "gra", "b", "p/")) == "https://s3/b/p"


@pytest.mark.parametrize("country", ["fr", "FRA", "F"])
def test_a_country_is_two_capital_letters(country):
    """The region of a bucket we do not know, as a person declared it."""
    with pytest.raises(InvalidInput):
        place.parse(
            "s3", {"endpoint": "https://s3", "region": "x", "bucket": "b", "country": country}
        )
