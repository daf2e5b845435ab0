"""A job as people see it: a title, how far it is, how long it will take."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from appliance.errors import ArmoireError, all_errors
from appliance.jobs.kinds import KINDS
from appliance.jobs.steps import STEP_NAMES
from appliance.model import Job, JobId, JobState, Source, SourceId
from appliance.policy.estimate import ProgressSample, estimate
from appliance.web.pages import tones

_SAMPLES: Final = 64
_KNOWN_JOBS: Final = 50


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything a template may say about a job."""

    job: Job
    title: str  # English, translatable
    source: Source | None
    tone: str
    state_name: str
    step_name: str
    share: float | None  # 0 to 1, None while the whole is not known
    remaining: timedelta | None
    took: timedelta | None
    error: str | None  # English template of what went wrong
    error_facts: Mapping[str, object] = field(default_factory=dict)
    copy: tuple[str, str] | None = None  # name and label of the copy it is about

    @property
    def is_running(self) -> bool:
        """Whether it runs just now."""
        return self.job.state is JobState.RUNNING

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its turn."""
        return self.job.state is JobState.QUEUED

    @property
    def is_stopping(self) -> bool:
        """Whether a person asked to stop it and it has not yet."""
        return self.is_running and self.job.cancel_asked_at is not None


class _Watch:
    """Remembers what running jobs had done when somebody looked: what an estimate is made from."""

    def __init__(self) -> None:
        self._samples: dict[JobId, deque[ProgressSample]] = {}

    def see(self, job: Job, now: datetime) -> tuple[float | None, float | None]:
        """Return (share, seconds left) of a running job."""
        if job.started_at is None:
            return None, None
        now_s = time.monotonic()
        begun_s = now_s - (now - job.started_at).total_seconds()
        key = job.id
        if key not in self._samples:
            if len(self._samples) >= _KNOWN_JOBS:
                del self._samples[next(iter(self._samples))]
            self._samples[key] = deque(maxlen=_SAMPLES)
        samples = self._samples[key]
        done = job.progress.done
        if samples and done < samples[-1].done:
            samples.clear()  # another step began: it counts from zero
        if not samples or now_s - samples[-1].at_s >= 0.5:
            samples.append(ProgressSample(now_s, done))
        first = ProgressSample(min(begun_s, samples[0].at_s), 0)
        found = estimate([first, *samples], job.progress.total, now_s)
        return found.share, found.remaining_s


_watch: Final = _Watch()


def view(
    job: Job,
    sources: Mapping[SourceId, Source],
    now: datetime,
    copies: Mapping[int, tuple[str, str]] | None = None,
) -> JobView:
    """Return what a page says about ``job``.

    Args:
        job: to be shown.
        sources: those it may be about.
        now: aware UTC.
        copies: target id → name and label, of those it may be about.
    """
    kind = KINDS.get(job.kind)
    share = remaining = None
    if job.state is JobState.RUNNING:
        share, remaining = _watch.see(job, now)
    took = None
    if job.started_at is not None:
        took = (job.finished_at or now) - job.started_at
    error = _error_class(job.error_code)
    facts = {**dict.fromkeys(_field_names(error), "…"), **job.error_facts}
    return JobView(
        job=job,
        title=kind.title if kind is not None else job.kind,
        source=None if job.source_id is None else sources.get(job.source_id),
        tone=tones.JOB[job.state],
        state_name=tones.JOB_NAMES[job.state],
        step_name=STEP_NAMES.get(job.progress.step, job.progress.step),
        share=share,
        remaining=None if remaining is None else timedelta(seconds=remaining),
        took=took,
        error=error.public if error is not None else (job.error_code or None),
        error_facts=facts if error is not None else {},
        copy=_copy(job, copies or {}),
    )


def _copy(job: Job, copies: Mapping[int, tuple[str, str]]) -> tuple[str, str] | None:
    target_id = job.spec.get("target_id")
    return copies.get(target_id) if isinstance(target_id, int) else None


_by_code: dict[str, type[ArmoireError]] = {}


def _error_class(code: str | None) -> type[ArmoireError] | None:
    if code is None:
        return None
    if not _by_code:
        _by_code.update({each.code: each for each in all_errors()})
    return _by_code.get(code)


def _field_names(error: type[ArmoireError] | None) -> list[str]:
    # Private facts are not stored with a job: the sentence keeps its place for them.
    return [] if error is None else list(getattr(error, "__dataclass_fields__", {}))
