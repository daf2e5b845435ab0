"""What the practice may choose: one table of keys with their bounds, who may change them, and their words.

Pages, the API and ``armoire settings`` all read this table; ``accounts.practice_settings`` stores what was
chosen. What is not here lies in ``armoire.toml`` and needs the box to be started again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.policy import ledger_keeping, outside_links, throttle
from appliance.policy.roles import Action
from appliance.units import HOUR_S, MINUTE_S

Value = str | int | bool


class Kind(StrEnum):
    """How a value is written."""

    TEXT = "text"
    LINES = "lines"
    NUMBER = "number"
    TIME = "time"  # HH:MM, local time of the practice
    YES_NO = "yes-no"
    CHOICE = "choice"


class Group(StrEnum):
    """What belongs together on the page, in its order."""

    PRACTICE = "practice"
    NIGHTS = "nights"
    SIGN_IN = "sign-in"
    SHARES = "shares"
    LINKS = "links"
    SEARCH = "search"
    LOCUMS = "locums"
    LEDGER = "ledger"


#: Who changes these shows again who they are: a stranger at an open screen must not weaken the door.
PROVEN: Final = frozenset({Group.SIGN_IN})
LONGEST_NAME: Final = 200
LONGEST_ADDRESS: Final = 500
LONGEST_REASON: Final = 500
_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_NUMBER: Final = re.compile(r"\d{1,6}")
_IDLE_MOST: Final = int(throttle.IDLE_AT_MOST.total_seconds() // MINUTE_S)
_LOCAL_MOST: Final = int(throttle.LOCAL_SESSION.total_seconds() // HOUR_S)
_REMOTE_MOST: Final = int(throttle.REMOTE_SESSION.total_seconds() // HOUR_S)


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing the practice chooses."""

    key: str  # «links.longest-days»; the part before the dot is not always the group
    group: Group
    kind: Kind
    action: Action  # whoever may do this may change it
    label: str
    hint: str = ""
    expected: str = ""  # what is said when something else was given
    least: int = 0
    most: int = 0
    longest: int = 0  # characters of a text
    choices: tuple[tuple[str, str], ...] = ()  # value, words

    @property
    def is_proven(self) -> bool:
        """Whether who changes it showed just now who they are."""
        return self.group in PROVEN


#: Where a practice may be; another zone is named in the settings file.
TIME_ZONES: Final = (
    ("Europe/Paris", mark("Metropolitan France")),
    ("America/Guadeloupe", mark("Guadeloupe, Saint Martin, Saint Barthélemy")),
    ("America/Martinique", "Martinique"),
    ("America/Cayenne", mark("French Guiana")),
    ("America/Miquelon", mark("Saint Pierre and Miquelon")),
    ("Indian/Reunion", mark("Réunion")),
    ("Indian/Mayotte", "Mayotte"),
    ("Pacific/Noumea", mark("New Caledonia")),
    ("Pacific/Wallis", mark("Wallis and Futuna")),
    ("Pacific/Tahiti", mark("Tahiti and the Society Islands")),
    ("Pacific/Marquesas", mark("Marquesas Islands")),
    ("Pacific/Gambier", mark("Gambier Islands")),
)

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "practice.name", Group.PRACTICE, Kind.TEXT, Action.SETTINGS_CHANGE,
        mark("Name of the practice"),
        hint=mark("On the recovery kit, on the letters to a host, on the sheets of restores."),
        expected=mark("A name of 2 to 200 characters."),
        least=2, longest=LONGEST_NAME,
    ),
    Setting(
        "practice.address", Group.PRACTICE, Kind.LINES, Action.SETTINGS_CHANGE,
        mark("Postal address"),
        hint=mark("For the letters that are printed and signed. It may stay empty."),
        expected=mark("An address of 500 characters at most, on six lines at most."),
        longest=LONGEST_ADDRESS,
    ),
    Setting(
        "practice.language", Group.PRACTICE, Kind.CHOICE, Action.SETTINGS_CHANGE,
        mark("Language of new accounts"),
        hint=mark("Each person may choose another for themselves, at the bottom of any page."),
        expected=mark("French or English."),
        choices=(("fr", "Français"), ("en", "English")),
    ),
    Setting(
        "practice.time-zone", Group.PRACTICE, Kind.CHOICE, Action.SETTINGS_CHANGE,
        mark("Time zone"),
        hint=mark("Nights and everything that is planned follow the clock of this place."),
        expected=mark("One of the time zones of the list."),
        choices=TIME_ZONES,
    ),
    Setting(
        "nights.start", Group.NIGHTS, Kind.TIME, Action.SETTINGS_CHANGE,
        mark("The night begins at"),
        expected=mark("A time such as 20:00."),
    ),
    Setting(
        "nights.end", Group.NIGHTS, Kind.TIME, Action.SETTINGS_CHANGE,
        mark("No backup begins after"),
        hint=mark(
            "For every machine and share that has no hours of its own; theirs are changed in their plan."
        ),
        expected=mark("A time such as 06:00, another than the beginning."),
    ),
    Setting(
        "sign-in.second-factor-for-all", Group.SIGN_IN, Kind.YES_NO, Action.PEOPLE_CHANGE,
        mark("Second factor for everybody, at the practice too"),
        hint=mark("From outside it is always asked for, and of those who run the box everywhere."),
        expected=mark("Yes or no."),
    ),
    Setting(
        "sign-in.idle-minutes", Group.SIGN_IN, Kind.NUMBER, Action.PEOPLE_CHANGE,
        mark("Minutes without a click after which a session ends"),
        expected=mark("From 5 to 30 minutes."),
        least=5, most=_IDLE_MOST,
    ),
    Setting(
        "sign-in.local-hours", Group.SIGN_IN, Kind.NUMBER, Action.PEOPLE_CHANGE,
        mark("Hours a session lasts at most, at the practice"),
        expected=mark("From 1 to 12 hours."),
        least=1, most=_LOCAL_MOST,
    ),
    Setting(
        "sign-in.remote-hours", Group.SIGN_IN, Kind.NUMBER, Action.PEOPLE_CHANGE,
        mark("Hours a session lasts at most, from outside"),
        expected=mark("From 1 to 4 hours."),
        least=1, most=_REMOTE_MOST,
    ),
    Setting(
        "shares.bin-days", Group.SHARES, Kind.NUMBER, Action.SHARES_CHANGE,
        mark("Days the bin keeps what was deleted"),
        hint=mark(
            "For new shares, and for those that have no number of their own. Snapshots keep it longer."
        ),
        expected=mark("A number of days, from 1 to 3650."),
        least=1, most=3650,
    ),
    Setting(
        "links.longest-days", Group.LINKS, Kind.NUMBER, Action.SHARES_CHANGE,
        mark("Days a correspondent's link is good for, at most"),
        expected=mark("From 1 to 90 days, please."),
        least=1, most=outside_links.LONGEST_DAYS,
    ),
    Setting(
        "links.days", Group.LINKS, Kind.NUMBER, Action.SHARES_CHANGE,
        mark("Days the form proposes"),
        expected=mark("A number of days that is not above the longest."),
        least=1, most=outside_links.LONGEST_DAYS,
    ),
    Setting(
        "links.password", Group.LINKS, Kind.YES_NO, Action.SHARES_CHANGE,
        mark("A password on every link"),
        hint=mark("Else it is proposed, and who makes the link may leave it out."),
        expected=mark("Yes or no."),
    ),
    Setting(
        "search.texts", Group.SEARCH, Kind.YES_NO, Action.SHARES_CHANGE,
        mark("Find documents by the words in them"),
        hint=mark("Else by their names only, and the box keeps no words of theirs."),
        expected=mark("Yes or no."),
    ),
    Setting(
        "search.dicom", Group.SEARCH, Kind.YES_NO, Action.SHARES_CHANGE,
        mark("Find medical images by patient and examination too"),
        hint=mark(
            "The search then keeps these fields of DICOM files on the box; else images are found by"
            " their names only. The search is built anew, which takes some minutes."
        ),
        expected=mark("Yes or no."),
    ),
    Setting(
        "locums.case-copies", Group.LOCUMS, Kind.YES_NO, Action.PEOPLE_CHANGE,
        mark("A replacement may be allowed to copy documents into their own folder"),
        hint=mark("Decided again for each replacement; each copy is written into the journal."),
        expected=mark("Yes or no."),
    ),
    Setting(
        "locums.most-days", Group.LOCUMS, Kind.NUMBER, Action.PEOPLE_CHANGE,
        mark("Days a replacement lasts at most"),
        expected=mark("From 1 to 366 days."),
        least=1, most=366,
    ),
    Setting(
        "emergency.minutes", Group.LOCUMS, Kind.NUMBER, Action.EMERGENCY_REVIEW,
        mark("Minutes an emergency access lasts"),
        expected=mark("From 5 to 240 minutes."),
        least=5, most=240,
    ),
    Setting(
        "ledger.months", Group.LEDGER, Kind.NUMBER, Action.PEOPLE_CHANGE,
        mark("Months the journal is kept"),
        hint=mark("Twelve is the rule; more needs a reason that can be told to the CNIL."),
        expected=mark("From 6 to 36 months."),
        least=ledger_keeping.MONTHS_BOUNDS[0], most=ledger_keeping.MONTHS_BOUNDS[1],
    ),
    Setting(
        "ledger.reason", Group.LEDGER, Kind.TEXT, Action.PEOPLE_CHANGE,
        mark("Reason for more than twelve months"),
        expected=mark("A reason of 500 characters at most."),
        longest=LONGEST_REASON,
    ),
)  # fmt: skip
BY_KEY: Final[Mapping[str, Setting]] = {each.key: each for each in SETTINGS}

GROUP_NAMES: Final[Mapping[Group, str]] = {
    Group.PRACTICE: mark("The practice"),
    Group.NIGHTS: mark("Nights"),
    Group.SIGN_IN: mark("Signing in"),
    Group.SHARES: mark("Shares and their bin"),
    Group.LINKS: mark("Links for correspondents"),
    Group.SEARCH: mark("Finding documents"),
    Group.LOCUMS: mark("Replacements and emergency access"),
    Group.LEDGER: mark("Journal"),
}


def setting(key: str) -> Setting:
    """Return the setting of this key.

    Raises:
        InvalidInput: there is none.
    """
    found = BY_KEY.get(key)
    if found is None:
        raise InvalidInput(key[:80], mark("The name of a setting."))
    return found


def parse(known: Setting, given: object) -> Value:
    """Return a value out of what a form, a program or a command line gave.

    Raises:
        InvalidInput: it is not one; ``expected`` says what would be.
    """
    found: Value | None = None
    match known.kind:
        case Kind.TEXT:
            found = _text(known, " ".join(given.split()) if isinstance(given, str) else None)
        case Kind.LINES:
            found = _text(known, _lines(given))
        case Kind.NUMBER:
            found = _number(known, given)
        case Kind.TIME:
            found = given if isinstance(given, str) and _TIME.fullmatch(given) else None
        case Kind.YES_NO:
            found = given if isinstance(given, bool) else _YES_NO.get(str(given).casefold())
        case Kind.CHOICE:
            is_one = isinstance(given, str) and any(given == value for value, _ in known.choices)
            found = str(given) if is_one else None
    if found is None:
        raise InvalidInput(known.key, known.expected)
    return found


def check_together(values: Mapping[str, Value]) -> None:
    """Return when all values fit each other; ``values`` has every key.

    Raises:
        InvalidInput: two of them do not.
    """
    if values["nights.start"] == values["nights.end"]:
        raise InvalidInput("nights.end", BY_KEY["nights.end"].expected)
    if int(values["links.days"]) > int(values["links.longest-days"]):
        raise InvalidInput("links.days", BY_KEY["links.days"].expected)
    wrong = ledger_keeping.problem(int(values["ledger.months"]), str(values["ledger.reason"]))
    if wrong is not None:
        raise InvalidInput("ledger.months", wrong)


#: What a form's tick, a command line and a program in a hurry write.
_YES_NO: Final[Mapping[str, bool]] = {
    "yes": True, "true": True, "on": True, "1": True, "oui": True,
    "no": False, "false": False, "off": False, "0": False, "non": False, "": False,
}  # fmt: skip
_MOST_LINES: Final = 6


def _text(known: Setting, text: str | None) -> str | None:
    if text is None or not known.least <= len(text) <= known.longest:
        return None
    return text if all(each.isprintable() or each == "\n" for each in text) else None


def _lines(given: object) -> str | None:
    if not isinstance(given, str):
        return None
    lines = [" ".join(line.split()) for line in given.strip().splitlines()]
    return "\n".join(lines) if len(lines) <= _MOST_LINES else None


def _number(known: Setting, given: object) -> int | None:
    if isinstance(given, str) and given.isascii() and _NUMBER.fullmatch(given.strip()):
        given = int(given.strip())
    if isinstance(given, bool) or not isinstance(given, int):
        return None
    return given if known.least <= given <= known.most else None
