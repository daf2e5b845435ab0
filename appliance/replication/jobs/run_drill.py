"""``drill.run``: the exercise as a job. Whatever happens the words are forgotten and the scratch place goes."""

from sqlalchemy import Connection

from appliance.clock import utc_now
from appliance.db import secrets, sources, targets
from appliance.errors import NoSpace
from appliance.jobs import drill_scratch
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RunDrill
from appliance.ledger import proofs
from appliance.model import JobState, Outcome
from appliance.policy import drills
from appliance.policy.drills import Drill
from appliance.replication import drill, kit, kit_file
from appliance.replication.open_kit_target import open_kit_target, read_kit_target
from appliance.replication.tools import Tools
from appliance.settings import Settings
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal


def run(context: JobContext, spec: RunDrill, tools: Tools) -> JobState:
    """Make the box again from a target, compare, write the proof and remove everything.

    Returns:
        SUCCEEDED when the newest generation made this box; WARNED when an older one did, when the place
        hid something, or when it took longer than the plans promise; FAILED when the copy does not make
        the box: the proof then says why.

    Raises:
        NotFound: the target was removed.
        SecretMissing: nobody gave the words.
        SecretUnreadable: they are of a kit that another has replaced meanwhile.
        TargetUnreachable …: the place cannot be asked; nothing is proven by that.
        NoSpace: the disk of the box does not hold a second one.
        AlreadyRunning: another drill runs.
        JobCancelled: a person stopped it.
    """
    settings, database = context.settings, context.database
    try:
        with database.read() as connection:
            copy = _copy(connection, settings, spec, _secret(connection, settings))
        drill_scratch.forget_words(database)  # they are in memory; nothing else needs them
        with drill_scratch.scratch(settings) as folder:
            made = drill.rehearse(
                copy,
                settings,
                folder,
                tools,
                _watch(context),
                now=utc_now,
                seed=context.job.id,
            )
            context.step("drill-removing")
    except NoSpace as error:
        context.note(
            "The exercise needs %(needed_bytes)s on the disk of the box; %(free_bytes)s are free.",
            level="warning",
            needed_bytes=error.needed_bytes,
            free_bytes=error.free_bytes,
        )
        raise
    finally:
        drill_scratch.forget_words(database)
    return _conclude(context, spec, made)


def _secret(connection: Connection, settings: Settings) -> Secret:
    name = drill_scratch.WORDS
    return unseal(name, secrets.get_sealed(connection, name), settings.keys)


def _copy(connection: Connection, settings: Settings, spec: RunDrill, secret: Secret) -> drill.Copy:
    """Return what the kit file of this moment says: after a fire there is nothing else."""
    row = targets.get(connection, targets.TargetId(spec.target_id))
    found = kit.read_file(kit_file.build_kit_file(connection, settings, now=utc_now()), secret)
    (place,) = [read_kit_target(each) for each in found.targets if each["name"] == row.name]
    return drill.Copy(
        target=row.name,
        label=row.label,
        open_target=open_kit_target(place, box_id=found.box_id),
        identity=kit.identities(found, secret),
        signer=kit.signer_from_text(found.signer),
        box_id=found.box_id,
        connections=place.connections,
    )


def _watch(context: JobContext) -> drill.Watch:
    state = {"step": ""}

    def on_step(step: str) -> None:
        if step != state["step"]:
            state["step"] = step
            context.step(step)

    return drill.Watch(
        on_step=on_step,
        on_bytes=lambda done, total: context.report(done, total, "bytes"),
        should_stop=context.should_stop,
    )


def _conclude(context: JobContext, spec: RunDrill, made: Drill) -> JobState:
    with context.database.write() as connection:
        dmia_s, pdma_s = drills.strictest(
            [
                (each.plan.dmia_hours, each.plan.pdma_hours)
                for each in sources.all_living(connection)
                if each.plan.enabled
            ]
        )
        made = drills.with_promises(made, dmia_s=dmia_s, pdma_s=pdma_s, job=context.job.id)
        proof = proofs.record(
            connection,
            at=utc_now(),
            kind=drills.PROOF,
            outcome=made.outcome,
            figures=drills.to_figures(made),
            target_id=spec.target_id,
            actor=context.actor,
        )
    context.result.update(drills.to_figures(made), proof=proof.seq, outcome=made.outcome.value)
    if made.outcome is Outcome.FAILED:
        context.note("The copy does not make this box again; the sheet says why.", level="error")
        return JobState.FAILED
    if made.lost_s:
        context.note(
            "The newest generation could not be used: an older one was taken.", level="warning"
        )
    if made.faults:
        context.note(
            "The place hides or altered %(count)s generations.", level="warning", count=made.faults
        )
    if made.is_slower_than_promised:
        context.note("It took longer than the plans promise.", level="warning")
    return JobState.SUCCEEDED
