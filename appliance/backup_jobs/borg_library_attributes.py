"""Items of an archive with everything they carry besides content: attributes, ACLs, hard links.

Part of the ``borg_library`` family. Source: borg 1.4.5 item.pyx, archive.py restore_attrs,
platform/linux.pyx acl_set, xattr.py.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from borg.platform import acl_set  # noqa: TID251 - the borg_library family

from appliance.backup_jobs import borg_library_items as items
from appliance.backup_jobs.borg_library import Repository
from appliance.model import Entry, EntryKind

_NOT_HERE = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSPC})


@dataclass(frozen=True, slots=True)
class FullItem:
    """One item, whole."""

    entry: Entry
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    acl: dict[str, bytes] = field(default_factory=dict)  # «acl_access», «acl_default»
    same_as: bytes | None = None  # another name of the file at this path, which came before


def full_items(repository: Repository, archive_id: str) -> Iterator[FullItem]:
    """Yield every item of an archive, in its order.

    Raises:
        RepositoryDamaged: part of the list is missing or altered; what was yielded is not the whole.
    """
    newest: items.RawItem = {}

    def watched() -> Iterator[items.RawItem]:
        nonlocal newest
        for raw in repository.raw_items(archive_id):
            newest = raw
            yield raw

    for entry in items.entries(watched()):
        xattrs = newest.get(b"xattrs") or {}
        yield FullItem(
            entry,
            {bytes(name): bytes(value or b"") for name, value in xattrs.items()},
            {
                name: bytes(newest[name.encode()])
                for name in ("acl_access", "acl_default")
                if newest.get(name.encode())
            },
            newest.get(b"source") if entry.kind is EntryKind.FILE else None,
        )


def set_attributes(descriptor: int, item: FullItem) -> bool:
    """Set extended attributes and ACLs on an open file or folder; False when some could not be set."""
    whole = True
    if item.acl:
        try:
            acl: dict[str, Any] = dict(item.acl)
            acl_set(f"/proc/self/fd/{descriptor}", acl, numeric_ids=False, fd=descriptor)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            whole = False
    for name, value in item.xattrs.items():
        # The kernel's own view of an ACL; and capabilities, which a restore must not hand out.
        if name.startswith((b"system.", b"security.", b"trusted.")):
            continue
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            whole = False
    return whole
