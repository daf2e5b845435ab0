"""Trying a machine: each thing that must work, one after the other, said in words.

``check`` yields as it goes, so that a page can show each check as it passes.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection

from appliance.backup_jobs import sftp, ssh
from appliance.backup_jobs.live_databases import LiveDatabases
from appliance.backup_jobs.machine_wake import learn_mac, wake
from appliance.backup_jobs.recipe_quoting import POSIX_SHELL, posix_script, windows_command
from appliance.backup_jobs.recipe_schema import Recipe
from appliance.backup_jobs.recipes import server_path
from appliance.db import sources
from appliance.errors import (
    ArmoireError,
    HostKeyChanged,
    HostKeyUnknown,
    InvalidInput,
    KeyRefused,
    MachineUnreachable,
    SftpUnavailable,
)
from appliance.language import Language, mark, translate
from appliance.ledger import events
from appliance.model import PersonId, Source, SourceId, System
from appliance.policy.wording import in_language

__all__ = [
    "CheckOutcome",
    "CheckResult",
    "check",
    "confirm_host_key",
    "learn_mac",
    "wake",
]

#: A clock that is further off is told; dates of files are then, too.
CLOCK_S: Final = 5.0
#: How much of a root is looked at, to say what is there.
LOOK_ENTRIES: Final = 2_000
LOOK_S: Final = 3.0
COMMAND_S: Final = 20.0
LOW_SPACE: Final = 0.05


class CheckOutcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be tried, and that is no fault


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was tried."""

    name: str  # reachable · host-key · key · sftp · root · space · database · clock · recipe
    outcome: CheckOutcome
    text: str  # English template over ``facts``
    facts: dict[str, object] = field(default_factory=dict)

    def words(self, language: Language) -> str:
        """Return what a person reads."""
        facts = in_language(self.facts, language)
        if isinstance(expected := facts.get("expected"), str):
            facts["expected"] = translate(expected, language)
        return translate(self.text, language, **facts)

    def to_json(self) -> dict[str, object]:
        """Return it as the source's facts keep it."""
        return {**asdict(self), "outcome": self.outcome.value}


def check(
    endpoint: ssh.Endpoint, source: Source, recipes: Mapping[str, Recipe]
) -> Iterator[CheckResult]:
    """Yield what works and what does not, in the order in which one needs the other.

    What cannot be tried because something before it failed is not yielded. Nothing is written on the
    machine. Lasts a few seconds, and at most a minute or so.

    Args:
        endpoint: the machine.
        source: its roots and recipes.
        recipes: from ``load_recipes``: those the source uses, and those that may be proposed.
    """
    try:
        found, shown = ssh.probe_host_key(endpoint.host, endpoint.port)
    except (MachineUnreachable, InvalidInput) as error:
        yield _failed("reachable", error)
        return
    yield CheckResult("reachable", CheckOutcome.OK, mark("The machine answers."))
    host_key = _host_key(endpoint, found, shown)
    yield host_key
    if host_key.outcome is CheckOutcome.FAILED:
        return
    try:
        with sftp.connect(endpoint) as client:
            yield CheckResult(
                "key", CheckOutcome.OK, mark("The machine accepts the key of the box.")
            )
            yield CheckResult("sftp", CheckOutcome.OK, mark("Its files can be reached (SFTP)."))
            yield from _roots(client, source, recipes)
    except SftpUnavailable as error:
        yield CheckResult("key", CheckOutcome.OK, mark("The machine accepts the key of the box."))
        yield _failed("sftp", error)
        return
    except (HostKeyChanged, HostKeyUnknown) as error:
        yield _failed("host-key", error)
        return
    except KeyRefused as error:
        yield _failed("key", error)
        return
    except ArmoireError as error:
        yield _failed("sftp", error)
        return
    yield _clock(endpoint, source.system)
    for use in source.recipes:
        yield _recipe(endpoint, source, use.name, use.values, recipes)


def _failed(name: str, error: ArmoireError) -> CheckResult:
    facts = {key: _plain(value) for key, value in error.facts.items()}
    return CheckResult(name, CheckOutcome.FAILED, type(error).public, facts)


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _host_key(endpoint: ssh.Endpoint, found: str, shown: str) -> CheckResult:
    if endpoint.host_key is None:
        return CheckResult(
            "host-key",
            CheckOutcome.FAILED,
            HostKeyUnknown.public,
            {"host": endpoint.host, "fingerprint": shown},
        )
    pinned = endpoint.host_key.split()[:2]
    # Another kind of key than the pinned one says nothing: the connection itself will.
    if pinned[0] == found.split(maxsplit=1)[0] and pinned != found.split()[:2]:
        error = HostKeyChanged(endpoint.host, ssh.fingerprint(endpoint.host_key), shown)
        return _failed("host-key", error)
    return CheckResult(
        "host-key",
        CheckOutcome.OK,
        mark("Its identity is the one that was confirmed (%(fingerprint)s)."),
        {"fingerprint": ssh.fingerprint(endpoint.host_key)},
    )


# --- files -----------------------------------------------------------------------------------


def _roots(
    client: sftp.SftpClient, source: Source, recipes: Mapping[str, Recipe]
) -> Iterator[CheckResult]:
    spaces: set[tuple[int, int]] = set()
    databases = LiveDatabases()
    for root in source.roots:
        path = server_path(source.system, root)
        try:
            folders, files, size, whole = _look(client, path, databases)
        except sftp.SftpRefused as error:
            text = mark("The folder «%(root)s» cannot be read (%(reason)s).")
            facts: dict[str, object] = {"root": root, "reason": str(error)}
            yield CheckResult("root", CheckOutcome.FAILED, text, facts)
            continue
        text = (
            mark("«%(root)s» can be read: %(files)s files in %(folders)s folders, %(size_bytes)s.")
            if whole
            else mark("«%(root)s» can be read: more than %(files)s files, %(size_bytes)s so far.")
        )
        empty = whole and not files and not folders
        if empty:
            text = mark("«%(root)s» can be read, but holds nothing. Is it the right folder?")
        yield CheckResult(
            "root",
            CheckOutcome.WARNING if empty else CheckOutcome.OK,
            text,
            {"root": root, "files": files, "folders": folders, "size_bytes": size, "whole": whole},
        )
        space = _space(client, path)
        if space is not None and (space.total_bytes, space.free_bytes) not in spaces:
            spaces.add((space.total_bytes, space.free_bytes))
            yield _space_result(root, space)
    if not source.recipes:
        yield from _databases(databases, source.system, recipes)


def _databases(
    databases: LiveDatabases, system: System, recipes: Mapping[str, Recipe]
) -> Iterator[CheckResult]:
    """Yield one warning for each engine whose files lie there, with the recipes that fit."""
    fitting: dict[str, set[str]] = {}
    for event in databases.events():
        names = databases.names(event.path)
        fitting.setdefault(event.reason, set()).update(
            recipe.name
            for recipe in recipes.values()
            if system in recipe.systems and recipe.fits(names)
        )
    for engine, found in sorted(fitting.items()):
        text = (
            mark(
                "There are files of a %(engine)s database: a plain copy may not start again. "
                "A recipe fits: %(recipe)s."
            )
            if found
            else mark(
                "There are files of a %(engine)s database: a plain copy may not start again. "
                "Take the backup its editor makes («editor-folder»)."
            )
        )
        facts: dict[str, object] = {"engine": engine, "recipe": ", ".join(sorted(found))}
        yield CheckResult("database", CheckOutcome.WARNING, text, facts)


def _look(
    client: sftp.SftpClient, path: bytes, databases: LiveDatabases
) -> tuple[int, int, int, bool]:
    """Return folders, files and bytes below ``path`` and whether that is all: at most LOOK_ENTRIES, LOOK_S."""
    if not client.stat(path).is_folder:
        return 0, 1, client.stat(path).size or 0, True
    folders = files = size = 0
    end = time.monotonic() + LOOK_S
    waiting = deque([path.rstrip(b"/") or b"/"])
    first = True
    while waiting:
        folder = waiting.popleft()
        try:
            entries = client.list_folder(folder)
        except sftp.SftpRefused:
            if first:
                raise
            continue  # one that only its owner may read; the night says how many
        first = False
        for name, attributes in entries:
            if attributes.is_folder:
                folders += 1
                waiting.append(folder.rstrip(b"/") + b"/" + name)
            else:
                files += 1
                size += attributes.size or 0
                databases.see(folder + b"/" + name)
        if waiting and (files + folders > LOOK_ENTRIES or time.monotonic() > end):
            return folders, files, size, False
    return folders, files, size, True


def _space(client: sftp.SftpClient, path: bytes) -> sftp.Space | None:
    try:
        return client.space(path)
    except sftp.SftpRefused:
        return None


def _space_result(root: str, space: sftp.Space) -> CheckResult:
    low = space.total_bytes > 0 and space.free_bytes < LOW_SPACE * space.total_bytes
    return CheckResult(
        "space",
        CheckOutcome.WARNING if low else CheckOutcome.OK,
        mark("The disk of «%(root)s» is nearly full: %(free_bytes)s of %(total_bytes)s free.")
        if low
        else mark("The disk of «%(root)s» has %(free_bytes)s of %(total_bytes)s free."),
        {"root": root, "free_bytes": space.free_bytes, "total_bytes": space.total_bytes},
    )


# --- commands --------------------------------------------------------------------------------


def _ask(endpoint: ssh.Endpoint, system: System, posix: str, windows: str) -> str | None:
    """Return what a command wrote, None when the machine runs no commands for us."""
    if system is System.WINDOWS:
        command, stdin = windows_command(windows, {}), b""
    else:
        command, stdin = POSIX_SHELL, posix_script(posix, {})
    found = bytearray()
    try:
        result = ssh.run_command(
            endpoint,
            command,
            stdin=stdin,
            on_block=lambda block: found.extend(block[:4096]),
            timeout_s=COMMAND_S,
        )
    except ArmoireError:
        return None
    return None if result.exit_code else found.decode("utf-8", "replace").strip()


def _clock(endpoint: ssh.Endpoint, system: System) -> CheckResult:
    before = time.time()
    answer = _ask(
        endpoint,
        system,
        "date +%s",
        "[Console]::Out.WriteLine([DateTimeOffset]::UtcNow.ToUnixTimeMilliseconds())",
    )
    after = time.time()
    if answer is None or not answer.isascii() or not answer.isdigit():
        return CheckResult(
            "clock",
            CheckOutcome.SKIPPED,
            mark("Its clock could not be asked: the key may only read files, which is enough."),
        )
    # «date» cuts to the second: half of one is its middle.
    theirs = int(answer) / 1000 if system is System.WINDOWS else int(answer) + 0.5
    offset = round(theirs - (before + after) / 2, 1)
    slack = (after - before) / 2 + 0.5
    if abs(offset) > CLOCK_S + slack:
        text = mark("Its clock is wrong by %(seconds)s seconds. Set it right.")
        return CheckResult("clock", CheckOutcome.WARNING, text, {"seconds": offset})
    return CheckResult("clock", CheckOutcome.OK, mark("Its clock is right."), {"seconds": offset})


def _recipe(
    endpoint: ssh.Endpoint,
    source: Source,
    name: str,
    values: Mapping[str, str],
    recipes: Mapping[str, Recipe],
) -> CheckResult:
    recipe = recipes.get(name)
    if recipe is None or source.system not in recipe.systems:
        text = mark("The recipe «%(recipe)s» does not exist for this system.")
        return CheckResult("recipe", CheckOutcome.FAILED, text, {"recipe": name})
    try:
        recipe.resolve(values)
    except InvalidInput as error:
        return CheckResult(
            "recipe",
            CheckOutcome.FAILED,
            mark("The recipe «%(recipe)s» cannot be used: %(name)s: %(expected)s"),
            {"recipe": name, "name": error.name, "expected": error.expected},
        )
    if not recipe.needs_commands:
        return CheckResult(
            "recipe",
            CheckOutcome.OK,
            mark("The recipe «%(recipe)s» needs nothing on the machine."),
            {"recipe": name},
        )
    answer = _ask(endpoint, source.system, _posix_programs(recipe), "[Console]::Out.WriteLine('')")
    if answer is None:
        text = mark(
            "The recipe «%(recipe)s» needs commands, and the key may only read files. "
            "Run the lines shown under «Add this machine» again."
        )
        return CheckResult("recipe", CheckOutcome.FAILED, text, {"recipe": name})
    if answer:
        text = mark("The recipe «%(recipe)s» misses a program on the machine: %(programs)s.")
        missing: dict[str, object] = {"recipe": name, "programs": answer.replace("\n", ", ")}
        return CheckResult("recipe", CheckOutcome.FAILED, text, missing)
    text = mark("The recipe «%(recipe)s» finds the programs it needs.")
    return CheckResult("recipe", CheckOutcome.OK, text, {"recipe": name})


def _posix_programs(recipe: Recipe) -> str:
    """Return a script that writes the names of what is missing. Names come from the recipe's file."""
    lines = [
        f'command -v "{name}" >/dev/null 2>&1 || echo "{name}"'
        for name in recipe.programs
        if name.replace("-", "").replace("_", "").isalnum()
    ]
    either = [
        name for name in recipe.any_program if name.replace("-", "").replace("_", "").isalnum()
    ]
    if either:
        tries = " || ".join(f'command -v "{name}" >/dev/null 2>&1' for name in either)
        lines.append(f'{tries} || echo "{" / ".join(either)}"')
    return "\n".join([*lines, "true"])


# --- identity --------------------------------------------------------------------------------


def confirm_host_key(
    connection: Connection,
    source_id: SourceId,
    host_key: str,
    *,
    person_id: PersonId | None,
    now: datetime,
) -> str:
    """Pin the host key a person compared and confirmed; return its fingerprint. Written to the ledger.

    Raises:
        NotFound: there is no such source.
        InvalidInput: it is no public key.
    """
    shown = ssh.fingerprint(host_key)
    before = sources.get(connection, source_id).host_key
    pinned = " ".join(host_key.split()[:2])
    sources.change(connection, source_id, host_key=pinned)
    events.record(
        connection,
        at=now,
        event="machine.host-key-confirmed",
        subject=f"source:{source_id}",
        person_id=person_id,
        fingerprint=shown,
        before=None if before is None else ssh.fingerprint(before),
    )
    return shown
