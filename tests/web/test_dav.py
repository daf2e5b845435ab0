"""WebDAV: the short road and wsgidav's say the same, and neither shows or does more than the other doors."""

import base64
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import Kind
from appliance.clock import utc_now
from appliance.db import shares
from appliance.disk import bin as bins
from appliance.disk import listing
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy.share_rights import ALL, Right
from appliance.web import dav_listing
from appliance.web.app import create_app

D = "{DAV:}"
HERE = "/dav/documents"
LOCK = (
    b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope>'
    b"<locktype><write/></locktype><owner>tests</owner></lockinfo>"
)
SET = (
    b'<propertyupdate xmlns="DAV:"><set><prop><colour xmlns="http://x/">red</colour></prop></set>'
    b"</propertyupdate>"
)


@pytest.fixture
def share(database, tmp_path: Path) -> shares.Share:
    """Names of every kind; some that no program is shown."""
    folder = tmp_path / "documents"
    (folder / "letters" / "2026").mkdir(parents=True)
    (folder / "letters" / "a & b <c>.txt").write_bytes(b"a letter")
    (folder / "letters" / "été 100% #1.pdf").write_bytes(bytes(1000))
    (folder / "letters" / "empty").write_bytes(b"")
    (folder / "letters" / "out").symlink_to("/etc/passwd")
    (folder / "letters" / "bell\x07.txt").write_bytes(b"x")
    (folder / "letters" / "caf\udce9").write_bytes(b"x")
    os.mkfifo(folder / "letters" / "pipe")
    (folder / ".armoire" / "bin").mkdir(parents=True)
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        shares.change(connection, made.id, over_dav=True)
        shares.grant(connection, made.id, ALL, role=Role.OWNER, by=None, now=utc_now())
        shares.grant(connection, made.id, {Right.SEE}, role=Role.SECRETARY, by=None, now=utc_now())
    return made


class Program:
    """A program of one person."""

    def __init__(self, client: TestClient, login: str, secret: str) -> None:
        self.client = client
        pair = base64.b64encode(f"{login}:{secret}".encode()).decode()
        self.headers = {"authorization": f"Basic {pair}"}

    def __call__(self, method: str, path: str, body: bytes = b"", **headers: str):
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, path, content=body, headers=self.headers | more)


@pytest.fixture
def program_of(settings, database, person_of) -> Iterator:
    with TestClient(
        create_app(settings, database), base_url="https://testserver", client=("127.0.0.1", 4321)
    ) as client:

        def make(role: Role) -> Program:
            person = person_of(role)
            with database.write() as connection:
                secret, _ = app_passwords.make(
                    connection, person.id, kind=Kind.DAV, label="tests", now=utc_now()
                )
            return Program(client, person.login, secret)

        yield make


@pytest.fixture
def program(program_of, share) -> Program:
    return program_of(Role.OWNER)


def told(text: str) -> dict[str, dict[str, str]]:
    """Address → property that is there → its value, or the names inside it."""
    found = {}
    for response in ET.fromstring(text):
        properties = {}
        for stat in response.findall(f"{D}propstat"):
            if " 200 " in stat.findtext(f"{D}status"):
                for each in stat.find(f"{D}prop"):
                    inside = " ".join(one.tag for one in each.iter() if one is not each)
                    properties[each.tag] = (each.text or "").strip() or inside
        found[response.findtext(f"{D}href")] = properties
    return found


def test_the_short_road_says_what_wsgidav_says(program, share, monkeypatch) -> None:
    """The same names, addresses and values on both roads, for a folder and for a file."""
    for path in ("", "/letters", "/letters/a%20&%20b%20%3Cc%3E.txt"):
        for depth in ("0", "1"):
            short = told(program("PROPFIND", HERE + path, depth=depth).text)
            with monkeypatch.context() as patch:
                patch.setattr("appliance.disk.dav_locks.Locks.touches", lambda *_: True)
                long = told(program("PROPFIND", HERE + path, depth=depth).text)
            for each in long.values():
                each.pop(f"{D}quota-available-bytes", None)  # short: only when it is asked for
            assert short == long, (path, depth)
    names = {
        each.rpartition("/")[2]
        for each in told(program("PROPFIND", f"{HERE}/letters", depth="1").text)
    }
    assert names - {""} == {
        "a%20%26%20b%20%3Cc%3E.txt",
        "%C3%A9t%C3%A9%20100%25%20%231.pdf",
        "empty",
    }


def test_a_tag_is_the_same_through_every_door(program, share) -> None:
    """What WebDAV lists, what it sends and what the disk says."""
    entry = listing.entry(share.folder, b"letters/empty")
    listed = told(program("PROPFIND", f"{HERE}/letters/empty", depth="0").text)
    assert listed[f"{HERE}/letters/empty"][f"{D}getetag"] == f'"{entry.etag}"'
    sent = program("GET", f"{HERE}/letters/empty")
    assert sent.headers["etag"] == f'"{entry.etag}"'
    again = program("GET", f"{HERE}/letters/empty", if_none_match=f'"{entry.etag}"')
    assert again.status_code == 304


def test_what_is_asked_for_by_name_is_answered_by_name(program, share) -> None:
    """A property that is not there is said not to be there: 404 inside the answer."""
    body = (
        b'<propfind xmlns="DAV:"><prop><getcontentlength/><quota-available-bytes/>'
        b'<colour xmlns="http://x/?a=%25&amp;b"/></prop></propfind>'
    )
    text = program("PROPFIND", HERE, body, depth="0").text
    (found,) = told(text).values()
    assert int(found[f"{D}quota-available-bytes"]) > 0
    assert set(found) == {f"{D}quota-available-bytes"}
    missing = [each.tag for each in ET.fromstring(text).iter() if each.tag.endswith("colour")]
    assert missing == ["{http://x/?a=%25&b}colour"]


def test_windows_gets_four_properties_and_its_times_are_kept(program, share) -> None:
    """Its client takes a megabyte of an answer; the time of a file it copies is set on the file, nothing stored."""
    agent = "Microsoft-WebDAV-MiniRedir/10.0.19045"
    found = told(program("PROPFIND", f"{HERE}/letters", depth="1", user_agent=agent).text)
    assert found[f"{HERE}/letters/empty"].keys() == {
        f"{D}{each}"
        for each in ("resourcetype", "getcontentlength", "getlastmodified", "creationdate")
    }
    body = (
        b'<propertyupdate xmlns="DAV:"><set><prop>'
        b'<Win32LastModifiedTime xmlns="urn:schemas-microsoft-com:">Tue, 03 Feb 2026 10:00:00 GMT'
        b"</Win32LastModifiedTime>"
        b'<Win32FileAttributes xmlns="urn:schemas-microsoft-com:">00000020</Win32FileAttributes>'
        b"</prop></set></propertyupdate>"
    )
    assert program("PROPPATCH", f"{HERE}/letters/empty", body).status_code == 207
    assert (share.folder / "letters" / "empty").stat().st_mtime == 1_770_112_800
    found = told(program("PROPFIND", f"{HERE}/letters/empty", depth="0").text)
    assert not any("microsoft" in each for each in found[f"{HERE}/letters/empty"])


def test_a_property_goes_with_its_file_and_ends_with_it(program, share) -> None:
    """Set, moved, copied, deleted: never found on a file that came later."""
    red = {"{http://x/}colour": "red"}

    def colour(path: str) -> dict[str, str]:
        (found,) = told(program("PROPFIND", f"{HERE}/{path}", depth="0").text).values()
        return {name: value for name, value in found.items() if name.startswith("{http")}

    assert program("PROPPATCH", f"{HERE}/letters/empty", SET).status_code == 207
    assert colour("letters/empty") == red
    moved = program("MOVE", f"{HERE}/letters", destination=f"https://testserver{HERE}/post")
    assert moved.status_code == 201
    assert colour("post/empty") == red
    copied = program("COPY", f"{HERE}/post", destination=f"https://testserver{HERE}/copy")
    assert copied.status_code == 201
    assert colour("copy/empty") == red
    assert program("DELETE", f"{HERE}/post/empty").status_code == 204
    assert program("PUT", f"{HERE}/post/empty", b"new").status_code == 201
    assert colour("post/empty") == {}
    long = SET.replace(b"red", b"x" * 70_000)
    assert " 507 " in program("PROPPATCH", f"{HERE}/post/empty", long).text


def test_who_may_only_see_changes_nothing_and_stops_nobody(program_of, share) -> None:
    """No lock for who could write nothing: it would keep out those who may."""
    secretary, doctor = program_of(Role.SECRETARY), program_of(Role.OWNER)
    path = f"{HERE}/letters/empty"
    elsewhere = f"https://testserver{HERE}/x"
    assert secretary("GET", path).status_code == 200
    for method, body in (("PUT", b"x"), ("DELETE", b""), ("LOCK", LOCK), ("PROPPATCH", SET)):
        answer = secretary(method, path, body)
        assert answer.status_code == 403 or " 403 " in answer.text, method
    assert secretary("LOCK", f"{HERE}/new", LOCK).status_code == 403
    assert secretary("MKCOL", f"{HERE}/new").status_code == 403
    assert secretary("MOVE", path, destination=elsewhere).status_code == 403
    assert secretary("COPY", path, destination=elsewhere).status_code == 403
    assert sorted(each.name for each in share.folder.iterdir()) == [".armoire", "letters"]
    assert doctor("PUT", path, b"x").status_code == 204


def test_a_lock_binds_other_programs_and_ends(program_of, share) -> None:
    """Another program of the same person needs the token too; the folder's listing shows the lock meanwhile."""
    one, other = program_of(Role.OWNER), program_of(Role.OWNER)
    path = f"{HERE}/letters/empty"
    locked = one("LOCK", path, LOCK, timeout="Infinite")
    token = locked.headers["lock-token"]
    seconds = ET.fromstring(locked.text).find(f".//{D}timeout").text
    assert 0 < int(seconds.removeprefix("Second-")) <= 1800
    assert other("PUT", path, b"x").status_code == 423
    assert other("DELETE", f"{HERE}/letters").status_code == 423
    assert "activelock" in other("PROPFIND", f"{HERE}/letters", depth="1").text
    assert one("PUT", path, b"mine", **{"if": f"({token})"}).status_code == 204
    assert one("UNLOCK", path, lock_token=token).status_code == 204
    assert other("PUT", path, b"x").status_code == 204


def test_what_is_overwritten_is_in_the_bin_but_for_nothing(program, share, database) -> None:
    """A new content, a file moved over another, a folder replaced: each old one comes back. An empty file does not."""
    assert program("PUT", f"{HERE}/letters/empty", b"one").status_code == 204
    assert program("PUT", f"{HERE}/letters/empty", b"two").status_code == 204
    assert program("PUT", f"{HERE}/draft", b"three").status_code == 201
    there = f"https://testserver{HERE}/letters/empty"
    assert program("MOVE", f"{HERE}/draft", destination=there, overwrite="F").status_code == 412
    assert program("MOVE", f"{HERE}/draft", destination=there).status_code == 204
    assert (share.folder / "letters" / "empty").read_bytes() == b"three"
    with database.read() as connection:
        kept = bins.items(connection, share.id)
        doors = {
            each.body["door"] for each in chain.newest(connection, limit=20) if "door" in each.body
        }
    contents = sorted(
        (share.folder / ".armoire" / "bin" / each.stored).read_bytes() for each in kept
    )
    assert contents == [b"one", b"two"]
    assert doors == {"dav"}


@pytest.mark.parametrize(
    "path",
    [
        "/dav/documents/.armoire/bin",
        "/dav/documents/.ARMOIRE",
        "/dav/documents/%2e%2e/other",
        "/dav/documents/letters/..%2f..%2f..%2fetc/passwd",
        "/dav/documents/letters/out",
        "/dav/documents/letters/pipe",
        "/dav/documents/letters/bell%07.txt",
        "/dav/other/x",
        "/dav/documents//etc/passwd",
    ],
)
def test_no_address_leads_out_or_to_what_is_ours(program, share, path: str) -> None:
    """Read, listed, written, moved to: not there, and nothing is made."""
    (share.folder / ".armoire" / "parts").mkdir()
    before = sorted(str(each) for each in share.folder.parent.rglob("*"))
    assert program("GET", path).status_code in {400, 404}
    assert program("PROPFIND", path, depth="1").status_code in {400, 404}
    for method in ("PUT", "MKCOL", "DELETE", "LOCK"):
        body = LOCK if method == "LOCK" else b""
        assert program(method, path, body).status_code in {400, 403, 404, 405, 409, 412}, method
    letter = f"{HERE}/letters/empty"
    for method in ("MOVE", "COPY"):
        answer = program(method, letter, destination=f"https://testserver{path}")
        assert answer.status_code >= 400, method
    assert sorted(str(each) for each in share.folder.parent.rglob("*")) == before


def test_hostile_bodies_are_refused(program, share) -> None:
    """Entities, a megabyte of XML, what is no XML at all: each a refusal, none a failure."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><propfind xmlns="DAV:"><prop>&b;</prop></propfind>'
    assert program("PROPFIND", HERE, bomb, depth="0").status_code == 400
    assert program("PROPPATCH", HERE, bomb).status_code == 400
    assert program("PROPFIND", HERE, b"<" * 2_000_000, depth="0").status_code == 413
    assert program("PROPFIND", HERE, b"\xff\xfe<", depth="0").status_code == 400
    assert program("PROPFIND", HERE, b"<other/>", depth="0").status_code == 400
    assert program("PROPFIND", HERE, depth="7").status_code == 400
    refused = program("PROPFIND", HERE, depth="infinity")
    assert refused.status_code == 403
    assert "propfind-finite-depth" in refused.text
    assert program("TRACE", HERE).status_code == 405
    assert program("GET", HERE).status_code == 405


def test_a_share_is_over_webdav_only_when_it_was_said(program, share, database) -> None:
    """Closed by default: neither listed nor found; and the first answer says what is spoken."""
    assert HERE in program("PROPFIND", "/dav/", depth="1").text
    spoken = program("OPTIONS", "/dav/").headers
    assert (spoken["dav"], spoken["ms-author-via"]) == ("1,2", "DAV")
    with database.write() as connection:
        shares.change(connection, share.id, over_dav=False)
    assert HERE not in program("PROPFIND", "/dav", depth="1").text
    assert program("PROPFIND", HERE, depth="0").status_code == 404
    assert program("PUT", f"{HERE}/x", b"x").status_code == 409
    assert program("MKCOL", "/dav/new").status_code in {403, 409}


def test_requests_are_read_as_the_standard_says() -> None:
    """No body is everything; a list of names is those names."""
    assert dav_listing.read_request(b" \n", "") == dav_listing.Wanted()
    asked = dav_listing.read_request(
        b'<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>', ""
    )
    assert asked.names == (f"{D}getetag",)
    with pytest.raises(dav_listing.NotXml):
        dav_listing.read_request(b'<propfind xmlns="DAV:"><prop/><allprop/></propfind>', "")
