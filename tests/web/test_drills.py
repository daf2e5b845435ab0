"""Drills on screen: what they measured, words typed and sealed, a sheet to print."""

from dataclasses import replace
from datetime import timedelta

import pytest

from appliance.accounts.app_passwords import Scope
from appliance.clock import utc_now
from appliance.db import facts, secrets, targets
from appliance.db.schema import generation
from appliance.jobs import drill_readings, queue
from appliance.jobs.drill_scratch import WORDS
from appliance.jobs.kinds import RunDrill
from appliance.ledger import proofs
from appliance.model import JobState, Role
from appliance.policy import drills
from appliance.policy.drills import Drill, RepositoryLine
from appliance.vault import words
from appliance.vault.seal import make_keys
from appliance.vault.unseal import unseal

API = "/api/v1/drills"
RIGHT = Drill(
    "Second cabinet", 12, "2026-11-22T02:00:00+00:00", data_age_s=40_000, state_s=3.2,
    first_document_s=8.4, restored_s=185.0, total_s=201.0, files=412, bytes=3_200_000_000,
    repositories=(RepositoryLine(1, "Poste accueil", 300, 2_400_000_000, 92.0, "right"),),
    documents=28, documents_same=28, segments=380, segments_same=371, segments_gone=9,
    secrets=11, secrets_same=11, ledger_entries=1204, dmia_s=86_400, pdma_s=86_400,
)  # fmt: skip


@pytest.fixture
def copied(database, settings):
    """A box with a kit of one sheet and a copy elsewhere; returns the target and the words."""
    now = utc_now()
    make_keys(settings.keys)
    secret = words.make_secret()
    (sheet,) = words.split(secret, needed=1, sheets=1)
    with database.write() as connection:
        facts.put(connection, "box.id", "ab" * 8, now=now)
        facts.put(connection, "kit.recipient", words.recipient(secret), now=now)
        facts.put(connection, "kit.plan", {"needed": 1, "holders": ["Dr Roux"]}, now=now)
        row = targets.add(
            connection, name="ailleurs", label="Second cabinet", kind="sftp",
            place={"host": "127.0.0.1", "user": "x"}, now=now,
        )  # fmt: skip
        connection.execute(
            generation.insert().values(
                target_id=row.id,
                number=1,
                taken_at=now,
                published_at=now,
                sha256="0" * 64,
                previous="",
                objects=b"",
                files=1,
                plain_bytes=1,
                new_bytes=1,
            )
        )
    return row, secret, sheet


def record(database, drill, *, days_ago=0):
    at = utc_now() - timedelta(days=days_ago)
    with database.write() as connection:
        return proofs.record(
            connection, at=at, kind=drills.PROOF, outcome=drill.outcome,
            figures=drills.to_figures(drill),
        ).seq  # fmt: skip


def test_without_a_copy_there_is_nothing_to_exercise_with(client_as):
    answer = client_as(Role.OWNER).get("/drills")
    assert answer.status_code == 200
    assert "needs a copy to begin from" in answer.text
    assert "/drills/new" not in answer.text


def test_the_list_shows_verdict_times_and_when_the_next_is_due(client_as, database, copied):
    record(database, replace(RIGHT, restored_s=300.0), days_ago=60)
    record(database, replace(RIGHT, reason="target.object-missing", restored_s=-1), days_ago=30)
    seq = record(database, RIGHT, days_ago=1)

    text = client_as(Role.ASSOCIATE).get("/drills").text

    assert f'href="/drills/{seq}"' in text
    assert "8.4 s" in text
    assert "3 min 05 s" in text
    assert text.count('<svg viewBox="0 0 1000 20"') == 2  # the failed one has no times
    assert "Next one:" in text
    assert "failed" in text


def test_the_sheet_says_what_was_measured_and_how(client_as, database, copied):
    seq = record(database, RIGHT)
    text = client_as(Role.OWNER).get(f"/drills/{seq}").text
    for part in (
        "28 of 28",
        "371 of 380",
        "9 removed here since",
        "promised: 24 hours",
        "Poste accueil",
    ):
        assert part in text, part
    assert client_as(Role.OWNER).get("/drills/999").status_code == 404


def test_words_are_sealed_and_a_drill_is_queued(client_as, database, settings, copied):
    """Twenty places, as they stand on the sheet; the web cannot read back what it sealed."""
    row, secret, sheet = copied
    client = client_as(Role.OWNER)
    assert client.get("/drills/new").text.count('name="sheet1"') == 20

    answer = client.post("/drills", data={"target": str(row.id), "sheet1": sheet.split()})

    assert (answer.status_code, answer.headers["location"]) == (303, "/drills")
    with database.read() as connection:
        job = drill_readings.active(connection)
        sealed = secrets.get_sealed(connection, WORDS)
    assert job.spec == {"target_id": row.id}
    assert unseal(WORDS, sealed, settings.keys).reveal() == secret.reveal()
    page = client.get("/drills")
    assert f"/live/drills?job={job.id}" in page.text
    assert "/drills/new" not in page.text
    live = client.get(f"/live/drills?job={job.id}", headers={"hx-request": "true"})
    assert live.status_code == 200
    assert (
        client.post("/drills", data={"target": str(row.id), "sheet1": sheet.split()}).status_code
        == 409
    )
    with database.write() as connection:
        queue.ask_cancel(connection, job.id, now=utc_now())
    over = client.get(f"/live/drills?job={job.id}", headers={"hx-request": "true"})
    assert over.headers["hx-refresh"] == "true"
    assert "came to no verdict" in client.get("/drills").text


def test_of_a_kit_of_three_sheets_two_are_asked_for(client_as, database, copied):
    """Any two, in any order."""
    row, secret, _ = copied
    sheets = words.split(secret, needed=2, sheets=3)
    with database.write() as connection:
        plan = {"needed": 2, "holders": ["A", "B", "C"]}
        facts.put(connection, "kit.plan", plan, now=utc_now())
    client = client_as(Role.OWNER)
    assert client.get("/drills/new").text.count("data-kit-word") == 40
    given = {"target": str(row.id), "sheet1": sheets[2].split(), "sheet2": sheets[0].split()}

    assert client.post("/drills", data={**given, "sheet2": sheets[2].split()}).status_code == 422
    assert client.post("/drills", data=given).status_code == 303


@pytest.mark.parametrize("harm", ["unknown", "swapped", "missing", "other"])
def test_wrong_words_are_said_at_their_places_and_nothing_is_queued(
    client_as, database, copied, harm
):
    row, _, sheet = copied
    typed = sheet.split()
    if harm == "unknown":
        typed[4] = "zzzz"
    elif harm == "swapped":
        typed[0], typed[1] = typed[1], typed[0]
    elif harm == "missing":
        typed = typed[:12]
    else:
        typed = words.split(words.make_secret(), needed=1, sheets=1)[0].split()

    answer = client_as(Role.OWNER).post("/drills", data={"target": str(row.id), "sheet1": typed})

    assert answer.status_code == 422
    assert 'class="problem"' in answer.text
    with database.read() as connection:
        assert drill_readings.active(connection) is None
        assert secrets.find_sealed(connection, WORDS) is None


@pytest.mark.parametrize(
    ("role", "see", "begin"),
    [
        (Role.OWNER, 200, 422),
        (Role.ASSOCIATE, 200, 422),
        (Role.TECHNICAL_ADMIN, 200, 403),
        (Role.SECRETARY, 404, 403),
        (Role.LOCUM, 404, 403),
    ],
)
def test_only_those_who_may_begin_one(client_as, copied, role, see, begin):
    client = client_as(role)
    assert client.get("/drills").status_code == see
    assert client.post("/drills", data={"target": "1"}).status_code == begin
    assert client.get(API).status_code == see
    assert client.post(API, json={"target_id": 1, "sheets": []}).status_code == begin


def test_a_drill_that_failed_in_the_line_is_told_without_a_verdict(client_as, database, copied):
    """A cut line proves nothing, and must not be hidden."""
    row, _, _ = copied
    now = utc_now()
    with database.write() as connection:
        job_id = queue.enqueue(connection, RunDrill(row.id), now=now)
        queue.claim(connection, runner="tests:1", now=now, only=job_id)
        queue.finish(connection, job_id, JobState.FAILED, now=now)
    assert "came to no verdict" in client_as(Role.OWNER).get("/drills").text


# --- the API -----------------------------------------------------------------------------------


def test_the_api_tells_what_drills_measured_and_when_the_next_is_due(client_as, database, copied):
    """Figures of the proof, typed; the sheet in the reader's words."""
    record(database, replace(RIGHT, reason="target.object-missing", restored_s=-1), days_ago=30)
    seq = record(database, RIGHT, days_ago=1)
    client = client_as(Role.ASSOCIATE)

    body = client.get(API).json()

    assert [each["outcome"] for each in body["drills"]] == ["proven", "failed"]
    assert (body["may_begin"], body["is_due"], body["running"]) == (True, False, None)
    figures = body["drills"][0]["figures"]
    assert (figures["first_document_s"], figures["documents_same"]) == (8.4, 28)
    assert figures["repositories"][0]["label"] == "Poste accueil"
    sheet = client.get(f"{API}/{seq}").json()
    assert (sheet["drill"]["seq"], sheet["verdict"]) == (seq, "succeeded")
    assert "28 of 28" in [row["value"] for part in sheet["sections"] for row in part["rows"]]
    assert client.get(f"{API}/999").status_code == 404


def test_the_api_seals_the_words_and_queues_one_drill(client_as, database, settings, copied):
    """One at a time; what runs and what ended without a verdict is told."""
    row, secret, sheet = copied
    client = client_as(Role.OWNER)

    begun = client.post(API, json={"target_id": row.id, "sheets": [sheet]})

    assert (begun.status_code, begun.json()["kind"]) == (202, RunDrill.kind)
    with database.read() as connection:
        sealed = secrets.get_sealed(connection, WORDS)
    assert unseal(WORDS, sealed, settings.keys).reveal() == secret.reveal()
    assert client.get(API).json()["running"]["id"] == begun.json()["id"]
    assert client.post(API, json={"target_id": row.id, "sheets": [sheet]}).status_code == 409
    assert not any(word in begun.text for word in sheet.split() if len(word) > 6)
    with database.write() as connection:
        queue.ask_cancel(connection, begun.json()["id"], now=utc_now())
    after = client.get(API).json()
    assert (after["running"], after["last_without"]["state"]) == (None, JobState.CANCELLED.value)


def test_the_api_queues_nothing_for_wrong_words(client_as, database, copied):
    """Said with the place that is wrong; of another kit, too."""
    row, _, sheet = copied
    client = client_as(Role.OWNER)
    (other,) = words.split(words.make_secret(), needed=1, sheets=1)
    wrong = {
        "kit.word-unknown": [sheet.replace(sheet.split()[3], "zzzzqqq")],
        "kit.sheet-missing": [],
        "kit.sheet-of-another-kit": [other],
    }
    for code, sheets in wrong.items():
        answer = client.post(API, json={"target_id": row.id, "sheets": sheets})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert client.post(API, json={"target_id": 99, "sheets": [sheet]}).status_code == 404
    with database.read() as connection:
        assert drill_readings.active(connection) is None
        assert secrets.find_sealed(connection, WORDS) is None


def test_a_token_reads_drills_and_begins_none(anonymous, copied, token_of):
    """Words are typed by a person."""
    headers = token_of(Role.OWNER, *Scope)
    client = anonymous
    assert client.get(API, headers=headers).status_code == 200
    body = {"target_id": copied[0].id, "sheets": [copied[2]]}
    answer = client.post(API, json=body, headers=headers)
    assert answer.json()["error"]["code"] == "access.scope"
