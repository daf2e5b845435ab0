"""A whole file takes its name: what was uploaded, sent by a link or written over WebDAV, in one step.

It lies in the parts' folder of its share until then. Nothing is ever written over: what a new content replaces
goes to the bin.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from appliance import folders
from appliance.db.engine import Database
from appliance.disk import actions, listing, moves
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.copying import FILE_MODE
from appliance.disk.listing import Entry
from appliance.disk.paths import check_new_name, open_folder, open_parent, parent
from appliance.errors import ArmoireError, FileChanged, NameTaken
from appliance.ledger import chain
from appliance.packed import pack_path
from appliance.policy.share_rights import Right


def take_in(
    database: Database,
    held: Held,
    path: bytes,
    part: Path,
    *,
    doer: Doer,
    now: datetime,
    replaces: bool = False,
    expected: str | None = None,
    is_synced: bool = False,
    content_hash: str | None = None,
) -> Entry:
    """Give a whole uploaded file its name, in one step; what it replaces goes to the bin.

    Args:
        database: for the bin and the ledger.
        held: the share and the rights of who uploads.
        path: its name from now on.
        part: the file, in the parts' folder of the same share.
        doer: who.
        now: aware UTC.
        replaces: whether a file of this name may be replaced.
        expected: etag of the file that may be replaced; another one is left alone.
        is_synced: the caller made its bytes durable already.
        content_hash: «blake3:…» or «sha256:…», when it was compared on the way; the ledger keeps it.

    Raises:
        NotAllowed, InvalidInput, FileMissing: the folder went. NotAFolder, NameTaken.
        FileChanged: what is there is not what was looked at.
    """
    if not is_synced:
        folders.sync(part)
    found = _name(database, held, path, part, doer, now, replaces=replaces, expected=expected)
    with open_folder(held.share.folder, parent(path)[0]) as folder:
        os.fsync(folder)
    told = hash_figures(found, content_hash)
    with database.write() as connection:
        actions.record(
            connection, "file.added", held.share, path, doer, now, bytes=found.size, **told
        )
    return found


def hash_figures(entry: Entry, content_hash: str | None) -> dict[str, str]:
    """Return what the ledger keeps of a hash: with the etag of the content it is of, for names are given anew."""
    return {} if content_hash is None else {"hash": content_hash, "etag": entry.etag}


@dataclass(frozen=True, slots=True)
class Arrived:
    """One whole file of a batch, in the parts' folder, its bytes durable."""

    path: bytes
    part: Path
    replaces: bool = False
    content_hash: str | None = None  # compared on the way


def take_in_many(
    database: Database, held: Held, arrived: Sequence[Arrived], *, doer: Doer, now: datetime
) -> list[Entry | ArmoireError]:
    """Give many files their names; return for each its entry, or why it has none: the others go on.

    One write of the ledger and one sync of each folder for all of them (measured-web.md B). Folders on the way
    are made.
    """
    results: list[Entry | ArmoireError] = []
    folders: set[bytes] = set()
    for each in arrived:
        try:
            folder = parent(each.path)[0]
            if folder not in folders:
                held.demand(Right.ADD)
                bins.make_folders(held.share.folder, folder)
                folders.add(folder)
            results.append(
                _name(database, held, each.path, each.part, doer, now, replaces=each.replaces)
            )
        except ArmoireError as error:
            results.append(error)
    for path in folders:
        with suppress(ArmoireError), open_folder(held.share.folder, path) as descriptor:
            os.fsync(descriptor)
    with database.write() as connection:
        chain.append_many(
            connection,
            at=now,
            event="file.added",
            actor=f"person:{doer.person_id}",
            subject=f"share:{held.share.id}",
            bodies=[
                {
                    "door": doer.door,
                    "path": pack_path(one.path),
                    "bytes": result.size,
                    **hash_figures(result, one.content_hash),
                }
                for one, result in zip(arrived, results, strict=True)
                if isinstance(result, Entry)
            ],
        )
    return results


def _name(
    database: Database,
    held: Held,
    path: bytes,
    part: Path,
    doer: Doer,
    now: datetime,
    *,
    replaces: bool,
    expected: str | None = None,
) -> Entry:
    """Give a part its name, in one step."""
    check_new_name(parent(path)[1])
    held.demand(Right.ADD)
    part.chmod(FILE_MODE)
    with (
        open_parent(held.share.folder, path) as (folder, name),
        bins.opened(part.parent) as parts,
    ):
        try:
            moves.rename(parts, os.fsencode(part.name), folder, name)
        except NameTaken:
            if not replaces:
                raise
            _replace(database, held, path, folder, name, parts, part, doer, now, expected)
        return listing.entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))


def _replace(
    database: Database,
    held: Held,
    path: bytes,
    folder: int,
    name: bytes,
    parts: int,
    part: Path,
    doer: Doer,
    now: datetime,
    expected: str | None,
) -> None:
    held.demand(Right.CHANGE)
    before = listing.entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))
    if before.kind != "file":
        raise NameTaken(name.decode("utf-8", "replace"))
    if expected is not None and before.etag != expected:
        raise FileChanged
    with database.write() as connection:
        item = bins.record(
            connection,
            held.share,
            path,
            kind="file",
            size=before.size,
            files=1,
            person_id=doer.person_id,
            door=doer.door,
            now=now,
        )
    stored = item.stored.encode()
    with bins.opened(bins.own_folder(held.share, bins.BIN)) as into:
        # Killed after this line, the new content is in the bin: nothing is lost, and the old one in its place.
        moves.rename(parts, os.fsencode(part.name), into, stored)
        # One step: whoever opens the name meanwhile gets the old content or the new one, whole.
        moves.exchange(into, stored, folder, name)
