"""What files and folders of a share have in common for wsgidav: tags, properties, being moved, copied and deleted."""

import os
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

from wsgidav.dav_error import DAVError
from wsgidav.util import etree
from wsgidav.xml_tools import string_to_xml

from appliance.clock import utc_now
from appliance.disk import actions, listing
from appliance.disk import bin as bins
from appliance.disk.access import Held
from appliance.disk.dav_asking import DOOR, Asking, ref_url, split_url, told
from appliance.disk.dav_names import is_shown
from appliance.disk.dav_properties import Properties
from appliance.disk.listing import Entry
from appliance.disk.paths import check_new_name, open_file, parent
from appliance.errors import ArmoireError, FileMissing, NameTaken, NotAllowed
from appliance.policy.share_rights import Right

#: Set by Windows on everything it writes; kept nowhere, for a file has no such times here.
_WINDOWS: Final = "{urn:schemas-microsoft-com:}"
_WINDOWS_MODIFIED: Final = _WINDOWS + "Win32LastModifiedTime"
WRITING: Final = frozenset({Right.ADD, Right.CHANGE, Right.DELETE})


class Keeper(Protocol):
    """The provider, as far as a thing asks it."""

    properties: Properties
    lock_manager: Any


class Thing:
    """What files and folders of a share have in common."""

    path: str
    environ: dict[str, Any]
    provider: Keeper

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
