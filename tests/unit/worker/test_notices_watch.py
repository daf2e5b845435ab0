"""What the box tells by itself: findings, terms, files that arrived, that all is well."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from appliance.accounts import deliveries, notice_ways, notices, people
from appliance.accounts.notice_ways import Kind
from appliance.db import facts, secrets, shares, workers
from appliance.db.schema_disk import link, received_file
from appliance.db.schema_people import locum
from appliance.jobs import queue
from appliance.jobs.box_readings import box_findings
from appliance.jobs.kinds import KINDS, SendNotices
from appliance.jobs.notice_readings import notice_findings
from appliance.ledger import proofs
from appliance.model import JobState, Outcome, Role
from appliance.policy.findings import Finding, Severity
from appliance.policy.notice_ways import MailServer, Security
from appliance.policy.notices import Rules
from appliance.policy.share_rights import ALL
from appliance.vault.seal import make_keys, seal
from appliance.vault.secret import Secret
from appliance.worker import notices_watch
from appliance.worker.runner import AWAITED
from appliance.worker.tasks import registry as tasks

NOW = datetime(2026, 11, 23, 11, tzinfo=UTC)  # noon in Paris
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture
def add(database):
    def make(login, role):
        with database.write() as c:
            return people.add(
                c, login=login, name=login, role=role, language="fr", password_hash=None, now=NOW,
            )  # fmt: skip

    return make


@pytest.fixture
def anne(add):
    return add("anne.martin", Role.OWNER)


def way(
    database, *, person=None, topics=("box", "digest"), kind=Kind.EMAIL, label="a@b.fr", now=NOW
):
    with database.write() as c:
        made = notice_ways.add(
            c, person_id=person, kind=kind, label=label, topics=list(topics), by=None, now=now
        )
        c.execute(notices.table.update().values(spread_at=now))
        return made


def told(database, prefix=""):
    with database.read() as c:
        rows = c.execute(notices.table.select().order_by(notices.table.c.id)).all()
    return [row for row in rows if row.code.startswith(prefix)]


def wrong_clock(database, *, is_wrong=True):
    with database.write() as c:
        value = {"now": "1", "last": "2"} if is_wrong else None
        facts.put(c, "clock.wrong", value, now=NOW)


def test_an_alarm_is_told_once_leaves_at_once_and_its_end_too(settings, database, anne):
    """Two looks ten minutes apart; the bell does not ring: the page of the state shows it."""
    way(database)
    wrong_clock(database)
    assert notices_watch.turn(settings, database, NOW) == [SendNotices()]
    with database.write() as c:
        for due in deliveries.due(c, now=NOW).values():
            deliveries.sent(c, due, now=NOW)
    for minutes in (1, 10, 20):
        assert notices_watch.turn(settings, database, NOW + minutes * MINUTE) == []
    wrong_clock(database, is_wrong=False)
    for minutes in (30, 40):
        notices_watch.turn(settings, database, NOW + minutes * MINUTE)
    found = told(database, "finding.")
    assert [row.code for row in found] == ["finding.begun", "finding.ended"]
    assert {row.facts["finding"] for row in found} == {"box.clock-wrong"}
    with database.read() as c:
        assert notices.unseen(c, anne) == 0


def test_the_worker_does_not_call_itself_dead(settings, database, anne):
    """At its start its first beat may not be written yet."""
    with database.read() as c:
        assert not workers.alive(c, now=NOW)
    notices_watch.turn(settings, database, NOW)
    assert told(database, "finding.") == []


def test_a_job_that_crashes_is_not_begun_again_at_every_turn(settings, database, anne):
    """A disk that is full, a key that is gone: in five minutes, not in thirty seconds."""
    way(database)
    wrong_clock(database)
    assert notices_watch.turn(settings, database, NOW) == [SendNotices()]
    with database.write() as c:
        number = queue.enqueue(c, SendNotices(), now=NOW)
        queue.claim(c, runner="tests", now=NOW, only=number)
        queue.finish(c, number, JobState.FAILED, now=NOW)
    assert notices_watch.turn(settings, database, NOW + MINUTE) == []
    assert notices_watch.turn(settings, database, NOW + 6 * MINUTE) == [SendNotices()]


def test_an_alarm_of_three_days_is_told_to_each_who_runs_the_box(settings, database, anne, add):
    """By any way they have, whatever they chose; and their bell rings."""
    admin = add("tech", Role.TECHNICAL_ADMIN)
    add("secretary", Role.SECRETARY)
    mine = way(database, person=admin.id, topics=("links",))
    wrong_clock(database)
    for day in range(4):
        notices_watch.turn(settings, database, NOW + day * DAY)
    still = [row for row in told(database, "finding.still") if row.person_id is not None]
    assert {row.person_id for row in still} == {anne.id, admin.id}
    with database.read() as c:
        new = [each for each in notices.of_person(c, admin) if each.seen_at is None]
        assert [each.code for each in new if each.code != "account.email-changed"] == [
            "finding.still"
        ]
        assert [each.way_id for each in deliveries.due(c, now=NOW + 3 * DAY)[mine.id]] == [mine.id]


def test_a_warning_is_told_when_it_lasts(settings, database, anne):
    """The e-mail server that cannot be used, for two hours."""
    way(database)
    with database.write() as c:
        facts.put(c, "notices.mail-tried", {"at": NOW.isoformat(), "problem": "password"}, now=NOW)
    notices_watch.turn(settings, database, NOW)
    assert told(database, "finding.") == []
    notices_watch.turn(settings, database, NOW + 120 * MINUTE)
    (row,) = told(database, "finding.")
    assert row.facts["finding"] == "notices.mail-server"


def test_the_job_is_one_the_worker_knows():
    """A kind that is written nowhere is queued all the same, and never done."""
    assert KINDS[SendNotices.kind] is SendNotices
    assert SendNotices.kind in tasks.runs()
    assert SendNotices.kind in AWAITED


# --- terms ---------------------------------------------------------------------------------


def test_a_term_that_begins_or_ends_soon_is_told_once_and_again_when_it_was_extended(
    settings, database, anne, add
):
    """To who prepared it, who is replaced, and at its end the locum."""
    luc, remi = add("luc.petit", Role.ASSOCIATE), add("remi.rempla", Role.LOCUM)
    with database.write() as c:
        number = c.execute(
            locum.insert().values(
                person_id=remi.id, replaces_id=luc.id, sponsor_id=anne.id, rights={},
                starts_at=NOW + 3 * DAY, ends_at=NOW + 10 * DAY,
            )
        ).inserted_primary_key[0]  # fmt: skip

    def codes():
        return sorted((row.code, row.person_id) for row in told(database, "locum."))

    notices_watch.turn(settings, database, NOW)
    assert codes() == []
    for hours in (25, 26, 27):
        notices_watch.turn(settings, database, NOW + timedelta(hours=hours))
    begun = sorted([("locum.starts-soon", anne.id), ("locum.starts-soon", luc.id)])
    assert codes() == begun
    for day in (8, 9):
        notices_watch.turn(settings, database, NOW + day * DAY)
    ends = [("locum.ends-soon", each.id) for each in (anne, luc, remi)]
    assert codes() == sorted(ends + begun)
    with database.write() as c:
        c.execute(locum.update().where(locum.c.id == number).values(ends_at=NOW + 11 * DAY))
    notices_watch.turn(settings, database, NOW + 9 * DAY + 20 * MINUTE)
    assert codes() == sorted(ends + ends + begun)


# --- files that arrived --------------------------------------------------------------------


@pytest.fixture
def request_of(database, anne, tmp_path):
    """An upload request of Anne's; return how to let files arrive by it."""
    with database.write() as c:
        share = shares.add(c, name="documents", label="D", folder=tmp_path, now=NOW)
        shares.grant(c, share.id, ALL, role=Role.OWNER, by=None, now=NOW)
        number = c.execute(
            link.insert().values(
                token_hash="x", kind="ask", share_id=share.id, path=b"", person_id=anne.id,
                label="Mme DUPONT", created_at=NOW, ends_at=NOW + DAY,
            )
        ).inserted_primary_key[0]  # fmt: skip

    def arrive(at):
        with database.write() as c:
            c.execute(
                received_file.insert().values(
                    link_id=number, name=b"radio DUPONT.jpg", stored=f"{at.timestamp()}", size=1,
                    sha256="0" * 64, received_at=at,
                )
            )  # fmt: skip

    return arrive


def test_files_that_arrive_one_after_the_other_are_one_notice(settings, database, anne, request_of):
    """To who made the request, two minutes after the last; what leaves names nobody."""
    mine = way(database, person=anne.id, topics=("links",))
    for seconds in (0, 30, 90):
        request_of(NOW + timedelta(seconds=seconds))
        assert notices_watch.turn(settings, database, NOW + timedelta(seconds=seconds)) == []
    assert told(database, "link.") == []
    assert notices_watch.turn(settings, database, NOW + 4 * MINUTE) == [SendNotices()]
    (row,) = told(database, "link.")
    assert (row.person_id, row.facts["count"]) == (anne.id, 3)
    with database.read() as c:
        assert [each.notice.id for each in deliveries.due(c, now=NOW + 4 * MINUTE)[mine.id]] == [
            row.id
        ]
    notices_watch.turn(settings, database, NOW + 5 * MINUTE)
    assert len(told(database, "link.")) == 1
    request_of(NOW + 60 * MINUTE)
    notices_watch.turn(settings, database, NOW + 70 * MINUTE)
    assert len(told(database, "link.")) == 2


def test_files_that_were_decided_about_already_are_no_news(settings, database, anne, request_of):
    """Who sat before the page needs no message."""
    request_of(NOW)
    with database.write() as c:
        c.execute(received_file.update().values(decided_at=NOW, was_accepted=True))
    notices_watch.turn(settings, database, NOW + 10 * MINUTE)
    assert told(database, "link.") == []


def test_files_that_never_stop_arriving_are_told_all_the_same(settings, database, anne, request_of):
    """A quarter of an hour after the first."""
    for minutes in range(16):
        request_of(NOW + minutes * MINUTE)
        notices_watch.turn(settings, database, NOW + minutes * MINUTE)
    assert [row.facts["count"] for row in told(database, "link.")] == [16]


# --- «all is well», and silence ------------------------------------------------------------


def test_each_week_the_box_says_how_it_is(settings, database, anne):
    """To the ways that want it, with no bell in the box."""
    way(database, now=NOW - 7 * DAY)
    with database.write() as c:
        workers.beat(c, "tests:1", now=NOW)
    notices_watch.turn(settings, database, NOW)
    notices_watch.turn(settings, database, NOW + 10 * MINUTE)
    (row,) = told(database, "digest.")
    assert row.code == "digest.unwell"  # no source: nothing is proven
    assert row.seen_at is not None
    notices_watch.turn(settings, database, NOW + 6 * DAY)
    assert len(told(database, "digest.")) == 1
    notices_watch.turn(settings, database, NOW + 7 * DAY)
    assert len(told(database, "digest.")) == 2


def test_a_box_that_can_tell_nobody_says_so_after_its_first_week(database, anne):
    """A notice, not an alarm; a way of the practice ends it."""
    with database.read() as c:
        assert notice_findings(c, NOW + 6 * DAY) == []
        (said,) = notice_findings(c, NOW + 8 * DAY)
    assert (said.code, said.severity) == ("notices.no-way", Severity.NOTICE)
    way(database)
    with database.read() as c:
        assert notice_findings(c, NOW + 8 * DAY) == []


def test_a_way_that_fails_is_a_finding_until_it_works(settings, database, anne):
    """After an hour; shown by the person's name, not their address."""
    made = way(database, person=anne.id, topics=("links",), label="secret@address.fr")
    way(database)
    with database.write() as c:
        notice_ways.failed(c, made.id, "password", now=NOW)
        notice_ways.failed(c, made.id, "unreachable", now=NOW + 50 * MINUTE)
    with database.read() as c:
        assert notice_findings(c, NOW + 30 * MINUTE) == []
        (said,) = notice_findings(c, NOW + 60 * MINUTE)
        assert said in box_findings(c, settings, NOW + 60 * MINUTE)
    assert said.code == "notices.way-fails"
    assert "anne.martin" in said.words("en")
    assert "secret@" not in said.words("en")
    assert "1 heure" in said.words("fr")
    with database.write() as c:
        notice_ways.worked(c, made.id, now=NOW + 61 * MINUTE)
        assert notice_findings(c, NOW + 62 * MINUTE) == []


def test_an_e_mail_server_by_which_nothing_left_for_a_week_is_tried(settings, database, anne):
    """So that a password that ran out is known before the alarm that needs it."""
    make_keys(settings.keys)
    made = way(database, topics=("emergency",))
    with database.write() as c:
        known = MailServer("127.0.0.1", 9, Security.TLS, "a@b.fr")
        notice_ways.put_mail_server(c, known, None, by=None, now=NOW)
        notice_ways.worked(c, made.id, now=NOW)
    assert notices_watch.turn(settings, database, NOW + 6 * DAY) == []
    assert notices_watch.turn(settings, database, NOW + 8 * DAY) == [SendNotices()]


# --- who is told ---------------------------------------------------------------------------


def test_what_concerns_who_runs_the_box_leaves_by_their_ways_and_the_practice_s(
    database, anne, add
):
    """Not by a secretary's, not by a closed account's, not by a way that is for other topics."""
    closed, nurse = add("old.admin", Role.TECHNICAL_ADMIN), add("secretary", Role.SECRETARY)
    ours, mine = (
        way(database, topics=("emergency",)),
        way(database, person=anne.id, topics=("emergency",)),
    )
    for each in (closed, nurse):
        way(database, person=each.id, topics=("emergency",))
    way(database, topics=("box",))
    with database.write() as c:
        people.disable(c, closed.id, now=NOW)
        notices.put(c, "emergency.begun", "x", {}, person_id=None, now=NOW)
        deliveries.spread(c, Rules(), PARIS, now=NOW)
        assert set(deliveries.due(c, now=NOW)) == {ours.id, mine.id}


def test_what_concerns_one_person_leaves_by_their_own_ways(database, anne, add):
    """Not by the practice's: it is theirs."""
    luc = add("luc.petit", Role.ASSOCIATE)
    way(database, topics=("account",))
    way(database, person=anne.id, topics=("account",))
    his = way(database, person=luc.id, topics=("account",))
    with database.write() as c:
        notices.put(c, "sign-in.new-device", "x", {}, person_id=luc.id, now=NOW)
        deliveries.spread(c, Rules(), PARIS, now=NOW)
        assert set(deliveries.due(c, now=NOW)) == {his.id}
        deliveries.spread(c, Rules(), PARIS, now=NOW)
        assert len(c.execute(deliveries.notice_delivery.select()).all()) == 1


def test_a_new_address_is_told_to_the_former_one(database, anne):
    """Who lost a session to somebody hears of it where they always did."""
    former = way(database, person=anne.id, topics=("account",), label="old@b.fr")
    with database.write() as c:
        new = notice_ways.add(
            c, person_id=anne.id, kind=Kind.EMAIL, label="new@b.fr", topics=["account"],
            by=anne.id, now=NOW,
        )  # fmt: skip
        deliveries.spread(c, Rules(), PARIS, now=NOW)
        assert set(deliveries.due(c, now=NOW)) == {former.id, new.id}


def test_a_removed_way_takes_its_secret_and_what_waited_with_it(settings, database, anne):
    """Nothing is sent to it, and nothing of it can be opened any more."""
    make_keys(settings.keys)
    with database.write() as c:
        made = notice_ways.add(
            c, person_id=None, kind=Kind.SERVICE, label="JSON", topics=["box"], by=anne.id, now=NOW,
            sealed=seal(Secret(b"json://127.0.0.1/x"), settings.keys),
        )  # fmt: skip
        deliveries.test(c, made, by=anne.id, now=NOW)
        assert deliveries.is_due(c, now=NOW)
        assert secrets.find_sealed(c, made.secret) is not None
        notice_ways.remove(c, made, by=anne.id, now=NOW)
        assert not deliveries.is_due(c, now=NOW)
        assert secrets.find_sealed(c, made.secret) is None
        assert notice_ways.living(c, None) == []


def test_a_password_is_not_shown_to_another_server(settings, database, anne):
    """Another name or another user: it is typed again; another port: it stays."""
    make_keys(settings.keys)
    known = MailServer("smtp.a.fr", 587, Security.STARTTLS, "a@b.fr", "box")
    with database.write() as c:
        notice_ways.put_mail_server(c, known, seal(Secret(b"x"), settings.keys), by=None, now=NOW)
        port = MailServer("smtp.a.fr", 465, Security.TLS, "a@b.fr", "box")
        notice_ways.put_mail_server(c, port, None, by=None, now=NOW)
        assert secrets.find_sealed(c, notice_ways.MAIL_SECRET) is not None
    with pytest.raises(Exception, match="password"), database.write() as c:
        other = MailServer("smtp.evil.fr", 465, Security.TLS, "a@b.fr", "box")
        notice_ways.put_mail_server(c, other, None, by=None, now=NOW)
    with database.read() as c:
        assert notice_ways.mail_server(c) == port


def test_the_monitor_is_told_after_a_good_night_and_tried_again_after_a_while(
    settings, database, anne
):
    """Every source proven, no alarm: what is due is due once."""
    make_keys(settings.keys)
    with database.write() as c:
        notice_ways.put_ping(c, seal(Secret(b"https://x.fr/"), settings.keys), by=None, now=NOW)
        assert notices_watch.is_ping_due(c, settings, NOW) is False  # nothing is proven

    class Good:
        is_green, proven_at, kind = True, NOW - DAY / 3, None
        level = notices_watch.Level.PROVEN

    known = ([Good()], [])
    alarm = ([Good()], [Finding("x", Severity.ALARM, "", "", {})])
    with database.write() as c:
        proofs.record(
            c,
            at=NOW - DAY / 3,
            kind="snapshot.sample",
            outcome=Outcome.PROVEN,
            source_id=None,
            snapshot_id=None,
            figures={},
            actor="tests",
        )
        assert notices_watch.is_ping_due(c, settings, NOW, known=known)
        notice_ways.pinged(c, now=NOW, problem="unreachable")
        assert not notices_watch.is_ping_due(c, settings, NOW + MINUTE, known=known)
        assert notices_watch.is_ping_due(c, settings, NOW + 6 * MINUTE, known=known)
        assert not notices_watch.is_ping_due(c, settings, NOW + 6 * MINUTE, known=alarm)
        assert [each.code for each in notice_findings(c, NOW)] == ["notices.monitor"]
        notice_ways.pinged(c, now=NOW + 7 * MINUTE, problem=None)
        assert not notices_watch.is_ping_due(c, settings, NOW + 60 * MINUTE, known=known)
        assert notice_findings(c, NOW) == []
