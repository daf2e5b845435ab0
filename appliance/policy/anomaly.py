"""What is abnormal about a run, against the last runs of the same source.

Each reading is compared with what is usual for this source: the median of up to 14 runs, and a limit
of six robust deviations (median absolute deviation) above it, never under a floor, so that a quiet
source is not alarmed by ten letters. With fewer than five runs only the floors hold. A large share
of touched files alone is a notice: software updates and tidying do that too. It is red when the
contents look encrypted as well, or when nobody could look at them.

Red opens an anomaly, which freezes pruning until a person closes it (domain.md SAV-21). Red runs must
not be handed back as history, or a slow attack would teach us to accept it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from statistics import median
from typing import Final

from appliance.language import Language, mark, translate
from appliance.policy.ransomware import ContentSample
from appliance.policy.wording import percent_words, size_words
from appliance.units import GIB, MIB, share

HISTORY: Final = 14
HISTORY_AT_LEAST: Final = 5
#: Robust deviations above the median; 1.4826 makes the MAD of a normal law its standard deviation.
DEVIATIONS: Final = 6.0
_MAD_SCALE: Final = 1.4826

#: Fewer files touched than this are nobody's attack on a source.
FILES_AT_LEAST: Final = 5
TOUCHED_FLOOR: Final = 0.10
TOUCHED_CEILING: Final = 0.25  # 30 % encrypted must be above it; noisy sources: median + this room
TOUCHED_ROOM: Final = 0.20
VANISHED_NOTICE: Final = 0.05
VANISHED_RED: Final = 0.25
VANISHED_FILES_AT_LEAST: Final = 20
RENAMED_NOTICE: Final = 0.10
SHRUNK_NOTICE: Final = 0.20
SHRUNK_RED: Final = 0.50
SHRUNK_BYTES_AT_LEAST: Final = 10 * MIB
GROWTH_FLOOR: Final = GIB
GROWTH_FACTOR: Final = 5.0
#: Contents: so many files must have been looked at.
SAMPLE_AT_LEAST: Final = 5
HEADERS_WRONG: Final = 0.30
HEADERS_RIGHT: Final = 0.05
INCOMPRESSIBLE_YOUNG: Final = 0.90
INCOMPRESSIBLE_FLOOR: Final = 0.50
INCOMPRESSIBLE_ROOM: Final = 0.30
#: A slow attack: few files a night, but most of those looked at are not what their names say.
SLOW_HEADERS_WRONG: Final = 0.50
SLOW_FILES_AT_LEAST: Final = 20
APPENDED_SHARE: Final = 0.02
APPENDED_AT_LEAST: Final = 10
KNOWN_SUFFIXES_RED: Final = 3
NOTES_RED: Final = 3


class Canary(StrEnum):
    """What became of the file that nobody has a reason to touch."""

    ABSENT = "absent"  # none was placed
    UNTOUCHED = "untouched"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run showed. Renamed files are counted neither as added nor as vanished."""

    at: datetime
    files_before: int  # in the snapshot before; 0: this is the first
    changed: int = 0  # same path, other content
    added: int = 0
    vanished: int = 0
    renamed: int = 0
    original_bytes: int = 0  # of all files, now
    original_bytes_before: int = 0
    new_bytes: int = 0  # what the run added to the repository
    contents: ContentSample = field(default_factory=ContentSample)  # of changed and added files
    known_suffixes: int = 0  # new paths that end as known families' files do
    ransom_notes: int = 0  # new paths that are named as their letters
    appended: int = 0  # files that got one same ending behind their whole name
    canary: Canary = Canary.ABSENT

    @property
    def touched(self) -> int:
        """Files that are no longer what they were, whether in place or under another name."""
        return self.changed + self.vanished

    @property
    def touched_share(self) -> float:
        """Of the files that were there before, 0 to 1."""
        return min(1.0, share(self.touched, self.files_before))

    @property
    def vanished_share(self) -> float:
        """Of the files that were there before, 0 to 1."""
        return min(1.0, share(self.vanished, self.files_before))

    @property
    def renamed_share(self) -> float:
        """Of the files that were there before, 0 to 1."""
        return min(1.0, share(self.renamed, self.files_before))

    @property
    def shrunk_share(self) -> float:
        """By how much the whole became smaller, 0 to 1."""
        lost = self.original_bytes_before - self.original_bytes
        return max(0.0, share(lost, self.original_bytes_before))

    @property
    def incompressible_share(self) -> float:
        """Of the files looked at, 0 to 1."""
        return share(self.contents.incompressible, self.contents.sampled)

    @property
    def wrong_share(self) -> float:
        """Of the files whose name promises a beginning, those that begin otherwise, 0 to 1."""
        return share(self.contents.headers_wrong, self.contents.headers_known)


class AnomalyKind(StrEnum):
    """What is abnormal."""

    ENCRYPTED = "encrypted"  # many files touched, and their contents look encrypted
    ENCRYPTED_SLOWLY = "encrypted-slowly"
    CHANGED = "changed"
    VANISHED = "vanished"
    RENAMED = "renamed"
    SHRUNK = "shrunk"
    GROWTH = "growth"
    INCOMPRESSIBLE = "incompressible"
    APPENDED = "appended"
    KNOWN_SUFFIX = "known-suffix"
    RANSOM_NOTE = "ransom-note"
    CANARY = "canary"


class AnomalyLevel(StrEnum):
    """Whether it is only said, or stops pruning."""

    NOTICE = "notice"
    RED = "red"


@dataclass(frozen=True, slots=True)
class FoundAnomaly:
    """One abnormal reading with what it is compared to: everything its sentence needs."""

    kind: AnomalyKind
    level: AnomalyLevel
    value: float
    usual: float
    threshold: float
    runs: int  # of history it was compared with

    @property
    def reading(self) -> dict[str, float]:
        """Return what ``model.Anomaly.reading`` stores."""
        return {
            "value": self.value,
            "usual": self.usual,
            "threshold": self.threshold,
            "runs": float(self.runs),
        }


@dataclass(frozen=True, slots=True)
class Limit:
    """What is usual for a source, and what is too much."""

    usual: float
    threshold: float


def learned_limit(values: Sequence[float], floor: float, ceiling: float | None = None) -> Limit:
    """Return median and limit of past readings; with too few of them the floor is the limit.

    Args:
        values: past readings, any order.
        floor: the limit is never under it.
        ceiling: the limit is never above it, unless the floor is.
    """
    if len(values) < HISTORY_AT_LEAST:
        return Limit(median(values) if values else 0.0, floor)
    usual = median(values)
    deviation = _MAD_SCALE * median(abs(value - usual) for value in values)
    threshold = usual + DEVIATIONS * deviation
    if ceiling is not None:
        threshold = min(threshold, ceiling)
    return Limit(usual, max(threshold, floor))


def judge_run(run: RunFigures, history: Sequence[RunFigures]) -> list[FoundAnomaly]:
    """Return what is abnormal about ``run``, red first.

    Args:
        run: the newest one.
        history: earlier runs of the same source that opened no red anomaly, newest last; of more
            than ``HISTORY`` the newest count. First runs (nothing before them) are passed over.
    """
    past = [one for one in history if one.files_before > 0][-HISTORY:]
    found = [*_signs(run, len(past))]
    if run.files_before > 0:
        found += [*_by_share(run, past), *_by_volume(run, past)]
    return sorted(found, key=lambda one: one.level is not AnomalyLevel.RED)


def is_red(found: Sequence[FoundAnomaly]) -> bool:
    """Return whether any of it opens an anomaly."""
    return any(one.level is AnomalyLevel.RED for one in found)


def _limit(
    past: Sequence[RunFigures], reading: Callable[[RunFigures], float], floor: float
) -> Limit:
    return learned_limit([reading(one) for one in past], floor)


def _signs(run: RunFigures, runs: int) -> Iterator[FoundAnomaly]:
    """What needs no history."""

    def sign(kind: AnomalyKind, value: int, red_at: int) -> FoundAnomaly:
        level = AnomalyLevel.RED if value >= red_at else AnomalyLevel.NOTICE
        return FoundAnomaly(kind, level, value, 0, red_at, runs)

    if run.canary in {Canary.CHANGED, Canary.GONE}:
        yield sign(AnomalyKind.CANARY, 1, 1)
    if run.known_suffixes:
        yield sign(
            AnomalyKind.KNOWN_SUFFIX,
            run.known_suffixes,
            1 if run.ransom_notes else KNOWN_SUFFIXES_RED,
        )
    if run.ransom_notes:
        yield sign(AnomalyKind.RANSOM_NOTE, run.ransom_notes, NOTES_RED)
    appended_at = max(APPENDED_AT_LEAST, int(APPENDED_SHARE * run.files_before))
    if run.appended >= appended_at:
        yield sign(AnomalyKind.APPENDED, run.appended, appended_at)
    slow = run.wrong_share >= SLOW_HEADERS_WRONG
    if slow and run.contents.headers_wrong >= SLOW_FILES_AT_LEAST:
        yield sign(AnomalyKind.ENCRYPTED_SLOWLY, run.contents.headers_wrong, SLOW_FILES_AT_LEAST)


def _by_share(run: RunFigures, past: Sequence[RunFigures]) -> Iterator[FoundAnomaly]:
    touched = [one.touched_share for one in past]
    room = median(touched) + TOUCHED_ROOM if touched else 0.0
    limit = learned_limit(touched, TOUCHED_FLOOR, ceiling=max(TOUCHED_CEILING, room))
    if run.touched >= FILES_AT_LEAST and run.touched_share > limit.threshold:
        encrypted = _looks_encrypted(run, past)
        yield FoundAnomaly(
            AnomalyKind.ENCRYPTED if encrypted else AnomalyKind.CHANGED,
            AnomalyLevel.NOTICE if encrypted is False else AnomalyLevel.RED,
            run.touched_share,
            limit.usual,
            limit.threshold,
            len(past),
        )
    limit = _limit(past, lambda one: one.vanished_share, VANISHED_NOTICE)
    if run.vanished >= FILES_AT_LEAST and run.vanished_share > limit.threshold:
        red_from = max(VANISHED_RED, limit.threshold)
        red = run.vanished_share > red_from and run.vanished >= VANISHED_FILES_AT_LEAST
        yield FoundAnomaly(
            AnomalyKind.VANISHED,
            AnomalyLevel.RED if red else AnomalyLevel.NOTICE,
            run.vanished_share,
            limit.usual,
            red_from if red else limit.threshold,
            len(past),
        )
    limit = _limit(past, lambda one: one.renamed_share, RENAMED_NOTICE)
    if run.renamed >= FILES_AT_LEAST and run.renamed_share > limit.threshold:
        yield FoundAnomaly(
            AnomalyKind.RENAMED,
            AnomalyLevel.NOTICE,
            run.renamed_share,
            limit.usual,
            limit.threshold,
            len(past),
        )


def _by_volume(run: RunFigures, past: Sequence[RunFigures]) -> Iterator[FoundAnomaly]:
    large = run.original_bytes_before >= SHRUNK_BYTES_AT_LEAST
    limit = _limit(past, lambda one: one.shrunk_share, SHRUNK_NOTICE)
    if large and run.shrunk_share > limit.threshold:
        red_from = max(SHRUNK_RED, limit.threshold)
        # One large file thrown away is no alarm; many files cut short are.
        red = run.shrunk_share > red_from and run.touched_share > TOUCHED_FLOOR
        yield FoundAnomaly(
            AnomalyKind.SHRUNK,
            AnomalyLevel.RED if red else AnomalyLevel.NOTICE,
            run.shrunk_share,
            limit.usual,
            red_from if red else limit.threshold,
            len(past),
        )
    sizes = [float(one.new_bytes) for one in past]
    often = GROWTH_FACTOR * median(sizes) if sizes else 0.0
    limit = learned_limit(sizes, max(float(GROWTH_FLOOR), often))
    if run.new_bytes > limit.threshold:
        yield FoundAnomaly(
            AnomalyKind.GROWTH,
            AnomalyLevel.NOTICE,
            run.new_bytes,
            limit.usual,
            limit.threshold,
            len(past),
        )
    if run.contents.sampled >= SLOW_FILES_AT_LEAST:
        limit = _incompressible_limit(past)
        if run.incompressible_share > limit.threshold and not _is_cleared(run):
            yield FoundAnomaly(
                AnomalyKind.INCOMPRESSIBLE,
                AnomalyLevel.NOTICE,
                run.incompressible_share,
                limit.usual,
                limit.threshold,
                len(past),
            )


def _incompressible_limit(past: Sequence[RunFigures]) -> Limit:
    seen = [one.incompressible_share for one in past if one.contents.sampled >= SAMPLE_AT_LEAST]
    if len(seen) < HISTORY_AT_LEAST:
        return Limit(median(seen) if seen else 0.0, INCOMPRESSIBLE_YOUNG)
    usual = median(seen)
    room = max(INCOMPRESSIBLE_FLOOR, usual + INCOMPRESSIBLE_ROOM)
    return Limit(usual, min(INCOMPRESSIBLE_YOUNG, room))


def _is_cleared(run: RunFigures) -> bool:
    """Most files looked at promise a beginning, and nearly all of them keep it."""
    known = run.contents.headers_known
    enough = known >= SAMPLE_AT_LEAST and 2 * known >= run.contents.sampled
    return enough and run.wrong_share <= HEADERS_RIGHT


def _looks_encrypted(run: RunFigures, past: Sequence[RunFigures]) -> bool | None:
    """Return whether the sample says so; None when too little was looked at.

    First bytes that are what the names promise speak against it, even where nothing compresses:
    scans and photographs never do.
    """
    if run.contents.headers_known >= SAMPLE_AT_LEAST and run.wrong_share >= HEADERS_WRONG:
        return True
    if _is_cleared(run):
        return False
    if run.contents.sampled < SAMPLE_AT_LEAST:
        return None
    return run.incompressible_share >= _incompressible_limit(past).threshold


# --- in words ------------------------------------------------------------------------------

_SHARES: Final = frozenset(
    {
        AnomalyKind.ENCRYPTED,
        AnomalyKind.CHANGED,
        AnomalyKind.VANISHED,
        AnomalyKind.RENAMED,
        AnomalyKind.SHRUNK,
        AnomalyKind.INCOMPRESSIBLE,
    }
)

#: Over ``value``, ``usual`` and ``threshold``.
ANOMALY_TEXTS: Final[dict[AnomalyKind, str]] = {
    AnomalyKind.ENCRYPTED: mark(
        "%(value)s of the files were altered and look encrypted; usually %(usual)s are altered,"
        " the limit is %(threshold)s."
    ),
    AnomalyKind.ENCRYPTED_SLOWLY: mark(
        "%(value)s altered files no longer begin as their names say; the limit is %(threshold)s."
    ),
    AnomalyKind.CHANGED: mark(
        "%(value)s of the files were altered; usually %(usual)s are, the limit is %(threshold)s."
    ),
    AnomalyKind.VANISHED: mark(
        "%(value)s of the files disappeared; usually %(usual)s do, the limit is %(threshold)s."
    ),
    AnomalyKind.RENAMED: mark(
        "%(value)s of the files were moved or renamed; usually %(usual)s are,"
        " the limit is %(threshold)s."
    ),
    AnomalyKind.SHRUNK: mark(
        "The whole became %(value)s smaller; usually %(usual)s, the limit is %(threshold)s."
    ),
    AnomalyKind.GROWTH: mark(
        "%(value)s came in one night; usually %(usual)s, the limit is %(threshold)s."
    ),
    AnomalyKind.INCOMPRESSIBLE: mark(
        "%(value)s of the altered files no longer compress; usually %(usual)s,"
        " the limit is %(threshold)s."
    ),
    AnomalyKind.APPENDED: mark(
        "%(value)s files got the same ending behind their name; the limit is %(threshold)s."
    ),
    AnomalyKind.KNOWN_SUFFIX: mark(
        "%(value)s files have a name that ransomware gives; the limit is %(threshold)s."
    ),
    AnomalyKind.RANSOM_NOTE: mark(
        "%(value)s files are named like a ransom letter; the limit is %(threshold)s."
    ),
    AnomalyKind.CANARY: mark("The canary file was altered: nobody had a reason to touch it."),
}

#: Kinds that no night's figures raise: ``jobs.frozen.VANISHED``, ``backup_jobs.import_pushed.KEY_CHANGED``.
OTHER_TEXTS: Final[dict[str, str]] = {
    "archive-vanished": mark("A snapshot disappeared that this box did not remove."),
    "repository-damaged": mark(
        "Stored bytes were altered since they were written: a disk of the box may be failing."
    ),
    "repository-key-changed": mark(
        "The key stored in the repository was changed by the machine that sends to it."
    ),
}

#: What to do about a red one (domain.md §8, reflexes).
ANOMALY_ACTION: Final = mark(
    "If nobody can explain it: unplug the machine from the network without switching it off, pay"
    " nothing, keep everything, call for help. Nothing is removed until this is closed."
)


def anomaly_words(kind: str, reading: Mapping[str, float], language: Language) -> str:
    """Return what is abnormal, from what is stored; an unknown kind is named as it is."""
    if kind not in set(AnomalyKind):
        return translate(OTHER_TEXTS.get(kind, kind), language)
    known = AnomalyKind(kind)

    def said(value: float) -> str:
        if known in _SHARES:
            return percent_words(value, language)
        if known is AnomalyKind.GROWTH:
            return size_words(value, language)
        return f"{value:.0f}"

    facts = {name: said(reading[name]) for name in ("value", "usual", "threshold")}
    return translate(ANOMALY_TEXTS[known], language, **facts)
