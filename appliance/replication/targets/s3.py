"""An S3 host as a target: any compatible endpoint, versions and Object Lock where the bucket has them.

Objects are written once. Where the bucket keeps versions, the *oldest* version of a name is the object:
whoever overwrites or deletes with our key afterwards changes nothing of what we read or list. Where it
does not, a name is looked at before it is written, and names are random.
Source: Amazon S3 API reference 2006-03-01; boto3 1.44; seen on Ceph RGW 16.2.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from appliance.errors import (
    InvalidInput,
    ObjectAlreadyThere,
    ObjectMissing,
    TargetFull,
    TargetListUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.replication.target import (
    BLOCK_BYTES,
    ObjectInfo,
    SealedFile,
    check_name,
    ignore_bytes,
)
from appliance.vault.secret import Secret

#: Larger objects go in parts of this size; S3 allows 10,000 parts of at least 5 MiB. Each connection holds one.
PART_BYTES: Final = 16 * 1024 * 1024
CONNECT_S: Final = 20  # seconds
STALL_S: Final = 60  # seconds without a byte until the line counts as cut
#: How long a host may take to show in its list what it said it has: some are behind.
SHOWN_AFTER_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})
_TAKEN: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
_FULL: Final = frozenset({"QuotaExceeded", "EntityTooLarge", "InsufficientStorage", "507"})
#: Signatures of a clock a quarter of an hour off are refused. It is set right by itself once there is a network.
_SKEWED: Final = "RequestTimeTooSkewed"
_LATER: Final = frozenset(
    {
        "SlowDown",
        "ServiceUnavailable",
        "InternalError",
        "RequestTimeout",
        "500",
        "502",
        "503",
        "504",
    }
)


@dataclass(frozen=True, slots=True)
class S3Account:
    """How a bucket is reached."""

    endpoint: str  # https://…
    bucket: str
    access_key: str
    secret_key: Secret
    region: str = "us-east-1"  # what most compatible endpoints expect when they have none
    prefix: str = ""  # before every name, ends with «/» when given
    lock_mode: str = ""  # COMPLIANCE, GOVERNANCE or none


class S3Target:
    """Objects in a bucket; keeps the promises of ``Target``."""

    def __init__(
        self,
        account: S3Account,
        *,
        retain_until: Callable[[], datetime] | None = None,
        attempts: int = 5,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            account: where and as whom.
            retain_until: aware time until which a new object must be kept (Object Lock).
            attempts: tries of one request, with growing pauses.
        """
        self._account = account
        self._retain_until = retain_until
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=account.endpoint,
            aws_access_key_id=account.access_key,
            aws_secret_access_key=account.secret_key.reveal().decode("ascii"),
            region_name=account.region,
            config=Config(
                signature_version="s3v4",
                connect_timeout=CONNECT_S,
                read_timeout=STALL_S,
                retries={"max_attempts": attempts, "mode": "standard"},
                s3={"addressing_style": "path"},
                # Content-MD5 is understood everywhere; trailing checksums are not (Ceph 16).
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                tcp_keepalive=True,
            ),
        )

    @property
    def label(self) -> str:
        """«s3 bucket»."""
        return f"s3 {self._account.bucket}"

    @property
    def client(self) -> Any:  # noqa: ANN401 - boto3 has no types of its own
        """The client, for what is asked about the bucket itself (conformance, tamper test)."""
        return self._client

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._account.bucket

    @property
    def region(self) -> str:
        """The region the account was set up with."""
        return self._account.region

    def key(self, name: str) -> str:
        """Return the key of an object in the bucket."""
        return self._account.prefix + check_name(name)

    def create(
        self, name: str, sealed: SealedFile, *, on_bytes: Callable[[int], None] = ignore_bytes
    ) -> None:
        """As ``Target.create``: whole requests and multipart uploads exist whole or not at all."""
        key = self.key(name)
        with self._mapped("create", name):
            if self._oldest(key) is not None:
                raise ObjectAlreadyThere(self.label, name)
            if sealed.size <= PART_BYTES:
                version = self._put_whole(key, sealed)
                on_bytes(sealed.size)
            else:
                version = self._put_parts(key, sealed, on_bytes)
            oldest = self._shown(key)
            if version not in {None, "null"} and oldest["VersionId"] != version:
                # Somebody was quicker; theirs is the object, ours is taken back where that is allowed.
                with suppress(ClientError):
                    self._client.delete_object(
                        Bucket=self._account.bucket, Key=key, VersionId=version
                    )
                raise ObjectAlreadyThere(self.label, name)

    def read(self, name: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As ``Target.read``."""
        key = self.key(name)
        with self._mapped("read", name):
            oldest = self._oldest(key)
            if oldest is None:
                raise ObjectMissing(self.label, name)
            end = oldest["Size"] if length is None else min(oldest["Size"], offset + length)
            if offset >= end:
                return
            found = self._client.get_object(
                Bucket=self._account.bucket,
                Key=key,
                Range=f"bytes={offset}-{end - 1}",
                **_version(oldest),
            )
            left = end - offset
            for block in found["Body"].iter_chunks(BLOCK_BYTES):
                left -= len(block)
                yield block
            if left:
                raise TargetUnreachable(self.label, "the object ended early")

    def stat(self, name: str) -> ObjectInfo | None:
        """As ``Target.stat``."""
        with self._mapped("stat", name):
            oldest = self._oldest(self.key(name))
            return None if oldest is None else ObjectInfo(name, oldest["Size"])

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """As ``Target.list``: from the versions, so that a delete marker hides nothing."""
        found: dict[str, dict[str, Any]] = {}
        try:
            with self._mapped("list", prefix):
                for each in self._versions(self._account.prefix + prefix):
                    name = each["Key"][len(self._account.prefix) :]
                    known = found.get(name)
                    if known is None or each["LastModified"] <= known["LastModified"]:
                        found[name] = each
        except (TargetUnreachable, TargetRefuses, ObjectMissing) as error:
            raise TargetListUnreadable(
                self.label, getattr(error, "reason", "no such bucket")
            ) from error
        for name, each in found.items():
            with suppress(InvalidInput):  # not one of ours
                yield ObjectInfo(check_name(name), each["Size"])

    def remove(self, name: str) -> None:
        """As ``Target.remove``: every version of the name."""
        key = self.key(name)
        with self._mapped("remove", name):
            for each in list(self._versions(key)):
                if each["Key"] == key:
                    self._client.delete_object(
                        Bucket=self._account.bucket, Key=key, **_version(each)
                    )

    def free_bytes(self) -> int | None:
        """As ``Target.free_bytes``: S3 does not say."""
        return None

    def close(self) -> None:
        """As ``Target.close``."""
        self._client.close()

    def extend_retention(self, name: str, until: datetime) -> None:
        """Keep an object locked until then; a shorter time than it has is refused by the host.

        Raises:
            TargetRefuses: the bucket has no lock, or the time is shorter.
            ObjectMissing: there is none of this name.
        """
        key = self.key(name)
        with self._mapped("extend retention", name):
            oldest = self._oldest(key)
            if oldest is None:
                raise ObjectMissing(self.label, name)
            self._client.put_object_retention(
                Bucket=self._account.bucket,
                Key=key,
                Retention={"Mode": self._account.lock_mode, "RetainUntilDate": until},
                **_version(oldest),
            )

    # --- requests -----------------------------------------------------------------------------

    def _lock(self) -> dict[str, Any]:
        if not self._account.lock_mode or self._retain_until is None:
            return {}
        return {
            "ObjectLockMode": self._account.lock_mode,
            "ObjectLockRetainUntilDate": self._retain_until(),
        }

    def _put_whole(self, key: str, sealed: SealedFile) -> str | None:
        with sealed.path.open("rb") as file:
            digest = hashlib.file_digest(file, _md5).digest()
            file.seek(0)
            answer = self._client.put_object(
                Bucket=self._account.bucket,
                Key=key,
                Body=file,
                ContentMD5=base64.b64encode(digest).decode("ascii"),
                ContentType="application/octet-stream",
                Metadata={"sha256": sealed.sha256},
                # Where the host knows it: a request whose answer was lost is not done twice.
                IfNoneMatch="*",
                **self._lock(),
            )
        tag = answer.get("ETag", "").strip('"')
        if len(tag) == 32 and tag != digest.hex():
            raise TargetUnreachable(self.label, "the host kept other bytes than were sent")
        version: str | None = answer.get("VersionId")
        return version

    def _put_parts(
        self, key: str, sealed: SealedFile, on_bytes: Callable[[int], None]
    ) -> str | None:
        upload = self._going_on(key, sealed)
        place = {"Bucket": self._account.bucket, "Key": key, "UploadId": upload}
        there = {
            part["PartNumber"]: (part["Size"], part["ETag"])
            for page in self._client.get_paginator("list_parts").paginate(**place)
            for part in page.get("Parts", [])
        }
        parts = []
        with sealed.path.open("rb") as file:
            number = 0
            while data := file.read(PART_BYTES):
                number += 1
                digest = hashlib.md5(data, usedforsecurity=False)
                tag = f'"{digest.hexdigest()}"'
                if there.get(number) != (len(data), tag):
                    answer = self._client.upload_part(
                        **place,
                        PartNumber=number,
                        Body=data,
                        ContentMD5=base64.b64encode(digest.digest()).decode("ascii"),
                    )
                    tag = answer["ETag"]
                    on_bytes(len(data))
                parts.append({"PartNumber": number, "ETag": tag})
        answer = self._client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        version: str | None = answer.get("VersionId")
        return version

    def _going_on(self, key: str, sealed: SealedFile) -> str:
        """Return the upload that was cut, or begin one; parts that differ are simply sent again."""
        found = self._client.list_multipart_uploads(Bucket=self._account.bucket, Prefix=key)
        for each in found.get("Uploads", []):
            if each["Key"] == key:
                return str(each["UploadId"])
        answer = self._client.create_multipart_upload(
            Bucket=self._account.bucket,
            Key=key,
            ContentType="application/octet-stream",
            Metadata={"sha256": sealed.sha256},
            **self._lock(),
        )
        return str(answer["UploadId"])

    def _versions(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self._account.bucket, Prefix=prefix):
            yield from page.get("Versions", [])

    def _shown(self, key: str) -> dict[str, Any]:
        """Return what the list shows of an object the host said it has.

        Raises:
            TargetUnreachable: nothing, for a long time.
        """
        for pause in SHOWN_AFTER_S:
            time.sleep(pause)
            found = self._oldest(key)
            if found is not None:
                return found
        raise TargetUnreachable(self.label, "the host does not show what was sent")

    def _oldest(self, key: str) -> dict[str, Any] | None:
        found = [each for each in self._versions(key) if each["Key"] == key]
        return min(found, key=lambda each: (each["LastModified"], each["VersionId"]), default=None)

    @contextmanager
    def _mapped(self, action: str, name: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
            if code in _MISSING:
                raise ObjectMissing(self.label, name) from error
            if code in _TAKEN:
                raise ObjectAlreadyThere(self.label, name) from error
            if code in _FULL or status == "507":
                raise TargetFull(self.label) from error
            if code == _SKEWED:
                raise TargetUnreachable(
                    self.label, "the clock of this box and that of the host differ"
                ) from error
            if code in _LATER or status.startswith("5"):
                raise TargetUnreachable(self.label, code or status) from error
            raise TargetRefuses(self.label, action, code or status) from error
        except (BotoConnectionError, HTTPClientError) as error:
            raise TargetUnreachable(self.label, type(error).__name__) from error
        except (BotoCoreError, OSError) as error:
            raise TargetUnreachable(self.label, type(error).__name__) from error


def _md5() -> "hashlib._Hash":
    """Return a digest S3 asks for against accidents, not against anybody."""
    return hashlib.md5(usedforsecurity=False)


def _version(info: dict[str, Any]) -> dict[str, str]:
    """Name the version where the bucket has versions; «null» is the only one where it has none."""
    return {"VersionId": info["VersionId"]} if info.get("VersionId") not in {None, "null"} else {}
