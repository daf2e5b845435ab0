"""The job that tries a target and says in words what works; each check is stored as it passes.

Nothing of the practice leaves: what is written is a line of random digits, so a destination may be tried
before its dossier is complete. It runs beside a push that lasts days.
"""

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from appliance.clock import utc_now
from appliance.db import facts, targets
from appliance.db.targets import TargetId, TargetRow
from appliance.errors import (
    ArmoireError,
    TargetIdentityChanged,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import CheckTarget
from appliance.jobs.target_setup import CHECK
from appliance.language import mark
from appliance.model import JobState
from appliance.policy import dossier as dossiers
from appliance.policy import place as places
from appliance.policy.hosting import Nature, judge
from appliance.policy.place import BoxPlace, Place, S3Place, SftpPlace
from appliance.policy.target_check import CheckOutcome, TargetCheck
from appliance.replication import host_key, kit, takeover
from appliance.replication.open_target import open_target
from appliance.replication.target import SealedFile, Target
from appliance.replication.tools import Tools
from appliance.units import GIB

OK, WARNING, FAILED, SKIPPED = CheckOutcome
#: Beside the canaries: whoever looks for a part of a copy passes it over.
PROBE_FOLDER: Final = "canary/"
_PROBE_BYTES: Final = 32


def run(context: JobContext, spec: CheckTarget, tools: Tools) -> JobState:  # noqa: ARG001
    """Try the target; the page sees each check in ``target.facts["check"]`` as it passes.

    Returns:
        WARNED when anything does not work, else SUCCEEDED: the trying itself worked.

    Raises:
        NotFound: the target was removed.
        InvalidInput: its stored place cannot be read.
    """
    with context.database.read() as connection:
        row = targets.get(connection, TargetId(spec.target_id))
    results: list[TargetCheck] = []
    context.step("checking")
    _store(context, row, results, ended=False)
    for result in _checks(context, row):
        context.check()
        results.append(result)
        _store(context, row, results, ended=False)
        context.report(len(results), None, "checks")
    _store(context, row, results, ended=True)
    context.result["checks"] = [each.to_json() for each in results]
    counts = Counter(each.outcome for each in results)
    context.result.update({outcome.value: counts[outcome] for outcome in CheckOutcome})
    return JobState.WARNED if counts[FAILED] + counts[WARNING] else JobState.SUCCEEDED


def _checks(context: JobContext, row: TargetRow) -> Iterator[TargetCheck]:
    place = places.parse(row.kind, row.place)
    is_pinned = True
    if isinstance(place, SftpPlace | BoxPlace):
        for each in _identity_of_host(place):
            yield each
            if each.outcome is FAILED:
                yield _hosting(context, row)
                return
            is_pinned = is_pinned and each.outcome is not WARNING
    if is_pinned:
        yield from _opened(context, row, place)
    yield _hosting(context, row)


def _identity_of_host(place: SftpPlace | BoxPlace) -> Iterator[TargetCheck]:
    try:
        found, shown = host_key.probe(place.host, place.port)
    except TargetUnreachable as error:
        yield TargetCheck(
            "address", FAILED,
            mark("Nobody answers at %(host)s, port %(port)s: %(reason)s. Check the address and the firewall."),
            {"host": place.host, "port": place.port, "reason": error.reason},
        )  # fmt: skip
        return
    yield TargetCheck(
        "address", OK, mark("An SSH server answers at %(host)s, port %(port)s."),
        {"host": place.host, "port": place.port},
    )  # fmt: skip
    if not place.host_key:
        yield TargetCheck(
            "host-key", WARNING,
            mark("It shows the identity %(fingerprint)s. Compare it with what the host tells you, then confirm it: "
                 "until then nothing else is tried."),
            {"fingerprint": shown},
        )  # fmt: skip
    elif place.host_key.split()[:2] != found.split()[:2]:
        yield TargetCheck(
            "host-key", FAILED,
            mark("Another identity answers: %(fingerprint)s instead of %(expected)s. Nothing is sent. Ask the host "
                 "whether it changed its key; otherwise somebody stands in between."),
            {"fingerprint": shown, "expected": places.fingerprint(place.host_key)},
        )  # fmt: skip
    else:
        yield TargetCheck("host-key", OK, mark("Its identity is the one that was confirmed."))


def _opened(context: JobContext, row: TargetRow, place: Place) -> Iterator[TargetCheck]:
    name = "disk" if row.kind == "directory" else "sign-in"
    target = None
    try:
        with context.database.read() as connection:
            opener = open_target(connection, row, context.settings, now=utc_now)
        target = opener()
        count = sum(1 for _ in target.list("generations/"))
    except ArmoireError as error:
        yield _failed(name, error)
        if target is not None:
            target.close()
        return
    try:
        if row.kind == "directory":
            yield TargetCheck("disk", OK, mark("The disk is plugged in and carries our label."))
        else:
            yield TargetCheck("sign-in", OK, mark("We are let in."))
        yield TargetCheck(
            "list", OK, mark("What lies there can be listed: %(count)s generations."), {"count": count}
        )  # fmt: skip
        yield _takeover(context, target)
        yield from _round_trip(context, target, row)
        yield _space(target)
        if isinstance(place, S3Place):
            yield _lock(place)
    finally:
        target.close()


def _takeover(context: JobContext, target: Target) -> TargetCheck:
    with context.database.read() as connection:
        box_id = facts.find(connection, "box.id")
        instance = facts.find(connection, takeover.INSTANCE)
        try:
            signer = kit.signing_key(connection, context.settings.keys).public_key()
        except ArmoireError as error:
            return _failed("identity", error)
    try:
        takeover.check_takeover(
            target,
            instance if isinstance(instance, str) else None,
            box_id=str(box_id),
            signer=signer,
        )
    except ArmoireError as error:
        return _failed("identity", error)
    return TargetCheck("identity", OK, mark("No other box took this place over."))


def _round_trip(context: JobContext, target: Target, row: TargetRow) -> Iterator[TargetCheck]:
    """Write, read and remove a line of random digits."""
    data = secrets.token_hex(_PROBE_BYTES).encode()
    name = f"{PROBE_FOLDER}check-{secrets.token_hex(4)}"
    path = _spool(context, row) / name.rpartition("/")[2]
    try:
        path.write_bytes(data)
        target.create(name, SealedFile.of(path))
    except ArmoireError as error:
        yield _failed("write", error)
        return
    finally:
        path.unlink(missing_ok=True)
    yield TargetCheck("write", OK, mark("A new object can be written."))
    try:
        back = b"".join(target.read(name))
    except ArmoireError as error:
        yield _failed("read", error)
        return
    if back != data:
        yield TargetCheck("read", FAILED, mark("What was read back is not what was written."))
        return
    yield TargetCheck("read", OK, mark("It comes back as it was written."))
    try:
        target.remove(name)
        stays = target.stat(name) is not None
    except TargetRefuses:
        stays = True
    except ArmoireError as error:
        yield _failed("remove", error)
        return
    if stays:
        text = mark("It cannot be removed again with our key: what is there stays there.")
    else:
        text = mark("It can be removed again with our key: keep another copy that cannot be.")
    yield TargetCheck("remove", OK, text)


def _spool(context: JobContext, row: TargetRow) -> Path:
    folder = context.settings.data / "copies" / str(row.id) / "check"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _space(target: Target) -> TargetCheck:
    free = None
    with suppress(ArmoireError):
        free = target.free_bytes()
    if free is None:
        return TargetCheck("space", SKIPPED, mark("The place does not say how much room is left."))
    return TargetCheck(
        "space", OK if free >= GIB else WARNING, mark("%(free_gb)s GB are free there."),
        {"free_gb": round(free / 1e9, 1)},
    )  # fmt: skip


def _lock(place: S3Place) -> TargetCheck:
    if not place.lock_mode:
        return TargetCheck(
            "lock", WARNING,
            mark("New objects are not locked. A bucket with Object Lock keeps them even from our own key."),
        )  # fmt: skip
    return TargetCheck(
        "lock", OK, mark("New objects are locked for %(days)s days (%(mode)s)."),
        {"days": place.lock_days, "mode": place.lock_mode},
    )  # fmt: skip


def _hosting(context: JobContext, row: TargetRow) -> TargetCheck:
    """May anything of the practice be sent there? The rules of hosting (HDS-01 …)."""
    today = utc_now().astimezone(ZoneInfo(context.settings.time_zone)).date()
    nature = None if row.nature is None else Nature(row.nature)
    verdict = judge(nature, dossiers.parse(row.dossier), today)
    blocking = [each for each in verdict.remarks if each.blocks]
    if blocking:
        return TargetCheck("hosting", FAILED, blocking[0].text, blocking[0].facts)
    if verdict.remarks:
        return TargetCheck(
            "hosting", WARNING, mark("Copies may be sent there; the host's dossier has %(count)s open points."),
            {"count": len(verdict.remarks)},
        )  # fmt: skip
    return TargetCheck("hosting", OK, mark("By what was declared, copies may be sent there."))


def _failed(check: str, error: ArmoireError) -> TargetCheck:
    outcome = WARNING if isinstance(error, TargetUnreachable) and check == "disk" else FAILED
    if isinstance(error, TargetIdentityChanged):
        outcome = FAILED
    known = {each.name: "…" for each in fields(error)} | error.loggable
    return TargetCheck(check, outcome, type(error).public, known)


def _store(context: JobContext, row: TargetRow, results: list[TargetCheck], *, ended: bool) -> None:
    found = {
        "job": context.job.id,
        "at": utc_now().isoformat(),
        "ended": ended,
        "results": [each.to_json() for each in results],
    }
    with context.database.write() as connection:
        targets.set_facts(connection, row.id, {CHECK: found})
