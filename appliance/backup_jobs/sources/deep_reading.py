"""Taking a folder that is too deep for SFTP into the archive, from its tar stream."""

import stat
from collections.abc import Callable, Generator, Iterator
from typing import Final

from appliance.backup_jobs.borg_library import Meta, Stored
from appliance.backup_jobs.sftp_walk import Deep
from appliance.backup_jobs.sources import deep
from appliance.backup_jobs.sources.writing import Writing
from appliance.backup_jobs.ssh import CommandResult
from appliance.model import ReadEventKind
from appliance.units import NS_PER_S

#: Runs a command on the machine: its output, and how it ended.
RunCommand = Callable[[str], Generator[bytes, None, CommandResult]]
TOO_LONG: Final = "its path is so long that the machine may not show all that is in it"


class DeepReading:
    """Reads one folder."""

    def __init__(
        self,
        folder: Deep,
        writing: Writing,
        excluded: Callable[[bytes, bytes], bool],
        latest_s: int,
    ) -> None:
        self._folder = folder
        self._out = writing
        self._excluded = excluded
        self._latest_s = latest_s
        self._files: dict[bytes, tuple[Meta, Stored]] = {}
        self._left_out: set[bytes] = set()
        self._taken: set[bytes] = set()

    def run(self, run_command: RunCommand | None) -> None:
        """Read it; what cannot be read is told as an event.

        Raises:
            ConnectionLost, JobCancelled, MachineError: as ``ssh.stream_command``.
        """
        stored = self._folder.stored
        if run_command is None:
            self._out.event(ReadEventKind.UNREADABLE, stored, TOO_LONG)
            return
        ended: list[CommandResult] = []
        blocks = _kept_end(run_command(deep.command(self._folder.remote)), ended)
        tar = deep.TarStream(blocks)
        try:
            for member in tar.members():
                self._out.idle()
                path = self._path_of(member)
                if path is not None:
                    self._take(path, member, tar)
            for _rest in blocks:
                pass
        except deep.Refused:
            self._out.event(ReadEventKind.UNREADABLE, stored, TOO_LONG)
            return
        # Source: GNU tar manual, «Return Codes»: 1 when a file changed as it was read.
        if ended and ended[0].exit_code == 1:
            reason = "something in it was written to meanwhile"
            self._out.event(ReadEventKind.CHANGED_WHILE_READ, stored, reason)
        elif not ended or ended[0].exit_code:
            self._out.event(ReadEventKind.UNREADABLE, stored, "part of it could not be read")

    def _path_of(self, member: deep.Member) -> bytes | None:
        """Return the path to store; None for the folder itself, what is excluded, what came before."""
        if not member.name:
            return None
        path = self._folder.stored + b"/" + member.name
        parent, _slash, name = path.rpartition(b"/")
        if parent in self._left_out or self._excluded(path, name):
            self._left_out.add(path)
            return None
        if path in self._taken:
            self._out.event(ReadEventKind.NAME_REFUSED, parent, "a name that is there twice")
            return None
        self._taken.add(path)
        return path

    def _take(self, path: bytes, member: deep.Member, tar: deep.TarStream) -> None:
        out = self._out
        previous = out.archive.previous(path)
        mtime_ns = min(member.mtime, self._latest_s) * NS_PER_S
        meta = Meta(member.mode, mtime_ns, member.uid, member.gid, member.owner, member.group)
        if member.mode == 0:  # another name of a file that was before it
            known = self._files.get(member.target)
            stored = known and out.archive.keep(known[1].chunks)
            if not known or not stored:
                raise deep.Refused("link")
            out.files_seen += 1
            out.add_file(path, known[0], stored, previous)
        elif stat.S_ISREG(member.mode):
            out.files_seen += 1
            stored = out.archive.store(self._counted(tar.content()), path, meta)
            self._files[member.name] = (meta, stored)
            out.add_file(path, meta, stored, previous)
        elif stat.S_ISDIR(member.mode):
            out.add_other(path, meta, None, previous)
        elif stat.S_ISLNK(member.mode):
            out.add_other(path, meta, member.target, previous)
        else:
            out.event(ReadEventKind.SKIPPED_SPECIAL, path, "socket, device or pipe")
            out.lost(path)

    def _counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._out.done_bytes += len(block)
            self._out.idle()
            yield block


def _kept_end(
    output: Generator[bytes, None, CommandResult], ended: list[CommandResult]
) -> Iterator[bytes]:
    ended.append((yield from output))
