"""What leaves the box, when, and that no name is in it."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.policy import notice_ways
from appliance.policy.findings import Finding, Severity
from appliance.policy.notice_ways import (
    SERVICES,
    Security,
    check_base_url,
    check_email,
    check_ping,
    check_rules,
    check_server,
    check_service,
)
from appliance.policy.notices import (
    APART,
    FINDING_BEGUN,
    FINDING_ENDED,
    FINDING_STILL,
    FINDING_WORSE,
    KEPT,
    OUTSIDE,
    PREFIXES,
    WAITS,
    Line,
    Rules,
    Topic,
    Urgency,
    digest_due,
    first_try,
    is_quiet,
    message,
    next_try,
    outside_words,
    ping_due,
    topic_of,
    urgency_of,
)
from appliance.policy.notices_findings import Known, key_of, look

PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2026, 11, 23, 11, tzinfo=UTC)  # 12:00 in Paris
NIGHT = datetime(2026, 11, 23, 22, tzinfo=UTC)  # 23:00 in Paris
DAY = timedelta(days=1)


# --- words ---------------------------------------------------------------------------------

NAMES = st.text(alphabet="ABCDEFGHJKLMNPQ", min_size=6, max_size=20).map(lambda t: f"Zz{t}zZ")


@given(
    facts=st.dictionaries(
        st.sampled_from(["label", "share", "taker", "reason", "path", "x"]), NAMES
    ),
    code=st.sampled_from([*OUTSIDE, *PREFIXES, "something.new"]),
    language=st.sampled_from(["fr", "en"]),
)
def test_no_fact_that_is_a_word_leaves(facts, code, language):
    """Whatever a notice is filled with, of today's codes and of those to come."""
    text = "«%(label)s» %(share)s %(taker)s %(reason)s %(path)s"
    told = {"label": "Zzlabel", "share": "Zzshare", "taker": "Zz", "path": "Zzp", **facts}
    said = message([Line(code, text, told, NOON)], language, PARIS, base_url="https://box.example")
    assert "Zz" not in said.title + said.body


def test_numbers_moments_and_lengths_of_time_do_leave():
    """They are what makes a message worth reading."""
    line = Line(
        FINDING_BEGUN,
        "«%(label)s» has not been backed up for %(age)s.",
        {"label": "Poste de DUPONT", "age": timedelta(days=3)},
        NOON,
    )
    assert outside_words(line, "en", PARIS) == "To do: «…» has not been backed up for 3 days."
    said = outside_words(
        Line("locum.ends-soon", "x", {"ends_at": NOON, "locum": "Luc"}, NOON), "en", PARIS
    )
    assert said == "A replacement ends on 23/11/2026 12:00: extend it if it must go on."
    disk = Line(
        FINDING_BEGUN, "The disk of the box is %(used_share)s full.", {"used_share": 0.91}, NOON
    )
    assert outside_words(disk, "en", PARIS) == "To do: The disk of the box is 91% full."


def test_a_reason_of_the_program_s_own_is_said_and_any_other_is_not():
    """«reason» is a text of ours that is translated, or somebody's word."""
    own = Line(
        "x", "A check found an error: %(reason)s.", {"reason": "sample restored and compared"}, NOON
    )
    assert "échantillon" in outside_words(own, "fr", PARIS)
    assert "sample" in outside_words(own, "en", PARIS)
    other = Line("x", "An error: %(reason)s.", {"reason": "Monsieur DUPONT"}, NOON)
    assert outside_words(other, "en", PARIS) == "An error: …."


def test_a_title_is_one_line_and_a_text_of_another_version_is_said_in_general_words():
    """No header can be added by a notice."""
    said = message([Line("x", "one\r\nBcc: a@b.c two " * 20, {}, NOON)], "en", PARIS)
    assert "\n" not in said.title
    assert "\r" not in said.title
    assert len(said.title) <= 120
    odd = message([Line("x", "%(unknown)s %(label)d", {"label": "a"}, NOON)], "en", PARIS)
    assert odd.title == "Something happened: look at the box."
    with pytest.raises(ValueError, match="no notice"):
        message([], "en", PARIS)


# --- when ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begins", "ends", "at", "quiet"),
    [
        ("21:00", "07:00", "20:59", False),
        ("21:00", "07:00", "21:00", True),
        ("21:00", "07:00", "03:00", True),
        ("21:00", "07:00", "07:00", False),
        ("12:00", "14:00", "13:00", True),
        ("12:00", "14:00", "15:00", False),
        ("00:00", "00:00", "03:00", False),
    ],
)
def test_quiet_hours_may_go_over_midnight(begins, ends, at, quiet):
    """In the practice's own time."""
    rules = Rules(time.fromisoformat(begins), time.fromisoformat(ends))
    hour = time.fromisoformat(at)
    now = datetime(2026, 7, 1, hour.hour, hour.minute, tzinfo=PARIS)
    assert is_quiet(rules, now.astimezone(UTC), PARIS) is quiet


def test_what_can_wait_waits_for_the_morning_and_an_alarm_does_not():
    """At 23:00 in Paris: 7:00 tomorrow; what is told at once goes at once."""
    morning = datetime(2026, 11, 24, 6, tzinfo=UTC)
    assert first_try(Urgency.USUAL, Rules(), NIGHT, PARIS) == morning
    assert first_try(Urgency.USUAL, Rules(), NIGHT + timedelta(hours=3), PARIS) == morning
    assert first_try(Urgency.NOW, Rules(), NIGHT, PARIS) == NIGHT
    assert first_try(Urgency.USUAL, Rules(), NOON, PARIS) == NOON


def test_what_can_wait_is_gathered_after_a_message():
    """One message in ten minutes; a last one in the future, of a wrong clock, holds nothing up for long."""
    assert first_try(Urgency.USUAL, Rules(), NOON, PARIS, NOON) == NOON + APART
    assert first_try(Urgency.USUAL, Rules(), NOON, PARIS, NOON - DAY) == NOON
    assert first_try(Urgency.USUAL, Rules(), NOON, PARIS, NOON + DAY) == NOON + APART
    assert first_try(Urgency.NOW, Rules(), NOON, PARIS, NOON) == NOON


def test_waits_grow_and_end_after_three_days():
    """A recipient the server does not know is given up at once."""
    told = [next_try(n, "unreachable", NOON, NOON) - NOON for n in range(1, 8)]
    assert told == [*WAITS, WAITS[-1], WAITS[-1]]
    assert next_try(3, "unreachable", NOON - KEPT, NOON) is None
    assert next_try(1, "recipient", NOON, NOON) is None


@pytest.mark.parametrize(
    ("code", "topic", "grave", "urgency"),
    [
        ("emergency.begun", Topic.EMERGENCY, False, Urgency.NOW),
        ("sign-in.new-device", Topic.ACCOUNT, False, Urgency.NOW),
        ("locum.ended", Topic.LOCUM, False, Urgency.USUAL),
        ("link.arrived", Topic.LINKS, False, Urgency.USUAL),
        (FINDING_BEGUN, Topic.BOX, True, Urgency.NOW),
        (FINDING_BEGUN, Topic.BOX, False, Urgency.USUAL),
        (FINDING_STILL, Topic.BOX, True, Urgency.USUAL),
        (FINDING_ENDED, Topic.BOX, True, Urgency.USUAL),
        ("digest.well", Topic.DIGEST, False, Urgency.USUAL),
        ("kind.unknown", None, False, Urgency.USUAL),
    ],
)
def test_each_code_has_its_topic_and_its_urgency(code, topic, grave, urgency):
    """A code nobody named a topic for stays in the box."""
    assert topic_of(code) is topic
    assert urgency_of(code, is_grave=grave) is urgency


def test_the_digest_goes_each_week_at_its_hour_and_never_without_a_way():
    """By days of the calendar; 0 days: never."""
    rules = Rules()
    week_ago = NOON - 7 * DAY
    assert digest_due(rules, NOON, PARIS, week_ago, NOON - 30 * DAY)
    assert digest_due(rules, NOON.replace(hour=8), PARIS, week_ago, NOON - 30 * DAY)
    assert not digest_due(rules, NOON.replace(hour=6), PARIS, week_ago, NOON - 30 * DAY)
    assert not digest_due(rules, NOON, PARIS, NOON - 6 * DAY, NOON - 30 * DAY)
    assert not digest_due(rules, NOON, PARIS, week_ago, NOON - 2 * DAY)  # a way that is new
    assert not digest_due(rules, NOON, PARIS, week_ago, None)
    assert not digest_due(Rules(digest_days=0), NOON, PARIS, week_ago, NOON - 30 * DAY)
    assert digest_due(Rules(digest_days=1), NOON, PARIS, NOON - DAY, NOON - 30 * DAY)


def test_the_outside_monitor_hears_of_each_good_night_once():
    """Not of a bad one, not without a proof, not of one that lies in the future."""
    proven = NOON - timedelta(hours=9)
    assert ping_due(proven_at=proven, last=NOON - DAY, now=NOON)
    assert ping_due(proven_at=proven, last=None, now=NOON)
    assert not ping_due(proven_at=proven, last=NOON, now=NOON)
    assert not ping_due(proven_at=None, last=None, now=NOON)
    assert not ping_due(proven_at=NOON + DAY, last=None, now=NOON)


# --- findings ------------------------------------------------------------------------------


def finding(severity=Severity.WARNING, code="disk.nearly-full", **facts):
    return Finding(code, severity, "The disk is full.", "Do something.", facts)


def looks(*steps):
    """Walk through (minutes, findings) and return the codes that were told at each."""
    known, told = {}, []
    for minutes, found in steps:
        changes, known = look(known, found, NOON + timedelta(minutes=minutes))
        told.append([each.code for each in changes])
    return told


def test_an_alarm_is_told_at_once_each_day_and_when_it_is_over():
    """And not again at every look between."""
    bad = [finding(Severity.ALARM)]
    assert looks((0, bad), (10, bad), (1439, bad), (1440, bad), (1450, bad), (1460, []), (1470, [])) == [
        [FINDING_BEGUN], [], [], [FINDING_STILL], [], [], [FINDING_ENDED],
    ]  # fmt: skip


def test_a_warning_must_last_and_one_that_passes_is_told_to_nobody():
    """Between a backup and its proof there is one every night."""
    bad = [finding()]
    assert looks((0, bad), (60, bad), (70, []), (80, []), (90, bad)) == [[], [], [], [], []]
    assert looks((0, bad), (119, bad), (120, bad), (2000, bad)) == [[], [], [FINDING_BEGUN], []]


def test_what_gets_worse_is_told_again():
    """A warning that was told becomes an alarm."""
    assert looks((0, [finding()]), (120, [finding()]), (130, [finding(Severity.ALARM)])) == [
        [], [FINDING_BEGUN], [FINDING_WORSE],
    ]  # fmt: skip


def test_one_look_without_it_is_no_end():
    """A reading that failed once is not good news."""
    bad = [finding(Severity.ALARM)]
    assert looks((0, bad), (10, []), (20, bad), (30, [])) == [[FINDING_BEGUN], [], [], []]


def test_an_alarm_that_lasts_three_days_is_told_to_everybody_who_runs_the_box():
    """Whatever they chose."""
    known = {}
    told = {}
    for day in range(5):
        changes, known = look(known, [finding(Severity.ALARM)], NOON + day * DAY)
        told[day] = [(each.code, each.escalates) for each in changes]
    assert told[1] == [(FINDING_STILL, False)]
    assert told[3] == [(FINDING_STILL, True)]


def test_two_copies_that_are_late_are_two_findings_and_figures_make_none_new():
    """The key is the code and what it is about."""
    first, second = finding(target=1, age=3), finding(target=2, age=3)
    assert key_of(first) != key_of(second)
    assert key_of(first) == key_of(finding(target=1, age=4))
    assert looks((0, [finding(Severity.NOTICE)]), (600, [finding(Severity.NOTICE)])) == [[], []]
    due = finding(Severity.NOTICE, "people.review-due")
    assert looks((0, [due]), (120, [due])) == [[], [FINDING_BEGUN]]
    _, after = look({}, [first], NOON)
    assert after == {key_of(first): Known(first, NOON, None)}


# --- addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "jsons://example.org/hook",
        "json://127.0.0.1:8080/x",
        "json://192.168.1.5/x",
        "ntfys://ntfy.example.org/topic?priority=high",
        "gotifys://host/token",
        "tgram://123456789:abcdefg/12315544/",
        "freemobile://user@password",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?to=#general",
        "jsons://example.org/hook?+X-Token=abc&method=PUT",
    ],
)
def test_these_services_may_be_used(url):
    """The list is closed; what is in it works."""
    assert check_service(url) is SERVICES[url.partition("://")[0]]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "file:///etc/passwd",
        "exec://id",
        "apprise://example.org/x",
        "mailto://a:b@example.org",
        "mailtos://a:b@example.org?pgppub=/etc/passwd",
        "syslog://",
        "dbus://",
        "gnome://",
        "macosx://",
        "windows://",
        "json://example.org/",  # in clear, outside
        "json://203.0.113.9/",
        "json://0.0.0.0/",
        "json://u@evil.example@10.0.0.1/",  # we would read 10.0.0.1, Apprise evil.example
        "jsons://u@evil.example@host.example/",
        "json://evil.example\\@10.0.0.1/",
        "json://[fd00::1]/",  # Apprise makes «[fd00::]» of it
        "jsons://[2001:db8::1]/",
        "jsons://example.org/?verify=no",
        "jsons://example.org/?redirect=yes",
        "jsons://example.org/?attach=/etc/passwd",
        "slack://a/b/c?template=/etc/passwd",
        "slack://a/b/c?TEMPLATE=/etc/passwd",
        # Apprise reads on behind «#», and splits at «;» too
        "slack://a/b/c/#x?template=/etc/passwd",
        "tgram://123456789:abcdefg/#a?template=/etc/passwd",
        "discord://a/b/?to=x;template=/etc/passwd",
        "discord://a/b/?to=x#&template=/etc/passwd",
        "discord://a/b/?to=x?&template=/etc/passwd",
        "discord://a/b/?to=x&%74emplate=/etc/passwd",
        "discord://a/b/?to=x&%0Atemplate=/etc/passwd",
        "discord://a/b/?to=x&+%0Atemplate=/etc/passwd",
        "ntfys://example.org/t?to=x;attach=http://10.0.0.1/",
        "synologys://example.org/t#?file_url=http://10.0.0.1/",
        "jsons://exa mple.org/",
        "jsons://example.org/\nx",
        "jsons://[::1/",
        "JSON://203.0.113.9/",
        "jsons://" + "a" * 2000,
    ],
)
def test_no_other_address_may_be_used(url):
    """No program, no file, no log of the system, no line in clear, no certificate unlooked at."""
    with pytest.raises(InvalidInput):
        check_service(url)


def test_no_service_of_the_list_reads_a_file_by_its_address():
    """Each module that opens files names «template» or attachments: neither may be asked for."""
    assert not notice_ways._QUERY & {
        "template",
        "attach",
        "attachment",
        "verify",
        "pgppub",
        "store",
    }
    assert set(SERVICES) & {"mailto", "mailtos", "fcm", "vapid", "syslog", "dbus"} == set()


def server(**given):
    usual = {
        "server": "smtp.example.org",
        "port": "587",
        "security": "starttls",
        "sender": "a@b.fr",
    }
    return check_server(**{**usual, **given})


def test_a_server_is_what_was_typed():
    """And nothing goes in clear but to an address in figures nearby, without a password."""
    assert server(user=" box ").user == "box"
    assert server(security="none", server="192.168.1.2", port="25").security is Security.NONE


@pytest.mark.parametrize(
    "given",
    [
        {"server": ""}, {"server": "a b"}, {"server": "a/b"}, {"server": "smtp..org"},
        {"port": "0"}, {"port": "65536"}, {"port": "x"}, {"port": "²"}, {"port": ""},
        {"security": "ssl"},
        {"security": "none"},
        {"security": "none", "server": "203.0.113.4"},
        {"security": "none", "server": "192.168.1.2", "user": "box"},
        {"sender": "nobody"}, {"sender": "a@b\nBcc: c@d"}, {"user": "a\nb"},
    ],
)  # fmt: skip
def test_a_server_that_is_none_is_refused(given):
    """Each with the field that is wrong."""
    with pytest.raises(InvalidInput):
        server(**given)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a@",
        "@b",
        "a b@c",
        "a@b c",
        "a@b\n",
        "é@b.fr",
        "x" * 250 + "@b.fr",
        "a,b@c.fr",
        "<a@b.fr>",
    ],
)
def test_what_is_no_e_mail_address_is_refused(text):
    """One address, without a name beside it."""
    if text == "a@b\n":
        assert check_email(text) == "a@b"
        return
    with pytest.raises(InvalidInput):
        check_email(text)


def test_addresses_of_the_box_and_of_a_monitor():
    """HTTPS, or the practice's own network in figures for the monitor."""
    assert check_base_url(" https://box.example:8443/ ") == "https://box.example:8443"
    assert check_base_url("") == ""
    for wrong in (
        "http://box",
        "https://",
        "https://a/b",
        "https://u@a",
        "https://a?x",
        "https://a:x",
        "javascript:1",
    ):
        with pytest.raises(InvalidInput):
            check_base_url(wrong)
    assert check_ping("https://hc.example/ping/1") == "https://hc.example/ping/1"
    assert check_ping("http://192.168.1.9/x") == "http://192.168.1.9/x"
    for wrong in (
        "http://hc.example/x",
        "ftp://a",
        "https://",
        "https://a b",
        "file:///etc/passwd",
        "https://[::1",
    ):
        with pytest.raises(InvalidInput):
            check_ping(wrong)


def test_rules_come_back_as_they_were_stored_and_a_broken_one_is_as_built():
    """What cannot be read takes no notice away."""
    rules = check_rules(
        quiet_from="22:30", quiet_until="06:45", digest_days="1", digest_at="09:00",
        base_url="https://box",
    )  # fmt: skip
    assert Rules.of(rules.stored()) == rules
    assert Rules.of({"quiet_from": "x", "digest_days": 12, "base_url": 4}) == Rules()
    for wrong in ({"quiet_from": "24:00"}, {"digest_days": "2"}, {"digest_at": "9"}):
        usual = {
            "quiet_from": "22:30",
            "quiet_until": "06:45",
            "digest_days": "1",
            "digest_at": "09:00",
            "base_url": "",
        }
        with pytest.raises(InvalidInput):
            check_rules(**{**usual, **wrong})
