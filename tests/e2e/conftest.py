"""What every browser test may ask for."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, talking to nobody else; one for each file, since its loop is of this thread."""
    with chromium() as started:
        yield started
