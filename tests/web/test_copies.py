"""The pages of the copies: what each says, who may see and do what, and that hostile names are only names."""

import re
import time
from datetime import timedelta

import pytest

from appliance.clock import utc_now
from appliance.db import secrets, targets
from appliance.errors import NotFound
from appliance.jobs import target_setup
from appliance.jobs.kinds import CheckTarget, PushCopy, TamperCopy, VerifyCopy
from appliance.ledger import proofs
from appliance.model import Outcome, Role
from appliance.policy.hosting import Nature
from appliance.web.pages.copies_host import field_of
from tests.web.copied import DISK_ID, HOST_KEY, add_transfer, attempts, events, row_of, waiting

HOSTILE = "<script>alert(1)</script>\"'&<b>%(x)s"
SFTP = {
    "kind": "sftp",
    "label": "Nouvel hébergeur",
    "host": "sftp.neuf.fr",
    "user": "cabinet",
    "port": "22",
    "nature": "certified-host",
    "distance_km": "300",
}


def shown(page):
    """The words of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).replace("\xa0", " ").split())


# --- the list ----------------------------------------------------------------------------------


def test_without_a_copy_the_page_says_that_a_fire_takes_everything(owner):
    """And offers the assistant."""
    page = owner.get("/copies").text

    assert "a fire or a theft takes them too" in page
    assert 'href="/copies/add"' in page
    assert '<svg class="map' not in page


def test_the_map_shows_every_copy_where_an_owner_declared_it(owner, copied):
    """Each place is a link whose name is the whole truth, for who listens to the page."""
    page = owner.get("/copies").text

    maps = re.findall(r'<svg class="map (\w+)"(.*?)</svg>', page, re.DOTALL)
    assert [name for name, _ in maps] == ["wide", "tall"]
    for _, drawing in maps:
        links = re.findall(r'<a href="([^"]+)"><title>([^<]+)</title>', drawing)
        assert {href for href, _ in links} == {
            "/copies/hebergeur", "/copies/coffre", "/copies/pasteur", "/copies/disque-a",
        }  # fmt: skip
        said = dict(links)["/copies/hebergeur"]
        assert "Certified hosts (HDS)" in said
        assert "Roubaix (FR)" in said
        assert "220" in said
        assert "5 hours ago" in said


def test_a_copy_nobody_declared_lies_outside_the_map_of_places(owner, database, copied):
    """Nothing is sent there, and the page says whose word is missing."""
    with database.write() as connection:
        targets.change(connection, copied.host.id, nature=None)

    page = owner.get("/copies").text

    assert "Not declared: nothing is sent there" in page
    assert "An owner doctor declares it" in page


def test_each_proof_says_what_it_proves_and_how_old_it_is(owner, copied):
    """Beam 3: one badge, one proof, its age."""
    text = shown(owner.get("/copies").text)

    assert "Is everything there? The place lists everything that was sent. 4 hours ago" in text
    assert "Every object came back and was compared since" in text
    assert "Immutable: every attempt to change or delete was refused, with our own key." in text
    assert "Not immutable: this place can be emptied with our key." in text


@pytest.mark.parametrize("kind", ["copy.listing", "copy.read-back", "copy.complete"])
def test_a_failed_proof_takes_the_green_away_and_is_said_first(owner, database, copied, kind):
    """Whatever else is fine."""
    with database.write() as connection:
        proofs.record(
            connection, at=utc_now(), kind=kind, outcome=Outcome.FAILED, figures={},
            target_id=copied.host.id,
        )  # fmt: skip

    page = owner.get("/copies").text

    assert 'class="truth is-bad"' in page
    assert "«Hébergeur Exemple» is not what was sent" in re.search(r"<h1>(.*?)</h1>", page).group(1)
    assert 'class="truth is-bad"' in owner.get("/copies/hebergeur").text


def test_immutable_is_not_shown_when_the_attempts_are_old(owner, database, copied):
    """Yesterday's word about a lock is not today's."""
    assert "cannot be deleted from here" in owner.get("/copies").text
    with database.write() as connection:
        attempts(connection, copied.box, utc_now() - timedelta(hours=51), "refused")

    assert "cannot be deleted from here" not in owner.get("/copies").text


def test_the_rule_of_321_is_said_in_words_with_what_was_found(owner, database, practice, copied):
    """Not a badge: what is there and what is missing."""
    with database.write() as connection:
        target_setup.remove_target(connection, copied.disk.id, person=None, now=utc_now())

    text = shown(owner.get("/copies").text)

    assert "copy in another building: for a fire, a flood, a theft it is so found: yes" in text
    assert "for an attacker with our keys missing found: not yet" in text


def test_a_transfer_is_shown_with_speed_and_estimate_and_polled(owner, database, copied):
    """The fragment the page asks for every second."""
    page = owner.get("/copies").text
    assert "/live/copies?pace=15" in page
    add_transfer(database, copied.bucket, utc_now())

    changed = owner.get("/live/copies?pace=15", headers={"hx-request": "true"})
    for _ in range(2):  # nothing is foretold from fewer than three looks
        time.sleep(0.55)
        owner.get("/live/copies?pace=1", headers={"hx-request": "true"})
    text = shown(owner.get("/live/copies?pace=1", headers={"hx-request": "true"}).text)

    assert changed.headers["hx-refresh"] == "true"
    assert "Sending the copy" in text
    assert "Coffre d’objets" in text
    assert "3.4 GB of about 10 GB" in text
    assert "1.9 MB/s" in text
    assert re.search(r"about \w+ \w+ left", text)
    assert "sending, 1.9 MB/s" in shown(owner.get("/copies").text)


def test_the_task_list_says_which_copy_a_task_is_about(owner, database, copied):
    """«Sending the copy» alone would be one of four."""
    job = add_transfer(database, copied.bucket, utc_now())

    assert "Coffre d’objets" in owner.get("/jobs").text
    assert 'href="/copies/coffre"' in owner.get(f"/jobs/{job}").text


# --- the home page -----------------------------------------------------------------------------


def test_the_home_page_takes_the_tone_of_a_failed_copy(owner, database, practice, copied):
    """Green backups in a building that may burn, with a copy that came back wrong, are not green."""
    with database.write() as connection:
        from appliance.db import sources

        sources.remove(connection, practice.server.id, now=utc_now())
        sources.remove(connection, practice.share.id, now=utc_now())
        target_setup.remove_target(connection, copied.bucket.id, person=None, now=utc_now())
    before = owner.get("/").text
    assert "Sealed, sent and verified: 3 copies besides this box" in before
    assert 'class="truth is-bad"' not in before
    with database.write() as connection:
        proofs.record(
            connection, at=utc_now(), kind="copy.listing", outcome=Outcome.FAILED, figures={},
            target_id=copied.host.id,
        )  # fmt: skip

    page = owner.get("/").text

    assert 'class="truth is-bad"' in page
    assert "The rule of 3-2-1" in page
    assert '<a class="button small" href="/copies/hebergeur">' in page


def test_a_secretary_reads_whether_copies_are_good_and_gets_no_link(client_as, practice, copied):
    """She sees the sentence; the places are not hers."""
    page = client_as(Role.SECRETARY).get("/").text

    assert "Hébergeur Exemple" in page
    assert 'href="/copies' not in page


# --- one copy ----------------------------------------------------------------------------------


def test_a_copy_shows_its_states_its_history_and_what_a_thief_could_do(owner, copied):
    """Figures, attempts in words, the chart's table."""
    page = owner.get("/copies/hebergeur").text
    text = shown(page)

    assert "9 complete states kept there" in text
    assert "delete it it worked" in text
    assert len(re.findall(r"<tr data-at=", page)) == 9
    assert 'data-b="41000000000"' in page
    assert "cabinet@sftp.exemple.fr" in text


def test_every_answer_of_a_bucket_has_its_age_and_a_silent_host_is_not_good(owner, copied):
    """The conformance rows."""
    page = owner.get("/copies/coffre").text
    text = shown(page)

    assert "Does a lock keep objects from being deleted?" in text
    assert "Object Lock is on, in COMPLIANCE mode. asked 9 hours ago" in text
    assert "A lifecycle rule deletes or moves objects (nettoyage)" in text
    row = re.search(r'<li class="(is-\w+)">(?:(?!<li).)*Does the host encrypt too', page, re.DOTALL)
    assert row.group(1) == "is-warn"
    assert "never answered" in text


@pytest.mark.parametrize(
    ("address", "data", "kind", "spec", "event"),
    [
        ("push", {}, PushCopy.kind, {}, "copy.push-ask"),
        ("verify", {}, VerifyCopy.kind, {"full": False}, "copy.verify-ask"),
        ("verify", {"full": "1"}, VerifyCopy.kind, {"full": True}, "copy.verify-ask"),
        ("tamper", {}, TamperCopy.kind, {}, "copy.tamper-ask"),
        ("check", {}, CheckTarget.kind, {}, "target.check-ask"),
    ],
)
def test_a_button_queues_its_task_and_is_in_the_journal(
    owner, database, copied, address, data, kind, spec, event
):
    """Once; a second click finds it waiting."""
    first = owner.post(f"/copies/hebergeur/{address}", data=data)
    second = owner.post(f"/copies/hebergeur/{address}", data=data)

    assert (first.status_code, first.headers["location"]) == (303, "/copies/hebergeur?done=queued")
    assert second.headers["location"] == "/copies/hebergeur?done=waiting"
    assert waiting(database, kind) == [{"target_id": copied.host.id, **spec}]
    assert len(events(database, event)) == 1


def test_the_timetable_is_changed_and_shown_again(owner, database, copied):
    """Consultations keep the line; empty rows are left out."""
    form = {
        "days-0": ["0", "1", "4"], "start-0": "08:00", "end-0": "19:00", "rate-0": "250",
        "days-3": ["6"], "start-3": "00:00", "end-3": "00:00", "rate-3": "",
        "start-2": "10:00",
    }  # fmt: skip

    answer = owner.post("/copies/hebergeur/bandwidth", data=form)

    assert answer.status_code == 303
    assert row_of(database, "hebergeur").bandwidth == [
        {"bytes_s": 250_000, "days": [0, 1, 4], "start": "08:00", "end": "19:00"},
        {"bytes_s": None, "days": [6], "start": "00:00", "end": "00:00"},
    ]
    page = owner.get("/copies/hebergeur").text
    assert re.search(r'name="days-0" value="4" checked', page)
    assert 'name="rate-0" type="number" min="0" value="250"' in page
    assert len(events(database, "target.bandwidth-set")) == 1


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"days-0": "0", "start-0": "8", "end-0": "19:00", "rate-0": "250"}, "Two times"),
        ({"days-0": "0", "start-0": "08:00", "end-0": "19:00", "rate-0": "-1"}, "kilobytes"),
        ({"days-0": "9", "start-0": "08:00", "end-0": "19:00", "rate-0": "1"}, "Monday to Sunday"),
        (
            {"days-0": list("0123456"), "start-0": "00:00", "end-0": "00:00", "rate-0": "0"},
            "some time of the week",
        ),
    ],
)
def test_a_timetable_that_cannot_be_meant_is_shown_again(owner, database, copied, form, said):
    """What was typed stays in the form; nothing is changed."""
    answer = owner.post("/copies/hebergeur/bandwidth", data=form)

    assert answer.status_code == 422
    assert said in answer.text
    assert f'value="{form["start-0"]}"' in answer.text
    assert row_of(database, "hebergeur").bandwidth == []


def test_the_usual_timetable_is_one_click(owner, database, copied):
    """Slow during consultations."""
    owner.post("/copies/hebergeur/bandwidth", data={"usual": "1"})

    assert [one["bytes_s"] for one in row_of(database, "hebergeur").bandwidth] == [250_000, 250_000]


def test_a_copy_is_removed_only_when_its_name_was_typed(owner, database, copied):
    """Its secrets go, its waiting tasks too; what lies there is not touched."""
    owner.post("/copies/coffre/push")
    wrong = owner.post("/copies/coffre/remove", data={"typed": "hebergeur"})
    assert wrong.status_code == 422
    assert row_of(database, "coffre")

    answer = owner.post("/copies/coffre/remove", data={"typed": " coffre d’OBJETS "})

    assert answer.headers["location"] == "/copies"
    with pytest.raises(NotFound):
        row_of(database, "coffre")
    with database.read() as connection:
        assert secrets.find_sealed(connection, f"target:{copied.bucket.id}:s3") is None
    assert waiting(database, PushCopy.kind) == []
    assert owner.get("/copies/coffre").status_code == 404
    assert len(events(database, "target.removed")) == 1


def test_name_and_distance_are_changed(owner, database, copied):
    """What people read; the name of commands stays."""
    owner.post(
        "/copies/hebergeur/change", data={"label": " Hébergeur  du Nord ", "distance_km": "230"}
    )
    assert (row_of(database, "hebergeur").label, row_of(database, "hebergeur").distance_km) == (
        "Hébergeur du Nord",
        230,
    )
    assert owner.post(
        "/copies/hebergeur/change", data={"label": "x", "distance_km": "loin"}
    ).status_code == 422  # fmt: skip


# --- the assistant -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["directory", "box", "sftp", "s3"])
def test_every_kind_has_a_form(owner, kind):
    """And the page of kinds leads to it."""
    assert f'href="/copies/add?kind={kind}"' in owner.get("/copies/add").text
    assert f'name="kind" value="{kind}"' in owner.get(f"/copies/add?kind={kind}").text


def test_an_unknown_kind_asks_which_one(owner):
    """Nobody is lost by a wrong address."""
    assert "Where shall another copy lie?" in owner.get("/copies/add?kind=tape").text
    assert owner.post("/copies/add", data={"kind": "tape"}).status_code == 404


def test_a_host_is_added_its_password_sealed_and_its_preparation_queued(owner, database, settings):
    """And the assistant goes on at an address one can come back to."""
    from appliance.vault.seal import make_keys

    make_keys(settings.keys)
    answer = owner.post("/copies/add", data={**SFTP, "password": "Tres-secret-9"})

    assert answer.headers["location"] == "/copies/nouvel-hebergeur/set-up"
    row = row_of(database, "nouvel-hebergeur")
    assert (row.nature, row.distance_km, row.place["host"]) == (
        "certified-host",
        300,
        "sftp.neuf.fr",
    )
    with database.read() as connection:
        sealed = secrets.find_sealed(connection, f"target:{row.id}:password")
    assert sealed is not None
    assert b"Tres-secret-9" not in sealed
    assert waiting(database, "target.set-up") == [{"target_id": row.id}]
    assert len(events(database, "target.nature-declared")) == 1
    assert "Tres-secret-9" not in owner.get("/copies/nouvel-hebergeur/set-up").text


def test_a_secret_is_never_written_back_into_the_form(owner, database):
    """Nor into the fragment that judges while one types."""
    form = {
        "kind": "s3", "label": "", "endpoint": "https://s3.exemple.fr", "region": "fr-par",
        "bucket": "b", "access_key": "CLE-ACCES", "secret_key": "CLE-SECRETE",
    }  # fmt: skip
    answer = owner.post("/copies/add", data=form)

    assert answer.status_code == 422
    assert "https://s3.exemple.fr" in answer.text
    assert "CLE-" not in answer.text
    assert "CLE-" not in owner.post("/live/copies/add", data=form).text


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("sftp", {"host": ""}, "without spaces"),
        ("sftp", {"host": "a b"}, "name or address"),
        ("sftp", {"port": "70000"}, "from 1 to 65535"),
        ("sftp", {"nature": "other"}, "encryption does not change that"),
        ("sftp", {"label": "x"}, "2 to 100"),
        ("sftp", {"label": "Add"}, "choose another"),
        ("sftp", {"distance_km": "99999"}, "Kilometres"),
        ("s3", {"endpoint": "http://dehors.example"}, "https://"),
        ("s3", {"region": "us-east-1"}, "outside the European Economic Area"),
        ("s3", {"region": "chez-nous", "country": "ch"}, "outside the European Economic Area"),
        ("s3", {"region": "chez-nous", "country": "France"}, "two letters"),
        ("s3", {"secret_key": ""}, "two keys"),
        ("directory", {"disk_id": "abc"}, "number on the disk"),
        ("directory", {"expires_on": "demain"}, "A day"),
        ("box", {"sender": ""}, "other box gave"),
    ],
)
def test_what_cannot_be_meant_is_said_at_its_field(owner, database, kind, changes, said):
    """And nothing is stored."""
    good = {
        "sftp": SFTP,
        "s3": {
            "kind": "s3", "label": "Coffre", "endpoint": "https://s3.exemple.fr", "region": "fr-par",
            "bucket": "b", "lock_mode": "COMPLIANCE", "lock_days": "30", "access_key": "a",
            "secret_key": "b",
        },
        "directory": {"kind": "directory", "label": "Disque B", "disk_id": DISK_ID},
        "box": {"kind": "box", "label": "Pasteur", "host": "10.0.0.2", "port": "2222", "sender": "a"},
    }[kind]  # fmt: skip

    answer = owner.post("/copies/add", data={**good, **changes})

    assert answer.status_code == 422
    assert said in re.search(r'class="problem" id="[^"]+">(.*)', answer.text).group(1)
    with database.read() as connection:
        assert targets.all_living(connection) == []


def test_while_one_types_good_and_bad_are_said_and_empty_fields_are_not(owner):
    """htmx asks for it; without it the next page says the same."""
    page = owner.post(
        "/live/copies/add",
        data={"kind": "s3", "label": "Coffre", "endpoint": "ftp://x", "region": "fr-par", "bucket": "b"},
    ).text  # fmt: skip
    assert "begins with https://" in page
    assert "«fr-par» lies in the European Economic Area (FR)" in page

    page = owner.post("/live/copies/add", data={"kind": "s3", "label": "Coffre"}).text
    assert "is-bad" not in page
    page = owner.post("/live/copies/add", data={**SFTP, "distance_km": "0"}).text
    assert "one fire or flood may reach both" in page
    assert "looks right" in page


def test_a_disk_is_a_copy_only_once(owner, copied):
    """Two copies on one disk are one."""
    form = {"kind": "directory", "label": "Disque B", "disk_id": DISK_ID.upper()}
    assert "This disk is a copy already." in owner.post("/copies/add", data=form).text


def test_the_assistant_shows_the_key_then_asks_for_the_identity(owner, database, copied):
    """Nothing is pinned by looking; what is confirmed is exactly what was shown."""
    with database.write() as connection:
        target_setup.change_target(
            connection, None, copied.host.id,
            place={**copied.host.place, "host_key": ""}, person=None, now=utc_now(),
        )  # fmt: skip
        targets.set_facts(
            connection, copied.host.id,
            {"public_key": "ssh-ed25519 AAAAB3 armoire-1", "offered_host_key": {"host_key": HOST_KEY}},
        )  # fmt: skip
    page = owner.get("/copies/hebergeur/set-up").text
    assert "ssh-ed25519 AAAAB3 armoire-1" in page
    assert "SHA256:" in page

    other = owner.post("/copies/hebergeur/host-key", data={"key": "ssh-ed25519 AAAA"})
    assert other.status_code == 422
    assert row_of(database, "hebergeur").place["host_key"] == ""

    answer = owner.post("/copies/hebergeur/host-key", data={"key": HOST_KEY})

    assert answer.headers["location"] == "/copies/hebergeur/set-up"
    assert row_of(database, "hebergeur").place["host_key"] == HOST_KEY
    assert waiting(database, CheckTarget.kind) == [{"target_id": copied.host.id}]
    assert len(events(database, "target.host-key-confirmed")) == 1


def test_another_identity_than_the_confirmed_one_is_an_alarm(owner, database, copied):
    """Somebody may be in between."""
    other = HOST_KEY[:-4] + "AAAA"
    with database.write() as connection:
        targets.set_facts(connection, copied.host.id, {"offered_host_key": {"host_key": other}})

    assert "confirm nothing" in owner.get("/copies/hebergeur/set-up").text


def test_the_assistant_shows_what_the_test_found(owner, database, copied):
    """Line by line, in words."""
    results = [
        {"check": "write", "outcome": "ok", "text": "The place lists everything that was sent.", "facts": {}},
        {"check": "room", "outcome": "failed", "text": HOSTILE, "facts": {"x": HOSTILE}},
    ]  # fmt: skip
    with database.write() as connection:
        targets.set_facts(connection, copied.host.id, {"check": {"results": results}})

    page = owner.get("/copies/hebergeur/set-up").text

    assert "The place lists everything that was sent." in page
    assert "<script>alert" not in page


def test_the_assistant_reloads_when_work_begins(owner, copied):
    """Its pace is another one then."""
    owner.post("/copies/hebergeur/try", data={"what": "check"})

    answer = owner.get("/live/copies/hebergeur/set-up?pace=3")
    assert answer.headers["hx-refresh"] == "true"
    assert "under way" in owner.get("/live/copies/hebergeur/set-up?pace=1").text


# --- the dossier -------------------------------------------------------------------------------


def _form_of(page):
    """What a browser would send of the first form with fields."""
    form = re.search(r'<form method="post" action="/copies/\w+/host">(.*?)</form>', page, re.DOTALL)
    text = form.group(1)
    data: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", text):
        name = re.search(r'name="([^"]+)"', tag)
        value = re.search(r'value="([^"]*)"', tag)
        if not name or (re.search(r'type="(checkbox|radio)"', tag) and " checked" not in tag):
            continue
        data.setdefault(name[1], []).append(value[1] if value else "on")
    for name, inner in re.findall(
        r'<select id="[^"]+" name="([^"]+)"[^>]*>(.*?)</select>', text, re.DOTALL
    ):
        chosen = re.search(r'value="([^"]*)" selected', inner)
        data[name] = [chosen[1] if chosen else ""]
    for name, inner in re.findall(
        r'<textarea id="[^"]+" name="([^"]+)"[^>]*>(.*?)</textarea>', text, re.DOTALL
    ):
        data[name] = [inner]
    return data


def test_a_complete_dossier_says_yes_in_words(owner, copied):
    """Fourteen points found, nothing remains."""
    text = shown(owner.get("/copies/hebergeur/host").text)

    assert "Copies may be sent to this host: its dossier is complete." in text
    assert "14 of 14 points found" in text
    assert "certificate valid" in text


def test_a_dossier_sent_back_as_it_was_shown_is_unchanged(owner, database, copied):
    """Every field of the record goes through the form and back."""
    before = row_of(database, "hebergeur").dossier

    answer = owner.post(
        "/copies/hebergeur/host", data=_form_of(owner.get("/copies/hebergeur/host").text)
    )

    assert answer.status_code == 303
    assert row_of(database, "hebergeur").dossier == before
    assert len(events(database, "target.dossier-changed")) == 2  # those of the preparation


def test_a_certificate_that_ended_stops_new_copies_and_says_how_to_change_host(
    owner, database, copied
):
    """HDS-03: nothing deleted, red, the steps open."""
    form = _form_of(owner.get("/copies/hebergeur/host").text)
    ended = utc_now().date() - timedelta(days=1)
    owner.post(
        "/copies/hebergeur/host",
        data={**form, "issued_on": (ended - timedelta(days=900)).isoformat(), "expires_on": ended.isoformat()},
    )  # fmt: skip

    page = owner.get("/copies/hebergeur/host").text

    assert 'class="truth is-bad"' in page
    assert "certificate expired" in page
    assert '<details class="card" open>' in page
    assert "nothing is deleted" in shown(page)
    assert 'class="truth is-bad"' in owner.get("/copies/hebergeur").text


def test_what_cannot_be_meant_is_marked_at_its_row_and_nothing_is_kept(owner, database, copied):
    """The third row of the form is the first that is filled in."""
    form = _form_of(owner.get("/copies/hebergeur/host").text)
    form |= {
        "sites.0.city": "",
        "sites.0.country": "",
        "sites.2.city": "Metz",
        "sites.2.country": "F1",
    }

    answer = owner.post("/copies/hebergeur/host", data=form)

    assert answer.status_code == 422
    assert 'id="sites.2.country-problem"' in answer.text
    assert row_of(database, "hebergeur").dossier["sites"][0]["city"] == "Roubaix"


def test_the_row_of_a_problem_is_found():
    """Empty rows are not sent on, so numbers differ."""
    assert field_of("sites.1.country", {"sites": [0, 3]}) == "sites.3.country"
    assert field_of("contract.4", {"sites": [1]}) == "contract.4"
    assert field_of("siren", {}) == "siren"


def test_a_document_is_kept_with_its_hash_and_comes_back_as_a_download(
    owner, database, settings, copied
):
    """HDS-07; what it holds is foreign, so it is never shown in our name."""
    pdf = b"%PDF-1.7\n" + b"x" * 1000
    answer = owner.post(
        "/copies/hebergeur/host/papers", data={"kind": "contract"}, files={"file": ("../../c.pdf", pdf)}
    )  # fmt: skip

    assert answer.status_code == 303
    kept = row_of(database, "hebergeur").dossier["documents"][-1]
    assert kept["kind"] == "contract"
    back = owner.get(f"/copies/hebergeur/host/papers/{kept['sha256']}")
    assert back.content == pdf
    assert back.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in back.headers["content-security-policy"]
    assert [path.name for path in (settings.data / "dossiers").iterdir()] == [kept["sha256"]]
    assert owner.get("/copies/pasteur/host/papers/" + kept["sha256"]).status_code == 404


@pytest.mark.parametrize("content", [b"", b"<html>", b"MZ"])
def test_what_is_no_paper_is_refused(owner, settings, copied, content):
    """Nothing is written."""
    answer = owner.post(
        "/copies/hebergeur/host/papers", data={"kind": "contract"}, files={"file": ("c.pdf", content)}
    )  # fmt: skip
    assert answer.status_code == 422
    assert not (settings.data / "dossiers").exists()


@pytest.mark.parametrize("which", ["designation", "reversibility"])
def test_the_letters_are_ready_to_print_in_french(owner, copied, which):
    """The law they quote is; the reader here is English."""
    page = owner.get(f"/copies/hebergeur/host/letters/{which}").text

    assert '<html lang="fr">' in page
    assert "Hébergeur Exemple SAS" in page
    assert "<style" not in page
    assert re.search(r'href="/static/[0-9a-f]{12}/letter\.css"', page)


# --- who ---------------------------------------------------------------------------------------

PAGES = [
    "/copies", "/copies/hebergeur", "/copies/coffre", "/copies/hebergeur/host",
    "/copies/hebergeur/host/letters/designation", "/copies/hebergeur/host/letters/reversibility",
    "/live/copies", "/live/copies/hebergeur",
]  # fmt: skip
CHANGING = ["/copies/add", "/copies/add?kind=sftp", "/copies/hebergeur/set-up", "/live/copies/hebergeur/set-up"]  # fmt: skip
POSTS = {
    "/copies/add": Role.TECHNICAL_ADMIN,
    "/live/copies/add": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/push": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/verify": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/tamper": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/check": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/try": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/host-key": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/bandwidth": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/change": Role.TECHNICAL_ADMIN,
    "/copies/hebergeur/nature": Role.OWNER,
    "/copies/hebergeur/host": Role.OWNER,
    "/copies/hebergeur/host/papers": Role.OWNER,
    "/copies/hebergeur/remove": Role.TECHNICAL_ADMIN,
}  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
def test_who_sees_the_copies(client_as, copied, role):
    """Owner, associate and technical administrator; for the others they are not there."""
    sees = role in {Role.OWNER, Role.ASSOCIATE, Role.TECHNICAL_ADMIN}
    changes = role in {Role.OWNER, Role.TECHNICAL_ADMIN}
    client = client_as(role)
    for page in PAGES:
        assert client.get(page).status_code == (200 if sees else 404), page
    for page in CHANGING:
        assert client.get(page).status_code == (200 if changes else 403), page
    assert ('href="/copies"' in client.get("/").text) is sees


@pytest.mark.parametrize("role", list(Role))
def test_who_may_change_what(client_as, database, copied, role):
    """A declaration and a dossier bind the practice: an owner doctor's only (HDS-01)."""
    client = client_as(role)
    for address, least in POSTS.items():
        status = client.post(address, data={}).status_code
        if role in {Role.OWNER, least}:
            assert status not in {403, 404} or address.endswith("/add"), address
        else:
            assert status == 403, address


def test_another_sites_page_changes_no_copy(owner, database, copied):
    """Every POST is refused when another site's page asks for it."""
    owner.headers["sec-fetch-site"] = "cross-site"

    for address in POSTS:
        assert owner.post(address, data={"typed": "hebergeur"}).status_code == 403, address
    assert waiting(database, PushCopy.kind) == []
    assert row_of(database, "hebergeur")


def test_a_technical_administrator_adds_a_place_but_declares_nothing(client_as, database, settings):
    """The nature in a form they forged is not read."""
    from appliance.vault.seal import make_keys

    make_keys(settings.keys)
    client = client_as(Role.TECHNICAL_ADMIN)
    assert 'name="nature"' not in client.get("/copies/add?kind=sftp").text

    client.post("/copies/add", data={**SFTP, "nature": "same-practice-here"})

    assert row_of(database, "nouvel-hebergeur").nature is None
    page = client.get("/copies/nouvel-hebergeur/set-up").text
    assert "An owner doctor declares what this place is" in page
    assert "/nature" not in page


def test_an_owner_declares_and_the_journal_names_who_did(owner, database, copied, person_of):
    """HDS-01."""
    with database.write() as connection:
        targets.change(connection, copied.box.id, nature=None)

    owner.post("/copies/pasteur/nature", data={"nature": "same-practice-elsewhere"})

    assert row_of(database, "pasteur").nature == Nature.SAME_PRACTICE_ELSEWHERE
    declared = events(database, "target.nature-declared")[-1]
    assert declared.actor == f"person:{person_of(Role.OWNER).id}"
    assert owner.post("/copies/pasteur/nature", data={"nature": "cloud"}).status_code == 422


# --- the API -----------------------------------------------------------------------------------


def test_the_api_tells_the_same_truth_typed(owner, database, copied):
    """For programs; no address, key or dossier is in it."""
    add_transfer(database, copied.bucket, utc_now())

    answer = owner.get("/api/v1/copies")

    body = answer.json()
    assert [one["name"] for one in body["copies"]] == ["pasteur", "coffre", "disque-a", "hebergeur"]
    host = owner.get(f"/api/v1/copies/{copied.host.id}").json()
    listed = next(one for one in body["copies"] if one["name"] == "hebergeur")
    assert {**host, "lag_s": 0} == {**listed, "lag_s": 0}
    assert 18_000 <= host["lag_s"] < 18_600
    assert (host["level"], host["is_green"], host["generations"]) == ("proven", True, 9)
    assert [one["kind"] for one in host["proofs"]] == [
        "copy.listing", "copy.read-back", "copy.complete", "copy.tamper",
    ]  # fmt: skip
    bucket = owner.get(f"/api/v1/copies/{copied.bucket.id}").json()
    assert bucket["transfer"]["done"] == 3_400_000_000
    assert body["rule"]["has_offline"] is True
    for secret in ("sftp.exemple.fr", DISK_ID, "HDS-4242", HOST_KEY):
        assert secret not in answer.text
    states = owner.get(f"/api/v1/copies/{copied.host.id}/generations").json()
    assert [one["number"] for one in states] == list(range(9, 0, -1))


def test_the_api_queues_once_and_says_what_it_queued(owner, database, copied):
    """409 for the second; 404 for what is not there."""
    first = owner.post(f"/api/v1/copies/{copied.host.id}/push")
    assert (first.status_code, first.json()["kind"]) == (202, "copy.push")
    assert owner.post(f"/api/v1/copies/{copied.host.id}/push").status_code == 409
    full = owner.post(f"/api/v1/copies/{copied.host.id}/verify?full=true")
    assert full.status_code == 202
    assert waiting(database, VerifyCopy.kind) == [{"target_id": copied.host.id, "full": True}]
    for address in ("", "/generations"):
        assert owner.get(f"/api/v1/copies/99{address}").status_code == 404
    assert owner.post("/api/v1/copies/99/push").status_code == 404


@pytest.mark.parametrize("role", list(Role))
def test_the_api_asks_for_the_same_rights(client_as, copied, role):
    """As the pages."""
    sees = role in {Role.OWNER, Role.ASSOCIATE, Role.TECHNICAL_ADMIN}
    client = client_as(role)

    assert client.get("/api/v1/copies").status_code == (200 if sees else 404)
    changes = role in {Role.OWNER, Role.TECHNICAL_ADMIN}
    address = f"/api/v1/copies/{copied.host.id}/push"
    assert client.post(address).status_code == (202 if changes else 403)


def test_the_api_is_described(owner):
    """Types are in the OpenAPI document."""
    described = owner.get("/api/v1/openapi.json").json()

    assert "CopyBody" in described["components"]["schemas"]
    assert "/api/v1/copies/{target_id}/push" in described["paths"]


# --- names -------------------------------------------------------------------------------------


def test_hostile_names_are_only_names(owner, database, copied):
    """On every page, the map's labels and the host's facts included."""
    with database.write() as connection:
        for row in (copied.host, copied.bucket):
            targets.change(connection, row.id, label=HOSTILE)
        stored = targets.get(connection, copied.host.id).dossier
        targets.change(
            connection, copied.host.id,
            dossier={**stored, "company": HOSTILE, "sites": [{"city": HOSTILE, "country": "FR"}]},
        )  # fmt: skip
        targets.set_facts(
            connection, copied.bucket.id,
            {
                "bucket": {"answers": [{"name": HOSTILE, "state": HOSTILE, "text": HOSTILE, "facts": {"x": HOSTILE}}]},
                "tamper": {"attempts": [{"action": HOSTILE, "outcome": HOSTILE, "detail": HOSTILE}]},
            },
        )  # fmt: skip
    add_transfer(database, copied.bucket, utc_now())

    for page in [*PAGES, *CHANGING, "/", "/jobs"]:
        text = owner.get(page).text
        assert "<script>alert" not in text, page
        assert "<b>" not in text, page


def test_facts_of_another_version_are_passed_over(owner, database, copied):
    """A page is shown rather than failing."""
    with database.write() as connection:
        targets.set_facts(
            connection, copied.bucket.id,
            {"bucket": ["x"], "tamper": {"attempts": "x"}, "check": 3, "offered_host_key": "x", "public_key": 4},
        )  # fmt: skip
        targets.change(
            connection, copied.host.id, place={"x": 1}, dossier={"x": 1}, bandwidth=[{}], nature="x"
        )

    for page in ["/", "/copies", "/copies/coffre", "/copies/coffre/set-up", "/copies/hebergeur",
                 "/copies/hebergeur/host", "/copies/hebergeur/set-up"]:  # fmt: skip
        assert owner.get(page).status_code == 200, page


@pytest.mark.parametrize("page", ["/copies", "/copies/hebergeur", "/copies/coffre", "/copies/add?kind=s3",
                                  "/copies/hebergeur/set-up", "/copies/hebergeur/host"])  # fmt: skip
def test_every_page_speaks_french(client_as, database, copied, page):
    """No English sentence in the middle of it."""
    from sqlalchemy import update

    from appliance.db.schema import person

    client = client_as(Role.OWNER)
    with database.write() as connection:
        connection.execute(update(person).values(language="fr"))

    text = shown(client.get(page).text)

    for english in (" the ", " of ", " and ", " is ", " to "):
        assert english not in text, (english, text[max(0, text.find(english) - 60) :][:140])
