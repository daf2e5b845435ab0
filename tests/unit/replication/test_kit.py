"""The kit: printed, confirmed by typing, forgotten by the box, and enough to open everything."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from appliance.db import facts, secrets
from appliance.db.engine import open_database
from appliance.errors import (
    AlreadyExists,
    NotFound,
    SecretUnreadable,
    SheetMissing,
    SheetOfAnotherKit,
)
from appliance.jobs import kit_words
from appliance.ledger import chain
from appliance.replication import kit, state
from appliance.settings import Settings
from appliance.vault import words
from appliance.vault.secret import Secret

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
HOLDERS = ("Dr Martin", "Dr Petit", "Me Roux, notaire")


@pytest.fixture
def made(database, box_keys):
    with database.write() as connection:
        kit.make(connection, box_keys, now=NOW)
    return database


def split(database, keys, holders=HOLDERS, needed=2):
    with database.write() as connection:
        return kit.split(connection, keys, needed=needed, holders=holders, now=NOW)


def typed(sheets, *which):
    return [" ".join(sheets[at].words) for at in which]


def test_a_kit_is_made_once(made, box_keys):
    with made.write() as connection:
        first = facts.find(connection, "kit.recipient")
        assert kit.make(connection, box_keys, now=NOW) == first


def test_until_confirmed_the_same_sheets_are_printed_again(made, box_keys):
    assert split(made, box_keys) == split(made, box_keys)
    assert split(made, box_keys) != split(made, box_keys, ("Dr Martin",), 1)


def test_confirming_erases_the_secret_from_the_box(made, box_keys, settings):
    """Whoever takes the whole box afterwards cannot open what it sent."""
    sheets = split(made, box_keys)
    with made.write() as connection:
        kit.confirm(connection, typed(sheets, 2, 0), now=NOW)
    with made.read() as connection:
        assert secrets.find_sealed(connection, kit.SECRET) is None
        assert secrets.find_sealed(connection, kit.SHEETS) is None
        assert facts.find(connection, "kit.confirmed_at") is not None
        assert chain.newest(connection, limit=1)[0].event == "kit.confirmed"
    with pytest.raises(AlreadyExists):
        split(made, box_keys)
    with sqlite3.connect(settings.data / "state.sqlite") as plain:
        names = {row[0] for row in plain.execute("SELECT name FROM secret")}
    plain.close()
    assert names == {kit.SIGNING_KEY}


def test_a_rehearsal_is_noted_and_needs_the_right_words(made, box_keys, tmp_path):
    sheets = split(made, box_keys)
    later = NOW + timedelta(days=300)
    with made.write() as connection:
        kit.confirm(connection, typed(sheets, 0, 1), now=NOW)
        kit.confirm(connection, typed(sheets, 1, 2), now=later)
        assert facts.find(connection, "kit.confirmed_at") == later.isoformat()
        assert chain.newest(connection, limit=1)[0].event == "kit.rehearsed"
    other = words.split(words.make_secret(), needed=1, sheets=1)
    with made.write() as connection, pytest.raises(SheetOfAnotherKit):
        kit.confirm(connection, other, now=later)


def test_too_few_words_confirm_nothing(made, box_keys):
    sheets = split(made, box_keys)
    with made.write() as connection, pytest.raises(SheetMissing):
        kit.confirm(connection, typed(sheets, 0), now=NOW)
    with made.read() as connection:
        assert facts.find(connection, "kit.confirmed_at") is None
        assert secrets.find_sealed(connection, kit.SECRET) is not None


def test_without_a_kit_nothing_is_confirmed(database):
    with database.write() as connection, pytest.raises(NotFound):
        kit.confirm(connection, ["academic"], now=NOW)


def test_the_file_on_the_stick_opens_with_the_words_and_with_nothing_else(made, box_keys):
    sheets = split(made, box_keys)
    with made.read() as connection:
        recipient = facts.find(connection, "kit.recipient")
        signer = kit.signer_text(kit.signing_key(connection, box_keys).public_key())
    one = kit.KitFile(
        "box-1",
        "Cabinet des Lilas",
        NOW.isoformat(),
        signer,
        ({"kind": "sftp", "password": "x9-nobody-guesses"},),
    )

    data = kit.write_file(one, recipient=recipient)

    assert b"Lilas" not in data
    assert b"x9-nobody" not in data
    assert kit.read_file(data, words.join(typed(sheets, 0, 2))) == one
    with pytest.raises(SecretUnreadable):
        kit.read_file(data, words.make_secret())
    with pytest.raises(SecretUnreadable):
        kit.read_file(b"hello", words.join(typed(sheets, 0, 2)))
    assert kit.signer_text(kit.signer_from_text(one.signer)) == signer


def test_the_erased_secret_is_nowhere_in_the_files_of_the_box(made, box_keys, settings):
    """Not even sealed: the key that opens it lies on the same disk."""
    sheets = split(made, box_keys)
    with made.read() as connection:
        sealed = [secrets.get_sealed(connection, name) for name in (kit.SECRET, kit.SHEETS)]
    with made.write() as connection:
        kit.confirm(connection, typed(sheets, 0, 1), now=NOW)
    made.forget_for_good()

    for path in settings.data.glob("state.sqlite*"):
        data = path.read_bytes()
        assert not any(piece[40:120] in data for piece in sealed)


def test_a_copy_of_the_state_holds_no_words(made, box_keys, settings, tmp_path):
    """Or the box would not have forgotten them: it can open its own repository."""
    split(made, box_keys)
    with made.read() as connection:
        recipient = facts.find(connection, "kit.recipient")
        sealed = [secrets.get_sealed(connection, name) for name in (kit.SECRET, kit.SHEETS)]

    state.stage(settings, made, tmp_path / "staged", recipient, now=NOW)

    with closing(sqlite3.connect(tmp_path / "staged" / "state.sqlite")) as plain:
        names = {row[0] for row in plain.execute("SELECT name FROM secret")}
    assert names == {kit.SIGNING_KEY}
    data = (tmp_path / "staged" / "state.sqlite").read_bytes()
    assert not any(piece[40:120] in data for piece in sealed)


def test_neither_words_nor_credentials_are_in_what_a_log_would_show(made, box_keys):
    """An object in an exception's text must not open a practice."""
    (sheet,) = split(made, box_keys, ("Dr Martin",), 1)
    one = kit.KitFile("b", "p", "m", "s", ({"secrets": {"password": "aHVzaA=="}},))

    assert not any(word in repr(sheet) for word in sheet.words if len(word) > 5)
    assert "aHVzaA" not in repr(one)


def recovered(made, settings, tmp_path, identities):
    """A new box made from a copy of this one's state, opened with these identities."""
    with made.read() as connection:
        recipient = facts.find(connection, "kit.recipient")
    state.stage(settings, made, tmp_path / "staged", recipient, now=NOW)
    new = Settings(data=tmp_path / "new")
    state.unstage(tmp_path / "staged", new, identities, instance="i" * 32, now=NOW)
    return open_database(new.database)


def test_a_box_made_from_a_copy_older_than_a_re_key_seals_to_the_sheets_people_have(
    made, box_keys, settings, tmp_path
):
    """Or its next copies would open with burned paper only."""
    with made.write() as connection:
        facts.put(connection, "box.id", "b0", now=NOW)
    old = words.join(typed(split(made, box_keys), 0, 1))
    new = words.make_secret()
    both = Secret(words.identity(new).reveal() + b"\n" + words.identity(old).reveal())

    database = recovered(made, settings, tmp_path, both)

    with database.read() as connection:
        known = kit_words.state(connection)
        assert facts.find(connection, "kit.recipient") == words.recipient(new)
        assert (known.confirmed_at, known.has_words, known.number) == (NOW, False, None)
        sealed = facts.find(connection, "kit.former")["sealed"]
        assert kit_words.open_former(sealed, new) == words.identity(old)
    database.close()


def test_a_box_made_with_its_own_words_has_them_confirmed(made, box_keys, settings, tmp_path):
    """They were just typed, and they opened everything."""
    with made.write() as connection:
        facts.put(connection, "box.id", "b0", now=NOW)
    sheets = split(made, box_keys)
    secret = words.join(typed(sheets, 0, 1))

    database = recovered(made, settings, tmp_path, words.identity(secret))

    with database.read() as connection:
        known = kit_words.state(connection)
        assert facts.find(connection, "kit.recipient") == words.recipient(secret)
        assert (known.confirmed_at, known.number) == (NOW, sheets[0].kit_number)
    database.close()
