"""``armoire target``: places where copies go."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from appliance.clock import utc_now
from appliance.commands.following import enqueue, exit_code_of, follow
from appliance.commands.framework import Group, answers, complete_targets, option
from appliance.commands.rates import rule_of, rule_words
from appliance.commands.session import Answer, ExitCode, Session, clean, table, when, wrong
from appliance.commands.target_adding import add, change, confirm
from appliance.commands.target_common import (
    KIND_NAMES,
    NATURE_NAMES,
    OUTCOME_SIGNS,
    find,
    followed,
    job_bodies,
    reloaded,
    target_body,
)
from appliance.commands.target_forged import forged
from appliance.db import targets
from appliance.jobs import target_setup
from appliance.jobs.copy_readings import copy_status
from appliance.jobs.kinds import AdoptCopy, CheckTarget, TamperCopy
from appliance.language import mark
from appliance.policy import bandwidth as rates
from appliance.policy import place as places
from appliance.policy.copy_status import COPY_LEVEL_NAMES
from appliance.policy.hosting import Nature
from appliance.policy.immutability import ACTION_TEXTS, Action
from appliance.policy.target_check import CheckOutcome, TargetCheck


@click.group("target", cls=Group, help=mark("The places where copies go."))
def target() -> None:
    """Hold the commands about targets."""


for _one in (add, confirm, change, forged):
    target.add_command(_one)


@target.command("list", help=mark("List the destinations with what is proven of each."))
@answers
def list_targets(session: Session) -> Answer:
    """List targets."""
    now = utc_now()
    with session.database.read() as connection:
        rows = [
            (each, copy_status(connection, session.settings, each, now))
            for each in targets.all_living(connection)
        ]

    def show(out: Console) -> None:
        if not rows:
            out.print(session.say(mark("No destination yet. «armoire target add» adds one.")))
            return
        titles = (
            mark("destination"),
            mark("kind"),
            mark("where"),
            mark("last copy"),
            mark("state"),
        )
        out.print(
            table(
                [session.say(each) for each in titles],
                [
                    (
                        each.name,
                        session.say(KIND_NAMES[each.kind]),
                        clean(places.where(places.parse(each.kind, each.place))),
                        when(status.newest_at),
                        session.say(COPY_LEVEL_NAMES[status.level]),
                    )
                    for each, status in rows
                ],
            )
        )

    body = {
        "targets": [
            {**target_body(each), "level": status.level.value, "newest_at": status.newest_at}
            for each, status in rows
        ]
    }
    return Answer(body, show)


@target.command(
    "show",
    help=mark("Say everything about a destination: what lies there and what is proven of it."),
)
@click.argument("name", shell_complete=complete_targets)
@answers
def show_target(session: Session, name: str) -> Answer:
    """Show a target."""
    row = find(session, name)
    with session.database.read() as connection:
        status = copy_status(connection, session.settings, row, utc_now())
    language = session.language

    def show(out: Console) -> None:
        nature = "–" if row.nature is None else session.say(NATURE_NAMES[Nature(row.nature)])
        out.print(Text(f"{row.label} — {session.say(KIND_NAMES[row.kind])}, {nature}"))
        out.print(Text(places.where(places.parse(row.kind, row.place))))
        out.print(Text(status.sentence.words(language)))
        for each in status.reasons:
            out.print(Text(f"- {each.words(language)} {each.action_words(language)}"))
        out.print(session.say(mark("Last copy: %(time)s. Generations: %(count)s."),
                              time=when(status.newest_at), count=status.generations))  # fmt: skip
        if status.immutability is not None:
            out.print(session.say(status.immutability.text))
        for rule in rates.from_stored(row.bandwidth):
            out.print(Text(f"  {rule_words(rule, language)}"))

    body = {
        **target_body(row),
        "level": status.level.value,
        "sentence": status.sentence.words(language),
        "reasons": [{"code": each.code, "text": each.words(language)} for each in status.reasons],
        "generations": status.generations,
        "newest_at": status.newest_at,
        "objects": status.objects,
        "bytes": status.published_bytes,
        "read_back_since": status.read_back_since,
        "is_immutable": status.is_immutable_shown,
        "may_send": status.verdict.may_send,
        "facts": row.facts,
    }
    return Answer(body, show)


@target.command("check", help=mark("Try a destination, step by step, and say in words what works."))
@click.argument("name", shell_complete=complete_targets)
@answers
def check(session: Session, name: str) -> Answer:
    """Try a target."""
    row = find(session, name)
    jobs = follow(session, [enqueue(session, CheckTarget(row.id))])
    found = reloaded(session, row).facts.get(target_setup.CHECK, {})
    results = [TargetCheck.from_json(each) for each in found.get("results", [])]

    def show(out: Console) -> None:
        for each in results:
            sign, colour = OUTCOME_SIGNS[each.outcome]
            out.print(Text(f"{sign} {each.words(session.language)}"), style=colour)

    body = {
        "target": row.name,
        "checks": [
            {
                "check": each.check,
                "outcome": each.outcome.value,
                "text": each.words(session.language),
            }
            for each in results
        ],
        "jobs": job_bodies(session, jobs),
    }
    return Answer(body, show, exit_code_of(jobs))


@target.command(
    "tamper",
    help=mark(
        "Try to harm a canary there with the box's own key, and say whether the place is immutable."
    ),
)
@click.argument("name", shell_complete=complete_targets)
@answers
def tamper(session: Session, name: str) -> Answer:
    """Try to harm a canary."""
    row, jobs = followed(session, name, TamperCopy)
    fact = reloaded(session, row).facts.get("tamper", {})
    bucket = reloaded(session, row).facts.get("bucket", {})

    def show(out: Console) -> None:
        if fact:
            out.print(session.say(fact["text"]))
        for each in fact.get("attempts", []):
            out.print(
                Text(f"- {session.say(ACTION_TEXTS[Action(each['action'])])}: {each['outcome']}")
            )
        for each in bucket.get("answers", []):
            words = TargetCheck("bucket", CheckOutcome.OK, each["text"], each["facts"])
            out.print(Text(f"- {each['state']}: {words.words(session.language)}"))

    body = {"target": row.name, "tamper": fact, "bucket": bucket or None,
            "jobs": job_bodies(session, jobs)}  # fmt: skip
    return Answer(body, show, exit_code_of(jobs))


@target.command(
    "adopt",
    help=mark(
        "Verify and count what was carried there by disk; the next push sends only what is new."
    ),
)
@click.argument("name", shell_complete=complete_targets)
@answers
def adopt(session: Session, name: str) -> Answer:
    """Adopt what was carried."""
    row, jobs = followed(session, name, AdoptCopy)
    result: Mapping[str, Any] = next(
        (each.result for each in jobs if each.kind == AdoptCopy.kind), {}
    )

    def show(out: Console) -> None:
        if "objects" in result:
            out.print(session.say(
                mark("%(generations)s generations, %(objects)s objects; %(read_back)s read whole, "
                     "%(missing)s missing, %(altered)s altered."), **result,
            ))  # fmt: skip

    body = {"target": row.name, **result, "jobs": job_bodies(session, jobs)}
    return Answer(body, show, exit_code_of(jobs))


@target.command(
    "remove",
    help=mark("Stop sending to a destination. What lies there stays: ask its host for it back."),
)
@click.argument("name", shell_complete=complete_targets)
@option("--yes", is_flag=True, help=mark("Do not ask."))
@answers
def remove(session: Session, name: str, *, yes: bool) -> Answer:
    """Remove a target."""
    row = find(session, name)
    question = session.say(mark("Stop sending copies to «%(name)s»?"), name=name)
    if not yes and not session.confirm(question):
        return Answer({"target": row.name, "removed": False}, lambda _out: None, ExitCode.REFUSED)
    with session.database.write() as connection:
        target_setup.remove_target(connection, row.id, person=None, now=utc_now())

    def show(out: Console) -> None:
        out.print(session.say(mark("Nothing is sent to «%(name)s» any more; what lies there stays."), name=name))  # fmt: skip
        if row.nature == Nature.CERTIFIED_HOST.value:
            out.print(
                session.say(mark("Ask the host for a certificate of destruction (R.1111-11)."))
            )

    return Answer({"target": row.name, "removed": True}, show)


@target.command(
    "bandwidth",
    help=mark(
        "Say how fast copies may leave, by the hour; a running push obeys within seconds.\n\n"
        "RULE: «mon-fri 08:00-19:00 2Mbit», «sun free», «08:00-12:00 pause». The first that applies wins. "
        "Without rules it says what is set."
    ),
)
@click.argument("name", shell_complete=complete_targets)
@click.argument("rules", nargs=-1, metavar="[RULE]...")
@option(
    "--usual", is_flag=True, help=mark("Slow in consultation hours, free at night and on Sundays.")
)
@option("--free", is_flag=True, help=mark("As fast as the line, always."))
@answers
def bandwidth(
    session: Session, name: str, rules: Sequence[str], *, usual: bool, free: bool
) -> Answer:
    """Set the timetable of the line."""
    row = find(session, name)
    if bool(rules) + usual + free > 1:
        raise wrong("RULE", mark("Give rules, --usual or --free."))
    if rules or usual or free:
        wanted = rates.USUAL if usual else [rule_of(each) for each in rules]
        with session.database.write() as connection:
            row = target_setup.set_bandwidth(connection, row.id, wanted, person=None, now=utc_now())
    found = rates.from_stored(row.bandwidth)

    def show(out: Console) -> None:
        if not found:
            out.print(session.say(mark("As fast as the line, always.")))
        for each in found:
            out.print(Text(rule_words(each, session.language)))

    body = {"target": row.name, "rules": [rule_words(each, session.language) for each in found]}
    return Answer(body, show)
