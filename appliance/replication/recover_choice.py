"""After a fire: what each place shows, and which generation to make the box from.

``look`` asks one target; ``propose`` is pure: the newest generation of which every file can be had,
from its own place or from another one, and in words what is lost by it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.errors import NothingToRecover, ObjectAltered, TargetError
from appliance.replication import fetch
from appliance.replication.manifest import ChainFault, CopiedFile, Manifest
from appliance.replication.state import STATE
from appliance.replication.target import Target
from appliance.vault.secret import Secret

#: Generations opened at one place before giving up on finding a whole one: a fortnight of nights.
LOOK_BACK: Final = 14

#: What a file is, wherever it lies: repository, path, SHA-256 of its plain bytes.
Content = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Looked:
    """One generation of one place, opened; or why it does not open."""

    number: int
    taken_at: datetime  # as signed
    sha256: str  # of the generation's object
    manifest: Manifest | None  # None: it does not open with these words
    missing: tuple[CopiedFile, ...] = ()  # not listed there with their size


@dataclass(frozen=True, slots=True)
class Look:
    """What one place shows."""

    target: str  # its name
    generations: tuple[Looked, ...] = ()  # newest first, down to the first whole one
    faults: tuple[ChainFault, ...] = ()  # withheld, altered, forged: by number
    unreachable: str = ""  # the error's code, when it could not be asked
    error: TargetError | None = field(default=None, compare=False)  # that error, for a person

    @property
    def has(self) -> frozenset[Content]:
        """Return every content that lies there by what was opened."""
        return frozenset(
            content(file)
            for looked in self.generations
            if looked.manifest is not None
            for file in set(looked.manifest.files) - set(looked.missing)
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A newer generation that is not proposed, and why."""

    target: str
    number: int
    taken_at: datetime
    reason: str  # missing-objects · does-not-open
    missing: Mapping[int, int]  # repository → files of it that cannot be had


@dataclass(frozen=True, slots=True)
class Proposal:
    """Which generation to recover, and what must be said before it is."""

    target: str
    number: int
    taken_at: datetime
    sha256: str
    manifest: Manifest
    #: Files no place has; empty but in the last resort.
    missing: tuple[CopiedFile, ...]
    skipped: tuple[Skipped, ...]
    faults: tuple[tuple[str, ChainFault], ...]  # place, what it did
    unreachable: tuple[tuple[str, str], ...]  # place, error code

    @property
    def is_whole(self) -> bool:
        """Whether every file of it can be had."""
        return not self.missing

    @property
    def lost_s(self) -> int:
        """Seconds of the practice's work that newer, unusable generations held; 0 for none."""
        newest = max([self.taken_at, *(each.taken_at for each in self.skipped)])
        return int((newest - self.taken_at).total_seconds())


def content(file: CopiedFile) -> Content:
    """Return what a file is, wherever it lies."""
    return file.repository, file.path, file.plain_sha256


def look(
    name: str,
    target: Target,
    *,
    signer: Ed25519PublicKey,
    box_id: str,
    identity: Secret,
    known_bad: Collection[str] = (),
) -> Look:
    """Return what a place shows of this box: never raises for what the place does.

    Generations are opened from the newest down to the first whole one, LOOK_BACK at most.

    Args:
        name: what it is called in the box's own record.
        target: the place.
        signer: public half of the box's signing key.
        box_id: whose generations.
        identity: ``AGE-SECRET-KEY-1…`` of the sheets.
        known_bad: objects that were read there and are not what was sent (``recover.altered``): as good as missing.
    """
    try:
        survey = fetch.survey(target, signer=signer, box_id=box_id)
        there = {
            info.name: info.size for info in target.list("objects/") if info.name not in known_bad
        }
        found = []
        for each in survey.generations[:LOOK_BACK]:
            looked = _open(target, each, there, signer=signer, identity=identity)
            found.append(looked)
            if looked.manifest is not None and not looked.missing:
                break
    except TargetError as error:
        return Look(name, unreachable=error.code, error=error)
    return Look(name, tuple(found), survey.faults)


def _open(
    target: Target,
    found: fetch.FoundGeneration,
    there: Mapping[str, int],
    *,
    signer: Ed25519PublicKey,
    identity: Secret,
) -> Looked:
    header = found.header
    try:
        manifest = fetch.open_generation(target, found, identity=identity, signer=signer)
    except ObjectAltered:
        return Looked(header.number, header.taken_at, found.sha256, None)
    missing = tuple(file for file in manifest.files if there.get(file.object) != file.sealed_size)
    return Looked(header.number, header.taken_at, found.sha256, manifest, missing)


def propose(looks: Sequence[Look], *, only: tuple[str, int] | None = None) -> Proposal:
    """Return the newest generation of which every file can be had.

    A file that is missing at its own place counts as there when another place holds the same content.
    When no generation is whole, the one that lacks fewest files is proposed, provided that the box's own
    state is whole in it; ``Proposal.missing`` then names what cannot be had.

    Args:
        looks: one a place, the place to read from first where two are equally good.
        only: place and number of the generation a recovery was begun with: no other is proposed.

    Raises:
        NothingToRecover: no place has a generation that opens, or not the one that was begun with.
    """
    anywhere: frozenset[Content] = frozenset().union(*(each.has for each in looks))
    candidates = [
        (looked.manifest, place, each, looked, _lacking(looked, anywhere))
        for place, each in enumerate(looks)
        for looked in each.generations
        if looked.manifest is not None and only in {None, (each.target, looked.number)}
    ]
    usable = [each for each in candidates if not any(file.repository == STATE for file in each[4])]
    if not usable:
        reasons = {each.unreachable for each in looks if each.unreachable}
        raise NothingToRecover(", ".join(sorted(reasons)) or "–")
    moments = _moments(looks)
    manifest, chosen_at, chosen_look, chosen, missing = min(
        usable,
        key=lambda each: (
            len(each[4]),
            -moments[each[1], each[3].number].timestamp(),
            each[1],
            -each[3].number,
        ),
    )
    skipped = []
    for place, each in enumerate(looks):
        for looked in each.generations:
            is_newer = (
                looked.number > chosen.number
                if place == chosen_at
                else moments[place, looked.number] > moments[chosen_at, chosen.number]
            )
            if is_newer:
                lacking = _lacking(looked, anywhere)
                counts: dict[int, int] = {}
                for file in lacking:
                    counts[file.repository] = counts.get(file.repository, 0) + 1
                reason = "does-not-open" if looked.manifest is None else "missing-objects"
                skipped.append(Skipped(each.target, looked.number, looked.taken_at, reason, counts))
    return Proposal(
        target=chosen_look.target,
        number=chosen.number,
        taken_at=chosen.taken_at,
        sha256=chosen.sha256,
        manifest=manifest,
        missing=missing,
        skipped=tuple(skipped),
        faults=tuple((each.target, fault) for each in looks for fault in each.faults),
        unreachable=tuple((each.target, each.unreachable) for each in looks if each.unreachable),
    )


def _moments(looks: Sequence[Look]) -> dict[tuple[int, int], datetime]:
    """Return (place, number) → when a generation was taken, at the latest.

    At one place the number decides which is newer: a clock that jumped ahead for a night dates that one wrong,
    so a generation counts as taken no later than those that came after it.
    """
    found: dict[tuple[int, int], datetime] = {}
    for place, look in enumerate(looks):
        latest: datetime | None = None
        for looked in sorted(look.generations, key=lambda each: -each.number):
            latest = looked.taken_at if latest is None else min(latest, looked.taken_at)
            found[place, looked.number] = latest
    return found


def _lacking(looked: Looked, anywhere: frozenset[Content]) -> tuple[CopiedFile, ...]:
    return tuple(file for file in looked.missing if content(file) not in anywhere)


def in_order(manifest: Manifest, wanted: Sequence[int] = ()) -> list[int]:
    """Return the repositories in the order they come back: those wanted first, then shares, then small ones.

    The state is not among them: it comes before everything.
    """
    sizes: dict[int, int] = {}
    for file in manifest.files:
        sizes[file.repository] = sizes.get(file.repository, 0) + file.plain_size
    rank = {source: place for place, source in enumerate(wanted)}
    known = [each for each in manifest.repositories if each.source_id != STATE]
    known.sort(
        key=lambda each: (
            rank.get(each.source_id, len(rank)),
            each.kind != "share",
            sizes.get(each.source_id, 0),
            each.source_id,
        )
    )
    return [each.source_id for each in known]
