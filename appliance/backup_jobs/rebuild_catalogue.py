"""Make the catalogue of a source again from its repository, which is the authority."""

from collections.abc import Iterator

from appliance.backup_jobs.borg_library import Repository
from appliance.backup_jobs.reconcile import check_vanished
from appliance.backup_jobs.workplace import Workplace, workplace
from appliance.catalogue.rebuild import Archive, canonical_dump, import_archive, rebuild
from appliance.db import snapshots
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RebuildCatalogue
from appliance.language import mark
from appliance.model import Entry, JobState, Snapshot

__all__ = ["canonical_dump", "import_archive", "rebuild", "run"]

#: Entries between two looks at whether to stop.
_EVERY = 10_000


def run(context: JobContext, spec: RebuildCatalogue) -> JobState:
    """Read every listed snapshot's archive into a new catalogue, then put it in the old one's place.

    Safe to run again after a crash at any line: until the end the old catalogue is as it was.

    Raises:
        NotFound: the source was removed, or has no repository.
        ArchiveListUnreadable, ArchiveVanished: the repository does not hold what is listed.
        RepositoryDamaged: an archive cannot be read whole; nothing was replaced.
        RepositoryLocked, RepositoryMissing, RepositoryReplaced, WrongPassphrase.
        JobCancelled: a person stopped it.
    """
    place = workplace(context, spec.source_id)
    context.step("rebuilding")
    with place.open() as repository:
        check_vanished(place, repository.archives())
        with context.database.read() as connection:
            rows = snapshots.of_source(connection, spec.source_id)
        count = rebuild(place.catalogue_path, _archives(place, repository, rows[::-1]))
    context.result.update({"snapshots": count})
    context.note(mark("The list of files was made again from the repository."))
    return JobState.SUCCEEDED


def _archives(place: Workplace, repository: Repository, rows: list[Snapshot]) -> Iterator[Archive]:
    for done, row in enumerate(rows):
        place.context.report(done, len(rows), "snapshots")
        yield row.id, row.started_at, _entries(place, repository, row)


def _entries(place: Workplace, repository: Repository, row: Snapshot) -> Iterator[Entry]:
    for place_in_archive, entry in enumerate(repository.entries(row.archive_id)):
        if place_in_archive % _EVERY == 0:
            place.context.check()
        yield entry
