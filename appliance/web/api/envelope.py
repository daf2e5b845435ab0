"""The sealed envelope as JSON; for a session of an owner who showed just now who they are, no token opens it."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request

from appliance.accounts import sealed_envelope
from appliance.accounts.sealed_envelope import Envelope
from appliance.policy.roles import Action
from appliance.web.deps import TheBox, TheVisitor, needs, proven
from appliance.web.pages.arrivals import origin_of
from appliance.web.pages.envelope import seal, withdraw

router = APIRouter(
    prefix="/api/v1/envelope", tags=["people"], dependencies=[needs(Action.ENVELOPE_SEAL)]
)


@dataclass(frozen=True, slots=True)
class EnvelopeBody:
    """One envelope; its code is shown by none of these."""

    number: int
    login: str
    place: str
    sealed_at: datetime
    sealed_by: int | None  # a person; None: at the console of the box
    opened_at: datetime | None
    opened_from: str | None  # network address
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewEnvelopeBody:
    """An envelope to be sealed."""

    place: str  # where it will be kept


@dataclass(frozen=True, slots=True)
class SealedBody:
    """What goes on the paper, shown this once."""

    number: int
    url: str
    login: str
    code: str


@router.get("", name="api-envelopes")
async def list_envelopes(box: TheBox) -> list[EnvelopeBody]:
    """Return every envelope there was, the newest first; the one in force has not ended."""
    return [_body(each) for each in await box.read_aside(sealed_envelope.every)]


@router.post("", name="api-envelope-seal", status_code=201, dependencies=[proven()])
async def seal_envelope(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: NewEnvelopeBody
) -> SealedBody:
    """Make a new envelope; the former one ends.

    Raises:
        InvalidInput: nobody said where it will be kept.
    """
    envelope, made = await seal(box, visitor, wanted.place)
    return SealedBody(envelope.id, origin_of(request), made.login, made.code)


@router.post("/withdraw", name="api-envelope-withdraw", status_code=204, dependencies=[proven()])
async def withdraw_envelope(box: TheBox, visitor: TheVisitor) -> None:
    """End the envelope in force, its session, its links and the sessions that began by them; one's own goes on.

    Raises:
        NotFound: there is none.
    """
    await withdraw(box, visitor)


def _body(one: Envelope) -> EnvelopeBody:
    return EnvelopeBody(
        one.id,
        one.login,
        one.place,
        one.sealed_at,
        one.sealed_by,
        one.opened_at,
        one.opened_from,
        one.ended_at,
    )
