"""The contract every target keeps: one suite, subclassed once per kind.

A subclass gives the fixture ``place`` (see ``Place``) and nothing else.
"""

import hashlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.errors import (
    ArmoireError,
    InvalidInput,
    ObjectAlreadyThere,
    ObjectMissing,
    TargetFull,
    TargetListUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.replication.target import SealedFile, Target


@dataclass
class Place:
    """A real place under test."""

    open: Callable[[], Target]
    #: Make the place unreachable until ``restore`` (pull the disk, end the server).
    cut: Callable[[], None]
    restore: Callable[[], None]
    #: Leave no more than this many bytes of room; None where this kind cannot be limited here.
    limit: Callable[[int], None] | None = None
    can_remove: bool = True


def sealed(folder: Path, data: bytes, name: str = "spool") -> SealedFile:
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return SealedFile.of(path)


def content(target: Target, name: str, **part: int) -> bytes:
    return b"".join(target.read(name, **part))


class TargetContract:
    """Promises of ``appliance.replication.target.Target``."""

    def test_what_was_created_is_read_back_whole_and_in_parts(self, place, tmp_path):
        data = random.Random(1).randbytes(3_000_001)
        target = place.open()
        seen: list[int] = []

        target.create("objects/ab/one", sealed(tmp_path, data), on_bytes=seen.append)

        assert content(target, "objects/ab/one") == data
        assert content(target, "objects/ab/one", offset=2_999_990) == data[2_999_990:]
        assert content(target, "objects/ab/one", offset=5, length=1_500_000) == data[5:1_500_005]
        assert sum(seen) == len(data)

    @pytest.mark.parametrize("size", [0, 1, 1 << 20])
    def test_sizes_at_the_edges_are_kept(self, place, tmp_path, size):
        target = place.open()
        target.create("objects/edge", sealed(tmp_path, b"x" * size))

        assert content(target, "objects/edge") == b"x" * size
        found = target.stat("objects/edge")
        assert found is not None
        assert found.size == size

    def test_a_hash_the_target_gives_is_the_hash_of_the_bytes(self, place, tmp_path):
        target = place.open()
        target.create("objects/hash", sealed(tmp_path, b"letter"))

        found = target.stat("objects/hash")
        assert found is not None
        assert found.sha256 in {None, hashlib.sha256(b"letter").hexdigest()}

    def test_nothing_is_ever_overwritten(self, place, tmp_path):
        target = place.open()
        target.create("objects/one", sealed(tmp_path, b"first"))

        for data in (b"second", b"first"):
            with pytest.raises(ObjectAlreadyThere):
                target.create("objects/one", sealed(tmp_path, data))

        assert content(target, "objects/one") == b"first"

    def test_an_object_that_is_not_there_is_none_and_cannot_be_read(self, place):
        target = place.open()

        assert target.stat("objects/none") is None
        with pytest.raises(ObjectMissing):
            content(target, "objects/none")

    def test_the_list_holds_every_object_once_and_nothing_else(self, place, tmp_path):
        target = place.open()
        names = {f"objects/{number % 7:02d}/{number:04d}" for number in range(60)} | {
            "generations/1.age"
        }
        for name in names:
            target.create(name, sealed(tmp_path, name.encode()))

        listed = list(target.list())

        assert sorted(info.name for info in listed) == sorted(names)
        assert all(info.size == len(info.name) for info in listed)
        below = {info.name for info in target.list("objects/03")}
        assert below == {name for name in names if name.startswith("objects/03")}
        assert list(target.list("nothing/")) == []

    def test_another_session_sees_what_this_one_wrote(self, place, tmp_path):
        place.open().create("objects/one", sealed(tmp_path, b"kept"))

        assert content(place.open(), "objects/one") == b"kept"

    @pytest.mark.parametrize(
        "name",
        ["../one", "/one", "a//b", ".hidden", "a/../b", "Ä", "a b", "", "a/", "a\nb", "x" * 201],
    )
    def test_names_that_could_lead_elsewhere_are_refused(self, place, tmp_path, name):
        target = place.open()

        with pytest.raises(InvalidInput):
            target.create(name, sealed(tmp_path, b"x"))
        with pytest.raises((InvalidInput, ObjectMissing)):
            content(target, name)

    def test_removing_is_done_or_refused_in_words_and_never_half(self, place, tmp_path):
        target = place.open()
        target.create("objects/one", sealed(tmp_path, b"one"))
        target.create("objects/two", sealed(tmp_path, b"two"))

        if place.can_remove:
            target.remove("objects/one")
            target.remove("objects/one")
            assert target.stat("objects/one") is None
            assert [info.name for info in target.list()] == ["objects/two"]
        else:
            with pytest.raises(TargetRefuses):
                target.remove("objects/one")
            assert content(target, "objects/one") == b"one"

    def test_a_place_that_is_gone_is_said_and_is_never_an_empty_one(self, place, tmp_path):
        target = place.open()
        target.create("objects/one", sealed(tmp_path, b"one"))
        place.cut()
        try:
            with pytest.raises((TargetUnreachable, TargetListUnreadable)):
                list(target.list())
            with pytest.raises(ArmoireError) as raised:
                target.create("objects/two", sealed(tmp_path, b"two"))
            assert raised.value.retryable
            with pytest.raises(TargetUnreachable):
                target.stat("objects/one")
            with pytest.raises(TargetUnreachable):
                content(target, "objects/one")
        finally:
            place.restore()
        again = place.open()
        assert content(again, "objects/one") == b"one"
        assert [info.name for info in again.list()] == ["objects/one"]

    def test_an_upload_cut_in_the_middle_leaves_nothing_under_the_name_and_can_be_done_again(
        self, place, tmp_path
    ):
        data = random.Random(2).randbytes(6_000_000)
        target = place.open()
        sent = 0

        def cut_half_way(count: int) -> None:
            nonlocal sent
            sent += count
            if sent > len(data) // 2:
                place.cut()
                raise_if_local()

        def raise_if_local() -> None:
            # A disk does not notice by itself between two writes that it was taken out.
            raise TargetUnreachable("test", "cut")

        with pytest.raises(TargetUnreachable):
            target.create("objects/big", sealed(tmp_path, data), on_bytes=cut_half_way)
        place.restore()

        again = place.open()
        assert again.stat("objects/big") is None
        assert list(again.list()) == []
        again.create("objects/big", sealed(tmp_path, data))
        assert content(again, "objects/big") == data

    def test_a_full_place_is_said_and_keeps_what_it_had(self, place, tmp_path):
        if place.limit is None:
            return  # this kind cannot be limited here: see the subclass
        target = place.open()
        target.create("objects/one", sealed(tmp_path, b"one"))
        place.limit(1_000_000)

        with pytest.raises(TargetFull):
            target.create("objects/big", sealed(tmp_path, bytes(5_000_000)))

        assert content(target, "objects/one") == b"one"
        assert target.stat("objects/big") is None

    def test_two_writers_of_one_name_never_mix(self, place, tmp_path):
        """Exactly one wins; the object is one of the two, whole."""
        both = [bytes([65 + number]) * 2_000_000 for number in range(2)]
        outcomes: list[str] = []
        start = threading.Barrier(2)

        def write(data: bytes) -> None:
            target = place.open()
            start.wait()
            try:
                target.create("objects/same", sealed(tmp_path, data))
                outcomes.append("created")
            except ObjectAlreadyThere:
                outcomes.append("there")
            finally:
                target.close()

        threads = [threading.Thread(target=write, args=(data,)) for data in both]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

        assert sorted(outcomes) == ["created", "there"]
        assert content(place.open(), "objects/same") in both
