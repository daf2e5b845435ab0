"""Ways to harm an object in a bucket. No setting of the bucket is left changed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from appliance.policy.immutability import Action
from appliance.replication.tamper_ways import HARM, Lost, Refused
from appliance.replication.targets.s3 import S3Target

#: Where canaries lie; the rule that is asked for names something else below it.
_BELOW: Final = "canary/never"
#: A canary whose lock ends sooner is of no use any more: after its end anything may be deleted anywhere.
LOCK_LEFT: Final = timedelta(days=1)
_ERASED: Final = "NoSuchLifecycleConfiguration"


class InBucket:
    """What our key may do in a bucket."""

    kind = "s3"
    leaves = frozenset({Action.OVERWRITE, Action.TRUNCATE, Action.DELETE})

    def __init__(self, target: S3Target) -> None:
        self._target = target
        self._client: Any = target.client
        self._bucket = target.bucket
        self.acts = {
            Action.LIFECYCLE: self._act(self._lifecycle),
            Action.SHORTEN_RETENTION: self._act(self._shorten),
            Action.OVERWRITE: self._act(lambda key: self._put(key, HARM)),
            Action.TRUNCATE: self._act(lambda key: self._put(key, b"")),
            Action.DELETE: self._act(
                lambda key: self._client.delete_object(Bucket=self._bucket, Key=key)
            ),
            Action.DELETE_VERSION: self._act(
                lambda key: self._client.delete_object(
                    Bucket=self._bucket, Key=key, **self._version(key)
                )
            ),
            Action.BYPASS_GOVERNANCE: self._act(
                lambda key: self._client.delete_object(
                    Bucket=self._bucket,
                    Key=key,
                    BypassGovernanceRetention=True,
                    **self._version(key),
                )
            ),
        }

    def is_usable(self, name: str, now: datetime) -> bool:
        """A canary whose lock is over would be deleted where others are not."""
        until = self._locked_until(self._target.key(name))
        return until is None or until - now > LOCK_LEFT

    def clean(self, name: str) -> None:
        """Remove the versions and markers an attempt laid over the canary; locked ones stay."""
        key = self._target.key(name)
        kept = self._version(key).get("VersionId")
        if kept is None:
            return
        with suppress(ClientError, BotoCoreError):
            found = self._client.list_object_versions(Bucket=self._bucket, Prefix=key)
            for each in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
                if each["Key"] == key and each["VersionId"] != kept:
                    with suppress(ClientError):
                        self._client.delete_object(
                            Bucket=self._bucket, Key=key, VersionId=each["VersionId"]
                        )

    def _act(self, act: Callable[[str], object]) -> Callable[[str], str]:
        def tried(name: str) -> str:
            with self._mapped():
                said = act(self._target.key(name))
            return said if isinstance(said, str) else "accepted"

        return tried

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(error.response.get("Error", {}).get("Code", status))
            if status >= 500 or code == "SlowDown":
                raise Lost(code) from error
            raise Refused(code) from error
        except (BotoCoreError, OSError) as error:
            raise Lost(type(error).__name__) from error

    def _put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data)

    def _version(self, key: str) -> dict[str, str]:
        """Name the oldest version: it is the object. Nothing where the bucket has no versions."""
        found = self._client.list_object_versions(Bucket=self._bucket, Prefix=key)
        versions = [each for each in found.get("Versions", []) if each["Key"] == key]
        oldest = min(
            versions, key=lambda each: (each["LastModified"], each["VersionId"]), default=None
        )
        if oldest is None or oldest["VersionId"] in {None, "null"}:
            return {}
        return {"VersionId": oldest["VersionId"]}

    def _locked_until(self, key: str) -> datetime | None:
        retention = self._retention(key)
        until: datetime | None = retention.get("RetainUntilDate")
        return until

    def _retention(self, key: str) -> dict[str, Any]:
        try:
            found = self._client.get_object_retention(
                Bucket=self._bucket, Key=key, **self._version(key)
            )
        except ClientError:
            return {}
        retention: dict[str, Any] = found.get("Retention", {})
        return retention

    def _shorten(self, key: str) -> str:
        """Ask for a shorter time, in its own mode and then in the weaker one.

        Never in the stronger one: a host may take that, and the canary would be another than before.
        """
        before = self._retention(key)
        until = before.get("RetainUntilDate")
        if until is None:
            return "unlocked"
        for mode in dict.fromkeys((before.get("Mode", "GOVERNANCE"), "GOVERNANCE")):
            with suppress(Refused), self._mapped():
                self._client.put_object_retention(
                    Bucket=self._bucket,
                    Key=key,
                    Retention={"Mode": mode, "RetainUntilDate": until - timedelta(hours=1)},
                    BypassGovernanceRetention=True,
                    **self._version(key),
                )
        after = self._locked_until(key)
        if after is None or after < until:
            return "unlocked: shortened"
        raise Refused("kept")

    def _lifecycle(self, key: str) -> str:
        """Ask for a rule no host may accept (two of one name): what it says tells whether we may set one.

        Nothing is changed where the host checks what it is given; where it takes anything, what was there is
        put back at once. The rule names nothing and is switched off. A rule cannot delete what is locked.
        """
        rule = {
            "ID": "armoire-tamper-test",
            "Filter": {"Prefix": self._target.key(_BELOW)},
            "Status": "Disabled",
            "Expiration": {"Days": 3650},
        }
        before = self._rules()
        try:
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket, LifecycleConfiguration={"Rules": [*(before or []), rule, rule]}
            )
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(error.response.get("Error", {}).get("Code", status))
            if status in {401, 403} or status >= 500 or code in {"NotImplemented", "AccessDenied"}:
                raise
            may = f"allowed ({code})"
        else:
            self._put_back(before)
            may = "accepted"
        return may if self._locked_until(key) is not None else f"unlocked: {may}"

    def _rules(self) -> list[dict[str, Any]] | None:
        try:
            found = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == _ERASED:
                return []
            return None  # we may not even look
        rules: list[dict[str, Any]] = found.get("Rules", [])
        return rules

    def _put_back(self, before: list[dict[str, Any]] | None) -> None:
        if before:
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket, LifecycleConfiguration={"Rules": before}
            )
        else:
            self._client.delete_bucket_lifecycle(Bucket=self._bucket)
