"""The job that wakes a sleeping machine before its window."""

from appliance.backup_jobs.machine_wake import BROADCAST, wake
from appliance.db import sources
from appliance.errors import InvalidInput
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import WakeMachine
from appliance.language import mark
from appliance.model import JobState


def run(context: JobContext, spec: WakeMachine, *, to: tuple[str, int] = BROADCAST) -> JobState:
    """Send the packet; whether the machine wakes is seen when it answers.

    Returns:
        WARNED when the box has no network to send it on.

    Raises:
        NotFound: the source was removed.
        InvalidInput: its MAC address was never learned.
    """
    with context.database.read() as connection:
        source = sources.get(connection, spec.source_id)
    if source.mac is None:
        raise InvalidInput(
            "mac",
            mark(
                "The network address of the machine is not known yet: try it once while it is on."
            ),
        )
    try:
        wake(source.mac, to=to)
    except OSError:
        context.note(mark("The box has no network to wake the machine on."), level="warning")
        return JobState.WARNED
    return JobState.SUCCEEDED
