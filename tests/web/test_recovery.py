"""While the box is made again from a copy: each page says so, nothing is changed; afterwards its sheet."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db import shares
from appliance.jobs import recovery_status
from appliance.jobs.recovery_status import (
    Phase,
    RecoveryStatus,
    RepositoryLine,
    ShareLine,
)
from appliance.model import Role
from appliance.policy.share_rights import ALL
from appliance.web.app import create_app
from tests.web.conftest import PASSWORD


def status(**values: object) -> RecoveryStatus:
    now = utc_now()
    made = RecoveryStatus(
        phase=Phase.REPOSITORIES,
        at=now,
        started_at=now - timedelta(minutes=4),
        place="Hébergeur certifié",
        number=12,
        taken_at=now - timedelta(hours=9),
        lost_s=86_400,
        state_at=now - timedelta(minutes=3),
        readable_at=now - timedelta(minutes=3) + timedelta(seconds=8),
        bytes_total=10_000_000_000,
        bytes_back=4_000_000_000,
        bytes_s=10_000_000,
        documents_read=3,
        repositories=(
            RepositoryLine(0, "Boîtier", "box", 200_000_000, "right", 4.0),
            RepositoryLine(2, "Partage", "share", 3_800_000_000, "right", 300.0),
            RepositoryLine(1, "Poste accueil", "pulled", 6_000_000_000, "fetching"),
        ),
        shares=(ShareLine(2, "Partage", "/srv/partage"),),
        remarks=(
            (
                "%(place)s: generation %(number)s was altered or forged; it is not used.",
                {"place": "Disque du lundi", "number": 13},
            ),
        ),
    )
    return replace(made, **values)


@pytest.fixture
def reading(settings, database, practice, person_of) -> Iterator[TestClient]:
    """The owner's browser on a box that is being made again."""
    recovery_status.write_live(settings, status())
    owner = person_of(Role.OWNER)
    with TestClient(
        create_app(settings, database, read_only=True),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
        client=("127.0.0.1", 50_000),  # at the practice
    ) as client:
        answer = client.post("/sign-in", data={"login": owner.login, "password": PASSWORD})
        assert answer.status_code == 303, "signing in is what reading needs"
        yield client


def test_a_folders_page_says_it_as_it_is_now(reading, settings, database, tmp_path):
    """Its HTML is remembered by its facts otherwise; how far the box is goes on."""
    (tmp_path / "documents").mkdir()
    with database.write() as connection:
        made = shares.add(
            connection, name="papers", label="P", folder=tmp_path / "documents", now=utc_now()
        )
        shares.grant(connection, made.id, ALL, role=Role.OWNER, by=None, now=utc_now())
    for _ in range(2):
        assert 'value="400"' in reading.get("/disk/papers").text
    recovery_status.write_live(settings, status(bytes_back=7_000_000_000))

    page = reading.get("/disk/papers").text
    assert 'value="700"' in page
    assert 'value="400"' not in page


@pytest.mark.parametrize("path", ["/", "/sources", "/search?q=radio", "/ledger", "/account"])
def test_every_page_says_that_the_box_is_being_made_again(reading, path):
    """Somebody who opened a page yesterday must not take it for the whole truth."""
    page = reading.get(path).text

    assert "being made again from a copy" in page or "en cours de reconstruction" in page
    assert 'href="/recovery"' in page
    assert 'value="400"' in page  # of 1000


def test_the_page_before_signing_in_says_it_too(reading):
    reading.cookies.clear()
    assert "being made again from a copy" in reading.get("/sign-in").text


@pytest.mark.parametrize(
    "path", ["/sources/new", "/people", "/account/password", "/ledger/verify", "/sources/1/prune"]
)
def test_a_change_is_refused_with_a_page_that_says_why(reading, path):
    answer = reading.post(path, data={"x": "y"})

    assert answer.status_code == 409
    assert "access.reading-only" in answer.text
    assert "<html" in answer.text


def test_a_program_and_a_fragment_get_the_refusal_in_their_own_words(reading):
    body = reading.post("/api/v1/sources/1/back-up").json()
    assert body["error"]["code"] == "access.reading-only"
    answer = reading.post("/people", headers={"hx-request": "true"})
    assert (answer.status_code, "<html" in answer.text) == (409, False)


def test_the_language_can_be_chosen_and_one_can_sign_out(reading):
    assert reading.post("/language", data={"language": "en", "next": "/"}).status_code == 303
    assert reading.post("/sign-out").status_code == 303


def test_the_page_shows_how_far_it_is(reading):
    """Stations, sizes, pace, the rest, and what a place did."""
    reading.post("/language", data={"language": "en", "next": "/"})
    page = reading.get("/recovery").text

    for said in ("4.0 GB of 10 GB", "10 MB/s", "about 10 minutes left", "3 documents read",
                 "generation 12", "coming back", "altered or forged", "Hébergeur certifié"):  # fmt: skip
        assert said in page.replace("\N{NO-BREAK SPACE}", " "), said
    part = reading.get("/live/recovery?phase=repositories")
    assert part.status_code == 200
    assert "<html" not in part.text
    assert reading.get("/live/recovery?phase=state").headers["hx-refresh"] == "true"


def test_in_french_too(reading):
    reading.post("/language", data={"language": "fr", "next": "/"})
    page = reading.get("/recovery").text
    for said in ("en cours de reconstruction", "Dépôts", "Premier document lisible"):
        assert said in page


def test_a_recovery_that_fell_silent_is_said_to_be_so(reading, settings):
    recovery_status.write_live(settings, status(at=utc_now() - timedelta(minutes=5)))
    page = reading.get("/recovery").text
    assert "does not run any more" in page or "ne tourne plus" in page


def test_afterwards_the_sheet_stays_and_changes_are_possible_again(
    settings, database, practice, owner
):
    """An ordinary box: no banner, the sheet to print."""
    recovery_status.write_report(
        settings,
        status(
            phase=Phase.DONE,
            finished_at=utc_now(),
            repositories=(RepositoryLine(2, "Partage", "share", 5, "right", 1.0),),
            shares=(ShareLine(2, "Partage", "/srv/partage", "back", None, 12, 5, 1),),
        ),
    )
    page = owner.get("/recovery").text

    assert "data-print" in page
    assert "note is-warn no-print" not in owner.get("/").text
    assert owner.get("/sources/new").status_code == 200


def test_a_box_that_was_never_recovered_has_no_such_page(settings, database, practice, owner):
    assert owner.get("/recovery").status_code == 404
    assert owner.get("/api/v1/recovery").status_code == 404


def test_a_stranger_sees_nothing_of_it(settings, database, practice, anonymous):
    recovery_status.write_live(settings, status())
    assert anonymous.get("/recovery").status_code == 303


def test_the_status_comes_back_as_it_was_written(settings):
    one = status()
    recovery_status.write_report(settings, one)
    assert recovery_status.read_live(settings) == one
    assert recovery_status.is_unfinished(settings)
    assert one.left_s == 600


def test_a_second_factor_can_be_made_and_shown_while_the_box_is_being_made_again(reading):
    """The applications of the box that burnt are not known here: nobody is locked out of reading."""
    made = reading.post("/account/second-factor/application")

    assert made.status_code == 200
    assert reading.post("/sign-in/passkey/options").status_code == 200


@pytest.mark.parametrize(("folders", "is_said"), [({}, False), ({"partage": "/srv/partage"}, True)])
def test_a_share_that_comes_back_elsewhere_is_said_with_its_folder(
    reading, settings, folders, is_said
):
    """Who looks for the files on the box's disk finds them."""
    recovery_status.write_live(settings, status(folders=folders))

    page = reading.get("/recovery").text

    assert (
        "another folder: /srv/partage" in page or "autre dossier : /srv/partage" in page
    ) is is_said


def test_a_program_reads_how_far_it_is(reading, settings):
    """As on the page: no folder that is the same as before, and the box's own state is no repository."""
    recovery_status.write_live(
        settings,
        status(
            shares=(
                ShareLine(2, "Partage", "/srv/partage"),
                ShareLine(3, "Photos", "/srv/neuf", "partly", problem="Sites %(x)s", problem_facts={"x": 2}),
            ),
            folders={"photos": "/srv/neuf"},
        ),
    )  # fmt: skip

    body = reading.get("/api/v1/recovery").json()

    assert (body["phase"], body["generation"], body["left_s"]) == ("repositories", 12, 600)
    assert [each["label"] for each in body["repositories"]] == ["Partage", "Poste accueil"]
    assert [(each["folder"], each["problem"]) for each in body["shares"]] == [
        (None, ""),
        ("/srv/neuf", "Sites 2"),
    ]
    assert body["remarks"] == [
        "Disque du lundi: generation 13 was altered or forged; it is not used."
    ]
    assert (body["is_silent"], body["is_whole"]) == (False, False)
