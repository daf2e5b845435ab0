"""People, links, sessions and sign-ins, on a real database."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from appliance.accounts import first_account, links, passwords, people, sessions, sign_in
from appliance.clock import utc_now
from appliance.db import facts, local_networks
from appliance.db.schema import person, session, sign_in_link
from appliance.errors import (
    AccountBlocked,
    AlreadyExists,
    InvalidInput,
    LinkExpired,
    NotFound,
    NotSignedIn,
    TooManyAttempts,
)
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy import throttle

NOW = utc_now()
PASSWORD = "Trois-lampes9"


@pytest.fixture(scope="module")
def password_hash():
    return passwords.make_hash(PASSWORD)


@pytest.fixture
def claire(database, password_hash):
    with database.write() as connection:
        return people.add(
            connection,
            login="Claire.Martin",
            name="Claire Martin",
            role=Role.OWNER,
            language="fr",
            password_hash=password_hash,
            now=NOW,
        )


def try_in(database, password, now, login="claire.martin"):
    folder = Path(database.engine.url.database).parent / "tls"
    return sign_in.by_password(
        database, login, password, address="127.0.0.1", user_agent="t", now=now, web_keys=folder
    )


# --- passwords -----------------------------------------------------------------------------------


def test_a_hash_is_argon2id_with_the_parameters_we_say(password_hash):
    """t=3, 19 MiB, one lane."""
    assert password_hash.startswith("$argon2id$v=19$m=19456,t=3,p=1$")
    assert passwords.matches(password_hash, PASSWORD)
    assert not passwords.matches(password_hash, PASSWORD + " ")
    assert not passwords.matches("no hash at all", PASSWORD)
    assert not passwords.matches(None, "nobody has this password")


def test_an_older_hash_is_made_again_at_the_next_sign_in(database, claire):
    """Stronger parameters reach everybody without a renewal."""
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with database.write() as connection:
        people.set_password(connection, claire.id, old)

    try_in(database, PASSWORD, NOW)

    with database.read() as connection:
        stored = connection.execute(select(person.c.password_hash)).scalar_one()
    assert not passwords.is_outdated(stored)


# --- people --------------------------------------------------------------------------------------


def test_a_login_is_one_persons_whatever_its_case(database, claire):
    """«CLAIRE.MARTIN» is taken."""
    with database.write() as connection, pytest.raises(AlreadyExists):
        people.add(
            connection,
            login="CLAIRE.MARTIN",
            name="Another",
            role=Role.SECRETARY,
            language="fr",
            password_hash=None,
            now=NOW,
        )


@pytest.mark.parametrize(
    "login",
    [
        "secretariat",
        "cabinet",
        "medecin",
        "admin",
        "root",
        "poste1",
        "dr",
        "accueil.cabinet",
        "123",
    ],
)
def test_functions_are_nobodys_account(login):
    """One nominative account a person (SEC-01)."""
    with pytest.raises(InvalidInput):
        first_account.check_names(login, "Claire Martin")


@pytest.mark.parametrize("login", ["claire.martin", "p-durand", "nguyen2", "secretaire.durand"])
def test_a_persons_name_is_accepted(login):
    first_account.check_names(login, "Claire Martin")


# --- sign-in ---------------------------------------------------------------------------------------


def test_failures_cost_time_and_a_success_forgives_them(database, claire):
    """Two are free, the third costs a minute, even for the right password (SEC-07)."""
    for _ in range(3):
        with pytest.raises(NotSignedIn):
            try_in(database, "wrong", NOW)
    with pytest.raises(TooManyAttempts) as waiting:
        try_in(database, PASSWORD, NOW + timedelta(seconds=10))
    assert waiting.value.wait_s == 50

    try_in(database, PASSWORD, NOW + timedelta(seconds=61))

    with database.read() as connection:
        assert connection.execute(select(person.c.failures)).scalar_one() == 0


def test_the_tenth_failure_blocks_for_good(database, claire, tmp_path):
    """Waiting does not help: a one-time link does."""
    now = NOW
    for _ in range(throttle.BLOCKED_AT):
        now += throttle.LONGEST_WAIT + timedelta(seconds=1)
        with pytest.raises(NotSignedIn):
            try_in(database, "wrong", now)
    with pytest.raises(AccountBlocked):
        try_in(database, PASSWORD, now + timedelta(days=3650))
    with database.write() as connection:
        token = links.make_link_for(connection, claire, now)
        sign_in.by_link(connection, token, address="::1", user_agent="", now=now, web_keys=tmp_path)

    assert try_in(database, PASSWORD, now)


def test_refusals_and_sign_ins_are_in_the_ledger_without_what_was_typed(database, claire):
    """An unknown login is often a mistyped password."""
    with pytest.raises(NotSignedIn):
        try_in(database, "wrong", NOW, login="Trois-lampes9")
    with pytest.raises(NotSignedIn):
        try_in(database, "wrong-password", NOW)
    try_in(database, PASSWORD, NOW)

    with database.read() as connection:
        entries = list(chain.entries(connection))
    assert [one.event for one in entries] == [
        "session.refused",
        "session.refused",
        "session.start",
    ]
    assert "lampes" not in str(entries)
    assert "wrong" not in str(entries)


def test_a_closed_account_signs_nobody_in_and_its_sessions_end(database, claire):
    """Disabled, never deleted: the ledger names it."""
    token = try_in(database, PASSWORD, NOW).token
    with database.write() as connection:
        people.disable(connection, claire.id, now=NOW)

    with pytest.raises(NotSignedIn):
        try_in(database, PASSWORD, NOW)
    with database.read() as connection:
        assert sessions.find(connection, token, now=NOW) is None
        assert people.get(connection, claire.id).disabled_at == NOW


# --- sessions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "life"),
    [
        ("192.168.1.5", throttle.LOCAL_SESSION),
        ("127.0.0.1", throttle.LOCAL_SESSION),
        ("fd00::1", throttle.LOCAL_SESSION),
        ("192.168.2.5", throttle.REMOTE_SESSION),  # the guests' Wi-Fi
        ("8.8.8.8", throttle.REMOTE_SESSION),
        ("testclient", throttle.REMOTE_SESSION),
    ],
)
def test_a_session_from_outside_is_shorter(database, claire, address, life):
    """A working day inside, four hours from elsewhere (SEC-08)."""
    with database.write() as connection:
        facts.put(connection, local_networks.FACT, ["192.168.1.0/24", "fd00::/64"], now=NOW)
        sessions.start(connection, claire.id, now=NOW, address=address, user_agent="")
        assert connection.execute(select(session.c.ends_at)).scalar_one() == NOW + life


@pytest.mark.parametrize(
    ("later", "lives"),
    [
        (timedelta(minutes=14), True),
        (timedelta(minutes=15), False),
        (timedelta(minutes=-5), False),  # the clock went back before it was made
    ],
)
def test_a_session_ends_by_the_clock_of_the_box(database, claire, later, lives):
    """A quarter of an hour without a click, where the practice chose nothing (SEC-08)."""
    with database.write() as connection:
        token = sessions.start(connection, claire.id, now=NOW, address="127.0.0.1", user_agent="")
    with database.read() as connection:
        assert (sessions.find(connection, token, now=NOW + later) is not None) is lives


def test_a_token_is_not_in_the_database(database, claire):
    """Who reads the file signs in as nobody."""
    with database.write() as connection:
        token = sessions.start(connection, claire.id, now=NOW, address="127.0.0.1", user_agent="")
        assert token not in str(connection.execute(select(session)).all())
        link = links.make_link_for(connection, claire, NOW)
        assert link not in str(connection.execute(select(sign_in_link)).all())


def test_ones_own_sessions_are_ended_not_anothers(database, claire, password_hash):
    """A number guessed from another account is not there."""
    with database.write() as connection:
        other = people.add(
            connection, login="paul.durand", name="Paul Durand", role=Role.OWNER, language="fr",
            password_hash=password_hash, now=NOW,
        )  # fmt: skip
        sessions.start(connection, claire.id, now=NOW, address="127.0.0.1", user_agent="")
        mine = sessions.living(connection, claire.id, now=NOW)[0]
        with pytest.raises(NotFound):
            sessions.revoke(connection, other.id, mine.id, now=NOW)
        sessions.revoke(connection, claire.id, mine.id, now=NOW)
        assert sessions.living(connection, claire.id, now=NOW) == []


# --- links -----------------------------------------------------------------------------------------


def test_a_link_is_good_once_for_a_day_and_a_newer_one_ends_it(database, claire):
    """Four ways to be worth nothing."""
    with database.write() as connection:
        used = links.make_link_for(connection, claire, NOW)
        links.use(connection, used, now=NOW)
        replaced = links.make_link_for(connection, claire, NOW)
        good = links.make_link_for(connection, claire, NOW)
        for token, now in (
            (used, NOW),
            (replaced, NOW),
            ("never made", NOW),
            (good, NOW + links.LIFE),
        ):
            with pytest.raises(LinkExpired):
                links.use(connection, token, now=now)
        assert links.use(connection, good, now=NOW).person_id == claire.id


def test_no_second_first_account_is_made(database, claire):
    """An old printed link is worth nothing once somebody owns the box."""
    with database.write() as connection:
        token = links.make_first_link(connection, now=NOW)
        with pytest.raises(LinkExpired):
            first_account.make(
                connection,
                token,
                login="paul.durand",
                name="Paul Durand",
                password_hash="x",
                language="fr",
                now=NOW,
            )


def test_the_code_stands_behind_the_hash_of_the_address():
    """So no server ever sees it in a path."""
    assert links.address("https://box:8443/", "CODE") == "https://box:8443/link#CODE"
