"""The recovery kit in the browser: chosen, printed once, typed word by word, renewed."""

import json
import re
from datetime import timedelta
from html import unescape
from zoneinfo import ZoneInfo

import pytest

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import facts, practice, secrets, targets
from appliance.jobs import kit_words
from appliance.jobs.kit_readings import is_file_fresh
from appliance.ledger import chain
from appliance.model import Role
from appliance.replication import kit
from appliance.vault import words
from tests.web.conftest import PASSWORD
from tests.web.printed import split

THREE = {"needed": "2", "holder": ["Dr Martin", "Dr Petit", "Me Roux"]}


@pytest.fixture
def made(kit_made):
    """A box whose kit was made."""
    return kit_made


def form(*sheets):
    return {f"sheet{at}": text.split() for at, text in enumerate(sheets, start=1)}


def words_in(page):
    return re.findall(r"<li><span>\d+</span>([a-z]+)</li>", page)


def events_of(database):
    with database.read() as connection:
        return [each.event for each in chain.entries(connection)]


def test_the_road_from_no_kit_to_a_confirmed_one(owner, made, reader, settings):
    """Choose, print with the password, type from paper; then nothing can be printed any more."""
    assert "No recovery kit was printed" in owner.get("/kit").text
    assert owner.post("/kit/holders", data=THREE).headers["location"] == "/kit?after=holders"
    assert "Print the sheet of Me Roux" in owner.get("/kit").text

    printed = [
        owner.post(f"/kit/sheets/{number}", data={"password": PASSWORD}) for number in (1, 2, 3)
    ]

    assert [each.status_code for each in printed] == [200, 200, 200]
    for each in printed:
        assert each.headers["cache-control"] == "no-store"
        assert each.headers["content-type"] == "text/html; charset=utf-8"
        assert "script" not in each.headers["content-security-policy"]
        assert len(words_in(each.text)) == 20
    sheets = [" ".join(words_in(each.text)) for each in printed]
    page = owner.get("/kit").text
    assert not any(sheet in page for sheet in sheets)
    assert owner.post("/kit/words", data=form(sheets[2], sheets[0])).headers["location"] == (
        "/kit?after=confirmed"
    )
    assert "is-good" in owner.get("/kit").text
    with made.read() as connection:
        assert secrets.find_sealed(connection, kit.SECRET) is None
        assert secrets.find_sealed(connection, kit.SHEETS) is None
    again = owner.post("/kit/sheets/1", data={"password": PASSWORD})
    assert again.status_code == 403
    assert "forgotten" in again.text
    assert events_of(made).count("kit.printed") == 3
    with made.read() as connection:
        kept = json.dumps([each.body for each in chain.entries(connection)])
    log = reader.stop().decode()
    assert not any(word in kept or word in log for word in sheets[0].split()[4:] if len(word) > 6)


def test_a_sheet_bears_the_practices_day_and_not_the_machines(owner, made, reader):
    """Two places 25 hours apart never have the same date; what was chosen holds at once."""
    owner.post("/kit/holders", data=THREE)
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        with made.write() as connection:
            facts.put(connection, practice.TIME_ZONE, zone, now=utc_now())
        before = utc_now()
        sheet = owner.post("/kit/sheets/1", data={"password": PASSWORD}).text
        days = {at.astimezone(ZoneInfo(zone)) for at in (before, utc_now())}
        assert any(
            f">{day.day} {day:%B %Y}" in sheet or f" {day.day} {day:%B %Y}" in sheet for day in days
        )


@pytest.mark.parametrize("document", ["sheets/1", "file"])
def test_without_the_password_nothing_is_printed(owner, made, reader, document, box_keys):
    """A browser left open is not enough; the wrong password counts as a failed sign-in."""
    split(made, box_keys)

    refused = owner.post(f"/kit/{document}", data={"password": "wrong"})

    assert refused.status_code == 403
    assert "not your password" in refused.text
    assert not words_in(refused.text)
    with made.read() as connection:
        assert people.find_row(connection, "owner.martin").failures == 1
    assert "session.refused" in events_of(made)


@pytest.mark.parametrize("role", [Role.ASSOCIATE, Role.SECRETARY, Role.TECHNICAL_ADMIN])
def test_the_kit_is_the_owners(client_as, made, role):
    """Neither the page nor a sheet, whatever the password."""
    client = client_as(role)

    assert client.get("/kit").status_code == 403
    assert client.post("/kit/sheets/1", data={"password": PASSWORD}).status_code == 403
    assert client.post("/kit/file", data={"password": PASSWORD}).status_code == 403


def test_the_side_with_the_keys_asks_for_the_right_itself(
    client_as, person_of, made, reader, settings, box_keys
):
    """A web process that was taken over asks in vain in the name of somebody else."""
    from appliance.catalogue.reader_protocol import KitRequest
    from appliance.errors import NotAllowed
    from appliance.replication.kit_documents import open_document

    split(made, box_keys)
    secretary = person_of(Role.SECRETARY)

    with pytest.raises(NotAllowed):
        open_document(made, settings, KitRequest("sheet/1", secretary.id, PASSWORD), now=utc_now())


def test_a_slip_in_one_word_is_named_with_what_was_meant(owner, made, box_keys):
    """Forty words are not typed again for one letter."""
    first, second, _ = split(made, box_keys)
    typed = first.split()
    meant = typed[6]
    typed[6] = "zz" + meant[2:]

    answer = owner.post("/kit/words", data=form(" ".join(typed), second))

    assert answer.status_code == 422
    text = unescape(answer.text)
    assert re.search(r'id="sheet1-7-problem">Not one of the words', text)
    assert text.count('class="problem"') == 1
    assert f'value="{typed[5]}"' in text
    with made.read() as connection:
        assert facts.find(connection, "kit.confirmed_at") is None


def test_each_thing_that_can_be_wrong_with_sheets_is_said_at_the_sheet(owner, made, box_keys):
    """Which sheet, and what."""
    first, second, _ = split(made, box_keys)
    swapped = first.split()
    swapped[4], swapped[9] = swapped[9], swapped[4]
    other = words.split(words.make_secret(), needed=2, sheets=3)

    def said(*sheets):
        answer = owner.post("/kit/words", data=form(*sheets))
        assert answer.status_code == 422
        return dict(
            re.findall(r'id="sheet(\d)-problem" role="alert">([^<]*)<', unescape(answer.text))
        )

    assert said(first, first) == {"2": "Sheet 2 was already given. Take another one."}
    assert "another kit" in said(first, other[0])["2"]
    assert "another kit" in said(other[0], other[1])["1"]
    assert said(first, "") == {"2": "The words of this sheet are missing."}
    assert said(first, second.rsplit(maxsplit=1)[0]) == {"2": "Words missing: 1."}
    assert "do not fit together" in said(" ".join(swapped), second)["1"]


def test_a_whole_sheet_scanned_into_one_place_counts(owner, made, box_keys):
    """The code gives all words at once, in capitals; four letters of each are enough."""
    first, second, _ = split(made, box_keys)
    short = " ".join(word[:4] for word in second.split())

    answer = owner.post("/kit/words", data={"sheet1": first.upper(), "sheet2": [short, "", ""]})

    assert answer.headers["location"] == "/kit?after=confirmed"


def test_the_kit_file_opens_with_the_words_and_goes_out_of_date(owner, made, reader, box_keys):
    """A destination added later makes it want to be written again."""
    sheets = split(made, box_keys)
    with made.write() as connection:
        targets.add(
            connection,
            name="disque",
            label="Disque",
            kind="directory",
            place={"disk_id": "a" * 32},
            now=utc_now(),
        )

    answer = owner.post("/kit/file", data={"password": PASSWORD})

    assert answer.headers["content-disposition"].startswith('attachment; filename="armoire.kit"')
    opened = kit.read_file(answer.content, words.join(sheets[:2]))
    assert [each["name"] for each in opened.targets] == ["disque"]
    with made.read() as connection:
        assert is_file_fresh(connection)
    with made.write() as connection:
        targets.change(connection, targets.all_living(connection)[0].id, label="Disque bleu")
    assert "out of date" in owner.get("/kit").text


def test_a_new_kit_takes_the_formers_place_only_once_its_words_are_typed(owner, made, box_keys):
    """Until then a fire finds people with sheets that open."""
    old = split(made, box_keys)
    owner.post("/kit/words", data=form(old[0], old[1]))
    with made.read() as connection:
        before = facts.find(connection, "kit.recipient")
    one = {"needed": "1", "holder": ["Dr Petit", "", ""]}
    assert owner.post("/kit/renew", data=one).status_code == 422
    assert owner.post("/kit/renew", data=one | form(old[2], old[0])).status_code == 303
    with made.read() as connection:
        assert facts.find(connection, "kit.recipient") == before
    (new,) = split(made, box_keys, kit_words.KitPlan(1, ("Dr Petit",)))

    assert owner.post("/kit/words", data=form(new)).headers["location"] == "/kit?after=taken-over"

    with made.read() as connection:
        assert facts.find(connection, "kit.recipient") == words.recipient(words.join([new]))
        assert kit_words.state(connection).former_numbers == (words.kit_number(old[0]),)
    assert "still open what was sent in their time" in owner.get("/kit").text


def test_a_new_kit_can_be_given_up_and_lost_words_mean_sending_again(owner, made, box_keys):
    """The former goes on; nothing of the new one stays."""
    old = split(made, box_keys)
    owner.post("/kit/words", data=form(old[0], old[1]))
    assert owner.post("/kit/renew", data=THREE | {"resend": "1"}).status_code == 303
    with made.read() as connection:
        assert kit_words.state(connection).next.is_resent

    assert owner.post("/kit/renew/abandon").status_code == 303

    with made.read() as connection:
        known = kit_words.state(connection)
        assert known.next is None
        assert secrets.find_sealed(connection, kit_words.NEXT_SECRET) is None
    assert owner.post("/kit/words", data=form(old[1], old[2])).headers["location"] == (
        "/kit?after=rehearsed"
    )


def test_after_a_year_the_page_asks_for_a_rehearsal(owner, made, box_keys):
    """Paper fades, envelopes move."""
    sheets = split(made, box_keys)
    with made.write() as connection:
        kit_words.confirm(connection, sheets[:2], now=utc_now() - timedelta(days=366))

    page = owner.get("/kit").text

    assert "It is time to read the words" in page
    assert "is-warn" in page


@pytest.mark.parametrize(
    "data",
    [
        {"needed": "2", "holder": ["Dr Martin", "", "Me Roux"]},
        {"needed": "2", "holder": ["Dr Martin", "dr martin", "Me Roux"]},
        {"needed": "1", "holder": ["  "]},
        {"needed": "3", "holder": ["a", "b", "c"]},
        {"needed": "1", "holder": ["x" * 61]},
    ],
)
def test_a_choice_that_cannot_be_printed_is_refused(owner, made, data):
    """Each sheet has one person, each person one sheet."""
    assert owner.post("/kit/holders", data=data).status_code == 422
    with made.read() as connection:
        assert kit_words.state(connection).plan is None
