"""The file explorer listens in the local networks, in the tunnel when somebody switched that on, and nowhere else."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db.engine import Database, open_database
from appliance.disk.smb_config import Places, from_json
from appliance.disk.smb_samba import Samba
from appliance.jobs import network
from appliance.settings import Settings
from appliance.worker.tasks import smb_plan
from tests.support.smb import why_not

OWN = ["127.0.0.1", "10.1.2.3", "203.0.113.5", "10.113.77.1", "2001:db8::5"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A practice in a large network, which the tunnel's happens to lie in."""
    settings = Settings(data=tmp_path / "data")
    settings.data.mkdir()
    opened = open_database(settings.database, create=True)
    with opened.write() as connection:
        from appliance.db import facts, local_networks

        facts.put(connection, local_networks.FACT, ["10.0.0.0/8"], now=utc_now())
    yield opened
    opened.close()


def plan(database: Database, *, in_tunnel: bool):
    with database.write() as connection:
        network.set_smb_in_tunnel(connection, is_on=in_tunnel, now=utc_now())
    with database.read() as connection:
        return from_json(smb_plan.wanted(connection, now=utc_now()).to_json())


@pytest.mark.integration
@pytest.mark.parametrize(
    ("in_tunnel", "expected"),
    [(False, {"10.1.2.3"}), (True, {"10.1.2.3", "10.113.77.1"})],
    ids=["off", "on"],
)
def test_smbd_binds_the_local_addresses_and_the_tunnels_by_switch(
    database: Database, tmp_path: Path, in_tunnel: bool, expected: set[str]
) -> None:
    """Real smbd among an outside address, the tunnel's, and one of the practice."""
    reason = why_not()
    if reason is not None or shutil.which("ss") is None:
        pytest.skip(reason or "no ss here")
    from tests.integration.test_smb import GROUP, OWNER

    places = Places(tmp_path / "b", tmp_path / "r", OWNER, GROUP, (tmp_path,), port=18_446)
    made = plan(database, in_tunnel=in_tunnel)
    done = Samba(places).apply(made, OWN)
    assert set(done.addresses) == expected
    conf = places.config.read_text()
    allowed = next(line for line in conf.splitlines() if line.startswith("hosts allow"))
    assert ("10.113.77.0/24" in allowed) is in_tunnel
    assert "10.0.0.0/8" not in allowed
    cards = " && ".join(f"ip addr add {each}/24 dev lo" for each in OWN[1:4])
    script = (
        f"ip link set lo up && {cards} && exec smbd --foreground --no-process-group "
        f"--configfile={places.config}"
    )
    smbd = subprocess.Popen(["unshare", "--net", "sh", "-c", script], start_new_session=True)
    try:
        end = time.monotonic() + 90
        heard = ""
        while heard.count(":18446") < len(expected):
            assert time.monotonic() < end, heard
            assert smbd.poll() is None
            time.sleep(0.1)
            heard = subprocess.run(
                ["nsenter", "-t", str(smbd.pid), "-n", "ss", "-lntuH"],
                capture_output=True, text=True, check=False, timeout=20,
            ).stdout  # fmt: skip
    finally:
        smbd.terminate()
        smbd.wait(10)
    assert {line.split()[4] for line in heard.splitlines()} == {f"{e}:18446" for e in expected}


def test_the_switch_tells_samba_something_new(database: Database) -> None:
    """Its digest changes, so the worker applies it."""
    before = smb_plan.digest(plan(database, in_tunnel=False))

    assert smb_plan.digest(plan(database, in_tunnel=True)) != before
    assert smb_plan.digest(plan(database, in_tunnel=False)) == before
