"""The job that asks a machine for its host key, so that a person can compare and confirm it."""

from typing import Final

from appliance.backup_jobs import ssh
from appliance.backup_jobs.machines import learn_mac
from appliance.clock import utc_now
from appliance.db import sources
from appliance.errors import InvalidInput
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import ProbeHostKey
from appliance.language import mark
from appliance.model import JobState

#: In the source's facts: {"host_key": line, "fingerprint": «SHA256:…», "at": ISO time}. Nothing is
#: pinned by looking: ``machines.confirm_host_key`` does, when a person says so.
PROBED: Final = "probed"


def run(context: JobContext, spec: ProbeHostKey) -> JobState:
    """Store the host key the machine shows now; never pin it.

    Returns:
        WARNED when it is another one than the pinned.

    Raises:
        NotFound: the source was removed.
        InvalidInput: it is no machine.
        MachineUnreachable: nobody answers.
    """
    with context.database.read() as connection:
        source = sources.get(connection, spec.source_id)
    if not source.host:
        raise InvalidInput("source", mark("This is not a machine that the box reads."))
    context.step("connecting")
    host_key, fingerprint = ssh.probe_host_key(source.host, source.port)
    mac = learn_mac(source.host)
    now = utc_now()
    with context.database.write() as connection:
        found = {"host_key": host_key, "fingerprint": fingerprint, "at": now.isoformat()}
        sources.set_facts(connection, source.id, {PROBED: found})
        sources.seen(connection, source.id, now=now)
        if mac is not None and mac != source.mac:
            sources.change(connection, source.id, mac=mac)
    context.result.update(fingerprint=fingerprint)
    if source.host_key is not None and source.host_key.split()[:2] != host_key.split()[:2]:
        context.note(
            mark("Another identity answers than the one that was confirmed."), level="warning"
        )
        return JobState.WARNED
    return JobState.SUCCEEDED
