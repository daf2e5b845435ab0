"""Every night what can be found is compared with what is there; a difference is mended by another look."""

from dataclasses import asdict
from datetime import timedelta
from typing import Final

from appliance.clock import utc_now
from appliance.db import shares
from appliance.disk.index_verify import compare
from appliance.disk.index_work import wish_path
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import VerifyIndex
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import JobState, Outcome

#: A new share may take so long to be read for the first time.
SETTLING: Final = timedelta(days=1)


def run(context: JobContext, _spec: VerifyIndex) -> JobState:
    """Compare the index of every share with its disk and write a proof for each; safe to run again at any line.

    Returns:
        WARNED when one differed or is not there, else SUCCEEDED.

    Raises:
        JobCancelled: a person stopped it.
    """
    with context.database.read() as connection:
        living = [each for each in shares.all_living(connection) if not each.is_time_machine]
    wrong = 0
    for done, share in enumerate(living):
        context.check()
        context.report(done, len(living), "shares")
        found = compare(context.settings, share, check=context.check)
        is_right = found is not None and found.is_right
        if not is_right and utc_now() - share.created_at < SETTLING:
            continue  # it is being read for the first time: nothing is claimed yet
        if found is None:
            outcome = Outcome.INCONCLUSIVE
            context.note(
                mark("A share is not searched: it has no index yet, or its disk is not there."),
                level="warning",
                share=share.id,
            )
        elif found.is_right:
            outcome = Outcome.PROVEN
        else:
            outcome = Outcome.FAILED
            wrong += found.missing + found.stale + found.altered
            context.note(
                mark("The search did not know all files of a share: it is looked at again."),
                level="warning",
                share=share.id,
                missing=found.missing,
                stale=found.stale,
                altered=found.altered,
            )
            wish_path(context.settings, share.id).touch(mode=0o660)
        figures = {"share": share.id, **({} if found is None else asdict(found))}
        with context.database.write() as connection:
            proofs.record(
                connection,
                at=utc_now(),
                kind="disk.index",
                outcome=outcome,
                figures=figures,
                source_id=share.source_id,
                actor=f"job:{context.job.id}",
            )
    context.report(len(living), len(living), "shares")
    context.result.update(shares=len(living), differences=wrong)
    return JobState.WARNED if context.warnings else JobState.SUCCEEDED
