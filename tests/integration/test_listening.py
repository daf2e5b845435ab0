"""The box listens where the practice is and nowhere else, and follows its network without a restart."""

import dataclasses
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import facts, local_networks
from appliance.db.engine import Database, open_database
from appliance.jobs import network
from appliance.model import Person, Role
from appliance.settings import Settings
from tests.support.armoire import PROGRAM, ROOT
from tests.support.place import Place, inside, ip, require

pytestmark = pytest.mark.integration
PORT = 8443
LAN, ELSEWHERE, INTERNET, TUNNEL = "192.168.77.5", "192.168.88.5", "203.0.113.5", "10.113.77.1"
COLLEAGUE, GUEST, STRANGER, PHONE = "192.168.77.20", "192.168.99.20", "198.51.100.9", "10.113.77.2"
WAIT_S = 60.0


@dataclasses.dataclass
class Scene:
    """A box in its network, serving."""

    place: Place
    settings: Settings
    database: Database
    doctor: Person
    serving: subprocess.Popen[bytes]
    given: list[str]  # addresses of lan0 that a test leaves behind

    def give(self, address: str) -> None:
        """Give the box an address, for this test."""
        self.place.give(address)
        self.given.append(address)

    def says(self, own: str, address: str) -> str:
        """What somebody at ``own`` meets at an address of the box: «box», «closed» or «sent away»."""
        shown = f"[{address}]" if ":" in address else address
        asked = subprocess.run(
            ["ip", "netns", "exec", self.place.around, "curl", "-svk", "-m", "20", "--interface", own,
             f"https://{shown}:{PORT}/healthz"],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        if asked.stdout == "ok\n":
            return "box"
        assert asked.returncode, asked.stdout
        return "closed" if "Connection refused" in asked.stderr else "sent away"

    def becomes(self, own: str, address: str, expected: str) -> bool:
        """Whether it is so within WAIT_S."""
        deadline = time.monotonic() + WAIT_S
        while self.says(own, address) != expected:
            if time.monotonic() > deadline or self.serving.poll() is not None:
                return False
            time.sleep(0.1)
        return True


@pytest.fixture
def scene(served: Scene) -> Iterator[Scene]:
    """The box as it was in the beginning, whatever a test before did."""
    yield served
    with served.database.write() as connection:
        facts.put(connection, local_networks.FACT, None, now=utc_now())
        network.close(connection, now=utc_now())
    for each in reversed(served.given):  # with a primary address its others go
        served.place.take(each)
    served.given[:] = [f"{LAN}/24"]
    served.place.give(f"{LAN}/24")
    assert served.becomes(COLLEAGUE, LAN, "box")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A box with an address at the practice, one of the Internet, one in another network, and a tunnel."""
    require()
    place = Place()
    settings = Settings(data=tmp_path_factory.mktemp("listening") / "data")
    settings.data.mkdir()
    database = open_database(settings.database, create=True)
    try:
        place.give(f"{LAN}/24")
        place.give(f"{INTERNET}/24")
        place.card("armoire0")
        place.give(f"{TUNNEL}/24", "armoire0")
        place.stand_at(COLLEAGUE, GUEST, STRANGER)
        place.stand_at(PHONE, card="armoire0p")
        ip("-n", place.around, "route", "add", TUNNEL, "dev", "armoire0p", "src", PHONE)
        with database.write() as connection:
            doctor = people.add(
                connection, login="anne.martin", name="Dr Anne Martin", role=Role.OWNER,
                language="fr", password_hash=None, now=utc_now(),
            )  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "ARMOIRE_DATA": str(settings.data)}
        serving = subprocess.Popen(
            ["ip", "netns", "exec", place.box, *PROGRAM, "serve"], env=environment, cwd=ROOT
        )
        try:
            made = Scene(place, settings, database, doctor, serving, [f"{LAN}/24"])
            assert made.becomes(COLLEAGUE, LAN, "box")
            yield made
        finally:
            serving.terminate()
            serving.wait(30)
    finally:
        database.close()
        place.close()


def bound(scene: Scene) -> set[str]:
    """What the kernel says is listened on."""
    rows = subprocess.run(
        ["ip", "netns", "exec", scene.place.box, "cat", "/proc/self/net/tcp"],
        capture_output=True, text=True, check=True, timeout=20,
    ).stdout.splitlines()[1:]  # fmt: skip
    found = set()
    for fields in map(str.split, rows):
        address, port = fields[1].split(":")
        if fields[3] == "0A" and int(port, 16) == PORT:
            found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


def test_nothing_of_the_internet_is_listened_on_until_somebody_decides(scene: Scene) -> None:
    """Bound, and answered: the practice, its tunnel; a router that sends everything here changes nothing."""
    assert bound(scene) == {"127.0.0.1", LAN, TUNNEL}
    assert scene.says(COLLEAGUE, INTERNET) == "closed"
    assert scene.says(STRANGER, INTERNET) == "closed"
    assert scene.says(STRANGER, LAN) == "sent away"
    assert scene.says(GUEST, LAN) == "box"
    assert scene.says(PHONE, TUNNEL) == "box"
    kept = _begun(scene, COLLEAGUE, LAN)

    with scene.database.write() as connection:
        network.open_to_internet(connection, by=scene.doctor.id, now=utc_now())
    assert scene.becomes(STRANGER, INTERNET, "box")
    assert scene.says(STRANGER, LAN) == "box"
    with scene.database.read() as connection:
        told = network.network_findings(connection, scene.settings, utc_now())
    finding = next(each for each in told if each.code == "network.open")
    assert "Dr Anne Martin" in finding.words("fr")

    held = _begun(scene, STRANGER, INTERNET)
    with scene.database.write() as connection:
        assert network.close(connection, now=utc_now())
    assert scene.becomes(STRANGER, INTERNET, "closed")
    assert scene.says(STRANGER, LAN) == "sent away"
    assert _is_cut(held)
    with kept:  # the practice's own connection lived on
        kept.sendall(b"GET /healthz HTTP/1.1\r\nhost: box\r\n\r\n")
        assert kept.recv(4096)


def test_strangers_who_were_sent_away_are_counted(scene: Scene) -> None:
    """The router lets them through: that has to be known before somebody opens the box."""
    assert scene.says(STRANGER, LAN) == "sent away"
    deadline = time.monotonic() + WAIT_S
    while True:
        with scene.database.read() as connection:
            told = network.turned_away(connection, utc_now())
        if told is not None:
            break
        assert time.monotonic() < deadline
        assert scene.says(STRANGER, LAN) == "sent away"
        time.sleep(0.5)
    assert told.count >= 1


def test_an_address_that_appears_is_taken_up_and_one_that_goes_is_let_go(scene: Scene) -> None:
    """A cable, another router, DHCP: no restart. Declared networks are followed as they change."""
    scene.place.stand_at("192.168.88.20", "fd77::20")
    assert scene.says("192.168.88.20", LAN) == "box"
    scene.give(f"{ELSEWHERE}/24")
    assert scene.becomes("192.168.88.20", ELSEWHERE, "box")

    with scene.database.write() as connection:
        network.declare(connection, "192.168.77.0/24", now=utc_now())
    assert scene.becomes("192.168.88.20", ELSEWHERE, "closed")
    assert bound(scene) == {"127.0.0.1", LAN, TUNNEL}

    with scene.database.write() as connection:
        network.declare(connection, "192.168.88.0/24", now=utc_now())
    assert scene.becomes("192.168.88.20", ELSEWHERE, "box")
    with scene.database.write() as connection:
        network.forget(connection, "192.168.88.0/24", now=utc_now())
    assert scene.becomes("192.168.88.20", ELSEWHERE, "closed")

    scene.place.take(f"{LAN}/24")
    scene.given.remove(f"{LAN}/24")
    scene.give("192.168.77.6/24")
    assert scene.becomes(COLLEAGUE, "192.168.77.6", "box")
    scene.give("fd77::5/64")
    with scene.database.write() as connection:
        network.declare(connection, "fd77::/64", now=utc_now())
    assert scene.becomes("fd77::20", "fd77::5", "box")


def test_the_box_asks_no_router_for_anything(scene: Scene) -> None:
    """While it starts listening elsewhere and a device is made, not one packet leaves it by itself (SEC-10)."""
    with inside(scene.place.around):
        listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    with listening:
        assert listening.getsockname()[0] == ""  # every interface
        scene.give("192.168.77.7/24")
        with scene.database.write() as connection:
            network.declare(connection, "192.168.77.0/24", now=utc_now())
        assert scene.becomes(COLLEAGUE, "192.168.77.7", "box")
        listening.settimeout(0.5)
        seen = list(_packets(listening))
    asked = [each for each in seen if each in {1900, 5351, 5350, 49000}]
    assert seen
    assert asked == []


def _packets(listening: socket.socket) -> Iterator[int]:
    """The destination ports of IPv4 packets that came from the box or go to it."""
    while True:
        try:
            frame = listening.recv(65536)
        except TimeoutError:
            return
        if frame[12:14] == b"\x08\x00" and frame[23] in {6, 17}:
            begin = 14 + (frame[14] & 15) * 4
            yield int.from_bytes(frame[begin + 2 : begin + 4], "big")


def _begun(scene: Scene, own: str, address: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    held = context.wrap_socket(scene.place.connect(own, address, PORT, WAIT_S))
    held.sendall(b"GET /healthz HTTP/1.1\r\nhost: box\r\n\r\n")
    answer = b""
    while not answer.endswith(b"ok\n"):
        answer += held.recv(4096)
    return held


def _is_cut(held: ssl.SSLSocket) -> bool:
    try:
        with held:
            while held.recv(4096):
                pass
    except TimeoutError:
        return False
    except (ConnectionResetError, ssl.SSLEOFError):
        return True
    return True
