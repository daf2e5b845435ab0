"""What every browser test may ask for."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import chromium

#: A machine that runs three workers on two cores is slow; nothing waits that long where all is well.
expect.set_options(timeout=40_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, talking to nobody else; one for each file, since its loop is of this thread."""
    with chromium() as started:
        yield started
