"""What a correspondent sends by a link: by tus, in batches or by a plain form, into quarantine."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final

from fastapi import APIRouter, Request, UploadFile
from sqlalchemy import Connection
from starlette.responses import JSONResponse, RedirectResponse, Response

from appliance.clock import utc_now
from appliance.disk import actions, quarantine, uploads
from appliance.disk.batch import Batch
from appliance.disk.links import Opened
from appliance.disk.uploads import LARGEST, Upload
from appliance.errors import (
    ArmoireError,
    FileChanged,
)
from appliance.language import explain
from appliance.policy.outside_links import ASK, KIND_NAMES
from appliance.units import MIB
from appliance.web import receiving
from appliance.web.api.upload import outcome_body
from appliance.web.deps import Box, TheBox, aside, language_of
from appliance.web.link_pass import HEADERS, address_of, answer_with, entered, renewed
from appliance.web.receiving import LARGEST_BATCH, PART_TYPE, SPOKEN, TUS
from appliance.web.render import Page

router = APIRouter(prefix="/l", include_in_schema=False)

LARGEST_BY_FORM: Final = 512 * MIB


@dataclass(frozen=True, slots=True)
class AskPage(Page):
    """Where files may be sent."""

    template: ClassVar[str] = "links/ask.html"
    token: str
    maker: str
    label: str
    kinds: list[str]
    file_bytes: int
    room: int
    received: int
    ends_at: datetime
    accept: str
    problem: str = ""
    is_sent: bool = False


@router.post("/{token}/send", name="link_send", max_body_size=LARGEST_BY_FORM)
async def send_by_form(request: Request, box: TheBox, token: str, file: UploadFile) -> Response:
    """Take one file from a form: for browsers without JavaScript.

    Raises:
        LinkGone, LinkPasswordWrong.
    """
    opened = entered(request, box, token, ASK)
    name = PurePosixPath((file.filename or "").replace("\\", "/")).name.encode()
    address = address_of(request)

    def work() -> None:
        made = quarantine.begin(box.database, opened, name, file.size or 0, now=utc_now())
        one = _found(box, made, opened)
        try:
            share = opened.held.share
            with uploads.writing(share, one, 0) as part, receiving.full_is_said(share):
                while block := file.file.read(MIB):
                    part.write(block)
            quarantine.receive(box.database, opened, one, address=address, now=utc_now())
        except BaseException:
            uploads.forget(box.database, opened.held.share, one)
            raise

    try:
        await aside(work)
    except ArmoireError as error:
        problem = explain(error, language_of(request))
        page = await aside(lambda: ask_page(box, opened, token, problem=problem))
        return answer_with(request, page, 422)
    return RedirectResponse(f"/l/{token}?sent=1", 303, headers=HEADERS)


@router.options("/{token}/uploads")  # noqa: FAST003 - the same for every link
async def what_is_spoken() -> Response:
    """Say what part of tus is spoken here."""
    return Response(status_code=204, headers=SPOKEN)


@router.post("/{token}/uploads", status_code=201, max_body_size=LARGEST)
async def begin_upload(request: Request, box: TheBox, token: str) -> Response:
    """Begin an upload (tus creation); ``Upload-Metadata``: ``path`` or ``filename``.

    Raises:
        LinkGone, LinkPasswordWrong, InvalidInput, FileRefused, ShareFull.
    """
    receiving.check_version(request)
    opened = entered(request, box, token, ASK)
    told = receiving.metadata(request.headers.get("upload-metadata", ""))
    name = told.get("path", told.get("filename", b""))
    size = receiving.number(request.headers.get("upload-length"), "upload-length")
    made = await aside(lambda: quarantine.begin(box.database, opened, name, size, now=utc_now()))
    headers = TUS | HEADERS | {"location": f"/l/{token}/uploads/{made}", "upload-offset": "0"}
    if request.headers.get("content-type") == PART_TYPE or size == 0:
        end = await _receive(request, box, opened, _found(box, made, opened), 0)
        headers["upload-offset"] = str(end)
    return renewed(request, Response(status_code=201, headers=headers), opened, token)


@router.head("/{token}/uploads/{upload}")
async def upload_offset(request: Request, box: TheBox, token: str, upload: str) -> Response:
    """Say how far an upload is.

    Raises:
        LinkGone, LinkPasswordWrong, UploadGone.
    """
    opened = entered(request, box, token, ASK)
    one = _found(box, upload, opened)
    at = uploads.offset(opened.held.share, one)
    return Response(headers=TUS | {"upload-offset": str(at), "upload-length": str(one.size)})


@router.patch("/{token}/uploads/{upload}", status_code=204, max_body_size=LARGEST)
async def go_on(request: Request, box: TheBox, token: str, upload: str) -> Response:
    """Take the next bytes; with the last one the file waits in quarantine.

    Raises:
        LinkGone, LinkPasswordWrong, UploadGone, UploadBusy, UploadDamaged, FileRefused, ShareFull.
    """
    receiving.check_version(request)
    receiving.check_type(request)
    opened = entered(request, box, token, ASK)
    at = receiving.number(request.headers.get("upload-offset"), "upload-offset")
    one = _found(box, upload, opened)
    await aside(lambda: uploads.seen(box.database, one, now=utc_now()))
    try:
        end = await _receive(request, box, opened, one, at)
    except FileChanged:
        return Response(status_code=409, headers=TUS)
    answer = Response(status_code=204, headers=TUS | {"upload-offset": str(end)})
    return renewed(request, answer, opened, token)


@router.delete("/{token}/uploads/{upload}", status_code=204)
async def give_up(request: Request, box: TheBox, token: str, upload: str) -> Response:
    """Give an upload up.

    Raises:
        LinkGone, LinkPasswordWrong, UploadGone.
    """
    opened = entered(request, box, token, ASK)
    one = _found(box, upload, opened)
    await aside(lambda: uploads.forget(box.database, opened.held.share, one))
    return Response(status_code=204, headers=TUS)


@router.post("/{token}/batch", max_body_size=LARGEST_BATCH)
async def take_batch(request: Request, box: TheBox, token: str) -> Response:
    """Take many small files in one body; each has an answer of its own.

    Raises:
        LinkGone, LinkPasswordWrong, InvalidInput, ShareFull.
    """
    opened = entered(request, box, token, ASK)
    address = address_of(request)
    with Batch(opened.held, b"") as batch:
        await receiving.take_batch_body(request, opened.held.share, batch)
        outcomes = await aside(
            lambda: batch.finish_with(
                lambda arrived: quarantine.receive_many(
                    box.database, opened, arrived, address=address, now=utc_now()
                )
            )
        )
    language = language_of(request)
    answer = JSONResponse({"files": [outcome_body(each, language) for each in outcomes]})
    return renewed(request, answer, opened, token)


async def _receive(request: Request, box: Box, opened: Opened, one: Upload, at: int) -> int:
    appended = await receiving.append(request, opened.held.share, one, at)
    if appended.is_whole:
        address = address_of(request)
        await aside(
            lambda: quarantine.receive(box.database, opened, one, address=address, now=utc_now())
        )
    return appended.end


def _found(box: Box, token: str, opened: Opened) -> Upload:
    with box.database.read() as connection:
        return quarantine.find(connection, token, opened.link)


def ask_page(
    box: Box, opened: Opened, token: str, *, is_sent: bool = False, problem: str = ""
) -> AskPage:
    """Return the page on which files are sent."""
    one = opened.link
    with box.database.read() as connection:
        received = _received(connection, one.id)
    endings = sorted(each for each in one.rules.endings if each)
    return AskPage(
        token=token,
        maker=opened.maker.name,
        label=one.label,
        kinds=[KIND_NAMES[each] for each in KIND_NAMES if each in one.rules.kinds],
        file_bytes=one.rules.file_bytes,
        room=min(actions.room(opened.held.share), max(0, one.rules.sum_bytes - received["size"])),
        received=received["files"],
        ends_at=one.ends_at,
        # Series of DICOM have names without an end: the chooser must not hide them.
        accept="" if "" in one.rules.endings else ",".join(f".{each}" for each in endings),
        problem=problem,
        is_sent=is_sent,
    )


def _received(connection: Connection, link_id: int) -> dict[str, Any]:
    found = quarantine.of_link(connection, link_id)
    return {"files": len(found), "size": sum(each.size for each in found)}
