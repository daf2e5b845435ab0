"""What we keep is what `borg prune` keeps, and never less."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from appliance.model import Keep, SnapshotId
from appliance.policy.retention import KeepCandidate, KeepReason, decide

pytestmark = pytest.mark.integration

BORG = str(Path(sys.executable).with_name("borg"))
ZONE = "Europe/Paris"
#: Our reason → the rule Borg names.
RULES = {
    KeepReason.WITHIN: "within",
    KeepReason.DAILY: "daily",
    KeepReason.WEEKLY: "weekly",
    KeepReason.MONTHLY: "monthly",
    KeepReason.YEARLY: "yearly",
}


def run(home: Path, command: list[str], *, stdin: str | None = None) -> str:
    done = subprocess.run(
        command,
        input=stdin,
        env={
            "PATH": os.environ["PATH"],
            "BORG_BASE_DIR": str(home),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "TZ": ZONE,
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def borg(home: Path, *arguments: str) -> str:
    return run(home, [BORG, *arguments])


def moments(now: datetime) -> list[datetime]:
    """Three years: sparse at first, nightly at last, some days twice, around midnight and New Year."""
    found = [now - timedelta(days=day, hours=2) for day in range(28)]
    found += [now - timedelta(days=day, hours=9, minutes=day) for day in (1, 2, 5, 9)]
    found += [now - timedelta(days=day) for day in range(33, 200, 6)]
    found += [now - timedelta(days=day) for day in range(215, 1_100, 41)]
    year = now.year
    found += [
        datetime(year - 1, 12, 31, 22, 30, tzinfo=UTC),  # still December in Paris
        datetime(year - 1, 12, 31, 23, 30, tzinfo=UTC),  # January in Paris
        datetime(year - 1, 3, 30, 22, 30, tzinfo=UTC),  # the 31st in Paris, in summer time
    ]
    return sorted({each.replace(microsecond=0) for each in found})


#: Borg's own `create`, many times in one process: starting the program is most of its time.
CREATE_ALL = """
import json, sys
from borg.archiver import Archiver
from borg.logger import setup_logging

setup_logging(level="warning")
for arguments in json.load(sys.stdin):
    archiver = Archiver()
    parsed = archiver.get_args(["borg", *arguments], None)
    assert archiver.run(parsed) == 0
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[KeepCandidate]]:
    """A real repository with an archive for each moment."""
    folder = tmp_path_factory.mktemp("like-borg")
    home, repository, source = folder / "home", folder / "repository", folder / "letter.txt"
    source.write_text("Cher confrère")
    borg(home, "init", "--encryption", "none", str(repository))
    candidates = [
        KeepCandidate(SnapshotId(number), at)
        for number, at in enumerate(moments(datetime.now(tz=UTC)), 1)
    ]
    fast = ["create", "--files-cache=disabled"]
    creations = [
        [
            *fast,
            f"--timestamp={one.taken_at:%Y-%m-%dT%H:%M:%S}",
            f"{repository}::{one.id}",
            str(source),
        ]
        for one in candidates
    ]
    run(home, [sys.executable, "-c", CREATE_ALL], stdin=json.dumps(creations))
    return home, repository, candidates


def borgs_choice(home: Path, repository: Path, keep: Keep, archives: int) -> dict[int, str]:
    """Return what Borg would keep, each with the rule it names."""
    options = {
        "--keep-daily": keep.daily,
        "--keep-weekly": keep.weekly,
        "--keep-monthly": keep.monthly,
        "--keep-yearly": keep.yearly,
    }
    arguments = [f"{name}={count}" for name, count in options.items() if count]
    if keep.within_days:
        arguments.append(f"--keep-within={keep.within_days}d")
    said = borg(home, "prune", "--dry-run", "--list", *arguments, str(repository))
    kept = re.findall(r"^Keeping archive \(rule: ([\w\[\]]+) #\d+\):\s+(\d+) ", said, re.MULTILINE)
    would = re.findall(r"^Would prune:\s+(\d+) ", said, re.MULTILINE)
    assert len(kept) + len(would) == archives, said
    return {int(number): rule for rule, number in kept}


@pytest.mark.parametrize(
    "keep",
    [
        Keep(),
        Keep(yearly=3),
        Keep(within_days=0, daily=7, weekly=4, monthly=6, yearly=0),
        Keep(within_days=0, daily=0, weekly=60, monthly=0, yearly=0),
        Keep(within_days=0, daily=0, weekly=0, monthly=14, yearly=2),
        Keep(within_days=0, daily=0, weekly=0, monthly=0, yearly=9),
        Keep(within_days=0, daily=200, weekly=0, monthly=0, yearly=0),
        Keep(within_days=3, daily=1, weekly=1, monthly=1, yearly=1),
        Keep(within_days=10, daily=0, weekly=0, monthly=0, yearly=0),
        Keep(within_days=400, daily=2, weekly=0, monthly=3, yearly=1),
    ],
    ids=lambda keep: f"{keep.within_days}-{keep.daily}-{keep.weekly}-{keep.monthly}-{keep.yearly}",
)
def test_the_same_archives_stay_for_the_same_rules(archives, keep):
    """Archive by archive, the rule named too."""
    home, repository, candidates = archives
    decisions = decide(candidates, keep, datetime.now(tz=UTC), ZoneInfo(ZONE))

    ours = {int(one.id): one.why for one in decisions if one.kept}
    theirs = borgs_choice(home, repository, keep, len(candidates))
    assert set(ours) == set(theirs)
    for number, rule in theirs.items():
        assert (
            ours[number] is KeepReason.OLDEST if "oldest" in rule else RULES[ours[number]] == rule
        )
