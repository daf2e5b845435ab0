"""The whole box at rest: web interface, worker and reader together, after a night and a page."""

import ssl
import time
import urllib.request

import psutil
import pytest

from tests.bench.report import record
from tests.support.armoire import Armoire, end, until
from tests.support.sshd import free_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

BAR_MB, BAR_CORE = 200.0, 1.0
MEASURED_S = 60.0


def test_the_box_at_rest_is_small_and_quiet(tmp_path):
    """200 MB resident and 1 % of a core, measured over a minute with nothing to do."""
    port = free_port()
    armoire = Armoire(tmp_path / "box", ARMOIRE_LISTEN_PORT=str(port))
    share = tmp_path / "share"
    share.mkdir()
    (share / "a.txt").write_text("a")
    assert armoire("init").code == 0
    assert armoire("share", "add", "partage", share).code == 0
    assert armoire("backup", "--all").code == 0  # the box itself too: its night is over
    box = armoire.start("run")
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/", context=unchecked) as page:
                return page.status == 200
        except OSError:
            return False

    try:
        until(answers)
        time.sleep(15)  # the first turns of the planner
        family = psutil.Process(box.pid).children(recursive=True)
        before = sum(sum(each.cpu_times()[:2]) for each in family)
        time.sleep(MEASURED_S)
        spent = sum(sum(each.cpu_times()[:2]) for each in family) - before
        parts = {
            next((word for word in each.cmdline() if word in {"worker", "serve"}), "reader"): round(
                each.memory_info().rss / 1e6
            )
            for each in family
        }
    finally:
        end(box)
    resident = float(sum(parts.values()))
    core = 100 * spent / MEASURED_S

    small = record("box at rest, resident [MB]", resident, BAR_MB, resident <= BAR_MB, dict(parts))
    quiet = record("box at rest, processor [% of a core]", core, BAR_CORE, core < BAR_CORE, {})
    assert small.ok
    assert quiet.ok
