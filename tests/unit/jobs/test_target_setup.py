"""Adding, changing and removing a target: sealed secrets, and a ledger that says who decided what."""

import json

import pytest

from appliance.clock import utc_now
from appliance.db import secrets as vault_rows
from appliance.db import targets
from appliance.db.engine import open_database
from appliance.errors import AlreadyExists, InvalidInput, NotFound, SecretMissing
from appliance.jobs import target_setup
from appliance.ledger import chain
from appliance.policy.bandwidth import Rule
from appliance.policy.hosting import Nature
from appliance.policy.place import DirectoryPlace, S3Place, SftpPlace
from appliance.settings import Settings
from appliance.vault.seal import make_keys
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMnZM2ooGmlSWvVmgWBC2yhdXqAmMMiMhuyLUYYK5v0P"


@pytest.fixture
def box(tmp_path):
    settings = Settings(data=tmp_path)
    make_keys(settings.keys)
    database = open_database(settings.database, create=True)
    with database.write() as connection:
        yield connection, settings
    database.close()


def add(box, **values):
    connection, settings = box
    given = {
        "name": "hote",
        "label": "Hébergeur Est",
        "kind": "sftp",
        "place": SftpPlace("sftp.example", "cabinet", host_key=KEY),
        "nature": Nature.CERTIFIED_HOST,
        "distance_km": 120,
        "secrets": {},
        "person": None,
        **values,
    }
    return target_setup.add_target(connection, settings, now=utc_now(), **given)


def told(box):
    return [(each.event, each.body) for each in chain.entries(box[0])]


def test_a_target_is_added_with_its_secrets_sealed(box):
    """The row holds no secret, the vault holds a sealed one, and only the private key opens it."""
    connection, settings = box
    row = add(box, secrets={"password": Secret(b"tres-secret-9")})

    sealed = vault_rows.get_sealed(connection, f"target:{row.id}:password")

    assert b"tres-secret-9" not in sealed
    assert unseal("password", sealed, settings.keys).reveal() == b"tres-secret-9"
    assert "tres-secret-9" not in json.dumps([row.place, row.facts, told(box)])
    assert (row.label, row.nature, row.distance_km) == ("Hébergeur Est", "certified-host", 120)


def test_who_declared_what_a_place_is_stands_in_the_ledger(box):
    """HDS-01: declared once, changed once: two entries, with what it was before."""
    connection, settings = box
    row = add(box)
    target_setup.change_target(
        connection, settings, row.id, nature=Nature.OTHER, person=None, now=utc_now()
    )

    declared = [body for event, body in told(box) if event == "target.nature-declared"]

    assert [(each["before"], each["nature"]) for each in declared] == [
        (None, "certified-host"),
        ("certified-host", "other"),
    ]


def test_a_bucket_needs_its_keys_and_keeps_them_together(box):
    """Two keys go into the vault as one; without them nothing is added."""
    connection, settings = box
    place = S3Place("https://s3.example", "fr-east", "cabinet")
    with pytest.raises(InvalidInput):
        add(box, kind="s3", place=place)
    assert targets.all_living(connection) == []

    row = add(
        box, kind="s3", place=place, secrets={"s3": target_setup.s3_secret("AK", "secret-key")}
    )
    sealed = vault_rows.get_sealed(connection, f"target:{row.id}:s3")

    assert json.loads(unseal("s3", sealed, settings.keys).reveal()) == {
        "access_key": "AK",
        "secret_key": "secret-key",
    }


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "Hôte Est"}, "name"),
        ({"kind": "ftp"}, "kind"),
        ({"label": "x" * 201}, "label"),
        ({"distance_km": -1}, "distance_km"),
        ({"secrets": {"s3": Secret(b"x")}}, "s3"),
        ({"place": {"host": "a", "user": "b", "host_key": "ssh-rsa nonsense"}}, "host_key"),
        ({"place": {"host": "a", "user": "b", "password": "x"}}, "place"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_stored(box, values, field):
    """No half target: refused values leave neither a row nor a secret."""
    with pytest.raises(InvalidInput) as raised:
        add(box, **values)

    assert raised.value.name == field


def test_one_name_and_one_disk_are_one_target(box):
    """A disk that is a target already cannot be a second one, nor be exchanged under its name."""
    connection, settings = box
    disk = {"kind": "directory", "nature": Nature.SAME_PRACTICE_HERE}
    row = add(box, name="disque-a", place=DirectoryPlace("ab" * 16), **disk)
    with pytest.raises(AlreadyExists):
        add(box, name="disque-a", place=DirectoryPlace("cd" * 16), **disk)
    with pytest.raises(InvalidInput):
        add(box, name="disque-b", place=DirectoryPlace("ab" * 16), **disk)
    with pytest.raises(InvalidInput):
        target_setup.change_target(
            connection,
            settings,
            row.id,
            place=DirectoryPlace("cd" * 16),
            person=None,
            now=utc_now(),
        )


def test_another_host_must_show_its_identity_again(box):
    """A new address drops the confirmed key; more lines to the same one keep it."""
    connection, settings = box
    row = add(box)

    def changed(**values):
        place = {"host": "sftp.example", "user": "cabinet", "host_key": KEY, **values}
        return target_setup.change_target(
            connection, settings, row.id, place=place, person=None, now=utc_now()
        )

    assert changed(connections=8).place["host_key"] == KEY
    assert changed(host="sftp2.example").place["host_key"] == ""
    assert changed(host="sftp3.example", host_key=OTHER_KEY).place["host_key"] == OTHER_KEY


def test_a_confirmed_host_key_is_pinned_and_told(box):
    """The comment behind a key is dropped; the ledger holds both fingerprints."""
    connection, _ = box
    row = add(box)

    shown = target_setup.confirm_host_key(
        connection, row.id, f"{OTHER_KEY} root@hote", person=None, now=utc_now()
    )

    assert targets.get(connection, row.id).place["host_key"] == OTHER_KEY
    event, body = told(box)[-1]
    assert event == "target.host-key-confirmed"
    assert body["fingerprint"] == shown
    assert body["before"].startswith("SHA256:")
    assert body["before"] != shown


def test_the_dossier_changes_field_by_field(box):
    """What was not named stays; the ledger names the fields and a hash, not the contents."""
    connection, _ = box
    row = add(box)

    def put(**changes):
        return target_setup.set_dossier(connection, row.id, changes, person=None, now=utc_now())

    put(company="Hôte Est SAS", contract={"1": "present"})
    after = put(siren="123456789", contract={"2": "asked"})

    assert after.dossier == {
        "company": "Hôte Est SAS",
        "siren": "123456789",
        "contract": {"1": "present", "2": "asked"},
    }
    event, body = told(box)[-1]
    assert (event, body["fields"]) == ("target.dossier-changed", ["contract", "siren"])
    assert "123456789" not in json.dumps(body)
    entries = len(told(box))
    put(siren="123456789")
    assert len(told(box)) == entries  # nothing new, nothing told


def test_the_timetable_is_stored_and_a_useless_one_refused(box):
    """Rules come back as they were given; «never» is no timetable."""
    connection, _ = box
    row = add(box)
    with pytest.raises(InvalidInput):
        target_setup.set_bandwidth(connection, row.id, [Rule(0)], person=None, now=utc_now())

    after = target_setup.set_bandwidth(
        connection, row.id, [Rule(250_000)], person=None, now=utc_now()
    )

    assert [each["bytes_s"] for each in after.bandwidth] == [250_000]


def test_a_removed_target_takes_its_secrets_with_it(box):
    """Nothing opens the place any more; its name may be used again; the ledger says so."""
    connection, _ = box
    row = add(box, secrets={"password": Secret(b"x")})

    target_setup.remove_target(connection, row.id, person=None, now=utc_now())

    with pytest.raises(NotFound):
        targets.get(connection, row.id)
    with pytest.raises(SecretMissing):
        vault_rows.get_sealed(connection, f"target:{row.id}:password")
    assert told(box)[-1][0] == "target.removed"
    assert add(box).id != row.id
