"""From an error's type to a status, and the page that says what happened and what to do next."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from appliance.errors import (
    AccountNotOpen,
    AlreadyExists,
    AlreadyQueued,
    ArmoireError,
    CatalogueMissing,
    ClosedOutside,
    CodeWrong,
    FileChanged,
    FileMissing,
    FileRefused,
    FrontSilent,
    FrontUnknown,
    Frozen,
    InputError,
    LinkExpired,
    LinkGone,
    LinkPasswordWrong,
    NameTaken,
    NotAFile,
    NotAFolder,
    NotAllowed,
    NotFound,
    NotPreviewed,
    NotSignedIn,
    OutsideRefused,
    PasskeyRefused,
    ProofNeeded,
    Refused,
    RestoreError,
    SecondFactorDue,
    SecondFactorMissing,
    ShareFull,
    SheetMissing,
    SheetOfAnotherKit,
    SheetTwice,
    SnapshotGoing,
    SnapshotMissing,
    TooManyAttempts,
    UploadBusy,
    UploadDamaged,
    UploadGone,
    WordsWrong,
    WordUnknown,
)
from appliance.language import mark
from appliance.web.render import Page, render

_STATUS: Final[tuple[tuple[type[ArmoireError], int], ...]] = (
    (NotFound, 404),
    (SnapshotMissing, 404),
    (CatalogueMissing, 404),
    (AlreadyExists, 409),
    (AlreadyQueued, 409),
    (SnapshotGoing, 409),
    (Frozen, 409),
    (RestoreError, 409),
    (InputError, 422),
    (NotSignedIn, 401),
    (SecondFactorDue, 401),
    (NotAllowed, 403),
    (SecondFactorMissing, 403),
    (ProofNeeded, 403),
    (OutsideRefused, 403),
    (ClosedOutside, 403),
    (FrontSilent, 403),
    (FrontUnknown, 403),
    (CodeWrong, 401),
    (PasskeyRefused, 401),
    (AccountNotOpen, 403),
    (LinkExpired, 410),
    (TooManyAttempts, 429),
    (FileMissing, 404),
    (NotAFile, 404),
    (NotAFolder, 404),
    (UploadGone, 404),
    (UploadBusy, 423),
    (LinkGone, 410),
    (LinkPasswordWrong, 401),
    (FileRefused, 415),
    (NameTaken, 409),
    (FileChanged, 412),
    (ShareFull, 507),
    (UploadDamaged, 460),  # the status tus gives a wrong checksum
    (NotPreviewed, 415),
    (WordUnknown, 422),
    (WordsWrong, 422),
    (SheetMissing, 422),
    (SheetTwice, 422),
    (SheetOfAnotherKit, 422),
    (Refused, 403),  # those that have no number of their own
)


@dataclass(frozen=True, slots=True)
class Why:
    """Why something was refused."""

    code: str  # stable, docs/reference.md
    message: str  # for a person, in their language


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What the API answers instead of what was asked for."""

    error: Why


#: Part of the description of every operation.
REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ErrorBody, "description": "Refused; nothing was changed."}
}


@dataclass(frozen=True, slots=True)
class ErrorPage(Page):
    """What happened, and a way on."""

    template: ClassVar[str] = "error.html"
    status: int
    code: str
    message: str


def status_of(error: ArmoireError) -> int:
    """Return the HTTP status of an error."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 503 if error.retryable else 500


def unforeseen(request: Request) -> Response:
    """Return the page for a mistake of ours; to a program, the same as JSON."""
    if request.url.path.startswith("/api/"):
        why = {"code": "armoire.error", "message": "Something went wrong in the box."}
        return JSONResponse({"error": why}, 500)
    try:
        return render(
            request,
            ErrorPage(
                500,
                "armoire.error",
                mark("Something went wrong. The details are in the log of the box."),
            ),
            500,
        )
    except Exception:  # noqa: BLE001 - the template itself may be what failed
        return PlainTextResponse("Erreur interne. Internal error.\n", 500)
