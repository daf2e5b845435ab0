"""The fire, with the copy at a real SFTP host whose account for the kit may only read."""

import contextlib
import os
import shutil
from dataclasses import replace

import pytest

from appliance.db import facts
from appliance.db.engine import open_database
from appliance.errors import TargetUnreachable
from appliance.replication import recover, takeover
from appliance.replication.recover_choice import look, propose
from appliance.replication.targets.sftp import SftpAccount, SftpTarget
from appliance.settings import Settings
from appliance.vault.secret import Secret
from tests.support.copied_box import BOX, FIRE, CopiedBox
from tests.support.sshd import SshServer, make_key

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    box = CopiedBox(tmp_path_factory.mktemp("old"))
    box.night()
    yield box
    box.database.close()


@pytest.fixture
def host(tmp_path, copied):
    """A host that lets nobody write: what a kit's account should be."""
    root = tmp_path / "host"
    root.mkdir()
    for name in ("objects", "generations"):
        shutil.copytree(copied.disk / name, root / name)
    public = make_key(tmp_path / "id")
    with SshServer(config="ForceCommand internal-sftp -R") as server:
        server.authorize(public)
        key = Secret((tmp_path / "id").read_bytes())

        def open_target() -> SftpTarget:
            return SftpTarget(
                SftpAccount(
                    host=server.host,
                    port=server.port,
                    user=server.user,
                    host_key=server.host_key,
                    folder=str(root),
                    private_key=key,
                )
            )

        yield server, open_target


def test_cut_and_killed_over_a_line_that_may_only_read_the_box_comes_back(copied, host, tmp_path):
    """The takeover that could not be told here is told at the first push."""
    server, open_target = host
    new = Settings(data=tmp_path / "new")
    target = open_target()
    seen = look("disque", target, signer=copied.signer, box_id=BOX, identity=copied.identity)
    target.close()
    proposal = propose([seen])

    def rise(line: recover.Line) -> recover.RecoverySheet:
        return recover.recover(
            proposal, [seen], new, line, copied.identity, signer=copied.signer, now=lambda: FIRE
        )

    line = recover.Line({"disque": open_target}, connections=2)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            rise(replace(line, on_step=lambda step: os._exit(9) if step != "state" else None))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    def cut(step: str) -> None:
        if step == "repository:1":
            server.stop_process()

    with pytest.raises(TargetUnreachable):
        rise(replace(line, on_step=cut))
    server.start()
    sheet = rise(line)

    assert sheet.is_whole
    assert sheet.attempts == 3
    assert sheet.targets == (recover.TargetAfter("disque", 1, "target.refuses"),)
    database = open_database(new.database)
    with database.read() as connection:
        assert facts.find(connection, takeover.PENDING) == ["disque"]
    database.close()
