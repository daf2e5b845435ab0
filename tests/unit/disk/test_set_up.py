"""A share is made with its nights, for who made it alone; a folder that may not be one is refused."""

from pathlib import Path

import pytest

from appliance.db import shares, sources
from appliance.db.engine import Database
from appliance.disk import access, set_up
from appliance.errors import AlreadyExists, InvalidInput
from appliance.model import Person, Role, SourceKind
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings
from tests.unit.disk.conftest import NOW


def make(database: Database, settings: Settings, doctor: Person, name: str, **more: object):
    with database.write() as connection:
        return set_up.make_share(
            connection, settings, name=name, label="X", person_id=doctor.id, now=NOW, **more
        )


def test_a_share_begins_with_its_nights_and_its_maker(
    database: Database, settings: Settings, doctor: Person
) -> None:
    """Its own folder, a source of its own, all rights to whoever made it, none to others."""
    made = make(database, settings, doctor, "documents")
    assert made.folder == settings.shares / "documents"
    assert made.folder.is_dir()
    with database.read() as connection:
        assert made.source_id is not None
        source = sources.get(connection, made.source_id)
        assert (source.kind, source.roots) == (SourceKind.SHARE, (str(made.folder),))
        assert access.on_share(connection, doctor, "documents", now=NOW).rights == ALL


def test_a_share_that_is_backed_up_already_keeps_its_source(
    database: Database, settings: Settings, doctor: Person, tmp_path: Path
) -> None:
    """The folder that had nights before goes on with them."""
    place = tmp_path / "old"
    place.mkdir()
    with database.write() as connection:
        before = sources.add(
            connection, name="old", label="Old", kind=SourceKind.SHARE, roots=(str(place),), now=NOW
        )
    assert make(database, settings, doctor, "old", folder=place).source_id == before.id


def test_no_folder_is_two_shares(database: Database, settings: Settings, doctor: Person) -> None:
    """Nor one inside another: rights of one would open the other."""
    made = make(database, settings, doctor, "documents")
    inside = made.folder / "in"
    inside.mkdir()
    with pytest.raises(AlreadyExists):
        make(database, settings, doctor, "other", folder=inside)
    with pytest.raises(AlreadyExists):
        make(database, settings, doctor, "documents")


@pytest.mark.parametrize("name", ["", "Documents", "a b", "-a", "homes", "a" * 41, "a/b", ".."])
def test_a_name_that_is_no_slug_is_refused(
    database: Database, settings: Settings, doctor: Person, name: str
) -> None:
    """Before anything is made."""
    with pytest.raises(InvalidInput):
        make(database, settings, doctor, name)
    assert not settings.shares.exists()


def test_what_is_the_systems_or_the_boxes_is_no_share(
    database: Database, settings: Settings, doctor: Person, tmp_path: Path
) -> None:
    """Keys, repositories, the root of everything, a link, a file."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").write_text("x")
    (settings.data / "keys").mkdir(exist_ok=True)
    for place in (
        Path("/"),
        Path("/etc"),
        Path("/proc/self"),
        Path("relative"),
        settings.data,
        settings.data / "keys",
        settings.data.parent,
        tmp_path / "link",
        tmp_path / "file",
        tmp_path / "missing",
        tmp_path / ".." / "x",
    ):
        with pytest.raises(InvalidInput):
            make(database, settings, doctor, "x", folder=place)


def test_rights_that_make_no_sense_are_refused(
    database: Database, settings: Settings, doctor: Person
) -> None:
    """To the technical administrator none; changing blindly neither; a letter box is fine."""
    made = make(database, settings, doctor, "documents")
    with database.write() as connection:
        asked = {"by": doctor.id, "now": NOW}
        with pytest.raises(InvalidInput):
            set_up.give_rights(connection, made, ALL, role=Role.TECHNICAL_ADMIN, **asked)
        with pytest.raises(InvalidInput):
            set_up.give_rights(
                connection, made, frozenset({Right.DELETE}), role=Role.SECRETARY, **asked
            )
        set_up.give_rights(connection, made, frozenset({Right.ADD}), role=Role.SECRETARY, **asked)
        set_up.give_rights(connection, made, frozenset(), role=Role.SECRETARY, **asked)
        assert [each.role for each in shares.grants(connection, made.id)] == [None]
