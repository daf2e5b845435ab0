"""Samba is told who may see what now, and gets the passwords that wait for it.

Queued by ``smb_watch`` whenever anything that matters is different; safe to run again at any line.
"""

from typing import Final

from sqlalchemy import Connection

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import facts, secrets
from appliance.disk import smb_calls, smb_passwords
from appliance.errors import NotFound
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import SmbApply
from appliance.language import mark
from appliance.ledger import events
from appliance.model import JobState, PersonId
from appliance.vault.unseal import unseal
from appliance.worker.tasks import smb_plan

NOT_THERE: Final = mark("The folder of a share is not one that the file explorer may open.")


def run(context: JobContext, _spec: SmbApply) -> JobState:
    """Tell Samba what holds now.

    Returns:
        WARNED when a share was left out, else SUCCEEDED.

    Raises:
        SmbHelperMissing: the unit is not installed or does not answer.
        SmbFailed: Samba refused; what was in use before still is.
    """
    now = utc_now()
    with context.database.read() as connection:
        plan = smb_plan.wanted(connection, now=now)
        new = smb_passwords.waiting(connection)
    told = smb_plan.digest(plan)
    done = smb_calls.apply(context.settings, plan)
    for share_id in done.left_out:
        context.note(NOT_THERE, level="warning", share=share_id)
    with context.database.write() as connection:
        facts.put(
            connection,
            smb_plan.APPLIED,
            {
                "digest": told,
                "addresses": list(done.addresses),
                "left_out": list(done.left_out),
                "mark": done.mark,
            },
            now=now,
        )
        if done.is_changed:
            events.record(
                connection,
                at=now,
                event="smb.applied",
                subject="box",
                actor=context.actor,
                shares=[each.id for each in plan.shares],
                addresses=list(done.addresses),
                cut=done.cut,
            )
    for person_id in new:
        _hand_over(context, person_id)
    context.result.update(shares=len(plan.shares), cut=done.cut, passwords=len(new))
    return JobState.WARNED if context.warnings else JobState.SUCCEEDED


def _hand_over(context: JobContext, person_id: PersonId) -> None:
    """Give Samba one new password, then forget it."""
    now = utc_now()
    name = smb_passwords.secret_name(person_id)
    with context.database.read() as connection:
        sealed = secrets.find_sealed(connection, name)
        try:
            person = people.get(connection, person_id)
        except NotFound:
            person = None
    if sealed is None:
        return
    if person is not None:
        password = unseal(name, sealed, context.settings.keys)
        if password.reveal():
            smb_calls.set_password(context.settings, person, password)
        else:
            smb_calls.forget(context.settings, person)
        has_one = bool(password.reveal())
    else:
        has_one = False
    with context.database.write() as connection:
        # A newer one may have come meanwhile: only the one that was handed over is forgotten.
        if secrets.find_sealed(connection, name) == sealed:
            secrets.forget(connection, [name])
        _remember(connection, person_id, now.isoformat() if has_one else None)


def _remember(connection: Connection, person_id: PersonId, since: str | None) -> None:
    facts.put(connection, smb_passwords.fact_name(person_id), since, now=utc_now())
