"""The process that makes previews: ``python -m appliance.worker.preview_main``. Started by the worker.

It holds no key, opens no database and no file of a share: files come to it open.
"""

import argparse
import signal
import sys
from pathlib import Path

from appliance.disk.preview import sandbox
from appliance.disk.preview.server import IDLE_S, Server
from appliance.settings import load
from appliance.worker import log


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="armoire-preview", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="data folder of the box")
    parser.add_argument(
        "--idle", type=float, default=IDLE_S, help="seconds until it is small again"
    )
    parser.add_argument("--listening", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    settings = load(given.data)
    log.set_up(settings.log_level)
    server = Server(settings.preview_socket, listening=given.listening, idle_s=given.idle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    if given.listening is None:
        sandbox.leave_the_network()
    sandbox.drop_powers()
    again = [sys.executable, "-m", "appliance.worker.preview_main"]
    return server.serve([*again, "--data", str(settings.data), "--idle", str(given.idle)])


if __name__ == "__main__":
    raise SystemExit(main())
