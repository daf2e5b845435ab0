"""One request of WebDAV: who asks, what they may do, and how errors of ours are said."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from wsgidav.dav_error import DAVError

from appliance.clock import utc_now
from appliance.db.engine import Database
from appliance.disk import access
from appliance.disk.access import Held
from appliance.disk.actions import Doer
from appliance.disk.dav_properties import TooMany
from appliance.errors import (
    ArmoireError,
    FileChanged,
    FileMissing,
    InvalidInput,
    NameTaken,
    NotAFile,
    NotAFolder,
    NotAllowed,
    NotFound,
    ShareFull,
)
from appliance.model import Person

DOOR: Final = "dav"
_STATUS: Final[tuple[tuple[type[ArmoireError], int], ...]] = (
    (NotAllowed, 403),
    (InvalidInput, 403),  # a name that may not be given
    (NotFound, 404),
    (FileMissing, 404),
    (NotAFile, 403),
    (NotAFolder, 409),
    (NameTaken, 412),
    (FileChanged, 412),
    (ShareFull, 507),
)


@dataclass(slots=True)
class Asking:
    """Who asks, for one request; what they may do is looked up at its first need and kept no longer."""

    database: Database
    person: Person
    #: The person once more, as they are now; raises NotAllowed when their password ended meanwhile.
    still: Callable[[], Person]
    #: Whether the line broke before the whole body was here.
    was_cut: Callable[[], bool] = lambda: False
    held: dict[str, Held] = field(default_factory=dict)

    def on(self, share: str) -> Held:
        """Return a share that is open over WebDAV, and the rights on it.

        Raises:
            NotFound: there is none, or it is not open over WebDAV.
        """
        if share not in self.held:
            self.held[share] = self._look(share, self.person)
        return self.held[share]

    def again(self, share: str) -> Held:
        """Return it as it is now, whatever was known.

        Raises:
            NotFound, NotAllowed: the right, or the password, ended meanwhile.
        """
        return self._look(share, self.still())

    def _look(self, share: str, person: Person) -> Held:
        with self.database.read() as connection:
            found = access.on_share(connection, person, share, now=utc_now())
        if not found.share.over_dav:
            raise NotFound("share", share)
        return found

    def doer(self) -> Doer:
        """Return who acts, for the ledger."""
        return Doer(self.person.id, DOOR)


def split_url(path: str) -> tuple[str, bytes]:
    """Return share and path of «/share/folder/file», both empty for «/»."""
    share, _, rest = path.strip("/").partition("/")
    return share, rest.encode("utf-8", "surrogateescape")


def ref_url(held: Held, path: bytes) -> str:
    """Return the key of a resource's locks: quoted, without the slash a folder's address may end with."""
    return quote("/" + held.share.name + ("/" + path.decode("utf-8", "replace") if path else ""))


def status_of(error: ArmoireError) -> int:
    """Return the status of an error as WebDAV means it."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


@contextmanager
def told() -> Iterator[None]:
    """Turn errors of ours into wsgidav's; the text is a code, never a name."""
    try:
        yield
    except ArmoireError as error:
        raise DAVError(status_of(error), error.code) from None
    except TooMany:
        raise DAVError(507, "dav.properties") from None
