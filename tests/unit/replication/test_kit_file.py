"""The kit file: every place, credentials for reading where there are some, right before and after a re-key."""

import base64
from datetime import UTC, datetime

import pyrage
import pytest

from appliance.db import facts, secrets, targets
from appliance.errors import InvalidInput, NotFound, SecretUnreadable
from appliance.jobs import kit_access, kit_words
from appliance.jobs.kit_readings import file_written, is_file_fresh, is_file_openable
from appliance.jobs.kit_words import KitPlan
from appliance.replication import kit
from appliance.replication.kit_file import build_kit_file, targets_in
from appliance.replication.open_kit_target import read_kit_target
from appliance.vault import words
from appliance.vault.seal import seal
from appliance.vault.secret import Secret

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
ONE = KitPlan(1, ("Dr Martin",))
PLACE = {"host": "sauvegarde.example", "user": "cabinet"}


@pytest.fixture
def made(database, box_keys):
    with database.write() as connection:
        facts.put(connection, "box.id", "b0", now=NOW)
        kit.make(connection, box_keys, now=NOW)
    return database


def sheets_of(database, keys, plan=ONE):
    with database.write() as connection:
        sheets = kit.split(connection, keys, needed=plan.needed, holders=plan.holders, now=NOW)
    return [" ".join(each.words) for each in sheets]


def confirmed(database, keys):
    sheets = sheets_of(database, keys)
    with database.write() as connection:
        kit_words.confirm(connection, sheets, now=NOW)
    return words.join(sheets)


def add_target(connection, keys, name="hebergeur", **kept):
    one = targets.add(connection, name=name, label=name.title(), kind="sftp", place=PLACE, now=NOW)
    for short, text in kept.items():
        sealed = seal(Secret(text.encode()), keys)
        secrets.put_sealed(
            connection, f"target:{one.id}:{short.replace('_', '-')}", sealed, now=NOW
        )
    return one


def build(database, settings):
    with database.read() as connection:
        return build_kit_file(connection, settings, now=NOW)


def test_every_place_is_named_with_what_opens_it(made, settings, box_keys):
    with made.write() as connection:
        add_target(connection, box_keys, key="PRIVATE", password="hush")
        add_target(connection, box_keys, "second")

    opened = kit.read_file(build(made, settings), confirmed(made, box_keys))

    first, second = opened.targets
    assert first == {
        "name": "hebergeur",
        "label": "Hebergeur",
        "kind": "sftp",
        "place": PLACE,
        "secrets": {
            "key": base64.b64encode(b"PRIVATE").decode(),
            "password": base64.b64encode(b"hush").decode(),
        },
        "reads_only": False,
    }
    assert second["secrets"] == {}
    assert read_kit_target(first).credentials.private_key == Secret(b"PRIVATE")
    assert opened.box_id == "b0"


def test_credentials_that_only_read_go_before_the_ones_that_send(made, settings, box_keys):
    """A stick that is lost with a sheet then cannot empty the host."""
    with made.write() as connection:
        one = add_target(connection, box_keys, key="SENDS")
        reading = {"key": Secret(b"READS")}
        kit_access.set_reading(connection, settings, one, reading, user="lecture", now=NOW)
        assert targets_in(connection) == [("Hebergeur", True)]

    (target,) = kit.read_file(build(made, settings), confirmed(made, box_keys)).targets

    assert target["secrets"] == {"key": base64.b64encode(b"READS").decode()}
    assert target["reads_only"] is True
    assert target["place"] == {**PLACE, "user": "lecture"}
    with made.write() as connection:
        kit_access.forget_reading(connection, one.id)
        assert targets_in(connection) == [("Hebergeur", False)]


def test_a_place_that_takes_no_such_credentials_says_so(made, settings):
    """A disk asks for nothing; another Armoire lets nobody remove anything."""
    with made.write() as connection:
        disk = targets.add(
            connection, name="disque", label="D", kind="directory", place={}, now=NOW
        )
        with pytest.raises(InvalidInput):
            kit_access.set_reading(connection, settings, disk, {"key": Secret(b"x")}, now=NOW)


def test_without_a_kit_there_is_no_file(database, settings):
    with pytest.raises(NotFound):
        build(database, settings)


def test_a_file_of_a_later_program_with_more_fields_still_opens(made, settings, box_keys):
    secret = confirmed(made, box_keys)
    recipient = pyrage.x25519.Recipient.from_str(words.recipient(secret))
    text = b'{"box_id":"b","practice":"p","made_at":"m","signer":"s","targets":[],"later":1}'
    sealed = kit.FILE_MAGIC + pyrage.encrypt(text, [recipient])

    assert kit.read_file(sealed, secret).box_id == "b"
    with pytest.raises(SecretUnreadable):
        kit.read_file(kit.FILE_MAGIC + pyrage.encrypt(b"[]", [recipient]), secret)


def test_a_file_written_while_a_new_kit_waits_opens_with_both_and_stays_right(
    made, settings, box_keys
):
    """Whoever burns the former sheets must not have burned the stick with them."""
    old = confirmed(made, box_keys)
    with made.write() as connection:
        kit_words.rekey(connection, settings, ONE, former=old, now=NOW)
        file_written(connection, now=NOW)
    data = build(made, settings)
    new = confirmed(made, box_keys)

    for secret in (old, new):
        assert kit.read_file(data, secret).box_id == "b0"
    both = kit.identities(kit.read_file(data, new), new).reveal().split()
    assert both == [words.identity(new).reveal(), words.identity(old).reveal()]
    assert kit.identities(kit.read_file(data, old), old) == words.identity(old)
    with made.read() as connection:
        assert is_file_openable(connection)
        assert is_file_fresh(connection)


def test_a_file_written_before_a_re_key_is_said_to_be_of_the_former(made, settings, box_keys):
    old = confirmed(made, box_keys)
    with made.write() as connection:
        file_written(connection, now=NOW)
        kit_words.rekey(connection, settings, ONE, former=old, now=NOW)
        assert is_file_openable(connection)
    confirmed(made, box_keys)

    with made.read() as connection:
        assert not is_file_openable(connection)
        assert not is_file_fresh(connection)
