"""What the worker gives out of the kit to a person who says again who they are: sheets, and the kit file."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from appliance.accounts import sign_in
from appliance.catalogue.reader_protocol import KitRequest
from appliance.db import facts
from appliance.db.engine import Database
from appliance.errors import KitConfirmed, NotAllowed, NotFound
from appliance.jobs import kit_readings, kit_words
from appliance.language import Language
from appliance.ledger import events
from appliance.model import PersonId
from appliance.policy.roles import Action, may
from appliance.replication import kit
from appliance.replication.kit import Sheet
from appliance.replication.kit_file import build_kit_file
from appliance.replication.kit_sheets import sheet_html
from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class Document:
    """A document, as the reader's socket sends it."""

    content: bytes
    mtime_ns: int
    offset: int = 0

    @property
    def size(self) -> int:
        """Bytes of it."""
        return len(self.content)

    @property
    def length(self) -> int:
        """Bytes that follow: all of them."""
        return len(self.content)

    @property
    def blocks(self) -> Iterator[bytes]:
        """Those bytes."""
        yield self.content


def open_document(
    database: Database, settings: Settings, request: KitRequest, *, now: datetime
) -> Document:
    """Return what was asked for; the ledger says who had it.

    The side that holds the keys asks for the password itself, whatever the asking process says.

    Raises:
        PasswordWrong, TooManyAttempts, AccountBlocked: who asks is not who they say.
        NotAllowed: the kit is an owner's.
        KitConfirmed: the kit was confirmed: the words are not here any more.
        NotFound: there is no such document.
        SecretMissing, KeyMissing, SecretUnreadable: of the vault.
    """
    person = sign_in.again(database, request.person_id, request.password, now=now)
    if not may(person.role, Action.KIT_PRINT):
        raise NotAllowed(Action.KIT_PRINT.value)
    with database.write() as connection:
        if request.document == "file":
            content = write_file(connection, settings, now=now, person_id=person.id)
        else:
            content = print_sheet(
                connection,
                settings,
                _number(request.document),
                language=request.language,
                now=now,
                person_id=person.id,
            )
    return Document(content, int(now.timestamp()) * 1_000_000_000)


def write_file(
    connection: Connection, settings: Settings, *, now: datetime, person_id: PersonId | None = None
) -> bytes:
    """Return the kit file of now and record that it left the box; inside ``Database.write()``."""
    content = build_kit_file(connection, settings, now=now)
    kit_readings.file_written(connection, now=now)
    events.record(connection, at=now, event="kit.file-written", subject="box", person_id=person_id)
    return content


def print_sheet(
    connection: Connection,
    settings: Settings,
    number: int,
    *,
    language: Language,
    now: datetime,
    person_id: PersonId | None = None,
) -> bytes:
    """Return a sheet as a page to print and record that it was shown; inside ``Database.write()``.

    Args:
        connection: of the state database.
        settings: of the box.
        number: of the sheet, from 1.
        language: of the page.
        now: aware UTC.
        person_id: who prints it; None: the command line.

    Raises:
        KitConfirmed: the kit was confirmed.
        NotFound: nobody chose who keeps the sheets, or there are fewer.
    """
    sheets = sheets_now(connection, settings, now=now)
    if not 1 <= number <= len(sheets):
        raise NotFound("sheet", str(number))
    sheet = sheets[number - 1]
    events.record(
        connection,
        at=now,
        event="kit.printed",
        subject="box",
        person_id=person_id,
        sheet=number,
        kit=sheet.kit_number,
    )
    return sheet_html(
        sheet,
        practice=str(facts.find(connection, "practice.name") or ""),
        made_at=now,
        zone=ZoneInfo(settings.time_zone),
        language=language,
    )


def sheets_now(connection: Connection, settings: Settings, *, now: datetime) -> list[Sheet]:
    """Return the sheets that may be printed now, of the kit that waits to be confirmed.

    Raises:
        KitConfirmed: the kit was confirmed.
        NotFound: no kit was made, or nobody chose who keeps the sheets.
    """
    known = kit_words.state(connection)
    if known.confirmed_at is not None and known.next is None:
        raise KitConfirmed
    plan = known.printable
    if plan is None:
        raise NotFound("kit", "–")
    return kit.split(connection, settings.keys, needed=plan.needed, holders=plan.holders, now=now)


def _number(document: str) -> int:
    folder, _, number = document.partition("/")
    if folder != "sheet" or not number.isascii() or not number.isdigit():
        raise NotFound("kit", document)
    return int(number)
