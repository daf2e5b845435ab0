"""Recipes at work: a machine made consistent before it is read, and as it was afterwards.

``load_recipes`` reads them, ``prepare`` brings those of a source to work around the reading.
What a killed run owes a machine (a shadow copy, a command «after») is written down before it is
owed, in the source's facts, and settled before the next run begins.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from appliance.backup_jobs import recipe_vss as vss
from appliance.backup_jobs import sftp, ssh, vault_access
from appliance.backup_jobs.live_databases import consistency_after, live_database_events
from appliance.backup_jobs.recipe_commands import Commands
from appliance.backup_jobs.recipe_quoting import stream_name
from appliance.backup_jobs.recipe_schema import (
    STREAMS_FOLDER,
    Recipe,
    Step,
    StepKind,
    items_of,
    load_recipes,
)
from appliance.backup_jobs.sources import Stream
from appliance.clock import from_epoch, utc_now
from appliance.db import secrets, sources
from appliance.errors import InvalidInput, MachineError
from appliance.jobs.context import JobContext
from appliance.language import mark
from appliance.model import (
    Consistency,
    ReadEvent,
    RecipeUse,
    Source,
    System,
)
from appliance.policy.editor_backup import EDITOR_PROBLEM_TEXTS, judge_editor_backup
from appliance.vault.secret import Secret

__all__ = [
    "Prepared",
    "consistency_after",
    "live_database_events",
    "load_recipes",
    "prepare",
    "secret_name",
    "server_path",
]

#: In the source's facts: what is owed to the machine, by a name that is its own.
OWED: Final = "recipes_owed"
#: The recipe of the package in whose name shadow copies are removed.
_VSS: Final = "windows-vss"
_WORST_FIRST: Final = tuple(reversed(Consistency))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is read while the machine is consistent."""

    streams: tuple[Stream, ...]
    roots: tuple[str, ...]  # as they are read: some lie in a shadow copy
    #: A root of ``roots`` → the path under which it is stored; those not named are stored as read.
    stored_as: Mapping[str, str]
    consistency: Consistency
    events: tuple[ReadEvent, ...] = ()


@dataclass
class _Making:
    """Collects what the recipes add."""

    roots: list[str]
    streams: list[Stream] = field(default_factory=list)
    stored_as: dict[str, str] = field(default_factory=dict)
    levels: list[Consistency] = field(default_factory=list)


def secret_name(source: Source, use: RecipeUse) -> str:
    """Return where the vault keeps a recipe's password for this machine."""
    return f"machine:{source.id}:recipe:{use.name}"


def server_path(system: System, path: str) -> bytes:
    r"""Return a path as the machine's SFTP server names it: «C:\Users» is ``/C:/Users``."""
    text = path.replace("\\", "/") if system is System.WINDOWS else path
    if system is System.WINDOWS and re.match(r"[A-Za-z]:", text):
        text = f"/{text}"
    return text.encode("utf-8", "surrogateescape")


@contextmanager
def prepare(
    source: Source, endpoint: ssh.Endpoint, recipes: Mapping[str, Recipe], context: JobContext
) -> Iterator[Prepared]:
    """Yield what is to be read while the machine is held consistent; leaving lets it go.

    What an earlier, killed run left on the machine is settled first. Streams run inside the block.

    Args:
        source: a pulled machine; its ``recipes`` are used in their order.
        endpoint: the machine.
        recipes: from ``load_recipes``, at least those the source names.
        context: of the job; notes and stop.

    Raises:
        InvalidInput: a recipe is unknown, not for this system, or a value cannot be used.
        RecipeFailed: an application could not be made consistent, or not set going again.
        MachineError: the line failed.
    """
    all_commands = [_commands(source, endpoint, recipes, use, context) for use in source.recipes]
    _settle(source, endpoint, recipes, context)
    making = _Making(list(source.roots))
    with ExitStack() as stack:
        seen: dict[str, int] = {}
        for use, commands in zip(source.recipes, all_commands, strict=True):
            seen[use.name] = seen.get(use.name, 0) + 1
            folder = use.name if seen[use.name] == 1 else f"{use.name}-{seen[use.name]}"
            _begin(stack, source, use, commands, folder, making)
        yield Prepared(
            streams=tuple(making.streams),
            roots=tuple(making.roots),
            stored_as=making.stored_as,
            consistency=_weakest(making.levels),
        )


def _commands(
    source: Source,
    endpoint: ssh.Endpoint,
    recipes: Mapping[str, Recipe],
    use: RecipeUse,
    context: JobContext,
) -> Commands:
    recipe = recipes.get(use.name)
    if recipe is None:
        raise InvalidInput(f"recipes.{use.name}", mark("There is no recipe of this name."))
    if source.system not in recipe.systems:
        raise InvalidInput(f"recipes.{use.name}", mark("This recipe is for another system."))
    values = recipe.resolve(use.values)
    secret: Secret | None = None
    if recipe.secret is not None:
        with context.database.read() as connection:
            name = secret_name(source, use)
            if secrets.find_sealed(connection, name) is not None:
                secret = vault_access.open_secret(connection, context.settings, name)
    return Commands(endpoint, source.system, recipe, values, secret, context)


def _begin(
    stack: ExitStack,
    source: Source,
    use: RecipeUse,
    commands: Commands,
    folder: str,
    making: _Making,
) -> None:
    recipe = commands.recipe
    making.levels.append(recipe.level_reached(commands.values))
    before = _only(recipe, StepKind.BEFORE)
    after = _only(recipe, StepKind.AFTER)
    if before is not None or after is not None:
        name = f"after:{folder}"
        if after is not None:
            owed = {"recipe": use.name, "values": dict(use.values)}
            _write_owed(commands.context, source, name, owed)
        settled = partial(_write_owed, commands.context, source, name, None)
        stack.enter_context(commands.held(before, after, settled))
    for step in recipe.steps:
        match step.kind:
            case StepKind.STREAM:
                making.streams += _streams(commands, step, folder)
            case StepKind.VSS:
                _shadow(stack, source, commands, step, making)
            case StepKind.EDITOR_FOLDER:
                _check_editor_folder(commands, step, making)
            case StepKind.BEFORE | StepKind.AFTER:
                pass


def _only(recipe: Recipe, kind: StepKind) -> Step | None:
    return next((step for step in recipe.steps if step.kind is kind), None)


def _weakest(levels: Sequence[Consistency]) -> Consistency:
    if not levels:
        return Consistency.FILES
    return min(levels, key=_WORST_FIRST.index)


# --- streams -------------------------------------------------------------------------------


def _streams(commands: Commands, step: Step, folder: str) -> Iterator[Stream]:
    if not step.each:
        yield _stream(commands, step, folder, step.path, {})
        return
    items = items_of(commands.values[step.each])
    if not items and step.each_command:
        listed = commands.run(mark("list of databases"), step, step.each_command)
        items = tuple(line for line in listed.splitlines() if line)
    if not items:
        raise commands.failed(mark("list of databases"), mark("no database was found"))
    for item in items:
        path = step.path.replace("{item}", stream_name(item))
        yield _stream(commands, step, folder, path, {"item": item})


def _stream(
    commands: Commands, step: Step, folder: str, path: str, values: dict[str, str]
) -> Stream:
    stored = posixpath.join(STREAMS_FOLDER, folder, path).encode("utf-8", "surrogateescape")
    return Stream(stored, partial(commands.stream, step, values))


# --- what is owed to the machine ---------------------------------------------------------------


def _owed(context: JobContext, source: Source) -> dict[str, dict[str, object]]:
    with context.database.read() as connection:
        found = sources.facts(connection, source.id).get(OWED)
    return dict(found) if isinstance(found, dict) else {}


def _write_owed(
    context: JobContext, source: Source, name: str, owed: Mapping[str, object] | None
) -> None:
    with context.database.write() as connection:
        found = sources.facts(connection, source.id).get(OWED)
        known = dict(found) if isinstance(found, dict) else {}
        known.pop(name, None)
        if owed is not None:
            known[name] = dict(owed)
        sources.set_facts(connection, source.id, {OWED: known})


def _settle(
    source: Source,
    endpoint: ssh.Endpoint,
    recipes: Mapping[str, Recipe],
    context: JobContext,
) -> None:
    """Do what a killed run owes the machine.

    Raises:
        RecipeFailed, MachineError: it cannot be done; it stays owed, and nothing is read.
    """
    for name, owed in _owed(context, source).items():
        context.note(mark("An earlier run was cut: the machine is put in order first."))
        # A person may have taken the recipe off the source since: it is read again by its name.
        known = {**load_recipes(context.settings, {_VSS, str(owed.get("recipe"))}), **recipes}
        if name.startswith("vss:"):
            commands = Commands(endpoint, source.system, known[_VSS], {}, None, context)
            _remove_shadow(commands, str(owed.get("link", "")), str(owed.get("shadow", "")))
        else:
            values = owed.get("values")
            use = RecipeUse(
                str(owed.get("recipe")), dict(values) if isinstance(values, dict) else {}
            )
            with suppress(InvalidInput):  # the recipe is gone or changed: nobody can run it now
                commands = _commands(source, endpoint, known, use, context)
                commands.run_after(_only(commands.recipe, StepKind.AFTER))
        _write_owed(context, source, name, None)


# --- Windows ---------------------------------------------------------------------------------


def _shadow(
    stack: ExitStack, source: Source, commands: Commands, step: Step, making: _Making
) -> None:
    volumes = sorted({volume for root in making.roots if (volume := vss.volume_of(root))})
    if not volumes:
        raise commands.failed(mark("shadow copy"), mark("no folder of a drive is backed up"))
    links: dict[str, str] = {}
    for volume in volumes:
        link = vss.link_on(volume, source.id, commands.context.job.id)
        stack.enter_context(_one_shadow(source, commands, step, volume, link))
        links[volume] = link
    for position, root in enumerate(making.roots):
        read = vss.through(links, root)
        if read != root:
            making.roots[position] = read
            making.stored_as[read] = making.stored_as.pop(root, root)


@contextmanager
def _one_shadow(
    source: Source, commands: Commands, step: Step, volume: str, link: str
) -> Iterator[None]:
    context = commands.context
    name = f"vss:{volume[0]}"
    _write_owed(context, source, name, {"link": link, "shadow": ""})
    shadow = ""
    try:
        made = commands.run(mark("shadow copy"), step, vss.MAKE, {"volume": volume, "link": link})
        shadow = vss.shadow_in(made) or ""
        if not shadow:
            raise commands.failed(mark("shadow copy"), mark("the shadow copy has no number"))
        _write_owed(context, source, name, {"link": link, "shadow": shadow})
        yield
    finally:
        try:
            _remove_shadow(commands, link, shadow)
            _write_owed(context, source, name, None)
        except MachineError:
            # It stays written down, and the next run removes it. What was read is good all the same.
            context.note(
                mark("A shadow copy could not be removed; the next run tries again."),
                level="warning",
            )


def _remove_shadow(commands: Commands, link: str, shadow: str) -> None:
    step = Step(StepKind.VSS, timeout_s=300)
    # Also when the job was cancelled: what was made is removed first.
    unstoppable = replace(commands, stoppable=False)
    unstoppable.run(mark("shadow copy"), step, vss.REMOVE, {"link": link, "shadow": shadow})


# --- the editor's own backup -------------------------------------------------------------------


def _check_editor_folder(commands: Commands, step: Step, making: _Making) -> None:
    """Fail unless the newest file of the folder is a good backup; the folder is read in any case."""
    label = mark("editor's backup")
    folder, pattern = commands.values[step.folder], commands.values[step.names]
    path = server_path(commands.system, folder)
    try:
        with sftp.connect(commands.endpoint) as client:
            listed = client.list_folder(path)
    except sftp.SftpRefused as error:
        raise commands.failed(label, mark("the folder cannot be read")) from error
    files = []
    for name, attributes in listed:
        text = name.decode("utf-8", "replace")
        if attributes.size is None or attributes.mtime is None or attributes.is_folder:
            continue
        if fnmatchcase(text.lower(), pattern.lower()):
            files.append((text, attributes.size, from_epoch(attributes.mtime)))
    found = judge_editor_backup(files, utc_now())
    if found.problem is not None:
        raise commands.failed(label, EDITOR_PROBLEM_TEXTS[found.problem])
    if not any(_is_under(commands.system, folder, root) for root in making.roots):
        making.roots.append(folder)


def _is_under(system: System, path: str, root: str) -> bool:
    one, other = server_path(system, path).rstrip(b"/"), server_path(system, root).rstrip(b"/")
    if system is System.WINDOWS:
        one, other = one.lower(), other.lower()
    return one == other or one.startswith(other + b"/")
