"""By which ways notices leave: one's own, the practice's; what is sealed is not shown again."""

import pytest

from appliance.accounts import deliveries, notice_ways, notices
from appliance.accounts.notice_ways import Kind
from appliance.clock import utc_now
from appliance.db import secrets
from appliance.jobs import queue
from appliance.jobs.kinds import SendNotices
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy.notices import Topic
from appliance.vault.seal import make_keys
from appliance.vault.unseal import unseal

PAGE = "/notices/settings"
MAIL = {
    "server": "smtp.example.org", "port": "465", "security": "tls", "user": "box@example.org",
    "password": "pass-word-of-mail", "sender": "box@example.org",
}  # fmt: skip


@pytest.fixture(autouse=True)
def keys(settings, database):
    make_keys(settings.keys)


@pytest.fixture
def proved(database):
    """Let whoever is signed in have shown just now who they are."""

    def prove(client):
        with database.write() as c:
            c.exec_driver_sql("UPDATE session SET proven_at = created_at")
        return client

    return prove


@pytest.fixture
def boss(owner, proved):
    return proved(owner)


def ways(database, person_id=None):
    with database.read() as c:
        return notice_ways.living(c, person_id)


def add(client, **form):
    usual = {"whose": "me", "kind": "email", "email": "me@example.org", "topic": ["account"]}
    return client.post(f"{PAGE}/ways", data={**usual, **form})


def test_anybody_sets_an_address_of_their_own(client_as, proved, database, person_of):
    """With what is told to it; the secretary sees nothing of the practice's."""
    client = proved(client_as(Role.SECRETARY))
    assert add(client, topic=["account", "links"]).headers["location"] == f"{PAGE}?after=way"
    me = person_of(Role.SECRETARY)
    (way,) = ways(database, me.id)
    assert (way.label, way.kind, way.topics) == (
        "me@example.org", Kind.EMAIL, {Topic.ACCOUNT, Topic.LINKS},
    )  # fmt: skip
    page = client.get(PAGE).text
    assert "me@example.org" in page
    assert "The e-mail server" not in page
    assert "To the practice" not in page
    assert "Notices that leave the box" in client.get("/notices").text


def test_what_is_the_practice_s_is_changed_by_who_runs_the_box_only(client_as, proved, database):
    """Neither an address, nor a service of one's own, nor the server, nor the monitor."""
    client = proved(client_as(Role.SECRETARY))
    assert add(client, whose="practice").status_code == 404
    assert add(client, kind="service", url="jsons://example.org/x").status_code == 404
    for path, form in (
        ("mail", MAIL),
        ("rules", {}),
        ("monitor", {"ping": "https://a.fr"}),
        ("mail/remove", {}),
    ):
        assert client.post(f"{PAGE}/{path}", data=form).status_code == 403, path
    assert ways(database) == []
    assert add(client, topic=["box"]).status_code == 422


def test_somebody_else_s_way_is_not_there(client_as, proved, database, person_of):
    """Neither to be seen, tried, changed nor removed."""
    whose = person_of(Role.OWNER).id
    with database.write() as c:
        way = notice_ways.add(
            c, person_id=whose, kind=Kind.EMAIL, label="o@example.org",
            topics=["account"], by=None, now=utc_now(),
        )  # fmt: skip
    client = proved(client_as(Role.TECHNICAL_ADMIN))
    assert "o@example.org" not in client.get(PAGE).text
    for path in ("", "/test", "/remove"):
        assert (
            client.post(f"{PAGE}/ways/{way.id}{path}", data={"topic": "account"}).status_code == 404
        )
    assert client.post(f"{PAGE}/ways/999/test").status_code == 404


def test_where_notices_go_is_changed_by_who_showed_who_they_are(owner, database):
    """A browser somebody left open changes nothing."""
    with database.write() as c:
        c.exec_driver_sql("UPDATE session SET proven_at = NULL")
    for path, form in (
        ("ways", {"email": "x@example.org"}),
        ("mail", MAIL),
        ("monitor", {}),
        ("ways/1/remove", {}),
    ):
        answer = owner.post(f"{PAGE}/{path}", data=form)
        assert answer.headers["location"].startswith("/account/prove"), path
    assert ways(database) == []


def test_a_service_s_address_is_sealed_and_never_shown(boss, database, settings):
    """Its name is; the worker opens it."""
    url = "ntfys://user:k3y-of-ntfy@ntfy.example.org/topic"
    assert add(boss, whose="practice", kind="service", url=url, topic=["box"]).status_code == 303
    (way,) = ways(database)
    assert way.label == "ntfy"
    page = boss.get(PAGE).text
    assert "k3y-of-ntfy" not in page
    assert "ntfy.example.org" not in page
    with database.read() as c:
        sealed = secrets.get_sealed(c, way.secret)
        written = str([each.body for each in chain.newest(c, event="notices.way-added")])
    assert b"k3y" not in sealed
    assert unseal(way.secret, sealed, settings.keys).reveal().decode() == url
    assert "k3y" not in written


def test_a_kind_that_is_not_allowed_is_refused_with_words_and_not_shown_again(boss, database):
    """No program, no file of the box."""
    for url in ("exec://id", "file:///etc/passwd", "slack://a/b/c?template=/etc/secret-file"):
        answer = add(boss, whose="practice", kind="service", url=url, topic=["box"])
        assert answer.status_code == 422
        assert "allowed" in answer.text
        assert "secret-file" not in answer.text
    assert ways(database) == []


def test_the_e_mail_server_is_set_and_its_password_stays_unless_typed(boss, database, settings):
    """Shown again: everything but the password."""
    assert boss.post(f"{PAGE}/mail", data=MAIL).headers["location"] == f"{PAGE}?after=mail"
    page = boss.get(PAGE).text
    assert "smtp.example.org" in page
    assert MAIL["password"] not in page
    assert "One is stored, sealed" in page
    again = {**MAIL, "password": "", "port": "587", "security": "starttls"}
    assert boss.post(f"{PAGE}/mail", data=again).status_code == 303
    with database.read() as c:
        sealed = secrets.get_sealed(c, notice_ways.MAIL_SECRET)
        assert notice_ways.mail_server(c).port == 587
    assert unseal("x", sealed, settings.keys).reveal().decode() == MAIL["password"]
    other = boss.post(f"{PAGE}/mail", data={**again, "server": "smtp.elsewhere.org"})
    assert other.status_code == 422
    assert "The password of this user, please." in other.text
    boss.post(f"{PAGE}/mail/remove")
    with database.read() as c:
        assert notice_ways.mail_server(c) is None
        assert secrets.find_sealed(c, notice_ways.MAIL_SECRET) is None


@pytest.mark.parametrize(
    ("path", "form", "field", "said"),
    [
        ("mail", {**MAIL, "port": "0"}, "mail-port", "A port from 1"),
        ("mail", {**MAIL, "security": "none"}, "mail-security", "Without encryption"),
        ("mail", {**MAIL, "sender": "nobody"}, "mail-sender", "name@example.org"),
        ("mail", {**MAIL, "ca": "not a certificate"}, "mail-ca", "PEM"),
        ("rules", {"quiet_from": "9", "quiet_until": "07:00", "digest_days": "7", "digest_at": "08:00"}, "rules-quiet_from", "21:00"),
        ("rules", {"quiet_from": "21:00", "quiet_until": "07:00", "digest_days": "7", "digest_at": "08:00", "base_url": "http://x"}, "rules-base_url", "Like this"),
        ("monitor", {"ping": "http://example.org/ping-s3cret"}, "monitor-ping", "https://"),
        ("ways", {"whose": "me", "kind": "email", "email": "<b>x", "topic": "account"}, "mine-email-email", "name@example.org"),
        ("ways", {"whose": "me", "kind": "email", "email": "a@b.fr"}, "mine-email-topics", "Choose what"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field_and_the_rest_stays_typed(boss, path, form, field, said):
    """With 422; nothing secret comes back, nothing typed becomes markup."""
    answer = boss.post(f"{PAGE}/{path}", data=form)
    assert answer.status_code == 422
    assert f'id="{field}-problem"' in answer.text
    assert said in answer.text
    assert "<b>x" not in answer.text
    assert "s3cret" not in answer.text
    assert MAIL["password"] not in answer.text


def test_when_notices_leave_is_kept_and_written_down(boss, database):
    """Quiet hours, the word that all is well, the address in messages."""
    form = {
        "quiet_from": "20:30",
        "quiet_until": "08:00",
        "digest_days": "1",
        "digest_at": "09:15",
        "base_url": "https://box.cabinet.fr:8443/",
    }
    assert boss.post(f"{PAGE}/rules", data=form).status_code == 303
    with database.read() as c:
        rules = notice_ways.rules(c)
        assert len(chain.newest(c, event="notices.rules-changed")) == 1
    assert (rules.digest_days, rules.base_url) == (1, "https://box.cabinet.fr:8443")
    page = boss.get(PAGE).text
    assert 'value="20:30"' in page
    assert 'value="https://box.cabinet.fr:8443"' in page


def test_a_test_is_queued_once_and_what_became_of_it_is_shown(boss, database, person_of):
    """Waiting, failed and why, or sent; the page looks again by itself meanwhile."""
    add(boss)
    (way,) = ways(database, person_of(Role.OWNER).id)
    for _ in range(2):
        assert boss.post(f"{PAGE}/ways/{way.id}/test").headers["location"] == f"{PAGE}?after=test"
    with database.read() as c:
        due = deliveries.due(c, now=utc_now())[way.id]
        assert [each.notice.code for each in due] == ["test.way"]
        assert [each.kind for each in queue.waiting(c)] == [SendNotices.kind]
    page = boss.get(PAGE).text
    assert "The test is waiting to leave." in page
    assert 'hx-trigger="every 2s"' in page
    with database.write() as c:
        deliveries.failed(c, due, "password", now=utc_now())
    page = boss.get(PAGE).text
    assert "The test did not leave: The server refuses the user name or the password." in page
    with database.write() as c:
        deliveries.sent(c, due, now=utc_now())
    page = boss.get(PAGE).text
    assert "The test left on" in page
    assert "every 2s" not in page


def test_topics_are_changed_and_a_way_removed(boss, database, person_of):
    """Nothing chosen is no way."""
    add(boss)
    me = person_of(Role.OWNER).id
    (way,) = ways(database, me)
    assert boss.post(f"{PAGE}/ways/{way.id}", data={"topic": ["locum", "box"]}).status_code == 303
    assert ways(database, me)[0].topics == {Topic.LOCUM, Topic.BOX}
    assert boss.post(f"{PAGE}/ways/{way.id}").status_code == 422
    assert boss.post(f"{PAGE}/ways/{way.id}", data={"topic": "nonsense"}).status_code == 422
    assert boss.post(f"{PAGE}/ways/{way.id}/remove").status_code == 303
    assert ways(database, me) == []


def test_the_monitor_s_address_is_sealed_and_forgotten_when_saved_empty(boss, database):
    """It is a secret: who has it can say that all is well."""
    boss.post(f"{PAGE}/monitor", data={"ping": "https://hc.example/ping/s3cret"})
    with database.read() as c:
        assert secrets.find_sealed(c, notice_ways.PING_SECRET) is not None
    page = boss.get(PAGE).text
    assert "s3cret" not in page
    assert "it is called after the next good night" in page
    boss.post(f"{PAGE}/monitor", data={"ping": ""})
    with database.read() as c:
        assert secrets.find_sealed(c, notice_ways.PING_SECRET) is None
        assert notice_ways.ping(c) is None


def test_a_finding_s_story_is_told_in_words_among_the_notices(owner, database):
    """«This is over»: with its facts, lengths of time among them."""
    from datetime import timedelta

    with database.write() as c:
        notices.put(
            c, "finding.ended", "«%(label)s» has not been backed up for %(age)s.",
            {"label": "Reception", "age": timedelta(days=3)}, person_id=None, now=utc_now(),
        )  # fmt: skip
    assert (
        "This is over: «Reception» has not been backed up for 3 days." in owner.get("/notices").text
    )


def test_programs_read_notices_and_try_a_way(boss, database, person_of):
    """One's own and the practice's; of a secretary the practice's are not there."""
    add(boss)
    add(boss, whose="practice", email="cabinet@example.org", topic=["box"])
    mine, ours = boss.get("/api/v1/notices/ways").json()
    assert (mine["label"], mine["is_practice"]) == ("me@example.org", False)
    assert (ours["label"], ours["is_practice"]) == ("cabinet@example.org", True)
    assert boss.post(f"/api/v1/notices/ways/{ours['id']}/test").status_code == 204
    assert boss.post("/api/v1/notices/ways/99/test").status_code == 404
    with database.write() as c:
        notices.put(
            c, "x.y", "To %(who)s", {"who": "you", "at": utc_now()}, person_id=None, now=utc_now()
        )
    (new,) = [each for each in boss.get("/api/v1/notices").json() if each["seen_at"] is None]
    assert (new["code"], new["text"], new["facts"]["who"]) == ("x.y", "To you", "you")
    assert boss.post("/api/v1/notices/seen", json={"notice": new["id"]}).json() == {"count": 1}
    assert boss.post("/api/v1/notices/seen", json={}).json() == {"count": 0}
