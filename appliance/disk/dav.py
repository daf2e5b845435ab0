"""The shares as wsgidav sees them: every name through ``disk.paths``, every change through ``disk.actions``.

wsgidav speaks the protocol; who may do what, the bin, the ledger and the one way a file arrives (a part, then its
name in one step) are those of every other door. Names that are no text, links and devices are not shown here: XML
cannot carry the ones, and the others are never followed.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wsgidav.dav_error import DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider

from appliance.clock import utc_now
from appliance.disk import actions, arriving, listing
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.dav_arriving import Arriving, fill
from appliance.disk.dav_asking import Asking, split_url, told
from appliance.disk.dav_names import is_shown, media_type
from appliance.disk.dav_properties import Properties
from appliance.disk.dav_thing import Thing
from appliance.disk.listing import Entry
from appliance.disk.paths import check_new_name, join, open_file
from appliance.errors import (
    FileMissing,
    InvalidInput,
    NotAFolder,
    NotFound,
)
from appliance.policy.share_rights import Right


class Provider(DAVProvider):  # type: ignore[misc]
    """Every share that is open over WebDAV, the first name of a path being the share's."""

    def __init__(self, properties: Properties) -> None:
        super().__init__()
        self.properties = properties

    def get_resource_inst(
        self, path: str, environ: dict[str, Any]
    ) -> "Shares | Folder | File | None":
        """Return what is at ``path``, or None."""
        asking: Asking = environ["armoire.asking"]
        name, inner = split_url(path)
        if not name:
            return Shares("/", environ)
        try:
            held = asking.on(name)
            found = listing.entry(held.share.folder, inner)
        except (FileMissing, NotAFolder, NotFound, InvalidInput):
            return None
        if inner and not is_shown(found):
            return None
        here = "/" + name + ("/" + inner.decode("utf-8") if inner else "")
        if found.kind == "folder":
            return Folder(here, environ, held, inner, found)
        return File(here, environ, held, inner, found)

    def custom_request_handler(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        default_handler: Callable[..., Any],
    ) -> Any:  # noqa: ANN401 - what wsgidav's handlers return
        """Answer 201 where a copy or move made something new: wsgidav says 204 for every one done natively."""

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:  # noqa: ANN401
            if environ.get("armoire.is_new") and status.startswith("204"):
                status = "201 Created"
            return start_response(status, headers, exc_info)

        return default_handler(environ, begin)


class Shares(DAVCollection):  # type: ignore[misc]
    """The shares themselves: nothing is made, moved or locked here."""

    def get_member_names(self) -> list[str]:
        """Return none: what is here is listed by ``web.dav``."""
        return []

    def prevent_locking(self) -> bool:
        """Refuse."""
        return True

    def set_property_value(self, name: str, value: object, *, dry_run: bool = False) -> None:  # noqa: ARG002
        """Refuse.

        Raises:
            DAVError: always.
        """
        raise DAVError(403)


class Folder(Thing, DAVCollection):  # type: ignore[misc]
    """A folder of a share, or the share itself."""

    def __init__(
        self, path: str, environ: dict[str, Any], held: Held, inner: bytes, entry: Entry
    ) -> None:
        DAVCollection.__init__(self, path, environ)
        self._set_up(held, inner, entry)

    def get_member_names(self) -> list[str]:
        """Return the names a program is shown."""
        with told():
            found = listing.read(self.held.share.folder, self.inner)
        return [each.name.decode("utf-8") for each in found.entries if is_shown(each)]

    def get_used_bytes(self) -> None:
        """Return None: counting a folder would read all of it."""

    def get_available_bytes(self) -> int:
        """Return how much still fits."""
        return actions.room(self.held.share)

    def create_collection(self, name: str) -> None:
        """Make a folder in it.

        Raises:
            DAVError: it may not be.
        """
        with told():
            actions.make_folder(
                self.asking.database,
                self.held,
                join(self.inner, name.encode()),
                doer=self.asking.doer(),
                now=utc_now(),
            )

    def create_empty_resource(self, name: str) -> "File":
        """Return a file that is about to arrive; for a lock of a free name, an empty one is made.

        Raises:
            DAVError: it may not be.
        """
        inner = join(self.inner, name.encode())
        made = File(
            f"{self.path}/{name}", self.environ, self.held, inner, Entry(b"", "file", 0, 0, 0)
        )
        with told():
            self.held.demand(Right.ADD)
            check_new_name(name.encode())  # before gigabytes are on their way
        made.is_new = True
        if self.environ["REQUEST_METHOD"] == "LOCK":
            made.begin_write()
            made.end_write(with_errors=False)
        return made


class File(Thing, DAVNonCollection):  # type: ignore[misc]
    """A file of a share."""

    def __init__(
        self, path: str, environ: dict[str, Any], held: Held, inner: bytes, entry: Entry
    ) -> None:
        DAVNonCollection.__init__(self, path, environ)
        self._set_up(held, inner, entry)
        self.is_new = False
        self._arriving: Arriving | None = None

    def get_content_length(self) -> int:
        """Return bytes."""
        return self.entry.size

    def get_content_type(self) -> str:
        """Return what the ending of the name says."""
        return media_type(self.inner)

    def get_content(self) -> Any:  # noqa: ANN401 - an opened file
        """Return the opened file; reading is ``web.dav``'s own road, this one is for what it passes on.

        Raises:
            DAVError: it went.
        """
        with told():
            return os.fdopen(open_file(self.held.share.folder, self.inner), "rb")

    def support_ranges(self) -> bool:
        """Return True."""
        return True

    def begin_write(self, *, content_type: str | None = None) -> "Arriving":  # noqa: ARG002 - wsgidav's
        """Return where the body goes: a part that nobody sees.

        Raises:
            DAVError: it may not be written, or there is no room.
        """
        with told():
            self.held.demand(Right.ADD)
            if not self.is_new and self.entry.size:
                self.held.demand(Right.CHANGE)
            actions.demand_room(self.held.share, self._announced() or 0)
            parts = bins.own_folder(self.held.share, bins.PARTS)
            self._arriving = Arriving(parts / secrets.token_hex(16))
        return self._arriving

    def end_write(self, *, with_errors: bool) -> None:
        """Give the part its name, in one step, when the whole body is here and the person still may.

        Raises:
            DAVError: not all of it is, or they may not.
        """
        part = self._arriving
        if part is None:
            return
        part.close()
        try:
            if with_errors:
                return
            announced = self._announced()
            if self.asking.was_cut() or announced not in {None, part.size}:
                raise DAVError(400, "dav.cut")
            with told():
                self.entry = self._take_in(part)
        finally:
            with suppress(FileNotFoundError):
                part.place.unlink()

    def _take_in(self, part: "Arriving") -> Entry:
        held = self.asking.again(self.held.share.name)  # a long upload: what holds now
        sent = self.environ.get("HTTP_X_OC_MTIME", "")
        if sent.isascii() and sent.isdecimal() and len(sent) <= 11:
            at_ns = int(sent) * 1_000_000_000
            os.utime(part.place, ns=(at_ns, at_ns))
        database, doer, now = self.asking.database, self.asking.doer(), utc_now()
        if not self.is_new and self.entry.size == 0:
            held.demand(Right.ADD)
            if fill(held, self.inner, part.place):
                with database.write() as connection:
                    actions.record(
                        connection,
                        "file.added",
                        held.share,
                        self.inner,
                        doer,
                        now,
                        bytes=part.size,
                    )
                return listing.entry(held.share.folder, self.inner)
        return arriving.take_in(
            database,
            held,
            self.inner,
            part.place,
            doer=doer,
            now=now,
            replaces=not self.is_new,
        )

    def _announced(self) -> int | None:
        """Return how long the body will be; None when the program did not say. Of a lock it is an XML's."""
        if self.environ["REQUEST_METHOD"] != "PUT":
            return None
        for name in ("CONTENT_LENGTH", "HTTP_X_EXPECTED_ENTITY_LENGTH"):  # macOS says it so
            text = self.environ.get(name, "")
            if text.isascii() and text.isdecimal():
                return int(text)
        return None
