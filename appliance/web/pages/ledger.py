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
EVENT_NAMES: Final[dict[str, str]] = {
    "access.refused": mark("access refused"),
    "anomaly.close": mark("alarm closed"),
    "anomaly.opened": mark("alarm raised"),
    "app-password.made": mark("password of a program made"),
    "app-password.refused": mark("wrong passwords of a program"),
    "app-password.revoked": mark("password of a program revoked"),
    "backup.ask": mark("backup asked for"),
    "box.made": mark("box set up"),
    "box.recovered": mark("box made again from a copy"),
    "box.recovery-finished": mark("recovery finished"),
    "clock.accepted": mark("clock accepted"),
    "clock.right-again": mark("the clock is right again"),
    "clock.went-back": mark("the clock went back"),
    "copy.forged": mark("something under our name that is not ours found at a destination"),
    "copy.forged-accepted": mark("what is not ours at a destination passed over"),
    "copy.generations-removed": mark("old generations of a copy removed"),
    "copy.published": mark("copy sent"),
    "disk.away": mark("disk unmounted, free to go"),
    "disk.copying": mark("copy to a disk begun"),
    "disk.done": mark("copy to a disk complete"),
    "disk.failed": mark("copy to a disk not complete"),
    "disk.labelled": mark("disk labelled"),
    "disk.pulled-out": mark("disk pulled out during a copy"),
    "drill.ask": mark("exercise asked for"),
    "emergency.begun": mark("emergency access taken"),
    "emergency.ended": mark("emergency access ended"),
    "emergency.minutes-set": mark("length of emergency access changed"),
    "emergency.reviewed": mark("emergency access reviewed"),
    "file.added": mark("file added"),
    "file.case-copied": mark("case copied"),
    "file.copied": mark("file copied"),
    "file.deleted": mark("file deleted"),
    "file.moved": mark("file moved or renamed"),
    "file.open": mark("file opened"),
    "file.opened": mark("file opened"),
    "file.put-back": mark("file put back"),
    "file.zipped": mark("files downloaded as one archive"),
    "file.series-opened": mark("a series of pictures opened"),
    "file.dicom-fields": mark("who a picture is of, asked for"),
    "files.restored": mark("files restored"),
    "folder.made": mark("folder made"),
    "job.cancel": mark("task stopped"),
    "job.cancel-asked": mark("task stopped"),
    "kit.access-set": mark("credentials for reading a copy entered"),
    "kit.chosen": mark("sheets of the kit chosen"),
    "kit.confirmed": mark("words of the kit confirmed"),
    "kit.file-written": mark("kit file written"),
    "kit.made": mark("recovery kit made"),
    "kit.printed": mark("sheet of the kit printed"),
    "kit.rehearsed": mark("words of the kit rehearsed"),
    "kit.rekey-abandoned": mark("new kit given up"),
    "kit.rekey-begun": mark("new kit begun"),
    "kit.rekeyed": mark("new kit in force"),
    "kit.split": mark("words of the kit made"),
    "ledger.asked": mark("journal asked about an account"),
    "ledger.keeping-set": mark("how long the journal is kept changed"),
    "ledger.pruned": mark("old entries of the journal removed"),
    "link.made": mark("one-time link made"),
    "locum.ended": mark("replacement ended"),
    "locum.extended": mark("end of a replacement moved"),
    "locum.prepared": mark("replacement prepared"),
    "locum.rules-changed": mark("rules of replacements changed"),
    "machine.confirmed": mark("identity of a machine confirmed"),
    "machine.host-key-confirmed": mark("identity of a machine confirmed"),
    "machine.push-key": mark("key of a machine that sends by itself"),
    "password.change": mark("password changed"),
    "people.reviewed": mark("rights reviewed and signed"),
    "person.add": mark("account made"),
    "person.close": mark("account closed"),
    "person.informed": mark("information about the journal read"),
    "plan.change": mark("plan changed"),
    "prune.ask": mark("removal of old snapshots asked for"),
    "prune.refused": mark("removal of old snapshots refused"),
    "recipes.change": mark("recipes changed"),
    "repository.damaged": mark("damage found in a repository"),
    "repository.key-changed": mark("key of a repository changed"),
    "repository.made": mark("repository made"),
    "repository.mended": mark("repository mended from a copy"),
    "repository.passphrase-shown": mark("passphrase of a repository shown"),
    "restore.ask": mark("restore asked for"),
    "session.end": mark("signed out"),
    "session.refused": mark("sign-in refused"),
    "session.revoke": mark("session ended from another one"),
    "session.start": mark("signed in"),
    "settings.changed": mark("setting changed"),
    "share.made": mark("share made"),
    "smb.applied": mark("rights in the file explorer set"),
    "smb.connected": mark("connected by the file explorer"),
    "smb.refused": mark("refused by the file explorer"),
    "smb.password": mark("password of the file explorer changed"),
    "share.recovered": mark("share brought back"),
    "share.rights": mark("rights of a share changed"),
    "snapshot.failed": mark("backup failed"),
    "snapshot.imported": mark("sent snapshot read"),
    "snapshot.listed-afterwards": mark("snapshot listed after an interruption"),
    "snapshot.mark": mark("protection of a snapshot changed"),
    "snapshot.removal-recorded": mark("removal of a snapshot recorded"),
    "snapshot.removed": mark("old snapshot removed"),
    "snapshot.taken": mark("snapshot taken"),
    "snapshot.vanished": mark("snapshot disappeared"),
    "source.added": mark("source added"),
    "source.removed": mark("source removed"),
    "target.added": mark("destination added"),
    "target.adopted": mark("copy carried by disk read"),
    "target.bandwidth-set": mark("pace of a destination changed"),
    "target.changed": mark("destination changed"),
    "target.dossier-changed": mark("host file changed"),
    "target.host-key-confirmed": mark("identity of a destination confirmed"),
    "target.key-made": mark("key for a destination made"),
    "target.nature-declared": mark("nature of a destination declared"),
    "target.removed": mark("destination removed"),
    "verification.ask": mark("verification asked for"),
}


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
        text = translate(EVENT_NAMES.get(entry.event, entry.event), self.language)
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
        if not number.isdecimal():
            return "" if noun == "person" else entry.subject
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
