"""The documents say what the code does."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_setting_job_kind_and_error_code_is_documented():
    """docs/reference.md is what `scripts/reference` writes today."""
    page = runpy.run_path(str(ROOT / "scripts" / "reference"))["page"]()

    assert (ROOT / "docs" / "reference.md").read_text("utf-8") == page


def test_every_link_between_the_documents_leads_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_runbooks_have_the_same_chapters_in_both_languages():
    chapters = {
        language: len(
            re.findall(
                r"^## ", (ROOT / "docs" / f"RUNBOOK.{language}.md").read_text("utf-8"), re.MULTILINE
            )
        )
        for language in ("fr", "en")
    }
    assert chapters["fr"] == chapters["en"] > 8


def test_the_words_to_avoid_are_avoided():
    """domain.md section 9: no claim the box cannot make."""
    for document in [
        ROOT / "README.md",
        *(ROOT / "docs").glob("RUNBOOK*"),
        *(ROOT / "appliance" / "locales").rglob("*.po"),
    ]:
        text = document.read_text("utf-8").lower()
        for word in ("cloud hds", "conforme hds", "conforme rgpd", "agréé hds", "100 % sécurisé"):
            assert word not in text, f"{document.name}: {word}"
