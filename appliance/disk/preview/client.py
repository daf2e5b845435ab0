"""Asking for a preview of an open file. Blocks: call it in a thread."""

import socket
from collections.abc import Sequence
from typing import Final

from appliance.disk.preview import protocol
from appliance.disk.preview.protocol import Answer, Malformed, Wanted
from appliance.disk.preview.reasons import WORDS
from appliance.errors import NotPreviewed, WorkerUnreachable
from appliance.settings import Settings

#: Seconds; the maker ends its own work after ``server.WALL_S``, and some may wait before us.
PATIENCE_S: Final = 60.0


def ask(settings: Settings, wanted: Wanted, files: Sequence[int]) -> Answer:
    """Return what the sandboxed process makes of ``files``.

    Args:
        settings: say where its socket is.
        wanted: what to make.
        files: descriptors of regular files, open for reading, one unless ``BRIEFS`` is wanted (then at most
            ``protocol.MOST_FILES``); they stay open and belong to the caller.

    Raises:
        NotPreviewed: it cannot be shown: unknown kind, damaged, too large, locked.
        WorkerUnreachable: nobody makes previews.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(PATIENCE_S)
        try:
            with protocol.address(settings.preview_socket) as place:
                channel.connect(place)
        except OSError as error:
            raise WorkerUnreachable from error
        try:
            protocol.send_request(channel, wanted, files)
            found = protocol.read_answer(channel)
        except (
            OSError,
            Malformed,
        ) as error:  # it was ended: too long, too large, or a fault of a decoder
            raise NotPreviewed(WORDS["broken"]) from error
    if isinstance(found, str):
        raise NotPreviewed(WORDS[found])
    return found
