"""The shares themselves as JSON: made, given rights on, set, closed; for programs that hold a session.

No token opens it: rights are given by a person who is signed in.
"""

from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from sqlalchemy import Connection

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.shares import Share
from appliance.disk import set_up
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.model import PersonId, Role
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.web.deps import TheBox, TheVisitor, needs
from appliance.web.pages.shares import begin_nights, check_days, check_label, slug

router = APIRouter(
    prefix="/api/v1/shares", tags=["shares"], dependencies=[needs(Action.SHARES_CHANGE)]
)
LARGEST_QUOTA = 10**15


@dataclass(frozen=True, slots=True)
class GrantBody:
    """Rights of one person, or of everybody of a role."""

    rights: list[str]  # see · add · change · delete · share-out; none: all are taken away
    person_id: int | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class ShareSettingsBody:
    """A share, its doors and who has rights on it."""

    id: int
    name: str
    label: str
    bin_days: int
    quota_bytes: int | None
    used_bytes: int
    over_smb: bool
    over_dav: bool
    is_time_machine: bool
    grants: list[GrantBody]


@dataclass(frozen=True, slots=True)
class NewShareBody:
    """A share to be made, with its nights."""

    label: str
    name: str = ""  # small letters; empty: out of the label
    folder: str = ""  # an existing folder of the box; empty: one of its own


@dataclass(frozen=True, slots=True)
class ShareChangeBody:
    """What is to change of a share; what is not named stays."""

    label: str | None = None
    bin_days: int | None = None
    quota_bytes: int | None = None  # 0: without one
    over_smb: bool | None = None
    over_dav: bool | None = None


@router.get("", name="api-shares")
async def list_shares(box: TheBox) -> list[ShareSettingsBody]:
    """Return every share."""
    return await box.read_aside(lambda c: [_body(c, each) for each in shares.all_living(c)])


@router.post("", name="api-share-make", status_code=201)
async def make(box: TheBox, visitor: TheVisitor, wanted: NewShareBody) -> ShareSettingsBody:
    """Make a share; whoever makes it may do all there, nobody else anything.

    Raises:
        InvalidInput, AlreadyExists.
    """
    label = check_label(wanted.label)
    place = Path(wanted.folder.strip()) if wanted.folder.strip() else None
    if "\0" in wanted.folder:  # no path holds one
        raise InvalidInput("folder", mark("An existing folder of the box, please."))

    def change(connection: Connection) -> ShareSettingsBody:
        made = set_up.make_share(
            connection,
            box.settings,
            name=wanted.name.strip().lower() or slug(label),
            label=label,
            person_id=visitor.person.id,
            now=utc_now(),
            folder=place,
        )
        begin_nights(connection, made.source_id, visitor.person.id)
        return _body(connection, made)

    return await box.write(change)


@router.get("/{name}", name="api-share")
async def show(box: TheBox, name: str) -> ShareSettingsBody:
    """Return one share.

    Raises:
        NotFound.
    """
    return await box.read_aside(lambda c: _body(c, shares.get_by_name(c, name)))


@router.patch("/{name}", name="api-share-change")
async def change_share(
    box: TheBox, visitor: TheVisitor, name: str, wanted: ShareChangeBody
) -> ShareSettingsBody:
    """Change a share's name for people, its doors, its bin or its quota.

    Raises:
        NotFound, InvalidInput.
    """
    values: dict[str, object] = {}
    if wanted.label is not None:
        values["label"] = check_label(wanted.label)
    if wanted.bin_days is not None:
        values["bin_days"] = check_days(str(wanted.bin_days))
    if wanted.quota_bytes is not None:
        if not 0 <= wanted.quota_bytes <= LARGEST_QUOTA:
            raise InvalidInput("quota_bytes", mark("A size in bytes; 0: without one."))
        values["quota_bytes"] = wanted.quota_bytes or None
    doors = {"over_smb": wanted.over_smb, "over_dav": wanted.over_dav}
    values |= {door: is_open for door, is_open in doors.items() if is_open is not None}
    if wanted.over_smb is False:
        values["is_time_machine"] = False

    def change(connection: Connection) -> ShareSettingsBody:
        share = shares.get_by_name(connection, name)
        if values:
            set_up.change_share(connection, share, values, by=visitor.person.id, now=utc_now())
        return _body(connection, shares.get_by_name(connection, name))

    return await box.write(change)


@router.post("/{name}/rights", name="api-share-rights")
async def give(box: TheBox, visitor: TheVisitor, name: str, wanted: GrantBody) -> ShareSettingsBody:
    """Give a person or a role exactly these rights; the ledger keeps it.

    Raises:
        NotFound, InvalidInput.
    """
    if (wanted.person_id is None) == (wanted.role is None):
        raise InvalidInput("person_id", mark("A person or a role, please."))
    if not set(wanted.rights) <= {each.value for each in Right}:
        raise InvalidInput("rights", mark("see, add, change, delete or share-out, please."))
    if wanted.role is not None and wanted.role not in {each.value for each in Role}:
        raise InvalidInput("role", mark("Choose what this person may do."))

    def change(connection: Connection) -> ShareSettingsBody:
        share = shares.get_by_name(connection, name)
        if wanted.person_id is not None:
            people.get(connection, PersonId(wanted.person_id))
        set_up.give_rights(
            connection,
            share,
            frozenset(Right(each) for each in wanted.rights),
            by=visitor.person.id,
            now=utc_now(),
            person_id=None if wanted.person_id is None else PersonId(wanted.person_id),
            role=None if wanted.role is None else Role(wanted.role),
        )
        return _body(connection, share)

    return await box.write(change)


@router.post("/{name}/close", name="api-share-close", status_code=204)
async def close(box: TheBox, visitor: TheVisitor, name: str) -> None:
    """Close a share: nobody reaches it any more; its files and its snapshots stay on the box.

    Raises:
        NotFound.
    """

    def change(connection: Connection) -> None:
        share = shares.get_by_name(connection, name)
        set_up.close_share(connection, share, person_id=visitor.person.id, now=utc_now())

    await box.write(change)


def _body(connection: Connection, share: Share) -> ShareSettingsBody:
    return ShareSettingsBody(
        share.id,
        share.name,
        share.label,
        share.bin_days,
        share.quota_bytes,
        share.used_bytes,
        share.over_smb,
        share.over_dav,
        share.is_time_machine,
        [
            GrantBody(
                sorted(each.rights), each.person_id, None if each.role is None else each.role.value
            )
            for each in shares.grants(connection, share.id)
        ],
    )
