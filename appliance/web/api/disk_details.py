"""What is known about one file or folder of a share: who did what to it, who may see it, its past, its links."""

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import anyio
import anyio.to_thread
from blake3 import blake3
from fastapi import APIRouter, Body, Request
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from appliance.accounts import people
from appliance.catalogue import moved
from appliance.catalogue.store import of_source
from appliance.clock import from_epoch, utc_now
from appliance.disk import access, links, listing, paths
from appliance.disk.access import Held
from appliance.errors import CatalogueMissing, InvalidInput, NotFound
from appliance.language import Language, mark, translate
from appliance.ledger import questions
from appliance.model import PersonId
from appliance.packed import pack_path, unpack_path
from appliance.policy.outside_links import GIVE
from appliance.policy.roles import ROLE_NAMES, Action
from appliance.policy.share_rights import RIGHT_TEXTS, Right
from appliance.units import MIB, NS_PER_S
from appliance.web.api.upload import held_by
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.pages.past_lines import who_did
from appliance.web.pages.paths import readable
from appliance.web.pages.versions import TOUCHED
from appliance.web.share_past import places

router = APIRouter(prefix="/api/v1/disk", tags=["disk"], dependencies=[needs(Action.DISK_USE)])

#: Entries of the ledger that are shown; the page of the document has the rest.
TOUCHES: Final = 12
#: Larger files are not hashed while somebody waits.
LARGEST_HASHED: Final = 8 * 1024 * MIB
_PIECE: Final = 4 * MIB
#: Files hashed at once; the others wait, and not in the threads in which pages are made.
HASHED_AT_ONCE: Final = 2
_hashing: Final = anyio.CapacityLimiter(HASHED_AT_ONCE)


@dataclass(frozen=True, slots=True)
class TouchBody:
    """Something that somebody did to it."""

    at: datetime
    who: str
    what: str  # in the reader's language


@dataclass(frozen=True, slots=True)
class SeerBody:
    """Somebody who may see it, and what else they may do."""

    name: str
    role: str
    rights: list[str]


@dataclass(frozen=True, slots=True)
class LinkBody:
    """A link by which it can be had outside the practice."""

    id: int
    label: str
    maker: str
    ends_at: datetime
    of_folder: bool  # it is given with a folder it lies in


@dataclass(frozen=True, slots=True)
class AboutBody:
    """What is known about a file or a folder."""

    path: str
    name: str
    kind: str  # file · folder · link · other
    size: int
    modified_at: datetime
    hash: str | None  # «blake3:…» or «sha256:…» of this content, as compared when it arrived
    versions: int | None  # in the snapshots; None: not backed up, or a folder
    touches: list[TouchBody]  # newest first
    seers: list[SeerBody]
    links: list[LinkBody]  # one's own; of everybody for who may see all links
    ledger: str | None  # page of the journal about it, for who may see that


@router.get("/{share}/about")
async def tell_about(
    request: Request, box: TheBox, visitor: TheVisitor, share: str, p: str = ""
) -> AboutBody:
    """Return what is known about a file or a folder of a share one sees.

    Raises:
        NotFound, NotAllowed, InvalidInput, FileMissing, NotAFolder.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    path = unpack_path(p)
    if not paths.split(path):
        raise InvalidInput("path", mark("A file or a folder, please."))
    return await aside(_about, box, visitor, held, path, language_of(request))


def _about(box: Box, visitor: Visitor, held: Held, path: bytes, language: Language) -> AboutBody:
    entry = listing.entry(held.share.folder, path)
    now = utc_now()
    with box.database.read() as connection:
        found = questions.about_file(connection, held.share.id, path, limit=TOUCHES)
        names = people.names(connection)
        content_hash = questions.hash_of(connection, held.share.id, entry.etag)
        seers = _seers(connection, held, now, language)
        given = _links(connection, visitor, held, path, names, now)
    may_ask = visitor.may(Action.LEDGER_SEE)
    return AboutBody(
        path=pack_path(path),
        name=readable(entry.name),
        kind=entry.kind,
        size=entry.size,
        modified_at=from_epoch(entry.mtime_ns / NS_PER_S),
        hash=content_hash,
        versions=_versions(box, held, path) if entry.kind == "file" else None,
        touches=[
            TouchBody(
                each.at,
                who_did(each, names),
                translate(TOUCHED.get(each.event, each.event), language),
            )
            for each in found
        ],
        seers=seers,
        links=given,
        ledger=f"/ledger/document/{held.share.name}?p={pack_path(path)}" if may_ask else None,
    )


def _seers(connection: Connection, held: Held, now: datetime, language: Language) -> list[SeerBody]:
    found = []
    for readings in access.read_each(connection, people.everybody(connection), now=now):
        person = readings.person
        try:
            theirs = readings.on_share(held.share.name, now)
        except NotFound:
            continue
        if theirs.may(Right.SEE):
            rights = [
                translate(RIGHT_TEXTS[each], language) for each in Right if each in theirs.rights
            ]
            found.append(
                SeerBody(person.name, translate(ROLE_NAMES[person.role], language), rights)
            )
    return found


def _links(
    connection: Connection,
    visitor: Visitor,
    held: Held,
    path: bytes,
    names: dict[PersonId, str],
    now: datetime,
) -> list[LinkBody]:
    whose = None if visitor.may(Action.LINKS_SEE_ALL) else visitor.person.id
    around = {path, *_above(path)}
    return [
        LinkBody(one.id, one.label, names.get(one.person_id, ""), one.ends_at, one.path != path)
        for one in links.listed(connection, person_id=whose)
        if one.kind == GIVE
        and one.share_id == held.share.id
        and one.path in around
        and one.is_open(now)
    ]


def _above(path: bytes) -> Iterator[bytes]:
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def _versions(box: Box, held: Held, path: bytes) -> int | None:
    if held.share.source_id is None:
        return None
    try:
        catalogue = of_source(box.settings, held.share.source_id)
        with box.database.read() as connection:
            known = places(connection, held, path)
        return len(moved.history(catalogue, known))
    except (NotFound, CatalogueMissing):
        return 0


@dataclass(frozen=True, slots=True)
class HashBody:
    """What identifies a content."""

    hash: str  # «blake3:<64 hex digits>»
    size: int


@router.post("/{share}/hash")
async def hash_file(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    share: str,
    path: Annotated[str, Body(embed=True)],
) -> HashBody:
    """Read a file to its end and return its BLAKE3 hash; the reading ends when nobody waits for it any more.

    Raises:
        NotFound, NotAllowed, FileMissing, NotAFolder, NotAFile.
        InvalidInput: the path is none, or the file is larger than 8 GiB.
    """
    held = await held_by(box, visitor, share)
    held.demand(Right.SEE)
    return await _while_there(request, held, unpack_path(path))


async def _while_there(request: Request, held: Held, path: bytes) -> HashBody:
    is_gone = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        is_gone.set()

    watching = asyncio.create_task(watch())
    try:
        return await anyio.to_thread.run_sync(_hashed, held, path, is_gone, limiter=_hashing)
    except ClientDisconnect:
        raise HTTPException(
            400
        ) from None  # nobody reads it; a fault would be logged as one of ours
    finally:
        watching.cancel()


def _hashed(held: Held, path: bytes, is_gone: threading.Event) -> HashBody:
    descriptor = paths.open_file(held.share.folder, path)
    try:
        if os.fstat(descriptor).st_size > LARGEST_HASHED:
            raise InvalidInput("size", mark("It is too large to be read while you wait."))
        made, size = blake3(), 0
        while block := os.read(descriptor, _PIECE):
            if is_gone.is_set():
                raise ClientDisconnect
            made.update(block)
            size += len(block)
        return HashBody(f"blake3:{made.hexdigest()}", size)
    finally:
        os.close(descriptor)
