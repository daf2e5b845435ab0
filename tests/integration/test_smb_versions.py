"""«Previous versions»: real snapshots, mounted for real, then opened over SMB."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.shares import Share
from appliance.model import JobState
from appliance.worker.tasks.smb_versions import Versions
from tests.support.box import Box
from tests.support.reading import ReaderProcess
from tests.support.smb import GROUP, OWNER, SmbServer

pytestmark = [pytest.mark.integration]

BIG = os.urandom(3_000_000)


def may_mount() -> bool:
    return os.geteuid() == 0 and Path("/dev/fuse").exists()


class Past:
    """A share with two snapshots that differ, shown at ``place``."""

    def __init__(self, folder: Path) -> None:
        self.box = Box(folder / "data")
        self.folder = folder / "data" / "shares" / "documents"
        (self.folder / "lettres é").mkdir(parents=True)
        (self.folder / "letter.txt").write_bytes(b"as it was")
        (self.folder / "big.bin").write_bytes(BIG)
        (self.folder / "lettres é" / "gone.txt").write_bytes(b"deleted since")
        (self.folder / "out").symlink_to("/etc/passwd")
        self.source = self.box.add_share(self.folder)
        with self.box.database.write() as c:
            made = shares.add(
                c,
                name="documents",
                label="Documents",
                folder=self.folder,
                now=utc_now(),
                source_id=self.source.id,
            )
            shares.change(c, made.id, over_smb=True)
            self.share: Share = shares.get(c, made.id)
        assert self.box.take(self.source) is JobState.SUCCEEDED
        (self.folder / "letter.txt").write_bytes(b"as it is")
        (self.folder / "lettres é" / "gone.txt").unlink()
        time.sleep(1.1)  # snapshots are told apart by the second
        assert self.box.take(self.source) is JobState.SUCCEEDED
        self.place = folder / "versions"
        self.place.mkdir()
        self.reader = ReaderProcess(self.box.settings).__enter__()
        self.mounted = subprocess.Popen(
            [
                *(sys.executable, "-m", "appliance.worker.tasks.smb_versions"),
                *("--data", str(self.box.settings.data), "--mount", str(self.place)),
                *("--owner", OWNER),
            ]
        )
        end = time.monotonic() + 90
        while not os.path.ismount(self.place):
            assert self.mounted.poll() is None
            assert time.monotonic() < end, "not mounted"
            time.sleep(0.05)

    def close(self) -> None:
        self.mounted.terminate()
        try:
            assert self.mounted.wait(10) == 0
        finally:
            self.mounted.kill()
            self.mounted.wait()
            self.reader.stop()
            self.box.close()
        assert not os.path.ismount(self.place)

    @property
    def taken(self) -> list[Path]:
        """The snapshots' folders, the oldest first."""
        return sorted((self.place / "documents").iterdir())


@pytest.fixture(scope="module")
def server() -> Iterator[SmbServer]:
    if not may_mount():
        pytest.skip("mounting needs root and /dev/fuse")
    server = SmbServer()
    server.versions = server.folder / "root" / "versions"
    with server:
        yield server


@pytest.fixture(scope="module")
def past(server: SmbServer) -> Iterator[Past]:
    made = Past(server.root)
    yield made
    made.close()


def test_every_snapshot_is_a_folder_with_its_files(past: Past):
    """Names, sizes and bytes as they were; a deleted file is found where it was; links are not shown."""
    before, after = past.taken

    assert before.name.startswith("@GMT-20")
    assert (before / "letter.txt").read_bytes() == b"as it was"
    assert (after / "letter.txt").read_bytes() == b"as it is"
    assert (before / "lettres é" / "gone.txt").read_bytes() == b"deleted since"
    assert sorted(os.listdir(before)) == ["big.bin", "letter.txt", "lettres é"]
    assert os.listdir(after / "lettres é") == []
    assert (before / "big.bin").read_bytes() == BIG
    facts = (before / "big.bin").stat()
    assert (facts.st_size, stat.S_IMODE(facts.st_mode)) == (len(BIG), 0o440)
    assert facts.st_mtime_ns == (past.folder / "big.bin").stat().st_mtime_ns


def test_any_part_of_a_file_is_read_in_any_order(past: Past):
    """What Windows does for a preview: the end, then the middle, then the beginning."""
    with (past.taken[0] / "big.bin").open("rb", buffering=0) as file:
        for offset, size in (
            (2_999_000, 5_000),
            (1_500_000, 300_000),
            (0, 10),
            (2_000_000, 70_000),
        ):
            file.seek(offset)
            data = b""
            while len(data) < min(size, len(BIG) - offset):
                block = file.read(size - len(data))
                assert block
                data += block
            assert data == BIG[offset : offset + size]


def test_nothing_in_a_snapshot_can_be_changed(past: Past):
    """The mount itself refuses, whoever asks: root too."""
    file = past.taken[0] / "letter.txt"

    for change in (
        lambda: file.write_bytes(b"x"),
        file.unlink,
        lambda: (past.taken[0] / "new").mkdir(),
        lambda: os.rename(file, past.taken[0] / "other"),
        lambda: os.truncate(file, 0),
        lambda: os.chmod(file, 0o777),
    ):
        with pytest.raises(OSError) as raised:
            change()
        assert raised.value.errno == errno.EROFS
    assert file.read_bytes() == b"as it was"


def test_another_account_of_the_system_reads_nothing_there(past: Past):
    """Only whom Samba reads as, and root."""
    done = subprocess.run(
        ["setpriv", "--reuid", "daemon", "--regid", "daemon", "--clear-groups", "ls", past.place],
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0


@pytest.mark.parametrize(
    "path",
    [
        ("documents", "@GMT-1999.01.01-00.00.00"),
        ("nowhere",),
        ("documents", "..", "etc"),
        ("documents", None, "missing.txt"),
        ("documents", None, "out"),
        ("documents", None, "..", "..", "keys", "box.key"),
    ],
)
def test_what_is_not_in_a_snapshot_is_not_there(past: Past, path: tuple[str | None, ...]):
    """No name leads out of the share."""
    first = past.taken[0].name
    names = tuple((first if each is None else each).encode() for each in path)

    with pytest.raises(FileNotFoundError):
        Versions(past.box.settings, past.box.database).facts(names)


def test_windows_finds_earlier_versions_of_a_file_and_cannot_change_them(
    past: Past, server: SmbServer
):
    """The list, the content of an earlier one, a file deleted since; writing through it is refused."""
    from dataclasses import replace

    from appliance.accounts import people
    from appliance.db import facts
    from appliance.disk import smb_calls
    from appliance.model import Role
    from appliance.policy.share_rights import ALL
    from appliance.vault.secret import Secret
    from appliance.worker.tasks import smb_plan

    for each in (past.folder, *past.folder.rglob("*")):
        shutil.chown(each, OWNER, GROUP) if not each.is_symlink() else None
    past.box.settings.data.chmod(0o755)
    settings = replace(past.box.settings, smb_run=str(server.run))
    with past.box.database.write() as c:
        facts.put(c, "network.local", ["127.0.0.0/8"], now=utc_now())
        person = people.add(
            c, login="anne.martin", name="Anne", role=Role.OWNER, language="fr",
            password_hash=None, now=utc_now(),
        )  # fmt: skip
        shares.grant(c, past.share.id, ALL, person_id=person.id, by=None, now=utc_now())
        plan = smb_plan.wanted(c, now=utc_now())
    smb_calls.apply(settings, plan)
    smb_calls.set_password(settings, person, Secret(b"a-long-password"))
    server.start()

    def ask(command: str):
        return server.client("documents", "anne.martin", "a-long-password", command)

    listed = ask("allinfo letter.txt")
    stamp = past.taken[0].name
    assert {each.name for each in past.taken} <= set(listed.out.split()), listed.out
    got = ask(f'get {stamp}/letter.txt was.txt; get "{stamp}/lettres é/gone.txt" gone.txt')
    assert got.ok, got.out
    assert (server.folder / "was.txt").read_bytes() == b"as it was"
    assert (server.folder / "gone.txt").read_bytes() == b"deleted since"
    (server.folder / "evil.txt").write_bytes(b"evil")
    for command in (
        f"put evil.txt {stamp}/letter.txt",
        f"del {stamp}/letter.txt",
        f"mkdir {stamp}/x",
    ):
        assert "NT_STATUS_" in ask(command).out, command
    assert (past.taken[0] / "letter.txt").read_bytes() == b"as it was"
    assert (past.folder / "letter.txt").read_bytes() == b"as it is"
