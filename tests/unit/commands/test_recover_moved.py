"""A share that comes back to another folder: which folders may be named."""

import pytest

from appliance.clock import utc_now
from appliance.commands.recover_moved import (
    check_names,
    check_room,
    moved_excludes,
    read_moved,
)
from appliance.errors import AlreadyExists, InvalidInput, NotFound
from appliance.model import Keep, Plan, Source, SourceId, SourceKind
from appliance.settings import Settings


@pytest.fixture
def settings(tmp_path):
    found = Settings(data=tmp_path / "data")
    found.data.mkdir()
    return found


def share(number: int, root: str, *excludes: str) -> Source:
    return Source(
        id=SourceId(number), name=f"share-{number}", label="", kind=SourceKind.SHARE,
        created_at=utc_now(), roots=(root,), excludes=excludes, plan=Plan(keep=Keep()),
    )  # fmt: skip


def test_an_empty_folder_a_new_one_and_a_fresh_file_system_take_a_share(settings, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    given = {"a": tmp_path / "empty", "b": tmp_path / "new", "c": tmp_path / "disk"}

    found = read_moved(settings, [f"{name}={place}/" for name, place in given.items()], {})

    assert found == {name: str(place) for name, place in given.items()}
    assert not (tmp_path / "new").exists(), "nothing is made by asking"


@pytest.mark.parametrize(
    "text",
    ["a", "a=", "=/srv", "a=relative", "a=/etc/a", "a=/", "a={data}", "a={data}/keys",
     "a={above}", "a={full}", "a={file}", "a={nowhere}/deep", "a={link}", "a={above}/x/../y"],
)  # fmt: skip
def test_no_share_is_put_where_it_would_harm_or_be_lost(settings, tmp_path, text):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    (tmp_path / "file").touch()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    names = {each: tmp_path / each for each in ("data", "full", "file", "nowhere", "link")}

    with pytest.raises(InvalidInput):
        read_moved(settings, [text.format(above=tmp_path, **names)], {})


def test_one_folder_takes_one_share_and_a_share_is_named_once(settings, tmp_path):
    for given in ([f"a={tmp_path}/x", f"b={tmp_path}/x"], [f"a={tmp_path}/x", f"a={tmp_path}/y"]):
        with pytest.raises(InvalidInput):
            read_moved(settings, given, {})
    with pytest.raises(InvalidInput):
        read_moved(settings, [f"a={tmp_path}/x"], {"b": f"{tmp_path}/x/below"})


def test_what_an_earlier_attempt_brought_there_is_no_stranger(settings, tmp_path):
    """The same command again, after a kill; another share still needs an empty folder."""
    place = tmp_path / "begun"
    place.mkdir()
    (place / "letter.txt").touch()

    assert read_moved(settings, [f"a={place}"], {"a": str(place)}) == {"a": str(place)}
    assert read_moved(settings, [], {"a": str(place)}) == {"a": str(place)}
    with pytest.raises(InvalidInput):
        read_moved(settings, [f"b={place}"], {})


def test_only_shares_of_the_copy_can_be_named():
    check_names({"partage": "/srv"}, ["partage"])
    with pytest.raises(NotFound):
        check_names({"personne": "/srv"}, ["partage"])


def test_a_folder_of_another_share_is_not_taken(tmp_path):
    one, other = share(1, "/srv/one"), share(2, str(tmp_path))
    check_room(tmp_path.parent / "else", one, [one, other])
    for place in (tmp_path, tmp_path / "below", tmp_path.parent):
        with pytest.raises(AlreadyExists):
            check_room(place, one, [one, other])


def test_what_is_left_out_of_its_nights_follows(tmp_path):
    one = share(1, "/srv/one", "sh:**/.bin", "sh:/srv/one/tmp/*", "/srv/one/cache", "/srv/one-two")

    assert moved_excludes(one, tmp_path) == (
        "sh:**/.bin", f"sh:{tmp_path}/tmp/*", f"{tmp_path}/cache", "/srv/one-two",
    )  # fmt: skip
