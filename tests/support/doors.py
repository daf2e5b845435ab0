"""One practice's share seen through every door: what each door lets a person do, told by what happened to the disk.

A door is a class with one method for each of ACTS. A new door joins ``DOORS`` of
``tests/integration/test_rights_every_door.py``; what it cannot do at all it names in ``lacks``.
"""

import shutil
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import delete, insert, update
from starlette.testclient import TestClient

from appliance.accounts import people, sessions
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.engine import Database
from appliance.db.schema_disk import share_grant
from appliance.db.schema_people import locum
from appliance.db.shares import Share
from appliance.disk import listing
from appliance.model import Person, Role
from appliance.policy.share_rights import ALL, Right
from appliance.settings import Settings
from appliance.web.security import COOKIE

SECRET: Final = b"a letter about Mme Dupont"
LETTER: Final = "lettre.txt"
#: What may be tried, and the rights it takes.
ACTS: Final[dict[str, frozenset[Right]]] = {
    "find": frozenset(
        {Right.SEE}
    ),  # the share itself is shown; to who may only add, as the door likes
    "names": frozenset({Right.SEE}),
    "read": frozenset({Right.SEE}),
    "add": frozenset({Right.ADD}),
    "replace": frozenset({Right.ADD, Right.CHANGE}),
    "rename": frozenset({Right.CHANGE}),
    "delete": frozenset({Right.DELETE}),
}


def packed(path: str) -> str:
    """Return a path as addresses carry it."""
    return urlsafe_b64encode(path.encode()).decode().rstrip("=")


@dataclass
class Scene:
    """A box with one person of each role, one share, and a letter in it."""

    settings: Settings
    database: Database
    client: TestClient
    share: Share
    people: dict[Role, Person]
    replaced: Person  # whom the locum replaces; may do all
    tokens: dict[Role, str] = field(default_factory=dict)
    at_end: list[Callable[[], None]] = field(default_factory=list)  # what doors started
    smb: object = None  # Samba, once its door was tried

    @classmethod
    def build(cls, settings: Settings, database: Database, client: TestClient) -> "Scene":
        """Make everything; nobody but the replaced doctor has a right yet."""
        now = utc_now()
        folder = settings.data.parent / "documents"
        folder.mkdir()

        def person(login: str, role: Role) -> Person:
            with database.write() as connection:
                return people.add(
                    connection, login=login, name=login, role=role, language="en",
                    password_hash=None, now=now - timedelta(days=2),
                )  # fmt: skip

        replaced = person("replaced.doctor", Role.ASSOCIATE)
        everybody = {role: person(f"{role.value}.one", role) for role in Role}
        with database.write() as connection:
            share = shares.add(
                connection, name="documents", label="Documents", folder=folder, now=now
            )
            connection.execute(
                insert(locum).values(
                    person_id=everybody[Role.LOCUM].id, replaces_id=replaced.id,
                    sponsor_id=replaced.id, starts_at=now - timedelta(days=1),
                    ends_at=now + timedelta(days=1), rights={},
                )
            )  # fmt: skip
        scene = cls(settings, database, client, share, everybody, replaced)
        for role, each in everybody.items():
            with database.write() as connection:
                scene.tokens[role] = sessions.start(
                    connection, each.id, now=now, address="127.0.0.1", user_agent="tests"
                )
        return scene

    @property
    def folder(self) -> Path:
        """Where the share lies."""
        return self.share.folder

    @property
    def letter(self) -> Path:
        """The one document."""
        return self.folder / LETTER

    def give(self, role: Role, rights: Iterable[Right]) -> None:
        """Let the person of ``role`` do exactly this: a locum by the term, others by a grant."""
        wanted = sorted(each.value for each in rights)
        with self.database.write() as connection:
            connection.execute(delete(share_grant))
            shares.grant(
                connection, self.share.id, ALL, person_id=self.replaced.id, by=None, now=utc_now()
            )
            chosen = {str(self.share.id): wanted} if role is Role.LOCUM else {}
            connection.execute(update(locum).values(rights=chosen))
            if role is not Role.LOCUM and wanted:
                # Written as it is: a grant that the page would refuse must not open a door either.
                connection.execute(
                    insert(share_grant).values(
                        share_id=self.share.id, person_id=self.people[role].id, rights=wanted,
                        granted_at=utc_now(),
                    )
                )  # fmt: skip

    def lay_out(self) -> None:
        """Put the letter, and nothing else, into the share."""
        for each in self.folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        self.letter.write_bytes(SECRET)

    def names(self) -> list[str]:
        """What lies in the share, as the disk says."""
        return [each.name.decode() for each in listing.read(self.folder, b"").entries]

    def signed_in(self, role: Role) -> TestClient:
        """The browser of a person."""
        self.client.cookies.clear()
        self.client.cookies.set(COOKIE, self.tokens[role])
        return self.client


class Door:
    """What may be tried through one door; each returns whether it came about."""

    name: ClassVar[str]
    #: Acts this door does not know.
    lacks: ClassVar[frozenset[str]] = frozenset()
    #: Where this door asks for other rights than ACTS.
    needs: ClassVar[dict[str, frozenset[Right]]] = {}
    #: Takes long for each try: only a few sets of rights are tried.
    is_slow: ClassVar[bool] = False

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def try_to(self, act: str, role: Role) -> bool:
        """Try, on a fresh share."""
        self.scene.lay_out()
        found: bool = getattr(self, act)(role)
        return found


class Api(Door):
    """JSON and tus."""

    name = "api"

    def find(self, role: Role) -> bool:
        """Is the share listed?"""
        answer = self.scene.signed_in(role).get("/api/v1/disk")
        return answer.status_code == 200 and "documents" in answer.text

    def names(self, role: Role) -> bool:
        """Is a name of a document in the answer?"""
        return LETTER in self.scene.signed_in(role).get("/api/v1/disk/documents/list").text

    def read(self, role: Role) -> bool:
        """Is a content in the answer? By file, or by zip."""
        client = self.scene.signed_in(role)
        file = client.get(f"/disk/documents/file?p={packed(LETTER)}").content
        archive = client.post("/disk/documents/zip", data={"p": packed(LETTER)}).content
        assert (SECRET in file) == (SECRET in archive)
        return SECRET in file

    def add(self, role: Role) -> bool:
        """A folder, and an upload."""
        client = self.scene.signed_in(role)
        client.post("/api/v1/disk/documents/folders", json={"path": packed("new")})
        self._upload(client, "added.txt", replaces=False)
        names = self.scene.names()
        assert ("new" in names) == ("added.txt" in names)
        return "new" in names

    def replace(self, role: Role) -> bool:
        """An upload over the letter."""
        self._upload(self.scene.signed_in(role), LETTER, replaces=True)
        return self.scene.letter.read_bytes() == b"other"

    def rename(self, role: Role) -> bool:
        """Move to another name."""
        self.scene.signed_in(role).post(
            "/api/v1/disk/documents/move", json={"items": [packed(LETTER)], "new_name": "moved"}
        )
        return "moved" in self.scene.names()

    def delete(self, role: Role) -> bool:
        """Into the bin."""
        self.scene.signed_in(role).post(
            "/api/v1/disk/documents/delete", json={"items": [packed(LETTER)]}
        )
        return LETTER not in self.scene.names()

    @staticmethod
    def _upload(client: TestClient, name: str, *, replaces: bool) -> None:
        told = f"filename {packed_plain(name)}" + (",replaces MQ==" if replaces else "")
        client.post(
            "/api/v1/disk/documents/uploads",
            content=b"other",
            headers={
                "tus-resumable": "1.0.0",
                "upload-length": "5",
                "upload-metadata": told,
                "content-type": "application/offset+octet-stream",
            },
        )


class Web(Door):
    """The pages as they work without JavaScript."""

    name = "web"
    lacks = frozenset({"replace"})  # a form never writes over

    def find(self, role: Role) -> bool:
        """Is the folder a page?"""
        answer = self.scene.signed_in(role).get("/disk", follow_redirects=True)
        return answer.status_code == 200 and "/disk/documents" in answer.text

    def names(self, role: Role) -> bool:
        """Is a name in the page?"""
        return LETTER in self.scene.signed_in(role).get("/disk/documents").text

    def read(self, role: Role) -> bool:
        """Is the content behind the link of the page?"""
        answer = self.scene.signed_in(role).get(f"/disk/documents/file?p={packed(LETTER)}")
        return SECRET in answer.content

    def add(self, role: Role) -> bool:
        """By the form for one file, and the one for a folder."""
        client = self.scene.signed_in(role)
        client.post("/disk/documents/do", data={"do": "folder", "name": "new"})
        client.post("/disk/documents/send", files={"file": ("added.txt", b"x")})
        names = self.scene.names()
        assert ("new" in names) == ("added.txt" in names)
        return "new" in names

    def rename(self, role: Role) -> bool:
        """By the field beside the button."""
        self.scene.signed_in(role).post(
            "/disk/documents/do", data={"do": "rename", "name": "moved", "p": packed(LETTER)}
        )
        return "moved" in self.scene.names()

    def delete(self, role: Role) -> bool:
        """By the tick and the button."""
        self.scene.signed_in(role).post(
            "/disk/documents/do", data={"do": "delete", "p": packed(LETTER)}
        )
        return LETTER not in self.scene.names()


def packed_plain(name: str) -> str:
    """Return a name as tus carries it: base64 with padding."""
    return b64encode(name.encode()).decode()
