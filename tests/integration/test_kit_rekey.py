"""After a holder left: what each kit opens at a place, shown on the place itself."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from appliance.db import facts, targets
from appliance.errors import ObjectAltered
from appliance.jobs import kit_words
from appliance.jobs.kit_words import KitPlan
from appliance.replication import fetch, kit, manifest, plan, push
from appliance.replication.kit_file import build_kit_file
from appliance.replication.targets.directory import DirectoryTarget, DiskLabel, write_label
from appliance.vault import words

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
TODAY = date(2026, 11, 23)
ONE = KitPlan(1, ("Dr Martin",))


class Sender:
    """A box with a kit, a growing repository and a disk."""

    def __init__(self, folder: Path, database, settings) -> None:
        self.database, self.settings = database, settings
        self.disk, self.moment, self.spool = folder / "disk", folder / "moment", folder / "spool"
        self.disk.mkdir()
        (self.moment / "1" / "data").mkdir(parents=True)
        write_label(self.disk, DiskLabel("d" * 32, "box-1", "Lundi", TODAY))
        with database.write() as connection:
            facts.put(connection, "box.id", "box-1", now=NOW)
            kit.make(connection, settings.keys, now=NOW)
            self.key = kit.signing_key(connection, settings.keys)
            place = {"disk_id": "d" * 32}
            self.target_id = targets.add(
                connection, name="disque", label="Disque", kind="directory", place=place, now=NOW
            ).id
        self.now = NOW

    def open(self) -> DirectoryTarget:
        return DirectoryTarget(self.disk, disk_id="d" * 32, box_id="box-1", today=TODAY)

    def push(self, name: str) -> push.Pushed:
        """Add a file and send a generation."""
        self.now += timedelta(hours=1)
        (self.moment / "1" / "data" / name).write_bytes(name.encode() * 4000)
        files = tuple(
            plan.LocalFile(1, f"data/{each.name}", each.stat().st_size, each.stat().st_mtime_ns)
            for each in sorted((self.moment / "1" / "data").iterdir())
        )
        with self.database.read() as connection:
            recipient = str(facts.find(connection, "kit.recipient"))
            before = facts.find(connection, kit_words.RESEND_BEFORE)
        one = manifest.CopiedRepository(1, "a" * 64, "accueil", "Accueil", "pulled")
        return push.push(
            self.database,
            self.target_id,
            box=push.Box("box-1", recipient, self.key),
            moment=push.Moment(self.now, self.moment, files, (one,)),
            line=push.Line(self.open),
            spool=self.spool,
            now=lambda: self.now,
            resend_before=None if before is None else datetime.fromisoformat(str(before)),
        )

    def confirm(self):
        """Print and type; return what the words give."""
        self.now += timedelta(minutes=1)
        with self.database.write() as connection:
            (sheet,) = kit.split(
                connection, self.settings.keys, needed=1, holders=ONE.holders, now=self.now
            )
            kit_words.confirm(connection, [" ".join(sheet.words)], now=self.now)
        return words.join([" ".join(sheet.words)])

    def rekey(self, former, *, resend: bool = False):
        with self.database.write() as connection:
            kit_words.rekey(
                connection, self.settings, ONE, former=former, resend=resend, now=self.now
            )

    def opened(self, number: int, identity) -> set[str]:
        """Return the names of the files of a generation that this identity brings back."""
        target = self.open()
        found = fetch.survey(target, signer=self.key.public_key(), box_id="box-1")
        assert found.faults == ()
        wanted = next(each for each in found.generations if each.header.number == number)
        whole = fetch.open_generation(
            target, wanted, identity=identity, signer=self.key.public_key()
        )
        names = set()
        for file in whole.files:
            place = self.spool.parent / "back" / file.path
            try:
                fetch.fetch_file(target, file, place, identity=identity)
            except ObjectAltered:
                continue
            assert place.read_bytes() == place.name.encode() * 4000
            names.add(place.name)
        return names

    def identities(self, secret):
        """As ``armoire recover`` has them: from the kit file and the words."""
        with self.database.read() as connection:
            data = build_kit_file(connection, self.settings, now=self.now)
        return kit.identities(kit.read_file(data, secret), secret)


@pytest.fixture
def sender(tmp_path, database, settings, box_keys):
    return Sender(tmp_path, database, settings)


def test_the_new_kit_opens_everything_and_the_former_nothing_that_came_after(sender):
    """Nothing is sent twice, and a departed holder reads what was sent in their time at most."""
    sender.push("one")
    old = sender.confirm()
    sender.rekey(old)
    sender.push("two")
    assert sender.opened(2, words.identity(old)) == {
        "one",
        "two",
    }  # not typed yet: the former holds
    new = sender.confirm()

    sent = sender.push("three")

    assert (sent.sent_objects, sent.reused_objects) == (1, 2)
    assert sender.opened(3, sender.identities(new)) == {"one", "two", "three"}
    assert sender.opened(3, words.identity(new)) == {"three"}
    assert sender.opened(1, sender.identities(new)) == {"one"}
    with pytest.raises(ObjectAltered):
        sender.opened(3, words.identity(old))


def test_when_all_is_sent_again_the_new_words_alone_open_the_new_generations(sender):
    """For words that are lost, or that strangers may have read."""
    sender.push("one")
    sender.confirm()
    sender.rekey(None, resend=True)
    new = sender.confirm()

    sent = sender.push("two")

    assert (sent.sent_objects, sent.reused_objects) == (2, 0)
    assert sender.opened(2, words.identity(new)) == {"one", "two"}
    again = sender.push("three")
    assert (again.sent_objects, again.reused_objects) == (1, 2)
