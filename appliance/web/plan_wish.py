"""A plan as somebody wants it, on the form or through the API: what is wrong with it, and keeping it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import sources
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.ledger import events
from appliance.model import Keep, Plan, Source, SourceKind, System
from appliance.web.deps import Visitor

_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_STYLE: Final = re.compile(r"(sh|pf|pp|fm|re):.+")
#: Field → (least, most).
NUMBERS: Final = {
    "within_days": (0, 3650),
    "daily": (0, 3650),
    "weekly": (0, 520),
    "monthly": (0, 240),
    "yearly": (0, 30),
    "pdma_hours": (1, 24 * 31),
    "dmia_hours": (1, 24 * 31),
    "verify_data_every_days": (1, 365),
}


@dataclass(frozen=True, slots=True)
class PlanWish:
    """A plan as it was typed: nothing of it is checked."""

    label: str
    roots: str  # one a line
    excludes: str  # one a line
    window_start: str
    window_end: str
    weekdays: frozenset[int]  # ISO: Monday is 1
    numbers: Mapping[str, int | None]  # of NUMBERS; None or not there: no number was typed
    wake_on_lan: bool
    enabled: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a field cannot be used."""

    field: str
    text: str  # an English template
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """A plan that may be kept."""

    label: str
    roots: tuple[str, ...]
    excludes: tuple[str, ...]
    plan: Plan


def wish_of(source: Source) -> PlanWish:
    """Return the present plan of a source as a wish: what changes nothing."""
    plan, keep = source.plan, source.plan.keep
    return PlanWish(
        label=source.label,
        roots="\n".join(source.roots),
        excludes="\n".join(source.excludes),
        window_start=plan.window_start,
        window_end=plan.window_end,
        weekdays=frozenset(plan.weekdays),
        numbers={
            name: getattr(keep if name in Keep.__dataclass_fields__ else plan, name)
            for name in NUMBERS
        },
        wake_on_lan=plan.wake_on_lan,
        enabled=plan.enabled,
    )


def tidy_label(text: str) -> str | None:
    """Return a source's name for people, tidied; None: it is not one of 2 to 100 printable characters."""
    label = " ".join(text.split())
    return label if 2 <= len(label) <= 100 and label.isprintable() else None


def weigh(source: Source, wish: PlanWish) -> KeptPlan | list[Problem]:
    """Return the plan that is wished for, or everything that is wrong with it.

    A share keeps its folder; the box keeps all of itself, and is always backed up.
    """
    problems: list[Problem] = []

    def wrong(field: str, text: str, **facts: object) -> None:
        problems.append(Problem(field, text, facts))

    numbers: dict[str, int] = {}
    for name, (least, most) in NUMBERS.items():
        number = wish.numbers.get(name)
        if number is not None and least <= number <= most:
            numbers[name] = number
        else:
            wrong(name, mark("A whole number from %(least)s to %(most)s."), least=least, most=most)
    for name, text in (("window_start", wish.window_start), ("window_end", wish.window_end)):
        if not _TIME.fullmatch(text):
            wrong(name, mark("A time such as 20:00."))
    if not wish.weekdays or not wish.weekdays <= set(range(1, 8)):
        wrong("weekdays", mark("Choose at least one day."))
    roots, excludes = source.roots, source.excludes
    try:
        if source.kind not in {SourceKind.SHARE, SourceKind.BOX}:
            roots = parse_roots(wish.roots, is_windows=source.system is System.WINDOWS)
    except InvalidInput as error:
        wrong("roots", error.expected)
    try:
        if source.kind is not SourceKind.BOX:
            excludes = parse_excludes(wish.excludes)
    except InvalidInput as error:
        wrong("excludes", error.expected)
    label = tidy_label(wish.label)
    if label is None:
        wrong("label", mark("A name of 2 to 100 characters."))
    if problems or label is None:
        return problems
    plan = replace(
        source.plan,
        window_start=wish.window_start,
        window_end=wish.window_end,
        weekdays=tuple(sorted(wish.weekdays)),
        keep=Keep(**{each: numbers[each] for each in Keep.__dataclass_fields__}),
        pdma_hours=numbers["pdma_hours"],
        dmia_hours=numbers["dmia_hours"],
        verify_data_every_days=numbers["verify_data_every_days"],
        wake_on_lan=wish.wake_on_lan,
        enabled=wish.enabled or source.kind is SourceKind.BOX,
    )
    return KeptPlan(label, roots, excludes, plan)


def keep_plan(connection: Connection, source: Source, kept: KeptPlan, visitor: Visitor) -> None:
    """Write a plan inside the caller's write, with who changed it.

    Raises:
        NotFound: the source was removed.
    """
    plan, keep = kept.plan, kept.plan.keep
    sources.change(
        connection,
        source.id,
        plan=plan,
        roots=kept.roots,
        excludes=kept.excludes,
        label=kept.label,
    )
    events.record(
        connection,
        at=utc_now(),
        event="plan.change",
        subject=f"source:{source.id}",
        person_id=visitor.person.id,
        enabled=plan.enabled,
        window=f"{plan.window_start}-{plan.window_end}",
        within_days=keep.within_days,
        daily=keep.daily,
        weekly=keep.weekly,
        monthly=keep.monthly,
        yearly=keep.yearly,
    )


def parse_roots(text: str, *, is_windows: bool) -> tuple[str, ...]:
    r"""Return the folders written one a line, ``C:\Users`` as ``C:/Users``.

    Raises:
        InvalidInput: there is none, or one is not a whole path.
    """
    found: list[str] = []
    for line in text.splitlines():
        root = line.strip().replace("\\", "/") if is_windows else line.strip()
        if not root:
            continue
        is_whole = re.match(r"[A-Za-z]:/", root) if is_windows else root.startswith("/")
        if not is_whole or ".." in root.split("/") or "\0" in root:
            raise InvalidInput(
                "roots", mark("Whole paths, one a line: «/home/anna» or «C:\\Users\\anna».")
            )
        found.append(root)
    if not found:
        raise InvalidInput("roots", mark("Name at least one folder."))
    return tuple(dict.fromkeys(found))


def parse_excludes(text: str) -> tuple[str, ...]:
    """Return the Borg patterns written one a line; a bare name is left out wherever it stands.

    Raises:
        InvalidInput: a regular expression cannot be read.
    """
    found: list[str] = []
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        if not _STYLE.fullmatch(pattern):
            pattern = f"sh:**/{pattern.strip('/')}"
        if pattern.startswith("re:"):
            try:
                re.compile(pattern[3:])
            except (re.error, OverflowError, RecursionError) as error:
                raise InvalidInput(
                    "excludes", mark("A pattern «re:…» cannot be read as a regular expression.")
                ) from error
        found.append(pattern)
    return tuple(dict.fromkeys(found))
