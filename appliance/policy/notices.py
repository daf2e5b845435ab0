"""What leaves the box, when and in which words: pure.

A message goes through programs and providers the practice does not hold. It says what kind of thing happened and
when; no name leaves (docs/decisions/0193): not of a patient or a file, nor of a person, a share, a machine or an
address of the network. Who wants to know more opens the box.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Any, Final

from appliance.language import Language, mark, translate, translate_count
from appliance.policy.wording import in_language

HIDDEN: Final = "…"


class Topic(StrEnum):
    """What notices are about: chosen for each way."""

    BOX = "box"  # findings: backups, copies, disk, kit, certificate, yearly review
    DIGEST = "digest"  # «all is well», now and then
    ACCOUNT = "account"  # sign-ins
    EMERGENCY = "emergency"
    LOCUM = "locum"
    LINKS = "links"  # files that arrived


TOPIC_NAMES: Final[dict[Topic, str]] = {
    Topic.BOX: mark("What needs doing on the box: backups, copies, disk, kit, certificate"),
    Topic.DIGEST: mark("Now and then: that all is well, or what is not"),
    Topic.ACCOUNT: mark("Sign-ins: a new browser, a locked account"),
    Topic.EMERGENCY: mark("Emergency access that was taken"),
    Topic.LOCUM: mark("Replacements that begin or end"),
    Topic.LINKS: mark("Files that arrived by a request of mine"),
}
#: What concerns those who run the box, and what concerns one person.
OF_THE_BOX: Final = (Topic.BOX, Topic.DIGEST, Topic.ACCOUNT, Topic.EMERGENCY)
OF_A_PERSON: Final = (Topic.ACCOUNT, Topic.EMERGENCY, Topic.LOCUM, Topic.LINKS)

_TOPICS: Final = {
    "finding": Topic.BOX,
    "sign-in": Topic.ACCOUNT,
    "account": Topic.ACCOUNT,
    "emergency": Topic.EMERGENCY,
    "locum": Topic.LOCUM,
    "link": Topic.LINKS,
    "digest": Topic.DIGEST,
}

TEST: Final = "test.way"
DIGEST_WELL: Final = "digest.well"
DIGEST_UNWELL: Final = "digest.unwell"


class Urgency(StrEnum):
    """Whether a notice waits."""

    NOW = "now"
    USUAL = "usual"  # not in quiet hours


#: What somebody may have to act on at once, at night too.
_AT_ONCE: Final = frozenset(
    {
        TEST,
        "emergency.begun",
        "sign-in.new-device",
        "sign-in.locks",
        "account.email-changed",
        "account.envelope-opened",
    }
)

#: In place of a notice's own sentence, which names people and shares.
OUTSIDE: Final[dict[str, str]] = {
    "account.envelope-opened": mark(
        "The sealed envelope of the practice was opened. If nobody should have, withdraw it."
    ),
    "emergency.begun": mark(
        "An emergency access was taken, until %(ends_at)s: it is to be reviewed."
    ),
    "locum.prepared": mark("A replacement of you was prepared, until %(ends_at)s."),
    "locum.ended": mark("A replacement is over: its report can be read."),
    "locum.starts-soon": mark("A replacement begins on %(starts_at)s."),
    "locum.ends-soon": mark("A replacement ends on %(ends_at)s: extend it if it must go on."),
    "sign-in.new-device": mark(
        "Somebody signed in to your account from a new browser."
        " If it was not you, change your password and end that session."
    ),
    "sign-in.locks": mark("An account was locked %(count)s times today after failed sign-ins."),
    "link.arrived": mark("Files arrived by a request of yours (%(count)s): accept or refuse them."),
    "link.expiring": mark(
        "Files that came by a request of yours (%(count)s) are removed soon: accept or refuse them."
    ),
    "link.lost": mark(
        "Files that came by a request of yours (%(count)s) were lost: ask the sender again."
    ),
}

#: How a finding's story goes on.
FINDING_BEGUN: Final = "finding.begun"
FINDING_WORSE: Final = "finding.worse"
FINDING_STILL: Final = "finding.still"
FINDING_ENDED: Final = "finding.ended"
PREFIXES: Final[dict[str, str]] = {
    FINDING_BEGUN: mark("To do: %(said)s"),
    FINDING_WORSE: mark("This got worse: %(said)s"),
    FINDING_STILL: mark("This is still so: %(said)s"),
    FINDING_ENDED: mark("This is over: %(said)s"),
}

#: Why nothing leaves.
PROBLEMS: Final[dict[str, str]] = {
    "no-server": mark("No e-mail server is set."),
    "not-opened": mark("What is needed to send could not be opened: set it again."),
    "unreachable": mark("The server does not answer: check its name, its port and the line."),
    "certificate": mark("The server's certificate is not trusted."),
    "no-encryption": mark("The server offers no encryption: nothing is sent without."),
    "password": mark("The server refuses the user name or the password."),
    "sender": mark("The server refuses the sender's address."),
    "recipient": mark("The server knows no such mailbox: correct the recipient's address."),
    "relay": mark(
        "The server passes nothing on to this recipient: check its name, its user name and the sender's address."
    ),
    "refused": mark("The server refuses the message."),
    "later": mark("The server asks to try again later."),
    "address": mark("This address asks for something that is not allowed: set it again."),
    "service": mark("The service did not take the message: check its address and its key."),
}
#: Nothing changes by trying again: only another address does.
FINAL: Final = frozenset({"recipient"})


def topic_of(code: str) -> Topic | None:
    """Return what a notice is about; None: it is told in the box only."""
    return _TOPICS.get(code.partition(".")[0])


def urgency_of(code: str, *, is_grave: bool) -> Urgency:
    """Return whether it waits; ``is_grave``: it is about an alarm."""
    grave = is_grave and code in {FINDING_BEGUN, FINDING_WORSE}
    return Urgency.NOW if grave or code in _AT_ONCE else Urgency.USUAL


# --- when ----------------------------------------------------------------------------------

#: A notice that did not leave by then is given up; the box's own page keeps it.
KEPT: Final = timedelta(days=3)
#: Before each further attempt.
WAITS: Final = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=4),
)
#: Between two messages by one way, unless something cannot wait.
APART: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Rules:
    """How the practice wants to be told."""

    quiet_from: time = time(21)
    quiet_until: time = time(7)  # the same: no quiet hours
    digest_days: int = 7  # 0: never
    digest_at: time = time(8)
    base_url: str = ""  # «https://box:8443»: where messages lead

    @staticmethod
    def of(stored: Mapping[str, object]) -> "Rules":
        """Return the rules that are stored; what cannot be read is as built."""
        usual = Rules()
        days = stored.get("digest_days")
        url = stored.get("base_url")
        return Rules(
            _clock(stored.get("quiet_from"), usual.quiet_from),
            _clock(stored.get("quiet_until"), usual.quiet_until),
            days if isinstance(days, int) and days in {0, 1, 7} else usual.digest_days,
            _clock(stored.get("digest_at"), usual.digest_at),
            url if isinstance(url, str) else "",
        )

    def stored(self) -> dict[str, Any]:
        """Return the rules as JSON values."""
        return {
            "quiet_from": f"{self.quiet_from:%H:%M}",
            "quiet_until": f"{self.quiet_until:%H:%M}",
            "digest_days": self.digest_days,
            "digest_at": f"{self.digest_at:%H:%M}",
            "base_url": self.base_url,
        }


def _clock(value: object, usual: time) -> time:
    try:
        return time.fromisoformat(str(value)) if value is not None else usual
    except ValueError:
        return usual


def is_quiet(rules: Rules, now: datetime, tz: tzinfo) -> bool:
    """Return whether ``now`` lies in the quiet hours, which may go over midnight."""
    begins, ends, at = rules.quiet_from, rules.quiet_until, now.astimezone(tz).time()
    if begins == ends:
        return False
    if begins < ends:
        return begins <= at < ends
    return at >= begins or at < ends


def first_try(
    urgency: Urgency, rules: Rules, now: datetime, tz: tzinfo, last_sent: datetime | None = None
) -> datetime:
    """Return when a notice leaves at the earliest.

    Args:
        urgency: of it.
        rules: of the practice.
        now: aware.
        tz: the practice's.
        last_sent: when a message last left by this way: what can wait is gathered.
    """
    if urgency is Urgency.NOW:
        return now
    at = now if last_sent is None else max(now, min(last_sent, now) + APART)
    if not is_quiet(rules, at, tz):
        return at
    local = at.astimezone(tz)
    ends = local.replace(
        hour=rules.quiet_until.hour, minute=rules.quiet_until.minute, second=0, microsecond=0
    )
    return ends if ends > local else ends + timedelta(days=1)


def next_try(attempts: int, problem: str, noticed_at: datetime, now: datetime) -> datetime | None:
    """Return when to try again after ``attempts`` that failed; None: it is given up."""
    if problem in FINAL or now - noticed_at >= KEPT:
        return None
    return now + WAITS[min(max(attempts, 1), len(WAITS)) - 1]


def digest_due(
    rules: Rules, now: datetime, tz: tzinfo, last: datetime | None, since: datetime | None
) -> bool:
    """Return whether the message that says how the box is goes now.

    Args:
        rules: of the practice.
        now: aware.
        tz: the practice's.
        last: when it last went.
        since: since when a way that wants it is there; None: none is.
    """
    if rules.digest_days == 0 or since is None:
        return False
    if now.astimezone(tz).time() < rules.digest_at:
        return False
    begun = last if last is not None and last > since else since
    # By days of the calendar: one that went at 8:02 does not go at 8:05 a week later, then at 8:10.
    return (now.astimezone(tz).date() - begun.astimezone(tz).date()).days >= rules.digest_days


def ping_due(*, proven_at: datetime | None, last: datetime | None, now: datetime) -> bool:
    """Return whether the outside monitor is told that a night is behind us, if it was a good one: once for each.

    Silence is the alarm, so nothing is said unless all is proven (domain.md row 6); that is asked after this,
    for it is a reading of everything.

    Args:
        proven_at: the newest proof.
        last: when it was last told.
        now: aware.
    """
    if proven_at is None or proven_at > now:
        return False
    return last is None or last < proven_at


# --- words ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One notice, as it may leave the box."""

    code: str
    text: str  # English template
    facts: Mapping[str, object]
    at: datetime


def outside_words(line: Line, language: Language, tz: tzinfo) -> str:
    """Return the sentence that may leave: numbers, moments and lengths of time; «…» for every name."""
    facts = {name: _shown(value, tz) for name, value in line.facts.items() if name != "reason"}
    facts = in_language(facts, language)
    facts["reason"] = HIDDEN
    reason = line.facts.get("reason")
    if isinstance(reason, str) and translate(reason, "fr") != reason:
        # The program's own words are translated: anything else may be somebody's.
        facts["reason"] = translate(reason, language)
    text = OUTSIDE.get(line.code, line.text)
    said = _filled(text, facts, language)
    prefix = PREFIXES.get(line.code)
    return said if prefix is None else translate(prefix, language, said=said)


def _filled(text: str, facts: Mapping[str, object], language: Language) -> str:
    try:
        return translate(text, language, **facts)
    except (KeyError, TypeError, ValueError):
        # A text of another version: its own words say too little to be worth a guess.
        return translate(mark("Something happened: look at the box."), language)


def _shown(value: object, tz: tzinfo) -> object:
    if isinstance(value, datetime):
        return value.astimezone(tz).strftime("%d/%m/%Y %H:%M")
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        return HIDDEN
    return value


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent by one way."""

    title: str
    body: str


#: More than that in one message are counted.
MOST_LINES: Final = 20


def message(
    lines: Sequence[Line], language: Language, tz: tzinfo, *, base_url: str = ""
) -> Message:
    """Return one message of one or several notices, the oldest first.

    Raises:
        ValueError: there is nothing to say.
    """
    if not lines:
        raise ValueError("no notice")
    said = [(each.at, outside_words(each, language, tz)) for each in lines]
    if len(said) == 1:
        title = said[0][1]
    else:
        title = translate_count(
            mark("%(count)s thing to look at"),
            mark("%(count)s things to look at"),
            len(said),
            language,
        )
    shown = [f"- {_short(at, tz)} : {text}" for at, text in said[:MOST_LINES]]
    if len(said) > MOST_LINES:
        shown.append(
            "- " + translate(mark("and %(count)s more."), language, count=len(said) - MOST_LINES)
        )
    where = (
        translate(mark("More about it: %(url)s"), language, url=f"{base_url}/notices")
        if base_url
        else translate(mark("Sign in to the box to know more."), language)
    )
    end = translate(
        mark("Sent by the practice's box. Names stay inside it: none is in this message."), language
    )
    return Message(_one_line(title), "\n".join([*shown, "", where, "", end]))


def _short(at: datetime, tz: tzinfo) -> str:
    return at.astimezone(tz).strftime("%d/%m %H:%M")


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 120 else words[:119] + "…"


def wanted(topics: Iterable[str]) -> list[str]:
    """Return the topics among ``topics`` that exist, sorted: what is stored with a way."""
    return sorted({each.value for each in Topic} & set(topics))
