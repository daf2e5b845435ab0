"""Tests can be run at another time than this one (scripts/test_around_the_clock)."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "support" / "another_time.c"
DAY_S = 86_400
AGES = [-30, -1, 0, 2]  # days, seen from the other time
ASKED = f"""
import json, os, sys, time
from datetime import UTC, datetime
new, older = sys.argv[1:]
began = time.monotonic()
time.sleep(0.1)
slept = time.monotonic() - began
open(new, "w").close()
now = time.time()
dated = os.stat(new).st_mtime
ages = []
for days in {AGES}:
    os.utime(new, (now, now + days * {DAY_S}))
    ages.append(round((os.stat(new).st_mtime - now) / {DAY_S}, 3))
print(json.dumps([now, datetime.now(UTC).timestamp(), dated, slept, ages, os.stat(older).st_mtime]))
"""


@pytest.mark.parametrize("offset", [-40 * DAY_S, DAY_S // 2, 900 * DAY_S])
def test_a_program_lives_then_and_dates_its_files_then(tmp_path: Path, offset: int) -> None:
    """The clock and the dates of files move together; a sleep is not longer; what is old stays as old."""
    older = tmp_path / "older"
    older.touch()
    os.utime(older, (1_700_000_000, 1_700_000_000))
    library = tmp_path / "another_time.so"
    moved = [f"-DOFFSET={offset}", f"-DSINCE={int(time.time()) - 1}"]
    make = ["cc", "-w", "-shared", "-fPIC", *moved, "-o", library, LIBRARY, "-ldl"]
    subprocess.run(make, check=True)

    done = subprocess.run(
        [sys.executable, "-c", ASKED, tmp_path / "new", older],
        env={**os.environ, "LD_PRELOAD": str(library)},
        check=True,
        capture_output=True,
        text=True,
    )

    now, also, dated, slept, ages, old = json.loads(done.stdout)
    assert now - time.time() == pytest.approx(offset, abs=120)
    assert also == pytest.approx(now, abs=60)
    assert dated == pytest.approx(now, abs=60)
    assert 0.1 <= slept < 60
    assert ages == AGES
    assert old == 1_700_000_000
