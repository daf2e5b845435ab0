"""WebDAV as one of the doors of ``tests.support.doors``."""

from base64 import b64encode

from httpx2 import Response
from sqlalchemy import update

from appliance.accounts import app_passwords
from appliance.accounts.app_passwords import Kind
from appliance.clock import utc_now
from appliance.db import shares
from appliance.db.schema_people import app_password
from appliance.model import Role
from tests.support.doors import LETTER, SECRET, Door, Scene

HERE = "/dav/documents"


class WebDav(Door):
    """Each person by a password of their program, never by a session."""

    name = "webdav"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.headers = {}
        with scene.database.write() as connection:
            shares.change(connection, scene.share.id, over_dav=True)
            for role, person in scene.people.items():
                # An envelope's account may have no password of a program: put there all the same, it opens nothing.
                whose = scene.people[Role.OWNER] if role is Role.SEALED_ENVELOPE else person
                secret, made = app_passwords.make(
                    connection, whose.id, kind=Kind.DAV, label="tests", now=utc_now()
                )
                connection.execute(
                    update(app_password)
                    .where(app_password.c.id == made.id)
                    .values(person_id=person.id)
                )
                pair = b64encode(f"{person.login}:{secret}".encode()).decode()
                self.headers[role] = {"authorization": f"Basic {pair}"}

    def ask(self, role: Role, method: str, path: str, body: bytes = b"", **more: str) -> Response:
        """One request of that person's program."""
        self.scene.client.cookies.clear()
        return self.scene.client.request(
            method, path, content=body, headers=self.headers[role] | more
        )

    def find(self, role: Role) -> bool:
        """Is the share among those at /dav?"""
        return HERE in self.ask(role, "PROPFIND", "/dav/", depth="1").text

    def names(self, role: Role) -> bool:
        """Is a name in a listing, on the short road and on wsgidav's?"""
        short = self.ask(role, "PROPFIND", HERE, depth="1").text
        names_only = b'<propfind xmlns="DAV:"><propname/></propfind>'
        long = self.ask(role, "PROPFIND", HERE, names_only, depth="1").text
        itself = self.ask(role, "PROPFIND", f"{HERE}/{LETTER}", depth="0").status_code == 207
        assert (LETTER in short) == (LETTER in long) == itself
        return LETTER in short

    def read(self, role: Role) -> bool:
        """Is the content in the answer? A copy of it is no way round."""
        found = SECRET in self.ask(role, "GET", f"{HERE}/{LETTER}").content
        part = self.ask(role, "GET", f"{HERE}/{LETTER}", range="bytes=0-20").content
        assert part.startswith(SECRET[:10]) == found
        return found

    def add(self, role: Role) -> bool:
        """A folder, a file, and the empty file a lock would make."""
        self.ask(role, "MKCOL", f"{HERE}/new")
        self.ask(role, "PUT", f"{HERE}/added.txt", b"x")
        lock = (
            b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope>'
            b"<locktype><write/></locktype></lockinfo>"
        )
        locked = self.ask(role, "LOCK", f"{HERE}/locked.txt", lock)
        if "lock-token" in locked.headers:
            token = locked.headers["lock-token"]
            self.ask(role, "UNLOCK", f"{HERE}/locked.txt", **{"lock-token": token})
        names = self.scene.names()
        assert ("new" in names) == ("added.txt" in names) == ("locked.txt" in names)
        return "new" in names

    def replace(self, role: Role) -> bool:
        """A new content for the letter."""
        self.ask(role, "PUT", f"{HERE}/{LETTER}", b"other")
        return self.scene.letter.read_bytes() == b"other"

    def rename(self, role: Role) -> bool:
        """Move to another name."""
        self.ask(role, "MOVE", f"{HERE}/{LETTER}", destination=f"https://testserver{HERE}/moved")
        return "moved" in self.scene.names()

    def delete(self, role: Role) -> bool:
        """Into the bin."""
        self.ask(role, "DELETE", f"{HERE}/{LETTER}")
        return LETTER not in self.scene.names()
