"""The past of a machine's file: the same page as a share's, out of the same catalogue."""

from typing import Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import Response

from appliance.accounts import people
from appliance.catalogue import query
from appliance.catalogue.store import of_source
from appliance.db import snapshots, sources
from appliance.language import mark
from appliance.ledger import questions
from appliance.model import Snapshot, SourceId
from appliance.packed import pack_path
from appliance.policy.roles import Action
from appliance.web.deps import TheBox, TheVisitor, aside, needs
from appliance.web.pages.browse import DOORS, token_of
from appliance.web.pages.past_lines import Touch, VersionsPage, version_lines, who_did
from appliance.web.pages.paths import Step, crumbs, readable, shown, unpacked
from appliance.web.render import render

router = APIRouter(include_in_schema=False)

TOUCHES: Final = 50

#: What happened to a file of a snapshot, for people.
TOUCHED: Final[dict[str, str]] = {
    "file.open": mark("opened an earlier version"),
    "file.dicom-fields": mark("asked who it is of"),
}


@router.get(
    "/sources/{source_id}/history", name="history", dependencies=[needs(Action.SNAPSHOT_BROWSE)]
)
async def show_history(
    request: Request, box: TheBox, visitor: TheVisitor, source_id: SourceId, p: str = ""
) -> Response:
    """Show every version of a file, and who opened one.

    Raises:
        NotFound: no snapshot shows such a file.
    """
    path = unpacked(p)
    with box.database.read() as connection:
        source = sources.get(connection, source_id)
        nights = snapshots.of_source(connection, source_id)
    found = await aside(lambda: query.history(of_source(box.settings, source_id), path))
    packed, newest = pack_path(path), found[0].last
    folder, _, name = path.rpartition(b"/")
    top = f"/snapshots/{newest}/browse"
    may_open = visitor.may(Action.FILE_OPEN)
    page = VersionsPage(
        name=readable(name),
        where=shown(path, source),
        packed=packed,
        trail=[
            Step(source.label, f"/sources/{source.id}"),
            *(Step(one.text, f"{top}?p={one.packed}") for one in crumbs(folder)),
        ],
        is_there=found[0].is_present,
        present=None,
        versions=version_lines(found, {each.id: each.started_at for each in nights}, DOORS, packed),
        touches=await box.read_aside(lambda c: touches_of(c, nights, path)),
        may_open=may_open,
        restore="/snapshots/{s}/picked" if visitor.may(Action.FILE_RESTORE) else "",
        is_share=False,
        can_replace=False,
        is_backed_up=True,
    )
    return render(request, page)


def touches_of(connection: Connection, nights: list[Snapshot], path: bytes) -> list[Touch]:
    """Return who opened a file of these snapshots, newest first."""
    names = people.names(connection)
    tokens = {f"snapshot:{each.id}": token_of(path, each.id) for each in nights}
    return [
        Touch(entry.at, who_did(entry, names), TOUCHED[entry.event])
        for entry in questions.about_snapshots_file(connection, tokens, TOUCHED, limit=TOUCHES)
    ]
