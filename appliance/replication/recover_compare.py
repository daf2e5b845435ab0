"""A drill's box against the living one: what came back from the copy is what is here.

The living box goes on meanwhile: segments that a compaction removed since are counted, not blamed.
Needs the keys of both, so it runs where secrets may be opened.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from appliance.db import secrets
from appliance.db.engine import Database, open_database
from appliance.db.schema import ledger, repository, secret
from appliance.errors import ArmoireError
from appliance.replication.manifest import Manifest
from appliance.replication.state import STATE
from appliance.settings import Settings
from appliance.vault.unseal import unseal


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures for the proof of a drill."""

    segments: int  # in the copy
    segments_same: int  # byte for byte as here
    segments_gone: int  # removed here since by a compaction
    segments_different: tuple[str, ...]  # «3/data/0/17»
    repositories_missing: tuple[int, ...]  # source ids of the copy's state that did not come back
    secrets_same: int
    secrets_changed: tuple[str, ...]  # names: renewed since, or gone
    passphrases_wrong: tuple[
        int, ...
    ]  # source ids whose repository the drill's vault does not open
    ledger_entries: int  # of the copy, before its own
    ledger_follows: bool  # they are the beginning of the journal here

    @property
    def is_right(self) -> bool:
        """Whether the copy makes this box again."""
        return not (
            self.segments_different
            or self.repositories_missing
            or self.passphrases_wrong
            or not self.ledger_follows
        )


def compare(living: Settings, made: Settings, manifest: Manifest) -> Comparison:
    """Return how the box that a drill made differs from the living one. Reads only.

    Args:
        living: of this box.
        made: of the drill's scratch folder, where ``recover`` finished.
        manifest: of the generation it was made from.

    Raises:
        NotInitialised, DatabaseUnusable: one of the two is no box.
    """
    same, gone, different = 0, 0, []
    segments = [
        file
        for file in manifest.files
        if file.repository != STATE and file.path.startswith("data/")
    ]
    for file in segments:
        name = f"{file.repository}/{file.path}"
        came = _digest(made.repositories / name)
        here = _digest(living.repositories / name)
        if came != file.plain_sha256:
            different.append(name)
        elif here is None:
            gone += 1
        elif here == came:
            same += 1
        else:
            different.append(name)
    with (
        _opened(living) as ours,
        _opened(made) as theirs,
        ours.read() as here_now,
        theirs.read() as there,
    ):
        wanted = sorted(there.execute(select(repository.c.source_id)).scalars())
        missing = tuple(
            each for each in wanted if not (made.repositories / str(each) / "config").is_file()
        )
        alike, changed, wrong = _secrets(here_now, there, living, made)
        entries, follows = _ledger(here_now, there)
    return Comparison(
        segments=len(segments),
        segments_same=same,
        segments_gone=gone,
        segments_different=tuple(different),
        repositories_missing=missing,
        secrets_same=alike,
        secrets_changed=changed,
        passphrases_wrong=tuple(
            each for each in wanted if f"repository:{each}:passphrase" in wrong
        ),
        ledger_entries=entries,
        ledger_follows=follows,
    )


def _secrets(
    ours: Connection, theirs: Connection, living: Settings, made: Settings
) -> tuple[int, tuple[str, ...], frozenset[str]]:
    """Return how many are alike, the names of the others, and of those that do not open in the drill's box."""
    alike, changed, wrong = 0, [], set()
    for name in sorted(theirs.execute(select(secret.c.name)).scalars()):
        try:
            there = unseal(name, secrets.get_sealed(theirs, name), made.keys)
        except ArmoireError:
            wrong.add(name)
            changed.append(name)
            continue
        sealed = secrets.find_sealed(ours, name)
        if sealed is not None and unseal(name, sealed, living.keys) == there:
            alike += 1
        else:
            changed.append(name)
            if name.endswith(":passphrase") and sealed is not None:
                wrong.add(name)  # a repository's passphrase never changes
    return alike, tuple(changed), frozenset(wrong)


def _ledger(ours: Connection, theirs: Connection) -> tuple[int, bool]:
    born = theirs.execute(
        select(ledger.c.seq).where(ledger.c.event == "box.recovered").order_by(ledger.c.seq.desc())
    ).scalar()
    last = theirs.execute(
        select(ledger.c.seq, ledger.c.digest)
        .where(ledger.c.seq < (born or 0))
        .order_by(ledger.c.seq.desc())
        .limit(1)
    ).first()
    if last is None:
        return 0, True
    here = ours.execute(select(ledger.c.digest).where(ledger.c.seq == last.seq)).scalar()
    return int(last.seq), here == last.digest


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.database)
    try:
        yield database
    finally:
        database.close()
