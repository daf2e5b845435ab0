"""Emergency access, the review of rights and the questions to the journal, as the pages do them."""

import csv
import io
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.accounts import emergency, people
from appliance.clock import utc_now
from appliance.db import facts, shares
from appliance.db.engine import Database
from appliance.db.shares import Share
from appliance.jobs.people_readings import people_findings
from appliance.ledger import chain
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL
from appliance.web.security import COOKIE

REASON = "A patient of Dr Martin has a reaction, she is away"
DOCUMENT = urlsafe_b64encode(b"Dupont Emile.txt").decode().rstrip("=")


@pytest.fixture
def share(database: Database, tmp_path: Path, person_of: Callable[[Role], Person]) -> Share:
    """A share of the owner's alone."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "Dupont Emile.txt").write_text("a letter")
    owner = person_of(Role.OWNER)
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        shares.grant(connection, made.id, ALL, person_id=owner.id, by=owner.id, now=utc_now())
    return made


def test_an_associate_opens_reads_ends_and_the_owner_reviews(client_as, share, database, person_of):
    """The banner says how long; what was opened is listed; the doctor is told; the review is signed."""
    associate = client_as(Role.ASSOCIATE)
    assert associate.get("/disk/documents").status_code == 404
    taken = associate.post(
        "/emergency", data={"share": share.id, "reason": REASON, "beneficiary": "Tom Le Gall"}
    )
    assert taken.headers["location"] == "/disk/documents"
    page = associate.get("/account").text
    assert "30 minutes left." in page
    assert associate.get(f"/disk/documents/file?p={DOCUMENT}").text == "a letter"
    refused = associate.post("/api/v1/disk/documents/delete", json={"items": [DOCUMENT]}).json()
    assert refused["done"][0]["code"] == "access.not-allowed"
    assert associate.post("/emergency/1/end").status_code == 303
    assert associate.get("/disk/documents").status_code == 404
    assert "minutes left" not in associate.get("/account").text
    assert associate.post("/emergency/1/review", data={"review": "fine"}).status_code == 403

    owner = client_as(Role.OWNER)
    assert "took emergency access to «Documents»" in owner.get("/notices").text
    shown = owner.get("/emergency/1").text
    assert REASON in shown
    assert "Tom Le Gall" in shown
    assert "Dupont Emile.txt" in shown
    assert owner.post("/emergency/1/review", data={"review": ""}).status_code == 422
    assert owner.post("/emergency/1/review", data={"review": "It was right."}).status_code == 303
    assert "It was right." in owner.get("/emergency/1").text
    with database.read() as connection:
        assert people_findings(connection, utc_now()) == []
        assert REASON not in str(list(chain.entries(connection)))


@pytest.mark.parametrize("role", [Role.SECRETARY, Role.TECHNICAL_ADMIN])
def test_nobody_else_takes_it(client_as, share, role):
    """Not even sees the page."""
    client = client_as(role)
    assert client.get("/emergency").status_code == 403
    answer = client.post("/emergency", data={"share": share.id, "reason": REASON})
    assert answer.status_code == 403


def test_a_reason_is_asked_for_and_kept_when_it_is_too_short(client_as, share):
    """The form comes back with what was typed."""
    associate = client_as(Role.ASSOCIATE)
    answer = associate.post("/emergency", data={"share": share.id, "reason": "now <b>"})
    assert answer.status_code == 422
    assert "now &lt;b&gt;" in answer.text


def test_the_access_of_another_is_not_there(client_as, share, person_of, database):
    """Of two associates, each sees their own."""
    me = person_of(Role.OWNER)
    with database.write() as connection:
        emergency.begin(
            connection,
            me,
            share_id=share.id,
            reason=REASON,
            now=utc_now(),
        )
    associate = client_as(Role.ASSOCIATE)
    assert associate.get("/emergency/1").status_code == 404
    assert associate.post("/emergency/1/end").status_code == 404
    assert REASON not in associate.get("/emergency").text


def test_a_review_of_rights_is_signed_and_can_be_printed(owner, database, person_of, share):
    """Every account confirmed, under one's own name; what changed meanwhile is looked at again."""
    person_of(Role.SECRETARY)
    page = owner.get("/access-review").text
    seen = re.search(r'name="seen" value="(\w{64})"', page).group(1)
    ids = re.findall(r'name="confirmed" value="(\d+)"', page)
    assert len(ids) == 2
    me = person_of(Role.OWNER).name
    good = {"seen": seen, "confirmed": ids, "name": me}
    for change in ({"confirmed": ids[:1]}, {"name": "Somebody"}, {"seen": "0" * 64}):
        assert owner.post("/access-review", data=good | change).status_code == 422
    assert owner.get("/access-review/last").status_code == 404
    assert owner.post("/access-review", data=good).status_code == 303
    signed = owner.get("/access-review/last").text
    assert seen in signed
    assert "Claude Martin secretary" in signed
    assert "Documents" in signed
    with database.read() as connection:
        (entry,) = chain.newest(connection, event="people.reviewed")
        assert entry.body == {"accounts": 2, "sha256": seen}
    person_of(Role.ASSOCIATE)
    assert owner.post("/access-review", data=good).status_code == 422


def test_a_review_is_asked_for_after_a_year(database, person_of):
    """From the first account on, and from the last signature."""
    person_of(Role.OWNER)
    now = utc_now()
    year = timedelta(days=365)
    with database.write() as connection:
        assert people_findings(connection, now) == []
        codes = [
            people_findings(connection, now + year + timedelta(days=days))[0].code
            for days in (-20, 2)
        ]
        assert codes == ["people.review-due", "people.review-overdue"]
        signed = {"at": now.isoformat(), "by": "x", "digest": "y", "lines": []}
        facts.put(connection, "people.reviewed", signed, now=now)
        assert people_findings(connection, now + timedelta(days=300)) == []
        assert people_findings(connection, now + year * 2)[0].severity == "warning"


def test_the_journal_says_what_an_account_did_to_who_may_know(
    client_as, share, person_of, database
):
    """Documents by name to who sees the share; to a technical administrator none, anywhere."""
    owner = client_as(Role.OWNER)
    owner.get(f"/disk/documents/file?p={DOCUMENT}")
    me = person_of(Role.OWNER).id
    page = owner.get(f"/ledger/account?person={me}&only=file").text
    assert "Dupont Emile.txt" in page
    table = owner.get(f"/ledger/account.csv?person={me}").text
    rows = list(csv.DictReader(io.StringIO(table.lstrip("\ufeff")), delimiter=";"))
    assert [each["document"] for each in rows if each["event"] == "file.opened"] == [
        "Dupont Emile.txt"
    ]
    document = owner.get(f"/ledger/document/documents?p={DOCUMENT}").text
    assert "file opened" in document
    assert "Claude Martin owner" in document
    with database.read() as connection:
        assert len(chain.newest(connection, event="ledger.asked")) == 2

    admin = client_as(Role.TECHNICAL_ADMIN)
    for address in (
        f"/ledger/account?person={me}",
        f"/ledger/account.csv?person={me}",
        "/ledger",
        "/api/v1/ledger",
    ):
        answer = admin.get(address)
        assert answer.status_code == 200, address
        assert "file.opened" in answer.text or "file opened" in answer.text
        assert "Dupont" not in answer.text
        assert DOCUMENT not in answer.text
    assert admin.get(f"/ledger/document/documents?p={DOCUMENT}").status_code == 404


def test_a_cell_of_the_export_is_never_a_formula(owner, share, person_of, database):
    """A file called «=cmd…» stays a name in a spreadsheet."""
    (share.folder / "=1+1.txt").write_text("x")
    name = urlsafe_b64encode(b"=1+1.txt").decode().rstrip("=")
    owner.get(f"/disk/documents/file?p={name}")
    table = owner.get(f"/ledger/account.csv?person={person_of(Role.OWNER).id}").text
    assert ";'=1+1.txt;" in table


def test_how_long_the_journal_is_kept_is_the_owners_to_say(client_as, database):
    """Longer than a year with a reason."""
    owner = client_as(Role.OWNER)
    assert owner.post("/ledger/keeping", data={"months": "24"}).status_code == 422
    good = {"months": "24", "reason": "A lawsuit goes on."}
    assert owner.post("/ledger/keeping", data=good).status_code == 303
    assert "24 months" in owner.get("/information").text
    admin = client_as(Role.TECHNICAL_ADMIN)
    assert admin.post("/ledger/keeping", data={"months": "6"}).status_code == 403


def test_closing_an_account_ends_every_way_in(owner, database, person_of, client_as):
    """Sessions, and what programs use."""
    secretary = person_of(Role.SECRETARY)
    mine = owner.cookies[COOKIE]
    theirs = client_as(Role.SECRETARY).cookies[COOKIE]
    owner.cookies.set(COOKIE, mine)
    assert owner.post(f"/people/{secretary.id}/close").status_code == 303
    owner.cookies.set(COOKIE, theirs)
    assert owner.get("/account").status_code == 303
    with database.read() as connection:
        assert people.get(connection, secretary.id).disabled_at is not None
