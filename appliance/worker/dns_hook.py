"""The administrator's program that enters DNS records: run with the worker's rights, so it must be root's own.

Which program is said in the settings only, never in the database that the web interface writes to; a program that
somebody else than root or the worker could have changed is not run. docs/decisions/0187.
"""

import os
import stat
from pathlib import Path
from typing import Final

from appliance.errors import HookFailed, ToolMissing, ToolTimeout
from appliance.process import run

TIMEOUT_S: Final = 300.0


def run_hook(program: str, verb: str, name: str, value: str) -> None:
    """Run ``program VERB NAME VALUE``; nothing of it is a secret.

    Args:
        program: absolute path.
        verb: ``add`` or ``remove``.
        name: ``_acme-challenge.…``
        value: of the TXT record.

    Raises:
        HookFailed: it is not safe to run, not there, took too long, or ended with an error.
    """
    place = check_program(Path(program))
    try:
        ended = run((str(place), verb, name, value), timeout_s=TIMEOUT_S, cwd="/")
    except (ToolMissing, ToolTimeout) as error:
        raise HookFailed(error.code) from error
    if ended.exit_code != 0:
        raise HookFailed(f"exit {ended.exit_code}")


def check_program(program: Path) -> Path:
    """Return where ``program`` lies, links followed; nobody but root and this account may have changed it.

    That is what is to be run: the folders of a link to it were not looked at.

    Raises:
        HookFailed: somebody may, or it is no program at an absolute path.
    """
    if not program.is_absolute():
        raise HookFailed("not an absolute path")
    try:
        place = program.resolve(strict=True)
        if not (place.is_file() and os.access(place, os.X_OK)):
            raise HookFailed("not a program")
        for each in (place, *place.parents):
            found = each.stat()
            is_shared = bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
            if found.st_mode & stat.S_ISVTX and each != place:
                is_shared = False  # /tmp: others' entries cannot be replaced there
            if found.st_uid not in {0, os.geteuid()} or is_shared:
                raise HookFailed("others may change it")
    except OSError as error:
        raise HookFailed(error.strerror or "unreadable") from error
    return place
