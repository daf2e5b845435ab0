"""A practice's box, copied to a disk and to an SFTP host by its own jobs; and then the fire."""

import os
import random
import shutil
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.cookiejar import CookieJar
from pathlib import Path

from appliance.accounts import passwords, people
from appliance.clock import utc_now
from appliance.db import facts, shares, snapshots, targets
from appliance.jobs import target_setup
from appliance.jobs.kinds import PushCopy, SetUpSource, TakeSnapshot
from appliance.model import BOX_SOURCE, JobState, Role
from appliance.policy.hosting import Nature
from appliance.policy.place import DirectoryPlace, SftpPlace
from appliance.policy.share_rights import ALL
from appliance.replication import kit, kit_file
from appliance.replication.targets.directory import DiskLabel, write_label
from appliance.vault.secret import Secret
from appliance.web import tls
from appliance.worker import box_source
from tests.support.armoire import Armoire
from tests.support.box import Box
from tests.support.sshd import SshServer, free_port, make_key

DISK_ID = "f1fe" * 8
PASSWORD = "Vingt2-lampes-rouges"
LOGIN = "claire.martin"
HOLDERS = ("Dr Martin", "Dr Roux", "Me Blanc")
LETTER = "Patients/Dupont Élise/courrier.txt"


class _Undone(Exception):
    pass


class BurntBox:
    """A machine, a share and the box's own state, pushed to two places; ``burn`` leaves the copies alone."""

    def __init__(
        self, folder: Path, *, machine_bytes: int = 6_000_000, segment_bytes: int = 1 << 20
    ) -> None:
        self.folder = folder
        self.machine = SshServer().start()
        self.host = SshServer(config="ForceCommand internal-sftp").start()
        try:
            self._make(machine_bytes, segment_bytes)
        except BaseException:
            self.machine.stop()
            self.host.stop()
            raise

    def _make(self, machine_bytes: int, segment_bytes: int) -> None:
        folder = self.folder
        self.dice = random.Random(9)
        self.files, self.share = folder / "poste", folder / "partage"
        self._write(machine_bytes)
        self.box = Box(folder / "old", segment_bytes=segment_bytes)
        tls.ensure_certificate(self.box.settings)
        self.authority = (self.box.settings.tls / "ca.crt").read_text()
        now = utc_now()
        with self.box.database.write() as connection:
            facts.put(connection, "box.id", "0123456789abcdef", now=now)
            owner = people.add(
                connection, login=LOGIN, name="Dr Claire Martin", role=Role.OWNER, language="fr",
                password_hash=passwords.make_hash(PASSWORD), now=now,
            )  # fmt: skip
        box_source.ensure(self.box.settings, self.box.database, now)
        assert self.box.run(SetUpSource(BOX_SOURCE)) is JobState.SUCCEEDED
        with self.box.database.write() as connection:
            sheets = kit.split(
                connection, self.box.settings.keys, needed=2, holders=HOLDERS, now=now
            )
            self.sheets = [" ".join(each.words) for each in sheets]
            kit.confirm(connection, self.sheets[:2], now=now)
        self.share_source = self.box.add_share(self.share, "partage")
        with self.box.database.write() as connection:
            opened = shares.add(
                connection, name="partage", label="Partage", folder=self.share, now=now,
                source_id=self.share_source.id,
            )  # fmt: skip
            shares.change(connection, opened.id, over_smb=True)
            shares.grant(connection, opened.id, ALL, person_id=owner.id, by=owner.id, now=now)
        self.machine_source = self.box.add_machine(self.machine, self.files, "accueil")
        for source in (self.share_source, self.machine_source):
            self.box.take(source)
        self._targets()
        self.night()
        self.first_objects = {each.name for each in (self.disk / "objects").rglob("*")}
        (self.files / "dernier jour.txt").write_text("ce jour-là\n" * 5000)
        self.box.take(self.machine_source)
        self.night()
        self.tree = tree_of(self.share)

    def _write(self, machine_bytes: int) -> None:
        letter = self.files / LETTER
        letter.parent.mkdir(parents=True)
        letter.write_text("Chère consœur,\n" * 200)
        for number in range(machine_bytes // 1_000_000):
            (self.files / f"radio {number}.dcm").write_bytes(self.dice.randbytes(1_000_000))
        patient = self.share / "Courriers" / "Été 2026"
        patient.mkdir(parents=True)
        for number in range(12):
            (patient / f"lettre {number}.txt").write_text(f"{number}\n" * 3000)
        (self.share / "grand.bin").write_bytes(self.dice.randbytes(700_000))
        (self.share / "vide").mkdir()
        os.link(patient / "lettre 1.txt", self.share / "la même lettre.txt")
        (self.share / "lien").symlink_to("Courriers/Été 2026/lettre 2.txt")
        (self.share / b"latin-\xe9.txt".decode("utf-8", "surrogateescape")).write_bytes(b"x")
        (patient / "lettre 3.txt").chmod(0o640)
        (patient / "lettre 4.txt").chmod(0o444)
        os.setxattr(patient / "lettre 5.txt", "user.armoire", b"une note")
        subprocess.run(
            ["setfacl", "-m", "u:1234:r,d:u:1234:rx", str(patient)], check=True, timeout=10
        )
        (self.share / "Courriers").chmod(0o2770)
        past = time.time() - 86_400
        for path in [*self.files.rglob("*"), *self.share.rglob("*"), self.share]:
            os.utime(path, (past, past), follow_symlinks=False)

    def _targets(self) -> None:
        self.disk, self.copies = self.folder / "disk", self.folder / "host"
        self.disk.mkdir()
        self.copies.mkdir()
        now = utc_now()
        label = DiskLabel(DISK_ID, "0123456789abcdef", "Lundi", now.date())
        write_label(self.disk, label)
        self.host.authorize(make_key(self.folder / "id"))
        key = Secret((self.folder / "id").read_bytes())
        host = SftpPlace(
            self.host.host, self.host.user, self.host.port, str(self.copies), self.host.host_key, 2
        )
        with self.box.database.write() as connection:
            self.disk_target = target_setup.add_target(
                connection, self.box.settings, name="disque", label="Disque du lundi",
                kind="directory", place=DirectoryPlace(DISK_ID, str(self.disk)),
                nature=Nature.SAME_PRACTICE_HERE, distance_km=None, secrets={}, person=None, now=now,
            )  # fmt: skip
            self.host_target = target_setup.add_target(
                connection, self.box.settings, name="hebergeur", label="Hébergeur",
                kind="sftp", place=host, nature=Nature.SAME_PRACTICE_ELSEWHERE, distance_km=12,
                secrets={"key": key}, person=None, now=now,
            )  # fmt: skip
            target_setup.confirm_host_key(
                connection, self.host_target.id, self.host.host_key, person=None, now=now
            )

    def night(self) -> None:
        """A snapshot of the box's own state, then both places."""
        assert self.box.run(TakeSnapshot(BOX_SOURCE)) is JobState.SUCCEEDED
        for target in (self.disk_target, self.host_target):
            assert self.box.run(PushCopy(target.id)) is JobState.SUCCEEDED

    def kit_at(
        self,
        place: Path,
        *,
        only: str = "",
        port: int = 0,
        connections: int = 0,
        elsewhere: Mapping[str, Mapping[str, object]] | None = None,
    ) -> Path:
        """Write the kit file; the SFTP host may be behind another port, some places left out.

        ``elsewhere`` is what differs at other places, by their names: a port of a line of the test's own.
        """
        with suppress(_Undone), self.box.database.write() as connection:
            row = targets.get(connection, self.host_target.id)
            there = dict(row.place)
            there.update({"port": port} if port else {})
            there.update({"connections": connections} if connections else {})
            targets.change(connection, row.id, place=there)
            for each in targets.all_living(connection):
                if elsewhere and each.name in elsewhere:
                    targets.change(
                        connection, each.id, place={**each.place, **elsewhere[each.name]}
                    )
                if only and each.name != only:
                    targets.change(connection, each.id, removed_at=utc_now())
            place.write_bytes(kit_file.build_kit_file(connection, self.box.settings, now=utc_now()))
            raise _Undone
        return place

    def close(self) -> None:
        self.box.close()
        self.machine.stop()
        self.host.stop()

    def newest(self, source) -> int:
        with self.box.database.read() as connection:
            found = snapshots.newest(connection, source.id)
        assert found is not None
        return int(found.id)

    def burn(self) -> None:
        """The practice's room is gone: the shared folder, and nothing may be read from the old box."""
        shutil.rmtree(self.share, ignore_errors=True)
        if self.box.settings.data.exists():
            self.box.settings.data.rename(self.folder / "ashes")

    def before_the_fire(self) -> None:
        """Put the old box back, for another test."""
        if (self.folder / "ashes").exists():
            (self.folder / "ashes").rename(self.box.settings.data)


def tree_of(folder: Path) -> dict[str, tuple[object, ...]]:
    """What a share is: kind, mode, content, times, owner, extended attributes, ACLs, number of names."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        facts_of = path.lstat()
        is_link = path.is_symlink()
        content: object = None
        if is_link:
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        attributes = (
            {}
            if is_link
            else {
                name: os.getxattr(path, name)
                for name in sorted(os.listxattr(path))
                if not name.startswith("security.")
            }
        )
        found[str(path.relative_to(folder))] = (
            stat.S_IFMT(facts_of.st_mode),
            0 if is_link else stat.S_IMODE(facts_of.st_mode),
            content,
            0 if is_link else facts_of.st_mtime_ns,
            (facts_of.st_uid, facts_of.st_gid),
            attributes,
            facts_of.st_nlink if path.is_file() and not is_link else 0,
        )
    return found


class Fire:
    """``armoire recover`` on a new machine, in a process of its own."""

    def __init__(self, data: Path, kit_place: Path, sheets: list[str]) -> None:
        self.data = data
        self.port = free_port()
        self.kit = kit_place
        self.sheets = sheets
        self.armoire = Armoire(data, ARMOIRE_LISTEN_PORT=str(self.port))

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def run(self, *arguments: object, timeout_s: float = 120, sheets: list[str] | None = None):
        """Run it to its end."""
        return self.armoire(
            "recover", "--kit", self.kit, "--words-fd", 0, "--yes", *arguments,
            stdin="\n".join(self.sheets if sheets is None else sheets), timeout_s=timeout_s,
        )  # fmt: skip

    def start(self, *arguments: object) -> "subprocess.Popen[bytes]":
        """Start it and give it the words."""
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance.cli", "recover", "--kit", str(self.kit),
             "--words-fd", "0", "--yes", "--json", *map(str, arguments)],
            env=self.armoire.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write("\n".join(self.sheets).encode())
        process.stdin.close()
        process.stdin = None
        return process


class Visitor:
    """A person's browser, without one: cookies, TLS, the manners of a page of our own."""

    def __init__(self, address: str) -> None:
        self.address = address
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(CookieJar()),
        )
        self._opener.addheaders = [("sec-fetch-site", "same-origin"), ("accept-language", "en")]

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask(urllib.request.Request(self.address + path))

    def post(self, path: str, **values: str) -> tuple[int, bytes]:
        body = urllib.parse.urlencode(values).encode()
        return self._ask(urllib.request.Request(self.address + path, data=body))

    def sign_in(self) -> bool:
        status, _ = self.post("/sign-in", login=LOGIN, password=PASSWORD, next="/account")
        return status == 200 and self.get("/account")[0] == 200

    def is_answered(self) -> bool:
        try:
            return self.get("/healthz")[0] == 200
        except (OSError, urllib.error.URLError):
            return False

    def _ask(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
