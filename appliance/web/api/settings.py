"""The settings under /api/v1: what the practice chose, for programs that hold a session.

No token opens them: what is changed here is changed by a person who is signed in.
"""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from appliance.accounts import practice_settings
from appliance.clock import utc_now
from appliance.language import Language, translate
from appliance.policy.practice_settings import SETTINGS, Value
from appliance.policy.roles import Action
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs
from appliance.web.pages.settings_page import demand_proof

router = APIRouter(
    prefix="/api/v1", tags=["settings"], dependencies=[needs(Action.SETTINGS_CHANGE)]
)


@dataclass(frozen=True, slots=True)
class SettingBody:
    """One setting, its value now, and what it may be."""

    key: str
    group: str
    kind: str  # text · lines · number · time · yes-no · choice
    value: str | int | bool
    label: str  # in the reader's language
    may_change: bool
    is_proven: bool  # changing it asks for a sign-in of the last minutes
    least: int | None  # of a number
    most: int | None
    longest: int | None  # characters, of a text
    choices: list[str]


@dataclass(frozen=True, slots=True)
class SettingsBody:
    """Every setting, in the order of the page."""

    settings: list[SettingBody]


@dataclass(frozen=True, slots=True)
class WantedBody:
    """What is to change: key → value."""

    values: dict[str, str | int | bool]


@router.get("/settings", name="api-settings")
async def show(request: Request, box: TheBox, visitor: TheVisitor) -> SettingsBody:
    """Return every setting."""
    return await _all(box, visitor, language_of(request))


@router.patch("/settings", name="api-settings-change")
async def change(
    request: Request, box: TheBox, visitor: TheVisitor, wanted: WantedBody
) -> SettingsBody:
    """Change what is named, all of it or nothing; return every setting as it holds then."""
    demand_proof(visitor, wanted.values)
    now = utc_now()
    await box.write(
        lambda c: practice_settings.change(
            c, box.settings, wanted.values, may=visitor.may, person_id=visitor.person.id, now=now
        )
    )
    return await _all(box, visitor, language_of(request))


async def _all(box: Box, visitor: Visitor, language: Language) -> SettingsBody:
    def gather(connection: Connection) -> dict[str, Value]:
        return practice_settings.read(connection, box.settings)

    values = await box.read_aside(gather)
    return SettingsBody(
        [
            SettingBody(
                each.key,
                each.group.value,
                each.kind.value,
                values[each.key],
                translate(each.label, language),
                visitor.may(each.action),
                each.is_proven,
                each.least if each.most else None,
                each.most or None,
                each.longest or None,
                [value for value, _ in each.choices],
            )
            for each in SETTINGS
        ]
    )
