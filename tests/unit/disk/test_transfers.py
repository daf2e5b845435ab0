"""Several files at once: one answer for all taken names, a figure of how far, a stop that leaves nothing half."""

from collections.abc import Callable

import pytest

from appliance.db.engine import Database
from appliance.disk import bin as bins
from appliance.disk import transfers
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.transfers import OnClash, Progress
from appliance.errors import JobCancelled, NameTaken, NotAllowed
from appliance.policy.share_rights import ALL, Right
from tests.unit.disk.conftest import NOW

Hold = Callable[..., Held]


def run(database, held, items, folder=b"to", *, is_copy=True, doer, **more):
    return transfers.transfer(
        database, held, items, held, folder, doer=doer, now=NOW, is_copy=is_copy, **more
    )


@pytest.fixture
def held(holding: Hold) -> Held:
    """«a.txt» and «b.txt», and a folder «to» where «a.txt» is taken."""
    made = holding()
    (made.share.folder / "to").mkdir()
    for name, content in (("a.txt", "new a"), ("b.txt", "new b"), ("to/a.txt", "old a")):
        (made.share.folder / name).write_text(content)
    return made


@pytest.mark.parametrize("is_copy", [True, False])
@pytest.mark.parametrize(
    ("on_clash", "there"),
    [
        (OnClash.REFUSE, {"a.txt": "old a", "b.txt": "new b"}),
        (OnClash.SKIP, {"a.txt": "old a", "b.txt": "new b"}),
        (OnClash.BOTH, {"a.txt": "old a", "a (2).txt": "new a", "b.txt": "new b"}),
        (OnClash.REPLACE, {"a.txt": "new a", "b.txt": "new b"}),
    ],
)
def test_a_taken_name_means_what_was_answered(
    database: Database, held: Held, doer: Doer, on_clash: OnClash, there: dict[str, str],
    is_copy: bool,
) -> None:  # fmt: skip
    """The others go on in any case; nothing is ever lost: what is replaced is in the bin."""
    found = run(database, held, [b"a.txt", b"b.txt"], doer=doer, on_clash=on_clash, is_copy=is_copy)
    folder = held.share.folder / "to"
    assert {each.name: each.read_text() for each in folder.iterdir()} == there
    assert found[1].new_path == b"to/b.txt"
    assert isinstance(found[0].error, NameTaken) == (on_clash is OnClash.REFUSE)
    assert (found[0].new_path is None) == (on_clash in {OnClash.REFUSE, OnClash.SKIP})
    with database.read() as connection:
        in_bin = [each.path for each in bins.items(connection, held.share.id)]
    assert in_bin == ([b"to/a.txt"] if on_clash is OnClash.REPLACE else [])
    stays = is_copy or on_clash in {OnClash.REFUSE, OnClash.SKIP}
    assert (held.share.folder / "a.txt").exists() == stays


def test_a_copy_beside_itself_asks_nothing(database: Database, held: Held, doer: Doer) -> None:
    """Copy here: «a (2).txt»; moved where it is, it stays."""
    (made,) = run(database, held, [b"a.txt"], b"", doer=doer)
    assert made.new_path == b"a (2).txt"
    (stayed,) = run(database, held, [b"a.txt"], b"", doer=doer, is_copy=False)
    assert (stayed.new_path, stayed.error) == (None, None)


def test_replacing_asks_for_the_right_to_delete(
    database: Database, held: Held, holding: Hold, doer: Doer
) -> None:
    """Who may not delete cannot do it by the back door; what was there is still there."""
    weaker = holding(*(ALL - {Right.DELETE}))
    (found,) = run(database, weaker, [b"a.txt"], doer=doer, on_clash=OnClash.REPLACE)
    assert isinstance(found.error, NotAllowed)
    assert (held.share.folder / "to" / "a.txt").read_text() == "old a"


def test_what_cannot_replace_gives_the_old_one_back(
    database: Database, held: Held, doer: Doer
) -> None:
    """A file that went meanwhile: the one it should replace is in its place again."""
    (held.share.folder / "a.txt").unlink()
    (found,) = run(database, held, [b"a.txt"], doer=doer, on_clash=OnClash.REPLACE)
    assert found.error is not None
    assert (held.share.folder / "to" / "a.txt").read_text() == "old a"


def test_it_says_how_far_it_is_and_stops_when_asked(
    database: Database, held: Held, doer: Doer
) -> None:
    """Bytes of all that was asked for; after a stop nothing of the copy is left."""
    (held.share.folder / "big").mkdir()
    for number in range(3):
        (held.share.folder / "big" / f"{number}.bin").write_bytes(bytes(100_000))
    progress = Progress()
    run(database, held, [b"big", b"b.txt"], doer=doer, progress=progress)
    assert (progress.total, progress.done, progress.items) == (300_005, 300_005, 2)

    class Impatient(Progress):
        def add(self, size_bytes: int) -> None:
            super().add(size_bytes)
            self.stop()

    found = run(
        database, held, [b"big", b"b.txt"], doer=doer, progress=Impatient(), on_clash=OnClash.BOTH
    )
    assert [type(each.error) for each in found] == [JobCancelled, JobCancelled]
    assert not (held.share.folder / "to" / "big (2)").exists()
    assert list(bins.own_folder(held.share, bins.PARTS).iterdir()) == []
