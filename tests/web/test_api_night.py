"""Sources, plans, recipes, restores and marks as JSON: the pages' own rules hold, and nothing changes by halves."""

from dataclasses import replace

import pytest

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import Kind, Scope
from appliance.clock import utc_now
from appliance.db import anomalies, restore_sheets, snapshots, sources
from appliance.db import secrets as vault_rows
from appliance.jobs import queue, snapshot_marks
from appliance.ledger import chain, events
from appliance.model import Keep, Outcome, RestoreSheet, Role, SourceKind
from appliance.packed import pack_path
from appliance.vault.seal import make_keys
from appliance.web.pages.browse import token_of
from appliance.web.pages.set_up import fingerprint
from tests.web.practice import GONE, LETTER, add_running_job

API = "/api/v1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE4mUxk0QjZ0y5y2m1K3uVb6D8o0m9v7u5t3s1r0q2wE"
MACHINE = {"label": "Poste accueil", "system": "linux", "host": "10.0.0.7"}


@pytest.fixture
def here(practice):
    """Where the practice's first machine is."""
    return f"{API}/sources/{practice.machine.id}"


@pytest.fixture
def newest(practice):
    """The machine's newest snapshot."""
    return practice.snapshots[practice.machine.id][-1]


def waiting(database):
    with database.read() as connection:
        return [each.kind for each in queue.waiting(connection)]


def entries(database, event):
    with database.read() as connection:
        return chain.newest(connection, event=event)


def source_of(database, source):
    with database.read() as connection:
        return sources.get(connection, source.id)


@pytest.fixture
def token(owner, database, person_of):
    """Make the owner's token of a scope, and forget the session: what headers such a program sends."""

    def make(*scope):
        me = person_of(Role.OWNER)
        with database.write() as connection:
            secret, _ = app_passwords.make(
                connection, me.id, kind=Kind.API, label="x", scope=scope, now=utc_now()
            )
        owner.cookies.clear()
        return {"authorization": f"Bearer {secret}"}

    return make


# --- sources -------------------------------------------------------------------------------


def test_a_source_is_told_with_what_needs_doing(owner, practice, here):
    """The sentence of its page, its reasons in words, its sizes; no file's name."""
    answer = owner.get(here)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["source"]["name"], told["host"], told["is_confirmed"]) == (
        "accueil",
        "192.168.1.20",
        True,
    )
    assert told["sentence"]
    assert told["snapshots"] == len(practice.snapshots[practice.machine.id])
    assert told["stored_bytes"] > 0
    assert told["next_at"]
    assert [each["state"] for each in told["nights"]].count("failed") == 1
    assert {each["snapshot_id"] for each in told["nights"] if each["state"] == "proven"} <= set(
        practice.snapshots[practice.machine.id]
    )
    assert len(told["nights"]) == 30
    server = owner.get(f"{API}/sources/{practice.server.id}").json()
    assert server["todo"][0]["text"]
    assert server["todo"][0]["action"]
    assert "Dupont" not in answer.text
    assert owner.get(f"{API}/sources/999").status_code == 404


def test_a_machine_is_added_let_in_and_confirmed_by_the_identity_it_shows(owner, database):
    """What was found is confirmed by a person who compared it; any other is refused, and nothing is pinned."""
    made = owner.post(f"{API}/sources", json={**MACHINE, "roots": ["/home/anna", "/srv"]})
    assert made.status_code == 201, made.text
    assert waiting(database) == ["source.set-up", "machine.probe"]
    number = made.json()["source"]["id"]
    here = f"{API}/sources/{number}"
    assert made.json()["roots"] == ["/home/anna", "/srv"]
    first = owner.get(f"{here}/set-up").json()
    assert (first["offered_key"], first["is_confirmed"]) == (None, False)
    assert first["prepared"]["state"] == "busy"
    assert (
        owner.put(f"{here}/host-key", json={"key": KEY}).status_code == 422
    )  # nothing was seen yet
    with database.write() as connection:
        sources.set_facts(
            connection,
            number,
            {
                "probed": {"host_key": KEY, "at": utc_now().isoformat()},
                "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA armoire-1",
                "check": {"results": [{"outcome": "failed", "text": "No: %(why)s", "facts": {"why": "x"}}]},
            },
        )  # fmt: skip
    shown = owner.get(f"{here}/set-up").json()
    assert (shown["offered_key"], shown["fingerprint"]) == (KEY, fingerprint(KEY))
    assert "restrict" in str(shown["instructions"])
    assert shown["checks"] == [{"outcome": "failed", "text": "No: x"}]
    for wrong in (KEY[:-1] + "F", "", fingerprint(KEY)):
        assert owner.put(f"{here}/host-key", json={"key": wrong}).status_code == 422
    with database.read() as connection:
        assert sources.get(connection, number).host_key is None
    done = owner.put(f"{here}/host-key", json={"key": KEY}).json()
    assert (done["offered_key"], done["is_confirmed"]) == (None, True)
    assert done["fingerprint"] == fingerprint(KEY)
    assert len(entries(database, "machine.confirmed")) == 1
    assert owner.post(f"{API}/sources", json=MACHINE).status_code == 409


NO_SOURCES = [
    {"host": "-oProxyCommand=reboot"}, {"host": ""}, {"port": 0}, {"port": 70000},
    {"user": "-l root"}, {"roots": ["relative"]}, {"roots": ["/home/../etc"]}, {"system": "beos"},
    {"label": "!"}, {"label": "a\x00b"}, {"kind": "box"}, {"kind": "pushed"},
    {"kind": "share", "folder": "/no/where"}, {"kind": "share", "folder": "/etc"},
    {"kind": "share", "folder": "/srv/../etc"}, {"kind": "share", "folder": "/a\x00b"},
]  # fmt: skip


def test_what_cannot_be_a_source_is_refused(owner, database):
    """With our code, before anything is written."""
    for change in NO_SOURCES:
        answer = owner.post(f"{API}/sources", json={**MACHINE, **change})
        code = answer.json().get("error", {}).get("code")
        assert (answer.status_code, code) == (422, "input.invalid"), change
    assert waiting(database) == []
    assert entries(database, "source.added") == []


def test_a_share_is_added_but_never_what_the_box_itself_keeps(owner, settings, database, tmp_path):
    """Its keys would lie in a snapshot."""
    (tmp_path / "documents").mkdir()
    wanted = {"label": "Documents", "kind": "share", "folder": str(tmp_path / "documents")}
    for folder in (settings.keys, settings.data, tmp_path):
        answer = owner.post(f"{API}/sources", json={**wanted, "folder": str(folder)})
        assert answer.status_code == 422, folder
    made = owner.post(f"{API}/sources", json=wanted)
    assert (made.status_code, made.json()["source"]["kind"]) == (201, SourceKind.SHARE.value)
    assert waiting(database) == ["source.set-up"]


def test_a_machine_is_tried_again_and_a_share_only_prepared(owner, practice, database, here):
    """Each waits once; what is no step is refused."""
    for what, kind in (("check", "machine.check"), ("probe", "machine.probe")):
        asked = owner.post(f"{here}/set-up", json={"what": what})
        assert (asked.status_code, asked.json()["kind"]) == (202, kind)
        assert owner.post(f"{here}/set-up", json={"what": what}).status_code == 409
    share = f"{API}/sources/{practice.share.id}/set-up"
    assert owner.post(share, json={"what": "check"}).status_code == 422
    assert owner.post(share, json={"what": "prepare"}).json()["kind"] == "source.set-up"
    assert owner.post(share, json={"what": "reboot"}).status_code == 422
    assert waiting(database) == ["machine.check", "machine.probe", "source.set-up"]


def test_a_proof_is_asked_for(owner, practice, database, here):
    """Of the newest snapshot, or of every byte."""
    sample = owner.post(f"{here}/verify")
    whole = owner.post(f"{here}/verify?full=true")
    assert [each.json()["kind"] for each in (sample, whole)] == [
        "snapshot.verify",
        "repository.check",
    ]
    assert owner.post(f"{here}/verify").status_code == 409
    assert len(entries(database, "verification.ask")) == 2
    kinds = owner.get(
        f"{API}/jobs?kind=snapshot.verify&source={practice.machine.id}&limit=1"
    ).json()
    assert [each["id"] for each in kinds] == [sample.json()["id"]]
    assert owner.post(f"{API}/sources/999/verify").status_code == 404


def test_an_alarm_is_listed_and_closed_with_a_reason(owner, practice, database, here, newest):
    """Without one it stays, and pruning stays frozen."""
    reading = {"value": 0.3, "usual": 0.01, "threshold": 0.25}
    with database.write() as connection:
        number = anomalies.add(
            connection, source_id=practice.machine.id, snapshot_id=newest, kind="touched",
            reading=reading, now=utc_now(),
        )  # fmt: skip
        sources.freeze(connection, practice.machine.id, "anomaly-open", now=utc_now())
    (alarm,) = owner.get(f"{here}/anomalies").json()
    assert (alarm["id"], alarm["snapshot_id"]) == (number, newest)
    assert owner.get(here).json()["frozen"]
    good = {"reason": "New version of the practice software"}
    other = f"{API}/sources/{practice.share.id}/anomalies/{number}/close"
    assert owner.post(other, json=good).status_code == 422
    assert owner.post(f"{here}/anomalies/{number}/close", json={"reason": "ok"}).status_code == 422
    assert len(owner.get(f"{here}/anomalies").json()) == 1
    assert source_of(database, practice.machine).frozen_at
    assert owner.post(f"{here}/anomalies/{number}/close", json=good).status_code == 204
    assert owner.get(f"{here}/anomalies").json() == []
    assert source_of(database, practice.machine).frozen_at is None
    assert owner.post(f"{here}/anomalies/{number}/close", json=good).status_code == 404


# --- plans ---------------------------------------------------------------------------------


def test_of_a_plan_only_what_is_named_changes(owner, practice, database, here):
    """The answer is the plan as it is kept; the ledger has it."""
    before = owner.get(f"{here}/plan").json()
    answer = owner.patch(
        f"{here}/plan",
        json={
            "daily": 20,
            "weekdays": [5, 1, 1],
            "enabled": False,
            "excludes": ["Téléchargements"],
        },
    )
    assert answer.status_code == 200, answer.text
    after = answer.json()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"daily", "weekdays", "enabled", "excludes", "sentence", "next_at"}
    assert after["excludes"] == ["sh:**/Téléchargements"]
    assert (after["weekdays"], after["next_at"]) == ([1, 5], None)
    kept = source_of(database, practice.machine)
    assert (kept.plan.keep.daily, kept.plan.enabled, kept.roots) == (20, False, ("/home/accueil",))
    assert owner.patch(f"{here}/plan", json={"enabled": True}).json()["enabled"] is True
    assert len(entries(database, "plan.change")) == 2


NO_PLANS = [
    {"daily": -1}, {"daily": 4000}, {"pdma_hours": 0}, {"weekdays": []}, {"weekdays": [0]},
    {"weekdays": [8]}, {"window_start": "25:00"}, {"window_end": "six"}, {"roots": []},
    {"roots": ["home"]}, {"excludes": ["re:("]}, {"excludes": ["re:" + "(" * 5000]},
    {"label": "x"}, {"enabled": "perhaps"}, {"daily": 10**30},
]  # fmt: skip


def test_a_plan_that_cannot_be_changes_nothing(owner, practice, database, here):
    """Not even the part of it that could be."""
    for wanted in NO_PLANS:
        answer = owner.patch(f"{here}/plan", json={"weekly": 3, **wanted})
        assert answer.status_code == 422, wanted
        assert answer.json()["error"]["code"] == "input.invalid"
        assert source_of(database, practice.machine) == practice_machine(practice, database)
    assert entries(database, "plan.change") == []


def practice_machine(practice, database):
    """The machine as it was filled: key and last sight came after it was made."""
    now = source_of(database, practice.machine)
    was = practice.machine
    return replace(was, host_key=now.host_key, last_seen_at=now.last_seen_at)


def test_a_share_keeps_its_folder_whatever_is_asked(owner, practice, database):
    """As on its page."""
    here = f"{API}/sources/{practice.share.id}/plan"
    assert owner.patch(here, json={"roots": ["/etc"]}).json()["roots"] == ["/srv/commun"]


def test_the_box_itself_is_always_backed_up_whole(owner, practice, database):
    """Its plan has other hours and another retention, no more."""
    with database.write() as connection:
        box = sources.add_box(connection, name="armoire", label="Le boîtier", now=utc_now())
    here = f"{API}/sources/{box.id}/plan"
    wanted = {"enabled": False, "roots": ["/etc"], "excludes": ["keys"], "daily": 9}
    kept = owner.patch(here, json=wanted).json()
    assert (kept["enabled"], kept["roots"], kept["excludes"], kept["daily"]) == (True, [], [], 9)
    assert owner.get(f"{API}/sources/{box.id}/recipes").status_code == 422
    assert owner.post(f"{API}/sources/{box.id}/set-up", json={"what": "probe"}).status_code == 422


def test_what_pruning_would_take_is_told_with_names_only_to_who_may_see_them(
    client_as, practice, database
):
    """A plan that keeps two days loses the file that was deleted before; nothing is removed by asking."""
    source = practice.machine
    keep = Keep(within_days=0, daily=2, weekly=0, monthly=0, yearly=0)
    with database.write() as connection:
        sources.change(connection, source.id, plan=replace(source.plan, keep=keep))
    here = f"{API}/sources/{source.id}"
    told = client_as(Role.OWNER).get(f"{here}/retention").json()
    assert told["is_known"]
    assert told["removed"] == sum(not each["is_kept"] for each in told["decisions"]) > 0
    assert [each["path"] for each in told["lost"]] == [pack_path(GONE)]
    admin = client_as(Role.TECHNICAL_ADMIN)
    same = admin.get(f"{here}/retention").json()
    assert (same["lost"], same["lost_files"]) == ([], 1)
    assert admin.post(f"{here}/prune").status_code == 403
    assert waiting(database) == []
    boss = client_as(Role.OWNER)
    assert boss.post(f"{here}/prune").json()["kind"] == "repository.prune"
    assert boss.post(f"{here}/prune").status_code == 409
    assert len(entries(database, "prune.ask")) == 1


# --- recipes -------------------------------------------------------------------------------


def test_a_recipe_is_used_and_its_secret_never_comes_out(owner, practice, database, settings, here):
    """Sealed in the vault; the machine is tried with it; one that is not named is used no more."""
    make_keys(settings.keys)
    use = {"name": "postgresql", "values": {"databases": "cabinet"}, "secret": "motdepasse-pg"}
    answer = owner.put(f"{here}/recipes", json={"recipes": [use]})
    assert answer.status_code == 200, answer.text
    (used,) = [each for each in answer.json()["recipes"] if each["is_used"]]
    assert (used["name"], used["has_secret"]) == ("postgresql", True)
    assert "motdepasse" not in answer.text + owner.get(f"{here}/recipes").text
    with database.read() as connection:
        sealed = vault_rows.find_sealed(
            connection, f"machine:{practice.machine.id}:recipe:postgresql"
        )
    assert sealed
    assert b"motdepasse" not in sealed
    assert "motdepasse" not in str([each.body for each in entries(database, "recipes.change")])
    assert waiting(database) == ["machine.check"]
    assert owner.put(f"{here}/recipes", json={"recipes": []}).status_code == 200
    assert source_of(database, practice.machine).recipes == ()


NO_RECIPES = [
    [{"name": "commands"}], [{"name": "nothing"}],
    [{"name": "postgresql", "values": {"databases": "a\nb"}}],
    [{"name": "postgresql", "values": {"databases": "x" * 600}}],
    [{"name": "postgresql", "values": {"command": "reboot"}}],
    [{"name": "postgresql", "secret": "a\nb"}], [{"name": "postgresql"}, {"name": "postgresql"}],
]  # fmt: skip


def test_a_recipe_that_may_not_be_changes_nothing(owner, practice, database, here):
    """Above all none that runs a command line."""
    for uses in NO_RECIPES:
        answer = owner.put(f"{here}/recipes", json={"recipes": uses})
        assert answer.status_code == 422, uses
        assert answer.json()["error"]["code"] == "input.invalid"
        assert source_of(database, practice.machine).recipes == ()
    assert entries(database, "recipes.change") == []
    assert waiting(database) == []


def test_only_a_machine_that_the_box_reads_has_recipes(owner, practice):
    """Not a share."""
    assert owner.get(f"{API}/sources/{practice.share.id}/recipes").status_code == 422


# --- restores ------------------------------------------------------------------------------


PLACES = [
    ({"to": "folder"}, "folder", False),
    ({"to": "folder", "replace": True}, "folder", False),
    ({"to": "share", "share_id": 3}, "share", False),
    ({"to": "machine-beside", "beside": "/home/accueil/Restauré"}, "machine", False),
    ({"to": "machine-original"}, "machine", False),
    ({"to": "machine-original", "replace": True}, "machine", True),
]  # fmt: skip


def test_a_restore_is_a_task_followed_and_stopped_like_any(owner, practice, database, newest):
    """It replaces nothing without a yes; the ledger has who asked, and no name."""
    for wanted, destination, replaces in PLACES:
        asked = owner.post(
            f"{API}/snapshots/{newest}/restore", json={"paths": [pack_path(LETTER)], **wanted}
        )
        assert asked.status_code == 202, asked.text
        number = asked.json()["id"]
        with database.read() as connection:
            job = queue.get(connection, number)
        assert (job.spec["destination"], job.spec["replace"]) == (destination, replaces)
        assert job.spec["requested_by"] == "Claude Martin owner"
        assert LETTER.decode() not in str([each.body for each in entries(database, "restore.ask")])
        listed = owner.get(f"{API}/jobs?kind=files.restore").json()
        assert listed[0]["id"] == number
        assert owner.post(f"{API}/jobs/{number}/cancel").json()["state"] == "cancelled"


NOWHERE = [
    ({"paths": []}, 422), ({"paths": ["é"]}, 422), ({"to": "nowhere"}, 422),
    ({"to": "share"}, 422), ({"to": "share", "share_id": 999}, 404),
    ({"to": "share", "share_id": 1}, 422), ({"to": "browser"}, 422),
    ({"to": "machine-beside", "beside": "../../etc"}, 422),
    ({"to": "machine-beside", "beside": ""}, 422), ({"requested_by": "x" * 300}, 422),
]  # fmt: skip


def test_a_restore_to_nowhere_is_refused(owner, practice, database, newest):
    """Nothing is queued, nothing is written down."""
    for wanted, status in NOWHERE:
        body = {"paths": [pack_path(LETTER)], "to": "folder", **wanted}
        answer = owner.post(f"{API}/snapshots/{newest}/restore", json=body)
        assert answer.status_code == status, wanted
    assert waiting(database) == []
    assert entries(database, "restore.ask") == []


def test_a_sheet_tells_what_was_restored_to_who_may_see_it(client_as, practice, database, newest):
    """With the names; a technical administrator learns none."""
    with database.write() as connection:
        number = restore_sheets.add(
            connection,
            RestoreSheet(
                id=0, job_id=None, source_id=practice.machine.id, snapshot_id=newest,
                operator="Dr Martin", requested_by="Dr Petit", files=1, bytes=1200,
                snapshot_at=utc_now(), restored_at=utc_now(), destination="folder",
                check=Outcome.PROVEN, figures={"seconds": 1.5},
            ),
            paths=[pack_path(LETTER)],
        )  # fmt: skip
    doctor = client_as(Role.ASSOCIATE)
    assert [each["id"] for each in doctor.get(f"{API}/restores").json()] == [number]
    sheet = doctor.get(f"{API}/restores/{number}").json()
    assert sheet["paths"][0]["name"] == "/" + LETTER.decode()
    assert (sheet["sheet"]["check"], sheet["sheet"]["requested_by"]) == ("proven", "Dr Petit")
    assert doctor.get(f"{API}/restores/999").status_code == 404
    admin = client_as(Role.TECHNICAL_ADMIN)
    for path in ("restores", f"restores/{number}"):
        refused = admin.get(f"{API}/{path}")
        assert (refused.status_code, "Dupont" in refused.text) == (403, False)


def test_a_download_needs_something_to_be_picked_and_a_worker_to_read_it(
    owner, practice, database, newest
):
    """A worker that is away is said before a byte is sent: no zip that ends too early, and no sheet of one."""
    here = f"{API}/snapshots/{newest}/zip"
    assert owner.post(here, json={"paths": []}).status_code == 422
    assert owner.post(here, json={"paths": [pack_path(b"no/such")]}).status_code == 404
    away = owner.post(here, json={"paths": [pack_path(LETTER)]})
    assert (away.status_code, away.json()["error"]["code"]) == (503, "box.worker-unreachable")
    assert owner.get(f"{API}/restores").json() == []


# --- snapshots -----------------------------------------------------------------------------


def test_a_snapshot_is_told_with_its_proofs_and_names_only_to_who_may_see_them(client_as, practice):
    """What could not be read is named to a doctor, counted to the technical administrator."""
    number = practice.snapshots[practice.share.id][-1]
    told = client_as(Role.OWNER).get(f"{API}/snapshots/{number}").json()
    assert {each["kind"] for each in told["proofs"]} == {"snapshot.sample", "snapshot.count"}
    assert told["event_counts"] == {"unreadable": 1, "changed-while-read": 1}
    assert {each["name"] for each in told["events"]} == {
        "/srv/commun/Compta/verrou.tmp",
        "/srv/commun/Agenda.ods",
    }
    assert told["newer_id"] is None
    assert told["older_id"] == practice.snapshots[practice.share.id][-2]
    same = client_as(Role.TECHNICAL_ADMIN).get(f"{API}/snapshots/{number}").json()
    assert (same["events"], same["event_counts"]) == ([], told["event_counts"])


def test_marks_are_set_and_taken_away_one_by_one(owner, practice, database):
    """What is not named stays; each change is in the ledger; a snapshot that is going keeps none."""
    source = practice.machine
    number = practice.snapshots[source.id][0]
    here = f"{API}/snapshots/{number}"
    held = owner.patch(here, json={"protected": True, "legal_hold": True}).json()
    assert (held["protected"], held["legal_hold"]) == (True, True)
    freed = owner.patch(here, json={"protected": False}).json()
    assert (freed["protected"], freed["legal_hold"]) == (False, True)
    assert owner.patch(here, json={}).status_code == 200
    assert len(entries(database, "snapshot.mark")) == 3
    going = practice.snapshots[source.id][1]
    with database.write() as connection:
        archive = snapshots.get(connection, going).archive_id
        snapshot_marks.intend_removal(connection, source.id, [archive])
    refused = owner.patch(f"{API}/snapshots/{going}", json={"protected": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "input.snapshot-going")
    assert owner.patch(f"{API}/snapshots/999", json={"protected": True}).status_code == 404
    assert len(entries(database, "snapshot.mark")) == 3


def test_two_nights_are_compared(owner, practice, here):
    """The newest two, or those asked for; a night of another source is not there."""
    nights = practice.snapshots[practice.machine.id]
    told = owner.get(f"{here}/compare").json()
    assert (told["before_id"], told["after_id"]) == (nights[-2], nights[-1])
    assert told["counts"] == {"added": 0, "changed": 2, "removed": 0}
    gone = owner.get(f"{here}/compare?a={nights[2]}&b={nights[3]}&only=removed").json()
    assert [each["path"] for each in gone["changes"]] == [pack_path(GONE)]
    other = practice.snapshots[practice.share.id][0]
    assert owner.get(f"{here}/compare?a={other}").status_code == 404


def test_what_is_gone_is_found_where_it_was_and_who_opened_a_file_is_told(
    owner, practice, database, person_of, here, newest
):
    """In the folder's place in the night, as on its page; without a name in the ledger."""
    folder = pack_path(GONE.rpartition(b"/")[0])
    (gone,) = owner.get(f"{API}/snapshots/{newest}/deleted?p={folder}").json()
    assert (gone["path"], gone["name"], gone["kind"]) == (pack_path(GONE), "ordonnance.pdf", "f")
    assert gone["snapshot_id"] == practice.snapshots[practice.machine.id][2]
    first = practice.snapshots[practice.machine.id][0]
    assert owner.get(f"{API}/snapshots/{first}/deleted?p={folder}").json() == []
    touches = f"{here}/touches?p={pack_path(LETTER)}"
    assert owner.get(touches).json() == []
    me = person_of(Role.OWNER).id
    with database.write() as connection:
        events.record(
            connection, at=utc_now(), event="file.open", subject=f"snapshot:{newest}",
            person_id=me, file=token_of(LETTER, newest),
        )  # fmt: skip
    assert [each["who"] for each in owner.get(touches).json()] == ["Claude Martin owner"]
    assert owner.get(f"{here}/touches?p=é").status_code == 422


def test_a_task_s_log_and_end_are_told_in_words(owner, practice, database, here):
    """Its notes, what went wrong and what to do; the tasks that followed from it."""
    (failed,) = owner.get(f"{API}/jobs?state=failed").json()
    log = owner.get(f"{API}/jobs/{failed['id']}/log").json()
    assert (log["job"]["error_code"], log["title"]) == (failed["error_code"], "Backup")
    assert "connection to the machine was lost" in log["error"]
    assert log["took_s"] == 240
    night = owner.get(f"{API}/jobs?kind=snapshot.take&state=succeeded&limit=1").json()[0]
    (proof,) = owner.get(f"{API}/jobs/{night['id']}/log").json()["children"]
    assert proof["kind"] == "snapshot.verify"
    running = add_running_job(database, practice.machine, utc_now())
    (note,) = owner.get(f"{API}/jobs/{running}/log").json()["notes"]
    assert note["text"] == "The repository and its key are ready."
    assert owner.get(f"{API}/jobs/999999/log").status_code == 404


# --- who may -------------------------------------------------------------------------------


def _changes(practice):
    """Every route that changes something, with a body that would be good."""
    here = f"{API}/sources/{practice.machine.id}"
    night = f"{API}/snapshots/{practice.snapshots[practice.machine.id][-1]}"
    wanted = {"paths": [pack_path(LETTER)], "to": "folder"}
    return {
        "add": ("POST", f"{API}/sources", MACHINE | {"label": "Autre poste"}),
        "back-up": ("POST", f"{here}/snapshots", None),
        "verify": ("POST", f"{here}/verify", None),
        "try": ("POST", f"{here}/set-up", {"what": "check"}),
        "identity": ("PUT", f"{here}/host-key", {"key": KEY}),
        "alarm": ("POST", f"{here}/anomalies/1/close", {"reason": "New practice software"}),
        "plan": ("PATCH", f"{here}/plan", {"daily": 3}),
        "prune": ("POST", f"{here}/prune", None),
        "recipes": ("PUT", f"{here}/recipes", {"recipes": []}),
        "restore": ("POST", f"{night}/restore", wanted),
        "zip": ("POST", f"{night}/zip", {"paths": wanted["paths"]}),
        "marks": ("PATCH", night, {"protected": True}),
    }


MAY = {
    Role.ASSOCIATE: {"back-up", "verify", "restore", "zip", "marks"},
    Role.TECHNICAL_ADMIN: {"add", "back-up", "verify", "try", "identity", "plan", "recipes"},
    Role.SECRETARY: set(),
    Role.LOCUM: set(),
}


@pytest.mark.parametrize("role", MAY)
def test_each_role_changes_what_it_may_and_nothing_else(client_as, practice, database, role):
    """A refusal leaves everything as it was: no task, no change of the source or its snapshot."""
    client = client_as(role)
    for name, (method, path, body) in _changes(practice).items():
        if name in MAY[role]:
            continue
        answer = client.request(method, path, json=body)
        assert answer.status_code in {403, 404}, (name, answer.text)
        assert answer.json()["error"]["code"] in {"access.not-allowed", "input.not-found"}, name
    assert waiting(database) == []
    assert source_of(database, practice.machine) == practice_machine(practice, database)
    with database.read() as connection:
        night = snapshots.get(connection, practice.snapshots[practice.machine.id][-1])
        assert len(sources.all_living(connection)) == 3
    assert not night.protected
    for name, (method, path, body) in _changes(practice).items():
        if name not in MAY[role] - {"zip", "identity"}:  # these two ask for what is not here
            continue
        answer = client.request(method, path, json=body)
        assert answer.status_code in {200, 201, 202}, (name, answer.text)


@pytest.mark.parametrize("role", [Role.SECRETARY, Role.LOCUM])
def test_who_may_not_see_sources_is_told_that_there_are_none(client_as, practice, newest, role):
    """Neither their nights, plans nor restores."""
    client = client_as(role)
    here = f"{API}/sources/{practice.machine.id}"
    for path in (
        here, f"{here}/plan", f"{here}/retention", f"{here}/recipes", f"{here}/set-up",
        f"{here}/anomalies", f"{here}/compare", f"{API}/snapshots/{newest}", f"{API}/restores",
    ):  # fmt: skip
        assert client.get(path).status_code in {403, 404}, path


def test_a_token_reads_and_starts_nights_but_changes_no_plan_and_restores_nothing(
    owner, practice, database, token, newest
):
    """A program's secret that leaks shall not stop the nights, keep nothing, or bring documents out."""
    asked = token(*Scope)
    for name, (method, path, body) in _changes(practice).items():
        answer = owner.request(method, path, json=body, headers=asked)
        if name in {"back-up", "verify"}:
            assert answer.status_code == 202, name
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "access.scope")
    assert sorted(waiting(database)) == ["snapshot.take", "snapshot.verify"]
    here = f"{API}/sources/{practice.machine.id}"
    for path in (here, f"{here}/plan", f"{here}/retention", f"{here}/compare", f"{API}/restores",
                 f"{here}/anomalies", f"{API}/snapshots/{newest}"):  # fmt: skip
        assert owner.get(path, headers=asked).status_code == 200, path
    for path in (f"{here}/set-up", f"{here}/recipes"):
        assert owner.get(path, headers=asked).status_code == 403, path


def test_a_token_that_sees_how_the_box_does_reads_no_name_of_a_document(
    owner, practice, database, token, newest
):
    """What would be lost, what differs and what was restored ask for the right to look into snapshots."""
    asked = token(Scope.STATUS_READ, Scope.BOX_WRITE)
    here = f"{API}/sources/{practice.machine.id}"
    for path in (f"{here}/retention", f"{here}/compare", f"{here}/history", f"{API}/restores",
                 f"{API}/restores/1", f"{API}/snapshots/{newest}"):  # fmt: skip
        assert owner.get(path, headers=asked).status_code == 403, path
    assert owner.get(here, headers=asked).status_code == 200
