"""The job that tries to harm a canary at a target with the box's own credentials, and asks a bucket about itself.

Proofs: ``copy.tamper`` is proven only when every attempt was made and refused; «failed» is no fault of the
copy but the truth about the place: our own key can empty it. ``copy.conformance`` for buckets.
"""

from datetime import datetime
from typing import Final

from appliance.clock import utc_now
from appliance.db import targets
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import ArmoireError
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import TamperCopy
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import JobState, Outcome
from appliance.policy import place as places
from appliance.policy.bucket import REGIONS, State, is_fit
from appliance.policy.place import S3Place
from appliance.replication.open_target import open_target
from appliance.replication.tamper import TamperResult, tamper_test
from appliance.replication.target import Target
from appliance.replication.tools import Tools

TAMPER: Final = "copy.tamper"
CONFORMANCE: Final = "copy.conformance"
#: In the target's facts: {"at": ISO time, "text": template, "immutable": bool, "attempts": [{action, outcome, detail}…]}.
TAMPER_FACT: Final = "tamper"
#: In the target's facts: {"at": ISO time, "fit": bool, "answers": [{name, state, text, facts, answered_at}…]}:
#: ``answered_at`` is when the host last answered this question, null when it never did.
BUCKET_FACT: Final = "bucket"


def run(context: JobContext, spec: TamperCopy, tools: Tools) -> JobState:  # noqa: ARG001
    """Try every way to harm the canary; store what happened as a proof.

    Returns:
        WARNED when something could not be tried, or a place lost what it had: its immutability, its fitness.

    Raises:
        NotFound: the target was removed.
        Any TargetError: no canary could be laid down or read; nothing is claimed.
    """
    with context.database.read() as connection:
        row = targets.get(connection, TargetId(spec.target_id))
        opener = open_target(connection, row, context.settings, now=utc_now)
    place = places.parse(row.kind, row.place)
    spool = context.settings.data / "copies" / str(row.id) / "tamper"
    context.step("tampering")
    target = opener()
    try:
        state = _tamper(context, row, tamper_test(target, spool=spool, now=utc_now()))
        if isinstance(place, S3Place):
            context.step("asking")
            asked = _conformance(context, row, place, target, utc_now())
            state = JobState.WARNED if JobState.WARNED in (state, asked) else state
    finally:
        target.close()
    return state


def _tamper(context: JobContext, row: TargetRow, result: TamperResult) -> JobState:
    judgement = result.judgement
    if result.is_immutable:
        outcome = Outcome.PROVEN
    else:
        outcome = Outcome.FAILED if judgement.done else Outcome.INCONCLUSIVE
    # A box is an SFTP host to the test, and something else to people.
    body = {**result.body, "kind": row.kind}
    fact = {"at": result.tested_at.isoformat(), "text": judgement.text, **body}
    with context.database.write() as connection:
        before = targets.get(connection, row.id).facts.get(TAMPER_FACT)
        proofs.record(
            connection, at=result.tested_at, kind=TAMPER, outcome=outcome, figures=body,
            target_id=row.id, actor=context.actor,
        )  # fmt: skip
        targets.set_facts(connection, row.id, {TAMPER_FACT: fact})
    context.result.update(immutable=result.is_immutable, done=list(judgement.done))
    was_immutable = isinstance(before, dict) and before.get("immutable") is True
    if was_immutable and judgement.done:
        context.note(
            mark("This place refused every change until now; it no longer does."), level="warning"
        )
        return JobState.WARNED
    if outcome is Outcome.INCONCLUSIVE:
        context.note(mark("Not every attempt could be made."), level="warning")
        return JobState.WARNED
    return JobState.SUCCEEDED


def _conformance(
    context: JobContext, row: TargetRow, place: S3Place, target: Target, now: datetime
) -> JobState:
    from appliance.replication.conformance import examine  # noqa: PLC0415 - boto3 is heavy
    from appliance.replication.targets.s3 import S3Target  # noqa: PLC0415

    assert isinstance(target, S3Target)  # noqa: S101 - its place is a bucket
    regions = {**REGIONS, place.region: place.country} if place.country else REGIONS
    try:
        report = examine(target, now=now, lock_mode=place.lock_mode, regions=regions)
    except ArmoireError as error:
        context.note(type(error).public, level="warning", **error.loggable)
        return JobState.WARNED
    fit = is_fit(list(report.answers))
    bad = any(each.state is State.BAD for each in report.answers)
    outcome = Outcome.PROVEN if fit else Outcome.FAILED if bad else Outcome.INCONCLUSIVE
    with context.database.write() as connection:
        before = targets.get(connection, row.id).facts.get(BUCKET_FACT)
        known = before if isinstance(before, dict) else {}
        last = {each["name"]: each.get("answered_at") for each in known.get("answers", [])}
        answers = [
            {
                "name": each.name,
                "state": each.state.value,
                "text": each.text,
                "facts": dict(each.facts),
                "answered_at": last.get(each.name)
                if each.state is State.UNKNOWN
                else now.isoformat(),
            }
            for each in report.answers
        ]
        proofs.record(
            connection, at=now, kind=CONFORMANCE, outcome=outcome, figures=report.body,
            target_id=row.id, actor=context.actor,
        )  # fmt: skip
        fact = {"at": now.isoformat(), "fit": fit, "answers": answers}
        targets.set_facts(connection, row.id, {BUCKET_FACT: fact})
    context.result.update(fit=fit, answers=report.body)
    if known.get("fit") is True and not fit:
        context.note(mark("The bucket is no longer as it was found before."), level="warning")
        return JobState.WARNED
    return JobState.SUCCEEDED
