"""A folder's page is remembered and has a short way: it stays what the usual way gives, to each person their own."""

import os

import pytest
from sqlalchemy import update

from appliance.accounts import sessions
from appliance.clock import utc_now
from appliance.db import facts, practice, shares
from appliance.db.schema import person
from appliance.model import Role
from appliance.packed import pack_path
from appliance.policy.share_rights import ALL, Right
from appliance.vault.tokens import digest
from appliance.web import quick_folder
from appliance.web.remembered import BETWEEN, PLACE, Rows, Shelf, filled, parted
from appliance.web.security import COOKIE
from appliance.web.standing import informed_fact


def address(path="letters", share="documents"):
    return f"/disk/{share}?p={pack_path(path.encode())}"


@pytest.fixture
def folder(database, tmp_path):
    """Three shares of the same look: one for all, one that the secretary sees, one she may only add to."""
    with database.write() as connection:
        for name, rights in (
            ("documents", {Right.SEE}),
            ("work", {Right.SEE, Right.ADD, Right.CHANGE, Right.DELETE}),
            ("box", {Right.ADD}),
        ):
            place = tmp_path / name
            (place / "letters").mkdir(parents=True)
            (place / "letters" / "été.txt").write_text("a letter of march")
            os.utime(place / "letters" / "été.txt", (1_774_000_000, 1_774_000_000))
            (place / "letters" / "out").symlink_to("/etc/passwd")
            made = shares.add(connection, name=name, label=name, folder=place, now=utc_now())
            # The room that the page says is the quota's: the disk's own changes while others write to it.
            shares.change(connection, made.id, quota_bytes=100_000_000)
            for role, given in ((Role.OWNER, ALL), (Role.SECRETARY, rights)):
                shares.grant(connection, made.id, given, role=role, by=None, now=utc_now())
    return tmp_path / "documents" / "letters"


@pytest.fixture
def quick(taken_by):
    """What was answered by the short way."""
    return taken_by(quick_folder)


def seen(client, path=None):
    """The page as the second and third visit give it: remembered."""
    for _ in range(2):
        client.get(path or address())
    answer = client.get(path or address())
    assert answer.status_code == 200
    return answer.text


def test_both_ways_answer_alike(owner, folder, quick):
    """Headers and bytes: of the first, the remembered and the short way."""
    usual = owner.get(address())
    assert quick == []
    short = owner.get(address())
    assert quick == ["/disk/documents"]
    around = owner.get(address() + "&first=0")  # a question the short way does not know
    assert len(quick) == 1

    assert short.content == usual.content == around.content
    assert dict(short.headers) == dict(usual.headers) == dict(around.headers)
    assert "été.txt" in short.text
    assert "content-security-policy" in short.headers


def test_two_people_never_get_each_others_page(client_as, folder, quick):
    """Their names, what they may do, their menus: though they look at the same folder one after the other."""
    for _ in range(3):
        hers, his = seen(client_as(Role.SECRETARY)), seen(client_as(Role.OWNER))
        assert "data-upload-form" in his
        assert 'value="delete"' in his
        assert "data-upload-form" not in hers
        assert 'value="delete"' not in hers
        assert 'data-rights="see ' in hers
        assert 'href="/settings"' in his
        assert 'href="/settings"' not in hers
        assert his.count('name="p"') == hers.count('name="p"') == 2
    assert quick


def test_rights_are_those_of_the_share_that_is_asked_for(client_as, folder):
    """Folders of one name in two shares: their rows lead into their own share, with its rights."""
    secretary = client_as(Role.SECRETARY)
    one, other = seen(secretary), seen(secretary, address(share="work"))

    assert "/disk/documents/file?p=" in one
    assert "/disk/work/" not in one
    assert "/disk/work/file?p=" in other
    assert "/disk/documents/" not in other
    assert 'value="delete"' in other
    assert 'value="delete"' not in one


def test_who_may_only_add_is_shown_nothing(owner, client_as, folder):
    """However often somebody else has just looked."""
    his = seen(owner, "/disk/box")
    secretary = client_as(Role.SECRETARY)
    hers = seen(secretary, "/disk/box")

    assert "letters" in his
    assert "letters" not in hers
    assert secretary.get(address(share="box")).status_code == 403


def test_each_reads_their_own_language(owner, database, folder, quick):
    """Sizes, words and all; from the next request after it was chosen."""
    english = seen(owner)
    owner.post("/language", data={"language": "fr", "next": "/"})
    french = seen(owner)
    owner.post("/language", data={"language": "en", "next": "/"})

    assert seen(owner) == english
    assert "17 o" in french.replace("\N{NO-BREAK SPACE}", " ")
    assert "17 B" in english.replace("\N{NO-BREAK SPACE}", " ")
    assert 'lang="en"' in english
    assert "link, not followed" in english
    assert "link, not followed" not in french


def test_moments_are_those_of_the_practices_zone(owner, database, folder, quick):
    """One hour is remembered under its zone: 09:46 in Paris is 13:46 in Saint-Denis."""
    assert "20/03/2026 10:46" in seen(owner)
    with database.write() as connection:
        facts.put(connection, practice.TIME_ZONE, "Indian/Reunion", now=utc_now())

    page = seen(owner)
    assert "20/03/2026 13:46" in page
    assert "20/03/2026 10:46" not in page


def test_a_page_is_what_the_folder_is_now(owner, folder, quick):
    """New names, sizes and times show with the next request."""
    seen(owner)
    (folder / "new.txt").write_text("1234567")
    assert "new.txt" in owner.get(address()).text
    (folder / "new.txt").write_text("12345678")
    seen(owner)
    (folder / "new.txt").write_text("123")

    page = owner.get(address()).text.replace("\N{NO-BREAK SPACE}", " ")
    assert ">3 B<" in page
    assert ">8 B<" not in page
    (folder / "new.txt").unlink()
    assert "new.txt" not in owner.get(address()).text


def test_what_stands_on_top_is_never_old(owner, database, folder, quick):
    """A new name of the person, the information that was read."""
    before = seen(owner)
    with database.write() as connection:
        found = sessions.known(connection, digest(owner.cookies[COOKIE]))
        who = found.holder.id
        connection.execute(update(person).where(person.c.id == who).values(name="Dr Petit"))
        facts.put(connection, informed_fact(who), True, now=utc_now())

    page = owner.get(address()).text
    assert "Dr Petit" in page
    assert found.holder.name not in page
    assert page.count("/information") == before.count("/information") - 1


def test_a_right_that_is_taken_away_is_gone_with_the_next_request(
    client_as, folder, quick, database
):
    """However quick it was until then."""
    secretary = client_as(Role.SECRETARY)
    seen(secretary)
    assert quick
    with database.write() as connection:
        share = shares.get_by_name(connection, "documents")
        shares.grant(connection, share.id, set(), role=Role.SECRETARY, by=None, now=utc_now())

    assert secretary.get(address()).status_code == 404


def test_a_session_that_was_ended_is_gone_with_the_next_request(owner, folder, quick, database):
    """By whom and from where ever."""
    seen(owner)
    with database.write() as connection:
        found = sessions.known(connection, digest(owner.cookies[COOKIE]))
        sessions.end(connection, found.session.id, now=utc_now())

    assert owner.get(address(), follow_redirects=False).status_code == 303


def test_what_is_not_simple_goes_the_usual_way(owner, client_as, folder, quick):
    """Other pages, other questions, what is not there, who may not."""
    seen(owner)
    quick.clear()
    for path, status in (
        (address("nothing"), 404),
        (address("../documents/letters"), 422),
        (address("letters/été.txt"), 404),
        (address(share="others"), 404),
        ("/disk/documents?p=A", 422),
        ("/disk/search?q=letter", 200),
        (address() + "&first=x", 422),
        (address() + "&first=200", 200),
        ("/disk/documents/bin", 200),
    ):
        assert owner.get(path).status_code == status, path
    assert owner.head(address()).status_code == 405
    assert client_as(Role.TECHNICAL_ADMIN).get(address()).status_code == 404
    assert quick == []


def test_a_fault_is_met_where_it_is_noted_down(owner, folder, quick, monkeypatch, caplog):
    """No door stands around the short way: what breaks there goes to them."""
    seen(owner)

    def broken(*_args, **_facts):
        raise ZeroDivisionError

    monkeypatch.setattr("appliance.web.render.Renderer.filled", broken)
    answer = owner.get(address())

    assert answer.status_code == 500
    assert "ZeroDivisionError" in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


# --- what remembers -------------------------------------------------------------------------


def rows(*facts):
    return Rows("rows.html", (("share", "a"),), list(facts), lambda fact, _: fact)


def test_only_rows_that_are_new_are_made_and_all_come_in_order():
    """One call for all that are missing."""
    asked = []

    def make(shown):
        asked.append(shown)
        return "".join(f"<{each}>{BETWEEN}" for each in shown)

    shelf = Shelf(10)
    assert filled(shelf, rows(1, 2), ("fr",), make) == b"<1><2>"
    assert filled(shelf, rows(3, 2, 1, 2), ("fr",), make) == b"<3><2><1><2>"
    assert filled(shelf, rows(1), ("en",), make) == b"<1>"
    assert asked == [[1, 2], [3], [1]]


def test_no_more_is_kept_than_was_said():
    """What was asked for longest ago goes; the page is whole all the same."""
    shelf = Shelf(2)
    made = filled(shelf, rows(1, 2, 3), (), lambda s: "".join(f"{e}{BETWEEN}" for e in s))

    assert made == b"123"
    assert len(shelf) == 2
    assert shelf.find((("rows.html", (("share", "a"),)), 1)) is None


def test_a_template_that_parts_wrongly_is_an_error_and_no_mixed_page():
    """A row too many or too few would be under another's key."""
    with pytest.raises(ValueError, match="BETWEEN"):
        filled(Shelf(9), rows(1, 2), (), lambda _: f"one{BETWEEN}")
    with pytest.raises(ValueError, match="once"):
        parted(f"{PLACE} and {PLACE}")


def test_a_name_cannot_say_where_rows_go(owner, folder, quick):
    """Whoever names a file like our marks gets a file of that name."""
    (folder / PLACE).write_text("x")
    (folder / BETWEEN).write_text("x")
    page = seen(owner)

    assert page.count('name="p"') == 4
    assert BETWEEN not in page
    assert PLACE not in page
    assert "&lt;!--row--&gt;</a>" in page


@pytest.mark.parametrize("name", ["<b>é&\"'.txt", "a\N{ZERO WIDTH SPACE}b", "%(name)s.pdf", "#"])
def test_names_are_shown_as_they_are_the_first_time_and_the_second(owner, folder, quick, name):
    """Escaped once."""
    (folder / name).write_text("x")

    assert owner.get(address()).text == seen(owner)
    assert owner.get(address()).text.count("&amp;lt;") == 0
