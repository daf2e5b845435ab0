"""The journal is read by people: what happened is said in words, for every event that is ever written."""

import re
from pathlib import Path

import appliance
from appliance.web.pages.ledger_names import EVENT_NAMES

#: What the rooms write: ``event="…"``, and the short ways to it.
WRITTEN = re.compile(
    r"""(?:event=|(?:events\.record|_record|_note|record_access|\brecord)\(\s*(?:[\w.]+,\s*){1,2})
    \s*"([a-z][a-z-]*\.[a-z-]+)\"""",
    re.VERBOSE,
)


def written() -> set[str]:
    """Return every event named in the source."""
    sources = Path(appliance.__file__).parent.rglob("*.py")
    return {name for path in sources for name in WRITTEN.findall(path.read_text())}


def test_every_event_of_the_journal_has_words() -> None:
    """No page shows a code to a person."""
    found = written()
    assert len(found) > 60, "the events are written in another way: this test looks for the old one"
    assert {"session.start", "file.opened", "link.seen", "share.made"} <= found
    assert {name for name in found if not name.startswith("proof.")} - set(EVENT_NAMES) == set()


def test_what_the_night_does_with_received_files_has_words() -> None:
    """Their names are written in another way than the others' were: they had none."""
    assert {"link.settled", "link.expired", "link.lost", "link.found-again"} <= set(EVENT_NAMES)
