"""A new box from a copy: state first, then repositories, most wanted first; killed anywhere it goes on.

What was done is in ``recovery.json`` of the data folder, written in one step. Files that are there already
and right are not fetched again. Nothing is written to a repository before `borg check` read it and its
nonces jumped. The sheet at the end is ``recovery-sheet.json``.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.db import facts, targets
from appliance.db.engine import Database, open_database
from appliance.errors import (
    NotFound,
    ObjectMissing,
    RepositoryDamaged,
    SecretUnreadable,
    TargetError,
    VaultError,
)
from appliance.ledger import events
from appliance.replication import kit, recover_borg, state, takeover
from appliance.replication.recover_adopt import adopt
from appliance.replication.recover_choice import Content, Look, Proposal, content, in_order
from appliance.replication.recover_fetch import Fetcher, Line, is_right
from appliance.replication.recover_progress import (
    Progress,
    alone,
    altered,
    begin,
    begun,
    write_progress,
)
from appliance.replication.recover_sheet import (
    RecoverySheet,
    RepositoryBack,
    TargetAfter,
    first_readable,
    iso,
    note_first_readable,
    read_sheet,
    write_sheet,
)
from appliance.replication.state import STATE
from appliance.settings import Settings
from appliance.vault.secret import Secret

__all__ = [
    "Line",
    "RecoverySheet",
    "RepositoryBack",
    "TargetAfter",
    "altered",
    "begun",
    "note_first_readable",
    "read_sheet",
    "recover",
]


def recover(
    proposal: Proposal,
    looks: Sequence[Look],
    settings: Settings,
    line: Line,
    identity: Secret,
    *,
    signer: Ed25519PublicKey,
    now: Callable[[], datetime],
    wanted: Sequence[int] = (),
    accept_incomplete: bool = False,
    is_drill: bool = False,
) -> RecoverySheet:
    """Make the box of ``proposal`` again in an empty data folder and return the sheet.

    Call it again with the same generation after any cut: it goes on. Once finished it returns the sheet.

    Args:
        proposal: what ``propose`` said, and a person accepted.
        looks: what it was made from; files missing or altered at one place come from another.
        settings: of the new box.
        line: connections and callbacks.
        identity: ``AGE-SECRET-KEY-1…`` of the sheets.
        signer: public half of the box's signing key, from the kit.
        now: the clock.
        wanted: source ids, most wanted first.
        accept_incomplete: bring what can be had when files are missing everywhere.
        is_drill: the box lives on: nothing is said nor written at any place.

    Raises:
        AlreadyRunning: another recovery runs in this data folder.
        AlreadyExists: a box lives there.
        InvalidInput: a recovery of another generation was begun there.
        ObjectMissing, ObjectAltered: no place has a file as it was; what came stays. Look again with what
            ``altered`` says: as long as the state is not in place, an older generation may be taken.
        TargetUnreachable, JobCancelled: call again.
        SecretUnreadable, RepositoryDamaged: the state does not open.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    with alone(settings.data):
        progress = begin(settings, proposal, now())
        if progress.finished_at:
            return read_sheet(settings.data)
        if proposal.missing and not accept_incomplete:
            raise ObjectMissing(proposal.target, proposal.missing[0].object)
        files = Fetcher(proposal, looks, line, identity, accept_incomplete=accept_incomplete)
        work = _Recovery(proposal, looks, settings, line, identity, progress, now, files)
        with files.connections():
            if progress.state is None:
                work.bring_state()
            line.on_state()
            for source_id in in_order(proposal.manifest, wanted):
                if str(source_id) not in progress.repositories:
                    work.bring_repository(source_id)
            database = open_database(settings.database)
            try:
                if not is_drill:
                    line.on_step("targets")
                    work.take_places(database, signer)
                return work.finish(database, is_drill=is_drill)
            finally:
                database.close()


class _Recovery:
    """One run of ``recover``."""

    def __init__(
        self,
        proposal: Proposal,
        looks: Sequence[Look],
        settings: Settings,
        line: Line,
        identity: Secret,
        progress: Progress,
        now: Callable[[], datetime],
        files: Fetcher,
    ) -> None:
        self._proposal = proposal
        self._looks = looks
        self._settings = settings
        self._line = line
        self._identity = identity
        self._progress = progress
        self._now = now
        self._files = files

    # --- the state -------------------------------------------------------------------------

    def bring_state(self) -> None:
        settings, progress = self._settings, self._progress
        self._line.on_step("state")
        place = settings.repositories / str(STATE)
        staged = settings.data / ".recovery-state"
        if not (settings.data / state.DATABASE).exists():
            self._fetch(STATE, place)
            recover_borg.clean(place, settings.borg_home, self._borg_id(STATE))
            if not recover_borg.check(
                place, settings.borg_home, should_stop=self._line.should_stop
            ):
                raise RepositoryDamaged(str(place), "its check found damage")
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(mode=0o700)
            recover_borg.extract_newest(
                place,
                state.open_passphrase(place, self._identity),
                settings.borg_home,
                staged,
                should_stop=self._line.should_stop,
            )
            recover_borg.jump_nonce(place)
        taken = state.unstage(
            _top_of(staged),
            settings,
            self._identity,
            instance=progress.instance,
            now=self._now(),
            came_from={
                "target": progress.target,
                "number": progress.number,
                "generation_at": iso(self._proposal.taken_at),
            },
        )
        if taken.box_id != self._proposal.manifest.box_id:
            raise RepositoryDamaged(str(place), "it is the state of another box")
        # The times of the state's files, before anything is written there again.
        progress.state = {
            "at": iso(self._now()),
            "secrets": taken.secrets,
            "unreadable": list(taken.unreadable),
        }
        write_progress(settings.data, progress)
        shutil.rmtree(staged, ignore_errors=True)

    # --- repositories ----------------------------------------------------------------------

    def bring_repository(self, source_id: int) -> None:
        settings = self._settings
        self._line.on_step(f"repository:{source_id}")
        began = time.monotonic()
        place = settings.repositories / str(source_id)
        files = [file for file in self._proposal.manifest.files if file.repository == source_id]
        missing = self._fetch(source_id, place)
        recover_borg.clean(place, settings.borg_home, self._borg_id(source_id))
        whole = recover_borg.check(place, settings.borg_home, should_stop=self._line.should_stop)
        jump = recover_borg.jump_nonce(place)
        os.sync()  # done means done, even when the power goes now
        label = next(
            each.label
            for each in self._proposal.manifest.repositories
            if each.source_id == source_id
        )
        self._progress.repositories[str(source_id)] = asdict(
            RepositoryBack(
                source_id,
                label,
                len(files) - len(missing),
                sum(file.plain_size for file in files if file.path not in missing),
                round(time.monotonic() - began, 3),
                "right" if whole and not missing else "damaged",
                tuple(missing),
                jump.before,
                jump.after,
            )
        )
        note_first_readable(settings.data, self._now())
        write_progress(settings.data, self._progress)

    def _fetch(self, source_id: int, place: Path) -> list[str]:
        """Bring a repository's files; what was found altered is remembered, whatever happens."""
        try:
            return self._files.repository(source_id, place)
        finally:
            for name, objects in self._files.altered.items():
                known = set(self._progress.altered.get(name, ()))
                self._progress.altered[name] = sorted(known | objects)
            if self._files.altered:
                write_progress(self._settings.data, self._progress)

    def _borg_id(self, source_id: int) -> str:
        for each in self._proposal.manifest.repositories:
            if each.source_id == source_id:
                return each.borg_id
        raise NotFound("repository", str(source_id))

    # --- afterwards ------------------------------------------------------------------------

    def take_places(self, database: Database, signer: Ed25519PublicKey) -> None:
        """Write what lies at each place into the record, and say there that this box took over."""
        times = self._times()
        for look in self._looks:
            if look.target in self._progress.targets:
                continue
            adopted = 0
            with suppress(NotFound):
                with database.read() as connection:
                    row = targets.get_by_name(connection, look.target)
                adopted = adopt(database, row.id, look.generations, times, now=self._now())
            told = self._tell(database, look.target, signer)
            self._progress.targets[look.target] = asdict(TargetAfter(look.target, adopted, told))
            write_progress(self._settings.data, self._progress)
        published = {
            name for name, each in self._progress.targets.items() if each["takeover"] == "published"
        }
        with database.write() as connection:
            living = [row.name for row in targets.all_living(connection)]
            pending = [name for name in living if name not in published]
            facts.put(connection, takeover.PENDING, pending, now=self._now())

    def _tell(self, database: Database, name: str, signer: Ed25519PublicKey) -> str:
        try:
            with database.read() as connection:
                key = kit.signing_key(connection, self._settings.keys)
            if kit.signer_text(key.public_key()) != kit.signer_text(signer):
                raise SecretUnreadable(kit.SIGNING_KEY)
            takeover.publish(
                self._files.target(name),
                box_id=self._proposal.manifest.box_id,
                instance=self._progress.instance,
                signing_key=key,
                spool=self._settings.data / ".recovery-spool",
                now=self._now(),
            )
        except (TargetError, VaultError) as error:
            return error.code  # an account that may only read: the next push says it
        finally:
            shutil.rmtree(self._settings.data / ".recovery-spool", ignore_errors=True)
        return "published"

    def _times(self) -> dict[Content, int]:
        found = {}
        for file in self._proposal.manifest.files:
            place = self._settings.repositories / str(file.repository) / file.path
            with suppress(OSError):
                facts_of = place.stat()
                # Segments never change; the nonce did, and is sent again.
                if file.path.startswith("data/"):
                    is_same = facts_of.st_size == file.plain_size
                else:
                    is_same = is_right(place, file)
                if is_same:
                    found[content(file)] = facts_of.st_mtime_ns
        return found

    def finish(self, database: Database, *, is_drill: bool) -> RecoverySheet:
        progress, proposal, data = self._progress, self._proposal, self._settings.data
        finished = self._now()
        started = datetime.fromisoformat(progress.started_at)
        assert progress.state is not None  # noqa: S101 - it came first
        back = tuple(
            RepositoryBack(**{**each, "missing": tuple(each["missing"])})
            for each in progress.repositories.values()
        )
        sheet = RecoverySheet(
            is_drill=is_drill,
            box_id=proposal.manifest.box_id,
            instance=progress.instance,
            target=progress.target,
            number=progress.number,
            taken_at=proposal.taken_at,
            data_age_s=int((started - proposal.taken_at).total_seconds()),
            lost_s=proposal.lost_s,
            attempts=progress.attempts,
            started_at=started,
            state_at=datetime.fromisoformat(progress.state["at"]),
            first_readable_at=first_readable(data, finished),
            finished_at=finished,
            files=sum(each.files for each in back),
            bytes=sum(each.bytes for each in back),
            secrets=int(progress.state["secrets"]),
            unreadable_secrets=tuple(progress.state["unreadable"]),
            repositories=back,
            targets=tuple(TargetAfter(**each) for each in progress.targets.values()),
            faults=tuple(
                f"{name}: generation {fault.number} {fault.reason}"
                for name, fault in proposal.faults
            ),
        )
        with database.write() as connection:
            if facts.find(connection, "box.recovery-finished") != progress.instance:
                events.record(
                    connection,
                    at=finished,
                    event="box.recovery-finished",
                    subject="box",
                    instance=sheet.instance,
                    number=sheet.number,
                    files=sheet.files,
                    bytes=sheet.bytes,
                    repositories=len(back),
                    is_whole=sheet.is_whole,
                    seconds=int((finished - started).total_seconds()),
                )
                facts.put(connection, "box.recovery-finished", progress.instance, now=finished)
        write_sheet(data, sheet)
        progress.finished_at = iso(finished)
        write_progress(data, progress)
        return sheet


def _top_of(staged: Path) -> Path:
    """Return the folder that holds the state, however deep the archive names it."""
    found = next(staged.rglob(state.DESCRIPTION), None)
    return staged if found is None else found.parent
