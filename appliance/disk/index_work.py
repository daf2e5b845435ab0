"""The work on every index: follows the shares there are, the news of each, and reads texts beside.

One per data folder. What is not its own fault (no disk, no database for a moment) makes it wait, never end.
"""

import logging
import select
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.db.practice import Searched
from appliance.db.shares import Share
from appliance.disk.index_file import UNREADABLE, WAITING, Index, Row, path_of, remove
from appliance.disk.index_keep import Keeper
from appliance.disk.index_texts import Changed, text_of
from appliance.disk.index_watch import Watcher, make_watcher
from appliance.errors import WorkerUnreachable
from appliance.settings import Settings

#: Seconds between two looks at which shares there are.
SHARES_S: Final = 2.0
#: Seconds after which everything is looked at again, though nothing was told; sooner where folders are not watched.
AGAIN_S: Final = 24 * 3600.0
BLIND_S: Final = 900.0
#: Seconds before a share whose disk or index failed is tried again.
REST_S: Final = 15.0
#: Files whose text is asked for at once: one is read while the answer of another is written.
READ_AT_ONCE: Final = 2
TEXTS_AT_ONCE: Final = 50  # written in one transaction

#: Fact of an index: what of documents is in it, as ``Searched`` says it.
SEARCHED: Final = "searched"

_log = logging.getLogger("armoire.index")


def _ignore(_shares: frozenset[int]) -> None:
    pass


def wish_path(settings: Settings, share_id: int) -> Path:
    """Return the file whose being there asks that a whole share is looked at."""
    return settings.indexes / f"{share_id}.look"


@dataclass
class _Kept:
    """A share and all that is open for it."""

    share: Share
    keeper: Keeper
    watcher: Watcher
    again_at: float
    rests_until: float = 0.0
    reading: dict[int, tuple[Row, Future[str | None]]] = field(default_factory=dict)


class Librarian:
    """Keeps the indexes of all shares. Call ``turn`` for ever."""

    def __init__(
        self,
        settings: Settings,
        living: Callable[[], Iterable[Share]],
        *,
        watcher: Callable[[Path], Watcher] = make_watcher,
        searched: Callable[[], Searched] | None = None,
        on_blind: Callable[[frozenset[int]], None] = _ignore,
    ) -> None:
        """Begin with nothing open.

        Args:
            settings: of the box.
            living: returns the shares there are now.
            watcher: makes what tells of changes below a folder; may raise OSError.
            searched: what is read of documents, as the practice chose it; None: as the settings say.
            on_blind: told of the shares of which some folders are not watched, when they become others.
        """
        self._settings = settings
        self._living = living
        self._make_watcher = watcher
        self._usual = Searched(dicom=bool(settings.index_dicom_fields))
        self._ask_searched = searched or (lambda: self._usual)
        self._searched = self._ask_searched()
        self._kept: dict[int, _Kept] = {}
        self._on_blind = on_blind
        self._blind: frozenset[int] | None = None
        self._shares_at = float("-inf")
        self._texts_at = 0.0
        self._readers = ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="texts")

    def close(self) -> None:
        """Close every index; what was not looked at yet is looked at by the next start."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        for each in list(self._kept):
            self._drop(each)

    def turn(self, *, patience_s: float = 1.0) -> bool:
        """Do some of what there is to do, or wait at most ``patience_s`` for news; return whether there was any."""
        now = time.monotonic()
        if now - self._shares_at >= SHARES_S:
            self._shares_at = now
            self._follow(now)
        is_busy = False
        for each in list(self._kept.values()):
            if now < each.rests_until:
                continue
            try:
                is_busy = self._one(each, now) or is_busy
            except sqlite3.Error as error:
                self._failed(each, error, now)
        self._tell_blind()
        if not is_busy:
            self._wait(patience_s)
        return is_busy

    def _tell_blind(self) -> None:
        blind = frozenset(number for number, each in self._kept.items() if each.watcher.is_blind)
        if blind != self._blind:
            self._on_blind(blind)
            self._blind = blind

    @property
    def is_settled(self) -> bool:
        """Everything known of was looked at and read: for tests."""
        return all(
            each.keeper.is_idle and not each.reading and not each.keeper.index.waiting(1)
            for each in self._kept.values()
        )

    # --- shares -------------------------------------------------------------------------------

    def _follow(self, now: float) -> None:
        living = {each.id: each for each in self._living() if not each.is_time_machine}
        searched = self._ask_searched()
        if searched != self._searched:
            self._searched = searched
            for number in list(
                self._kept
            ):  # what was read of pictures goes, or is still to be read
                self._drop(number)
                remove(path_of(self._settings, number))
        for number, kept in list(self._kept.items()):
            share = living.get(number)  # type: ignore[call-overload]
            if share is None:
                self._drop(number)
                remove(path_of(self._settings, number))  # texts do not outlast their share
            elif share.folder != kept.share.folder:
                self._drop(number)
        for number, share in living.items():
            if number not in self._kept:
                self._take(share, now)
            wish = wish_path(self._settings, number)
            if number in self._kept and wish.exists():
                wish.unlink(missing_ok=True)
                self._kept[number].keeper.look_at_all()

    def _take(self, share: Share, now: float) -> None:
        if not share.folder.is_dir():
            return  # a disk that is not there: what is known of it stays
        watcher: Watcher | None = None
        try:
            watcher = self._make_watcher(share.folder)
            index = self._index_of(share)
        except (OSError, sqlite3.Error) as error:
            if watcher is not None:
                watcher.close()
            _log.error("share %s is not indexed: %s", share.id, type(error).__name__)
            return
        keeper = Keeper(
            share,
            index,
            searched=self._searched,
            on_folder=watcher.watch,
        )
        keeper.look_at_all()
        self._kept[share.id] = _Kept(share, keeper, watcher, now + AGAIN_S)

    def _index_of(self, share: Share) -> Index:
        """Open a share's index; one made under another choice of the practice is made anew."""
        path = path_of(self._settings, share.id)
        index = Index(path)
        made_for = index.noted(SEARCHED) or str(self._usual)  # of files older than the choice
        if made_for != str(self._searched):
            index.close()
            remove(path)
            index = Index(path)
        index.note(SEARCHED, str(self._searched))
        return index

    def _drop(self, number: int) -> None:
        kept = self._kept.pop(number)
        for _, future in kept.reading.values():
            future.cancel()
        kept.watcher.close()
        kept.keeper.index.close()

    def _failed(self, kept: _Kept, error: sqlite3.Error, now: float) -> None:
        _log.error("index of share %s: %s", kept.share.id, error.sqlite_errorname)
        kept.rests_until = now + REST_S
        code = error.sqlite_errorcode & 0xFF
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            # Never the authority: it is made again from the disk.
            self._drop(kept.share.id)
            remove(path_of(self._settings, kept.share.id))
        else:
            kept.keeper.look_at_all()  # what was rolled back is not known any more

    # --- one share ----------------------------------------------------------------------------

    def _one(self, kept: _Kept, now: float) -> bool:
        keeper = kept.keeper
        for each in kept.watcher.news():
            if each.folder is not None:
                keeper.look_at(each.folder, each.name)
            elif each.path is not None:
                keeper.look_at_path(each.path, each.name)
            else:
                _log.warning("share %s: news were lost, it is looked at again", kept.share.id)
                keeper.look_at_all()
        if now >= kept.again_at:
            keeper.look_at_all()
        if not keeper.is_idle:
            kept.again_at = now + (BLIND_S if kept.watcher.is_blind else AGAIN_S)
        worked = keeper.work()
        return self._texts(kept, now) or worked

    def _texts(self, kept: _Kept, now: float) -> bool:
        """Write down the texts that were read, and ask for others."""
        index = kept.keeper.index
        done = [(row, future) for row, future in kept.reading.values() if future.done()]
        if done:
            index.connection.execute("BEGIN IMMEDIATE")
            try:
                for row, future in done[:TEXTS_AT_ONCE]:
                    del kept.reading[row.id]
                    self._store(kept, row, future, now)
            except BaseException:
                index.connection.execute("ROLLBACK")
                raise
            index.connection.execute("COMMIT")
        free = READ_AT_ONCE * 2 - len(kept.reading)
        if free <= 0 or now < self._texts_at:
            return bool(done)
        for row in index.waiting(free + len(kept.reading)):
            if row.id in kept.reading:
                continue
            path = index.way(row.id)
            if path is not None:
                future = self._readers.submit(text_of, self._settings, kept.share, path, row)
                kept.reading[row.id] = (row, future)
        return bool(done)

    def _store(self, kept: _Kept, row: Row, future: Future[str | None], now: float) -> None:
        index = kept.keeper.index
        known = index.get(row.id)
        if known is None or known.text != WAITING or known.mtime_ns != row.mtime_ns:
            return  # it changed meanwhile: it waits again, or went
        try:
            text = future.result()
        except WorkerUnreachable:
            self._texts_at = now + REST_S
        except Changed:
            # Not asked for again before the disk was looked at, or this would turn for ever.
            index.connection.execute("UPDATE entry SET text = ? WHERE id = ?", (UNREADABLE, row.id))
            kept.keeper.look_at(known.parent, known.name)
        except Exception as error:  # noqa: BLE001 - one file must not stop the others; its name is not told
            _log.error("a text was not read: %s", type(error).__name__)
            index.set_text(row.id, None)
        else:
            index.set_text(row.id, text)

    def _wait(self, patience_s: float) -> None:
        if any(each.reading for each in self._kept.values()):
            patience_s = min(patience_s, 0.02)
        watching = [each.watcher.fileno() for each in self._kept.values()]
        with suppress(OSError, ValueError):
            poll = select.poll()
            for each in watching:
                poll.register(each, select.POLLIN)
            poll.poll(patience_s * 1000)
