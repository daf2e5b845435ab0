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
