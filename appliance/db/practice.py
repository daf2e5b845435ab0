"""What the practice chose and several rooms go by, out of facts; the program's own choice where nothing was."""

from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from appliance.db import facts
from appliance.language import DEFAULT, Language
from appliance.model import Plan
from appliance.policy import outside_links
from appliance.settings import Settings

NAME: Final = "practice.name"
ADDRESS: Final = "practice.address"
LANGUAGE: Final = "practice.language"
TIME_ZONE: Final = "practice.time-zone"
#: {"start": "20:00", "end": "06:00"}
NIGHTS: Final = "nights.window"
BIN_DAYS: Final = "shares.bin-days"
#: {"longest_days": 90, "days": 7, "password": false}
LINKS: Final = "links.rules"
TEXTS: Final = "search.texts"
DICOM: Final = "search.dicom"
USUAL_BIN_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class LinkRules:
    """What a correspondent's link may be here, within ``policy.outside_links``."""

    longest_days: int = outside_links.LONGEST_DAYS
    days: int = outside_links.DEFAULT_DAYS  # that the form proposes
    needs_password: bool = False


@dataclass(frozen=True, slots=True)
class Searched:
    """What the search knows of documents besides their names."""

    texts: bool = True  # the words in them
    dicom: bool = False  # patient and examination of pictures

    def __str__(self) -> str:
        """Return it as an index remembers under which choice it was made."""
        return f"texts={self.texts:d} dicom={self.dicom:d}"


def name(connection: Connection) -> str:
    """Return the practice's name; empty: nobody gave it."""
    return _text(connection, NAME)


def address(connection: Connection) -> str:
    """Return the practice's postal address, lines parted by newlines; empty: nobody gave it."""
    return _text(connection, ADDRESS)


def language(connection: Connection) -> Language:
    """Return the language of new accounts: that of the first one, until another was chosen."""
    found = facts.find(connection, LANGUAGE)
    return "en" if found == "en" else "fr" if found == "fr" else DEFAULT


def in_force(connection: Connection, settings: Settings) -> Settings:
    """Return the box's settings with what the practice chose in their place: its time zone.

    For whoever begins something: a request, a turn of the planner, a job, a command. So nothing has to be started
    again.
    """
    chosen = _text(connection, TIME_ZONE)
    if not chosen or chosen == settings.time_zone:
        return settings
    try:
        ZoneInfo(chosen)
    except (KeyError, OSError, ValueError):
        return settings  # a system that does not know it: that of the file goes on
    return replace(settings, time_zone=chosen)


def usual_plan(connection: Connection) -> Plan:
    """Return the plan of a new source: the program's, at the practice's hours."""
    found = facts.find(connection, NIGHTS)
    if not isinstance(found, dict):
        return Plan()
    return replace(Plan(), window_start=str(found["start"]), window_end=str(found["end"]))


def bin_days(connection: Connection) -> int:
    """Return how many days the bin of a new share keeps."""
    found = facts.find(connection, BIN_DAYS)
    return found if isinstance(found, int) else USUAL_BIN_DAYS


def link_rules(connection: Connection) -> LinkRules:
    """Return what the practice chose for links."""
    found = facts.find(connection, LINKS)
    if not isinstance(found, dict):
        return LinkRules()
    longest = min(int(found["longest_days"]), outside_links.LONGEST_DAYS)
    return LinkRules(longest, min(int(found["days"]), longest), bool(found["password"]))


def searched(connection: Connection, usual: Searched) -> Searched:
    """Return what the search reads of documents; ``usual``: where the practice has not chosen."""
    texts, dicom = facts.find(connection, TEXTS), facts.find(connection, DICOM)
    return Searched(
        texts if isinstance(texts, bool) else usual.texts,
        dicom if isinstance(dicom, bool) else usual.dicom,
    )


def _text(connection: Connection, fact: str) -> str:
    found = facts.find(connection, fact)
    return found if isinstance(found, str) else ""
