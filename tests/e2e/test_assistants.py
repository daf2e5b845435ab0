"""What a person does in several steps, done in a real browser on a phone or a desk, in French, from its first page to its end."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from appliance.accounts import passwords, people, sessions
from appliance.clock import utc_now
from appliance.db import sources, workers
from appliance.disk import set_up
from appliance.jobs import queue
from appliance.jobs.kinds import SetUpSource
from appliance.model import JobState, Person, Role
from appliance.replication import kit
from appliance.vault import words
from tests.support.box import Box
from tests.support.browser import DESK, PHONE, at_free_port, listen, need_chromium, served, too_wide
from tests.support.browser import window as open_window
from tests.web.copied import HOST_KEY, fill_copies
from tests.web.practice import fill

pytestmark = pytest.mark.e2e

PASSWORD = "Trois-lampes9"
LETTER = "Courrier Dupont.txt"


@dataclass
class Site:
    """A served box, and those who work with it."""

    box: Box
    address: str
    people: dict[str, Person]

    def token(self, login: str) -> str:
        """Sign somebody in, as if they had just shown who they are."""
        with self.box.database.write() as connection:
            return sessions.start(
                connection, self.people[login].id, now=utc_now(), address="127.0.0.1",
                user_agent="Firefox Windows",
            )  # fmt: skip


@dataclass
class Visitor:
    """Where somebody is signed in."""

    address: str
    token: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A small practice with nights and copies, a share of the owner's, four people."""
    need_chromium()
    now = utc_now()
    box = Box(tmp_path_factory.mktemp("assistants") / "data")
    fill(box.database, box.settings, now)
    fill_copies(box.database, box.settings, now)
    secret = passwords.make_hash(PASSWORD)
    with box.database.write() as connection:
        workers.beat(connection, "e2e:1", now=now)
        found = {
            login: people.add(
                connection, login=login, name=name, role=role, language="fr",
                password_hash=secret, now=now,
            )
            for login, name, role in (
                ("claire.martin", "Dr Claire Martin", Role.OWNER),
                ("hugo.petit", "Dr Hugo Petit", Role.ASSOCIATE),
                ("lea.bernard", "Léa Bernard", Role.SECRETARY),
            )
        }  # fmt: skip
        share = set_up.make_share(
            connection, box.settings, name="documents", label="Documents du cabinet",
            person_id=found["claire.martin"].id, now=now,
        )  # fmt: skip
        kit.make(connection, box.settings.keys, now=now)
    (share.folder / LETTER).write_text("Chère consœur,\n")
    settings = at_free_port(box.settings)
    with served(settings) as address:
        yield Site(box, address, found)
    box.close()


Open = Callable[..., Page]


@pytest.fixture
def window(browser: Browser, site: Site) -> Iterator[Open]:
    """Open windows of people; no console says anything, nothing is ever wider than its window."""
    opened: list[tuple[Page, list[str]]] = []

    def make(login: str = "claire.martin", size: dict[str, int] = DESK) -> Page:
        page = open_window(browser, Visitor(site.address, site.token(login)), viewport=size)
        opened.append((page, listen(page, "error", "warning", but="422")))
        page.on("dialog", lambda dialog: dialog.accept())
        return page

    yield make
    for page, said in opened:
        page.context.close()
        assert said == []


def button(page: Page, name: str) -> None:
    """Press a button by what it is called."""
    assert too_wide(page) <= 0, page.url
    page.get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_computer_is_connected_step_by_step(
    window: Open, site: Site, size: dict[str, int]
) -> None:
    """What the worker finds appears by itself; the identity is compared, then the connection is tried."""
    page = window(size=size)
    page.goto("/sources")
    page.get_by_role("link", name="Ajouter un poste ou un partage").click()
    form = page.get_by_role("form", name="Un ordinateur du cabinet")
    form.get_by_label("Nom affiché").fill(f"Poste radio {size['width']}")
    form.get_by_label("Linux").check()
    form.get_by_label("Son adresse sur le réseau").fill(f"192.168.1.{size['width'] % 250}")
    form.get_by_role("button", name="Continuer").click()
    page.wait_for_url("**/set-up")
    expect(page.get_by_text("en cours").first).to_be_visible()
    source_id = int(re.search(r"/sources/(\d+)/", page.url)[1])
    with site.box.database.write() as connection:  # what the worker does
        job = next(
            each
            for each in queue.newest(connection, limit=5, kind=SetUpSource.kind)
            if each.source_id == source_id
        )
        queue.claim(connection, runner="e2e:1", now=utc_now(), only=job.id)
        sources.set_facts(
            connection, source_id,
            {"public_key": "ssh-ed25519 AAAAC3 armoire", "offered_host_key": {"host_key": HOST_KEY}},
        )  # fmt: skip
        queue.finish(connection, job.id, JobState.SUCCEEDED, now=utc_now())
    expect(page.get_by_text("ssh-ed25519 AAAAC3").first).to_be_visible(timeout=60_000)
    assert too_wide(page) <= 0


def test_a_share_is_made_and_opened_to_a_role(window: Open) -> None:
    """Closed at first; a tick opens it to the secretary, who then sees it."""
    page, other = window(size=PHONE), window("lea.bernard")
    page.goto("/disk")
    page.get_by_role("link", name="Partages et droits").click()
    page.get_by_label("Nom affiché").fill("Comptabilité")
    button(page, "Créer le partage")
    expect(page.get_by_role("heading", level=1)).to_have_text("Comptabilité")
    other.goto("/disk")
    assert "Comptabilité" not in other.inner_text("main")
    page.get_by_label("secrétaire médicale : voir").check()
    button(page, "Enregistrer ces droits")
    expect(page.get_by_role("status").first).to_contain_text("valable dès maintenant")
    other.goto("/disk")
    other.get_by_role("link", name="Comptabilité").click()
    expect(other.get_by_role("heading", level=1)).to_have_text("Comptabilité")


def test_an_account_is_opened_used_and_closed(window: Open, browser: Browser, site: Site) -> None:
    """The link signs in once; a password is chosen; closed, the account opens nothing."""
    page = window(size=PHONE)
    page.goto("/people")
    page.get_by_label("Prénom et nom").fill("Zoé Leroy")
    page.get_by_label("Identifiant", exact=True).fill("zoe.leroy")
    page.get_by_label("secrétaire médicale").check()
    button(page, "Ouvrir le compte et créer son lien")
    link = page.inner_text("#the-link")
    context = browser.new_context(ignore_https_errors=True, locale="fr-FR", viewport=PHONE)
    new = context.new_page()
    said = listen(new, "error", "warning")
    new.goto(link)
    new.wait_for_url("**/account**")
    new.get_by_label("Nouveau mot de passe").fill(PASSWORD)
    new.get_by_label("Le mot de passe, encore une fois").fill(PASSWORD)
    button(new, "Changer le mot de passe")
    expect(new.get_by_role("heading", level=1)).to_have_text("Zoé Leroy")
    row = page.get_by_role("row", name="Zoé Leroy")
    row.get_by_role("button", name="Fermer").click()
    expect(page.get_by_role("row", name="Zoé Leroy")).to_contain_text("fermé le")
    new.goto(f"{site.address}/account")
    expect(new.get_by_label("Votre identifiant")).to_be_visible()
    context.close()
    assert said == []


def test_a_replacement_is_prepared_extended_and_ended(window: Open) -> None:
    """A wrong number is said at its field and nothing typed is lost."""
    page = window(size=PHONE)
    page.goto("/locums")
    page.get_by_role("link", name="Préparer un remplacement").click()
    page.get_by_label("Prénom et nom").fill("Paul Durand")
    page.get_by_label("Identifiant", exact=True).fill("paul.durand")
    page.get_by_label("Numéro RPPS").fill("123")
    button(page, "Préparer et créer le lien")
    expect(page.get_by_role("alert").first).to_be_visible()
    expect(page.get_by_label("Prénom et nom")).to_have_value("Paul Durand")
    assert page.get_by_label("Numéro RPPS").get_attribute("aria-invalid") == "true"
    page.get_by_label("Numéro RPPS").fill("10001234567")
    button(page, "Préparer et créer le lien")
    expect(page.locator("#the-link")).to_contain_text("/link#")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Paul Durand, remplaçant de")
    button(page, "Mettre fin maintenant")
    expect(page.get_by_text("terminé").first).to_be_visible()
    page.get_by_role("link", name="Compte rendu").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compte rendu du remplacement")


def test_an_emergency_access_is_taken_seen_on_every_page_and_reviewed(window: Open) -> None:
    """Too short a reason is refused; the banner ends it; the owner is told and signs."""
    taker, owner = window("hugo.petit", PHONE), window()
    taker.goto("/emergency")
    taker.get_by_label("Partage").select_option("Documents du cabinet")
    taker.get_by_label("Pourquoi").fill("Une patiente du Dr Martin fait une réaction")
    taker.locator("button.grave.main").click()
    expect(taker.get_by_text("Courrier Dupont.txt").first).to_be_visible()
    taker.goto("/account")
    expect(taker.locator(".emergency")).to_contain_text("Documents du cabinet")
    button(taker, "Terminer maintenant")
    expect(taker.locator(".emergency")).to_have_count(0)
    owner.goto("/notices")
    owner.get_by_role("link", name="Voir").first.click()
    owner.get_by_label("Était-ce justifié").fill("Oui, rien à redire.")
    button(owner, "Signer")
    expect(owner.get_by_text("Oui, rien à redire.")).to_be_visible()


def test_a_password_of_a_program_is_made_shown_once_and_taken_back(window: Open) -> None:
    """Its secret is on no later page."""
    page = window(size=PHONE)
    page.goto("/account")
    page.get_by_role("link", name="Mots de passe d’application").click()
    page.get_by_label("Quel programme, sur quel poste").fill("Tableau de bord")
    page.get_by_label("programme (API)").check()
    page.get_by_label("voir comment va le boîtier").check()
    button(page, "Créer le mot de passe")
    secret = page.locator("pre.copy").first.inner_text().strip()
    assert len(secret) > 20
    page.goto("/account/tokens")
    assert secret not in page.content()
    page.get_by_role("button", name="Révoquer").click()
    expect(page.get_by_text("Tableau de bord")).to_have_count(0)


def test_a_plan_is_changed_and_says_what_it_promises(window: Open) -> None:
    """What cannot be is said at its field."""
    page = window(size=PHONE)
    page.goto("/sources")
    page.get_by_role("link", name="Poste accueil").click()
    page.get_by_role("link", name="Modifier").click()
    page.get_by_label("Puis un par jour").fill("30")
    page.get_by_label("Un par mois").fill("24")
    button(page, "Enregistrer ce plan")
    page.wait_for_url(re.compile(r"/sources/\d+"))
    expect(page.locator("main")).to_contain_text("24 mois")


def test_the_rights_are_reviewed_and_signed(window: Open) -> None:
    """Every account is ticked, then signed by name; the signed one can be read again."""
    page = window()
    page.goto("/access-review")
    for tick in page.get_by_label("Est toujours là, et a besoin d’exactement cela").all():
        tick.check()
    page.get_by_label("Votre nom, en guise de signature").fill("Dr Claire Martin")
    page.get_by_role("button", name="Signer", exact=True).click()
    page.goto("/access-review/last")
    expect(page.get_by_text("Signée la dernière fois")).to_be_visible()


def test_wrong_words_of_an_exercise_are_said_where_they_stand(window: Open, site: Site) -> None:
    """The right ones stay; the place that is wrong takes the focus of whoever cannot see it."""
    page = window(size=PHONE)
    (sheet,) = words.split(words.make_secret(), needed=1, sheets=1)
    page.goto("/drills")
    page.get_by_role("link", name="Commencer un exercice").click()
    typed = sheet.split()
    for place, word in enumerate(typed, start=1):
        page.fill(f"#sheet1-{place}", word if place != 7 else "zz" + word)
    button(page, "Commencer l’exercice")
    expect(page.locator("#sheet1-7-problem")).to_be_visible()
    assert page.locator(".kit-words .problem").count() == 1
    assert page.input_value("#sheet1-8") == typed[7]


def test_the_journal_is_asked_about_an_account(window: Open, tmp_path: Path) -> None:
    """A table on the page, the same as a file for a spreadsheet."""
    page = window(size=PHONE)
    page.goto("/ledger")
    page.get_by_role("link", name="Ce qu’un compte a fait").click()
    page.get_by_label("Qui", exact=True).select_option("Dr Claire Martin")
    button(page, "Interroger le journal")
    expect(page.locator("main table")).to_contain_text("Documents du cabinet")
    assert too_wide(page) <= 0
    with page.expect_download() as waiting:
        page.get_by_role("link", name=re.compile("tableur|CSV")).click()
    assert "Documents du cabinet" in waiting.value.path().read_text("utf-8-sig")


def test_an_answer_that_takes_long_shows_that_it_goes_on(window: Open) -> None:
    """Said to who listens too; gone with the answer."""
    page = window(size=PHONE)
    page.goto("/ledger")
    # While a page is on its way to the next one it answers no question: it writes down what it showed.
    page.evaluate(
        """() => new MutationObserver(() => {
          const bar = document.querySelector(".slow progress");
          if (bar) sessionStorage.shown = `${bar.checkVisibility()} ${bar.parentElement.innerText.trim()}`;
        }).observe(document.body, { childList: true })"""
    )

    def slowly(route: Route) -> None:
        time.sleep(2)  # of the browser's own time: it is not waited for here
        route.continue_()

    page.route("**/ledger/verify", slowly)
    button(page, "Vérifier la chaîne maintenant")
    page.wait_for_function("sessionStorage.shown === 'true Un instant…'")
    expect(page.locator(".slow")).to_have_count(0)


def test_the_settings_are_kept_and_what_cannot_be_is_said(window: Open) -> None:
    """Each group by itself."""
    page = window(size=PHONE)
    page.goto("/settings")
    group = page.get_by_role("region", name="Le cabinet", exact=True)
    group.get_by_label("Nom du cabinet").fill("Cabinet des Tilleuls")
    group.get_by_role("button", name="Enregistrer").click()
    expect(group.get_by_role("status")).to_be_visible()
    expect(group.get_by_label("Nom du cabinet")).to_have_value("Cabinet des Tilleuls")
    assert too_wide(page) <= 0


def test_a_network_is_declared_and_taken_back(window: Open) -> None:
    """What is no network is said; one's own is not shut by a slip."""
    page = window(size=PHONE)
    page.goto("/network")
    page.get_by_label("Un autre réseau").fill("n’importe quoi")
    button(page, "Déclarer")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Un autre réseau").fill("192.168.77.0/24")
    button(page, "Déclarer")
    page.get_by_role("button", name="Supprimer 192.168.77.0/24").click()
    expect(page.get_by_text("192.168.77.0/24")).to_have_count(0)


def test_the_password_of_the_file_explorer_is_shown_once(window: Open) -> None:
    """Beside the name to type with it."""
    page = window(size=PHONE)
    page.goto("/connect")
    button(page, "Faire mon mot de passe")
    secret = page.locator("#smb-password").inner_text()
    assert len(secret) > 10
    assert too_wide(page) <= 0
    page.goto("/connect")
    assert secret not in page.content()


def test_how_people_sign_in_is_decided(window: Open) -> None:
    """The rule holds at once; an account is prepared by its number."""
    page = window(size=PHONE)
    page.goto("/access")
    page.get_by_label("Sans clic, une session se ferme après").select_option(label="15 minutes")
    page.get_by_role("form", name="Règles").get_by_role("button", name="Enregistrer").click()
    expect(page.get_by_role("status").first).to_be_visible()
    page.goto("/account")
    expect(page.get_by_text("15 minutes sans")).to_be_visible()
