"""An S3 target on a real Ceph gateway: the contract, versions and Object Lock."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.errors import ObjectAlreadyThere, TargetRefuses
from appliance.replication.targets import s3 as s3_module
from appliance.replication.targets.s3 import S3Account, S3Target
from appliance.vault.secret import Secret
from tests.contract.target_contract import Place, TargetContract, content, sealed
from tests.support.delay import DelayProxy
from tests.support.s3 import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.integration

_buckets = iter(range(1_000_000))


@pytest.fixture
def server(s3_server):
    return s3_server


def account(server, bucket, **more):
    return S3Account(server.endpoint, bucket, ACCESS_KEY, Secret(SECRET_KEY.encode()), **more)


@pytest.fixture
def bucket(server):
    """A new bucket without versions."""
    name = f"box-{next(_buckets)}"
    S3Target(account(server, name)).client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def locked(server):
    """A new bucket with versions and Object Lock."""
    name = f"box-{next(_buckets)}"
    S3Target(account(server, name)).client.create_bucket(
        Bucket=name, ObjectLockEnabledForBucket=True
    )
    return name


class TestS3(TargetContract):
    """With versions: the oldest version of a name is the object."""

    @pytest.fixture
    def place(self, server, locked, monkeypatch):
        # Parts small enough that an upload of the suite has a middle.
        monkeypatch.setattr(s3_module, "PART_BYTES", 5 * 1024 * 1024)
        with DelayProxy(server.port, rtt_ms=0) as line:
            through = replace(account(server, locked), endpoint=f"http://127.0.0.1:{line.port}")

            def cut():
                line.refuse()
                line.cut()

            yield Place(lambda: S3Target(through, attempts=1), cut, line.accept)


def test_a_bucket_without_versions_is_written_once_too(server, bucket, tmp_path):
    target = S3Target(account(server, bucket, prefix="armoire/"))
    target.create("objects/one", sealed(tmp_path, b"one"))

    with pytest.raises(ObjectAlreadyThere):
        target.create("objects/one", sealed(tmp_path, b"two"))
    assert content(target, "objects/one") == b"one"
    assert [info.name for info in target.list()] == ["objects/one"]
    target.remove("objects/one")
    assert list(target.list()) == []


def test_whoever_overwrites_or_deletes_with_our_key_changes_nothing_we_read(
    server, locked, tmp_path
):
    """A box taken over tonight cannot harm what lies there: the first version is the object."""
    target = S3Target(account(server, locked))
    target.create("objects/one", sealed(tmp_path, b"first"))
    key = {"Bucket": locked, "Key": "objects/one"}

    target.client.put_object(**key, Body=b"encrypted by somebody")
    target.client.delete_object(**key)

    assert content(target, "objects/one") == b"first"
    assert [(info.name, info.size) for info in target.list()] == [("objects/one", 5)]


def test_a_locked_object_cannot_be_removed_and_its_time_only_grows(server, locked, tmp_path):
    until = datetime.now(UTC) + timedelta(days=2)
    target = S3Target(account(server, locked, lock_mode="COMPLIANCE"), retain_until=lambda: until)
    target.create("objects/one", sealed(tmp_path, b"one"))

    with pytest.raises(TargetRefuses):
        target.remove("objects/one")
    target.extend_retention("objects/one", until + timedelta(days=2))
    with pytest.raises(TargetRefuses):
        target.extend_retention("objects/one", until)
    assert content(target, "objects/one") == b"one"


def test_a_large_object_cut_between_parts_goes_on_with_the_next_part(
    server, locked, tmp_path, monkeypatch
):
    monkeypatch.setattr(s3_module, "PART_BYTES", 5 * 1024 * 1024)
    data = random.Random(5).randbytes(18_000_000)
    one = sealed(tmp_path, data)
    target = S3Target(account(server, locked))

    def cut(_count: int) -> None:
        raise ConnectionError

    with pytest.raises(Exception):
        target.create("objects/big", one, on_bytes=cut)
    assert target.stat("objects/big") is None
    again: list[int] = []
    target.create("objects/big", one, on_bytes=again.append)

    assert sum(again) == len(data) - 5 * 1024 * 1024
    assert content(target, "objects/big") == data


def test_a_wrong_key_is_said(server, locked):
    wrong = S3Account(server.endpoint, locked, ACCESS_KEY, Secret(b"wrong"))

    with pytest.raises(TargetRefuses):
        S3Target(wrong).stat("objects/one")


def test_the_list_goes_on_past_a_thousand(server, bucket):
    target = S3Target(account(server, bucket))
    for number in range(1005):
        target.client.put_object(Bucket=bucket, Key=f"objects/{number:05d}", Body=b"x")

    assert len(list(target.list())) == 1005
