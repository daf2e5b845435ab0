"""The journal: who did what and what was proven, and whether the chain is whole."""

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import RedirectResponse, Response

from appliance.accounts import locums
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.disk import access
from appliance.errors import InvalidInput, LedgerBroken
from appliance.language import Language, explain, mark, translate
from appliance.ledger import chain
from appliance.model import LedgerEntry, Outcome, PersonId
from appliance.packed import unpack_path
from appliance.policy import drills
from appliance.policy.copy_status import COPY_PROOF_NAMES
from appliance.policy.roles import Action
from appliance.policy.share_rights import Right
from appliance.policy.status import OUTCOME_NAMES, PROOF_NAMES
from appliance.web.deps import TheBox, TheVisitor, Visitor, aside, language_of, needs
from appliance.web.pages import tones
from appliance.web.pages.ledger_names import EVENT_NAMES
from appliance.web.pages.paths import readable
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

SHOWN: Final = 100
#: Seconds a page waits for a walk along the chain; a long one goes on behind it.
PATIENCE_S: Final = 2.0

#: Events by the beginning of their name, as a person filters them.
FILTERS: Final[tuple[tuple[str, str], ...]] = (
    ("proof.", mark("proofs")),
    ("snapshot.", mark("snapshots")),
    ("session.", mark("sign-ins")),
    ("file", mark("files opened and restored")),
    ("source.", mark("sources")),
    ("copy.", mark("copies")),
    ("target.", mark("destinations")),
    ("kit.", mark("recovery kit")),
    ("anomaly.", mark("alarms")),
)


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """What the last walk along the chain found."""

    at: datetime | None = None
    entries: int = 0
    broken: LedgerBroken | None = None
    is_running: bool = False


class ChainWatch:
    """Walks the chain in a thread, one walk at a time, and remembers the last result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = ChainCheck()

    @property
    def last(self) -> ChainCheck:
        """What is known now."""
        return self._last

    def begin(self, database: Database) -> ChainCheck:
        """Walk the whole chain in a thread of its own; return what is known after PATIENCE_S at most."""
        if not self._last.is_running:
            self._last = replace(self._last, is_running=True)
            thread = threading.Thread(
                target=self._walk, args=(database,), name="chain", daemon=True
            )
            thread.start()
            thread.join(PATIENCE_S)
        return self._last

    def _walk(self, database: Database) -> None:
        with self._lock:
            try:
                with database.read() as connection:
                    count = chain.verify(connection)
            except LedgerBroken as broken:
                self._last = ChainCheck(utc_now(), 0, broken)
            except SQLAlchemyError:
                self._last = replace(self._last, is_running=False)  # asked again at the next look
            else:
                self._last = ChainCheck(utc_now(), count)


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One entry in words."""

    entry: LedgerEntry
    actor: str
    text: str
    tone: str
    subject: str
    detail: list[tuple[str, str]] = field(default_factory=list)
    href: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerPage(Page):
    """The newest entries, or those before one."""

    template: ClassVar[str] = "ledger.html"
    lines: list[EntryLine]
    only: str
    filters: tuple[tuple[str, str], ...]
    before: int | None
    check: ChainCheck
    broken_text: str | None
    length: int


@router.get("/ledger", name="ledger", dependencies=[needs(Action.LEDGER_SEE)])
async def show_ledger(
    request: Request,
    box: TheBox,
    visitor: TheVisitor,
    only: str = "",
    before: int | None = None,
    at: int | None = None,
) -> Response:
    """Show the journal, newest first; ``at`` begins with that entry."""
    watch: ChainWatch = request.app.state.chain_watch
    if watch.last.at is None:
        await aside(watch.begin, box.database)
    chosen = only if only in {name for name, _ in FILTERS} else ""
    start = at + 1 if at is not None else before
    language = language_of(request)

    def gather() -> LedgerPage:
        with box.database.read() as connection:
            found = chain.newest(connection, limit=SHOWN, before_seq=start, event=chosen or None)
            readers = Readers.of(connection, visitor, language)
            length = chain.length(connection)
        return LedgerPage(
            [readers.line(one) for one in found],
            chosen,
            FILTERS,
            found[-1].seq if len(found) == SHOWN else None,
            watch.last,
            explain(watch.last.broken, language) if watch.last.broken else None,
            length,
        )

    return render(request, await aside(gather))


@router.post("/ledger/verify", name="ledger-verify", dependencies=[needs(Action.LEDGER_SEE)])
async def verify_ledger(request: Request, box: TheBox) -> Response:
    """Walk the whole chain now."""
    watch: ChainWatch = request.app.state.chain_watch
    await aside(watch.begin, box.database)
    return RedirectResponse("/ledger", 303)


#: What an entry holds of a document's name: shown to who sees the share, to nobody else.
NAMES_OF_DOCUMENTS: Final = frozenset({"path", "to_path", "file"})


@dataclass(frozen=True, slots=True)
class Readers:
    """Entries in words, for one reader: names of people, and of the documents this reader may see."""

    actors: locums.Actors
    seen: frozenset[int]  # shares
    labels: dict[int, str]
    language: Language

    @classmethod
    def of(cls, connection: Connection, visitor: Visitor, language: Language) -> "Readers":
        """Gather what the words need."""
        held = access.held(connection, visitor.person, now=utc_now())
        labels = {int(each.id): each.label for each in shares.all_living(connection)}
        seen = frozenset(int(each.share.id) for each in held if each.may(Right.SEE))
        may_use = visitor.may(Action.DISK_USE)
        return cls(locums.Actors(connection), seen if may_use else frozenset(), labels, language)

    def actor(self, entry: LedgerEntry) -> str:
        """Return «Claire Martin», «Paul Durand, locum of Claire Martin», «the box»."""
        kind, _, number = entry.actor.partition(":")
        language = self.language
        if kind == "person" and number.isdecimal():
            who = PersonId(int(number))
            name = self.actors.name(who)
            replaced = self.actors.replaced(who, entry.at)
            if name is None or replaced is None:
                return name or entry.actor
            words = mark("%(locum)s, locum of %(replaced)s")
            return translate(words, language, locum=name, replaced=replaced)
        if kind == "job":
            return translate(mark("task %(number)s"), language, number=number)
        if kind in {"box", "web"}:
            return translate(mark("the box"), language)
        if kind == "console":
            return translate(mark("console of the box"), language)
        if kind == "link":
            return translate(mark("correspondent, link %(number)s"), language, number=number)
        return entry.actor

    def document(self, entry: LedgerEntry, name: str = "path") -> str | None:
        """Return the path of the document an entry speaks of, or None: none, or not for this reader."""
        noun, _, number = entry.subject.partition(":")
        if name == "to_path":
            noun, _, number = str(entry.body.get("to", "")).partition(":")
        packed = entry.body.get(name)
        if noun != "share" or not number.isdecimal() or int(number) not in self.seen:
            return None
        if not isinstance(packed, str):
            return None
        try:
            return readable(unpack_path(packed))
        except InvalidInput:
            return None

    def text(self, entry: LedgerEntry) -> tuple[str, str]:
        """Return what happened, and its tone."""
        if entry.event.startswith("proof."):
            return _proof_text(entry, self.language)
        name = EVENT_NAMES.get(entry.event, entry.event)
        if entry.event == "link.made" and entry.subject.startswith("share:"):
            name = mark("link for a correspondent made")
        text = translate(name, self.language)
        return text, tones.BAD if entry.event in _GRAVE else tones.CALM

    def line(self, entry: LedgerEntry) -> EntryLine:
        """Return an entry in words."""
        text, tone = self.text(entry)
        detail = [
            (name, str(value))
            for name, value in entry.body.items()
            if value is not None
            and not isinstance(value, dict | list)
            and name not in NAMES_OF_DOCUMENTS
        ]
        for name in ("path", "to_path"):
            document = self.document(entry, name)
            if document is not None:
                detail.append((name, document))
        return EntryLine(
            entry, self.actor(entry), text, tone, self.subject(entry), detail, _href(entry)
        )

    def subject(self, entry: LedgerEntry) -> str:
        """Return what an entry is about."""
        noun, _, number = entry.subject.partition(":")
        if noun == "box" or number == "None":
            return translate(mark("the box"), self.language)
        if not number.isdecimal():
            text = _NAMED_NOUNS.get(noun)
            return "" if noun == "person" else translate(text or entry.subject, self.language)
        if noun == "person":
            return self.actors.name(PersonId(int(number))) or ""
        if noun == "share":
            return self.labels.get(int(number), entry.subject)
        text = _NOUNS.get(noun)
        return entry.subject if text is None else translate(text, self.language, number=number)


_GRAVE: Final = frozenset(
    {
        "access.refused",
        "anomaly.opened",
        "app-password.refused",
        "clock.went-back",
        "repository.damaged",
        "repository.key-changed",
        "session.refused",
        "snapshot.failed",
        "snapshot.vanished",
    }
)


#: Every kind of proof there is, of sources, of copies and of the whole.
_PROOFS: Final[dict[str, str]] = {
    **{kind.value: name for kind, name in PROOF_NAMES.items()},
    **{kind.value: name for kind, name in COPY_PROOF_NAMES.items()},
    drills.PROOF: mark("exercise: the box made again"),
}


def _proof_text(entry: LedgerEntry, language: Language) -> tuple[str, str]:
    kind = entry.event.removeprefix("proof.")
    name = _PROOFS.get(kind, kind)
    outcome = entry.body.get("outcome")
    if outcome not in set(Outcome):
        return translate(name, language), tones.CALM
    known = Outcome(str(outcome))
    said = f"{translate(name, language)} : {translate(OUTCOME_NAMES[known], language)}"
    return said, tones.OUTCOME[known]


_NOUNS: Final = {
    "source": mark("source %(number)s"),
    "snapshot": mark("snapshot %(number)s"),
    "job": mark("task %(number)s"),
    "target": mark("destination %(number)s"),
    "sender": mark("another box, no. %(number)s"),
    "device": mark("device %(number)s"),
}
#: What is known by a name of its own, which says nothing to a person.
_NAMED_NOUNS: Final = {
    "oidc": mark("another sign-in service"),
    "disk": mark("a labelled disk"),
    "sender": mark("another box"),
}


def _href(entry: LedgerEntry) -> str | None:
    if entry.event == f"proof.{drills.PROOF}":
        return f"/drills/{entry.seq}"
    noun, _, number = entry.subject.partition(":")
    if not number.isdecimal():
        return None
    return {
        "source": f"/sources/{number}",
        "snapshot": f"/snapshots/{number}",
        "job": f"/jobs/{number}",
    }.get(noun)
