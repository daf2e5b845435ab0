"""The copies in a real browser: the map, the assistant while one types, the chart; both widths, no script too."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db import targets, workers
from appliance.db.engine import Database, open_database
from appliance.jobs import queue
from appliance.jobs.kinds import SetUpTarget
from appliance.model import JobState, Role
from appliance.settings import Settings
from tests.support.browser import (
    DESK,
    PHONE,
    at_free_port,
    listen,
    listen_for_strangers,
    need_chromium,
    served,
    too_wide,
    window,
)
from tests.web.copied import HOST_KEY, Copied, add_transfer, fill_copies
from tests.web.practice import fill

pytestmark = pytest.mark.e2e


@dataclass
class Site:
    """A served box with four copies."""

    database: Database
    copied: Copied
    address: str
    token: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Served with TLS; its owner is signed in."""
    need_chromium()
    settings = at_free_port(Settings(data=tmp_path_factory.mktemp("copies")))
    database = open_database(settings.database, create=True)
    now = utc_now()
    fill(database, settings, now)
    copied = fill_copies(database, settings, now)
    add_transfer(database, copied.bucket, now)
    with database.write() as connection:
        workers.beat(connection, "e2e:1", now=now)
        owner = people.add(
            connection, login="claire.martin", name="Dr Claire Martin", role=Role.OWNER,
            language="fr", password_hash=None, now=now,
        )  # fmt: skip
        token = sessions.start(connection, owner.id, now=now, address="127.0.0.1", user_agent="e2e")
    with served(settings) as address:
        yield Site(database, copied, address, token)
    database.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A window whose console must stay silent and that asks no other host."""
    opened = window(browser, site, viewport=DESK)
    said = listen(opened, "error", "warning")
    strangers = listen_for_strangers(opened, site.address)
    yield opened
    opened.context.close()
    assert said == []
    assert strangers == []


PAGES = [
    "/", "/copies", "/copies/hebergeur", "/copies/coffre", "/copies/hebergeur/host",
    "/copies/hebergeur/set-up", "/copies/add", "/copies/add?kind=sftp", "/copies/add?kind=s3",
    "/copies/add?kind=directory", "/copies/add?kind=box",
    "/copies/hebergeur/host/letters/designation", "/copies/hebergeur/host/letters/reversibility",
]  # fmt: skip


def test_every_page_fits_a_phone_and_a_desk(page: Page) -> None:
    """No page is wider than its window, and the console says nothing."""
    for size in (PHONE, DESK):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        for path in PAGES:
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == 200, path
            assert too_wide(page) <= 0, (path, size)


@pytest.mark.parametrize(("size", "name"), [(PHONE, "tall"), (DESK, "wide")], ids=["phone", "desk"])
def test_one_map_is_shown_and_its_words_are_large_enough(
    page: Page, size: dict[str, int], name: str
) -> None:
    """Measured where it is drawn: no text under 12 px, none over the edge of its card."""
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.goto("/copies")

    assert page.locator("svg.map:visible").count() == 1
    found = page.evaluate(
        """name => {
          const map = document.querySelector(`svg.map.${name}`);
          const edges = [...map.querySelectorAll('a')].map(a => {
            const card = a.querySelector('.card-box').getBoundingClientRect();
            return [...a.querySelectorAll('text:not(.lag-text)')].map(t => {
              const text = t.getBoundingClientRect();
              return {said: t.textContent, over: text.right - card.right, high: text.height};
            });
          });
          return edges.flat();
        }""",
        name,
    )
    assert len(found) >= 12
    for text in found:
        assert text["over"] <= 0, text
        assert text["high"] >= 14, text  # 12 px letters are 14 px high


def test_a_place_of_the_map_is_reached_with_the_keyboard(page: Page) -> None:
    """And its name is the whole sentence."""
    page.goto("/copies")
    place = page.get_by_role(
        "link", name="Hébergeur Exemple. Hébergeurs certifiés HDS", exact=False
    )
    assert place.count() == 1
    place.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/copies/hebergeur")


def test_the_transfer_moves_while_one_looks(page: Page, site: Site) -> None:
    """Progress is polled; nothing is loaded by hand."""
    page.goto("/copies/coffre")
    before = page.get_attribute("#running progress", "value")
    with site.database.write() as connection:
        job = next(each for each in queue.waiting(connection) if each.kind == "copy.push")
        queue.report(
            connection,
            job.id,
            dataclasses.replace(job.progress, done=9_000_000_000),
            now=utc_now(),
        )

    page.wait_for_function(
        "before => document.querySelector('#running progress').value > Number(before) + 100",
        arg=before,
    )
    assert "9,0\N{NO-BREAK SPACE}Go" in page.inner_text("#running")


def test_the_chart_of_what_was_sent_is_drawn(page: Page) -> None:
    """From the table that is there without a script."""
    page.goto("/copies/hebergeur")
    page.wait_for_selector("#chart canvas")

    assert page.locator("#sizes tbody tr").count() == 9


def test_the_assistant_answers_while_one_types_and_goes_on_where_it_was(
    page: Page, site: Site
) -> None:
    """Kind, place, nature; then what the worker finds appears by itself; left and taken up again."""
    page.goto("/copies")
    page.click("text=Ajouter une copie")
    page.click("text=Un hébergeur, par S3")
    page.type("#region", "us-east-1")
    page.wait_for_selector("#tried li.is-bad")
    assert "hors de l’Espace économique européen" in page.inner_text("#tried")
    page.goto("/copies/add?kind=sftp")
    page.type("#label", "Hébergeur du Nord")
    page.type("#host", "sftp.nord.exemple.fr")
    page.type("#user", "cabinet")
    page.check("input[value='other']")
    page.wait_for_selector("#tried li.is-bad")
    assert "chiffrement n’y change rien" in page.inner_text("#tried")
    page.check("input[value='same-practice-elsewhere']")
    page.wait_for_selector("#tried li.is-good")
    page.click("button.main")
    page.wait_for_url("**/copies/hebergeur-du-nord/set-up")
    assert page.locator(".badge.is-busy").count() == 1

    with site.database.write() as connection:  # what the worker does
        row = targets.get_by_name(connection, "hebergeur-du-nord")
        job = queue.newest(connection, limit=1, kind=SetUpTarget.kind)[0]
        queue.claim(connection, runner="e2e:1", now=utc_now(), only=job.id)
        targets.set_facts(
            connection,
            row.id,
            {
                "public_key": "ssh-ed25519 AAAAC3 armoire",
                "offered_host_key": {"host_key": HOST_KEY},
            },
        )
        queue.finish(connection, job.id, JobState.SUCCEEDED, now=utc_now())

    page.wait_for_selector("text=Oui, c’est la même")
    assert "ssh-ed25519 AAAAC3" in page.inner_text("#key-line")
    page.goto("/copies")
    page.goto("/copies/hebergeur-du-nord/set-up")
    page.click("text=Oui, c’est la même")
    page.wait_for_selector("text=Confirmée")
    with site.database.write() as connection:
        targets.change(connection, row.id, removed_at=utc_now())


def test_the_menu_shows_where_one_is_on_a_phone(page: Page) -> None:
    """It is wider than the window there."""
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto("/copies")
    box = page.locator(".bar nav a[aria-current]").bounding_box()

    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]


def test_without_a_script_everything_is_there(browser: Browser, site: Site) -> None:
    """Map, proofs, forms, the assistant's answers after a click, the timetable."""
    plain = window(browser, site, java_script_enabled=False, viewport=PHONE)
    plain.goto("/copies")
    assert plain.locator("svg.map a").count() == 8
    plain.goto("/copies/add?kind=sftp")
    plain.fill("#label", "Sans script")
    plain.fill("#host", "sftp.exemple.fr")
    plain.fill("#user", "cabinet")
    plain.check("input[value='other']")
    plain.click("button.main")
    assert "chiffrement n’y change rien" in plain.inner_text("fieldset .problem")
    plain.goto("/copies/hebergeur")
    plain.click("summary:has-text('Changer les horaires')")
    plain.check("input[name='days-0'][value='0']")
    plain.fill("#start-0", "08:00")
    plain.fill("#end-0", "19:00")
    plain.fill("#rate-0", "250")
    plain.click("text=Enregistrer ces horaires")
    plain.wait_for_url("**done=bandwidth**")
    assert "250" in (plain.get_attribute("#rate-0", "value") or "")
    plain.context.close()
