"""Asking an SSH server for its identity; nothing else is sent to it, and nothing is believed by looking."""

import socket
from typing import Final

from appliance.errors import TargetUnreachable
from appliance.policy.place import fingerprint

PROBE_S: Final = 10.0  # seconds


def probe(host: str, port: int, *, timeout_s: float = PROBE_S) -> tuple[str, str]:
    """Return the host key that a place shows («ssh-ed25519 AAAA…») and its fingerprint.

    ed25519 is asked for first, then what the host has.

    Raises:
        TargetUnreachable: no answer, or no SSH there.
    """
    import paramiko  # noqa: PLC0415 - a tenth of a second that other jobs need not pay

    label = f"{host}:{port}"
    try:
        connection = socket.create_connection((host, port), timeout=timeout_s)
    except socket.gaierror as error:
        raise TargetUnreachable(label, "this name is not known") from error
    except TimeoutError as error:
        raise TargetUnreachable(label, "no answer") from error
    except OSError as error:
        raise TargetUnreachable(label, "nothing listens there") from error
    transport = None
    try:
        transport = paramiko.Transport(connection)
        options = transport.get_security_options()
        first = [kind for kind in options.key_types if kind == "ssh-ed25519"]
        options.key_types = first + [kind for kind in options.key_types if kind not in first]
        transport.start_client(timeout=timeout_s)
        found = transport.get_remote_server_key()
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise TargetUnreachable(label, "no SSH server") from error
    finally:
        if transport is not None:
            transport.close()
        connection.close()
    line = f"{found.get_name()} {found.get_base64()}"
    return line, fingerprint(line)
