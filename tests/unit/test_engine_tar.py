"""The tar stream of a folder too deep for SFTP: what GNU tar writes is read, anything else is refused."""

import io
import os
import random
import subprocess
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs.sources.deep import Refused, TarStream, command


def read(data: bytes, step: int = 10_000) -> list[tuple]:
    """Every member with its content."""
    stream = TarStream(data[at : at + step] for at in range(0, len(data), step))
    return [(member, b"".join(stream.content())) for member in stream.members()]


def made(members: list[tuple[str, bytes]], form: int) -> bytes:
    """A tar made by Python's own module."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


names = st.lists(
    st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=150
    ).filter(lambda part: part not in {".", ".."}),
    min_size=1,
    max_size=4,
).map("/".join)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(st.lists(st.tuples(names, st.binary(max_size=2_000)), max_size=6), st.integers(1, 3_000))
def test_members_come_out_as_they_went_in(form, members, step):
    """Long names, any characters, any cut of the stream, in both forms that exist."""
    found = read(made(members, form), step)
    assert [(member.name, data) for member, data in found] == [
        (name.encode(), data) for name, data in members
    ]


def test_what_the_real_tar_writes_is_read(tmp_path):
    """Folders, links, hard links, empty files, names that are not UTF-8, a path over 4,096 bytes."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"alpha")
    os.link(tmp_path / "folder" / "a", tmp_path / "same")
    (tmp_path / "link").symlink_to("x" * 150)
    (tmp_path / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    os.utime(tmp_path / "folder" / "a", (5, 1_700_000_000))
    data = subprocess.run(
        ["sh", "-c", command(os.fsencode(tmp_path))], capture_output=True, check=True
    ).stdout
    found = {member.name: (member, content) for member, content in read(data)}
    assert set(found) == {b"", b"folder", b"folder/a", b"same", b"link", b"caf\xe9"}
    whole = [each for each in (b"folder/a", b"same") if found[each][0].mode]
    other = next(each for each in (b"folder/a", b"same") if each not in whole)
    assert found[whole[0]][1] == b"alpha"
    assert found[whole[0]][0].mtime == 1_700_000_000
    assert found[other][0].target.removeprefix(b"./") == whole[0]
    assert found[b"link"][0].target == b"x" * 150


@pytest.mark.parametrize("name", ["../up", "a/../../b", "/etc/../x"])
def test_names_that_lead_out_are_refused(name):
    """A machine does not choose where its files are stored."""
    with pytest.raises(Refused):
        read(made([(name, b"evil")], tarfile.GNU_FORMAT))


def test_damaged_streams_are_refused_or_read_and_never_anything_else():
    """Bytes flipped, cut and doubled, a bounded run: no other exception, no endless loop."""
    rng = random.Random(7)
    whole = made([("a" * 120, b"x" * 700), ("b", b"y")], tarfile.PAX_FORMAT)
    refused = 0
    for _ in range(3_000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.5:
            del data[rng.randrange(len(data)) :]
        try:
            read(bytes(data))
        except Refused:
            refused += 1
    assert refused > 1_000
    with suppress(Refused):
        read(b"")


def test_a_header_of_any_size_is_not_read_into_memory():
    """A name of four gigabytes is refused when it is announced."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = b"L", 4 * 1024**3
    with pytest.raises(Refused):
        read(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
