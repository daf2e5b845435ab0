"""What the worker lends to the jobs on targets: work on repositories, which this room does not know.

``backup_jobs`` and ``replication`` lie side by side and do not import each other; the worker, above both,
hands one the hands of the other (``worker/wiring.py``).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.replication.recover_reading import Chunks
from appliance.settings import Settings


class ShareBack(Protocol):
    """What bringing a share back did."""

    @property
    def files(self) -> int:
        """Written and right."""

    @property
    def bytes(self) -> int:
        """Of those."""

    @property
    def left_alone(self) -> int:
        """Files that had their name taken already; they stay as they are."""

    @property
    def failed(self) -> int:
        """Files that could not be read from the snapshot or written."""


class HoldLock(Protocol):
    """Takes Borg's lock on the repository at ``path``, without a passphrase."""

    def __call__(self, path: Path, *, wait_s: float = ...) -> AbstractContextManager[object]:
        """Hold it until the block ends.

        Raises:
            RepositoryMissing: nothing lies there.
            RepositoryLocked: another works on it for longer than ``wait_s`` (60 s unless told).
        """
        ...


class OpenChunks(Protocol):
    """Opens a repository of a box for reading chunks: no lock, nothing written."""

    def __call__(
        self, settings: Settings, source_id: int, place: Path, before_read: Callable[[int], None]
    ) -> AbstractContextManager[Chunks]:
        """Open the repository that lies at ``place``; ``partial(open_chunks, settings)`` suits CopyReader.

        Args:
            settings: of the box whose vault holds the passphrase (a drill: the scratch one).
            source_id: whose repository.
            place: where its files lie, or will when ``before_read`` brings them.
            before_read: called with a segment's number before its file is opened.

        Raises:
            NotFound, SecretMissing, KeyMissing, SecretUnreadable, WrongPassphrase,
            RepositoryMissing, RepositoryReplaced, RepositoryDamaged.
        """
        ...


class RestoreShare(Protocol):
    """Brings the newest snapshot of a share back to a folder, with rights and extended attributes."""

    def __call__(
        self,
        settings: Settings,
        source_id: int,
        into: Path | None,
        *,
        should_stop: Callable[[], bool],
    ) -> ShareBack:
        """Restore; what has its name taken is left alone. Safe to run again after a cut.

        Args:
            settings: of the box.
            source_id: a share.
            into: an existing folder that takes what lay in the share; None: the share's own folder, made
                when it is not there.
            should_stop: asked between two files.

        Raises:
            NotFound: the source has no snapshot.
            InvalidInput: it is no share.
            JobCancelled, RepositoryError, VaultError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """The hands that were lent."""

    hold_lock: HoldLock
    open_chunks: OpenChunks
    restore_share: RestoreShare
