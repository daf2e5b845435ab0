"""The job that tries a machine and says in words what works; each check is stored as it passes."""

from collections import Counter
from typing import Final

from appliance.backup_jobs import ssh, vault_access
from appliance.backup_jobs.machines import (
    CheckOutcome,
    CheckResult,
    check,
    learn_mac,
)
from appliance.backup_jobs.recipe_schema import Recipe, load_recipes
from appliance.clock import utc_now
from appliance.db import sources
from appliance.errors import InvalidInput
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import CheckMachine
from appliance.language import mark
from appliance.model import JobState, Source, SourceKind

#: In the source's facts: {"job": id, "at": ISO time, "ended": bool, "results": [CheckResult.to_json()…]}.
CHECK: Final = "check"


def run(context: JobContext, spec: CheckMachine) -> JobState:
    """Try the machine; the page sees each check in ``source.facts["check"]`` as it passes.

    Returns:
        WARNED when anything does not work, else SUCCEEDED: the trying itself worked.

    Raises:
        NotFound: the source was removed.
        InvalidInput: it is no machine that the box pulls.
        SecretMissing, KeyMissing: its key was never made; ``source.set-up`` makes it.
    """
    with context.database.read() as connection:
        source = sources.get(connection, spec.source_id)
        if source.kind is not SourceKind.PULLED or not source.host:
            raise InvalidInput("source", mark("This is not a machine that the box reads."))
        key = vault_access.machine_key(connection, context.settings, source.id)
    endpoint = ssh.Endpoint(
        source.host, source.port, source.user or "armoire", source.host_key, key
    )
    recipes = _recipes(context, source)
    results: list[CheckResult] = []
    context.step("checking")
    _store(context, source, results, ended=False)
    for result in check(endpoint, source, recipes):
        context.check()
        results.append(result)
        _store(context, source, results, ended=False)
        context.report(len(results), None, "checks")
    _store(context, source, results, ended=True)
    counts = Counter(result.outcome for result in results)
    context.result.update({outcome.value: counts[outcome] for outcome in CheckOutcome})
    bad = counts[CheckOutcome.FAILED] + counts[CheckOutcome.WARNING]
    return JobState.WARNED if bad else JobState.SUCCEEDED


def _recipes(context: JobContext, source: Source) -> dict[str, Recipe]:
    """Return every recipe, so that one may be proposed; only the source's when another is broken."""
    try:
        return load_recipes(context.settings)
    except InvalidInput:
        return load_recipes(context.settings, {use.name for use in source.recipes})


def _store(context: JobContext, source: Source, results: list[CheckResult], *, ended: bool) -> None:
    now = utc_now()
    answers = any(one.name == "reachable" and one.outcome is CheckOutcome.OK for one in results)
    mac = learn_mac(source.host or "") if ended and answers else None
    with context.database.write() as connection:
        found = {
            "job": context.job.id,
            "at": now.isoformat(),
            "ended": ended,
            "results": [one.to_json() for one in results],
        }
        sources.set_facts(connection, source.id, {CHECK: found})
        for one in results:
            if one.name == "clock" and "seconds" in one.facts:
                known = {"clock_offset_s": one.facts["seconds"], "clock_at": now.isoformat()}
                sources.set_facts(connection, source.id, known)
        if ended and answers:
            sources.seen(connection, source.id, now=now)
        if mac is not None and mac != source.mac:
            sources.change(connection, source.id, mac=mac)
