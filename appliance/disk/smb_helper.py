"""The only part of the disk that runs as root: ``python -m appliance.disk.smb_helper``, behind one socket.

It listens on a Unix socket that the worker's account alone may open (asked of the kernel again for every
call), and knows four verbs. What a verb may carry is checked field by field (``smb_config.from_json``): the
worker chooses who reads which share, never a path outside the shares' folders, an option of Samba, a program
or an account that is not ``armoire-p<number>``.

One line of JSON in, one line of JSON out (docs/formats/smb-helper.md).
"""

import argparse
import json
import logging
import os
import pwd
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from appliance.disk.smb_config import Places, SmbPerson, check_unix_name, from_json
from appliance.disk.smb_samba import Samba
from appliance.errors import ArmoireError, InvalidInput, SmbFailed
from appliance.language import mark
from appliance.vault.secret import Secret

MOST_BYTES: Final = 1024 * 1024
#: Bytes of a password; Samba itself takes 127 letters.
LONGEST_PASSWORD: Final = 127
CALL_S: Final = 60.0  # seconds for one call to arrive
IDLE_S: Final = 120.0  # seconds without a call until it ends, where systemd starts it again
_FIRST_DESCRIPTOR: Final = 3  # sd_listen_fds(3)

_log = logging.getLogger("armoire.smb")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until nobody called for IDLE_S (started by systemd), or for ever (``--socket``)."""
    parser = argparse.ArgumentParser(prog="armoire-smb")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--owner", type=check_unix_name, required=True)
    parser.add_argument("--group", type=check_unix_name, required=True)
    parser.add_argument("--root", type=Path, action="append", required=True)
    parser.add_argument("--versions", type=Path)
    parser.add_argument("--avahi", type=Path)
    parser.add_argument("--port", type=int, default=445)
    parser.add_argument("--peer", type=check_unix_name, action="append", required=True)
    parser.add_argument("--unit", help="of smbd")
    parser.add_argument("--socket", type=Path, help="where no systemd gives one")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    os.umask(0o077)
    places = Places(
        base=given.base,
        run=given.run,
        owner=given.owner,
        group=given.group,
        roots=tuple(given.root),
        versions=given.versions,
        port=given.port,
        avahi=given.avahi,
    )
    peers = frozenset(pwd.getpwnam(each).pw_uid for each in given.peer)
    samba = Samba(places, given.unit)
    if given.socket is not None:
        with socket.socket(socket.AF_UNIX) as server:
            given.socket.unlink(missing_ok=True)
            server.bind(str(given.socket))
            server.listen()
            serve(server, samba, peers, idle_s=None)
    else:
        with socket.socket(fileno=_FIRST_DESCRIPTOR) as server:
            serve(server, samba, peers, idle_s=IDLE_S)
    return 0


def serve(
    server: socket.socket, samba: Samba, peers: frozenset[int], *, idle_s: float | None
) -> None:
    """Answer one call after the other."""
    while True:
        server.settimeout(idle_s)
        try:
            channel, _ = server.accept()
        except TimeoutError:
            return
        with channel:
            channel.settimeout(CALL_S)
            try:
                if _caller(channel) not in peers:
                    _log.error("a caller that is not the worker was refused")
                    continue
                answer = _answer(samba, _read(channel))
                channel.sendall(json.dumps(answer).encode() + b"\n")
            except OSError as error:
                _log.error("a call broke off: %s", type(error).__name__)


def answer(samba: Samba, request: Mapping[str, Any]) -> dict[str, object]:
    """Do what a request says and return what to answer.

    Raises:
        InvalidInput: the request is not one of ours.
        SmbFailed: Samba refused.
    """
    fields = {key for key in request if key != "verb"}
    match request.get("verb"):
        case "apply" if fields == {"plan"}:
            return asdict(samba.apply(from_json(request["plan"])))
        case "password" if fields == {"person", "login", "password"}:
            password = request["password"]
            if (
                not isinstance(password, str)
                or not 8 <= len(password) <= LONGEST_PASSWORD
                or not password.isprintable()
            ):
                raise InvalidInput("password", mark("Samba cannot take this password."))
            samba.set_password(
                _person(request["person"], request["login"]), Secret(password.encode())
            )
            return {}
        case "forget" if fields == {"person", "login"}:
            samba.forget(_person(request["person"], request["login"]))
            return {}
        case "status" if not fields:
            return {
                "is_running": samba.is_running(),
                "sessions": [asdict(each) for each in samba.sessions()],
            }
        case _:
            raise InvalidInput("verb", mark("This is not a plan for Samba."))


def _answer(samba: Samba, line: bytes) -> dict[str, object]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise InvalidInput("verb", mark("This is not a plan for Samba."))
        done = answer(samba, request)
    except ArmoireError as error:
        _log.error("refused: %s", error.code)
        facts = {"program": "", "exit_code": 0}
        if isinstance(error, SmbFailed):
            facts = {"program": error.program, "exit_code": error.exit_code}
        return {"error": error.code, "facts": facts}
    except (ValueError, OSError, KeyError) as error:
        _log.error("failed: %s", type(error).__name__)
        return {"error": "smb.failed", "facts": {"program": type(error).__name__, "exit_code": 0}}
    _log.info("done: %s", request["verb"])
    return {"done": done}


def _person(person_id: object, login: object) -> SmbPerson:
    plan = from_json(
        {
            "name": "ARMOIRE",
            "description": "",
            "networks": [],
            "people": [{"id": person_id, "login": login}],
            "shares": [],
        }
    )
    return plan.people[0]


def _caller(channel: socket.socket) -> int:
    """Return the user number of who called, as the kernel saw it. Source: unix(7), SO_PEERCRED."""
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _read(channel: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        block = channel.recv(65536)
        if not block or len(data) > MOST_BYTES:
            raise ConnectionError
        data += block
    return data


if __name__ == "__main__":
    sys.exit(main())
