"""A generation is what this box signed, or it is refused and the reason named."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ObjectAltered
from appliance.replication import manifest as m
from appliance.vault.secret import Secret

IDENTITY = pyrage.x25519.Identity.generate()
KEY = Ed25519PrivateKey.generate()
SECRET = Secret(str(IDENTITY).encode())


def made(number=17, previous=m.NONE, box="box-1", key=KEY):
    one = m.Manifest(
        box_id=box,
        number=number,
        taken_at=datetime(2026, 11, 23, 3, tzinfo=UTC),
        previous=previous,
        program="armoire 0.1.0",
        repositories=(m.CopiedRepository(1, "a" * 64, "accueil", "Accueil", "pulled"),),
        files=(m.CopiedFile(1, "data/0/5", "objects/ab/cd", 8, "1" * 64, 200, "2" * 64),),
    )
    return one, m.build(one, recipient=str(IDENTITY.to_public()), signing_key=key)


NAME = m.object_name(17)
MANIFEST, DATA = made()


def opened(data, name=NAME):
    header = m.check(name, data, signer=KEY.public_key(), box_id="box-1")
    return m.open_manifest(name, data, identity=SECRET, header=header)


def test_a_generation_opens_to_what_went_in():
    assert opened(DATA) == MANIFEST


def test_debians_age_and_zstd_open_it_without_us(tmp_path):
    """docs/formats/offsite.md: in thirty years too."""
    (tmp_path / "g").write_bytes(DATA)
    (tmp_path / "key").write_text(str(IDENTITY))

    shell = f"tail -n +3 {tmp_path}/g | age -d -i {tmp_path}/key | zstd -dc"
    values = json.loads(
        subprocess.run(["bash", "-c", shell], check=True, capture_output=True).stdout
    )

    assert values["number"] == 17
    assert values["files"][0]["path"] == "data/0/5"


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_any_altered_byte_is_noticed(place, change):
    altered = bytearray(DATA)
    altered[place] ^= change

    with pytest.raises(ObjectAltered):
        opened(bytes(altered))


@given(st.integers(0, len(DATA) - 1))
def test_a_truncated_generation_is_noticed(length):
    with pytest.raises(ObjectAltered):
        opened(DATA[:length])


def test_forged_moved_and_foreign_generations_are_refused_with_their_reason():
    _, forged = made(key=Ed25519PrivateKey.generate())
    _, foreign = made(box="box-2")
    for data, name, word in (
        (forged, NAME, "signature"),
        (foreign, NAME, "another box"),
        (DATA, m.object_name(18), "another name"),
        (b"hello", NAME, "not a generation"),
    ):
        with pytest.raises(ObjectAltered) as raised:
            opened(data, name)
        assert word in raised.value.reason


def test_the_wrong_kit_does_not_open_it():
    header = m.check(NAME, DATA, signer=KEY.public_key(), box_id="box-1")
    other = Secret(str(pyrage.x25519.Identity.generate()).encode())

    with pytest.raises(ObjectAltered):
        m.open_manifest(NAME, DATA, identity=other, header=header)


def row(count=5):
    found, previous = {}, m.NONE
    for number in range(1, count + 1):
        _, data = made(number, previous)
        name = m.object_name(number)
        digest = hashlib.sha256(data).hexdigest()
        found[number] = (m.check(name, data, signer=KEY.public_key(), box_id="box-1"), digest)
        previous = digest
    return found


def test_a_whole_row_has_no_fault_and_pruned_ones_leave_none():
    found = row()
    assert m.check_chain(found, kept=range(1, 6)) == []
    del found[2]
    assert m.check_chain(found, kept=[1, 3, 4, 5]) == []


def test_a_withheld_and_a_replaced_generation_are_named():
    found = row()
    _, other = made(3, "f" * 64)
    found[3] = (
        m.check(m.object_name(3), other, signer=KEY.public_key(), box_id="box-1"),
        hashlib.sha256(other).hexdigest(),
    )
    del found[5]

    faults = {(fault.number, fault.reason) for fault in m.check_chain(found, kept=range(1, 6))}

    assert faults == {(5, "missing"), (3, "not-following"), (4, "not-following")}
