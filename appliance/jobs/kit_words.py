"""The kit as the web may handle it: what is known of it, typing the words, and giving a new kit.

Nothing here opens a sealed secret: words a person types are all that is needed. Printing is the
worker's (``replication.kit``, ``replication.kit_sheets``).

Facts: ``kit.recipient`` · ``kit.plan`` (needed, holders) · ``kit.number`` · ``kit.confirmed_at`` ·
``kit.next`` (a kit that takes this one's place once its words were typed) · ``kit.former`` (what opens
objects sealed to kits before) · ``kit.resend-before`` (objects sealed earlier are sent again) ·
``kit.file`` (when the kit file was written, of what).
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import pyrage
from sqlalchemy import Connection

from appliance.db import facts, secrets
from appliance.errors import InvalidInput, NotFound, SheetMissing, SheetOfAnotherKit
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.settings import Settings
from appliance.vault import words
from appliance.vault.seal import seal
from appliance.vault.secret import Secret

SECRET: Final = "kit:secret"  # noqa: S105 - a name
SHEETS: Final = "kit:sheets"
NEXT_SECRET: Final = "kit:next-secret"  # noqa: S105 - a name
NEXT_SHEETS: Final = "kit:next-sheets"
#: What is erased once the words were typed; never part of a copy of the box's state.
ERASED: Final = (SECRET, SHEETS, NEXT_SECRET, NEXT_SHEETS)
RESEND_BEFORE: Final = "kit.resend-before"
#: A rehearsal of the words is asked for so often.
REHEARSE: Final = timedelta(days=365)
LONGEST_HOLDER: Final = 60

What = Literal["confirmed", "rehearsed", "taken-over"]


@dataclass(frozen=True, slots=True)
class KitPlan:
    """Who keeps which sheet; any ``needed`` of them open the copies."""

    needed: int
    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NextKit:
    """A kit that was made and does not count yet."""

    plan: KitPlan
    number: str | None  # five digits, once it was printed
    made_at: datetime
    is_resent: bool  # everything is sent again once it counts


@dataclass(frozen=True, slots=True)
class KitState:
    """What the box knows of its kit; no secret."""

    is_made: bool
    plan: KitPlan | None  # None: nobody chose yet
    number: str | None  # five digits, once sheets were printed
    confirmed_at: datetime | None  # aware UTC: words were typed, for the first time or again
    next: NextKit | None
    has_words: bool  # of the kit to be confirmed: sheets can be printed
    former_numbers: tuple[str, ...]  # kits whose sheets still open what was sent in their time
    file_written_at: datetime | None

    @property
    def rehearse_by(self) -> datetime | None:
        """When the words want to be typed again."""
        return None if self.confirmed_at is None else self.confirmed_at + REHEARSE

    @property
    def printable(self) -> KitPlan | None:
        """The plan of the sheets that may be printed now; None: there are none."""
        if not self.has_words:
            return None
        return self.plan if self.next is None else self.next.plan


def state(connection: Connection) -> KitState:
    """Return what the box knows of its kit."""
    coming = facts.find(connection, "kit.next")
    former = facts.find(connection, "kit.former")
    file = facts.find(connection, "kit.file")
    return KitState(
        is_made=facts.find(connection, "kit.recipient") is not None,
        plan=_plan(facts.find(connection, "kit.plan")),
        number=_text(facts.find(connection, "kit.number")),
        confirmed_at=_moment(facts.find(connection, "kit.confirmed_at")),
        next=_next(coming) if isinstance(coming, dict) else None,
        has_words=secrets.find_sealed(
            connection, NEXT_SECRET if isinstance(coming, dict) else SECRET
        )
        is not None,
        former_numbers=tuple(former["numbers"]) if isinstance(former, dict) else (),
        file_written_at=_moment(file["written_at"]) if isinstance(file, dict) else None,
    )


def checked_plan(needed: int, holders: Sequence[str]) -> KitPlan:
    """Return a plan that can be printed: one sheet, or any two of three.

    Raises:
        InvalidInput: another number of sheets, or a name that is missing, too long or given twice.
    """
    names = tuple(" ".join(each.split()) for each in holders)
    if (needed, len(names)) not in {(1, 1), (2, 3)}:
        raise InvalidInput("holders", mark("one sheet, or three of which two are needed."))
    if not all(names) or any(len(each) > LONGEST_HOLDER for each in names):
        raise InvalidInput("holders", mark("the name of who keeps each sheet."))
    if len({each.casefold() for each in names}) != len(names):
        raise InvalidInput("holders", mark("three different people."))
    return KitPlan(needed, names)


def choose(
    connection: Connection, plan: KitPlan, *, now: datetime, person_id: PersonId | None = None
) -> None:
    """Record who shall keep the sheets; other words are printed from then on.

    Raises:
        NotFound: no kit was made, or its words were typed already: only a new kit has new sheets.
    """
    known = state(connection)
    if not known.is_made or (known.printable is None and known.confirmed_at is not None):
        raise NotFound("kit", known.number or "–")
    if known.printable == plan:
        return
    stored = {"needed": plan.needed, "holders": list(plan.holders)}
    if known.next is not None:
        coming = dict(_stored_next(connection), plan=stored, number=None)
        facts.put(connection, "kit.next", coming, now=now)
        secrets.forget(connection, [NEXT_SHEETS])
    else:
        facts.put(connection, "kit.plan", stored, now=now)
        facts.put(connection, "kit.number", None, now=now)
        secrets.forget(connection, [SHEETS])
    events.record(
        connection,
        at=now,
        event="kit.chosen",
        subject="box",
        person_id=person_id,
        needed=plan.needed,
        sheets=len(plan.holders),
    )


def confirm(
    connection: Connection,
    typed: Sequence[str],
    *,
    now: datetime,
    person_id: PersonId | None = None,
) -> What:
    """As ``confirm_secret``, of the words of each sheet.

    Raises:
        WordUnknown, WordsWrong, SheetTwice, SheetMissing, SheetOfAnotherKit: as ``words.join``.
        NotFound: no kit was made.
    """
    if facts.find(connection, "kit.recipient") is None:
        raise NotFound("kit", "–")
    return confirm_secret(connection, words.join(typed), now=now, person_id=person_id)


def confirm_secret(
    connection: Connection, secret: Secret, *, now: datetime, person_id: PersonId | None = None
) -> What:
    """Check what words typed from the sheets gave, say what that was, and forget the words.

    The first time the secret is erased here; later it is a rehearsal; the words of a new kit put it in
    the place of the one before. Follow it with ``Database.forget_for_good``.

    Raises:
        SheetOfAnotherKit: they are not of this box's kit.
        NotFound: no kit was made.
    """
    recipient = facts.find(connection, "kit.recipient")
    if recipient is None:
        raise NotFound("kit", "–")
    given = words.recipient(secret)
    coming = facts.find(connection, "kit.next")
    what: What
    if isinstance(coming, dict) and given == coming["recipient"]:
        _take_over(connection, coming, now)
        what, event = "taken-over", "kit.rekeyed"
    elif given == recipient:
        is_first = facts.find(connection, "kit.confirmed_at") is None
        what, event = ("confirmed", "kit.confirmed") if is_first else ("rehearsed", "kit.rehearsed")
        if is_first:
            secrets.forget(connection, [SECRET, SHEETS])
    else:
        raise SheetOfAnotherKit(1)
    facts.put(connection, "kit.confirmed_at", now.isoformat(), now=now)
    number = facts.find(connection, "kit.number")
    events.record(connection, at=now, event=event, subject="box", person_id=person_id, kit=number)
    return what


def rekey(
    connection: Connection,
    settings: Settings,
    plan: KitPlan,
    *,
    former: Secret | None = None,
    resend: bool = False,
    now: datetime,
    person_id: PersonId | None = None,
) -> str:
    """Make a kit that takes this one's place once its own words were typed; return its recipient.

    Until then everything goes on being sealed to the kit before: a fire in between finds people with sheets
    that open. Called again, another one is made.

    Args:
        connection: inside ``Database.write()``.
        settings: of the box.
        plan: who keeps the new sheets.
        former: what the words of the kit before gave: the new kit then opens what was sent in its time too.
        resend: send everything again, sealed to the new kit; the only way when the words are lost.
        now: aware UTC.
        person_id: who asked.

    Raises:
        NotFound: no kit was made.
        SheetMissing: neither words nor ``resend``.
        SheetOfAnotherKit: the words are not of the kit before.
    """
    recipient = facts.find(connection, "kit.recipient")
    if recipient is None:
        raise NotFound("kit", "–")
    secret = words.make_secret()
    coming = words.recipient(secret)
    sealed, numbers = "", []
    if former is not None:
        if words.recipient(former) != recipient:
            raise SheetOfAnotherKit(1)
        known = facts.find(connection, "kit.former")
        older: dict[str, Any] = known if isinstance(known, dict) else {"sealed": "", "numbers": []}
        texts = [words.identity(former).reveal()]
        if older["sealed"]:
            texts.append(open_former(older["sealed"], former).reveal())
        made = pyrage.encrypt(b"\n".join(texts), [pyrage.x25519.Recipient.from_str(coming)])
        sealed = base64.b64encode(bytes(made)).decode("ascii")
        numbers = [str(facts.find(connection, "kit.number") or "–"), *older["numbers"]]
    elif not resend:
        current = _plan(facts.find(connection, "kit.plan"))
        raise SheetMissing(0, current.needed if current is not None else 1)
    secrets.put_sealed(connection, NEXT_SECRET, seal(secret, settings.keys), now=now)
    secrets.forget(connection, [NEXT_SHEETS])
    facts.put(
        connection,
        "kit.next",
        {
            "recipient": coming,
            "plan": {"needed": plan.needed, "holders": list(plan.holders)},
            "number": None,
            "made_at": now.isoformat(),
            "former": sealed,
            "numbers": numbers,
            "is_resent": resend,
        },
        now=now,
    )
    events.record(
        connection,
        at=now,
        event="kit.rekey-begun",
        subject="box",
        person_id=person_id,
        needed=plan.needed,
        sheets=len(plan.holders),
        is_resent=resend,
        opens_older=former is not None,
    )
    return coming


def abandon_next(
    connection: Connection, *, now: datetime, person_id: PersonId | None = None
) -> None:
    """Forget a new kit whose words were not typed yet: the one before goes on.

    Raises:
        NotFound: there is none.
    """
    if not isinstance(facts.find(connection, "kit.next"), dict):
        raise NotFound("kit", "–")
    facts.put(connection, "kit.next", None, now=now)
    secrets.forget(connection, [NEXT_SECRET, NEXT_SHEETS])
    events.record(
        connection, at=now, event="kit.rekey-abandoned", subject="box", person_id=person_id
    )


def adopt(connection: Connection, identities: Secret, *, now: datetime) -> None:
    """Make the kit that opened a copy the kit of the box made from it; inside the recovery's write.

    The copied state may be older than a re-key: what is sealed from now on must open with the sheets that
    people have, not with those they have burned. The words were typed, so the kit is confirmed.

    Args:
        connection: of the recovered state.
        identities: an age identity file: the words' own first, then those of kits before.
        now: aware UTC.
    """
    recipient = facts.find(connection, "kit.recipient")
    own, *former = identities.reveal().split()
    given = str(words.openers(Secret(own))[0].to_public())
    coming = facts.find(connection, "kit.next")
    if recipient is None:
        return
    if isinstance(coming, dict) and given == coming["recipient"]:
        _take_over(connection, coming, now)
    elif given != recipient:
        sealed = pyrage.encrypt(b"\n".join(former), [pyrage.x25519.Recipient.from_str(given)])
        text = base64.b64encode(bytes(sealed)).decode("ascii")
        facts.put(connection, "kit.recipient", given, now=now)
        facts.put(
            connection, "kit.former", {"sealed": text, "numbers": []} if former else None, now=now
        )
        for unknown in ("kit.plan", "kit.number", "kit.next", "kit.file"):
            facts.put(connection, unknown, None, now=now)
    secrets.forget(connection, ERASED)
    facts.put(connection, "kit.confirmed_at", now.isoformat(), now=now)


def open_former(sealed: str, secret: Secret) -> Secret:
    """Return the identities of kits before, one a line, out of ``kit.former`` (base64 of age).

    Raises:
        SheetOfAnotherKit: they are sealed to other words.
    """
    opener = pyrage.x25519.Identity.from_str(words.identity(secret).reveal().decode("ascii"))
    try:
        return Secret(bytes(pyrage.decrypt(base64.b64decode(sealed), [opener])))
    except (pyrage.DecryptError, ValueError) as error:
        raise SheetOfAnotherKit(1) from error


def _take_over(connection: Connection, coming: Mapping[str, Any], now: datetime) -> None:
    facts.put(connection, "kit.recipient", coming["recipient"], now=now)
    facts.put(connection, "kit.plan", coming["plan"], now=now)
    facts.put(connection, "kit.number", coming["number"], now=now)
    former = {"sealed": coming["former"], "numbers": coming["numbers"]}
    facts.put(connection, "kit.former", former if coming["former"] else None, now=now)
    if coming["is_resent"]:
        facts.put(connection, RESEND_BEFORE, now.isoformat(), now=now)
    facts.put(connection, "kit.next", None, now=now)
    secrets.forget(connection, ERASED)


def _stored_next(connection: Connection) -> dict[str, Any]:
    found = facts.find(connection, "kit.next")
    return dict(found) if isinstance(found, dict) else {}


def _next(stored: Mapping[str, Any]) -> NextKit:
    plan = _plan(stored["plan"])
    assert plan is not None  # noqa: S101 - it is stored with one
    return NextKit(
        plan, stored["number"], datetime.fromisoformat(stored["made_at"]), stored["is_resent"]
    )


def _plan(stored: object) -> KitPlan | None:
    if not isinstance(stored, dict):
        return None
    return KitPlan(int(stored["needed"]), tuple(stored["holders"]))


def _text(stored: object) -> str | None:
    return stored if isinstance(stored, str) else None


def _moment(stored: object) -> datetime | None:
    return datetime.fromisoformat(stored) if isinstance(stored, str) else None
