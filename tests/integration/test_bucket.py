"""A bucket of a real Ceph: asked about itself, tampered with, and pushed to before a take-over."""

import itertools
import json
import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.db import targets
from appliance.errors import TargetUnreachable
from appliance.policy.bucket import State
from appliance.policy.immutability import EXPECTED, Action, Outcome
from appliance.replication import fetch, manifest, plan, push
from appliance.replication.conformance import examine
from appliance.replication.tamper import tamper_test
from appliance.replication.targets.s3 import S3Account, S3Target
from appliance.vault import words
from appliance.vault.secret import Secret
from tests.contract.target_contract import content, sealed
from tests.support.s3 import ACCESS_KEY, SECRET_KEY
from tests.support.sshd import free_port

pytestmark = pytest.mark.integration

_names = itertools.count()
SEND_ONLY = [
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:PutObject",
    "s3:PutObjectRetention",
    "s3:GetObjectRetention",
    "s3:GetBucketObjectLockConfiguration",
]


def now() -> datetime:
    return datetime.now(UTC)


def in_two_days() -> datetime:
    return now() + timedelta(days=2)


class Bucket:
    def __init__(self, server, *, locked: bool) -> None:
        self.server = server
        self.name = f"place-{next(_names)}"
        self.owner = self.target().client
        self.owner.create_bucket(Bucket=self.name, ObjectLockEnabledForBucket=locked)

    def target(self, *, lock_mode: str = "", key: str = ACCESS_KEY, secret: str = SECRET_KEY):
        account = S3Account(
            self.server.endpoint, self.name, key, Secret(secret.encode()), lock_mode=lock_mode
        )
        return S3Target(account, retain_until=in_two_days if lock_mode else None)

    def let_in(self, user: str, actions: list[str]) -> None:
        self.policy({"AWS": [f"arn:aws:iam:::user/{user}"]}, actions)

    def policy(self, who, actions) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": who,
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{self.name}", f"arn:aws:s3:::{self.name}/*"],
        }
        text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.owner.put_bucket_policy(Bucket=self.name, Policy=text)


@pytest.fixture
def locked(s3_server):
    return Bucket(s3_server, locked=True)


@pytest.fixture
def plain(s3_server):
    return Bucket(s3_server, locked=False)


@pytest.fixture(scope="session")
def sender(s3_server):
    """An account of the host that owns nothing: what it may do, a bucket's policy says."""
    s3_server._run(
        "radosgw-admin",
        "user",
        "create",
        "--uid=sender",
        "--display-name=sender",
        "--access-key=SENDER",
        "--secret=SENDERSECRET",
    )
    return {"key": "SENDER", "secret": "SENDERSECRET"}


def outcomes(result) -> dict[Action, Outcome]:
    return {each.action: each.outcome for each in result.attempts}


# --- tamper test ----------------------------------------------------------------------------------


def test_a_bucket_without_lock_can_be_emptied_with_our_key_and_it_is_said(plain, tmp_path):
    rule = {
        "ID": "half-uploads",
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    plain.owner.put_bucket_lifecycle_configuration(
        Bucket=plain.name, LifecycleConfiguration={"Rules": [rule]}
    )
    target = plain.target()
    target.create("objects/one", sealed(tmp_path, b"one"))

    result = tamper_test(target, spool=tmp_path / "spool", now=now())

    assert not result.is_immutable
    assert outcomes(result) == dict.fromkeys(EXPECTED["s3"], Outcome.DONE)
    assert content(target, "objects/one") == b"one"
    found = plain.owner.get_bucket_lifecycle_configuration(Bucket=plain.name)["Rules"]
    assert [each["ID"] for each in found] == ["half-uploads"]


def test_a_compliance_lock_keeps_the_object_whatever_our_key_does(locked, tmp_path):
    """Even the bucket's owner: writing over it and deleting it only lay something on top."""
    target = locked.target(lock_mode="COMPLIANCE")
    target.create("objects/one", sealed(tmp_path, b"one"))

    first = tamper_test(target, spool=tmp_path / "spool", now=now())
    second = tamper_test(target, spool=tmp_path / "spool", now=now())

    assert first.is_immutable, first.attempts
    assert second.is_immutable
    found = outcomes(first)
    for action in (Action.DELETE_VERSION, Action.BYPASS_GOVERNANCE, Action.SHORTEN_RETENTION):
        assert found[action] is Outcome.REFUSED
    for action in (Action.DELETE, Action.OVERWRITE, Action.TRUNCATE, Action.LIFECYCLE):
        assert found[action] is Outcome.WITHOUT_EFFECT
    assert sorted(info.name for info in target.list()) == ["canary/0000000001", "objects/one"]
    versions = target.client.list_object_versions(Bucket=locked.name, Prefix="canary/")
    assert len(versions["Versions"]) == 1
    assert "DeleteMarkers" not in versions
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        target.client.get_bucket_lifecycle_configuration(Bucket=locked.name)


def test_an_account_that_may_only_send_is_refused_outright(locked, sender, tmp_path):
    locked.let_in("sender", SEND_ONLY)
    target = locked.target(lock_mode="COMPLIANCE", **sender)

    result = tamper_test(target, spool=tmp_path / "spool", now=now())

    assert result.is_immutable, result.attempts
    found = outcomes(result)
    for action in (Action.LIFECYCLE, Action.DELETE, Action.DELETE_VERSION):
        assert found[action] is Outcome.REFUSED


def test_a_governance_lock_is_gone_around_by_the_owners_key(locked, tmp_path):
    target = locked.target(lock_mode="GOVERNANCE")

    result = tamper_test(target, spool=tmp_path / "spool", now=now())

    assert not result.is_immutable
    assert Action.BYPASS_GOVERNANCE in result.judgement.done
    assert Action.SHORTEN_RETENTION in result.judgement.done


def test_versions_without_a_lock_are_deleted_by_our_key(locked, tmp_path):
    """The bucket could lock, the box asks for none."""
    result = tamper_test(locked.target(), spool=tmp_path / "spool", now=now())

    assert not result.is_immutable
    assert Action.DELETE_VERSION in result.judgement.done


def test_a_lifecycle_rule_deletes_what_is_free_and_not_what_is_locked(locked, tmp_path):
    """Why a rule our key may set is without effect on a locked object: the host's own sweep is run."""
    locked.target().create("objects/free", sealed(tmp_path, b"free"))
    locked.target(lock_mode="COMPLIANCE").create("objects/kept", sealed(tmp_path, b"kept"))
    rule = {
        "ID": "everything",
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "Expiration": {"Days": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    locked.owner.put_bucket_lifecycle_configuration(
        Bucket=locked.name, LifecycleConfiguration={"Rules": [rule]}
    )
    end = time.monotonic() + 180
    while locked.target().stat("objects/free") is not None and time.monotonic() < end:
        # First markers over what is current, then what is under them; a second is a day here.
        time.sleep(1.5)
        locked.server._run(
            "radosgw-admin", "lc", "process", "--bucket", locked.name, "--rgw-lc-debug-interval=1"
        )

    assert locked.target().stat("objects/free") is None
    assert content(locked.target(), "objects/kept") == b"kept"


# --- conformance ----------------------------------------------------------------------------------


def states(target, **more) -> dict[str, State]:
    return {each.name: each.state for each in examine(target, now=now(), **more).answers}


def test_a_locked_bucket_is_asked_about_itself(locked):
    """Ceph has no region: that stays a question to the person, unless they say what «default» is."""
    found = states(locked.target(), lock_mode="COMPLIANCE")

    assert found == {
        "lock": State.OK,
        "versioning": State.OK,
        "lifecycle": State.OK,
        "public-access": State.OK,
        "region": State.UNKNOWN,
        "encryption": State.OK,
    }
    assert states(locked.target())["lock"] is State.BAD


def test_a_plain_bucket_has_its_faults_named(plain):
    rule = {
        "ID": "tidy",
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "Expiration": {"Days": 30},
    }
    plain.owner.put_bucket_lifecycle_configuration(
        Bucket=plain.name, LifecycleConfiguration={"Rules": [rule]}
    )
    plain.owner.put_bucket_acl(Bucket=plain.name, ACL="public-read")

    report = examine(plain.target(), now=now())

    found = {each.name: each for each in report.answers}
    for name in ("lock", "versioning", "lifecycle", "public-access"):
        assert found[name].state is State.BAD, name
    assert "tidy" in found["lifecycle"].words("fr")
    assert "acl, anyone" in found["public-access"].words("fr")
    assert report.body["lifecycle"] == "bad"


def test_a_policy_for_everybody_is_seen_and_one_for_an_account_is_not_taken_for_it(plain, sender):
    plain.policy("*", ["s3:GetObject"])
    assert states(plain.target())["public-access"] is State.BAD

    plain.let_in("sender", SEND_ONLY)
    assert states(plain.target())["public-access"] is State.OK


def test_what_an_account_may_not_ask_is_unknown(locked, sender):
    locked.let_in("sender", SEND_ONLY)

    found = states(locked.target(**sender), lock_mode="COMPLIANCE")

    assert found["lock"] is State.OK
    assert found["versioning"] is State.UNKNOWN
    assert found["lifecycle"] is State.UNKNOWN
    assert found["public-access"] is State.OK


def test_a_bucket_that_locks_by_itself_for_a_day_is_told_apart_from_one_that_does_so_for_a_month(
    locked,
):
    for days, state in ((1, State.BAD), (30, State.OK)):
        locked.owner.put_object_lock_configuration(
            Bucket=locked.name,
            ObjectLockConfiguration={
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": days}},
            },
        )
        assert states(locked.target())["lock"] is state


def test_a_host_that_does_not_answer_is_said(tmp_path):
    nobody = S3Account(f"http://127.0.0.1:{free_port()}", "place", "KEY", Secret(b"secret"))

    with pytest.raises(TargetUnreachable):
        examine(S3Target(nobody, attempts=1), now=now())


# --- a box that was taken over tonight ---------------------------------------------------------------


def test_a_box_taken_over_tonight_cannot_harm_what_is_locked(locked, database, tmp_path):
    """With the bucket owner's key: a real push, then everything is deleted and written over."""
    secret, key = Secret(bytes(range(16))), Ed25519PrivateKey.generate()
    chance = random.Random(17)
    files = []
    for number in range(4):
        path = tmp_path / "moment" / "1" / "data" / "0" / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(30_000))
        facts = path.stat()
        files.append(plan.LocalFile(1, f"data/0/{number}", facts.st_size, facts.st_mtime_ns))
    with database.write() as connection:
        target_id = targets.add(
            connection, name="s3", label="S3", kind="s3", place={}, now=now()
        ).id
    push.push(
        database,
        target_id,
        box=push.Box("box-1", words.recipient(secret), key),
        moment=push.Moment(
            now(),
            tmp_path / "moment",
            tuple(files),
            (manifest.CopiedRepository(1, "a" * 64, "accueil", "Accueil", "pulled"),),
        ),
        line=push.Line(lambda: locked.target(lock_mode="COMPLIANCE")),
        spool=tmp_path / "spool",
        now=now,
    )
    versions = locked.owner.list_object_versions(Bucket=locked.name)["Versions"]
    for each in versions:
        place = {"Bucket": locked.name, "Key": each["Key"]}
        locked.owner.put_object(**place, Body=b"encrypted by somebody")
        locked.owner.delete_object(**place)
        with pytest.raises(ClientError):
            locked.owner.delete_object(
                **place, VersionId=each["VersionId"], BypassGovernanceRetention=True
            )

    target = locked.target()
    found = fetch.survey(target, signer=key.public_key(), box_id="box-1", kept=(1,))
    one = fetch.open_generation(
        target, found.generations[0], identity=words.identity(secret), signer=key.public_key()
    )
    fetch.fetch_repository(target, one, 1, tmp_path / "back", identity=words.identity(secret))

    assert found.faults == ()
    assert fetch.missing_objects(target, one) == []
    for number in range(4):
        assert (tmp_path / "back/data/0" / str(number)).read_bytes() == (
            tmp_path / "moment/1/data/0" / str(number)
        ).read_bytes()
