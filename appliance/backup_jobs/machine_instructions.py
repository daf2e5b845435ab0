"""What a person runs on a machine so that the box may read it: two or three lines for each system. Pure.

The key is restricted as far as the source's recipes allow: no terminal, no forwarding, and, where no
recipe runs a command, nothing but reading files.

Sources: sshd(8) AUTHORIZED_KEYS FILE FORMAT («restrict»), sftp-server(8) («-R»); Microsoft, «Get started
with OpenSSH for Windows», «Key-based authentication» (administrators_authorized_keys and its rights).
"""

import shlex
from dataclasses import dataclass
from typing import Final

from appliance.errors import InvalidInput
from appliance.language import Language, mark, translate
from appliance.model import Source, System

#: The account made on Linux when the source names no other.
ACCOUNT: Final = "armoire"
_READ_ONLY: Final = 'restrict,command="internal-sftp -R"'


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to do: where, what to copy, and why."""

    why: str  # in the reader's language
    command: str  # empty: the words say what to do


def instructions(
    source: Source, public_key: str, language: Language, *, needs_commands: bool = False
) -> tuple[Line, ...]:
    """Return what to do on the machine, in order. Each line may be run twice without harm.

    Args:
        source: its system, account and roots.
        public_key: «ssh-ed25519 AAAA… comment», the box's for this machine.
        language: of the words.
        needs_commands: whether a recipe runs commands there; else the key may only read files.

    Raises:
        InvalidInput: the key or a root holds a line end or a quote that no shell would take.
    """
    if len(public_key.split()) < 2 or set(public_key) & set("'\"\n\\"):
        raise InvalidInput("public_key", mark("One line «ssh-ed25519 AAAA…» is needed."))
    if any("\n" in root or "\0" in root for root in source.roots):
        raise InvalidInput("roots", mark("A path holds a line end."))
    lines: list[tuple[str, str]] = []
    match source.system:
        case System.LINUX:
            lines = _linux(source, public_key, needs_commands=needs_commands)
        case System.MACOS:
            lines = _macos(source, public_key, needs_commands=needs_commands)
        case System.WINDOWS:
            lines = _windows(public_key)
    return tuple(Line(translate(why, language), command) for why, command in lines)


def _authorized(public_key: str, *, needs_commands: bool) -> str:
    return f"{'restrict' if needs_commands else _READ_ONLY} {public_key}"


def _let_in(*, needs_commands: bool) -> str:
    if needs_commands:
        return mark("Let the box in: it reads files, and runs the commands of its recipes.")
    return mark("Let the box in, for reading only.")


def _linux(source: Source, public_key: str, *, needs_commands: bool) -> list[tuple[str, str]]:
    key = shlex.quote(_authorized(public_key, needs_commands=needs_commands))
    user = source.user or ACCOUNT
    if user == "root":
        return [
            (mark("Install the SSH server."), "sudo apt install -y openssh-server"),
            (_let_in(needs_commands=needs_commands), _append("/root/.ssh", key)),
        ]
    name = shlex.quote(user)
    home = shlex.quote(f"/var/lib/{user}") if user == ACCOUNT else f"~{name}"
    roots = " ".join(shlex.quote(root) for root in source.roots)
    make = (
        f"id {name} >/dev/null 2>&1 || "
        f"sudo useradd --system --create-home --home-dir {home} --shell /bin/sh {name}"
    )
    return [
        (
            mark("Install the SSH server, and make an account for the box."),
            f"sudo apt install -y openssh-server acl; {make}",
        ),
        (_let_in(needs_commands=needs_commands), _append(f"{home}/.ssh", key, owner=name)),
        (
            mark("Let that account read these folders, now and what will be added to them."),
            f"sudo setfacl -R -m u:{name}:rX -m d:u:{name}:rX -- {roots}",
        ),
    ]


def _append(folder: str, key: str, owner: str = "root") -> str:
    file = f"{folder}/authorized_keys"
    return (
        f"sudo install -d -m 700 -o {owner} {folder} && "
        f"{{ sudo grep -qxF {key} {file} 2>/dev/null || echo {key} | sudo tee -a {file} >/dev/null; }} && "
        f"sudo chown {owner} {file} && sudo chmod 600 {file}"
    )


def _macos(source: Source, public_key: str, *, needs_commands: bool) -> list[tuple[str, str]]:
    key = shlex.quote(_authorized(public_key, needs_commands=needs_commands))
    home = f"~{shlex.quote(source.user)}" if source.user else "~"
    file = f"{home}/.ssh/authorized_keys"
    return [
        (
            mark(
                "System Settings, General, Sharing: switch on «Remote Login», and under its «i» "
                "«Allow full disk access for remote users»."
            ),
            "",
        ),
        (
            _let_in(needs_commands=needs_commands),
            (
                f"mkdir -p {home}/.ssh && chmod 700 {home}/.ssh && "
                f"{{ grep -qxF {key} {file} 2>/dev/null || echo {key} >> {file}; }} && chmod 600 {file}"
            ),
        ),
        (
            mark(
                "If folders stay unreadable: Privacy & Security, Full Disk Access, add "
                "/usr/libexec/sshd-keygen-wrapper."
            ),
            "",
        ),
    ]


def _windows(public_key: str) -> list[tuple[str, str]]:
    # Rights by number: the groups have other names on a French Windows.
    file = "$env:ProgramData\\ssh\\administrators_authorized_keys"
    key = f"'restrict {public_key}'"  # no quote in it, checked above
    return [
        (
            mark("In PowerShell as administrator: install the SSH server, started with Windows."),
            (
                "Add-WindowsCapability -Online -Name OpenSSH.Server~~~~0.0.1.0; "
                "Set-Service sshd -StartupType Automatic; Start-Service sshd"
            ),
        ),
        (
            mark("Open its port on the practice's own network only."),
            "Set-NetFirewallRule -Name OpenSSH-Server-In-TCP -Profile Private -Enabled True",
        ),
        (
            mark("Let the box in, with an administrator's account."),
            (
                f"Add-Content -Encoding ascii -Path {file} -Value {key}; "
                f"icacls.exe {file} /inheritance:r /grant '*S-1-5-32-544:F' /grant '*S-1-5-18:F'"
            ),
        ),
    ]
