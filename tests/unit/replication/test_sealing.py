"""What is sealed here is age, for everybody else's age."""

import hashlib
import os
import subprocess

import pyrage
import pytest

from appliance.replication.age_format import CHUNK_BYTES, SEALED_CHUNK_BYTES, AgeStream
from appliance.replication.sealing import seal_file
from appliance.vault import words

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
MIB = 1 << 20
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, MIB - 1, MIB, MIB + 1,
         2 * MIB, 2 * MIB + 3 * CHUNK_BYTES, 3 * MIB + 77]  # fmt: skip


def sealed(tmp_path, content):
    source, spool = tmp_path / "plain", tmp_path / "sealed"
    source.write_bytes(content)
    return spool, seal_file(source, spool, recipient=RECIPIENT)


@pytest.mark.parametrize("size", SIZES)
def test_the_library_and_age_itself_open_it(tmp_path, size):
    """At every border of a chunk and of what is read at a time; sizes and hashes are those of the bytes."""
    content = os.urandom(size)
    spool, made = sealed(tmp_path, content)

    there = spool.read_bytes()
    assert pyrage.decrypt(there, [IDENTITY]) == content
    assert (made.plain_size, made.plain_sha256) == (size, hashlib.sha256(content).hexdigest())
    assert (made.file.size, made.file.sha256) == (len(there), hashlib.sha256(there).hexdigest())
    assert spool.stat().st_mode & 0o777 == 0o600
    key = tmp_path / "key"
    key.write_text(str(IDENTITY))
    opened = subprocess.run(
        ["age", "-d", "-i", str(key), str(spool)], capture_output=True, check=True
    )
    assert opened.stdout == content


@pytest.mark.parametrize("cut", [1, 16, SEALED_CHUNK_BYTES, SEALED_CHUNK_BYTES + 5])
def test_what_was_cut_off_is_noticed(tmp_path, cut):
    """The end says that it is the end: a shorter file is none."""
    spool, _ = sealed(tmp_path, os.urandom(3 * CHUNK_BYTES))
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(spool.read_bytes()[:-cut], [IDENTITY])


@pytest.mark.parametrize("at", [0, 40, 100, 190, 400, -1])
def test_what_was_altered_is_noticed(tmp_path, at):
    """In the head, in the middle, in the last tag."""
    spool, _ = sealed(tmp_path, os.urandom(2 * CHUNK_BYTES))
    there = bytearray(spool.read_bytes())
    there[at] ^= 1
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(bytes(there), [IDENTITY])


def test_the_same_file_sealed_twice_has_nothing_in_common(tmp_path):
    """Keys are of one file: what a host sees says nothing about what is inside."""
    content = bytes(3 * CHUNK_BYTES)
    first, _ = sealed(tmp_path, content)
    before = first.read_bytes()
    first.unlink()
    again, _ = sealed(tmp_path, content)
    after = again.read_bytes()

    body = before.index(b"\n--- ")
    assert len(before) == len(after)
    chunks = [before[at : at + 32] for at in range(body, len(before), 1000)]
    assert not any(each in after for each in chunks)
    assert len(set(chunks)) == len(chunks)


def test_another_identity_opens_nothing(tmp_path):
    """It is sealed to the sheets, and to nobody else."""
    spool, _ = sealed(tmp_path, b"a letter")
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(spool.read_bytes(), [pyrage.x25519.Identity.generate()])


@pytest.mark.parametrize(
    "wrong", ["", "age1", RECIPIENT[:-1], RECIPIENT + "q", RECIPIENT.upper(), str(IDENTITY),
              RECIPIENT[:20] + ("q" if RECIPIENT[20] != "q" else "p") + RECIPIENT[21:],
              "age1" + "é" * 58],
    # Not by themselves: they are made anew in each process that collects the tests.
    ids=["empty", "head", "short", "long", "capitals", "identity", "another-letter", "accents"],
)  # fmt: skip
def test_a_wrong_letter_in_a_recipient_seals_nothing(tmp_path, wrong):
    """To whom nobody is: it would be lost for ever. No half file is left."""
    (tmp_path / "plain").write_bytes(b"a letter")
    with pytest.raises(ValueError, match="recipient"):
        seal_file(tmp_path / "plain", tmp_path / "sealed", recipient=wrong)
    assert [each.name for each in tmp_path.iterdir()] == ["plain"]


def test_the_key_in_a_recipient_is_the_librarys(tmp_path):
    """Some of them, written again letter by letter."""
    for _ in range(30):
        recipient = str(pyrage.x25519.Identity.generate().to_public())
        assert words._bech32("age", words.recipient_key(recipient)) == recipient


@pytest.mark.parametrize("last", [True, False])
def test_chunks_out_of_order_are_refused(last):
    """A short chunk in the middle, something after the end, an empty one at the end: no age would open it."""
    out = memoryview(bytearray(4 * SEALED_CHUNK_BYTES))
    whole, short = memoryview(bytes(CHUNK_BYTES)), memoryview(b"abc")
    stream = AgeStream(RECIPIENT)
    with pytest.raises(ValueError, match="order"):
        stream.seal_into(short, out, last=False)
    stream.seal_into(whole, out, last=last)
    with pytest.raises(ValueError, match=r"order|empty"):
        stream.seal_into(memoryview(b""), out, last=True)


def test_a_full_disk_leaves_no_half_file(tmp_path):
    """The disk's own reason is told."""
    source = tmp_path / "plain"
    source.write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        seal_file(source, tmp_path / "away" / "sealed", recipient=RECIPIENT)
    with pytest.raises(IsADirectoryError):
        seal_file(tmp_path, tmp_path / "sealed", recipient=RECIPIENT)
    assert [each.name for each in tmp_path.iterdir()] == ["plain"]
