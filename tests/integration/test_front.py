"""Behind a real nginx and a real caddy, with the configurations of docs/front.md: rights, bytes, and who comes."""

import os
import re
import shutil
import signal
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from sqlalchemy import select

from appliance.accounts import app_passwords, passwords, people, sessions
from appliance.accounts.app_passwords import Kind
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database, open_database
from appliance.db.schema import ledger
from appliance.db.shares import Share
from appliance.disk import set_up
from appliance.jobs import network
from appliance.model import Person, Role
from appliance.packed import pack_path
from appliance.settings import Settings
from appliance.web import tls
from tests.support.armoire import PROGRAM, ROOT
from tests.support.place import Place, require

pytestmark = pytest.mark.integration
LAN, COLLEAGUE, GUEST, STRANGER = "192.168.77.5", "192.168.77.20", "192.168.99.20", "198.51.100.9"
NGINX, CADDY, SILENT, NAIVE, HALF = 8001, 8002, 8003, 8004, 8005
PASSWORD = "Trois-lampes9"
#: Every byte that a name may hold, in two names.
NAMES = (bytes(range(1, 47)) + bytes(range(48, 128)), bytes(range(128, 256)) + b"?#%2F%00&;+.pdf")
LARGE = bytes(range(256)) * 8192  # 2 MiB


def blocks() -> dict[str, str]:
    """The configurations of the page."""
    text = (ROOT / "docs" / "front.md").read_text("utf-8")
    return dict(re.findall(r"```(nginx|caddyfile)\n(.*?)```", text, re.DOTALL))


@dataclass
class Scene:
    """A box behind its fronts."""

    place: Place
    settings: Settings
    database: Database
    doctor: Person
    share: Share
    token: str
    dav: str

    def ask(
        self,
        own: str,
        port: int,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        **headers: str | None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask as somebody at ``own``, with the session of the doctor unless told otherwise."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = HTTPConnection(LAN, port, timeout=60)
        sent = {"cookie": f"__Host-sid={self.token}", "sec-fetch-site": "same-origin"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.sock = context.wrap_socket(self.place.connect(own, LAN, port, 60))
            connection.request(method, path, body, {k: v for k, v in sent.items() if v is not None})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def file(self, name: bytes) -> str:
        """Where a file of the share is asked for."""
        return f"/disk/documents/file?p={pack_path(name)}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A box, an nginx and a caddy before it, in a network of their own."""
    require()
    if shutil.which("nginx") is None:
        pytest.skip("no nginx here")
    folder = tmp_path_factory.mktemp("front")
    folder.chmod(0o755)
    place = Place()
    settings = Settings(data=folder / "data")
    settings.data.mkdir()
    database = open_database(settings.database, create=True)
    try:
        place.give(f"{LAN}/24")
        place.stand_at(COLLEAGUE, GUEST, STRANGER)
        made = prepared(place, settings, database)
        environment = {"ARMOIRE_FRONT_ADDRESS": "127.0.0.1", "ARMOIRE_FRONT_ACCEL": "1"}
        with box(made, 8443, **environment), fronts(made, folder):
            yield made
    finally:
        database.close()
        place.close()


def prepared(place: Place, settings: Settings, database: Database) -> Scene:
    """A doctor with a session and an app password, and a share with files."""
    now = utc_now()
    with database.write() as connection:
        doctor = people.add(
            connection, login="anne.martin", name="Dr Anne Martin", role=Role.ASSOCIATE,
            language="en", password_hash=passwords.make_hash(PASSWORD), now=now,
        )  # fmt: skip
        share = set_up.make_share(
            connection, settings, name="documents", label="Documents", person_id=doctor.id, now=now
        )
        shares.change(connection, share.id, over_dav=True)
        token = sessions.start(connection, doctor.id, now=now, address=COLLEAGUE, user_agent="t")
        network.declare(connection, "192.168.77.0/24", now=now)
        dav = app_passwords.make(connection, doctor.id, kind=Kind.DAV, label="t", now=now)
    for each in NAMES:
        (Path(os.fsdecode(bytes(share.folder) + b"/" + each))).write_bytes(each)
    (share.folder / "large.bin").write_bytes(LARGE)
    (share.folder / "empty.txt").write_bytes(b"")
    outside = settings.data / "outside.txt"
    outside.write_text("a secret of the box")
    (share.folder / "link.txt").symlink_to(outside)
    (share.folder / "away").symlink_to(settings.data)
    return Scene(place, settings, database, doctor, share, token, dav[0])


@contextmanager
def running(scene: Scene, port: int, *argv: str, **environment: str) -> Iterator[None]:
    """Run a program in the box's network until its port answers, and to the end of the block."""
    process = subprocess.Popen(
        ["ip", "netns", "exec", scene.place.box, *argv],
        env={"PATH": os.environ["PATH"], **environment}, cwd=ROOT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while True:
            probe = ["ip", "netns", "exec", scene.place.box, "curl", "-s", "-o", "/dev/null", "-k",
                     "-m", "5", f"https://{'127.0.0.1' if port == 8443 else LAN}:{port}/healthz"]  # fmt: skip
            if subprocess.run(probe, check=False, timeout=20).returncode == 0:
                break
            assert process.poll() is None, argv
            assert time.monotonic() < deadline, argv
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def box(scene: Scene, port: int, **environment: str) -> Iterator[None]:
    """Serve."""
    data = {"ARMOIRE_DATA": str(scene.settings.data), "ARMOIRE_LISTEN_PORT": str(port)}
    with running(scene, port, *PROGRAM, "serve", **data, **environment):
        yield


@contextmanager
def fronts(scene: Scene, folder: Path) -> Iterator[None]:
    """An nginx with the page's configuration and three careless ones, and a caddy."""
    certificate, key = tls.ensure_certificate(Settings(folder / "own", listen_address=LAN))
    good = (
        blocks()["nginx"]
        .replace("listen 192.168.1.10:443 ssl", f"listen {LAN}:{NGINX} ssl")
        .replace("/etc/nginx/cabinet.crt", str(certificate))
        .replace("/etc/nginx/cabinet.key", str(key))
        .replace("/var/lib/armoire", str(scene.settings.data))
    )
    assert str(scene.settings.data / "shares") in good
    # Only the test may ask for the internal place by itself, and see who sent the bytes.
    tried = good.replace("internal;", "internal; add_header X-Sent-By front;").replace(
        "    location / {",
        "    location /try/ { rewrite ^/try/(.*)$ /-/shares/$1 last; }\n\n    location / {",
    )
    tell = "proxy_set_header X-Forwarded-For $remote_addr;"
    assert tell in good
    silent = good.replace(tell, "").replace(f":{NGINX} ", f":{SILENT} ")
    half = good.replace(tell, "proxy_set_header X-Forwarded-For unknown;").replace(
        f":{NGINX} ", f":{HALF} "
    )
    naive = (
        f"server {{ listen {LAN}:{NAIVE} ssl; ssl_certificate {certificate};"
        f" ssl_certificate_key {key}; location / {{ proxy_pass https://127.0.0.1:8444; }} }}"
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    paths = "".join(
        f"{name}_temp_path {folder};\n" for name in ("proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{user}worker_processes 1;\ndaemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\n{paths}client_body_temp_path {folder};\naccess_log off;\n"
        f"{tried}\n{silent}\n{half}\n{naive}\n}}\n"
    )
    with running(scene, NGINX, "nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "e.log")):  # fmt: skip
        if shutil.which("caddy") is None:
            yield
            return
        text = (
            blocks()["caddyfile"]
            .replace(
                "cabinet.example.org {",
                f"https://{LAN}:{CADDY} {{\n\ttls {certificate} {key}",
            )
            .replace("192.168.1.10", LAN)
            .replace("/var/lib/armoire", str(scene.settings.data))
        )
        (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
        with running(
            scene, CADDY, "caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile"),
            HOME=str(folder),
        ):  # fmt: skip
            yield


@pytest.fixture(params=[NGINX, CADDY], ids=["nginx", "caddy"])
def port(request: pytest.FixtureRequest, scene: Scene) -> int:
    """Each front; the scene runs both."""
    if request.param == CADDY and shutil.which("caddy") is None:
        pytest.skip("no caddy here")
    return int(request.param)


@pytest.mark.parametrize("name", [*NAMES, b"large.bin", b"empty.txt"], ids=["low", "high", "large", "empty"])  # fmt: skip
def test_files_of_any_name_come_whole_with_what_belongs_to_them(
    scene: Scene, port: int, name: bytes
) -> None:
    """Bytes, type, sandbox, name, ETag and the box's headers are those of the box without a front."""
    content = Path(os.fsdecode(bytes(scene.share.folder) + b"/" + name)).read_bytes()

    status, headers, body = scene.ask(COLLEAGUE, port, scene.file(name))

    assert (status, body) == (200, content)
    assert "sandbox" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["strict-transport-security"].startswith("max-age=")
    assert headers["content-disposition"].endswith(quote(name.decode("utf-8", "replace"), safe=""))
    assert headers["cache-control"] == "private, no-cache"
    assert headers["content-length"] == str(len(content))
    assert headers.get("x-sent-by") == ("front" if port == NGINX else None)
    assert "x-accel-redirect" not in headers

    known = scene.ask(COLLEAGUE, port, scene.file(name), if_none_match=headers["etag"])
    assert (known[0], known[2]) == (304, b"")
    asked = scene.ask(COLLEAGUE, port, scene.file(name), method="HEAD")
    assert (asked[0], asked[1]["content-length"], asked[2]) == (200, str(len(content)), b"")
    assert asked[1]["etag"] == headers["etag"]


def test_a_part_of_a_file_comes_and_what_goes_on_after_a_change_begins_anew(
    scene: Scene, port: int
) -> None:
    """Range; If-Range with the ETag that was given, and with an old one."""
    path = scene.file(b"large.bin")
    status, headers, body = scene.ask(COLLEAGUE, port, path, range="bytes=1000000-1000099")
    assert (status, body) == (206, LARGE[1000000:1000100])
    assert headers["content-range"] == f"bytes 1000000-1000099/{len(LARGE)}"
    etag = scene.ask(COLLEAGUE, port, path, method="HEAD")[1]["etag"]

    assert scene.ask(COLLEAGUE, port, path, range="bytes=-5", if_range=etag)[0] == 206
    assert scene.ask(COLLEAGUE, port, path, range="bytes=-5", if_range='"old"')[0] == 200
    assert scene.ask(COLLEAGUE, port, path, range=f"bytes={len(LARGE)}-")[0] == 416


def test_rights_are_the_boxs_and_the_inner_place_is_nobodys(scene: Scene, port: int) -> None:
    """Without a session nothing comes, by no address; no link leads out of the shares, in nginx either."""
    path = scene.file(b"large.bin")
    assert scene.ask(COLLEAGUE, port, path, cookie=None)[0] == 303
    for inner in ("/-/shares/documents/large.bin", "/-/shares/../state.sqlite", "/-/shares/"):
        status, _, body = scene.ask(COLLEAGUE, port, inner)
        assert status in {303, 400, 404}, inner
        assert LARGE[:100] not in body
    assert scene.ask(COLLEAGUE, port, scene.file(b"link.txt"))[0] == 404
    if port != NGINX:
        return
    folder = scene.share.folder.relative_to(scene.settings.shares)
    assert scene.ask(COLLEAGUE, port, f"/try/{folder}/large.bin")[2] == LARGE  # the test can see
    for linked in ("link.txt", "away/outside.txt", "away/state.sqlite"):
        status, _, body = scene.ask(COLLEAGUE, port, f"/try/{folder}/{linked}")
        assert status in {403, 404}, linked
        assert b"secret" not in body


def test_changes_and_programs_pass(scene: Scene, port: int) -> None:
    """A form, the API and WebDAV: what a browser says of itself reaches the box."""
    made = scene.ask(
        COLLEAGUE, port, "/api/v1/disk/documents/folders", method="POST",
        body=orjson.dumps({"path": pack_path(b"n%d" % port)}), content_type="application/json",
    )  # fmt: skip
    assert made[0] == 201, made
    other = scene.ask(
        COLLEAGUE, port, "/language", method="POST", body=b"language=fr",
        content_type="application/x-www-form-urlencoded", sec_fetch_site="cross-site",
    )  # fmt: skip
    assert other[0] == 403
    basic = b64encode(f"anne.martin:{scene.dav}".encode()).decode()
    put = scene.ask(
        COLLEAGUE, port, f"/dav/documents/p{port}.bin", method="PUT", body=LARGE, cookie=None,
        sec_fetch_site=None, authorization=f"Basic {basic}",
    )  # fmt: skip
    assert put[0] in {201, 204}, put
    assert (scene.share.folder / f"p{port}.bin").read_bytes() == LARGE


def test_who_comes_is_the_visitor_and_not_the_front(scene: Scene, port: int) -> None:
    """From elsewhere a second factor is asked for, whatever the visitor claims; the ledger has their address."""
    for claimed in (None, COLLEAGUE, f"{COLLEAGUE}, 127.0.0.1"):
        with scene.database.write() as connection:
            scene.token = sessions.start(
                connection, scene.doctor.id, now=utc_now(), address=COLLEAGUE, user_agent="t"
            )
        assert scene.ask(COLLEAGUE, port, "/disk/documents")[0] == 200
        status, headers, _ = scene.ask(GUEST, port, "/disk/documents", x_forwarded_for=claimed)
        assert (status, headers["location"].partition("?")[0]) == (303, "/sign-in/second"), claimed
    with scene.database.write() as connection:
        scene.token = sessions.start(
            connection, scene.doctor.id, now=utc_now(), address=COLLEAGUE, user_agent="t"
        )
    wrong = scene.ask(
        GUEST, port, "/sign-in", method="POST", body=b"login=anne.martin&password=wrong",
        content_type="application/x-www-form-urlencoded", cookie=None,
    )  # fmt: skip
    assert wrong[0] == 401
    with scene.database.read() as connection:
        rows = connection.execute(select(ledger.c.body).order_by(ledger.c.seq.desc()).limit(5))
        assert any(GUEST in str(row.body) for row in rows)


def test_from_the_internet_nobody_passes_until_somebody_decided(scene: Scene, port: int) -> None:
    """The front listens, but the box answers for itself."""
    status, _, body = scene.ask(STRANGER, port, "/sign-in", cookie=None, accept_language="en")
    assert (status, b"through its tunnel only" in body) == (403, True)
    with scene.database.write() as connection:
        network.open_to_internet(connection, by=scene.doctor.id, now=utc_now())
    try:
        assert scene.ask(STRANGER, port, "/sign-in", cookie=None)[0] == 200
    finally:
        with scene.database.write() as connection:
            network.close(connection, now=utc_now())
    assert scene.ask(STRANGER, port, "/sign-in", cookie=None)[0] == 403


@pytest.mark.parametrize("careless", [SILENT, HALF], ids=["says nothing", "says «unknown»"])
def test_a_front_that_does_not_say_who_comes_lets_nobody_in(scene: Scene, careless: int) -> None:
    """Else everybody would be at the practice; the page and the API say what to do."""
    for path in ("/", "/sign-in", "/disk", "/static/x/app.css"):
        status, _, body = scene.ask(COLLEAGUE, careless, path, accept_language="en")
        assert status == 403, path
        assert b"X-Forwarded-For" in body
    status, _, body = scene.ask(COLLEAGUE, careless, "/api/v1/status")
    assert (status, b"network.front-silent" in body) == (403, True)
    assert scene.ask(COLLEAGUE, careless, "/healthz")[2] == b"ok\n"


def test_a_front_that_nobody_named_lets_nobody_in(scene: Scene) -> None:
    """nginx with nothing but «proxy_pass», and one that adds the usual headers."""
    with box(scene, 8444):
        status, _, body = scene.ask(COLLEAGUE, NAIVE, "/sign-in", accept_language="en")
        assert (status, b"front_address" in body) == (403, True)
        for mark in ("X-Forwarded-For: 192.168.77.20", "Via: 1.1 proxy", "Forwarded: for=1.2.3.4"):
            assert "403" in inside(scene, 8444, "-H", mark)
        assert "200" in inside(scene, 8444)


def test_the_box_itself_is_asked_through_its_front_only(scene: Scene) -> None:
    """Nothing but the front's own address is listened on, and who asks there without the header gets nothing."""
    assert "403" in inside(scene, 8443)
    assert "403" in inside(scene, 8443, "-H", "X-Forwarded-For: 127.0.0.1")
    assert "200" in inside(scene, 8443, "-H", f"X-Forwarded-For: {COLLEAGUE}")
    with pytest.raises(ConnectionRefusedError):
        scene.place.connect(COLLEAGUE, LAN, 8443)


def inside(scene: Scene, port: int, *words: str) -> str:
    """The status of the sign-in page asked on the box itself."""
    return subprocess.run(
        ["ip", "netns", "exec", scene.place.box, "curl", "-sk", "-m", "30", "-o", "/dev/null",
         "-w", "%{http_code}", *words, f"https://127.0.0.1:{port}/sign-in"],
        capture_output=True, text=True, check=False, timeout=60,
    ).stdout  # fmt: skip
