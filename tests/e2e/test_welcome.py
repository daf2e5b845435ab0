"""The first day in a real browser: from the link of the console through every step, with a pause in between.

Nothing is made for show: a real second factor, real shares, a machine behind a real OpenSSH server, a place for
copies behind another one, a kit whose words are typed from its sheet. The worker's jobs are run here, one by one.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, Error, Page, expect

from appliance.accounts import links, people, sessions
from appliance.clock import utc_now
from appliance.commands.setting_up import BOX_ID
from appliance.db import facts, shares, sources, targets, workers
from appliance.disk import access
from appliance.jobs import kinds, queue
from appliance.jobs.kinds import PushCopy, SetUpSource, TakeSnapshot, VerifySnapshot
from appliance.model import BOX_SOURCE, JobState, Role
from appliance.worker import box_source
from tests.support.box import Box
from tests.support.browser import (
    DESK,
    PHONE,
    at_free_port,
    listen,
    listen_for_strangers,
    need_chromium,
    picture,
    served,
    too_wide,
    window,
)
from tests.support.reading import ReaderProcess
from tests.support.sshd import SshServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PASSWORD = "Vingt2-lampes"


@dataclass
class Site:
    """Where somebody is signed in."""

    address: str
    token: str


@dataclass
class Day:
    """A box as it is after ``armoire init``, served, with its reader."""

    box: Box
    address: str

    def work(self) -> list[str]:
        """Do what the worker would: every job that waits; return their kinds."""
        done = []
        while True:
            with self.box.database.read() as connection:
                waiting = [
                    each for each in queue.waiting(connection) if each.state is JobState.QUEUED
                ]
            if not waiting:
                return done
            job = waiting[0]
            assert self.box.run(kinds.from_json(job.kind, job.spec)) in {
                JobState.SUCCEEDED,
                JobState.WARNED,
            }, job.kind
            done.append(job.kind)


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    """The first day."""
    need_chromium()
    box = Box(tmp_path / "data")
    settings = at_free_port(box.settings)
    with box.database.write() as connection:
        workers.beat(connection, "e2e:1", now=utc_now())
        facts.put(connection, BOX_ID, "e2e0welcome", now=utc_now())
    box_source.ensure(settings, box.database, utc_now())
    with ReaderProcess(settings), served(settings) as address:
        yield Day(box, address)
    box.close()


@pytest.fixture(params=[PHONE, DESK], ids=["390", "1440"])
def page(browser: Browser, day: Day, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A French reader's window; its console stays silent and it asks no other host."""
    context = browser.new_context(
        ignore_https_errors=True, locale="fr-FR", base_url=day.address, viewport=request.param
    )
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    said = listen(opened, "error", "warning", but="422")
    strangers = listen_for_strangers(opened, day.address)
    yield opened
    context.close()
    assert said == []
    assert strangers == []


def see(page: Page, name: str) -> None:
    """It fits its window; keep what it looks like."""
    assert too_wide(page) <= 0, name
    width = page.viewport_size["width"] if page.viewport_size else 0
    if os.environ.get("ARMOIRE_PICTURES"):
        picture(page, f"{name}-{width}", whole=True)


def state(page: Page, step: str) -> str:
    """Return a step's state in words."""
    return page.locator(f"#step-{step} > summary .badge").inner_text()


def fresh(page: Page, address: str) -> None:
    """Load a page; one whose task just ended loads itself anew, and may do so under this."""
    for _ in range(3):
        try:
            page.goto(address)
        except Error as error:
            if "interrupted" not in error.message and "ERR_ABORTED" not in error.message:
                raise
        else:
            return
    page.goto(address)


def press(page: Page, name: str) -> None:
    """Press a button and wait until the box has answered: what it asks for is queued then."""
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button", name=name).click()


def back(page: Page, step: str) -> None:
    """Go back by the link every page shows meanwhile, and open the step."""
    link = page.get_by_role("link", name="Revenir aux premiers pas")
    expect(link).to_have_attribute("href", "/welcome")
    fresh(page, "/welcome")
    if page.locator(f"#step-{step}").get_attribute("open") is None:
        page.locator(f"#step-{step} > summary").click()


def first_account(page: Page, day: Day) -> None:
    with day.box.database.write() as connection:
        token = links.make_first_link(connection, now=utc_now())
    page.goto(links.address(day.address, token))
    page.locator("#name").fill("Claire Martin")
    page.locator("#new-login").fill("claire.martin")
    page.locator("#new-password").fill(PASSWORD)
    page.locator("#again").fill(PASSWORD)
    page.locator("main button.main").click()
    page.wait_for_url("**/welcome")


def second_factor(page: Page) -> pyotp.TOTP:
    page.get_by_role("link", name="Créer mon second facteur").click()
    page.get_by_role("button", name="Ajouter une application").click()
    page.get_by_text("Impossible de le scanner ?").click()
    app = pyotp.TOTP(page.locator("pre.copy").inner_text().strip())
    page.get_by_label("Code", exact=True).fill(app.now())
    page.get_by_role("button", name="Mettre en service").click()
    page.get_by_role("link", name="Je les ai conservés, continuer").click()
    page.wait_for_url("**/welcome")
    return app


def machine(page: Page, day: Day, sshd: SshServer, folder: Path) -> None:
    """The assistant of a machine, up to its first connection."""
    page.get_by_role("link", name="Ajouter le premier poste").click()
    see(page, "welcome-way-back")
    form = page.locator("form", has=page.locator("input[name=kind][value=machine]"))
    form.locator("input[name=label]").fill("Accueil")
    form.locator("input[name=system][value=linux]").check()
    form.locator("input[name=host]").fill(sshd.host)
    form.locator("summary").click()
    form.locator("input[name=user]").fill(sshd.user)
    form.locator("textarea[name=roots]").fill(str(folder))
    form.locator("input[name=port]").fill(str(sshd.port))
    form.locator("button.main").click()
    page.wait_for_url("**/set-up")
    back(page, "machine")
    assert state(page, "machine") == "à terminer"
    see(page, "welcome-machine-begun")
    day.work()
    with day.box.database.read() as connection:
        source = sources.get_by_name(connection, "accueil")
        sshd.authorize(str(sources.facts(connection, source.id)["public_key"]))
    page.locator("#step-machine").get_by_role("link", name="Continuer").click()
    press(page, "Oui, c’est la même")
    day.work()
    fresh(page, page.url)
    press(page, "Essayer maintenant")
    day.work()
    back(page, "machine")


def place(page: Page, day: Day, host: SshServer, folder: Path) -> None:
    """The assistant of a copy, up to the moment when it may leave."""
    page.get_by_role("link", name="Choisir où mettre la première copie").click()
    page.locator("a[href='/copies/add?kind=sftp']").click()
    page.locator("#label").fill("Second cabinet")
    page.locator("#host").fill(host.host)
    page.locator("#user").fill(host.user)
    page.locator("form summary").first.click()
    page.locator("#folder").fill(str(folder))
    page.locator("#port").fill(str(host.port))
    page.locator("input[name=nature][value=same-practice-elsewhere]").check()
    page.locator("#distance_km").fill("12")
    page.locator("main form button.main").click()
    page.wait_for_url("**/set-up")
    day.work()
    fresh(page, page.url)
    with day.box.database.read() as connection:
        row = targets.all_living(connection)[0]
    host.authorize(str(row.facts["public_key"]))
    press(page, "Oui, c’est la même")
    day.work()
    back(page, "copy")


def type_the_kit(page: Page) -> None:
    """One sheet: printed, its words typed."""
    page.get_by_role("link", name="Imprimer le kit").click()
    page.locator("#holder-1").fill("Dr Claire Martin")
    page.get_by_role("button", name="Garder ce choix").click()
    page.locator("#print-password").fill(PASSWORD)
    with page.context.expect_page() as opened:
        page.get_by_role("button", name=re.compile("Imprimer la feuille")).click()
    sheet = opened.value
    sheet.wait_for_selector("footer", state="attached")
    words = [each.split()[-1] for each in sheet.locator("ol li").all_inner_texts()]
    assert len(words) >= 20
    sheet.close()
    back(page, "kit")
    assert state(page, "kit") == "à terminer"
    page.locator("#step-kit").get_by_role("link", name="Continuer").click()
    page.goto("/kit/words")
    page.locator("#sheet1-1").fill(" ".join(words[:20]))
    page.get_by_role("button", name="Vérifier les mots").click()
    page.wait_for_url("**/kit?after=confirmed")
    back(page, "kit")


def test_the_first_day_from_the_link_to_the_last_step(page: Page, day: Day, tmp_path: Path) -> None:
    """Left in the middle, taken up again by a second sign-in; each step is done because it exists."""
    first_account(page, day)
    see(page, "welcome-new")
    assert page.locator("details[open]").get_attribute("id") == "step-practice"
    page.get_by_label("Nom du cabinet").fill("Cabinet des Lilas")
    page.get_by_label("Adresse postale").fill("1, rue Haute\n75001 Paris")
    page.get_by_role("button", name="Enregistrer et continuer").click()
    app = second_factor(page)
    assert (state(page, "practice"), state(page, "factor")) == ("terminé", "terminé")

    see(page, "welcome-share")
    page.get_by_label("Secrétariat").check()
    page.get_by_text("Un autre", exact=True).click()
    page.get_by_label("Son nom").fill("Comptes rendus")
    page.get_by_label("Ouvert à qui").select_option("doctors")
    page.get_by_role("button", name="Créer ces partages").click()
    expect(page.locator("#step-share > summary .badge")).to_have_text("terminé")
    with day.box.database.read() as connection:
        assert {each.name for each in shares.all_living(connection)} == {
            "tout-le-cabinet",
            "secretariat",
            "comptes-rendus",
        }

    # Later, and away.
    page.locator("#step-people").get_by_role("button", name="Plus tard").click()
    assert state(page, "people") == "plus tard"
    page.get_by_role("link", name="Quitter et continuer un autre jour").click()
    page.wait_for_url("**/disk")
    expect(page.get_by_text("reste à faire : 4 étapes")).to_be_visible()
    see(page, "disk-with-steps-left")
    page.get_by_role("button", name="Se déconnecter").first.click()

    # Another day.
    page.get_by_label("Votre identifiant").fill("claire.martin")
    page.get_by_label("Votre mot de passe").fill(PASSWORD)
    page.get_by_role("button", name="Se connecter", exact=True).click()
    # A code is good once: that of the step after, which counts already.
    page.get_by_label("Le code de votre application").fill(
        app.generate_otp(int(time.time()) // 30 + 1)
    )
    page.get_by_role("button", name="Continuer").click()
    page.wait_for_url("**/disk")
    page.get_by_role("link", name="Continuer les premiers pas").click()
    assert page.locator("details[open]").get_attribute("id") == "step-machine"

    folder = tmp_path / "accueil"
    folder.mkdir()
    (folder / "lettre.txt").write_text("Cher confrère")
    vault = tmp_path / "vault"
    vault.mkdir()
    with SshServer() as sshd, SshServer() as host:
        machine(page, day, sshd, folder)
        assert state(page, "machine") == "attend la nuit"
        see(page, "welcome-machine-waits")
        place(page, day, host, vault)
        assert state(page, "copy") == "attend la nuit"
        type_the_kit(page)
        assert state(page, "kit") == "terminé"
        expect(page.get_by_role("heading", name="Rien ne presse")).to_be_visible()
        see(page, "welcome-nothing-presses")

        # The night: the machine's files came back, the copy lies there.
        with day.box.database.read() as connection:
            source = sources.get_by_name(connection, "accueil")
            target = targets.all_living(connection)[0]
        day.box.run(TakeSnapshot(source.id))
        day.box.run(VerifySnapshot(source.id, day.box.newest(source).id))
        day.box.run(SetUpSource(BOX_SOURCE))
        day.box.run(TakeSnapshot(BOX_SOURCE))
        assert day.box.run(PushCopy(target.id)) in {JobState.SUCCEEDED, JobState.WARNED}
    page.goto("/welcome")
    assert state(page, "machine") == "terminé"
    assert state(page, "copy") == "terminé"

    # The last one: a colleague.
    page.locator("#step-people > summary").click()
    page.get_by_role("link", name="Ouvrir un compte pour un collègue").click()
    page.locator("#name").fill("Léa Blanc")
    page.locator("#login").fill("lea.blanc")
    page.get_by_role("button", name="Ouvrir le compte et créer son lien").click()
    page.get_by_role("link", name="Revenir aux premiers pas").click()
    expect(page.get_by_role("heading", name="Les premiers pas sont faits")).to_be_visible()
    see(page, "welcome-done")
    page.goto("/status")
    expect(page.get_by_role("link", name="Continuer les premiers pas")).to_have_count(0)
    with day.box.database.read() as connection:
        row = people.find_row(connection, "lea.blanc")
        assert row is not None
        held = access.held(connection, people.from_row(row), now=utc_now())
    assert {each.share.name for each in held} == {"tout-le-cabinet", "secretariat"}


def test_the_settings_in_a_browser(page: Page, day: Day) -> None:
    """Each group saved on its own; what cannot be is said beside its field."""
    first_account(page, day)
    page.goto("/settings")
    see(page, "settings")
    page.get_by_label("Nom du cabinet").fill("Cabinet des Lilas")
    page.locator("#practice button.main").click()
    expect(page.locator("#practice .badge")).to_have_text("Enregistré")
    page.locator("#ledger-months").fill("24")
    page.locator("#ledger button.main").click()
    expect(page.locator("[id='ledger.months-problem']")).to_contain_text("CNIL")
    see(page, "settings-problem")
    page.locator("#ledger-reason").fill("Contentieux en cours")
    page.locator("#ledger button.main").click()
    expect(page.locator("#ledger .badge")).to_have_text("Enregistré")


def test_the_steps_and_the_settings_without_a_script(browser: Browser, day: Day) -> None:
    """Forms and links alone: opened, filled in, put off, kept."""
    with day.box.database.write() as connection:
        owner = people.add(
            connection,
            login="claire.martin",
            name="Claire Martin",
            role=Role.OWNER,
            language="fr",
            password_hash=None,
            now=utc_now(),
        )
        token = sessions.start(
            connection, owner.id, now=utc_now(), address="127.0.0.1", user_agent="e2e"
        )
    page = window(browser, Site(day.address, token), java_script_enabled=False, viewport=PHONE)
    page.goto("/welcome")
    page.locator("#name").fill("Cabinet des Lilas")
    page.get_by_role("button", name="Enregistrer et continuer").click()
    assert state(page, "practice") == "terminé"
    page.locator("#step-share > summary").click()
    page.get_by_label("Comptabilité").check()
    page.get_by_role("button", name="Créer ces partages").click()
    assert state(page, "share") == "terminé"
    page.locator("#step-kit > summary").click()
    page.locator("#step-kit").get_by_role("button", name="Plus tard").click()
    assert state(page, "kit") == "plus tard"
    page.locator("#step-machine > summary").click()
    page.get_by_role("link", name="Ajouter le premier poste").click()
    page.get_by_role("link", name="Revenir aux premiers pas").click()
    page.goto("/settings")
    page.locator("#links-password").check()
    page.locator("#links button.main").click()
    expect(page.locator("#links .badge")).to_have_text("Enregistré")
    expect(page.locator("#links-password")).to_be_checked()
    page.context.close()
