"""Asking the helper that runs as root: four calls over its socket. The worker's account alone may.

The formats are in docs/formats/smb-helper.md.
"""

import json
import socket
from pathlib import Path
from typing import Any, Final

from appliance.disk.smb_config import SmbPlan
from appliance.disk.smb_samba_facts import Applied, SmbSession
from appliance.errors import InvalidInput, SmbFailed, SmbHelperMissing
from appliance.language import mark
from appliance.model import Person
from appliance.settings import Settings
from appliance.vault.secret import Secret

CALL_S: Final = 120.0  # seconds; accounts are made one after the other
MOST_BYTES: Final = 4 * 1024 * 1024


def helper_socket(settings: Settings) -> Path:
    """Return where the helper listens."""
    return Path(settings.smb_run) / "helper.sock"


def audit_log(settings: Settings) -> Path:
    """Return where Samba writes who did what."""
    return Path(settings.smb_run) / "audit" / "audit.log"


def is_set_up(settings: Settings) -> bool:
    """Return whether this box has the helper at all."""
    return helper_socket(settings).is_socket()


def apply(settings: Settings, plan: SmbPlan) -> Applied:
    """Make Samba know exactly this plan.

    Raises:
        SmbHelperMissing, SmbFailed.
    """
    done = _call(settings, {"verb": "apply", "plan": plan.to_json()})
    return Applied(
        bool(done["is_changed"]),
        tuple(done["addresses"]),
        tuple(done["left_out"]),
        int(done["cut"]),
        str(done["mark"]),
    )


def set_password(settings: Settings, person: Person, password: Secret) -> None:
    """Give a person the password of the file explorer.

    Raises:
        SmbHelperMissing, SmbFailed, InvalidInput.
    """
    words = password.reveal().decode()
    _call(
        settings,
        {"verb": "password", "person": person.id, "login": person.login, "password": words},
    )


def forget(settings: Settings, person: Person) -> None:
    """Remove a person's password of the file explorer, and end their sessions.

    Raises:
        SmbHelperMissing, SmbFailed.
    """
    _call(settings, {"verb": "forget", "person": person.id, "login": person.login})


def sessions(settings: Settings) -> list[SmbSession]:
    """Return who is connected by the file explorer now.

    Raises:
        SmbHelperMissing, SmbFailed.
    """
    done = _call(settings, {"verb": "status"})
    return [SmbSession(**{**each, "shares": tuple(each["shares"])}) for each in done["sessions"]]


def _call(settings: Settings, request: dict[str, object]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(CALL_S)
        try:
            channel.connect(str(helper_socket(settings)))
            channel.sendall(json.dumps(request).encode() + b"\n")
            line = b""
            while not line.endswith(b"\n"):
                block = channel.recv(65536)
                if not block or len(line) > MOST_BYTES:
                    raise SmbHelperMissing
                line += block
        except OSError as error:
            raise SmbHelperMissing from error
    answer: dict[str, Any] = json.loads(line)
    match answer.get("error"):
        case None:
            done: dict[str, Any] = answer["done"]
            return done
        case "input.invalid":
            raise InvalidInput("smb", mark("This is not a plan for Samba."))
        case _:
            raise SmbFailed(str(answer["facts"]["program"]), int(answer["facts"]["exit_code"]))
