"""Reading and changing what the practice chose; each change is an entry of the journal.

The keys and their bounds are ``policy.practice_settings``; the rooms that go by a choice read it themselves
(``db.practice``, ``accounts.sign_in_rules``, ``accounts.locums``, ``ledger.purge``), at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from appliance.accounts import emergency, locums, sign_in_rules
from appliance.db import facts, practice, shares, sources
from appliance.errors import NotAllowed
from appliance.ledger import events, purge
from appliance.model import PersonId
from appliance.policy import practice_settings as policy
from appliance.policy.practice_settings import Value
from appliance.policy.roles import Action
from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class Doer:
    """Who changes something, and when."""

    person_id: PersonId | None  # None: at the console of the box
    now: datetime

    @property
    def actor(self) -> str | None:
        """What the journal writes besides."""
        return None if self.person_id is not None else "console"


def read(connection: Connection, settings: Settings) -> dict[str, Value]:
    """Return every setting as it holds now, by key, in the order of the page."""
    plan = practice.usual_plan(connection)
    rules = sign_in_rules.read(connection)
    links = practice.link_rules(connection)
    terms = locums.rules(connection)
    kept = purge.keeping(connection)
    usual = practice.Searched(dicom=bool(settings.index_dicom_fields))
    searched = practice.searched(connection, usual)
    found: dict[str, Value] = {
        "practice.name": practice.name(connection),
        "practice.address": practice.address(connection),
        "practice.language": practice.language(connection),
        "practice.time-zone": practice.in_force(connection, settings).time_zone,
        "nights.start": plan.window_start,
        "nights.end": plan.window_end,
        "sign-in.second-factor-for-all": rules.second_factor_for_all,
        "sign-in.idle-minutes": rules.idle_minutes,
        "sign-in.local-hours": rules.local_hours,
        "sign-in.remote-hours": rules.remote_hours,
        "shares.bin-days": practice.bin_days(connection),
        "links.longest-days": links.longest_days,
        "links.days": links.days,
        "links.password": links.needs_password,
        "search.texts": searched.texts,
        "search.dicom": searched.dicom,
        "locums.case-copies": terms.case_copies,
        "locums.most-days": terms.most_days,
        "emergency.minutes": emergency.minutes(connection),
        "ledger.months": kept.months,
        "ledger.reason": kept.reason,
    }
    return {each.key: found[each.key] for each in policy.SETTINGS}


def change(
    connection: Connection,
    settings: Settings,
    wanted: Mapping[str, object],
    *,
    may: Callable[[Action], bool],
    person_id: PersonId | None,
    now: datetime,
) -> list[str]:
    """Store what is wanted, all of it or nothing, inside the caller's write; return the keys that changed.

    Args:
        connection: of the write.
        settings: of the box.
        wanted: key → what a form, a program or a command line gave.
        may: what the person's role includes.
        person_id: who; None: at the console of the box.
        now: aware UTC.

    Raises:
        InvalidInput: a key or a value is none, or two values do not fit each other.
        NotAllowed: this is not theirs to change.
    """
    present = read(connection, settings)
    coming = dict(present)
    for key, given in wanted.items():
        known = policy.setting(key)
        if type(given) is type(present[key]) and given == present[key]:
            continue  # a form sends all its fields; what nobody has given yet may stay so
        value = policy.parse(known, given)
        if value != present[key] and not may(known.action):
            raise NotAllowed(known.action.value)
        coming[key] = value
    changed = [key for key, value in coming.items() if value != present[key]]
    if not changed:
        return []
    _follow(coming, changed)
    policy.check_together(coming)
    doer = Doer(person_id, now)
    for keys, store in _STORES:
        if any(key in changed for key in keys):
            store(connection, present, coming, doer)
    return changed


def _follow(coming: dict[str, Value], changed: list[str]) -> None:
    """Lower what the form proposes where only the longest was lowered: nobody has to know of both."""
    longest = coming["links.longest-days"]
    if "links.days" not in changed and int(coming["links.days"]) > int(longest):
        coming["links.days"] = longest
        changed.append("links.days")


def _as_it_is(
    connection: Connection, present: Mapping[str, Value], coming: Mapping[str, Value], doer: Doer
) -> None:
    """Store each choice as the fact of its own name."""
    for key in _AS_IT_IS:
        if coming[key] != present[key]:
            facts.put(connection, key, coming[key], now=doer.now)
            _record(connection, doer, key, coming[key])


def _nights(
    connection: Connection, present: Mapping[str, Value], coming: Mapping[str, Value], doer: Doer
) -> None:
    """Move the hours of new sources, and of those that had the usual ones so far."""
    before = (present["nights.start"], present["nights.end"])
    start, end = str(coming["nights.start"]), str(coming["nights.end"])
    facts.put(connection, practice.NIGHTS, {"start": start, "end": end}, now=doer.now)
    moved = 0
    for source in sources.all_living(connection):
        if (source.plan.window_start, source.plan.window_end) == before:
            plan = replace(source.plan, window_start=start, window_end=end)
            sources.change(connection, source.id, plan=plan)
            moved += 1
    _record(connection, doer, "nights", f"{start}-{end}", sources=moved)


def _sign_in(
    connection: Connection, _present: Mapping[str, Value], coming: Mapping[str, Value], doer: Doer
) -> None:
    rules = sign_in_rules.Rules(
        idle_minutes=int(coming["sign-in.idle-minutes"]),
        local_hours=int(coming["sign-in.local-hours"]),
        remote_hours=int(coming["sign-in.remote-hours"]),
        second_factor_for_all=bool(coming["sign-in.second-factor-for-all"]),
    )
    sign_in_rules.put(connection, rules, by=doer.person_id, now=doer.now)


def _bins(
    connection: Connection, present: Mapping[str, Value], coming: Mapping[str, Value], doer: Doer
) -> None:
    """Set the days of new shares, and of those that had the usual number so far."""
    days = int(coming["shares.bin-days"])
    facts.put(connection, practice.BIN_DAYS, days, now=doer.now)
    moved = 0
    for share in shares.all_living(connection):
        if share.bin_days == present["shares.bin-days"]:
            shares.change(connection, share.id, bin_days=days)
            moved += 1
    _record(connection, doer, "shares.bin-days", days, shares=moved)


def _links(
    connection: Connection, _present: Mapping[str, Value], coming: Mapping[str, Value], doer: Doer
) -> None:
    stored = {
        "longest_days": int(coming["links.longest-days"]),
        "days": int(coming["links.days"]),
        "password": bool(coming["links.password"]),
    }
    facts.put(connection, practice.LINKS, stored, now=doer.now)
    _record(connection, doer, "links", None, **stored)


def _locums(
    connection: Connection, _present: Mapping[str, Value], coming: Mapping[str, Value], doer: Doer
) -> None:
    rules = locums.Rules(int(coming["locums.most-days"]), bool(coming["locums.case-copies"]))
    locums.set_rules(connection, rules, by=doer.person_id, now=doer.now)


def _emergency(
    connection: Connection, _present: Mapping[str, Value], coming: Mapping[str, Value], doer: Doer
) -> None:
    minutes = int(coming["emergency.minutes"])
    emergency.set_minutes(connection, minutes, by=doer.person_id, now=doer.now)


def _ledger(
    connection: Connection, _present: Mapping[str, Value], coming: Mapping[str, Value], doer: Doer
) -> None:
    months, reason = int(coming["ledger.months"]), str(coming["ledger.reason"])
    purge.set_keeping(connection, months, reason, by=doer.person_id, now=doer.now)


def _record(
    connection: Connection, doer: Doer, key: str, value: Value | None, **more: object
) -> None:
    events.record(
        connection,
        at=doer.now,
        event="settings.changed",
        subject="box",
        person_id=doer.person_id,
        actor=doer.actor,
        setting=key,
        value=value,
        **more,
    )


_AS_IT_IS: Final = (
    practice.NAME,
    practice.ADDRESS,
    practice.LANGUAGE,
    practice.TIME_ZONE,
    practice.TEXTS,
    practice.DICOM,
)
_Store = Callable[[Connection, Mapping[str, Value], Mapping[str, Value], Doer], None]
_STORES: Final[tuple[tuple[tuple[str, ...], _Store], ...]] = (
    (_AS_IT_IS, _as_it_is),
    (("nights.start", "nights.end"), _nights),
    (
        (
            "sign-in.second-factor-for-all",
            "sign-in.idle-minutes",
            "sign-in.local-hours",
            "sign-in.remote-hours",
        ),
        _sign_in,
    ),
    (("shares.bin-days",), _bins),
    (("links.longest-days", "links.days", "links.password"), _links),
    (("locums.case-copies", "locums.most-days"), _locums),
    (("emergency.minutes",), _emergency),
    (("ledger.months", "ledger.reason"), _ledger),
)
