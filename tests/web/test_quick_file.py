"""The short way for small files gives what the usual one gives, and never more."""

import pytest

from appliance.accounts import sessions
from appliance.clock import utc_now
from appliance.db import shares
from appliance.model import Role
from appliance.packed import pack_path
from appliance.policy.share_rights import ALL, Right
from appliance.vault.tokens import digest
from appliance.web import quick_file
from appliance.web.security import COOKIE


def address(path, share="documents"):
    return f"/disk/{share}/file?p={pack_path(path.encode())}"


@pytest.fixture
def folder(database, tmp_path):
    """A share on which the owner may do all, and the secretary see."""
    place = tmp_path / "documents"
    (place / "letters").mkdir(parents=True)
    (place / "letters" / "été.txt").write_text("a letter of march")
    (place / "large.bin").write_bytes(bytes(300_000))
    (place / "empty").touch()
    (place / "out").symlink_to("/etc/passwd")
    with database.write() as connection:
        made = shares.add(
            connection, name="documents", label="Documents", folder=place, now=utc_now()
        )
        for role, rights in ((Role.OWNER, ALL), (Role.SECRETARY, {Right.SEE})):
            shares.grant(connection, made.id, rights, role=role, by=None, now=utc_now())
    return place


@pytest.fixture
def quick(taken_by):
    """What was answered by the short way."""
    return taken_by(quick_file)


@pytest.mark.parametrize("name", ["letters/été.txt", "empty"])
def test_both_ways_answer_alike(owner, folder, quick, name):
    """The first opening goes the usual way, into the journal; the second is quick and the same."""
    usual = owner.get(address(name))
    assert usual.status_code == 200
    assert quick == []

    short = owner.get(address(name))
    assert len(quick) == 1
    assert short.content == usual.content == (folder / name).read_bytes()
    assert dict(short.headers) == dict(usual.headers)


def test_the_journal_has_each_opening_once(owner, folder, quick, database):
    """What is quick was written down before."""
    for _ in range(3):
        owner.get(address("letters/été.txt"))
    with database.read() as connection:
        count = connection.exec_driver_sql(
            "SELECT count(*) FROM ledger WHERE event = 'file.opened'"
        ).scalar()

    assert (count, len(quick)) == (1, 2)


def test_a_right_that_is_taken_away_is_gone_with_the_next_request(
    client_as, folder, quick, database, settings
):
    """However quick it was until then."""
    secretary = client_as(Role.SECRETARY)
    for _ in range(2):
        assert secretary.get(address("letters/été.txt")).status_code == 200
    assert len(quick) == 1
    with database.write() as connection:
        share = shares.get_by_name(connection, "documents")
        shares.grant(connection, share.id, set(), role=Role.SECRETARY, by=None, now=utc_now())

    assert secretary.get(address("letters/été.txt")).status_code == 404
    assert len(quick) == 1


def test_a_session_that_was_ended_is_gone_with_the_next_request(owner, folder, quick, database):
    """By whom and from where ever."""
    for _ in range(2):
        assert owner.get(address("letters/été.txt")).status_code == 200
    with database.write() as connection:
        found = sessions.known(connection, digest(owner.cookies[COOKIE]))
        sessions.end(connection, found.session.id, now=utc_now())

    answer = owner.get(address("letters/été.txt"), follow_redirects=False)
    assert answer.status_code == 303
    assert len(quick) == 1


def test_another_content_is_another_opening(owner, folder, quick):
    """It is written down, and sent as it is now."""
    for _ in range(2):
        owner.get(address("letters/été.txt"))
    (folder / "letters" / "été.txt").write_text("another letter")

    assert owner.get(address("letters/été.txt")).text == "another letter"
    assert len(quick) == 1


def test_what_is_not_simple_goes_the_usual_way(owner, folder, quick):
    """Parts, conditions, large files, links, folders, and what is not there."""
    for name in ("letters/été.txt", "large.bin"):
        assert owner.get(address(name)).status_code == 200
    letter = address("letters/été.txt")
    etag = owner.get(letter).headers["etag"]
    quick.clear()

    assert owner.get(letter, headers={"range": "bytes=2-7"}).text == "letter"
    assert owner.get(letter, headers={"if-none-match": etag}).status_code == 304
    assert owner.head(letter).status_code == 200
    assert owner.get(f"{letter}&x=1").status_code == 200
    assert len(owner.get(address("large.bin")).content) == 300_000
    assert owner.get(address("out")).status_code == 404
    assert owner.get(address("letters")).status_code == 404
    assert owner.get(address("nothing")).status_code == 404
    assert owner.get(address("../documents/empty")).status_code == 422
    assert owner.get("/disk/documents/file?p=A").status_code == 422
    assert owner.get(address("empty", share="others")).status_code == 404
    assert quick == []


@pytest.mark.parametrize("role", [Role.TECHNICAL_ADMIN, Role.ASSOCIATE])
def test_who_may_not_see_is_told_what_they_always_were(owner, client_as, folder, quick, role):
    """Known to one is not known to all."""
    for _ in range(2):
        assert owner.get(address("letters/été.txt")).status_code == 200
    quick.clear()

    assert client_as(role).get(address("letters/été.txt")).status_code == 404
    assert quick == []
