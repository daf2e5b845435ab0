"""What a correspondent sees behind a link: a file or a folder to take, or a place to send files to. No account is needed.

The token is in the address here and nowhere else: the access log is off, no page of ours tells another site where
one came from (``no-referrer``), and only its SHA-256 is stored.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import RedirectResponse, Response, StreamingResponse

from appliance.accounts import passwords
from appliance.clock import utc_now
from appliance.disk import links, listing, paths
from appliance.disk.links import Opened
from appliance.errors import (
    LinkGone,
    LinkPasswordWrong,
    NotAFolder,
    TooManyAttempts,
)
from appliance.language import explain
from appliance.model import PersonId
from appliance.packed import pack_path, unpack_path
from appliance.policy.outside_links import ASK, GIVE
from appliance.web import share_zip
from appliance.web.deps import TheBox, aside, language_of
from appliance.web.link_downloads import LinkDownloads
from appliance.web.link_pass import (
    HEADERS,
    address_of,
    answer_with,
    entered,
    give_pass,
    has_pass,
    opened_by,
    renewed,
)
from appliance.web.pages import links_send
from appliance.web.pages.files import Openings
from appliance.web.pages.paths import Crumb, crumbs, readable
from appliance.web.render import Page
from appliance.web.share_file import ShareFile

router = APIRouter(prefix="/l", include_in_schema=False)

LONGEST_PASSWORD: Final = 200
MOST_ROWS: Final = 2000
#: One range that begins after the first byte; anything else (none, several, from the end) is a download of its own.
_GOES_ON: Final = re.compile(r"bytes=0*[1-9]\d*-\d*", re.ASCII)


@dataclass(frozen=True, slots=True)
class PasswordPage(Page):
    """The password of a link."""

    template: ClassVar[str] = "links/password.html"
    token: str
    maker: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a folder that is given."""

    name: str
    packed: str  # below what is given
    kind: str  # d · f
    size: int


@dataclass(frozen=True, slots=True)
class GivePage(Page):
    """What may be taken."""

    template: ClassVar[str] = "links/give.html"
    token: str
    maker: str
    label: str
    title: str
    is_folder: bool
    size: int
    packed: str
    crumbs: list[Crumb]
    lines: list[Line]
    is_cut: bool
    ends_at: datetime
    left: int | None  # downloads


@router.get("/{token}", name="link_open")
async def show(request: Request, box: TheBox, token: str, p: str = "", sent: int = 0) -> Response:
    """Show what is behind a link, or ask for its password.

    Raises:
        LinkGone, InvalidInput, FileMissing, NotAFolder.
    """
    opened = opened_by(box, token)
    if not has_pass(request, opened):
        return answer_with(request, PasswordPage(token, opened.maker.name))
    if opened.link.kind == ASK:
        page: Page = await aside(
            lambda: links_send.ask_page(box, opened, token, is_sent=bool(sent))
        )
    else:
        page = await aside(_give_page, opened, token, unpack_path(p))
    address, path = address_of(request), opened.link.path
    openings: Openings = request.app.state.openings
    if openings.is_new(PersonId(0), f"link:{opened.link.id}:{address}"):
        now = utc_now()
        await box.write(
            lambda c: links.record_access(c, opened, "link.seen", path, address=address, now=now)
        )
    return renewed(request, answer_with(request, page), opened, token)


@router.post("/{token}", name="link_password")
async def try_password(
    request: Request, box: TheBox, token: str, password: Annotated[str, Form()] = ""
) -> Response:
    """Take the password, and let in for some hours.

    Raises:
        LinkGone.
    """
    opened = opened_by(box, token)
    try:
        await aside(
            lambda: links.check_password(
                box.database,
                opened,
                password.strip().lower()[:LONGEST_PASSWORD],
                matches=passwords.matches,
                address=address_of(request),
                now=utc_now(),
            )
        )
    except (LinkPasswordWrong, TooManyAttempts) as error:
        status = 429 if isinstance(error, TooManyAttempts) else 401
        page = PasswordPage(token, opened.maker.name, explain(error, language_of(request)))
        return answer_with(request, page, status)
    answer = RedirectResponse(f"/l/{token}", 303, headers=HEADERS)
    return give_pass(answer, opened, token)


# --- taking ---------------------------------------------------------------------------------


@router.api_route("/{token}/file", methods=["GET", "HEAD"], name="link_file")
async def send_file(request: Request, box: TheBox, token: str, p: str = "") -> Response:
    """Send the file of a link, or one of its folder.

    Going on with a download that was counted does not count as another. Without one the etag alone is worth
    nothing, and a HEAD does not tell it: it would be the key to an uncounted download.

    Raises:
        LinkGone, LinkPasswordWrong, FileMissing, NotAFile.
    """
    etag = request.headers.get("if-range", "")
    goes_on = (
        request.method == "GET"
        and bool(etag)
        and _GOES_ON.fullmatch(request.headers.get("range", "")) is not None
    )
    opened = entered(request, box, token, GIVE, goes_on=goes_on)
    path = _inside(opened, p)
    downloads: LinkDownloads = request.app.state.link_downloads
    goes_on = goes_on and downloads.is_known(opened.link.id, path, etag)
    if not goes_on and not opened.link.is_open(utc_now()):
        raise LinkGone
    descriptor = await aside(paths.open_file, opened.held.share.folder, path)
    try:
        entry = listing.entry_of(paths.parent(path)[1], os.fstat(descriptor))
        goes_on = goes_on and etag == f'"{entry.etag}"'
        if request.method == "GET" and not goes_on:
            now, address = utc_now(), address_of(request)
            await box.write(
                lambda c: links.record_access(
                    c,
                    opened,
                    "file.opened",
                    path,
                    address=address,
                    now=now,
                    is_use=True,
                    size=entry.size,
                )
            )
            downloads.note(opened.link.id, path, f'"{entry.etag}"')
        answer = ShareFile(descriptor, entry)
    except BaseException:
        os.close(descriptor)
        raise
    answer.headers.update(HEADERS)
    if request.method == "HEAD":
        os.close(descriptor)
        kept = {name: value for name, value in answer.headers.items() if name != "etag"}
        return Response(headers=kept)
    return answer


@router.get("/{token}/zip", name="link_zip")
async def send_zip(request: Request, box: TheBox, token: str, p: str = "") -> Response:
    """Send the folder of a link, or one in it, as one zip of known length.

    Raises:
        LinkGone, LinkPasswordWrong, InvalidInput, FileMissing.
    """
    opened = entered(request, box, token, GIVE)
    path = _inside(opened, p)
    made, blocks = await aside(share_zip.plan, opened.held.share.folder, [path], box.zone)
    now, address = utc_now(), address_of(request)
    await box.write(
        lambda c: links.record_access(
            c,
            opened,
            "file.zipped",
            path,
            address=address,
            now=now,
            is_use=True,
            size=made.file_bytes,
            files=made.files,
        )
    )
    name = readable(path.rpartition(b"/")[2]) or opened.held.share.label
    return StreamingResponse(
        iterate_in_threadpool(blocks),
        media_type="application/zip",
        headers=HEADERS
        | {
            "content-length": str(made.length),
            "content-disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}.zip",
        },
    )


# --- pages ----------------------------------------------------------------------------------


def _inside(opened: Opened, packed: str) -> bytes:
    """Return the path in the share of what lies at ``packed`` below what is given.

    Raises:
        InvalidInput: it leads out.
    """
    below = unpack_path(packed)
    paths.split(below)
    return paths.join(opened.link.path, below) if below else opened.link.path


def _give_page(opened: Opened, token: str, below: bytes) -> GivePage:
    one, root = opened.link, opened.held.share.folder
    paths.split(below)
    path = paths.join(one.path, below) if below else one.path
    entry = listing.entry(root, path)
    if below and entry.kind != "folder":
        raise NotAFolder
    found: tuple[listing.Entry, ...] = ()
    if entry.kind == "folder":
        seen: Callable[[listing.Entry], bool] = lambda each: each.kind in {"file", "folder"}  # noqa: E731
        found = tuple(filter(seen, listing.read(root, path).entries))
    lines = [
        Line(
            readable(each.name),
            pack_path(paths.join(below, each.name)),
            "d" if each.kind == "folder" else "f",
            each.size,
        )
        for each in found[:MOST_ROWS]
    ]
    return GivePage(
        token=token,
        maker=opened.maker.name,
        label=one.label,
        title=readable(one.path.rpartition(b"/")[2]) or opened.held.share.label,
        is_folder=entry.kind == "folder",
        size=entry.size,
        packed=pack_path(below),
        crumbs=crumbs(below),
        lines=lines,
        is_cut=len(found) > len(lines),
        ends_at=one.ends_at,
        left=None if one.most_uses is None else one.most_uses - one.uses,
    )
