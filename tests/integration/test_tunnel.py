"""The way in from anywhere: devices are people's, and WireGuard lets in exactly those that may come."""

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from appliance.accounts import people, sessions, tunnel
from appliance.clock import utc_now
from appliance.db import facts
from appliance.jobs.kinds import TunnelApply
from appliance.model import JobState, Person, Role
from appliance.policy import tunnel as policy
from appliance.web.app import create_app
from appliance.web.security import COOKIE
from appliance.worker.planner import Planner
from appliance.worker.tasks import tunnel_seen
from tests.support.box import Box

pytestmark = pytest.mark.integration
SCRIPT = Path(__file__).parents[2] / "systemd" / "tunnel-apply"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A box whose way in is known."""
    made = Box(tmp_path / "data")
    with made.database.write() as connection:
        facts.put(connection, tunnel.ENDPOINT, "10.200.0.1:51999", now=utc_now())
    yield made
    made.close()


@pytest.fixture
def person(box: Box) -> Callable[[Role], Person]:
    """Add a person."""

    def add(role: Role) -> Person:
        with box.database.write() as connection:
            return people.add(
                connection,
                login=f"{role.value}.martin",
                name="Claude Martin",
                role=role,
                language="en",
                password_hash=None,
                now=utc_now(),
            )

    return add


def wanted(box: Box) -> str:
    return (box.settings.data / "tunnel" / "wanted.conf").read_text()


def test_a_device_comes_and_goes_with_its_person(
    box: Box, person: Callable[[Role], Person]
) -> None:
    """Written at the next turn of the planner; gone when revoked, past its date, or its account is closed."""
    doctor = person(Role.OWNER)
    planner = Planner(box.settings, box.database)
    now = utc_now()
    assert not [each for each in planner.turn(now) if isinstance(each, TunnelApply)]
    keys = [tunnel.make_keys()[1] for _ in range(3)]
    with box.database.write() as connection:
        first = tunnel.add(connection, doctor.id, "phone", keys[0], by=doctor.id, now=now)
        tunnel.add(connection, doctor.id, "laptop", keys[1], by=doctor.id, now=now)
        tunnel.add(
            connection,
            doctor.id,
            "lent",
            keys[2],
            by=doctor.id,
            now=now,
            ends_at=now + timedelta(hours=1),
        )
    assert TunnelApply() in planner.turn(now)
    assert box.run(TunnelApply()) is JobState.SUCCEEDED
    assert all(key in wanted(box) for key in keys)
    assert (box.settings.data / "tunnel" / "wanted.conf").stat().st_mode & 0o777 == 0o600
    with box.database.write() as connection:
        tunnel.revoke(connection, first.id, by=doctor.id, now=now)
    assert box.run(TunnelApply()) is JobState.SUCCEEDED
    assert [key in wanted(box) for key in keys] == [False, True, True]
    with box.database.read() as connection:
        later = tunnel.peers(connection, now=now + timedelta(hours=1))
        assert [each.public_key for each in later] == [keys[1]]
    with box.database.write() as connection:
        people.disable(connection, doctor.id, now=now)
    assert box.run(TunnelApply()) is JobState.SUCCEEDED
    assert "[Peer]" not in wanted(box)


def test_an_address_is_never_given_twice(box: Box, person: Callable[[Role], Person]) -> None:
    """A revoked device's address names nobody else later."""
    doctor, now = person(Role.OWNER), utc_now()
    with box.database.write() as connection:
        first = tunnel.add(connection, doctor.id, "a", tunnel.make_keys()[1], by=doctor.id, now=now)
        tunnel.revoke(connection, first.id, by=doctor.id, now=now)
        second = tunnel.add(
            connection, doctor.id, "b", tunnel.make_keys()[1], by=doctor.id, now=now
        )
    assert first.address != second.address


def test_the_page_makes_a_device_once_and_keeps_no_key(
    box: Box, person: Callable[[Role], Person]
) -> None:
    """The private key is in the answer, nowhere on the box; another's device cannot be revoked."""
    box.run(TunnelApply())
    secretary, other = person(Role.SECRETARY), person(Role.ASSOCIATE)
    with box.database.write() as connection:
        token = sessions.start(
            connection, secretary.id, now=utc_now(), address="127.0.0.1", user_agent="t"
        )
        theirs = tunnel.add(
            connection, other.id, "x", tunnel.make_keys()[1], by=other.id, now=utc_now()
        )
    with TestClient(
        create_app(box.settings, box.database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin"},
        follow_redirects=False,
        client=("127.0.0.1", 50_000),
    ) as client:
        client.cookies.set(COOKIE, token)
        page = client.post("/devices", data={"label": "My phone"})
        assert page.status_code == 200, (page.headers, page.text[-2000:])
        assert page.headers["cache-control"] == "no-store"
        packed = page.text.partition("base64,")[2].partition('"')[0]
        text = b64decode(packed).decode()
        private = text.partition("PrivateKey = ")[2].partition("\n")[0]
        assert len(b64decode(private)) == 32
        assert "AllowedIPs = 10.113.77.1/32" in text
        assert private not in client.get("/devices").text
        assert private.encode() not in (box.settings.data / "state.sqlite").read_bytes()
        assert client.post("/devices", data={"label": ""}).status_code == 422
        assert client.post(f"/devices/{theirs.id}/revoke").status_code == 404
        assert client.post("/devices/way-in", data={"endpoint": "x.org"}).status_code == 403


# --- WireGuard itself ------------------------------------------------------------------------


def ip(*words: str) -> str:
    return subprocess.run(
        ["ip", *words], check=True, capture_output=True, text=True, timeout=20
    ).stdout


@pytest.fixture
def two_places(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a line: the practice and a phone far away."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "wg", "wireguard-go", "curl"))):
        pytest.skip("network namespaces and WireGuard need root and its programs")
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun here")
    box, phone = f"abox{os.getpid()}", f"aphone{os.getpid()}"
    ip("netns", "add", box)
    ip("netns", "add", phone)
    try:
        ip("link", "add", "va", "netns", box, "type", "veth", "peer", "name", "vb", "netns", phone)
        for place, card, address in ((box, "va", "10.200.0.1/24"), (phone, "vb", "10.200.0.2/24")):
            ip("-n", place, "address", "add", address, "dev", card)
            ip("-n", place, "link", "set", card, "up")
            ip("-n", place, "link", "set", "lo", "up")
        # Another machine of the practice: nobody may reach it through the tunnel.
        ip("-n", box, "address", "add", "192.168.77.5/24", "dev", "lo")
        yield box, phone
    finally:
        for place in (box, phone):
            for line in subprocess.run(
                ["ip", "netns", "pids", place], capture_output=True, text=True, check=False
            ).stdout.split():
                os.kill(int(line), 15)
            subprocess.run(["ip", "netns", "delete", place], check=False)


def in_place(place: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ip", "netns", "exec", place, *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def reaches(place: str, address: str, seconds: float = 8) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        url = f"http://{address}:8000/"
        if in_place(place, "curl", "-s", "-m", "2", "-o", "/dev/null", url).returncode == 0:
            return True
        time.sleep(0.2)
    return False


def test_wireguard_lets_in_who_may_come_and_shows_the_box_only(
    box: Box, person: Callable[[Role], Person], two_places: tuple[str, str], tmp_path: Path
) -> None:
    """Between two namespaces: in, then revoked and out, without cutting the interface."""
    practice, phone = two_places
    doctor, now = person(Role.OWNER), utc_now()
    private, public = tunnel.make_keys()
    with box.database.write() as connection:
        device = tunnel.add(connection, doctor.id, "phone", public, by=doctor.id, now=now)
    assert box.run(TunnelApply()) is JobState.SUCCEEDED
    conf = str(box.settings.data / "tunnel" / "wanted.conf")
    done = in_place(practice, str(SCRIPT), conf, f"wgb{os.getpid()}", policy.box_address())
    assert done.returncode == 0, done.stderr
    with box.database.read() as connection:
        key = facts.find(connection, tunnel.PUBLIC_KEY)
    text = policy.device_text(private, device.address, str(key), ("10.200.0.1", 51999))
    # What the application of a phone does with the file: addresses and routes are its own words.
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("Address"))
    (tmp_path / "phone.conf").write_text(plain + "\n")
    for argv in (
        ("wireguard-go", f"wgp{os.getpid()}"),
        ("wg", "setconf", f"wgp{os.getpid()}", str(tmp_path / "phone.conf")),
        ("ip", "address", "add", f"{device.address}/32", "dev", f"wgp{os.getpid()}"),
        ("ip", "link", "set", f"wgp{os.getpid()}", "up"),
        ("ip", "route", "add", f"{policy.box_address()}/32", "dev", f"wgp{os.getpid()}"),
    ):
        made = in_place(phone, *argv)
        assert made.returncode == 0, (argv, made.stderr)
    serving = subprocess.Popen(
        ["ip", "netns", "exec", practice, sys.executable, "-m", "http.server", "8000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    try:
        assert reaches(phone, policy.box_address(), 90)
        assert not reaches(phone, "192.168.77.5", 2)
        is_heard(box, device.id, practice, tmp_path)
        shut_out(box, device.id, doctor, practice, conf)
        assert not reaches(phone, policy.box_address(), 3)
    finally:
        serving.terminate()
        serving.wait(30)


def is_heard(box: Box, device_id: int, practice: str, place: Path) -> None:
    """What root's timer writes down reaches the page; it holds no key of the box."""
    folder = place / "seen"
    folder.mkdir()
    argv = (str(SCRIPT.with_name("tunnel-seen")), f"wgb{os.getpid()}", str(folder))
    done = in_place(practice, *argv)
    assert done.returncode == 0, done.stderr
    written = (folder / "handshakes").read_text()
    secret = (box.settings.data / "tunnel" / "wanted.conf").read_text().split("\n")[1]
    assert secret.partition(" = ")[2] not in written
    settings = dataclasses.replace(box.settings, tunnel_run=str(folder))
    assert tunnel_seen.look(settings, box.database, utc_now()) == 1
    assert tunnel_seen.look(settings, box.database, utc_now()) == 0
    with box.database.read() as connection:
        (device,) = [each for each in tunnel.living(connection) if each.id == device_id]
    assert device.seen_at is not None
    assert timedelta(0) <= utc_now() - device.seen_at < timedelta(minutes=5)
    gone = in_place(practice, str(SCRIPT.with_name("tunnel-seen")), "no-such0", str(folder))
    assert gone.returncode == 0


def shut_out(box: Box, device_id: int, doctor: Person, practice: str, conf: str) -> None:
    now = utc_now()
    with box.database.write() as connection:
        tunnel.revoke(connection, device_id, by=doctor.id, now=now)
    assert box.run(TunnelApply()) is JobState.SUCCEEDED
    assert (
        in_place(practice, str(SCRIPT), conf, f"wgb{os.getpid()}", policy.box_address()).returncode
        == 0
    )


def test_the_script_of_root_takes_keys_and_addresses_only(
    two_places: tuple[str, str], tmp_path: Path
) -> None:
    """A line that wg-quick would run as a command stops everything."""
    bad = tmp_path / "bad.conf"
    bad.write_text("[Interface]\nPrivateKey = " + tunnel.make_keys()[0] + "\nPostUp = touch /x\n")
    done = in_place(two_places[0], str(SCRIPT), str(bad), "wgbad", "10.113.77.1")
    assert done.returncode == 1
    assert "does not belong" in done.stderr
    assert "wgbad" not in ip("-n", two_places[0], "link")
