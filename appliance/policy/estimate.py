"""How fast a job is and when it will be done, from a few samples of its progress."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Seconds looked back for the speed now; the rest of the run steadies it.
RECENT_S: Final = 60.0
#: Nothing is foretold before so many seconds and samples.
SETTLE_S: Final = 3.0
SETTLE_SAMPLES: Final = 3
#: Without progress for so long, a job stands still and its end is not known.
STALLED_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ProgressSample:
    """How much was done at a moment."""

    at_s: float  # monotonic seconds
    done: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What may be shown of a running job."""

    per_s: float  # units a second, recently
    remaining_s: float | None  # None: not known
    share: float | None  # 0 to 1; None: the whole is not known


def estimate(samples: Sequence[ProgressSample], total: int | None, now_s: float) -> Estimate:
    """Return speed, share and time left.

    Args:
        samples: oldest first; a bounded number of the newest ones and the very first is enough.
        total: the whole, an estimate itself; a job past it has no known end.
        now_s: monotonic seconds, not before the last sample.
    """
    if not samples:
        return Estimate(0.0, None, None if total is None else 0.0)
    first, last = samples[0], samples[-1]
    share = None if not total else min(1.0, last.done / total)
    elapsed = now_s - first.at_s
    recent_from = next((one for one in samples if one.at_s >= now_s - RECENT_S), last)
    recent_s = now_s - recent_from.at_s
    overall = (last.done - first.done) / elapsed if elapsed > 0 else 0.0
    recent = (last.done - recent_from.done) / recent_s if recent_s > 0 else 0.0
    moved_at = next(
        (one.at_s for one in samples if one.done == last.done), last.at_s
    )  # the first sample that had reached what the last one has
    settled = elapsed >= SETTLE_S and len(samples) >= SETTLE_SAMPLES
    stalled = now_s - moved_at >= STALLED_S
    speed = (recent + overall) / 2
    if not settled or stalled or total is None or total < last.done or speed <= 0:
        return Estimate(max(0.0, recent), 0.0 if total == last.done else None, share)
    return Estimate(max(0.0, recent), (total - last.done) / speed, share)
