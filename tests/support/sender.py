"""A box that knows who it is and sends to whatever targets a test adds; jobs run in this process."""

from appliance.clock import utc_now
from appliance.db import facts, targets
from appliance.jobs import target_setup
from appliance.jobs.kinds import CheckTarget
from appliance.ledger import proofs
from appliance.policy.hosting import Nature
from appliance.policy.target_check import TargetCheck
from appliance.replication import kit, manifest, push
from appliance.replication.open_target import open_target
from appliance.replication.plan import LocalFile
from tests.support.box import Box

DISK_ID = "ab" * 16
FILES = {f"data/0/{number}": bytes([number]) * 40_000 for number in range(12)}


class Sender(Box):
    """A box that knows who it is, with whatever targets a test adds."""

    def __init__(self, data):
        super().__init__(data)
        with self.database.write() as connection:
            if facts.find(connection, "box.id") is None:
                facts.put(connection, "box.id", "box-1", now=utc_now())
            kit.make(connection, self.settings.keys, now=utc_now())

    def add(self, kind, place, *, name="lieu", nature=Nature.SAME_PRACTICE_ELSEWHERE, **secrets):
        with self.database.write() as connection:
            return target_setup.add_target(
                connection, self.settings, name=name, label="", kind=kind, place=place,
                nature=nature, distance_km=None, secrets=secrets, person=None, now=utc_now(),
            )  # fmt: skip

    def row(self, row):
        with self.database.read() as connection:
            return targets.get(connection, row.id)

    def confirm(self, row):
        offered = self.row(row).facts["offered_host_key"]["host_key"]
        with self.database.write() as connection:
            target_setup.confirm_host_key(connection, row.id, offered, person=None, now=utc_now())

    def checks(self, row):
        self.run(CheckTarget(row.id))
        found = self.row(row).facts["check"]
        assert found["ended"]
        return {each["check"]: TargetCheck.from_json(each) for each in found["results"]}

    def proof(self, row, kind):
        with self.database.read() as connection:
            return proofs.latest_of_target(connection, row.id, kind)

    def target(self, row):
        with self.database.read() as connection:
            return open_target(connection, self.row(row), self.settings, now=utc_now)()

    def send(self, row, folder, files=None):
        """Push ``files`` (path → bytes) of repository 7 through the real push."""
        for path, data in (files or {}).items():
            place = folder / "7" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.write_bytes(data)
        local = [
            LocalFile(7, p.relative_to(folder / "7").as_posix(), p.stat().st_size, p.stat().st_mtime_ns)
            for p in sorted((folder / "7").rglob("*")) if p.is_file()
        ]  # fmt: skip
        with self.database.read() as connection:
            who = push.Box(
                str(facts.find(connection, "box.id")),
                str(facts.find(connection, "kit.recipient")),
                kit.signing_key(connection, self.settings.keys),
            )
            opener = open_target(connection, self.row(row), self.settings, now=utc_now)
        one = manifest.CopiedRepository(7, "a" * 64, "accueil", "Accueil", "pulled")
        return push.push(
            self.database, row.id, box=who,
            moment=push.Moment(utc_now(), folder, tuple(local), (one,)),
            line=push.Line(opener), spool=self.settings.data / f"spool-{row.id}", now=utc_now,
        )  # fmt: skip
