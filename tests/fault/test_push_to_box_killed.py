"""kill -9 of a push to another box, and of that box, at random points: nothing is lost, nothing is half."""

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.db import targets
from appliance.db.engine import open_database
from appliance.replication import fetch, manifest, plan, push
from appliance.replication.targets.box import BoxAccount, BoxTarget
from appliance.vault import words
from appliance.vault.secret import Secret
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.integration, pytest.mark.fault]
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
SECRET = Secret(bytes(range(16)))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BOX = push.Box("box-1", words.recipient(SECRET), KEY)
FILES, FILE_BYTES = 14, 300_000
#: A block takes so long to leave: there is a middle to be killed in.
PACE_S = 0.05


def moment_of(folder: Path) -> push.Moment:
    files = []
    for path in sorted((folder / "moment" / "1" / "data" / "0").iterdir()):
        facts = path.stat()
        files.append(plan.LocalFile(1, f"data/0/{path.name}", facts.st_size, facts.st_mtime_ns))
    repository = manifest.CopiedRepository(1, "a" * 64, "accueil", "Accueil", "pulled")
    return push.Moment(NOW, folder / "moment", tuple(files), (repository,))


def push_once(folder: Path, port: int, host_key: str, die_after: int) -> None:
    """In a process of its own: push, and die after so many bytes."""
    database = open_database(f"sqlite:///{folder / 'state.sqlite'}")
    key = Secret((folder / "key-cabinet").read_bytes())
    seen = 0

    def count(one: int) -> None:
        nonlocal seen
        seen += one
        time.sleep(PACE_S)
        if die_after and seen >= die_after:
            os.kill(os.getpid(), 9)

    with database.read() as connection:
        target_id = targets.get_by_name(connection, "autre").id
    push.push(
        database,
        target_id,
        box=BOX,
        moment=moment_of(folder),
        line=push.Line(
            lambda: BoxTarget(BoxAccount("127.0.0.1", port, "cabinet", host_key, key)),
            connections=2,
            on_bytes=count,
        ),
        spool=folder / "spool",
        now=lambda: NOW,
    )
    database.close()


def run_push(folder: Path, receiver: Receiver, die_after: int = 0) -> int:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.fault.test_push_to_box_killed import push_once\n"
        "push_once(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder, str(receiver.port), receiver.host_key, str(die_after)],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode not in {0, -9}:
        sys.stderr.write(done.stderr.decode()[-2000:])
    return done.returncode


@pytest.fixture
def folder(tmp_path):
    chance = random.Random(23)
    place = tmp_path / "moment" / "1" / "data" / "0"
    place.mkdir(parents=True)
    for number in range(FILES):
        (place / str(number)).write_bytes(chance.randbytes(FILE_BYTES))
    database = open_database(f"sqlite:///{tmp_path / 'state.sqlite'}", create=True)
    with database.write() as connection:
        targets.add(connection, name="autre", label="Autre", kind="box", place={}, now=NOW)
    database.close()
    return tmp_path


def whole(receiver: Receiver, folder: Path, generations: int) -> None:
    """Every generation that is shown opens, and all it names is there and right."""
    target = receiver.target()
    found = fetch.survey(target, signer=KEY.public_key(), box_id="box-1")
    assert found.faults == ()
    assert len(found.generations) == generations
    for each in found.generations:
        one = fetch.open_generation(
            target, each, identity=words.identity(SECRET), signer=KEY.public_key()
        )
        assert fetch.missing_objects(target, one) == []
    target.close()


def test_a_push_killed_at_random_bytes_goes_on_and_nothing_is_sent_twice(folder):
    chance = random.Random(29)
    total = FILES * FILE_BYTES
    with Receiver(folder) as receiver:
        for die_after in sorted(chance.randrange(1, total // 4) for _ in range(3)):
            assert run_push(folder, receiver, die_after) == -9
            whole(receiver, folder, 0)
        assert run_push(folder, receiver) == 0

        whole(receiver, folder, 1)
        target = receiver.target()
        objects = [info for info in target.list("objects/")]
        assert len(objects) == FILES
        found = fetch.survey(target, signer=KEY.public_key(), box_id="box-1").generations[0]
        one = fetch.open_generation(
            target, found, identity=words.identity(SECRET), signer=KEY.public_key()
        )
        fetch.fetch_repository(target, one, 1, folder / "back", identity=words.identity(SECRET))
        for path in (folder / "moment" / "1" / "data" / "0").iterdir():
            assert (folder / "back" / "data" / "0" / path.name).read_bytes() == path.read_bytes()
        assert list((folder / "spool").iterdir()) == []


def test_the_other_box_killed_under_a_push_keeps_what_was_whole(folder):
    receiver = Receiver(folder)
    receiver.start_process()
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from pathlib import Path\n"
                "from tests.fault.test_push_to_box_killed import push_once\n"
                "push_once(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], 0)\n",
                folder,
                str(receiver.port),
                receiver.host_key,
            ],
            cwd=Path(__file__).parent.parent.parent,
            stderr=subprocess.DEVNULL,
        )
        place = receiver.place() / "objects"
        while process.poll() is None and len(list(place.glob("*/[0-9a-f]*"))) < 4:
            time.sleep(0.01)
        receiver.kill()
        assert process.wait(60) != 0
        before = {path.name: path.read_bytes() for path in place.glob("*/[0-9a-f]*")}
        receiver.start_process()
        whole(receiver, folder, 0)

        assert run_push(folder, receiver) == 0

        whole(receiver, folder, 1)
        after = {path.name: path.read_bytes() for path in place.glob("*/[0-9a-f]*")}
        assert len(before) >= 4
        assert before.items() <= after.items()
        assert len(after) == FILES
    finally:
        for each in receiver.opened:
            each.close()
        receiver.stop()
