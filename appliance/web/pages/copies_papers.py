"""The papers of a host's dossier: a certificate, a contract; kept under their own SHA-256.

They are the practice's papers, not patients' documents. Their name is not kept: a hash is enough to show
later which paper it was. What a paper holds is foreign: it is a download, never shown in our name.
"""

import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from starlette.responses import FileResponse

from appliance.db.targets import TargetRow
from appliance.errors import InvalidInput, NotFound
from appliance.jobs import target_setup
from appliance.language import mark
from appliance.model import PersonId
from appliance.policy import dossier as dossiers
from appliance.policy.hosting import Dossier
from appliance.settings import Settings
from appliance.units import MIB
from appliance.web.pages.copies_view import dossier_of

#: Bytes of a paper: a scanned contract of a hundred pages.
LARGEST: Final = 16 * MIB
#: Bytes of a request that brings one: what is a little too large is refused with a reason.
LARGEST_REQUEST: Final = 2 * LARGEST
#: What a paper begins with → its ending.
_BEGINNINGS: Final = {b"%PDF-": "pdf", b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png"}


@dataclass(frozen=True, slots=True)
class Paper:
    """One document of a dossier."""

    kind: str
    sha256: str
    is_here: bool  # its file is on this box, not only its hash


def keep(settings: Settings, content: bytes) -> str:
    """Write a paper, once, and return its SHA-256; whole or not at all.

    Raises:
        InvalidInput: it is empty, too large, or neither a PDF nor a picture.
    """
    if len(content) > LARGEST:
        raise InvalidInput("file", mark("A document of at most 16 MB."))
    if _ending(content) is None:
        raise InvalidInput("file", mark("a PDF, or a picture (JPEG, PNG)."))
    digest = sha256(content).hexdigest()
    folder = _folder(settings)
    folder.mkdir(mode=0o770, parents=True, exist_ok=True)
    place = folder / digest
    if place.exists():
        return digest
    descriptor, draft = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o640)
        Path(draft).replace(place)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return digest


def of_dossier(settings: Settings, dossier: Dossier) -> list[Paper]:
    """Return the papers of a dossier, as they were added."""
    folder = _folder(settings)
    return [
        Paper(each.kind, each.sha256, (folder / each.sha256).is_file())
        for each in dossier.documents
    ]


def enter(
    connection: Connection,
    row: TargetRow,
    kind: str,
    digest: str,
    *,
    person_id: PersonId,
    now: datetime,
) -> None:
    """Name a kept document in the dossier, once.

    Raises:
        InvalidInput: a dossier has no place for so many.
    """
    kept = dossiers.to_stored(dossier_of(row)).get("documents", [])
    added = {"kind": kind, "sha256": digest}
    if added not in kept:
        target_setup.set_dossier(
            connection, row.id, {"documents": [*kept, added]}, person=person_id, now=now
        )


def of_host(settings: Settings, row: TargetRow, digest: str) -> FileResponse:
    """Return a document of a host's dossier as a download.

    Raises:
        NotFound: it is not of this host, or its file is not on the box.
    """
    if digest not in {each.sha256 for each in dossier_of(row).documents}:
        raise NotFound("document", digest[:12])
    return answer(settings, digest)


def answer(settings: Settings, digest: str) -> FileResponse:
    """Return a paper as a download.

    Raises:
        NotFound: its file is not on this box.
    """
    place = _folder(settings) / digest
    if len(digest) != 64 or not place.is_file():
        raise NotFound("document", digest[:12])
    with place.open("rb") as file:
        ending = _ending(file.read(16)) or "bin"
    return FileResponse(
        place,
        media_type="application/octet-stream",
        filename=f"{digest[:12]}.{ending}",
        headers={"content-security-policy": "default-src 'none'; sandbox"},
    )


def _folder(settings: Settings) -> Path:
    return settings.data / "dossiers"


def _ending(content: bytes) -> str | None:
    return next(
        (ending for start, ending in _BEGINNINGS.items() if content.startswith(start)), None
    )
