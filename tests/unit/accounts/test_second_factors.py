"""Codes of an application, recovery codes, half sessions, browsers: on a real database."""

from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select

from appliance.accounts import (
    devices,
    notices,
    passkeys,
    passwords,
    people,
    second_factors,
    sessions,
    sign_in,
    sign_in_rules,
)
from appliance.accounts.sign_in_rules import Rules
from appliance.clock import utc_now
from appliance.db.schema_people import second_factor
from appliance.errors import (
    AccountBlocked,
    CodeWrong,
    InvalidInput,
    NotFound,
    SecondFactorMissing,
    SecretUnreadable,
    TooManyAttempts,
)
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy.second_factor import HALF_LIFE, Step
from appliance.vault.secret import Secret
from appliance.vault.web_key import open_for_web, opens, seal_for_web

NOW = utc_now()
PASSWORD = "Trois-lampes9"
OUTSIDE = "82.64.10.20"
STEP = timedelta(seconds=30)


@pytest.fixture(scope="module")
def password_hash():
    return passwords.make_hash(PASSWORD)


@pytest.fixture
def keys(settings):
    return settings.tls


@pytest.fixture
def person(database, password_hash):
    """Make somebody of a role, their account a year old."""

    def make(role=Role.SECRETARY, login="claire.martin"):
        with database.write() as connection:
            return people.add(
                connection,
                login=login,
                name="Claire Martin",
                role=role,
                language="fr",
                password_hash=password_hash,
                now=NOW - timedelta(days=365),
            )

    return make


def enrol(database, who, keys, now=NOW):
    """Give somebody an application; return it."""
    with database.write() as connection:
        draft = second_factors.begin_totp(connection, who, keys, now=now)
        app = pyotp.TOTP(draft.secret)
        second_factors.confirm_totp(
            connection, who, app.at(now - timedelta(minutes=5)), keys, label="x", now=now - timedelta(minutes=5)
        )  # fmt: skip
    return app


def come(database, keys, password=PASSWORD, address="127.0.0.1", now=NOW):
    return sign_in.by_password(
        database, "claire.martin", password, address=address, user_agent="t", now=now, web_keys=keys
    )


def second(database, started, code, keys, now=NOW):
    with database.read() as connection:
        who, half = sessions.find(connection, started.token, now=now)
    return sign_in.second(
        database,
        who,
        half,
        lambda c: second_factors.use_code(c, who.id, code, keys, now=now),
        now=now,
    )


# --- the application ---------------------------------------------------------------------------------


def test_a_code_is_good_once_and_for_half_a_minute_around_now(database, person, keys):
    """A code read over a shoulder is worth nothing (RFC 6238 §5.2)."""
    who = person()
    app = enrol(database, who, keys)
    with database.write() as connection:
        for code in (
            app.at(NOW - 2 * STEP),
            app.at(NOW + 2 * STEP),
            "000000x",
            "",
            "１２３４５６",
            "12345",
        ):
            with pytest.raises(CodeWrong):
                second_factors.use_code(connection, who.id, code, keys, now=NOW)
        assert second_factors.use_code(connection, who.id, app.at(NOW), keys, now=NOW) == "totp"
        for again in (app.at(NOW), app.at(NOW - STEP)):
            with pytest.raises(CodeWrong):
                second_factors.use_code(connection, who.id, again, keys, now=NOW)
        later = NOW + timedelta(seconds=30)
        assert second_factors.use_code(connection, who.id, app.at(later), keys, now=later) == "totp"


def test_a_code_of_somebody_else_opens_nothing(database, person, keys):
    """Each application is one person's."""
    claire, paul = person(), person(login="paul.durand")
    app = enrol(database, claire, keys)
    enrol(database, paul, keys)
    with database.write() as connection, pytest.raises(CodeWrong):
        second_factors.use_code(connection, paul.id, app.at(NOW), keys, now=NOW)


def test_an_application_counts_only_once_its_first_code_proved_it(database, person, keys):
    """A secret that was shown and never scanned locks nobody out."""
    who = person()
    with database.write() as connection:
        draft = second_factors.begin_totp(connection, who, keys, now=NOW)
        assert not second_factors.has_any(connection, who.id, keys)
        with pytest.raises(CodeWrong):
            second_factors.use_code(
                connection, who.id, pyotp.TOTP(draft.secret).at(NOW), keys, now=NOW
            )
        with pytest.raises(CodeWrong):
            second_factors.confirm_totp(connection, who, "000000", keys, label="", now=NOW)
        code = pyotp.TOTP(draft.secret).at(NOW)
        second_factors.confirm_totp(connection, who, code, keys, label="", now=NOW)
        assert second_factors.has_any(connection, who.id, keys)
        with pytest.raises(CodeWrong):  # the code that confirmed it was used by that
            second_factors.use_code(connection, who.id, code, keys, now=NOW)


def test_the_secret_is_not_in_the_database_and_another_boxs_key_opens_none(
    database, person, keys, tmp_path
):
    """A copy of the database alone makes no code; after a recovery the person makes a new one."""
    who = person()
    app = enrol(database, who, keys)
    with database.read() as connection:
        stored = connection.execute(select(second_factor.c.secret)).scalar_one()
        assert app.secret.encode() not in stored
        assert second_factors.has_any(connection, who.id, keys)
        assert not second_factors.has_any(connection, who.id, tmp_path / "other")
    assert (keys / "web.key").stat().st_mode & 0o777 == 0o600
    assert opens(stored, keys)
    with pytest.raises(SecretUnreadable):
        open_for_web(stored, tmp_path / "other")
    assert open_for_web(seal_for_web(Secret(b"x"), keys), keys).reveal() == b"x"


# --- recovery codes ----------------------------------------------------------------------------------


def test_ten_recovery_codes_each_good_once_and_not_in_the_database(database, person, keys):
    """New ones end the older; small letters and missing dashes do no harm."""
    who = person()
    enrol(database, who, keys)
    with database.write() as connection:
        codes = second_factors.make_codes(connection, who.id, now=NOW)
        assert (
            len(set(codes)) == second_factors.CODES == second_factors.codes_left(connection, who.id)
        )
        stored = str(connection.execute(select(second_factor)).all())
        assert not any(code in stored or code.replace("-", "") in stored for code in codes)
        typed = codes[0].lower().replace("-", " ")
        assert second_factors.use_code(connection, who.id, typed, keys, now=NOW) == "recovery"
        with pytest.raises(CodeWrong):
            second_factors.use_code(connection, who.id, codes[0], keys, now=NOW)
        newer = second_factors.make_codes(connection, who.id, now=NOW)
        with pytest.raises(CodeWrong):
            second_factors.use_code(connection, who.id, codes[1], keys, now=NOW)
        second_factors.use_code(connection, who.id, newer[9], keys, now=NOW)
        assert second_factors.codes_left(connection, who.id) == 9


def test_removing_the_last_factor_ends_the_codes_and_erases_the_secret(database, person, keys):
    """Codes are no factor of their own."""
    who, other = person(), person(login="paul.durand")
    enrol(database, who, keys)
    with database.write() as connection:
        second_factors.make_codes(connection, who.id, now=NOW)
        one = second_factors.of_person(connection, who.id)[0]
        with pytest.raises(NotFound):
            second_factors.remove(connection, other.id, one.id, now=NOW)
        second_factors.remove(connection, who.id, one.id, now=NOW)
        assert second_factors.codes_left(connection, who.id) == 0
        assert connection.execute(select(second_factor.c.secret)).scalars().first() is None
        assert [entry.event for entry in chain.newest(connection)][:3] == [
            "second-factor.remove",
            "second-factor.codes",
            "second-factor.add",
        ]


# --- the way in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "has_factor", "address", "step"),
    [
        (Role.SECRETARY, False, "127.0.0.1", Step.IN),
        (Role.SECRETARY, True, "127.0.0.1", Step.IN),
        (Role.SECRETARY, True, OUTSIDE, Step.ASKED),
        (Role.OWNER, True, "127.0.0.1", Step.ASKED),
        (Role.OWNER, False, "127.0.0.1", Step.MAKE),
        (Role.TECHNICAL_ADMIN, True, "127.0.0.1", Step.ASKED),
    ],
)
def test_the_password_leads_in_or_to_the_second_factor(
    database, person, keys, role, has_factor, address, step
):
    """SEC-09: from outside always, of those who run the box always."""
    who = person(role)
    if has_factor:
        enrol(database, who, keys)

    started = come(database, keys, address=address)

    assert started.step is step
    with database.read() as connection:
        _, session = sessions.find(connection, started.token, now=NOW)
    assert session.is_half is (step is not Step.IN)


def test_from_outside_a_password_alone_opens_nothing_and_the_refusal_is_kept(
    database, person, keys
):
    """Not even the page that makes a second factor."""
    person()
    with pytest.raises(SecondFactorMissing):
        come(database, keys, address=OUTSIDE)
    with database.read() as connection:
        entry = chain.newest(connection, limit=1)[0]
        assert entry.event == "session.refused"
        assert sessions.living(connection, 1, now=NOW) == []


def test_the_second_factor_completes_the_session_under_a_new_cookie(database, person, keys):
    """The half cookie is worth nothing afterwards; the ledger says what was shown."""
    who = person(Role.OWNER)
    app = enrol(database, who, keys)
    started = come(database, keys)

    token = second(database, started, app.at(NOW), keys)

    with database.read() as connection:
        assert sessions.find(connection, started.token, now=NOW) is None
        _, session = sessions.find(connection, token, now=NOW)
        assert (session.factors, session.is_half) == ("password+totp", False)
        entry = chain.newest(connection, limit=1)[0]
        assert (entry.event, entry.body["by"]) == ("session.start", "password+totp")


def test_a_half_session_ends_after_some_minutes(database, person, keys):
    """Nobody leaves one lying around."""
    enrol(database, person(Role.OWNER), keys)
    started = come(database, keys)
    with database.read() as connection:
        assert sessions.find(connection, started.token, now=NOW + HALF_LIFE) is None


def test_guessing_codes_is_slowed_and_blocked_even_with_the_right_password_in_between(
    database, person, keys
):
    """The password does not set the count back: only the whole sign-in does (SEC-07)."""
    who = person(Role.OWNER)
    app = enrol(database, who, keys)
    now, tried = NOW, 0
    for tried in range(1, 100):
        now += timedelta(hours=1, seconds=1)
        try:
            started = come(database, keys, now=now)
        except AccountBlocked:
            break
        with pytest.raises(CodeWrong):
            second(database, started, "000000", keys, now=now)
        if tried == 3:  # the third costs a minute, even for the right code
            with pytest.raises(TooManyAttempts):
                second(database, started, app.at(now), keys, now=now)
    assert tried == 11
    with database.read() as connection:
        assert devices.LOCKS in [one.code for one in notices.of_person(connection, who)]


def test_a_whole_sign_in_forgives_earlier_failures(database, person, keys):
    """People mistype."""
    who = person(Role.OWNER)
    app = enrol(database, who, keys)
    started = come(database, keys)
    with pytest.raises(CodeWrong):
        second(database, started, "000000", keys)
    second(database, started, app.at(NOW), keys)
    with database.read() as connection:
        assert people.find_row(connection, who.login).failures == 0


def test_the_practice_may_ask_everybody_or_one_person(database, person, keys):
    """A setting, and a word about a person."""
    who = person()
    enrol(database, who, keys)
    assert come(database, keys).step is Step.IN
    with database.write() as connection:
        people.set_needs_second_factor(connection, who.id, needs=True)
    assert come(database, keys).step is Step.ASKED
    with database.write() as connection:
        people.set_needs_second_factor(connection, who.id, needs=False)
        sign_in_rules.put(connection, Rules(second_factor_for_all=True), by=who.id, now=NOW)
    assert come(database, keys).step is Step.ASKED


# --- the practice's rules ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [Rules(idle_minutes=31), Rules(idle_minutes=0), Rules(local_hours=13), Rules(remote_hours=5)],
)
def test_no_session_lives_longer_than_allowed(database, person, rules):
    """SEC-08: 30 minutes without a click, 12 hours inside, 4 outside."""
    who = person()
    with database.write() as connection, pytest.raises(InvalidInput):
        sign_in_rules.put(connection, rules, by=who.id, now=NOW)


def test_a_shorter_idle_limit_reaches_living_sessions_at_once(database, person):
    """Nobody has to sign in again for it."""
    who = person()
    with database.write() as connection:
        token = sessions.start(connection, who.id, now=NOW, address="127.0.0.1", user_agent="")
        later = NOW + timedelta(minutes=6)
        assert sessions.find(connection, token, now=later) is not None
        sign_in_rules.put(connection, Rules(idle_minutes=5, local_hours=8), by=who.id, now=NOW)
        assert sessions.find(connection, token, now=later) is None
        assert sessions.living(connection, who.id, now=later) == []
        token = sessions.start(connection, who.id, now=NOW, address="127.0.0.1", user_agent="")
        _, session = sessions.find(connection, token, now=NOW)
        assert session.ends_at == NOW + timedelta(hours=8)


def test_a_stored_rule_beyond_what_is_allowed_is_not_followed(database):
    """Whoever wrote it into the file."""
    rules = sign_in_rules.from_fact({"idle_minutes": 600, "local_hours": 99, "remote_hours": "x"})
    assert rules.idle == timedelta(minutes=30)
    assert rules.life(is_local=True) == timedelta(hours=12)
    assert rules.life(is_local=False) == timedelta(hours=4)


def test_everybodys_sessions_end_at_once_but_ones_own(database, person):
    """The red hour: one gesture."""
    claire, paul = person(), person(login="paul.durand")
    with database.write() as connection:
        tokens = [
            sessions.start(connection, who.id, now=NOW, address="127.0.0.1", user_agent="")
            for who in (claire, claire, paul)
        ]
        mine = sessions.find(connection, tokens[0], now=NOW)[1]
        assert sessions.end_everybodys(connection, but=mine.id, now=NOW) == 2
        alive = [sessions.find(connection, token, now=NOW) is not None for token in tokens]
    assert alive == [True, False, False]


# --- browsers ----------------------------------------------------------------------------------------


def test_a_new_browser_is_told_to_its_person_and_a_known_one_is_not(database, person):
    """The very first is told to nobody; the mark is not in the database."""
    who = person()

    def seen(carried):
        with database.write() as connection:
            mark = devices.recognise(
                connection, who.id, carried, address="192.168.1.5",
                user_agent="Mozilla/5.0 (Windows NT 10.0) Firefox/140.0", now=NOW,
            )  # fmt: skip
            told = [e for e in chain.entries(connection) if e.event == "session.new-device"]
            return mark, len(told)

    first, told = seen(None)
    assert told == 0
    assert seen(first) == (first, 0)
    second_browser, told = seen(None)
    assert told == 1
    assert second_browser != first
    assert seen("forged")[1] == 2
    assert devices.browser_of("Mozilla/5.0 (Windows NT 10.0) Firefox/140.0") == "Firefox, Windows"
    assert devices.browser_of("curl/8") == "?, ?"


# --- challenges of passkeys --------------------------------------------------------------------------


def test_a_challenge_is_good_once_for_its_purpose_and_a_flood_pushes_out_only_its_like():
    """Whoever asks for thousands before signing in disturbs nobody who is in."""
    challenges = passkeys.Challenges()
    mine = challenges.make("second:1")
    other = challenges.make("second:1")
    for _ in range(passkeys.CHALLENGES_AT_MOST + 5):
        last = challenges.make(passkeys.ANYBODY)

    assert not challenges.take(other, "second:2")
    assert not challenges.take(other, "second:1")  # spoiled by the attempt
    assert challenges.take(mine, "second:1")
    assert not challenges.take(mine, "second:1")
    assert challenges.take(last, passkeys.ANYBODY)
    assert len(challenges._made) == passkeys.CHALLENGES_AT_MOST - 1


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("armoire.local", True),
        ("localhost", True),
        ("192.168.1.5", False),
        ("[::1]", False),
        ("", False),
    ],
)
def test_a_passkey_is_of_a_name(host, fits):
    """A browser makes none under an address of digits: the page says so instead of failing."""
    assert passkeys.fits(host) is fits
