"""kill -9 of a recovery at random lines, from another box and from a bucket; disk and SFTP host have theirs
in ``tests/integration/test_recover.py`` and ``test_recover_sftp.py``."""

import random

import pytest

from appliance.replication import recover
from appliance.replication.recover_choice import look, propose
from appliance.replication.target import SealedFile
from appliance.settings import Settings
from tests.support.copied_box import BOX, FIRE, CopiedBox, borg, tree_of
from tests.support.copy_places import place_of, run_killed

pytestmark = [pytest.mark.integration, pytest.mark.fault]
KILLS = 2


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    box = CopiedBox(tmp_path_factory.mktemp("old"))
    box.night()
    yield box
    box.database.close()


@pytest.fixture(params=["box", "s3"])
def place(request, tmp_path, copied):
    """A place of this kind that holds what the disk holds: carried there and adopted."""
    server = request.getfixturevalue("s3_server") if request.param == "s3" else None
    with place_of(request.param, tmp_path / "place", server) as one:
        target = one.open()
        for path in sorted(copied.disk.rglob("*")):
            name = path.relative_to(copied.disk).as_posix()
            if path.is_file() and name.startswith(("objects/", "generations/")):
                target.create(name, SealedFile.of(path))
        target.close()
        yield one


def test_a_recovery_killed_at_random_lines_brings_the_box_back_from_every_kind_of_place(
    place, copied, tmp_path
):
    new = Settings(data=tmp_path / "new")
    target = place.open()
    seen = look("disque", target, signer=copied.signer, box_id=BOX, identity=copied.identity)
    target.close()
    proposal = propose([seen])
    assert proposal.is_whole
    line = recover.Line({"disque": place.open}, connections=2)

    def rise() -> recover.RecoverySheet:
        return recover.recover(
            proposal, [seen], new, line, copied.identity, signer=copied.signer, now=lambda: FIRE
        )

    chance = random.Random(83)
    kills = 0
    for _ in range(KILLS):
        status, _ = run_killed(rise, at_line=chance.randrange(300, 9_000))
        assert status in {0, -9}
        kills += status == -9

    sheet = rise()

    assert kills > 0
    assert sheet.is_whole
    assert sheet.attempts >= kills
    for number in (1, 2):
        out = tmp_path / f"out-{number}"
        out.mkdir()
        archive = copied.archives[number][-1]
        place_of_it = new.repositories / str(number)
        borg(new.borg_home, f"pass-{number}", "extract", f"{place_of_it}::{archive}", cwd=out)
        assert tree_of(out) == tree_of(copied.trees[number])
