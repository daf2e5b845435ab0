"""Who is visiting, behind a web server: believed of the one that was named, and of nobody else."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from appliance.accounts import sessions
from appliance.clock import utc_now
from appliance.db.shares import Share
from appliance.disk import listing, set_up
from appliance.errors import FrontSilent
from appliance.jobs import network
from appliance.model import Role
from appliance.packed import pack_path
from appliance.web.app import create_app
from appliance.web.front import visitor_of
from appliance.web.share_file import ShareFile

FRONT = "192.0.2.80"


@pytest.mark.parametrize(
    ("values", "visitor"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["192.168.1.7, 203.0.113.9"], "203.0.113.9"),  # what comes before is claimed
        (["192.168.1.7", "203.0.113.9"], "203.0.113.9"),
        (["::ffff:192.168.1.9"], "192.168.1.9"),
        (["2001:db8::9"], "2001:db8::9"),
    ],
)
def test_the_last_address_is_the_visitors(values: list[str], visitor: str) -> None:
    """The front itself wrote it."""
    assert visitor_of(values, FRONT) == visitor


@pytest.mark.parametrize(
    "values",
    [[], [""], [" "], ["unknown"], ["203.0.113.9, "], ["203.0.113.9:443"], ["[2001:db8::9]"], ["_hidden"],
     ["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["0.0.0.0"], [FRONT], ["203.0.113.9, 192.0.2.80"],
     ["fe80::1%eth0"], ["203.0.113.9 "  "x"], ["1"], ["0x7f.1"]],
)  # fmt: skip
def test_what_is_no_visitors_address_is_refused(values: list[str]) -> None:
    """Nothing, a mistake, the box or the front itself: everybody would look the same."""
    with pytest.raises(FrontSilent):
        visitor_of(values, FRONT)


@pytest.fixture
def behind(settings, database) -> Iterator[TestClient]:
    """A browser's requests as the front sends them on."""
    with TestClient(
        create_app(dataclasses.replace(settings, front_address=FRONT), database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
        client=(FRONT, 50_000),
    ) as client:
        yield client


def test_only_the_named_front_is_believed(behind, anonymous, database) -> None:
    """Another's header changes nothing from outside, and nothing on the box itself but a refusal."""
    with database.write() as connection:
        network.declare(connection, "192.168.1.0/24", now=utc_now())
    assert behind.get("/sign-in").status_code == 403
    assert behind.get("/sign-in", headers={"x-forwarded-for": "192.168.1.9"}).status_code == 200
    assert behind.get("/sign-in", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 403
    assert behind.get("/healthz").status_code == 200
    assert anonymous.get("/sign-in").status_code == 200
    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via"):
        refused = anonymous.get("/api/v1/status", headers={name: "192.168.1.9"})
        assert refused.json()["error"]["code"] == "network.front-unknown"


def test_a_visitor_who_claims_to_be_local_shows_two_factors(
    settings, database, client_as, anonymous
) -> None:
    """From an address that is no front, the header is a word among others."""
    client_as(Role.SECRETARY)
    token = anonymous.cookies["__Host-sid"]
    with TestClient(
        create_app(dataclasses.replace(settings, front_address=FRONT), database),
        base_url="https://testserver",
        follow_redirects=False,
        client=("203.0.113.7", 50_000),
        headers={"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1"},
    ) as claiming:
        claiming.cookies.set("__Host-sid", token)
        answer = claiming.get("/status")
    assert answer.headers["location"].startswith("/sign-in/second")


def test_a_refusal_is_a_page_in_the_readers_language_with_the_headers_of_all_pages(behind) -> None:
    """It says what to do, and to whom."""
    answer = behind.get("/", headers={"accept-language": "fr"})

    assert answer.status_code == 403
    assert "X-Forwarded-For" in answer.text
    assert "Pour qui gère le boîtier" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.fixture
def sending(settings, database, person_of) -> Iterator[tuple[TestClient, Share]]:
    """The same, in front of a doctor's share, by an nginx that sends files itself."""
    doctor = person_of(Role.OWNER)
    with database.write() as connection:
        share = set_up.make_share(
            connection, settings, name="documents", label="Documents", person_id=doctor.id,
            now=utc_now(),
        )  # fmt: skip
        network.declare(connection, "192.168.1.0/24", now=utc_now())
        token = sessions.start(
            connection, doctor.id, now=utc_now(), address="192.168.1.9", user_agent="t"
        )
    changed = dataclasses.replace(settings, front_address=FRONT, front_accel=1)
    with TestClient(
        create_app(changed, database),
        base_url="https://testserver",
        headers={"x-forwarded-for": "192.168.1.9", "x-sendfile-type": "X-Accel-Redirect"},
        follow_redirects=False,
        client=(FRONT, 50_000),
    ) as client:
        client.cookies.set("__Host-sid", token)
        yield client, share


def get(client: TestClient, name: bytes, **headers: str):
    return client.get(f"/disk/documents/file?p={pack_path(name)}", headers=headers)


def test_nginx_is_told_where_the_opened_file_lies_and_gets_no_byte_of_it(sending) -> None:
    """Percent-encoded byte by byte; what it may not judge is sent by the box."""
    client, share = sending
    for name in (b"a.txt", b"a b%2F?#\n;\xff", b"..x"):
        (share.folder / os.fsdecode(name)).write_bytes(b"content")
        answer = get(client, name)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["x-accel-redirect"] == "/-/shares/documents/" + quote(name, safe="")
        assert "sandbox" in answer.headers["content-security-policy"]
    etag = get(client, b"a.txt").headers["etag"]
    again = get(client, b"a.txt", **{"if-range": etag, "range": "bytes=0-2"})
    assert (again.status_code, again.content) == (206, b"con")
    assert get(client, b"a.txt", **{"if-none-match": etag}).status_code == 304


def test_a_front_that_cannot_send_files_gets_the_bytes(sending) -> None:
    """caddy behind the same setting would hand out empty files."""
    client, share = sending
    (share.folder / "a.txt").write_bytes(b"content")
    del client.headers["x-sendfile-type"]

    answer = get(client, b"a.txt")

    assert answer.content == b"content"
    assert "x-accel-redirect" not in answer.headers


def test_a_name_that_leads_elsewhere_by_now_is_not_told(tmp_path) -> None:
    """Deleted, replaced, a link, or in no folder of shares: what was opened is what is sent."""
    shares = tmp_path / "shares"
    (shares / "documents").mkdir(parents=True)
    file, outside = shares / "documents" / "a.txt", tmp_path / "outside.txt"
    file.write_bytes(b"one")
    outside.write_bytes(b"secret")

    def below(path, change: Callable[[], object] = lambda: None) -> bytes | None:
        descriptor = os.open(path, os.O_RDONLY)
        made = ShareFile(descriptor, listing.entry_of(b"a.txt", os.fstat(descriptor)))
        try:
            change()
            return made._below(bytes(shares))
        finally:
            os.close(descriptor)

    def replaced() -> None:
        (shares / "b.txt").write_bytes(b"two")
        (shares / "b.txt").rename(file)

    def linked() -> None:
        file.unlink()
        file.symlink_to(outside)

    assert below(file) == b"documents/a.txt"
    assert below(outside) is None
    assert below(file, file.unlink) is None
    file.write_bytes(b"one")
    assert below(file, replaced) is None
    assert below(file, linked) is None
