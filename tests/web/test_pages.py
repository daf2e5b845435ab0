"""The pages, on a small practice with twelve nights behind it."""

import re
from datetime import timedelta

import pytest

from appliance.clock import utc_now
from appliance.db import anomalies, snapshots, sources, workers
from appliance.jobs import queue
from appliance.jobs.kinds import KINDS, CheckMachine
from appliance.ledger import chain, proofs
from appliance.model import JobState, Keep, Outcome, Role, SourceKind
from appliance.packed import pack_path
from appliance.web.pages.search import marked
from appliance.web.pages.set_up import fingerprint
from appliance.web.plan_wish import parse_excludes
from appliance.web.source_new import slug
from tests.web.practice import GONE, LETTER, add_running_job


def events(database, name):
    with database.read() as connection:
        return [one for one in chain.entries(connection) if one.event == name]


def waiting(database):
    with database.read() as connection:
        return [job.kind for job in queue.waiting(connection) if job.state is JobState.QUEUED]


# --- the home page ---------------------------------------------------------------------------


def test_the_home_page_says_the_worst_thing_first_and_what_to_do(owner, practice):
    """A server switched off for four nights is on top, with the button that mends it."""
    page = owner.get("/").text

    title = re.search(r"<h1>(.*?)</h1>", page).group(1)
    assert "Serveur du logiciel médical" in title
    assert "4 days" in title
    assert 'class="truth is-bad"' in page
    assert f'action="/sources/{practice.server.id}/back-up"' in page


def test_every_night_of_the_calendar_is_a_word_not_only_a_colour(owner, practice):
    """Thirty squares a source, each with its day and what became of it."""
    page = owner.get("/").text

    cells = re.findall(r'<li class="is-\w+" title="([^"]+)">', page)
    assert len(cells) == 3 * 30
    assert all(" : " in one for one in cells)
    assert any("backed up and proven" in one for one in cells)


def test_without_a_proof_nothing_is_green(owner, database, practice):
    """A failed proof of the newest snapshot takes the green away, whatever else is fine."""
    with database.write() as connection:
        proofs.record(
            connection,
            at=utc_now(),
            kind="snapshot.sample",
            outcome=Outcome.FAILED,
            figures={"mismatches": 1},
            source_id=practice.machine.id,
            snapshot_id=practice.snapshots[practice.machine.id][-1],
        )

    assert 'class="truth is-bad"' in owner.get(f"/sources/{practice.machine.id}").text


def test_a_silent_worker_is_said_even_when_every_proof_is_good(owner, database, practice):
    """The past is proven, but nothing is being done for the next night."""
    with database.write() as connection:
        workers.beat(connection, "tests:1", now=utc_now())
        sources.remove(connection, practice.server.id, now=utc_now())
        sources.remove(connection, practice.share.id, now=utc_now())
    assert 'class="truth is-good"' in owner.get("/").text
    with database.write() as connection:
        workers.leave(connection, "tests:1")

    page = owner.get("/").text

    assert 'class="truth is-good"' not in page
    assert "is not running" in page


def test_an_empty_box_says_where_to_begin(owner):
    """No source: the assistant is one click away."""
    page = owner.get("/").text

    assert "add a first machine or share" in page
    assert 'href="/sources/new"' in page


@pytest.mark.parametrize("role", list(Role))
def test_every_role_gets_the_pages_of_its_links(client_as, practice, role):
    """No link of the bar leads to a page that is not there for this person."""
    client = client_as(role)
    page = client.get("/", follow_redirects=True)
    assert page.status_code == 200
    links = re.findall(r'<li><a href="(/[^"]*)"', page.text.split("</nav>")[0])
    assert links
    for link in links:
        assert client.get(link).status_code == 200, link


@pytest.mark.parametrize("role", [Role.SECRETARY, Role.TECHNICAL_ADMIN, Role.LOCUM])
def test_no_page_shows_these_roles_the_name_of_a_document(client_as, practice, role):
    """A file's name is a patient's datum (SEC-03)."""
    client = client_as(role)
    newest = practice.snapshots[practice.machine.id][-1]
    for path in (
        f"/sources/{practice.machine.id}",
        f"/snapshots/{newest}",
        f"/snapshots/{practice.snapshots[practice.share.id][-1]}",
        f"/sources/{practice.machine.id}/retention",
        f"/snapshots/{newest}/browse",
        f"/snapshots/{newest}/file?p={pack_path(LETTER)}",
        f"/sources/{practice.machine.id}/history?p={pack_path(LETTER)}",
        f"/sources/{practice.machine.id}/compare",
        "/search?q=dupont",
        f"/api/v1/snapshots/{newest}/folder",
        "/api/v1/search?q=dupont",
    ):
        answer = client.get(path)
        for name in ("Dupont", "Courrier", "verrou.tmp"):
            assert name not in answer.text, path


# --- sources -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "status", "queued"),
    [
        (Role.OWNER, 303, ["snapshot.take"]),
        (Role.TECHNICAL_ADMIN, 303, ["snapshot.take"]),
        (Role.SECRETARY, 403, []),
        (Role.LOCUM, 403, []),
    ],
)
def test_only_who_may_starts_a_backup(client_as, practice, database, role, status, queued):
    """The click is refused before anything is queued."""
    answer = client_as(role).post(f"/sources/{practice.machine.id}/back-up")

    assert answer.status_code == status
    assert waiting(database) == queued
    assert len(events(database, "backup.ask")) == len(queued)


def test_asking_twice_for_the_same_backup_queues_one(owner, practice, database):
    """The second click says that it waits already."""
    for _ in range(2):
        answer = owner.post(f"/sources/{practice.machine.id}/back-up")

    assert answer.headers["location"].endswith("done=waiting")
    assert waiting(database) == ["snapshot.take"]


def test_a_source_page_tells_plan_proofs_sizes_and_warnings_in_words(owner, practice):
    """Figures have units, warnings are sentences."""
    page = owner.get(f"/sources/{practice.share.id}").text

    assert "20:00 – 06:00" in page
    assert "sample restored and compared: proven" in page
    assert "could not be read" in page
    assert "because what did not change is kept once" in page
    assert page.count("<tr data-at=") == 12


def test_an_alarm_is_closed_with_a_reason_that_the_ledger_keeps(owner, practice, database):
    """Without a reason nothing happens; the last alarm closed lets pruning run again."""
    source = practice.machine
    reading = {"value": 0.3, "usual": 0.01, "threshold": 0.25}
    with database.write() as connection:
        number = anomalies.add(
            connection,
            source_id=source.id,
            snapshot_id=practice.snapshots[source.id][-1],
            kind="touched",
            reading=reading,
            now=utc_now(),
        )
        sources.freeze(connection, source.id, "anomaly-open", now=utc_now())
    page = owner.get(f"/sources/{source.id}").text
    assert f"/anomalies/{number}/close" in page
    assert "unplug the machine" in page

    short = owner.post(f"/sources/{source.id}/anomalies/{number}/close", data={"reason": "ok"})
    closed = owner.post(
        f"/sources/{source.id}/anomalies/{number}/close",
        data={"reason": "New version of the practice software"},
    )

    assert short.status_code == 422
    assert closed.status_code == 303
    with database.read() as connection:
        assert anomalies.open_ones(connection, source.id) == []
        assert sources.get(connection, source.id).frozen_at is None
    assert "Nothing is removed" not in owner.get(f"/sources/{source.id}").text
    assert events(database, "anomaly.close")[0].body["reason"].startswith("New version")


def test_the_plan_is_changed_whole_or_not_at_all(owner, practice, database):
    """A wrong number shows the form again and changes nothing."""
    source = practice.machine
    values = {
        "enabled": "on",
        "window_start": "21:30",
        "window_end": "05:00",
        "weekdays": ["1", "2", "3", "4", "5"],
        "within_days": "10",
        "daily": "20",
        "weekly": "4",
        "monthly": "6",
        "yearly": "0",
        "pdma_hours": "26",
        "dmia_hours": "24",
        "verify_data_every_days": "31",
        "label": "Poste accueil",
        "roots": "/home/accueil\n/srv",
        "excludes": "Téléchargements\nsh:**/*.iso",
    }
    wrong = owner.post(f"/sources/{source.id}/plan", data=values | {"daily": "many"})
    assert wrong.status_code == 422
    assert "A whole number" in wrong.text
    with database.read() as connection:
        assert sources.get(connection, source.id).plan == source.plan

    assert owner.post(f"/sources/{source.id}/plan", data=values).status_code == 303
    with database.read() as connection:
        changed = sources.get(connection, source.id)
    assert changed.plan.keep == Keep(10, 20, 4, 6, 0)
    assert changed.plan.weekdays == (1, 2, 3, 4, 5)
    assert changed.plan.wake_on_lan is False
    assert changed.roots == ("/home/accueil", "/srv")
    assert changed.excludes == ("sh:**/Téléchargements", "sh:**/*.iso")
    assert len(events(database, "plan.change")) == 1


def test_a_pattern_that_cannot_be_read_is_refused_before_a_night_meets_it():
    """«re:(» would fail at two in the morning."""
    from appliance.errors import InvalidInput

    with pytest.raises(InvalidInput):
        parse_excludes("re:(")


def test_the_preview_says_which_snapshots_go_and_which_files_with_them(owner, practice, database):
    """A plan that keeps one day loses the file that was deleted before."""
    from dataclasses import replace

    source = practice.machine
    keep = Keep(within_days=0, daily=2, weekly=0, monthly=0, yearly=0)
    with database.write() as connection:
        sources.change(connection, source.id, plan=replace(source.plan, keep=keep))

    page = owner.get(f"/sources/{source.id}/retention").text

    assert "snapshots would go" in page
    assert "ordonnance.pdf" in page
    assert "protected by a person" in page


def test_protecting_a_snapshot_is_written_in_the_ledger(owner, practice, database):
    """And can be ended again."""
    number = practice.snapshots[practice.machine.id][0]
    for on, expected in (("1", True), ("0", False)):
        owner.post(f"/snapshots/{number}/mark", data={"what": "protected", "on": on})
        with database.read() as connection:
            assert snapshots.get(connection, number).protected is expected
    assert len(events(database, "snapshot.mark")) == 2


# --- snapshots as folders -----------------------------------------------------------------------


def test_a_folder_shows_200_lines_and_leads_to_the_rest(owner, practice):
    """450 scans are three pages; sorting begins again at the first."""
    number = practice.snapshots[practice.machine.id][-1]
    folder = pack_path("home/accueil/Numérisations".encode())

    first = owner.get(f"/snapshots/{number}/browse?p={folder}").text
    last = owner.get(f"/snapshots/{number}/browse?p={folder}&at=400").text

    assert first.count('name="p" value=') == 200 + 1  # the rows, and the folder itself
    assert "1 to 200 of 450" in first
    assert last.count('name="p" value=') == 50 + 1
    assert "scan 0449.jpg" in last
    down = owner.get(f"/snapshots/{number}/browse?p={folder}&order=-name").text
    assert down.index("scan 0449.jpg") < down.index("scan 0400.jpg")


def test_a_name_that_is_not_utf_8_is_shown_and_can_be_followed(owner, practice):
    """The path in the address is the bytes, not what is shown."""
    number = practice.snapshots[practice.machine.id][-1]
    page = owner.get(f"/snapshots/{number}/browse?p={pack_path(b'home/accueil')}").text
    packed = re.search(r"history\?p=([\w-]+)", page[page.index("nom \N{REPLACEMENT CHARACTER}") :])

    answer = owner.get(f"/sources/{practice.machine.id}/history?p={packed.group(1)}")

    assert answer.status_code == 200


@pytest.mark.parametrize("p", ["..", "../../etc", "/etc/passwd", "a/../../b", "\0"])
def test_a_path_out_of_the_snapshot_leads_nowhere(owner, practice, p):
    """The catalogue knows its own paths only."""
    number = practice.snapshots[practice.machine.id][-1]
    answer = owner.get(f"/snapshots/{number}/browse?p={pack_path(p.encode())}")

    assert answer.status_code in {200, 404}
    assert "root:" not in answer.text


def test_going_to_another_night_where_the_folder_was_not_goes_to_the_nearest_above(owner, practice):
    """The folder may be newer than the night."""
    first = practice.snapshots[practice.machine.id][0]
    deep = pack_path(b"home/accueil/Patients/nowhere/at/all")

    answer = owner.get(f"/sources/{practice.machine.id}/at?snapshot={first}&p={deep}")

    assert answer.headers["location"].endswith(pack_path(b"home/accueil/Patients"))


def test_files_of_machines_are_found_from_the_documents(client_as, practice):
    """The newest night of each machine, for who may go through them; a share is there by itself."""
    newest = practice.snapshots[practice.machine.id][-1]
    page = client_as(Role.OWNER).get("/disk").text
    assert f'href="/snapshots/{newest}/browse"' in page
    assert f"/snapshots/{practice.snapshots[practice.share.id][-1]}/browse" not in page
    assert "/browse" not in client_as(Role.SECRETARY).get("/disk").text


def test_a_history_shows_every_version_with_its_nights(owner, practice):
    """Eleven nights, the letter changed in each."""
    path = f"/sources/{practice.machine.id}/history?p={pack_path(LETTER)}"
    page = owner.get(path).text

    assert "11 versions" in page
    assert f"/{LETTER.decode()}</p>" in page
    assert "present version" in page
    deleted = owner.get(f"/sources/{practice.machine.id}/history?p={pack_path(GONE)}").text
    assert "deleted since" in deleted


def test_two_snapshots_are_compared_and_filtered(owner, practice):
    """What is gone is said to be gone."""
    ids = practice.snapshots[practice.machine.id]
    here = f"/sources/{practice.machine.id}/compare?a={ids[0]}&b={ids[-1]}"

    page = owner.get(here).text
    gone = owner.get(here + "&only=removed").text

    assert "Agenda.ods" in page
    assert "ordonnance.pdf" in gone
    assert "Agenda.ods" not in gone


# --- search --------------------------------------------------------------------------------------


def test_search_finds_deleted_files_without_accents_and_says_since_when(owner, practice):
    """«elise» finds «Élise»; what is gone is marked so."""
    page = owner.get("/search?q=courrier+mars").text
    deleted = owner.get("/search?q=ordonnance").text

    assert "<mark>Courrier</mark>" in page
    assert "deleted; last seen" in deleted
    assert "<mark>Élise</mark>" in owner.get("/search?q=elise").text


def test_search_as_one_types_is_a_fragment_of_the_same_page(owner, practice):
    """The same rows, without the page around them."""
    fragment = owner.get("/search?q=radio", headers={"hx-request": "true"}).text

    assert fragment.lstrip().startswith('<div id="results"')
    assert "<html" not in fragment
    assert "radio" in fragment


def test_a_name_with_html_in_it_stays_text():
    """A file may be called anything."""
    assert str(marked("<b>Radio</b>.pdf", ("radio",))) == (
        "&lt;b&gt;<mark>Radio</mark>&lt;/b&gt;.pdf"
    )


# --- tasks -----------------------------------------------------------------------------------------


def test_a_running_task_shows_its_progress_and_stops_on_asking(owner, practice, database):
    """The bar, what is being done, the button; then it says that it stops."""
    number = add_running_job(database, practice.share, utc_now())

    page = owner.get(f"/jobs/{number}").text
    assert "<progress" in page
    assert "reading the files" in page
    assert f'hx-get="/live/jobs/{number}?pace=1" hx-trigger="every 1s"' in page
    assert owner.post(f"/jobs/{number}/cancel").status_code == 303

    assert "stopping" in owner.get(f"/live/jobs/{number}").text
    assert len(events(database, "job.cancel")) == 1


def test_an_ended_task_says_why_it_failed_and_is_polled_no_more(owner, practice, database):
    """The words of the error, without a request a second for ever."""
    with database.read() as connection:
        failed = queue.newest(connection, states=[JobState.FAILED])[0]

    page = owner.get(f"/jobs/{failed.id}").text

    assert "The connection to the machine was lost." in page
    assert "hx-get" not in page


def test_every_kind_of_task_has_a_french_title():
    """A secretary reads no English."""
    from appliance.language import translate

    for spec in KINDS.values():
        assert translate(spec.title, "fr") != spec.title


# --- the assistant ------------------------------------------------------------------------------


def test_the_assistant_prepares_shows_the_lines_and_confirms_the_shown_identity_only(
    owner, database
):
    """What a job found is confirmed by a person, never by itself; another key is refused."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE4mUxk0QjZ0y5y2m1K3uVb6D8o0m9v7u5t3s1r0q2wE"
    values = {"kind": "machine", "label": "Poste accueil", "system": "linux", "host": "10.0.0.7"}
    answer = owner.post("/sources/new", data=values)
    assert answer.status_code == 303
    here = answer.headers["location"]
    assert waiting(database) == ["source.set-up", "machine.probe"]
    with database.write() as connection:
        source = sources.all_living(connection)[0]
        probed = {"host_key": key, "fingerprint": fingerprint(key), "at": utc_now().isoformat()}
        public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA armoire-1"
        sources.set_facts(connection, source.id, {"probed": probed, "public_key": public})

    page = owner.get(here).text
    other = owner.post(f"/sources/{source.id}/host-key", data={"key": key[:-1] + "F"})
    same = owner.post(f"/sources/{source.id}/host-key", data={"key": key})

    assert fingerprint(key) in page
    assert "restrict" in page
    assert other.status_code == 422
    assert same.status_code == 303
    with database.read() as connection:
        assert sources.get(connection, source.id).host_key == key
    assert events(database, "machine.confirmed")[0].body["fingerprint"] == fingerprint(key)


def test_each_check_shows_as_it_passes(owner, practice, database):
    """The fragment is polled while the machine is being tried."""
    source = practice.machine
    with database.write() as connection:
        job = queue.enqueue(connection, CheckMachine(source.id), now=utc_now())
        results = [
            {"name": "reachable", "outcome": "ok", "text": "The machine answers.", "facts": {}},
            {"name": "key", "outcome": "failed", "text": "No: %(why)s", "facts": {"why": "x"}},
        ]
        check = {"job": job, "at": utc_now().isoformat(), "ended": False, "results": results}
        sources.set_facts(connection, source.id, {"check": check})

    fragment = owner.get(f"/live/sources/{source.id}/set-up").text

    assert 'hx-trigger="every 1s"' in owner.get(f"/sources/{source.id}/set-up").text
    assert "The machine answers." in fragment
    assert "No: x" in fragment


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": "-oProxyCommand=reboot"}, "host"),
        ({"host": ""}, "host"),
        ({"port": "70000"}, "port"),
        ({"user": "-l root"}, "user"),
        ({"roots": "relative/path"}, "roots"),
        ({"system": "beos"}, "system"),
        ({"label": "!"}, "label"),
    ],
)
def test_what_could_be_read_as_an_option_or_is_nonsense_is_refused(owner, database, change, field):
    """The form comes back, nothing is added."""
    values = {"kind": "machine", "label": "Poste", "system": "linux", "host": "10.0.0.7"} | change
    answer = owner.post("/sources/new", data=values)

    assert answer.status_code == 422
    assert f'id="{field}-problem"' in answer.text
    assert waiting(database) == []


def test_a_share_is_a_folder_that_exists(owner, database, tmp_path):
    """Prepared, then backed up like a machine."""
    folder = tmp_path / "documents"
    folder.mkdir()
    values = {"kind": "share", "label": "Documents communs", "folder": str(folder)}
    assert owner.post("/sources/new", data=values | {"folder": "/no/where"}).status_code == 422
    assert owner.post("/sources/new", data=values).status_code == 303

    with database.read() as connection:
        source = sources.all_living(connection)[0]
    assert (source.kind, source.roots, source.name) == (
        SourceKind.SHARE,
        (str(folder),),
        "documents-communs",
    )
    assert waiting(database) == ["source.set-up"]


def test_what_the_box_itself_keeps_is_no_share(owner, settings, database, tmp_path):
    """Its keys would lie in a snapshot, to be opened like a document; a link leads there too."""
    (tmp_path / "link").symlink_to(settings.data)
    for folder in (settings.data, settings.keys, tmp_path, tmp_path / "link", "/etc", "/x" * 5000):
        values = {"kind": "share", "label": "Documents communs", "folder": str(folder)}
        answer = owner.post("/sources/new", data=values)
        assert answer.status_code == 422, folder
        assert 'id="folder-problem"' in answer.text
    assert waiting(database) == []


def test_a_short_name_is_made_from_what_people_read():
    """Typed in commands: no accents, no spaces."""
    assert slug("Poste d’Élodie (1er étage)") == "poste-d-elodie-1er-etage"


# --- restoring --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "destination", "replace"),
    [
        ({"to": "folder"}, "folder", False),
        ({"to": "machine-beside", "beside": "/home/accueil/Restauré"}, "machine", False),
        ({"to": "machine-original"}, "machine", False),
        ({"to": "machine-original", "replace": "1"}, "machine", True),
    ],
)
def test_a_restore_is_a_task_that_replaces_nothing_without_a_yes(
    owner, practice, database, values, destination, replace
):
    """The default never overwrites."""
    number = practice.snapshots[practice.machine.id][-1]
    data = {"p": [pack_path(LETTER)], "requested_by": "Dr Martin", **values}

    answer = owner.post(f"/snapshots/{number}/restore", data=data)

    assert answer.status_code == 303
    with database.read() as connection:
        job = queue.get(connection, int(answer.headers["location"].rsplit("/", 1)[1]))
    assert job.spec["destination"] == destination
    assert job.spec["replace"] is replace
    assert job.spec["requested_by"] == "Dr Martin"
    assert LETTER.decode() not in str(events(database, "restore.ask"))


@pytest.mark.parametrize(
    "values",
    [
        {"to": "machine-beside", "beside": "../../etc"},
        {"to": "share:99999"},
        {"to": "nowhere"},
        {"to": "folder", "requested_by": ""},
    ],
)
def test_a_restore_to_nowhere_is_refused(owner, practice, database, values):
    """Nothing is queued."""
    number = practice.snapshots[practice.machine.id][-1]
    data = {"p": [pack_path(LETTER)], "requested_by": "Dr Martin"} | values

    assert owner.post(f"/snapshots/{number}/restore", data=data).status_code in {404, 422}
    assert waiting(database) == []


def test_picking_nothing_restores_nothing(owner, practice):
    """A sentence, not a task over everything."""
    number = practice.snapshots[practice.machine.id][-1]

    assert owner.post(f"/snapshots/{number}/picked", data={"do": "restore"}).status_code == 422


# --- the journal ------------------------------------------------------------------------------------


def test_the_journal_names_people_and_says_that_its_chain_is_whole(owner, practice):
    """Who, what, and for how long this is known."""
    page = owner.get("/ledger").text

    assert "The chain is whole" in page
    assert "sample restored and compared : proven" in page
    assert owner.post("/ledger/verify").status_code == 303


def test_an_altered_entry_is_said_at_once(owner, practice, database):
    """The next walk along the chain finds it."""
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE ledger SET actor = 'person:9' WHERE seq = 3")

    owner.post("/ledger/verify")

    assert "altered at entry 3" in owner.get("/ledger").text


def test_the_journal_is_filtered_and_read_page_by_page(owner, practice):
    """Older ones are one click away."""
    page = owner.get("/ledger?only=proof.").text
    assert "signed in" not in page
    assert owner.get("/ledger?at=2").text.count("<tr id=") == 2


# --- the interface for programs ------------------------------------------------------------------------


def test_the_api_is_described_and_says_what_the_pages_say(owner, practice):
    """OpenAPI lists it; the answers are JSON with the same truth."""
    described = owner.get("/api/v1/openapi.json").json()
    assert "/api/v1/sources/{source_id}/snapshots" in described["paths"]
    assert not any(path.startswith("/sources") for path in described["paths"])

    status = owner.get("/api/v1/status").json()
    assert status["level"] == "overdue"
    assert {one["label"] for one in status["sources"]} >= {"Poste accueil"}
    listed = owner.get(f"/api/v1/sources/{practice.machine.id}/snapshots").json()
    assert [one["id"] for one in listed] == list(reversed(practice.snapshots[practice.machine.id]))
    folder = owner.get(f"/api/v1/snapshots/{listed[0]['id']}/folder").json()
    assert folder["name"] == ["home"]
    hits = owner.get("/api/v1/search?q=ordonnance").json()["hits"]
    assert hits[0]["is_present"] is False
    found = owner.get(f"/api/v1/sources/{practice.machine.id}/history?p={hits[0]['path']}").json()
    assert len(found) == 1


def test_the_api_starts_and_stops_a_backup(owner, practice):
    """202, then 409 for the same wish, then cancelled."""
    here = f"/api/v1/sources/{practice.machine.id}/snapshots"
    job = owner.post(here)
    again = owner.post(here)
    stopped = owner.post(f"/api/v1/jobs/{job.json()['id']}/cancel").json()

    assert job.status_code == 202
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "job.already-queued"
    assert stopped["state"] == "cancelled"
    assert owner.get("/api/v1/jobs/999999").status_code == 404
    assert owner.get("/api/v1/ledger?event=job.cancel").json()[0]["event"] == "job.cancel"


def test_the_api_answers_401_without_a_session(anonymous):
    """A program is not sent to a form."""
    assert anonymous.get("/api/v1/status").status_code == 401


# --- all of them ------------------------------------------------------------------------------------------


def test_every_page_says_everything_in_french(client_as, practice, database, person_of):
    """No English sentence is left on any page for a French reader."""
    from appliance.accounts import people

    add_running_job(database, practice.share, utc_now() - timedelta(seconds=5))
    person = person_of(Role.OWNER)
    with database.write() as connection:
        people.set_language(connection, person.id, "fr")
    client = client_as(Role.OWNER)
    machine = practice.machine.id
    newest = practice.snapshots[machine][-1]
    english = re.compile(
        r"\b(the|and|of|with|is|not|snapshot|backup|file|ago|since|back up|days?|hours?)\b"
    )
    for path in (
        "/", "/sources", f"/sources/{machine}", f"/sources/{machine}/plan", "/sources/new",
        f"/sources/{machine}/retention", f"/sources/{machine}/set-up", f"/snapshots/{newest}",
        f"/snapshots/{newest}/browse", f"/sources/{machine}/compare", "/search?q=dupont", "/jobs",
        f"/sources/{machine}/history?p={pack_path(LETTER)}", "/restores", "/ledger", "/account",
        "/nowhere",
    ):  # fmt: skip
        page = client.get(path).text
        text = re.sub(r"<(script|style|head|pre|code|small)\b.*?</\1>", " ", page, flags=re.DOTALL)
        text = re.sub(r"<[^>]+>", " ", text)
        assert not english.findall(text), (path, english.findall(text))


# --- recipes -----------------------------------------------------------------------------------------------


def test_a_recipe_is_chosen_its_secret_sealed_and_the_machine_tried(
    owner, practice, database, settings
):
    """The password is in the vault, sealed; nowhere else."""
    from appliance.db import secrets as vault_rows
    from appliance.vault.seal import make_keys

    make_keys(settings.keys)
    source = practice.machine
    here = f"/sources/{source.id}/recipes"
    page = owner.get(here).text
    assert "PostgreSQL" in page
    values = {"use.postgresql": "on", "postgresql.databases": "cabinet", "postgresql.port": "5432",
              "secret.postgresql": "motdepasse-pg"}  # fmt: skip

    assert owner.post(here, data=values).status_code == 303

    with database.read() as connection:
        changed = sources.get(connection, source.id)
        sealed = vault_rows.find_sealed(connection, f"machine:{source.id}:recipe:postgresql")
    assert [(one.name, one.values) for one in changed.recipes] == [
        ("postgresql", {"databases": "cabinet"})
    ]
    assert sealed is not None
    assert b"motdepasse" not in sealed
    assert "motdepasse" not in str(events(database, "recipes.change")) + owner.get(here).text
    assert waiting(database) == ["machine.check"]


def test_a_recipe_that_runs_any_command_line_is_not_chosen_from_the_network(owner, practice):
    """The process that faces the network may not say what runs on a machine."""
    from importlib.resources import files

    assert files("appliance").joinpath("backup_jobs", "recipes", "commands.toml").is_file()

    page = owner.get(f"/sources/{practice.machine.id}/recipes").text

    assert "use.sqlite" in page
    assert "use.commands" not in page


@pytest.mark.parametrize(
    "values", [{"postgresql.databases": "a\nb"}, {"postgresql.databases": "x" * 600}]
)
def test_a_value_that_is_no_short_line_changes_nothing(owner, practice, database, values):
    """The form comes back with the question it is about."""
    answer = owner.post(
        f"/sources/{practice.machine.id}/recipes", data={"use.postgresql": "on", **values}
    )

    assert answer.status_code == 422
    with database.read() as connection:
        assert sources.get(connection, practice.machine.id).recipes == ()
