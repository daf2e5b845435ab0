"""After a fire, devices trust the new box as they did the old one, and the application on the phone still opens the door."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
from cryptography import x509

from appliance.accounts import people, second_factors
from appliance.clock import utc_now
from appliance.db import facts
from appliance.db.engine import open_database
from appliance.errors import SecretUnreadable
from appliance.model import Role
from appliance.replication import state, web_keys
from appliance.settings import Settings
from appliance.vault import words
from appliance.vault.secret import Secret
from appliance.web import tls

pytestmark = pytest.mark.integration
WORDS = Secret(bytes(range(16)))
RECIPIENT = words.recipient(WORDS)
IDENTITY = words.identity(WORDS)
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


@pytest.fixture
def box(settings, database, box_keys):
    """A box with an authority, and an owner with an application on the phone."""
    tls.ensure_certificate(settings)
    with database.write() as connection:
        facts.put(connection, "box.id", "box-1", now=NOW)
    return settings


def enrol(database, settings) -> tuple[object, str]:
    """A person and the secret of their application."""
    now = utc_now()
    with database.write() as connection:
        person = people.add(
            connection, login="claire.martin", name="Dr Claire Martin", role=Role.OWNER,
            language="fr", password_hash=None, now=now,
        )  # fmt: skip
        draft = second_factors.begin_totp(connection, person, settings.tls, now=now)
        second_factors.confirm_totp(
            connection,
            person,
            pyotp.TOTP(draft.secret).at(now),
            settings.tls,
            label="Téléphone",
            now=now,
        )
    return person, draft.secret


def burn(settings: Settings, database, tmp_path: Path) -> Settings:
    """Lay the state out, and put it back on a new box."""
    state.stage(settings, database, tmp_path / "staged", RECIPIENT, now=NOW)
    new = Settings(data=tmp_path / "new")
    state.unstage(tmp_path / "staged", new, IDENTITY, instance="i", now=utc_now())
    return new


def test_the_authority_and_the_codes_are_those_of_before(box, database, tmp_path, monkeypatch):
    """Though the machine has another name; its leaf is made anew and signed by the authority devices know."""
    person, secret = enrol(database, box)
    before = (box.tls / "ca.crt").read_bytes()
    new = burn(box, database, tmp_path)
    monkeypatch.setattr(socket, "gethostname", lambda: "nouveau")
    certificate, _ = tls.ensure_certificate(new)
    leaf, ca = x509.load_pem_x509_certificates(certificate.read_bytes())
    assert (new.tls / "ca.crt").read_bytes() == before
    leaf.verify_directly_issued_by(ca)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = names.get_values_for_type(x509.DNSName)
    assert "nouveau.local" in known
    assert "nouveau" not in known, (
        "the authority may not sign for it: the leaf would be worth nothing"
    )
    assert (new.tls / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (new.tls / "web.key").stat().st_mode & 0o777 == 0o600
    opened = open_database(new.database)
    later = utc_now() + timedelta(minutes=3)
    with opened.write() as connection:
        assert second_factors.has_any(connection, person.id, new.tls)
        used = second_factors.use_code(
            connection, person.id, pyotp.TOTP(secret).at(later), new.tls, now=later
        )
    assert used == "totp"
    opened.close()


def test_no_key_of_the_web_leaves_in_clear(box, database, tmp_path):
    """What is laid out is sealed to the sheets: neither the copy nor the box's own repository opens it."""
    enrol(database, box)
    staged = tmp_path / "staged"
    state.stage(box, database, staged, RECIPIENT, now=NOW)
    secrets = [
        line
        for name in ("ca.key", "web.key", "box.key")
        for line in (box.tls / name).read_bytes().splitlines()
        if b"-----" not in line
    ]
    assert len(secrets) > 3
    for path in staged.rglob("*"):
        if path.is_file():
            assert not any(line in path.read_bytes() for line in secrets), path
    other = words.identity(Secret(b"another kit 1234"))
    with pytest.raises(SecretUnreadable):
        web_keys.put_web_keys_back(staged / web_keys.NAME, tmp_path / "x", other)
    assert not (tmp_path / "x").exists()


def test_what_did_not_change_is_sent_once_and_new_sheets_seal_it_again(box, database, tmp_path):
    """A night costs nothing for it; a certificate that was renewed, or another kit, does."""
    staged = tmp_path / "staged"

    def sealed() -> bytes:
        return (staged / web_keys.NAME).read_bytes()

    state.stage(box, database, staged, RECIPIENT, now=NOW)
    first = sealed()
    state.stage(box, database, staged, RECIPIENT, now=NOW + timedelta(days=1))
    assert sealed() == first
    tls.use_own(box, b"certificate", b"key")
    state.stage(box, database, staged, RECIPIENT, now=NOW)
    second = sealed()
    assert second != first
    state.stage(box, database, staged, words.recipient(Secret(b"another kit 1234")), now=NOW)
    assert sealed() != second


def test_a_copy_of_before_brings_nothing_and_is_taken(box, database, tmp_path):
    """Older copies hold no such file; the new box then makes an authority of its own."""
    staged = tmp_path / "staged"
    kept = box.tls.rename(tmp_path / "elsewhere")
    state.stage(box, database, staged, RECIPIENT, now=NOW)
    assert not (staged / web_keys.NAME).exists()
    new = Settings(data=tmp_path / "new")
    state.unstage(staged, new, IDENTITY, instance="i", now=utc_now())
    tls.ensure_certificate(new)
    assert (new.tls / "ca.crt").read_bytes() != (kept / "ca.crt").read_bytes()


def test_what_a_new_box_made_meanwhile_gives_way(box, database, tmp_path):
    """The page that shows how the recovery goes is served before the keys are back."""
    new = Settings(data=tmp_path / "new")
    new.data.mkdir()
    tls.ensure_certificate(new)
    state.stage(box, database, tmp_path / "staged", RECIPIENT, now=NOW)
    state.unstage(tmp_path / "staged", new, IDENTITY, instance="i", now=utc_now())
    certificate, _ = tls.ensure_certificate(new)
    assert (new.tls / "ca.crt").read_bytes() == (box.tls / "ca.crt").read_bytes()
    leaf, ca = x509.load_pem_x509_certificates(certificate.read_bytes())
    leaf.verify_directly_issued_by(ca)


@pytest.mark.parametrize(
    "content", [b'{"../keys/box.key": "YQ=="}', b"[]", b'{"ca.key": 1}', b"no"]
)
def test_what_is_in_it_is_not_believed(tmp_path, content):
    """Nothing but the known names is ever written, wherever the copy came from."""
    import pyrage

    place = tmp_path / web_keys.NAME
    place.write_bytes(pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(RECIPIENT)]))
    with pytest.raises(SecretUnreadable):
        web_keys.put_web_keys_back(place, tmp_path / "tls", IDENTITY)
    assert not (tmp_path / "tls").exists()
