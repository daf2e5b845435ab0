"""Asking a bucket about itself, through the API, with the box's own credentials and with none.

Nothing is changed. Each question stands alone: one that is refused is unknown, and the others go on.
Source: Amazon S3 API reference 2006-03-01; seen on Ceph RGW 16.2, whose «IsPublic» is also true of a policy
for one named account, so the policy itself is read.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from appliance.errors import TargetUnreachable
from appliance.policy.bucket import REGIONS, Answer, BucketFacts, conformance
from appliance.replication.targets.s3 import S3Target

_EVERYBODY: Final = frozenset(
    {
        "http://acs.amazonaws.com/groups/global/AllUsers",
        "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
    }
)
_NONE_THERE: Final = frozenset(
    {
        "ObjectLockConfigurationNotFoundError",
        "NoSuchLifecycleConfiguration",
        "NoSuchBucketPolicy",
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchObjectLockConfiguration",
    }
)
#: What some endpoints say when they have no regions.
_NO_REGION: Final = frozenset({"", "default", "us-east-1"})
_YEAR_DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class BucketReport:
    """The conformance page of a bucket."""

    asked_at: datetime
    answers: tuple[Answer, ...]

    @property
    def body(self) -> dict[str, object]:
        """The proof's JSON."""
        return {each.name: each.state.value for each in self.answers}


def examine(
    target: S3Target,
    *,
    now: datetime,
    lock_mode: str = "",
    regions: Mapping[str, str] = REGIONS,
) -> BucketReport:
    """Ask every question and return the answers, each known or unknown.

    Args:
        target: the bucket, with the credentials the box sends with.
        now: aware UTC.
        lock_mode: what the box gives new objects.
        regions: region → country.

    Raises:
        TargetUnreachable: the host does not answer at all.
    """
    facts = read_facts(target)
    return BucketReport(now, tuple(conformance(facts, lock_mode=lock_mode, regions=regions)))


def read_facts(target: S3Target) -> BucketFacts:
    """Return what the host says about the bucket.

    Raises:
        TargetUnreachable: it does not answer at all.
    """
    asker = _Asker(target)
    has_lock, mode, days = asker.lock()
    facts = BucketFacts(
        has_lock=has_lock,
        default_lock_mode=mode,
        default_lock_days=days,
        versioning=asker.versioning(),
        ending_rules=asker.ending_rules(),
        public_by=asker.public_by(),
        region=asker.region(),
        encryption=asker.encryption(),
    )
    if not asker.answered:
        raise TargetUnreachable(target.label, "the host does not answer")
    return facts


class _Asker:
    def __init__(self, target: S3Target) -> None:
        self._client: Any = target.client
        self._bucket = target.bucket
        self._region = target.region
        self._endpoint = str(target.client.meta.endpoint_url)
        self.answered = False

    def _ask(self, question: Callable[..., Any], **more: object) -> dict[str, Any] | None:
        """Return the answer, an empty one for «there is none», None when it was not given."""
        try:
            answer: dict[str, Any] = question(Bucket=self._bucket, **more)
        except ClientError as error:
            self.answered = True
            code = str(error.response.get("Error", {}).get("Code", ""))
            return {} if code in _NONE_THERE else None
        except (BotoCoreError, OSError):
            return None
        self.answered = True
        return answer

    def lock(self) -> tuple[bool | None, str, int]:
        answer = self._ask(self._client.get_object_lock_configuration)
        if answer is None:
            return None, "", 0
        found = answer.get("ObjectLockConfiguration", {})
        rule = found.get("Rule", {}).get("DefaultRetention", {})
        days = rule.get("Days", 0) or rule.get("Years", 0) * _YEAR_DAYS
        return found.get("ObjectLockEnabled") == "Enabled", rule.get("Mode", ""), days

    def versioning(self) -> str | None:
        answer = self._ask(self._client.get_bucket_versioning)
        return None if answer is None else str(answer.get("Status", ""))

    def ending_rules(self) -> tuple[str, ...] | None:
        answer = self._ask(self._client.get_bucket_lifecycle_configuration)
        if answer is None:
            return None
        return tuple(
            str(rule.get("ID", "?"))
            for rule in answer.get("Rules", [])
            if rule.get("Status") == "Enabled"
            and any(
                rule.get(what)
                for what in (
                    "Expiration",
                    "NoncurrentVersionExpiration",
                    "Transitions",
                    "NoncurrentVersionTransitions",
                )
            )
        )

    def public_by(self) -> tuple[str, ...] | None:
        """Return the ways in for strangers. A stranger really knocks; what is set up is read where we may."""
        ways: list[str] = []
        stranger = self._stranger_comes_in()
        acl = self._ask(self._client.get_bucket_acl)
        if acl is not None and any(
            grant.get("Grantee", {}).get("URI") in _EVERYBODY for grant in acl.get("Grants", [])
        ):
            ways.append("acl")
        policy = self._ask(self._client.get_bucket_policy)
        if policy and _is_for_everybody(str(policy.get("Policy", ""))):
            ways.append("policy")
        if stranger:
            ways.append("anyone")
        if not ways and stranger is None:
            return None
        return tuple(ways)

    def _stranger_comes_in(self) -> bool | None:
        client = boto3.client(
            "s3",
            endpoint_url=self._endpoint,
            region_name=self._region,
            config=Config(
                signature_version=UNSIGNED,
                connect_timeout=20,
                read_timeout=20,
                retries={"max_attempts": 1, "mode": "standard"},
                s3={"addressing_style": "path"},
            ),
        )
        try:
            client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return False if status in {401, 403} else None
        except (BotoCoreError, OSError):
            return None
        else:
            return True
        finally:
            client.close()

    def region(self) -> str | None:
        answer = self._ask(self._client.get_bucket_location)
        if answer is None:
            return None
        said = str(answer.get("LocationConstraint") or "")
        if said == "EU":  # the oldest buckets of Ireland
            return "eu-west-1"
        if said.lower() in _NO_REGION:
            # Amazon says nothing of its first region; others say so because they have none.
            return "us-east-1" if ".amazonaws.com" in self._endpoint else ""
        return said

    def encryption(self) -> str | None:
        answer = self._ask(self._client.get_bucket_encryption)
        if answer is None:
            return None
        rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        how = [
            str(rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", ""))
            for rule in rules
        ]
        return next((each for each in how if each), "")


def _is_for_everybody(policy: str) -> bool:
    with suppress(ValueError, AttributeError, TypeError):
        statements = json.loads(policy).get("Statement", [])
        for each in [statements] if isinstance(statements, dict) else statements:
            who = each.get("Principal")
            named = who.get("AWS") if isinstance(who, dict) else who
            everybody = "*" in (named if isinstance(named, list) else [named])
            if each.get("Effect") == "Allow" and everybody:
                return True
        return False
    return True  # a policy that cannot be read is not a closed door
