"""On the line after a fire, a document goes before the restore, and the restore still comes to its end."""

import threading
import time

from appliance.replication.recover_polite import Gate, Polite, Urgent


class Slow:
    """A target of blocks; it counts how many are read at once."""

    label = "slow"

    def __init__(self, blocks: int = 3) -> None:
        self.blocks = blocks
        self.most = self.now = 0

    def read(self, name, *, offset=0, length=None):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for number in range(self.blocks):
                time.sleep(0.005)
                yield f"{name}{number}".encode()
        finally:
            self.now -= 1


def read_in_threads(target: Polite, count: int) -> list[bytes]:
    found: list[bytes] = []

    def one(number: int) -> None:
        found.append(b"".join(target.read(f"o{number}")))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_when_nobody_reads_the_restore_takes_the_whole_line():
    slow = Slow(blocks=100)
    found = read_in_threads(Polite(slow, Gate()), 4)
    assert len(found) == 4
    assert slow.most > 1


def test_while_documents_are_read_objects_are_asked_for_one_by_one():
    """Bytes on their way cannot be called back."""
    slow, gate = Slow(), Gate()
    list(Urgent(Slow(), gate).read("document"))

    found = read_in_threads(Polite(slow, gate), 5)

    assert len(found) == 5
    assert slow.most == 1


def test_an_object_on_its_way_stands_still_while_a_document_comes():
    gate = Gate(patience_s=60.0)
    restoring = Polite(Slow(blocks=50), gate).read("big")
    next(restoring)
    got: list[bytes] = []
    with gate.urgent():
        thread = threading.Thread(target=lambda: got.extend(restoring))
        thread.start()
        time.sleep(0.2)
        assert got == []
    thread.join(60)
    assert len(got) == 49


def test_a_document_that_never_ends_does_not_hold_the_restore_for_ever():
    """A film is watched for an hour; the box still comes back."""
    gate = Gate(patience_s=0.05)
    with gate.urgent():
        assert len(list(Polite(Slow(), gate).read("o"))) == 3


def test_an_object_given_up_in_the_middle_frees_its_place():
    """A cut line must not leave the others waiting."""
    slow, gate = Slow(), Gate()
    list(Urgent(Slow(), gate).read("document"))
    reading = Polite(slow, gate).read("o")
    next(reading)
    reading.close()

    assert len(read_in_threads(Polite(slow, gate), 2)) == 2
