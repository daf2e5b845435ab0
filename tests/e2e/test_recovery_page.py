"""The page of a recovery in a real browser: on a phone and on a desk, live, with a silent console."""

import dataclasses
from datetime import timedelta

import pytest

from appliance.accounts import passwords, people
from appliance.clock import utc_now
from appliance.jobs import recovery_status
from appliance.jobs.recovery_status import Phase, RecoveryStatus, RepositoryLine, ShareLine
from appliance.model import Role
from tests.support.box import Box
from tests.support.browser import at_free_port, listen, need_chromium, served, too_wide

pytestmark = pytest.mark.e2e
GB = 1_000_000_000
PASSWORD = "Vingt2-lampes"


def status(**values: object) -> RecoveryStatus:
    now = utc_now()
    made = RecoveryStatus(
        phase=Phase.REPOSITORIES,
        at=now,
        started_at=now - timedelta(minutes=6),
        place="Hébergeur certifié de Lyon",
        number=212,
        taken_at=now - timedelta(hours=9),
        lost_s=86_400,
        state_at=now - timedelta(minutes=5),
        readable_at=now - timedelta(minutes=5) + timedelta(seconds=9),
        bytes_total=41 * GB,
        bytes_back=17 * GB,
        bytes_s=11_500_000,
        documents_read=4,
        attempts=2,
        repositories=(
            RepositoryLine(0, "Boîtier", "box", GB, "right", 21.0),
            RepositoryLine(3, "Partage du cabinet", "share", 12 * GB, "right", 900.0),
            RepositoryLine(1, "Poste accueil", "pulled", 8 * GB, "fetching"),
            RepositoryLine(2, "Serveur d\u2019imagerie", "pulled", 20 * GB),
        ),
        shares=(ShareLine(3, "Partage du cabinet", "/srv/partage"),),
        remarks=(
            (
                "%(place)s: generation %(number)s was altered or forged; it is not used.",
                {"place": "Disque du lundi", "number": 213},
            ),
        ),
    )
    return dataclasses.replace(made, **values)


def test_how_it_goes_can_be_watched_and_the_sheet_printed(tmp_path, browser):
    """No width is left over, nothing is said on the console, the figures move by themselves."""
    need_chromium()
    box = Box(tmp_path / "data")
    recovery_status.write_live(box.settings, status())
    with box.database.write() as connection:
        people.add(
            connection, login="claire.martin", name="Dr Claire Martin", role=Role.OWNER,
            language="fr", password_hash=passwords.make_hash(PASSWORD), now=utc_now(),
        )  # fmt: skip
    settings = at_free_port(box.settings)
    with served(settings, read_only=True) as address:
        context = browser.new_context(
            ignore_https_errors=True, locale="fr-FR", base_url=address, color_scheme="light"
        )
        page = context.new_page()
        said = listen(page, "error", "warning")
        page.goto("/sign-in?next=/recovery")
        page.fill("input[name=login]", "claire.martin")
        page.fill("input[name=password]", PASSWORD)
        page.click("main form button")
        page.get_by_role("link", name="Plus tard").click()  # no second factor yet
        page.wait_for_url("**/recovery")
        for width in (390, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto("/recovery")
            page.wait_for_timeout(300)
            assert too_wide(page) <= 0
            page.screenshot(path=tmp_path / f"recovery-{width}.png", full_page=True)
            assert page.get_by_role("heading", level=1).inner_text().startswith("Le boîtier")
        recovery_status.write_live(box.settings, status(bytes_back=33 * GB))
        page.get_by_text("33 Go", exact=False).first.wait_for(timeout=60_000)
        page.goto("/")
        page.screenshot(path=tmp_path / "home.png", full_page=True)
        page.goto("/recovery")
        recovery_status.write_live(
            box.settings,
            status(
                phase=Phase.DONE,
                lost_s=0,
                finished_at=utc_now(),
                shares=(
                    ShareLine(3, "Partage du cabinet", "/srv", "back", None, 48_211, 9 * GB, 2),
                ),
            ),
        )
        page.get_by_role("heading", name="Fiche de reconstruction").wait_for(timeout=60_000)
        for width in (390, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=tmp_path / f"sheet-{width}.png", full_page=True)
            assert too_wide(page) <= 0
        context.close()
    box.close()
    assert said == []
