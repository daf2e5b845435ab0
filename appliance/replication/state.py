"""The box's own state, laid out so that it can be copied; and put back on a new box.

A staged folder holds ``state.sqlite``, ``catalogues/<source>.sqlite``, ``armoire.toml``, ``box.key.age`` (the
box's key sealed to the recovery sheets), ``tls.age`` (the web's keys, likewise) and ``state.json``. A file whose
content did not change is not written again, so a night costs what changed. The state's repository has number STATE.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyrage
from sqlalchemy import Connection, select, update

from appliance import __version__, folders
from appliance.db import facts
from appliance.db.engine import Database, open_database
from appliance.db.schema import repository as repository_table
from appliance.db.schema import secret as secret_table
from appliance.errors import (
    AlreadyExists,
    InvalidInput,
    KeyMissing,
    RepositoryDamaged,
    SecretMissing,
    SecretUnreadable,
)
from appliance.folders import put_file
from appliance.jobs import kit_words
from appliance.jobs.drill_scratch import WORDS
from appliance.language import mark
from appliance.ledger import events
from appliance.replication import state_files, web_keys
from appliance.replication.plan import LocalFile
from appliance.replication.takeover import INSTANCE
from appliance.settings import FILE_NAME, Settings
from appliance.vault import words
from appliance.vault.seal import make_keys, seal
from appliance.vault.secret import Secret

#: The number of the state's own repository in a copy, where others have their source's.
STATE: Final = 0
FORMAT: Final = 1
DATABASE: Final = "state.sqlite"
CATALOGUES: Final = "catalogues"
KEY: Final = "box.key.age"
DESCRIPTION: Final = "state.json"
#: Beside the state's repository: its passphrase, sealed to the sheets; how a fire is survived.
PASSPHRASE: Final = "passphrase.age"  # noqa: S105 - a name
_PASSPHRASE_FOR: Final = "passphrase.recipient"  # noqa: S105 - a name
#: What was staged from what; stays on this box.
_MARKS: Final = ".staged.json"


@dataclass(frozen=True, slots=True)
class Taken:
    """What ``unstage`` did."""

    instance: str
    box_id: str
    taken_at: datetime  # when the state was staged on the old box, aware UTC
    secrets: int  # sealed to the new key
    unreadable: tuple[str, ...]  # names of secrets that no longer opened; they stay as they were


# --- laying out ----------------------------------------------------------------------------


def stage(
    settings: Settings, database: Database, into: Path, recipient: str, *, now: datetime
) -> list[Path]:
    """Lay out a consistent copy of the box's state below ``into`` and return its files, sorted.

    Every SQLite file is one moment of itself, taken through SQLite's own backup while others write.
    Safe to run again after a kill; files no longer wanted are removed.

    Args:
        settings: of the box.
        database: opened; tells the box's id.
        into: a folder of this alone, kept from night to night; made 0700.
        recipient: ``age1…`` of the recovery sheets.
        now: aware UTC.

    Raises:
        InvalidInput: the state is not in SQLite.
        KeyMissing: the box has no key.
    """
    if database.engine.dialect.name != "sqlite":
        raise InvalidInput("database_url", mark("Only a state in SQLite is copied."))
    source = Path(database.engine.url.database or "")
    with database.read() as connection:
        box_id = str(facts.find(connection, "box.id") or "")
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    into.chmod(0o700)
    (into / CATALOGUES).mkdir(exist_ok=True, mode=0o700)
    before = _read_marks(into)
    marks: dict[str, object] = {}
    staged = [into / DATABASE]
    state_files.copy_database(source, into / DATABASE, without=(*kit_words.ERASED, WORDS))
    for catalogue in sorted(settings.catalogues.glob("*.sqlite")):
        if catalogue.stem.isdigit():
            place = into / CATALOGUES / catalogue.name
            name = f"{CATALOGUES}/{catalogue.name}"
            marks[name] = state_files.stamp(catalogue)
            if not place.exists() or before.get(name) != marks[name]:
                state_files.copy_database(catalogue, place)
            staged.append(place)
    if (settings.data / FILE_NAME).exists():
        staged.append(into / FILE_NAME)
        state_files.put_if_other(into / FILE_NAME, (settings.data / FILE_NAME).read_bytes())
    staged.append(into / KEY)
    marks[KEY] = _seal_key(settings.keys, into / KEY, recipient, before.get(KEY))
    marks[web_keys.NAME] = web_keys.seal_web_keys(
        settings.tls, into / web_keys.NAME, recipient, before.get(web_keys.NAME)
    )
    if marks[web_keys.NAME] is not None:
        staged.append(into / web_keys.NAME)
    # The time is written when something else is new: an unchanged box costs nothing.
    staged.append(into / DESCRIPTION)
    _describe(into / DESCRIPTION, box_id, staged[:-1], now)
    wanted = {*staged, into / _MARKS}
    for path in [*into.iterdir(), *(into / CATALOGUES).iterdir()]:
        if path.is_file() and path not in wanted:
            path.unlink()
    state_files.put_if_other(into / _MARKS, json.dumps(marks, sort_keys=True).encode())
    return sorted(staged)


def seal_passphrase(repository: Path, passphrase: Secret, recipient: str) -> None:
    """Put the passphrase of the state's repository beside it, sealed to the sheets; once per recipient.

    The vault that holds it burns with the box: this is what opens the state after a fire.
    """
    known = repository / _PASSPHRASE_FOR
    place = repository / PASSPHRASE
    if place.exists() and known.exists() and known.read_text("ascii") == recipient:
        return
    known.unlink(missing_ok=True)
    sealed = pyrage.encrypt(passphrase.reveal(), [pyrage.x25519.Recipient.from_str(recipient)])
    put_file(place, bytes(sealed), 0o600)
    put_file(known, recipient.encode("ascii"), 0o600)


def freeze_passphrase(repository: Path, into: Path) -> list[LocalFile]:
    """Put ``seal_passphrase``'s file into the frozen moment of the state's repository and return it."""
    copy = into / PASSPHRASE
    shutil.copy2(repository / PASSPHRASE, copy)
    found = copy.stat()
    return [LocalFile(STATE, PASSPHRASE, found.st_size, found.st_mtime_ns)]


def open_passphrase(repository: Path, identity: Secret) -> Secret:
    """Return the passphrase of a state repository that was brought back.

    Raises:
        SecretMissing: the copy holds none.
        SecretUnreadable: it is sealed to other sheets.
    """
    place = repository / PASSPHRASE
    if not place.exists():
        raise SecretMissing("repository:0:passphrase")
    return _open(place, "repository:0:passphrase", identity)


# --- putting back --------------------------------------------------------------------------


def unstage(
    folder: Path,
    settings: Settings,
    identity: Secret,
    *,
    instance: str,
    now: datetime,
    came_from: Mapping[str, object] | None = None,
) -> Taken:
    """Put a staged state into the empty data folder of a new box, under a new key of its own.

    The new ``state.sqlite`` takes its name last, complete: killed before, it is made again; called again
    after, it only says what was done.

    Args:
        folder: as ``stage`` left it.
        settings: of the new box.
        identity: ``AGE-SECRET-KEY-1…`` of the recovery sheets.
        instance: random, of this recovery; the fact ``box.instance`` from now on.
        now: aware UTC.
        came_from: figures for the ledger entry ``box.recovered``: generation, when it was taken …

    Raises:
        AlreadyExists: another box lives in the data folder. Nothing was changed.
        RepositoryDamaged: the folder holds no state of a known format.
        SecretUnreadable: the sheets do not open the old key, or the old key opens nothing.
    """
    place = settings.data / DATABASE
    if place.exists():
        return _already(place, instance, settings)
    description = _description(folder)
    old = _open(folder / KEY, KEY, identity)
    settings.data.mkdir(parents=True, exist_ok=True)
    make_keys(settings.keys)
    web_keys.put_web_keys_back(folder / web_keys.NAME, settings.tls, identity)
    settings.catalogues.mkdir(exist_ok=True)
    for catalogue in sorted((folder / CATALOGUES).glob("*.sqlite")):
        _put_back(catalogue, settings.catalogues / catalogue.name)
    if (folder / FILE_NAME).exists() and not (settings.data / FILE_NAME).exists():
        _put_back(folder / FILE_NAME, settings.data / FILE_NAME)
    draft = settings.data / ".state.recovering"
    state_files.remove_database(draft)
    shutil.copyfile(folder / DATABASE, draft)
    draft.chmod(0o600)
    database = open_database(f"sqlite:///{draft}")
    try:
        with database.write() as connection:
            taken = _change_hands(
                connection,
                settings,
                old=old,
                identity=identity,
                instance=instance,
                description=description,
                came_from=came_from or {},
                now=now,
            )
        database.forget_for_good()
    finally:
        database.close()
    for extra in ("-wal", "-shm"):
        draft.with_name(draft.name + extra).unlink(missing_ok=True)
    folders.sync(draft)
    draft.rename(place)
    folders.sync(settings.data)
    return taken


def _change_hands(
    connection: Connection,
    settings: Settings,
    *,
    old: Secret,
    identity: Secret,
    instance: str,
    description: Mapping[str, Any],
    came_from: Mapping[str, object],
    now: datetime,
) -> Taken:
    opener = pyrage.x25519.Identity.from_str(old.reveal().decode("ascii").strip())
    unreadable, count = [], 0
    rows = connection.execute(select(secret_table.c.name, secret_table.c.sealed)).all()
    for row in rows:
        try:
            plain = Secret(bytes(pyrage.decrypt(row.sealed, [opener])))
        except pyrage.DecryptError:
            unreadable.append(str(row.name))  # one spoiled row must not keep a practice in ashes
            continue
        connection.execute(
            update(secret_table)
            .where(secret_table.c.name == row.name)
            .values(sealed=seal(plain, settings.keys))
        )
        count += 1
    if rows and not count:
        raise SecretUnreadable(KEY)
    for row in connection.execute(select(repository_table.c.source_id)).all():
        connection.execute(
            update(repository_table)
            .where(repository_table.c.source_id == row.source_id)
            .values(path=str(settings.repositories / str(row.source_id)))
        )
    taken_at = datetime.fromisoformat(description["taken_at"])
    facts.put(connection, INSTANCE, instance, now=now)
    result = {
        "instance": instance,
        "taken_at": description["taken_at"],
        "secrets": count,
        "unreadable": unreadable,
    }
    facts.put(connection, "box.recovered", result, now=now)
    kit_words.adopt(connection, identity, now=now)
    events.record(
        connection,
        at=now,
        event="box.recovered",
        subject="box",
        **{**came_from, **result},
    )
    return Taken(instance, str(description["box"]), taken_at, count, tuple(unreadable))


def _already(place: Path, instance: str, settings: Settings) -> Taken:
    database = open_database(f"sqlite:///{place}")
    try:
        with database.read() as connection:
            found = facts.find(connection, "box.recovered")
            box_id = str(facts.find(connection, "box.id") or "")
    finally:
        database.close()
    if not isinstance(found, dict) or found.get("instance") != instance:
        raise AlreadyExists("box", str(settings.data))
    return Taken(
        instance,
        box_id,
        datetime.fromisoformat(found["taken_at"]),
        int(found["secrets"]),
        tuple(found["unreadable"]),
    )


def _description(folder: Path) -> Mapping[str, Any]:
    try:
        values = json.loads((folder / DESCRIPTION).read_bytes())
        if values["format"] != FORMAT:
            raise RepositoryDamaged("state", "it was written by a newer program")
        for name, digest in values["files"].items():
            if state_files.digest(folder / name) != digest:
                raise RepositoryDamaged("state", "a file of it was altered")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RepositoryDamaged("state", "it cannot be read") from error
    return dict(values)


def _open(place: Path, name: str, identity: Secret) -> Secret:
    opened_by = words.openers(identity)
    try:
        return Secret(bytes(pyrage.decrypt(place.read_bytes(), opened_by)))
    except (pyrage.DecryptError, OSError) as error:
        raise SecretUnreadable(name) from error


def _put_back(source: Path, place: Path) -> None:
    draft = place.with_name(f".{place.name}.recovering")
    shutil.copyfile(source, draft)
    draft.chmod(0o660 if place.suffix == ".sqlite" else 0o640)
    folders.sync(draft)
    draft.rename(place)


def _seal_key(keys: Path, place: Path, recipient: str, before: object) -> list[str]:
    try:
        key, public = (keys / "box.key").read_bytes(), (keys / "box.pub").read_text("ascii")
    except OSError as error:
        raise KeyMissing(str(keys / "box.key")) from error
    mark_now = [public.strip(), recipient]
    if not place.exists() or before != mark_now:
        put_file(
            place, bytes(pyrage.encrypt(key, [pyrage.x25519.Recipient.from_str(recipient)])), 0o600
        )
    return mark_now


def _describe(place: Path, box_id: str, staged: list[Path], now: datetime) -> None:
    values: dict[str, object] = {
        "format": FORMAT,
        "box": box_id,
        "program": f"armoire {__version__}",
        "files": {
            each.relative_to(place.parent).as_posix(): state_files.digest(each) for each in staged
        },
    }
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(place.read_bytes())
        if {**before, "taken_at": None} == {**values, "taken_at": None}:
            return
    values["taken_at"] = now.astimezone(UTC).isoformat()
    put_file(place, json.dumps(values, sort_keys=True, indent=1).encode(), 0o600)


def _read_marks(into: Path) -> dict[str, object]:
    try:
        found = json.loads((into / _MARKS).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
