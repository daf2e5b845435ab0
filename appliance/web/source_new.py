"""A machine or a share to be backed up, as somebody describes it: what is wrong with it, and adding it."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from appliance.catalogue.words import normalise
from appliance.clock import utc_now
from appliance.db import sources
from appliance.disk.set_up import check_folder
from appliance.errors import InvalidInput
from appliance.jobs import queue
from appliance.jobs.kinds import ProbeHostKey, SetUpSource
from appliance.language import mark
from appliance.ledger import events
from appliance.model import Source, SourceKind, System
from appliance.settings import Settings
from appliance.web.deps import Visitor
from appliance.web.plan_wish import parse_roots, tidy_label

#: Proposals; a person changes them.
ROOTS: Final[dict[System, str]] = {
    System.LINUX: "/home\n/srv",
    System.MACOS: "/Users",
    System.WINDOWS: "C:\\Users",
}
USERS: Final[dict[System, str]] = {
    System.LINUX: "armoire",
    System.MACOS: "armoire",
    System.WINDOWS: "Administrateur",
}
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:%-]{0,254}")
_USER: Final = re.compile(r"[^\s\x00-\x1f\x7f-]\S{0,103}( \S+)*")


@dataclass(frozen=True, slots=True)
class NewSource:
    """What is to be added, as it was typed: nothing of it is checked."""

    kind: str = "machine"  # or «share»
    label: str = ""
    system: str = System.WINDOWS.value
    host: str = ""
    port: str = "22"
    user: str = ""  # empty: the usual one of the system
    roots: str = ""  # one a line; empty: the usual ones of the system
    folder: str = ""  # of a share


def slug(label: str) -> str:
    """Return the short name of a source, used in commands: «Poste accueil» is «poste-accueil»."""
    return re.sub(r"[^a-z0-9]+", "-", normalise(label)).strip("-")[:60].strip("-")


def problems_of(wanted: NewSource, settings: Settings) -> list[tuple[str, str]]:
    """Return what is wrong with it: fields and English sentences; nothing: it may be added."""
    found: list[tuple[str, str]] = []
    if tidy_label(wanted.label) is None or not slug(wanted.label):
        found.append(("label", mark("A name of 2 to 100 characters.")))
    if wanted.kind == "share":
        return found + _of_folder(wanted.folder.strip(), settings)
    if wanted.kind != "machine":
        found.append(("kind", mark("A machine or a share, please.")))
    if wanted.system not in set(System):
        found.append(("system", mark("Choose its system.")))
        return found
    if not _HOST.fullmatch(wanted.host.strip()):
        found.append(("host", mark("Its name or address on the network, such as «192.168.1.20».")))
    if not re.fullmatch(r"[0-9]{1,5}", wanted.port) or not 1 <= int(wanted.port) <= 65535:
        found.append(("port", mark("A number from 1 to 65535; 22 is usual.")))
    if wanted.user.strip() and not _USER.fullmatch(wanted.user.strip()):
        found.append(("user", mark("The name of an account of the machine.")))
    if wanted.roots.strip():
        is_windows = wanted.system == System.WINDOWS.value
        found += _asking(lambda: parse_roots(wanted.roots, is_windows=is_windows))
    return found


def _of_folder(folder: str, settings: Settings) -> list[tuple[str, str]]:
    if not folder.startswith("/") or ".." in folder.split("/") or folder.rstrip("/") == "":
        sentence = mark("The whole path of a folder of the box, such as «/srv/documents».")
        return [("folder", sentence)]
    if not os.path.isdir(_tidied(folder)):  # noqa: PTH112 - Path's own fails on a name that is too long
        return [("folder", mark("There is no such folder on the box."))]
    # As of any share: what the box itself keeps is no document, nor what the system is made of.
    return _asking(lambda: check_folder(settings, Path(_tidied(folder))))


def _asking(check: Callable[[], object]) -> list[tuple[str, str]]:
    try:
        check()
    except InvalidInput as error:
        return [(error.name, error.expected)]
    return []


def _tidied(folder: str) -> str:
    return "/" + folder.strip().strip("/")


def add_source(connection: Connection, wanted: NewSource, visitor: Visitor) -> Source:
    """Add what ``problems_of`` found nothing wrong with, and queue what prepares it.

    Raises:
        AlreadyExists: a source has this name.
    """
    now = utc_now()
    label = " ".join(wanted.label.split())
    if wanted.kind == "share":
        made = sources.add(
            connection,
            name=slug(label),
            label=label,
            kind=SourceKind.SHARE,
            roots=(_tidied(wanted.folder),),
            now=now,
        )
    else:
        system = System(wanted.system)
        made = sources.add(
            connection,
            name=slug(label),
            label=label,
            kind=SourceKind.PULLED,
            system=system,
            host=wanted.host.strip(),
            port=int(wanted.port),
            user=wanted.user.strip() or USERS[system],
            roots=parse_roots(
                wanted.roots.strip() or ROOTS[system], is_windows=system is System.WINDOWS
            ),
            now=now,
        )
    events.record(
        connection,
        at=now,
        event="source.added",
        subject=f"source:{made.id}",
        person_id=visitor.person.id,
        kind=made.kind.value,
    )
    queue.enqueue(connection, SetUpSource(made.id), now=now, person_id=visitor.person.id)
    if made.kind is SourceKind.PULLED:
        queue.enqueue(connection, ProbeHostKey(made.id), now=now, person_id=visitor.person.id)
    return made
