"""The worker's eye on the file explorer: rights as they are now, who did what, what was deleted.

A turn every two seconds: a right taken away, a locum's last minute or another address of the box is compared
with what Samba was told last; when they differ, a job is queued. No door has to remember to call this.
"""

import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import facts, shares
from appliance.db.engine import Database
from appliance.disk import smb_bin, smb_calls, smb_passwords
from appliance.disk.smb_audit import Follower
from appliance.disk.smb_config import ACCOUNT
from appliance.errors import AlreadyQueued, ArmoireError
from appliance.jobs import queue
from appliance.jobs.kinds import SmbApply
from appliance.settings import Settings
from appliance.worker import log
from appliance.worker.tasks import smb_plan

EVERY_S: Final = 2.0
#: What Samba refused is tried again after so long, unless something else changed.
AGAIN: Final = timedelta(minutes=10)
#: What was deleted is looked for so often: the folders of every share are listed.
GATHER_EVERY: Final = timedelta(seconds=5)

_log = logging.getLogger("armoire.smb")


@dataclass
class SmbWatch:
    """Call ``turn`` every EVERY_S seconds; does nothing on a box without the helper."""

    settings: Settings
    database: Database
    _tried: tuple[str, datetime] | None = None
    _gathered_at: datetime | None = None
    _follower: Follower = field(init=False)

    def __post_init__(self) -> None:
        self._follower = Follower(self.database, smb_calls.audit_log(self.settings))

    def turn(self, now: datetime) -> bool:
        """Look once; return whether a job was queued."""
        if not smb_calls.is_set_up(self.settings):
            return False
        with self.database.read() as connection:
            living = shares.all_living(connection)
            everybody = people.everybody(connection)
            applied = facts.find(connection, smb_plan.APPLIED)
        sign = applied.get("mark") if isinstance(applied, dict) else None
        if isinstance(sign, str):
            self._follower.turn(living, everybody, mark=sign, now=now)
        if self._gathered_at is None or not timedelta() <= now - self._gathered_at < GATHER_EVERY:
            self._gathered_at = now
            ids = {each.login: each.id for each in everybody}
            ids |= {f"{ACCOUNT}{each.id}": each.id for each in everybody}
            for share in living:
                smb_bin.gather(
                    self.database,
                    share,
                    ids,
                    now=now,
                    former=partial(self._follower.former, share.name, now=now),
                )
        return self._compare(now)

    def _compare(self, now: datetime) -> bool:
        with self.database.read() as connection:
            plan = smb_plan.wanted(connection, now=now)
            applied = facts.find(connection, smb_plan.APPLIED)
            waits = smb_passwords.waiting(connection)
        if not plan.shares and applied is None and not waits:
            return False
        wanted = smb_plan.digest(plan)
        if isinstance(applied, dict) and applied.get("digest") == wanted and not waits:
            return False
        mark = f"{wanted}:{waits}"
        before = self._tried
        if before and before[0] == mark and timedelta() <= now - before[1] < AGAIN:
            return False
        self._tried = (mark, now)
        with self.database.write() as connection:
            try:
                queue.enqueue(connection, SmbApply(), now=now)
            except AlreadyQueued:
                # It reads what holds when it begins, or began before this: then looked at once more.
                self._tried = None
                return False
        return True


def watch(settings: Settings, database: Database, stop: threading.Event) -> None:
    """Turn until ``stop`` is set; the worker's thread «smb»."""
    eye = SmbWatch(settings, database)
    while not stop.is_set():
        try:
            eye.turn(utc_now())
        except (SQLAlchemyError, ArmoireError, OSError) as error:
            _log.error("the file explorer: %s", log.where(error))
        except Exception as error:  # noqa: BLE001 - the other rooms of the worker go on
            _log.critical("the file explorer: %s", log.where(error))
        stop.wait(EVERY_S)
