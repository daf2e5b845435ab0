"""SOURCE@SNAPSHOT:PATH means what a person means."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.commands.places import Place, find_snapshot, moment_of, parse_place, stored_path
from appliance.db import snapshots, sources
from appliance.errors import InvalidInput, NotFound
from appliance.model import Consistency, Snapshot, SnapshotState, SourceKind

PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("accueil", Place("accueil", "latest", b"")),
        ("accueil@12", Place("accueil", "12", b"")),
        ("accueil@2026-03-12:home/a b.pdf", Place("accueil", "2026-03-12", b"home/a b.pdf")),
        ("accueil:/home/é", Place("accueil", "latest", "home/é".encode())),
        ("accueil@latest:home/a:b@c", Place("accueil", "latest", b"home/a:b@c")),
    ],
)
def test_a_place_is_read_as_it_is_written(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "@latest:a", "accueil@", "accueil@:a", ":a"])
def test_a_place_without_a_source_or_with_half_a_snapshot_is_refused(text):
    with pytest.raises(InvalidInput):
        parse_place(text)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("/home/a/", b"home/a"),
        ("./home//a", b"home/a"),
        ("C:\\Users\\Éloïse\\a.doc", "C/Users/Éloïse/a.doc".encode()),
        ("C:/Users", b"C/Users"),
        ("C:", b"C"),
        ("a\\b", b"a\\b"),  # on Linux a backslash is part of a name
        ("", b""),
        ("\udcff.txt", b"\xff.txt"),  # not UTF-8: as the shell gave it
    ],
)
def test_a_typed_path_becomes_the_stored_one(typed, stored):
    assert stored_path(typed) == stored


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
                .filter(lambda part: part not in {".", ".."}), min_size=1))  # fmt: skip
def test_every_stored_path_can_be_typed(parts):
    """What ``ls`` shows can be given to ``cat``, whatever is in the name."""
    path = "/".join(["home", *parts])

    assert stored_path(path) == path.encode()


def test_a_date_means_the_end_of_that_day_in_the_practice():
    """The night that began on the evening of the 12th counts for the 12th, in summer too."""
    assert moment_of("2026-03-12", PARIS) == datetime(2026, 3, 12, 23, tzinfo=UTC)
    assert moment_of("2026-07-12", PARIS) == datetime(2026, 7, 12, 22, tzinfo=UTC)
    assert moment_of("2026-07-12T18:30", PARIS) == datetime(2026, 7, 12, 16, 31, tzinfo=UTC)


@pytest.mark.parametrize("word", ["yesterday", "2026-02-30", "12/03/2026", "9999-12-31"])
def test_a_word_that_is_no_date_says_what_may_be_given(word):
    with pytest.raises(InvalidInput):
        moment_of(word, PARIS)


def test_a_snapshot_is_found_by_number_date_and_latest(database):
    """And one of another source never, whatever its number."""
    days = [datetime(2026, 3, day, 20, tzinfo=UTC) for day in (10, 11, 13)]
    with database.write() as c:
        made = [
            sources.add(c, name=n, label=n, kind=SourceKind.SHARE, roots=("/a",), now=days[0])
            for n in ("a", "b")
        ]
        for number, (source, at) in enumerate(
            [(made[0], days[0]), (made[0], days[1]), (made[0], days[2]), (made[1], days[2])], 1
        ):
            snapshots.add(
                c,
                Snapshot(number, source.id, f"x{number}", f"{number:064x}", None, at, at,
                         SnapshotState.COMPLETE, Consistency.FILES, 1, 1, 1, 1),
            )  # fmt: skip
    with database.read() as c:
        assert find_snapshot(c, made[0], "latest", PARIS).id == 3
        assert find_snapshot(c, made[0], "2", PARIS).id == 2
        assert find_snapshot(c, made[0], "2026-03-12", PARIS).id == 2
        assert find_snapshot(c, made[0], "2026-03-11", PARIS).id == 2
        for word in ("4", "2026-03-09"):
            with pytest.raises(NotFound):
                find_snapshot(c, made[0], word, PARIS)
