"""Notices leave the box, once, in words that name nobody; what does not work is said and tried again."""

import json
import logging
import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from appliance.accounts import deliveries, notice_ways, notices, people
from appliance.accounts.notice_ways import Kind
from appliance.clock import utc_now
from appliance.errors import InvalidInput
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import SendNotices
from appliance.model import JobState, Role
from appliance.policy.notice_ways import SERVICES, MailServer, Security
from appliance.policy.notices import PROBLEMS, Message, Rules
from appliance.vault.seal import make_keys, seal
from appliance.vault.secret import Secret
from appliance.worker import notices_watch, outgoing
from appliance.worker.outgoing import NotSent
from appliance.worker.tasks import notices_send
from tests.support import mail

pytestmark = pytest.mark.integration

PASSWORD = "correct horse: é battery"
BEGUN = (
    "%(taker)s took emergency access to «%(share)s», until %(ends_at)s. Review it within 7 days."
)
#: No quiet hours: these tests run at any hour.
AWAKE = Rules.of(
    {"quiet_from": "00:00", "quiet_until": "00:00", "base_url": "https://box.example:8443"}
)


class Practice:
    """A box with an owner, an e-mail server set, and what a worker does in one turn."""

    def __init__(self, settings, database):
        self.settings, self.database = settings, database
        make_keys(settings.keys)
        with database.write() as c:
            self.anne = people.add(
                c, login="anne.martin", name="Anne Martin", role=Role.OWNER, language="fr",
                password_hash=None, now=utc_now(),
            )  # fmt: skip
            notice_ways.put_rules(c, AWAKE, by=None, now=utc_now())

    def use(self, server, *, password=PASSWORD, user="box", sender="box@cabinet.example"):
        known = MailServer(
            "127.0.0.1",
            server.port,
            Security(server.security),
            sender,
            user if server.users else "",
            server.ca,
        )
        sealed = seal(Secret(password.encode()), self.settings.keys) if server.users else None
        with self.database.write() as c:
            notice_ways.put_mail_server(c, known, sealed, by=None, now=utc_now())

    def mail_way(
        self, to="anne@cabinet.example", *, person=True, topics=("emergency", "account", "links")
    ):
        with self.database.write() as c:
            way = notice_ways.add(
                c, person_id=self.anne.id if person else None, kind=Kind.EMAIL, label=to,
                topics=list(topics), by=self.anne.id, now=utc_now(),
            )  # fmt: skip
            # What a new way itself is told of is not what these tests look at.
            c.execute(notices.table.update().values(spread_at=utc_now()))
            return way

    def service_way(self, url, *, topics=("emergency",)):
        with self.database.write() as c:
            return notice_ways.add(
                c, person_id=None, kind=Kind.SERVICE, label="JSON", topics=list(topics),
                by=self.anne.id, now=utc_now(), sealed=seal(Secret(url.encode()), self.settings.keys),
            )  # fmt: skip

    def tell(self, *, person=True, **facts):
        said = {
            "taker": "Luc Petit",
            "share": "Dossier DUPONT Éloïse",
            "ends_at": utc_now(),
            **facts,
        }
        with self.database.write() as c:
            return notices.put(
                c, "emergency.begun", BEGUN, said,
                person_id=self.anne.id if person else None, now=utc_now(),
            )  # fmt: skip

    def hurry(self):
        """Let what waits for its next try be due."""
        with self.database.write() as c:
            rows = deliveries.notice_delivery
            c.execute(rows.update().where(rows.c.next_at.is_not(None)).values(next_at=utc_now()))

    def spread(self):
        with self.database.write() as c:
            deliveries.spread(
                c, notice_ways.rules(c), notices_watch.ZoneInfo("Europe/Paris"), now=utc_now()
            )

    def send(self):
        self.spread()
        with self.database.write() as c:
            number = queue.enqueue(c, SendNotices(), now=utc_now())
            job = queue.claim(c, runner="tests", now=utc_now(), only=number)
        with JobContext(self.settings, self.database, job) as context:
            state = notices_send.run(context, SendNotices())
        with self.database.write() as c:
            queue.finish(c, job.id, state, now=utc_now(), result=context.result)
        return state

    def rows(self):
        with self.database.read() as c:
            return c.execute(deliveries.notice_delivery.select().order_by("id")).all()

    def way(self, way):
        with self.database.read() as c:
            return notice_ways.get(c, way.id)


@pytest.fixture
def box(settings, database):
    return Practice(settings, database)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_notice_leaves_by_e_mail_once_and_names_nobody(box, tmp_path, security):
    """Over TLS, signed in; the words are French, lead to the box, and hold neither name nor share."""
    with mail.MailServer(tmp_path, security, users={"box": PASSWORD}) as server:
        box.use(server)
        way = box.mail_way()
        number = box.tell()
        assert box.send() is JobState.SUCCEEDED
        assert box.send() is JobState.SUCCEEDED
        ((to, message),) = server.received
    assert to == "anne@cabinet.example"
    assert message["Auto-Submitted"] == "auto-generated"
    text = f"{message['Subject']}\n{message.get_content()}"
    assert "Un accès exceptionnel a été pris" in text
    assert "https://box.example:8443/notices" in text
    for name in ("Luc", "Petit", "DUPONT", "Éloïse", "Dossier"):
        assert name not in message.as_string() + text
    with box.database.read() as c:
        (told,) = [each for each in notices.of_person(c, box.anne) if each.id == number]
    assert told.sent_at is not None
    assert box.way(way).worked_at is not None


def test_what_comes_together_is_one_message(box, tmp_path):
    """Twenty-five notices: one message with twenty lines and how many more there are."""
    with mail.MailServer(tmp_path) as server:
        box.use(server)
        box.mail_way()
        for _ in range(25):
            box.tell()
        box.send()
        ((_, message),) = server.received
    assert "25 choses à regarder" in message["Subject"]
    assert message.get_content().count("Un accès exceptionnel") == 20
    assert "et 5 de plus" in message.get_content()


def test_a_wrong_password_is_said_and_the_right_one_sends_what_waited(box, tmp_path, caplog):
    """The reason is kept with the way, never the password; nothing is lost."""
    with (
        mail.MailServer(tmp_path, users={"box": PASSWORD}) as server,
        caplog.at_level(logging.DEBUG),
    ):
        box.use(server, password="not the password")
        way = box.mail_way()
        box.tell()
        assert box.send() is JobState.WARNED
        assert box.way(way).problem == "password"
        assert server.received == []
        box.use(server)
        assert box.send() is JobState.SUCCEEDED
        assert len(server.received) == 1
    assert box.way(way).problem is None
    assert "not the password" not in caplog.text
    assert "battery" not in caplog.text
    with box.database.read() as c:
        noted = [str(row) for row in c.exec_driver_sql("SELECT * FROM job_note").all()]
        noted += [str(row) for row in c.exec_driver_sql("SELECT * FROM ledger").all()]
    assert not any("battery" in each or "not the password" in each for each in noted)


def test_a_server_that_is_down_gets_it_when_it_is_up(box, tmp_path):
    """The waits grow; the same message goes when the line is back."""
    server = mail.MailServer(tmp_path)
    with server:
        box.use(server)
    way = box.mail_way()
    box.tell()
    waits = []
    for _ in range(3):
        before = utc_now()
        assert box.send() is JobState.WARNED
        waits.append(box.rows()[0].next_at - before)
        assert box.way(way).problem == "unreachable"
        box.hurry()
    assert timedelta(0) < waits[0] < waits[1] < waits[2]
    with server:
        assert box.send() is JobState.SUCCEEDED
    assert len(server.received) == 1


def test_a_refused_recipient_is_given_up_and_others_get_theirs(box, tmp_path):
    """Trying again changes nothing; the way says so."""
    with mail.MailServer(tmp_path, refused={"gone@cabinet.example"}) as server:
        box.use(server)
        gone, fine = box.mail_way("gone@cabinet.example"), box.mail_way("fine@cabinet.example")
        box.tell()
        assert box.send() is JobState.WARNED
        assert [to for to, _ in server.received] == ["fine@cabinet.example"]
    assert box.way(gone).problem == "recipient"
    assert box.way(fine).problem is None
    given_up = [row for row in box.rows() if row.given_up_at is not None]
    assert [row.way_id for row in given_up] == [gone.id]
    assert all(row.next_at is None for row in box.rows())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("554 5.7.1 <anne@cabinet.example>: Relay access denied", "relay"),
        ("550 5.7.1 Unable to relay", "relay"),
        ("550 no such user", "relay"),  # without a status of its own: it may be anything
        ("553 5.1.8 Sender's domain not found", "relay"),
    ],
)
def test_what_a_mended_server_would_take_is_kept_until_then(box, tmp_path, answer, problem):
    """Only a mailbox that is not there is final: an alarm outlives a server that is wrongly set."""
    with mail.MailServer(tmp_path) as server:
        box.use(server)
        way = box.mail_way()
        server.answers["anne@cabinet.example"] = answer
        box.tell()
        assert box.send() is JobState.WARNED
        assert box.way(way).problem == problem
        assert PROBLEMS[problem]
        assert box.rows()[0].given_up_at is None
        server.answers.clear()
        box.use(server)
        assert box.send() is JobState.SUCCEEDED
        assert len(server.received) == 1


@pytest.mark.parametrize("answer", ["553 5.1.3 bad", "550 5.1.10 null MX"])
def test_a_mailbox_that_is_not_there_is_final(box, tmp_path, answer):
    """Trying again changes nothing: the address is to be corrected, and the words say so."""
    with mail.MailServer(tmp_path) as server:
        box.use(server)
        way = box.mail_way()
        server.answers["anne@cabinet.example"] = answer
        box.tell()
        box.send()
    assert box.way(way).problem == "recipient"
    assert box.rows()[0].given_up_at is not None


def test_who_has_left_is_told_nothing_any_more(box, tmp_path):
    """What waited for an account that was closed meanwhile is given up."""
    with mail.MailServer(tmp_path) as server:
        box.use(server)
        box.mail_way()
        box.tell()
        box.spread()
        with box.database.write() as c:
            people.disable(c, box.anne.id, now=utc_now())
        box.send()
        assert server.received == []
    assert box.rows()[0].given_up_at is not None


def test_later_is_tried_again(box, tmp_path):
    """A server that is busy is no reason to give up."""
    with mail.MailServer(tmp_path, busy=True) as server:
        box.use(server)
        way = box.mail_way()
        box.tell()
        box.send()
        assert box.way(way).problem == "later"
        server.busy = False
        box.hurry()
        assert box.send() is JobState.SUCCEEDED
        assert len(server.received) == 1


def test_a_certificate_nobody_vouches_for_gets_no_password(box, tmp_path):
    """The line is closed before anything is said."""
    with mail.MailServer(tmp_path, users={"box": PASSWORD}) as server:
        server.ca = mail.make_certificate(tmp_path / "other.pem")
        box.use(server)
        way = box.mail_way()
        box.tell()
        box.send()
        assert box.way(way).problem == "certificate"
        assert server.received == []


def test_a_server_without_encryption_gets_nothing(box, tmp_path):
    """STARTTLS that is not offered is not done without."""
    with mail.MailServer(tmp_path, "none") as server:
        server.security = "starttls"
        box.use(server)
        way = box.mail_way()
        box.tell()
        box.send()
        assert server.received == []
    assert box.way(way).problem == "no-encryption"


def test_a_service_of_apprise_is_told(box):
    """JSON over HTTP to 127.0.0.1: the practice's way gets what is for those who run the box."""
    with mail.web_hook() as (port, came, _):
        box.service_way(f"json://user:k3y@127.0.0.1:{port}/hook")
        box.tell(person=False)
        assert box.send() is JobState.SUCCEEDED
    ((path, body),) = came
    assert path == "/hook"
    assert "Un accès exceptionnel" in json.loads(body)["message"]
    assert b"DUPONT" not in body


def test_a_service_that_fails_says_so_and_shows_no_key(box, caplog):
    """Apprise's own log names addresses: it is silent; a redirect is not followed."""
    with mail.web_hook() as (port, came, answers), caplog.at_level(logging.DEBUG):
        way = box.service_way(f"json://user:s3cr3t-k3y@127.0.0.1:{port}/hook")
        box.tell(person=False)
        answers[:] = [500]
        assert box.send() is JobState.WARNED
        assert box.way(way).problem == "service"
        answers[:] = [302]
        box.hurry()
        assert box.send() is JobState.WARNED
        assert {path for path, _ in came} == {"/hook"}
        answers[:] = [200]
        box.hurry()
        assert box.send() is JobState.SUCCEEDED
    assert "s3cr3t" not in caplog.text
    with box.database.read() as c:
        noted = str(c.exec_driver_sql("SELECT * FROM job_note").all())
    assert "s3cr3t" not in noted


def test_what_is_longer_than_a_service_takes_leaves_in_parts():
    """Refused whole, it would grow with each retry and be given up; this one takes 32768 characters at once."""
    with mail.web_hook() as (port, came, _):
        url = f"json://127.0.0.1:{port}/hook"
        outgoing.send_by_service(
            Secret(url.encode()), Message("title", "\n".join(f"- line {n}" for n in range(4000)))
        )
    bodies = [json.loads(body)["message"] for _path, body in came]
    assert len(bodies) == 2
    assert max(map(len, bodies)) <= 32768
    whole = "\n".join(bodies)
    assert all(f"- line {n}\n" in whole + "\n" for n in (0, 2000, 3999))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "exec://touch/tmp/x",
        "syslog://",
        "dbus://",
        "windows://",
        "macosx://",
        "mailto://user:pass@example.org?pgppub=/etc/passwd",
        "slack://a/b/c?template=/etc/passwd",
        "jsons://example.org/?verify=no",
        "json://203.0.113.7/",
    ],
)
def test_an_address_that_is_not_allowed_opens_nothing(url):
    """Also when it lies in the vault already: the list is asked again where the message would leave."""
    with pytest.raises(NotSent):
        outgoing.send_by_service(Secret(url.encode()), Message("t", "b"))


@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#x?template=%s",
        "tgram://123456789:abcdefg_hijklmnop/#a?template=%s",
        "discord://400000000000000000/" + "a" * 68 + "/?to=x;template=%s",
        "ntfys://ntfy.example.org/t?priority=high;attach=%s",
        "synologys://example.org/token#?file_url=%s",
    ],
)
def test_what_apprise_would_find_in_an_address_is_what_is_looked_at(url, tmp_path, monkeypatch):
    """Even where our own reading finds nothing: its plug-in, which would read the file, is not made."""
    note = tmp_path / "secret"
    note.write_text("{}")
    with pytest.raises(InvalidInput):
        outgoing._service(url % note)
    monkeypatch.setattr(outgoing, "check_service", lambda url: SERVICES[url.partition("://")[0]])
    with pytest.raises(NotSent, match="address"):
        outgoing._service(url % note)


@pytest.mark.parametrize("url", ["json://u@evil.example@10.0.0.1/", "json://[fd00::1]/"])
def test_in_clear_a_message_goes_to_the_computer_that_was_looked_at(url, monkeypatch):
    """Even where our own reading sees a computer of the practice: what Apprise would speak to must be it."""
    with pytest.raises(InvalidInput):
        outgoing._service(url)
    monkeypatch.setattr(outgoing, "check_service", lambda url: SERVICES[url.partition("://")[0]])
    with pytest.raises(NotSent, match="address"):
        outgoing._service(url)


def test_only_the_service_s_own_code_is_loaded():
    """No plug-in that runs programs is even imported."""
    code = (
        "import sys\n"
        "from appliance.worker import outgoing\n"
        "from appliance.vault.secret import Secret\n"
        "from appliance.policy.notices import Message\n"
        "try:\n    outgoing.send_by_service(Secret(b'json://127.0.0.1:9/x'), Message('t', 'b'))\n"
        "except outgoing.NotSent: pass\n"
        "print(sorted(n for n in sys.modules if n.startswith('apprise.plugins.')))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "['apprise.plugins.base', 'apprise.plugins.custom_json']"


def test_a_test_message_says_whether_a_way_works(box, tmp_path):
    """At once, by that way alone, and no bell rings in the box."""
    with mail.MailServer(tmp_path) as server:
        box.use(server)
        way, _other = box.mail_way("a@cabinet.example"), box.mail_way("b@cabinet.example")
        with box.database.write() as c:
            deliveries.test(c, way, by=box.anne.id, now=utc_now())
        box.send()
        assert [to for to, _ in server.received] == ["a@cabinet.example"]
        with box.database.read() as c:
            assert deliveries.last_test(c, way.id).sent_at is not None
            assert notices.unseen(c, box.anne) == 0


def test_killed_between_sending_and_recording_it_is_sent_again_and_is_the_same_message(
    box, tmp_path
):
    """At least once: the second carries the first one's Message-ID, so a mail program shows one."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from appliance.accounts import deliveries\n"
        "from appliance.db.engine import open_database\n"
        "from appliance.jobs import queue\n"
        "from appliance.jobs.context import JobContext\n"
        "from appliance.jobs.kinds import SendNotices\n"
        "from appliance.clock import utc_now\n"
        "from appliance.settings import Settings\n"
        "from appliance.worker.tasks import notices_send\n"
        "settings = Settings(data=Path(sys.argv[1]))\n"
        "database = open_database(settings.database)\n"
        "deliveries.sent = lambda *a, **k: os.kill(os.getpid(), 9)\n"
        "with database.write() as c:\n"
        "    number = queue.enqueue(c, SendNotices(), now=utc_now())\n"
        "    job = queue.claim(c, runner='killed', now=utc_now(), only=number)\n"
        "with JobContext(settings, database, job) as context:\n"
        "    notices_send.run(context, SendNotices())\n"
    )
    with mail.MailServer(tmp_path) as server:
        box.use(server)
        box.mail_way()
        box.tell()
        box.spread()
        killed = subprocess.run(
            [sys.executable, "-c", code, str(box.settings.data)], check=False, env=dict(os.environ)
        )
        assert killed.returncode == -signal.SIGKILL
        with box.database.write() as c:
            for each in queue.waiting(c):
                queue.interrupt(c, each.id, now=utc_now())
                for again in queue.waiting(c):
                    queue.ask_cancel(c, again.id, now=utc_now())
        assert len(server.received) == 1
        assert box.send() is JobState.SUCCEEDED
        first, second = (message for _, message in server.received)
        assert first["Message-ID"] == second["Message-ID"]
        assert box.send() is JobState.SUCCEEDED
        assert len(server.received) == 2


def test_the_outside_monitor_hears_of_a_good_night_only(box, monkeypatch):
    """One GET after a night that is proven; silence otherwise, and once for each night."""
    with mail.web_hook() as (port, came, answers):
        url = f"http://127.0.0.1:{port}/ping/s3cret"
        with box.database.write() as c:
            notice_ways.put_ping(
                c, seal(Secret(url.encode()), box.settings.keys), by=None, now=utc_now()
            )
        box.send()
        assert came == []  # no source, no proof: no good night
        outgoing.ping(Secret(url.encode()))
        assert [path for path, _ in came] == ["/ping/s3cret"]
        answers[:] = [503]
        with pytest.raises(NotSent, match="refused"):
            outgoing.ping(Secret(url.encode()))
    with pytest.raises(NotSent, match="unreachable"):
        outgoing.ping(Secret(url.encode()))


def test_signing_in_to_the_server_is_tried_without_a_message(tmp_path):
    """What the settings page's button and the weekly test ask."""
    with mail.MailServer(tmp_path, users={"box": PASSWORD}) as server:
        known = MailServer(
            "127.0.0.1", server.port, Security.STARTTLS, "b@c.example", "box", server.ca
        )
        outgoing.try_mail(known, Secret(PASSWORD.encode()))
        with pytest.raises(NotSent, match="password"):
            outgoing.try_mail(known, Secret(b"wrong"))
        assert server.received == []
