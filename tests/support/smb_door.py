"""The file explorer as one of the doors of ``tests.support.doors``: real Samba, real smbclient."""

from dataclasses import replace
from typing import ClassVar

from appliance.clock import utc_now
from appliance.db import facts, shares
from appliance.disk import smb_calls
from appliance.model import Role
from appliance.policy.share_rights import WRITE, Right
from appliance.vault.secret import Secret
from appliance.worker.tasks import smb_plan
from tests.support.doors import LETTER, SECRET, Door, Scene
from tests.support.smb import Said, SmbServer

PASSWORD = "abcd-efgh-jkmn-pqrs"


class Smb(Door):
    """Each person by the password of the file explorer. SMB reads or writes: less than all of writing is reading."""

    name = "smb"
    is_slow = True
    needs: ClassVar[dict[str, frozenset[Right]]] = dict.fromkeys(
        ("add", "replace", "rename", "delete"), WRITE
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        found = getattr(scene, "smb", None)
        if found is None:
            found = SmbServer(root=scene.settings.data.parent, owner="root", group="root")
            found.__enter__()
            scene.at_end.append(lambda: found.__exit__())
            scene.smb = found
        self.server = found
        self.settings = replace(scene.settings, smb_run=str(found.run))
        if not found.passwords:
            with scene.database.write() as connection:
                facts.put(connection, "network.local", ["127.0.0.0/8"], now=utc_now())
                shares.change(connection, scene.share.id, over_smb=True)
            self.apply()
            for person in scene.people.values():
                smb_calls.set_password(self.settings, person, Secret(PASSWORD.encode()))
                found.passwords[person.login] = PASSWORD
            found.start()
        self._told = None

    def apply(self) -> None:
        """What the worker does within two seconds."""
        with self.scene.database.read() as connection:
            plan = smb_plan.wanted(connection, now=utc_now())
        if plan != getattr(self, "_told", None):
            smb_calls.apply(self.settings, plan)
            self._told = plan

    def ask(self, role: Role, command: str) -> Said:
        """One command of that person's computer."""
        self.apply()
        login = self.scene.people[role].login
        return self.server.client("documents", login, PASSWORD, command)

    def find(self, role: Role) -> bool:
        """Is the share among those the box shows?"""
        self.apply()
        login = self.scene.people[role].login
        return "documents" in self.server.shares_of(login, PASSWORD)

    def names(self, role: Role) -> bool:
        """Is a name in a listing?"""
        return LETTER in self.ask(role, "ls").out

    def read(self, role: Role) -> bool:
        """Is the content in what was fetched?"""
        got = self.server.folder / "got"
        got.unlink(missing_ok=True)
        self.ask(role, f"get {LETTER} got")
        return got.exists() and got.read_bytes() == SECRET

    def add(self, role: Role) -> bool:
        """A folder and a file."""
        (self.server.folder / "other").write_bytes(b"other")
        self.ask(role, "mkdir new; put other added.txt")
        names = self.scene.names()
        assert ("new" in names) == ("added.txt" in names)
        return "new" in names

    def replace(self, role: Role) -> bool:
        """A new content for the letter."""
        (self.server.folder / "other").write_bytes(b"other")
        self.ask(role, f"put other {LETTER}")
        return self.scene.letter.read_bytes() == b"other"

    def rename(self, role: Role) -> bool:
        """Another name."""
        self.ask(role, f"rename {LETTER} moved")
        return "moved" in self.scene.names()

    def delete(self, role: Role) -> bool:
        """Into the bin."""
        self.ask(role, f"del {LETTER}")
        return LETTER not in self.scene.names()
