"""The shares as wsgidav sees them: every name through ``disk.paths``, every change through ``disk.actions``.

wsgidav speaks the protocol; who may do what, the bin, the ledger and the one way a file arrives (a part, then its
name in one step) are those of every other door. Names that are no text, links and devices are not shown here: XML
cannot carry the ones, and the others are never followed.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final

from wsgidav.dav_error import DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider
from wsgidav.util import etree
from wsgidav.xml_tools import string_to_xml

from appliance.clock import utc_now
from appliance.disk import actions, arriving, listing
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.dav_arriving import Arriving, fill
from appliance.disk.dav_asking import DOOR, Asking, ref_url, split_url, told
from appliance.disk.dav_names import is_shown, media_type
from appliance.disk.dav_properties import Properties
from appliance.disk.listing import Entry
from appliance.disk.paths import check_new_name, join, open_file, parent
from appliance.errors import (
    ArmoireError,
    FileMissing,
    InvalidInput,
    NameTaken,
    NotAFolder,
    NotAllowed,
    NotFound,
)
from appliance.policy.share_rights import Right

#: Set by Windows on everything it writes; kept nowhere, for a file has no such times here.
_WINDOWS: Final = "{urn:schemas-microsoft-com:}"
_WINDOWS_MODIFIED: Final = _WINDOWS + "Win32LastModifiedTime"
WRITING: Final = frozenset({Right.ADD, Right.CHANGE, Right.DELETE})


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


class _Both:
    """What files and folders of a share have in common."""

    path: str
    environ: dict[str, Any]
    provider: Provider

    def _set_up(self, held: Held, inner: bytes, entry: Entry) -> None:
        self.held = held
        self.inner = inner
        self.entry = entry
        self.asking: Asking = self.environ["armoire.asking"]

    def get_ref_url(self) -> str:
        """Return the key of its locks."""
        return ref_url(self.held, self.inner)

    def get_creation_date(self) -> float:
        """Return seconds; the disk knows only when it was changed."""
        return self.entry.mtime_ns / 1e9

    def get_last_modified(self) -> float:
        """Return seconds."""
        return self.entry.mtime_ns / 1e9

    def get_etag(self) -> str:
        """Return the tag every door gives."""
        return self.entry.etag

    def support_etag(self) -> bool:
        """Return True."""
        return True

    def prevent_locking(self) -> bool:
        """Refuse a lock to who could change nothing: it would stop those who may."""
        return not self.held.rights & WRITING

    # --- properties -------------------------------------------------------------------------

    def get_property_names(self, *, is_allprop: bool) -> list[str]:
        """Return the live properties and the dead ones."""
        names: list[str] = super().get_property_names(is_allprop=is_allprop)  # type: ignore[misc]
        return names + self.provider.properties.names(self.held.share.id, self.inner)

    def get_property_value(self, name: str) -> Any:  # noqa: ANN401 - text or an element
        """Return a property's value.

        Raises:
            DAVError: there is none of this name.
        """
        if not name.startswith("{DAV:}"):
            found = self.provider.properties.value(self.held.share.id, self.inner, name)
            if found is None:
                raise DAVError(404)
            return string_to_xml(found)
        if name == "{DAV:}getetag":
            return f'"{self.entry.etag}"'  # wsgidav forgets the quotes of RFC 7232
        return super().get_property_value(name)  # type: ignore[misc]

    def set_property_value(self, name: str, value: Any, *, dry_run: bool = False) -> None:  # noqa: ANN401
        """Set a dead property, or remove it (None); Windows' time of change is set on the file itself.

        Raises:
            DAVError: it is a live one, or may not be changed.
        """
        with told():
            if not self.held.may(Right.ADD):
                self.held.demand(Right.CHANGE)
            if name.startswith("{DAV:}"):
                raise DAVError(403, err_condition="{DAV:}cannot-modify-protected-property")
            if name.startswith(_WINDOWS):
                if name == _WINDOWS_MODIFIED and value is not None and not dry_run:
                    self._date(value.text or "")
                return
            share, properties = self.held.share.id, self.provider.properties
            if value is None:
                if not dry_run:
                    properties.remove(share, self.inner, name)
                return
            text = etree.tostring(value)
            properties.check(share, self.inner, text)
            if not dry_run:
                properties.write(share, self.inner, name, text)

    def _date(self, text: str) -> None:
        """Set the time of change Windows sends («Wed, 12 Aug 2026 14:30:00 GMT»); what cannot be read is let be."""
        with suppress(ValueError, TypeError, ArmoireError):
            at_ns = int(parsedate_to_datetime(text).timestamp() * 1e9)
            descriptor = open_file(self.held.share.folder, self.inner)
            try:
                os.utime(descriptor, ns=(at_ns, at_ns))
            finally:
                os.close(descriptor)
            self.entry = listing.entry(self.held.share.folder, self.inner)

    # --- changes ----------------------------------------------------------------------------

    def handle_delete(self) -> bool:
        """Put it into the bin.

        Raises:
            DAVError: it may not be, or something in it is locked.
        """
        with told():
            if not self.inner:
                raise NotAllowed("share.delete")
            self._demand_unlocked()
            actions.delete(
                self.asking.database,
                self.held,
                self.inner,
                doer=self.asking.doer(),
                now=utc_now(),
            )
            self._let_go(self.held, self.inner)
        return True

    def handle_move(self, dest_path: str) -> bool:
        """Give it another place; what is there goes to the bin.

        Raises:
            DAVError: it may not be.
        """
        with told():
            to, new_path = self._target(dest_path)
            if not self.inner or not new_path:
                raise NotAllowed("share.change")
            self._clear(to, new_path)
            actions.move(
                self.asking.database,
                self.held,
                self.inner,
                to,
                new_path,
                doer=self.asking.doer(),
                now=utc_now(),
            )
            self.provider.properties.copy(self.held.share.id, self.inner, to.share.id, new_path)
            self._let_go(self.held, self.inner)
        return True

    def handle_copy(self, dest_path: str, *, depth_infinity: bool) -> bool:
        """Copy it; what is there goes to the bin.

        Raises:
            DAVError: it may not be.
        """
        with told():
            to, new_path = self._target(dest_path)
            if not self.inner or not new_path:
                raise NotAllowed("share.add")
            self.held.demand(Right.SEE)
            to.demand(Right.ADD)
            self._clear(to, new_path)
            doer, now = self.asking.doer(), utc_now()
            if self.entry.kind == "folder" and not depth_infinity:
                actions.make_folder(self.asking.database, to, new_path, doer=doer, now=now)
            else:
                actions.copy(
                    self.asking.database, self.held, self.inner, to, new_path, doer=doer, now=now
                )
            self.provider.properties.copy(
                self.held.share.id,
                self.inner,
                to.share.id,
                new_path,
                with_children=depth_infinity,
            )
        return True

    def _target(self, dest_path: str) -> tuple[Held, bytes]:
        name, inner = split_url(dest_path)
        return self.asking.on(name), inner

    def _clear(self, to: Held, path: bytes) -> None:
        """Put what has the name into the bin; wsgidav asked whether that is wanted, of what it was shown."""
        check_new_name(parent(path)[1])
        try:
            there = listing.entry(to.share.folder, path)
        except FileMissing:
            self.environ["armoire.is_new"] = True
            return
        if not is_shown(there):
            raise NameTaken(parent(path)[1].decode("utf-8", "replace"))
        doer, now = self.asking.doer(), utc_now()
        database = self.asking.database
        if there.kind == "folder":
            item = actions.delete(database, to, path, doer=doer, now=now)
        else:
            # Another content under the same name: what «change» means, through every door.
            to.demand(Right.CHANGE)
            item = bins.delete(
                database, to.share, path, person_id=doer.person_id, door=DOOR, now=now
            )
            with database.write() as connection:
                actions.record(
                    connection, "file.deleted", to.share, path, doer, now, files=item.files
                )
        self._let_go(to, path)

    def _demand_unlocked(self) -> None:
        self.provider.lock_manager.check_write_permission(
            url=self.get_ref_url(),
            depth="infinity",
            token_list=self.environ["wsgidav.ifLockTokenList"],
            principal=self.environ["wsgidav.user_name"],
        )

    def _let_go(self, held: Held, path: bytes) -> None:
        """Forget locks and properties of what is not there any more."""
        self.provider.lock_manager.remove_all_locks_from_url(ref_url(held, path), recursive=True)
        self.provider.properties.forget(held.share.id, path)


class Folder(_Both, DAVCollection):  # type: ignore[misc]
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


class File(_Both, DAVNonCollection):  # type: ignore[misc]
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
