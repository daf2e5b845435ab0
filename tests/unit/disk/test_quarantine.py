"""What a correspondent sends is durable before the box says that it has it."""

import os
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db.schema_disk import received_file
from appliance.disk import bin as bins
from appliance.disk import links, quarantine
from appliance.disk.links import Opened
from appliance.policy.outside_links import ASK, Rules
from appliance.policy.share_rights import Right

PDF = b"%PDF-1.4\n%%EOF\n"


@pytest.fixture
def opened(database, share, doctor, holding):
    """A request of the doctor's, as its sender opened it."""
    now = utc_now()
    rules = Rules(frozenset({"documents"}))
    made = links.make(
        database, holding(*Right), b"", kind=ASK, person_id=doctor.id, label="Dr Petit", days=7,
        now=now, hash_password=None, rules=rules,
    )  # fmt: skip
    return Opened(made.link, doctor, holding(*Right))


def test_both_folders_are_durable_before_the_row_is(database, share, opened, monkeypatch):
    """A power cut in between would leave a row without its file."""
    now = utc_now()
    token = quarantine.begin(database, opened, b"bilan.pdf", len(PDF), now=now)
    with database.read() as c:
        one = quarantine.find(c, token, opened.link)
    (bins.own_folder(share, bins.PARTS) / one.part).write_bytes(PDF)
    synced = []
    really = os.fsync

    def fsync(descriptor):
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        with database.read() as c:
            rows = len(c.execute(received_file.select()).all())
        if place.is_dir():
            synced.append((place.name, rows, len(list(lying.iterdir()))))
        really(descriptor)

    lying = bins.own_folder(share, bins.QUARANTINE)
    monkeypatch.setattr(os, "fsync", fsync)
    quarantine.receive(database, opened, one, address="192.0.2.7", now=now)
    # Each after the rename and before anybody sees a row.
    assert sorted(synced) == [("parts", 0, 1), ("quarantine", 0, 1)]
