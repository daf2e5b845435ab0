"""Links for correspondents: what they open, for how long, and that nothing else is behind them."""

import io
import os
import re
import zipfile
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from appliance.accounts import people
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.schema_disk import link, received_file, upload
from appliance.db.shares import Share
from appliance.disk import listing
from appliance.disk.batch import pack
from appliance.ledger import chain
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings
from appliance.web.app import create_app
from appliance.web.link_downloads import LinkDownloads

LETTER = b"%PDF-1.7 a letter of march\n" * 900
PDF = b"%PDF-1.4\n%%EOF\n"
DICOM = bytes(128) + b"DICM" + bytes(500)
TUS = {"tus-resumable": "1.0.0"}
PART = TUS | {"content-type": "application/offset+octet-stream"}


def packed(path: str) -> str:
    return urlsafe_b64encode(path.encode()).decode().rstrip("=")


@dataclass
class Given:
    """What the maker is shown once."""

    id: int
    path: str  # /l/<token>
    password: str


@pytest.fixture
def share(database: Database, tmp_path: Path, person_of: Callable[[Role], Person]) -> Share:
    """A share on which the owner may do all, the secretary see and add."""
    folder = tmp_path / "documents"
    (folder / "exam" / "series").mkdir(parents=True)
    (folder / "letter.pdf").write_bytes(LETTER)
    (folder / "secret.pdf").write_bytes(b"%PDF-1.7 secret")
    (folder / "exam" / "report.pdf").write_bytes(PDF)
    (folder / "exam" / "series" / "1.dcm").write_bytes(DICOM)
    (folder / "exam" / "out").symlink_to(folder / "secret.pdf")
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=folder, now=utc_now()
        )
        for role, rights in ((Role.OWNER, ALL), (Role.SECRETARY, {Right.SEE, Right.ADD})):
            shares.grant(connection, made.id, rights, role=role, by=None, now=utc_now())
    return made


@pytest.fixture
def outside(settings: Settings, database: Database) -> TestClient:
    """A correspondent's browser: it has no account here."""
    return TestClient(
        create_app(settings, database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
    )


@pytest.fixture
def make(owner: TestClient, share: Share) -> Callable[..., Given]:
    """Make a link as the owner does, through the form."""

    def made(path: str = "letter.pdf", kind: str = "give", **more: object) -> Given:
        form = {
            "share": "documents",
            "p": packed(path),
            "kind": kind,
            "label": "Dr Petit",
            "days": "7",
            "password": "1",
            "kinds": ["documents", "pictures", "dicom"],
        } | more
        page = owner.post("/links/new", data=form)
        assert page.status_code == 200, page.text
        password = re.search(r'id="the-password">([^<]*)<', page.text)
        address = re.search(r"https://testserver(/l/[\w-]{43})<", page.text)
        number = re.search(r'href="/links/(\d+)"', page.text)
        assert address is not None
        assert number is not None
        return Given(int(number[1]), address[1], password[1] if password else "")

    return made


def enter(outside: TestClient, given: Given) -> None:
    answer = outside.post(given.path, data={"password": given.password})
    assert answer.status_code == 303, answer.text


def etag_of(place: Path) -> str:
    return f'"{listing.entry_of(os.fsencode(place.name), place.lstat()).etag}"'


def events_of(database: Database, given: Given) -> list[str]:
    with database.read() as connection:
        found = chain.newest(connection, actor=f"link:{given.id}")
    return [each.event for each in reversed(found)]


# --- giving ---------------------------------------------------------------------------------


def test_a_correspondent_takes_a_file(
    outside: TestClient, make: Callable[..., Given], database: Database
) -> None:
    """With the password only; whole or by ranges; each access in the ledger, and the download counted once."""
    given = make()
    assert "letter" not in outside.get(given.path).text
    assert outside.get(f"{given.path}/file").status_code == 401
    enter(outside, given)
    page = outside.get(given.path)
    assert "letter.pdf" in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    whole = outside.get(f"{given.path}/file")
    assert whole.content == LETTER
    assert "attachment" in whole.headers["content-disposition"]
    assert "sandbox" in whole.headers["content-security-policy"]
    rest = outside.get(
        f"{given.path}/file", headers={"range": "bytes=100-", "if-range": whole.headers["etag"]}
    )
    assert (rest.status_code, rest.content) == (206, LETTER[100:])
    assert events_of(database, given) == ["link.seen", "file.opened"]


def test_nothing_else_is_behind_a_link(outside: TestClient, make: Callable[..., Given]) -> None:
    """Neither beside what is given, nor above, nor behind a link on the disk, nor elsewhere in the box."""
    given = make("exam")
    enter(outside, given)
    for path in ("../secret.pdf", "..", "/etc/passwd", "out", "series/../../secret.pdf", "nothing"):
        found = outside.get(f"{given.path}/file?p={packed(path)}")
        assert found.status_code in {404, 422}, path
    for path in ("../", "..", "out", "report.pdf"):
        assert outside.get(f"{given.path}?p={packed(path)}").status_code in {404, 422}, path
    assert outside.get("/disk/documents").headers["location"].startswith("/sign-in")
    assert outside.get("/api/v1/disk").status_code == 401
    for method, path in (("POST", "batch"), ("POST", "uploads"), ("POST", "send")):
        answer = outside.request(method, f"{given.path}/{path}", headers=PART, content=b"")
        assert answer.status_code in {410, 422}, path


def test_a_folder_is_walked_and_taken_as_a_zip(
    outside: TestClient, make: Callable[..., Given]
) -> None:
    """Folders in it too; what is no file stays behind."""
    given = make("exam")
    enter(outside, given)
    page = outside.get(given.path).text
    assert "report.pdf" in page
    assert ">out<" not in page
    assert "1.dcm" in outside.get(f"{given.path}?p={packed('series')}").text
    one = outside.get(f"{given.path}/file?p={packed('series/1.dcm')}")
    assert one.content == DICOM
    taken = outside.get(f"{given.path}/zip")
    with zipfile.ZipFile(io.BytesIO(taken.content)) as found:
        names = sorted(each for each in found.namelist() if not each.endswith("/"))
    assert names == ["exam/report.pdf", "exam/series/1.dcm"]


def test_downloads_are_limited(outside: TestClient, make: Callable[..., Given]) -> None:
    """The last one may be gone on with, by who has begun it; then the link is worth nothing."""
    given = make(most_uses="1")
    enter(outside, given)
    first = outside.get(f"{given.path}/file")
    assert first.status_code == 200
    again = {"range": "bytes=500-", "if-range": first.headers["etag"]}
    assert outside.get(f"{given.path}/file", headers=again).status_code == 206
    for wide in (
        "",
        "bytes=0-",
        "bytes=00-",
        "bytes= 0-",
        "bytes=-99999",
        "bytes=5-,0-4",
        "items=5-",
    ):
        whole_again = {"range": wide, "if-range": first.headers["etag"]}
        assert outside.get(f"{given.path}/file", headers=whole_again).status_code == 410, wide
    guess = {"range": "bytes=500-", "if-range": '"1-1-1"'}
    assert outside.get(f"{given.path}/file", headers=guess).status_code == 410
    assert outside.get(f"{given.path}/file", headers={"range": "bytes=500-"}).status_code == 410
    assert outside.get(f"{given.path}/file").status_code == 410
    assert outside.get(given.path).status_code == 410


def test_no_part_is_taken_that_was_not_counted(
    outside: TestClient, make: Callable[..., Given], database: Database, share: Share
) -> None:
    """All but one byte is a download: only one that was counted is gone on with; a HEAD tells no etag."""
    given = make(most_uses="1")
    enter(outside, given)
    head = outside.head(f"{given.path}/file")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(LETTER))
    assert "etag" not in head.headers
    etag = etag_of(share.folder / "letter.pdf")  # guessed, or told by another link
    part = {"range": "bytes=1-", "if-range": etag}
    found = [outside.get(f"{given.path}/file", headers=part) for _ in range(3)]
    assert found[0].content == LETTER[1:]
    assert events_of(database, given).count("file.opened") == 1
    outside.app.state.link_downloads = LinkDownloads()  # started anew
    assert outside.get(f"{given.path}/file", headers=part).status_code == 410


def test_a_used_up_folder_opens_no_other_file(
    outside: TestClient, make: Callable[..., Given], share: Share
) -> None:
    """What is gone on with is the file that was begun, not its neighbour."""
    given = make("exam", most_uses="1")
    enter(outside, given)
    one = outside.get(f"{given.path}/file?p={packed('report.pdf')}")
    assert one.status_code == 200
    for path in ("series/1.dcm", "nothing"):
        other = share.folder / "exam" / path
        etag = etag_of(other) if other.exists() else one.headers["etag"]
        part = {"range": "bytes=1-", "if-range": etag}
        place = f"{given.path}/file?p={packed(path)}"
        assert outside.get(place, headers=part).status_code == 410, path
        assert outside.head(place, headers=part).status_code == 410, path


def test_wrong_passwords_wait_and_then_close_the_link(
    outside: TestClient, make: Callable[..., Given], database: Database
) -> None:
    """Three, and one waits; ten, and it is withdrawn; each in the ledger."""
    given = make()
    codes = [
        outside.post(given.path, data={"password": "aaaa-aaaa-aaaa"}).status_code for _ in range(4)
    ]
    assert codes == [401, 401, 401, 429]
    assert outside.post(given.path, data={"password": given.password}).status_code == 429
    with database.write() as connection:
        connection.execute(
            update(link).values(failures=9, locked_until=utc_now() - timedelta(hours=1))
        )
    assert outside.post(given.path, data={"password": "no"}).status_code == 401
    assert outside.post(given.path, data={"password": given.password}).status_code == 410
    assert events_of(database, given).count("link.refused") == 4


def test_a_pass_is_of_one_link_only(outside: TestClient, make: Callable[..., Given]) -> None:
    """The cookie of one opens no other, and an invented one opens nothing."""
    one, other = make(), make("secret.pdf")
    enter(outside, one)
    cookie = next(each for each in outside.cookies.jar if "link" in each.name)
    assert cookie.secure
    assert cookie.path == one.path
    for value in (cookie.value, "99999999999." + "0" * 64, "x", "1.2.3", "é"):
        sent = {"cookie": f"{cookie.name}={value}".encode("latin-1")}
        found = outside.get(f"{other.path}/file", headers=sent)
        assert found.status_code == 401, value


@pytest.mark.parametrize(
    "how",
    ["revoked", "ended", "right", "see", "disabled", "share", "role", "clock"],
)
def test_a_link_ends_with_what_it_stands_on(
    how: str,
    outside: TestClient,
    owner: TestClient,
    make: Callable[..., Given],
    share: Share,
    database: Database,
    person_of: Callable[[Role], Person],
) -> None:
    """Withdrawn, over, its maker's rights or account gone, the share gone: at once, and all look alike."""
    given = make()
    enter(outside, given)
    assert outside.get(f"{given.path}/file").status_code == 200
    maker = person_of(Role.OWNER)
    if how == "revoked":
        assert owner.post(f"/links/{given.id}/revoke").status_code == 303
    with database.write() as connection:
        now = utc_now()
        match how:
            case "ended":
                connection.execute(update(link).values(ends_at=now))
            case "right":
                rights = ALL - {Right.SHARE_OUT}
                shares.grant(connection, share.id, rights, role=Role.OWNER, by=None, now=now)
            case "see":
                rights = {Right.SHARE_OUT}
                shares.grant(connection, share.id, rights, role=Role.OWNER, by=None, now=now)
            case "disabled":
                people.disable(connection, maker.id, now=now)
            case "share":
                shares.change(connection, share.id, removed_at=now)
            case "role":
                connection.execute(
                    update(people.person)
                    .where(people.person.c.id == maker.id)
                    .values(role=Role.TECHNICAL_ADMIN.value)
                )
            case "clock":
                connection.execute(update(link).values(created_at=now + timedelta(days=2)))
    for path in ("", "/file", "/zip"):
        assert outside.get(given.path + path).status_code == 410, path
    unknown = outside.get("/l/" + "x" * 43)
    assert unknown.status_code == 410
    gone = outside.get(given.path)
    token = given.path.rpartition("/")[2]
    assert gone.text.replace(token, "") == unknown.text.replace("x" * 43, "")


def test_only_hashes_are_stored(make: Callable[..., Given], database: Database) -> None:
    """Neither the token nor the password lies in the database or the ledger."""
    given = make()
    with database.read() as connection:
        row = connection.execute(select(link)).one()
        told = str([each.body for each in chain.newest(connection)])
    token = given.path.rpartition("/")[2]
    assert token not in str(row) + told
    assert given.password not in str(row) + told
    assert re.fullmatch(r"[a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4}", given.password)
    assert row.ends_at - row.created_at == timedelta(days=7)


WRONG: list[dict[str, object]] = [
    {"days": "0"},
    {"days": "91"},
    {"days": ""},
    {"label": " "},
    {"label": "x" * 201},
    {"most_uses": "0"},
    {"kind": "ask", "p": packed("exam"), "kinds": []},
    {"kind": "steal"},
]


def test_a_link_always_has_an_end_and_a_reader(
    owner: TestClient, share: Share, database: Database
) -> None:
    """What is missing is said, and nothing is made."""
    form = {"share": "documents", "p": packed("letter.pdf"), "label": "Dr Petit", "days": "7"}
    for wrong in WRONG:
        assert owner.post("/links/new", data=form | wrong).status_code == 422, wrong
    with database.read() as connection:
        assert connection.execute(select(link)).first() is None


# --- asking ---------------------------------------------------------------------------------


def test_what_is_sent_waits_until_it_is_accepted(
    outside: TestClient,
    owner: TestClient,
    make: Callable[..., Given],
    share: Share,
    database: Database,
) -> None:
    """In pieces, in batches and by a form; no door shows it before; accepted beside what is there."""
    given = make("exam", kind="ask")
    assert outside.post(f"{given.path}/batch", content=b"").status_code == 401
    enter(outside, given)
    assert "Dr Petit" in outside.get(given.path).text
    head = f"path {b64encode(b'report.pdf').decode()}"
    begun = outside.post(
        f"{given.path}/uploads",
        headers=TUS | {"upload-length": str(len(LETTER)), "upload-metadata": head},
    )
    assert begun.status_code == 201, begun.text
    place = begun.headers["location"]
    assert place.startswith(given.path)
    half = outside.patch(place, content=LETTER[:999], headers=PART | {"upload-offset": "0"})
    assert half.status_code == 204
    assert outside.head(place, headers=TUS).headers["upload-offset"] == "999"
    rest = outside.patch(place, content=LETTER[999:], headers=PART | {"upload-offset": "999"})
    assert rest.status_code == 204
    series = [
        ({"path": packed(f"irm/{place}"), "size": len(DICOM)}, DICOM) for place in ("1.dcm", "IM2")
    ]
    sent = outside.post(f"{given.path}/batch", content=pack(series))
    assert [each.get("error") for each in sent.json()["files"]] == [None, None]
    by_form = outside.post(
        f"{given.path}/send", files={"file": ("../../x/Courrier.pdf", PDF, "application/pdf")}
    )
    assert by_form.status_code == 303
    names = sorted(each.name for each in (share.folder / "exam").iterdir())
    assert names == ["out", "report.pdf", "series"]
    assert len(list((share.folder / ".armoire" / "quarantine").iterdir())) == 4
    quarantine = packed(".armoire/quarantine")
    assert owner.get(f"/api/v1/disk/documents/list?p={quarantine}").status_code == 422
    page = owner.get(f"/links/{given.id}").text
    assert "irm/1.dcm" in page
    with database.read() as connection:
        rows = connection.execute(select(received_file).order_by(received_file.c.id)).all()
    looked = owner.get(f"/links/{given.id}/received/{rows[0].id}")
    assert looked.content == LETTER
    chosen = [str(rows[0].id), str(rows[1].id)]
    accept = owner.post(f"/links/{given.id}/received", data={"do": "accept", "r": chosen})
    assert accept.status_code == 303
    assert (share.folder / "exam" / "report (2).pdf").read_bytes() == LETTER
    assert (share.folder / "exam" / "report.pdf").read_bytes() == PDF
    assert (share.folder / "exam" / "irm" / "1.dcm").read_bytes() == DICOM
    refuse = owner.post(f"/links/{given.id}/received", data={"do": "refuse", "all": "1"})
    assert refuse.status_code == 303
    assert list((share.folder / ".armoire" / "quarantine").iterdir()) == []
    assert not (share.folder / "exam" / "irm" / "IM2").exists()
    assert owner.get(f"/links/{given.id}/received/{rows[3].id}").status_code == 404
    with database.read() as connection:
        kept = connection.execute(select(upload)).first()
        told = [each.event for each in chain.newest(connection)]
    assert kept is None
    assert (told.count("link.accepted"), told.count("link.declined")) == (2, 2)
    assert list((share.folder / ".armoire" / "parts").iterdir()) == []


NOT_TAKEN = [
    ("virus.exe", b"MZ"),
    ("letter.pdf", b"MZ\x90 a program"),
    ("letter.pdf", b"<html>not a pdf"),
    ("photo.jpg", b"GIF89a"),
    ("photo.svg", b"<svg/>"),
    ("page.html", b"<html>"),
    ("IM1", b"no DICOM"),
    ("note.txt", b"a\0b"),
    ("run.txt", b"#!/bin/sh"),
    ("text.docx", b"\x7fELF"),
    ("a.pdf.exe", PDF),
    ("../up.pdf", PDF),
    ("con.pdf", PDF),
    (".armoire/x.pdf", PDF),
]


def test_only_what_was_asked_for_is_taken(
    outside: TestClient,
    make: Callable[..., Given],
    share: Share,
    database: Database,
) -> None:
    """By the name, and by what the content is; a refused file leaves nothing."""
    given = make("exam", kind="ask", password="")
    files = [({"path": packed(name), "size": len(content)}, content) for name, content in NOT_TAKEN]
    sent = outside.post(f"{given.path}/batch", content=pack(files))
    assert all("error" in each for each in sent.json()["files"])
    for name, content in NOT_TAKEN:
        head = f"path {b64encode(name.encode()).decode()}"
        large = outside.post(
            f"{given.path}/uploads",
            headers=PART | {"upload-length": str(len(content)), "upload-metadata": head},
            content=content,
        )
        assert large.status_code in {415, 422}, name
    left = share.folder / ".armoire"
    assert [each for each in left.rglob("*") if each.is_file()] == []
    with database.read() as connection:
        assert connection.execute(select(received_file)).first() is None
        assert connection.execute(select(upload)).first() is None


def test_a_request_takes_so_much_and_no_more(
    outside: TestClient, make: Callable[..., Given], database: Database
) -> None:
    """Files, bytes of one and bytes of all: what is on its way counts."""
    given = make("exam", kind="ask", password="")
    with database.write() as connection:
        rules = {"kinds": ["documents"], "files": 2, "file_bytes": 100, "sum_bytes": 150}
        connection.execute(update(link).values(rules=rules))

    def begin(name: str, size: int) -> int:
        head = f"path {b64encode(name.encode()).decode()}"
        told = TUS | {"upload-length": str(size), "upload-metadata": head}
        return outside.post(f"{given.path}/uploads", headers=told).status_code

    assert [begin("a.pdf", 101), begin("a.pdf", 100), begin("b.pdf", 51)] == [415, 201, 415]
    assert [begin("b.pdf", 10), begin("c.pdf", 1)] == [201, 415]


# --- whose ----------------------------------------------------------------------------------


def test_links_are_their_makers_and_the_owners(
    outside: TestClient,
    client_as: Callable[[Role], TestClient],
    make: Callable[..., Given],
    share: Share,
    database: Database,
) -> None:
    """A secretary without the right makes none, and sees nobody's; a technical administrator has no such page."""
    given = make("exam", kind="ask")
    secretary = client_as(Role.SECRETARY)
    assert "Dr Petit" not in secretary.get("/links?everybody=1").text
    assert secretary.get(f"/links/{given.id}").status_code == 404
    assert secretary.post(f"/links/{given.id}/revoke").status_code == 404
    assert secretary.post(f"/links/{given.id}/received", data={"do": "accept"}).status_code == 404
    form = {"share": "documents", "p": packed("letter.pdf"), "label": "x", "days": "7"}
    assert secretary.post("/links/new", data=form).status_code == 403
    assert secretary.get(f"/links/new?share=documents&p={form['p']}").status_code == 403
    with database.write() as connection:
        rights = {Right.SEE, Right.SHARE_OUT}
        shares.grant(connection, share.id, rights, role=Role.SECRETARY, by=None, now=utc_now())
    assert secretary.post("/links/new", data=form).status_code == 200
    owner = client_as(Role.OWNER)
    assert owner.get("/links").text.count("/revoke") == 1
    assert owner.get("/links?everybody=1").text.count("/revoke") == 2
    admin = client_as(Role.TECHNICAL_ADMIN)
    assert admin.get("/links").status_code == 404
    assert admin.get(f"/links/{given.id}").status_code == 404
