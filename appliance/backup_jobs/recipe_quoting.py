"""From a recipe's command and its values to what is sent to a machine. Pure.

A value is never put into the text of a command: it becomes a shell variable (``$v_name``), assigned
from a quoted literal, so that it cannot be read as part of the program. On Linux and macOS the whole
script goes down the standard input of ``/bin/sh``: neither a value nor a secret is in the argument
list of any process, there or here. On Windows it travels as ``-EncodedCommand``.
"""

import re
import shlex
from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.vault.secret import Secret

#: What is asked of sshd on Linux and macOS, whatever login shell the account has.
POSIX_SHELL: Final = "exec /bin/sh -s"
#: cmd.exe, the usual default shell of Windows' OpenSSH, takes no longer line.
#: Source: learn.microsoft.com, «Command prompt line string limitation».
WINDOWS_LINE_CHARS: Final = 8191
_PLAIN: Final = re.compile(r"[A-Za-z0-9 _.:/\\-]*")


def posix_script(body: str, values: Mapping[str, str], secret: Secret | None = None) -> bytes:
    """Return what goes down the standard input of POSIX_SHELL.

    The body is a function called by the last line: a script that was cut on its way does nothing.
    Its commands have an empty standard input. The secret is ``$v_secret``, not exported.
    """
    lines = [
        _assignment(name, value.encode("utf-8", "surrogateescape"))
        for name, value in values.items()
    ]
    lines.append(_assignment("secret", b"" if secret is None else secret.reveal()))
    main = [b"armoire_main() {", body.encode(), b"}", b"armoire_main </dev/null", b"exit $?", b""]
    return b"\n".join(lines + main)


def held_script(before: str, after: str, values: Mapping[str, str]) -> bytes:
    """Return a script that runs ``before``, holds until its standard input ends, then runs ``after``.

    The input ends when the box says so, but also when the box dies or the line is cut: the machine
    itself makes its application run again. Says «armoire before N» and «armoire after N» (exit codes).
    """
    lines = [
        _assignment(name, value.encode("utf-8", "surrogateescape"))
        for name, value in values.items()
    ]
    main = [
        b"armoire_before() {", before.encode(), b"}",
        b"armoire_after() {", after.encode(), b"}",
        b"armoire_main() {",
        b'(armoire_before) </dev/null >/dev/null; echo "armoire before $?"',
        b"cat >/dev/null",
        b"(armoire_after) </dev/null >/dev/null; armoire_end=$?",
        b'echo "armoire after $armoire_end" 2>/dev/null; exit $armoire_end',
        b"}",
        # What «sh -s» reads ahead of its input is the script; the rest is what cat waits for.
        b"trap '' PIPE; armoire_main",
        b"",
    ]  # fmt: skip
    return b"\n".join(lines + main)


def windows_command(body: str, values: Mapping[str, str]) -> str:
    """Return the command line that runs the PowerShell ``body``.

    Raises:
        InvalidInput: it would be longer than Windows takes.
    """
    lines = ["$ErrorActionPreference='Stop'; $ProgressPreference='SilentlyContinue'"]
    lines += [f"$v_{name} = {powershell_literal(value)}" for name, value in values.items()]
    encoded = b64encode("\n".join([*lines, body]).encode("utf-16-le")).decode("ascii")
    line = f"powershell.exe -NoProfile -NonInteractive -EncodedCommand {encoded}"
    if len(line) > WINDOWS_LINE_CHARS:
        raise InvalidInput("windows", mark("The command and its values are too long for Windows."))
    return line


def powershell_literal(value: str) -> str:
    """Return ``value`` as a PowerShell expression that can be nothing but this text.

    PowerShell takes five characters for a single quote (U+0027, U+2018 to U+201B), so anything but
    plain letters goes as base64. Source: PowerShell language specification, 2.3.5.2.
    """
    if _PLAIN.fullmatch(value):
        return f"'{value}'"
    encoded = b64encode(value.encode("utf-16-le", "surrogatepass")).decode("ascii")
    return f"[Text.Encoding]::Unicode.GetString([Convert]::FromBase64String('{encoded}'))"


def stream_name(item: str) -> str:
    """Return ``item`` (the name of a database) as one part of a path: «/», «%» and dots alone are escaped."""
    safe = "".join(
        f"%{byte:02X}" if (char := chr(byte)) in "/%\\" or byte < 32 or byte == 127 else char
        for byte in item.encode("utf-8", "surrogateescape")
    )
    # Bytes above 127 were taken one by one: put them together again.
    text = safe.encode("latin-1").decode("utf-8", "surrogateescape")
    return {"": "%", ".": "%2E", "..": "%2E%2E"}.get(text, text)


def _assignment(name: str, value: bytes) -> bytes:
    if b"\0" in value:
        raise InvalidInput(name, mark("A value holds no NUL."))
    quoted = shlex.quote(value.decode("latin-1")).encode("latin-1")
    # Unset first: a variable of that name in the account's environment would stay exported.
    return b"unset v_%s; v_%s=%s" % (name.encode(), name.encode(), quoted)
