"""The 3-2-1 indicator says what is missing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.policy.copies import MISSING_TEXTS, Copy, Missing, indicator

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PRODUCTION = Copy("disk-machine", NOW)
BOX = Copy("disk-box", NOW)
HOST = Copy("object-store", NOW - DAY, is_offsite=True, is_write_once=True)
USB = Copy("disk-usb", NOW - 3 * DAY, is_offline=True)


@pytest.mark.parametrize(
    ("copies", "missing"),
    [
        ([], [Missing.COPIES, Missing.MEDIA, Missing.OFFSITE, Missing.OFFLINE]),
        ([PRODUCTION], [Missing.COPIES, Missing.MEDIA, Missing.OFFSITE, Missing.OFFLINE]),
        ([PRODUCTION, BOX], [Missing.COPIES, Missing.OFFSITE, Missing.OFFLINE]),
        ([PRODUCTION, BOX, HOST], [Missing.OFFLINE]),
        ([PRODUCTION, BOX, USB], [Missing.OFFSITE]),
        ([PRODUCTION, BOX, HOST, USB], []),
        ([PRODUCTION, replace(BOX, good_at=None), HOST, USB], []),
        ([PRODUCTION, replace(BOX, good_at=None), HOST], [Missing.COPIES, Missing.OFFLINE]),
        ([PRODUCTION, BOX, replace(HOST, good_at=NOW - 8 * DAY), USB], [Missing.OFFSITE]),
        ([PRODUCTION, BOX, replace(USB, is_offsite=True)], []),
        (
            [PRODUCTION, BOX, replace(USB, good_at=NOW - 8 * DAY)],
            [Missing.OFFSITE, Missing.OFFLINE],
        ),
        ([PRODUCTION, BOX, HOST, replace(USB, good_at=NOW - 30 * DAY)], []),
        ([PRODUCTION, BOX, HOST, replace(USB, good_at=NOW - 32 * DAY)], [Missing.OFFLINE]),
        (
            [
                Copy("disk", NOW),
                Copy("disk", NOW),
                Copy("disk", NOW, is_offsite=True, is_offline=True),
            ],
            [Missing.MEDIA],
        ),
    ],
)
def test_the_truth_table(copies, missing):
    """domain.md SAV-18: write-once is not offline, but lets the offline copy be rarer."""
    assert list(indicator(copies, NOW).missing) == missing


def test_what_is_there_is_counted_apart():
    """Write-once is shown beside offline, not as it."""
    found = indicator([PRODUCTION, BOX, HOST], NOW)

    assert (found.copies, found.media) == (3, 3)
    assert found.has_offsite
    assert found.has_write_once
    assert not found.has_offline
    assert set(MISSING_TEXTS) == set(Missing)
