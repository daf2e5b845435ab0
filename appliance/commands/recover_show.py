"""What a recovery says on the terminal, and in ``--json``: what places show, what is proposed, the sheet."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rich.console import Console

from appliance.commands.session import Session, clean, table, when
from appliance.jobs.recovery_status import (
    REPOSITORY_STATES,
    SHARE_STATES,
    Phase,
    RecoveryStatus,
    ShareLine,
)
from appliance.language import explain, mark
from appliance.policy.wording import duration_words, size_words
from appliance.replication.open_kit_target import KitTarget
from appliance.replication.recover_choice import Look, Proposal

Remark = tuple[str, Mapping[str, Any]]

_FAULTS: Final = {
    "altered": mark("%(place)s: generation %(number)s was altered or forged; it is not used."),
    "missing": mark("%(place)s: generation %(number)s is withheld."),
    "not-following": mark(
        "%(place)s: generation %(number)s does not follow the one before it: something was exchanged."
    ),
}


def remarks(targets: Sequence[KitTarget], proposal: Proposal) -> list[Remark]:
    """Return in sentences what must be said about a proposal: faults, what is lost, what is missing."""
    labels = {each.name: each.label for each in targets}
    found: list[Remark] = [
        (
            _FAULTS.get(fault.reason, _FAULTS["altered"]),
            {"place": labels.get(name, name), "number": fault.number},
        )
        for name, fault in proposal.faults
    ]
    for each in proposal.skipped:
        facts: dict[str, Any] = {
            "place": labels.get(each.target, each.target),
            "number": each.number,
            "at": when(each.taken_at),
        }
        if each.reason == "does-not-open":
            text = mark(
                "%(place)s: generation %(number)s of %(at)s does not open with these sheets."
            )
        else:
            text = mark(
                "%(place)s: generation %(number)s of %(at)s lacks %(count)s objects; it is not used."
            )
            facts["count"] = sum(each.missing.values())
        found.append((text, facts))
    if proposal.missing:
        found.append(
            (
                mark("No generation is whole: %(count)s objects of this one are nowhere."),
                {"count": len(proposal.missing)},
            )
        )
    return found


def print_looks(
    session: Session, out: Console, targets: Sequence[KitTarget], looks: Sequence[Look]
) -> None:
    """Print what each place shows, a line each."""
    labels = {each.name: each.label for each in targets}
    rows = []
    for look in looks:
        label = clean(labels.get(look.target, look.target))
        if look.unreachable:
            reason = session.say(mark("cannot be read"))
            if look.error is not None:
                reason = clean(explain(look.error, session.language))
            rows.append((label, "–", "–", reason))
        elif not look.generations:
            rows.append((label, "–", "–", session.say(mark("nothing of this box lies there"))))
        for looked in look.generations:
            if looked.manifest is None:
                state = session.say(mark("does not open with these sheets"))
            elif looked.missing:
                state = session.say(
                    mark("%(count)s objects are missing there"), count=len(looked.missing)
                )
            else:
                state = session.say(mark("whole"))
            rows.append((label, str(looked.number), when(looked.taken_at), state))
    titles = [
        session.say(each)
        for each in (mark("Place of copies"), mark("Generation"), mark("Taken at"), mark("State"))
    ]
    out.print(table(titles, rows))


def print_proposal(
    session: Session,
    out: Console,
    targets: Sequence[KitTarget],
    proposal: Proposal,
    now: datetime,
) -> None:
    """Print which generation would be taken, how old it is, what is lost by it."""
    labels = {each.name: each.label for each in targets}
    for text, facts in remarks(targets, proposal):
        out.print(session.say(text, **facts), style="yellow")
    size = sum(file.plain_size for file in proposal.manifest.files)
    out.print(
        session.say(
            mark("Proposed: generation %(number)s at «%(place)s», of %(at)s (%(age)s old)."),
            number=proposal.number,
            place=clean(labels.get(proposal.target, proposal.target)),
            at=when(proposal.taken_at),
            age=duration_words(max(timedelta(0), now - proposal.taken_at), session.language),
        ),
        style="bold",
    )
    names = ", ".join(clean(each.label) for each in proposal.manifest.repositories)
    out.print(
        session.say(
            mark("It holds %(size)s: %(names)s."),
            size=size_words(size, session.language),
            names=names,
        )
    )
    if proposal.lost_s:
        out.print(
            session.say(
                mark("What was done in the %(span)s after it is lost."),
                span=duration_words(timedelta(seconds=proposal.lost_s), session.language),
            ),
            style="yellow",
        )


def print_sheet(session: Session, out: Console, status: RecoveryStatus) -> None:
    """Print the sheet of a recovery that is done."""
    whole = (
        mark("The box is back, whole, and every repository was read again.")
        if status.is_whole
        else mark("The box is back, but not everything: see below.")
    )
    out.print(session.say(whole), style="bold green" if status.is_whole else "bold yellow")
    out.print(table(["", ""], _figures(session, status)))
    rows = [
        (
            clean(each.label),
            size_words(each.bytes, session.language),
            session.say(REPOSITORY_STATES.get(each.state, each.state))
            + (f" ({each.missing})" if each.missing else ""),
        )
        for each in status.repositories
    ]
    out.print(
        table(
            [session.say(each) for each in (mark("Repository"), mark("Size"), mark("State"))], rows
        )
    )
    if status.shares:
        out.print(
            table(
                [session.say(each) for each in (mark("Share"), mark("Files"), mark("State"))],
                [
                    (
                        clean(each.label),
                        str(each.files),
                        share_words(session, each, is_elsewhere=status.is_elsewhere(each)),
                    )
                    for each in status.shares
                ],
            )
        )
    for text, facts in status.remarks:
        out.print(session.say(text, **facts), style="yellow")


def share_words(session: Session, share: ShareLine, *, is_elsewhere: bool = False) -> str:
    """Return how a share is, in words; and where, when that is not its folder of before."""
    said = session.say(SHARE_STATES.get(share.state, share.state))
    if is_elsewhere:
        said += ", " + session.say(mark("in another folder: %(folder)s"), folder=share.root)
    if share.left_alone:
        said += ", " + session.say_count(
            "%(count)s was there already and stays",
            "%(count)s were there already and stay",
            share.left_alone,
        )
    if share.failed:
        said += ", " + session.say_count("%(count)s failed", "%(count)s failed", share.failed)
    if share.problem:
        said += ": " + session.say(share.problem, **share.problem_facts)
    return clean(said)


def _figures(session: Session, status: RecoveryStatus) -> list[tuple[str, str]]:
    language = session.language

    def since(moment: datetime | None) -> str:
        return "–" if moment is None else duration_words(moment - status.started_at, language)

    return [
        (
            session.say(mark("Copy")),
            session.say(
                mark("generation %(number)s of «%(place)s», %(at)s"),
                number=status.number,
                place=clean(status.place),
                at=when(status.taken_at),
            ),
        ),
        (session.say(mark("Age of the data")), duration_words(status.data_age, language)),
        (session.say(mark("Accounts and catalogues after")), since(status.state_at)),
        (session.say(mark("First document readable after")), since(status.readable_at)),
        (session.say(mark("Everything back after")), since(status.finished_at)),
        (session.say(mark("Bytes")), size_words(status.bytes_total, language)),
        (session.say(mark("Attempts")), str(status.attempts)),
        (session.say(mark("Secrets sealed anew")), str(status.secrets)),
    ]


def progress_words(session: Session, status: RecoveryStatus) -> str:
    """Return one line that says how far it is."""
    said = session.say(mark("Done."))
    match status.phase:
        case Phase.STATE:
            said = session.say(mark("Bringing accounts, rights and catalogues…"))
        case Phase.REPOSITORIES:
            said = session.say(
                mark("Repositories: %(back)s of %(total)s"),
                back=size_words(status.bytes_back, session.language),
                total=size_words(status.bytes_total, session.language),
            )
        case Phase.SHARES:
            files = sum(each.files for each in status.shares)
            said = session.say(mark("Shared folders: files back: %(count)s"), count=files)
        case Phase.DONE:
            pass
    left = status.left_s
    if left is not None and left > 0:
        said += " · " + session.say(
            mark("about %(span)s left"),
            span=duration_words(timedelta(seconds=left), session.language),
        )
    if status.documents_read:
        said += " · " + session.say_count(
            "%(count)s document read", "%(count)s documents read", status.documents_read
        )
    return said


def looks_body(looks: Sequence[Look]) -> list[dict[str, object]]:
    """Return what places show, for ``--json``."""
    return [
        {
            "place": look.target,
            "unreachable": look.unreachable or None,
            "generations": [
                {
                    "number": looked.number,
                    "taken_at": looked.taken_at,
                    "opens": looked.manifest is not None,
                    "missing": len(looked.missing),
                }
                for looked in look.generations
            ],
            "faults": [{"number": each.number, "reason": each.reason} for each in look.faults],
        }
        for look in looks
    ]


def proposal_body(proposal: Proposal) -> dict[str, object]:
    """Return a proposal, for ``--json``."""
    return {
        "place": proposal.target,
        "number": proposal.number,
        "taken_at": proposal.taken_at,
        "missing": len(proposal.missing),
        "lost_s": proposal.lost_s,
        "skipped": [
            {"place": each.target, "number": each.number, "reason": each.reason}
            for each in proposal.skipped
        ],
    }
