"""The process that makes previews: ``python -m appliance.worker.preview_main``. Started by the worker.

It holds no key, opens no database and no file of a share: files come to it open.
"""

import argparse
import signal
import sys
from pathlib import Path

from appliance.disk.preview import sandbox
from appliance.disk.preview.server import Server
from appliance.settings import load
from appliance.worker import log


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="armoire-preview", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="data folder of the box")
    parser.add_argument("--listening", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    settings = load(given.data)
    log.set_up(settings.log_level)
    server = Server(settings.preview_socket, listening=given.listening)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    if given.listening is None:
        sandbox.leave_the_network()
    sandbox.drop_powers()
    data = str(settings.data)
    return server.serve([sys.executable, "-m", "appliance.worker.preview_main", "--data", data])


if __name__ == "__main__":
    raise SystemExit(main())
