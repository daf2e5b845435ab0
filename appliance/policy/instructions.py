"""The two or three lines a person runs on a machine so that the box may read it.

Pure texts: the pages, the command line and the jobs show the same ones.
The key is good for reading files only; where a recipe must run commands, for that too, never for a
terminal, a tunnel or an agent. Source: sshd(8), «AUTHORIZED_KEYS FILE FORMAT», ``restrict``.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.errors import InvalidInput
from appliance.language import Language, mark, translate
from appliance.model import System

_KEY: Final = re.compile(
    r"(ssh-ed25519|ecdsa-sha2-nistp256|ssh-rsa) [A-Za-z0-9+/]+={0,2}( [\w.@-]+)?"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do on the machine."""

    text: str  # English template, translated where it is shown
    lines: tuple[str, ...] = ()  # to paste as they are; none: a thing to click

    def words(self, language: Language) -> str:
        """Return what to do."""
        return translate(self.text, language)


def authorized_key(public_key: str, *, runs_commands: bool) -> str:
    """Return the line of ``authorized_keys`` that lets the box in, and for nothing else.

    Raises:
        InvalidInput: it is no public key line, so it could smuggle another option in.
    """
    if not _KEY.fullmatch(public_key.strip()):
        raise InvalidInput("public_key", mark("a line «ssh-ed25519 AAAA…»."))
    options = "restrict" if runs_commands else 'restrict,command="internal-sftp"'
    return f"{options} {public_key.strip()}"


def steps(
    system: System,
    public_key: str,
    *,
    user: str,
    roots: Sequence[str] = (),
    runs_commands: bool = False,
) -> list[Step]:
    """Return what to do on a machine that the box will read over SSH, in order.

    Args:
        system: of the machine.
        public_key: of the box for this machine, one line.
        user: the account under which the box comes.
        roots: the folders it will read, as the machine names them.
        runs_commands: a recipe must run commands there (a dump, a shadow copy).

    Raises:
        InvalidInput: the key is no key.
    """
    key = authorized_key(public_key, runs_commands=runs_commands)
    match system:
        case System.LINUX:
            return _linux(key, user, roots)
        case System.MACOS:
            return _macos(key, user)
        case System.WINDOWS:
            return _windows(key, user)


def _linux(key: str, user: str, roots: Sequence[str]) -> list[Step]:
    name = shlex.quote(user)
    found = [
        Step(
            mark("Make sure that the SSH server is installed, and that the account exists:"),
            (
                "sudo apt-get install -y openssh-server acl",
                f"id {name} || sudo useradd --system --create-home --shell /bin/sh {name}",
            ),
        ),
        Step(
            mark("Let the box in, for files only:"),
            (
                f"sudo -u {name} mkdir -p -m 700 ~{user}/.ssh",
                f"echo {shlex.quote(key)} | sudo -u {name} tee -a ~{user}/.ssh/authorized_keys",
            ),
        ),
    ]
    if user != "root" and roots:
        folders = " ".join(shlex.quote(root) for root in roots)
        found.append(
            Step(
                mark("Let this account read the folders, those to come included:"),
                (
                    f"sudo setfacl -R -m u:{name}:rX {folders}",
                    f"sudo setfacl -R -d -m u:{name}:rX {folders}",
                ),
            )
        )
    return found


def _macos(key: str, user: str) -> list[Step]:
    return [
        Step(
            mark(
                "In System Settings, General, Sharing: switch on «Remote Login», and in its details"
                " «Allow full disk access for remote users»."
            )
        ),
        Step(
            mark("Let the box in, for files only:"),
            (
                f"sudo -u {shlex.quote(user)} mkdir -p -m 700 ~{user}/.ssh",
                (
                    f"echo {shlex.quote(key)} | sudo -u {shlex.quote(user)} tee -a"
                    f" ~{user}/.ssh/authorized_keys"
                ),
            ),
        ),
        Step(
            mark(
                "In System Settings, Energy: keep the Mac awake, or let it wake for network access."
            )
        ),
    ]


def _windows(key: str, user: str) -> list[Step]:
    quoted = key.replace("'", "''")
    account = user.replace("'", "''")
    return [
        Step(
            mark("Open PowerShell as administrator, and install the SSH server of Windows:"),
            (
                "Add-WindowsCapability -Online -Name OpenSSH.Server~~~~0.0.1.0",
                "Set-Service sshd -StartupType Automatic; Start-Service sshd",
                # Not on the hotel's network: the capability opens the port on every profile.
                "Set-NetFirewallRule -Name OpenSSH-Server-In-TCP -Profile Private -Enabled True",
            ),
        ),
        Step(
            mark("Let the box in. If the account is an administrator (shadow copies need it):"),
            (
                f"Add-Content \"$env:ProgramData\\ssh\\administrators_authorized_keys\" '{quoted}'",
                # By number: the groups have other names on a French Windows.
                (
                    'icacls "$env:ProgramData\\ssh\\administrators_authorized_keys" /inheritance:r'
                    ' /grant "*S-1-5-32-544:F" "*S-1-5-18:F"'
                ),
            ),
        ),
        Step(
            mark("Or, if it is an ordinary account:"),
            (
                f"New-Item -ItemType Directory -Force 'C:\\Users\\{account}\\.ssh'",
                f"Add-Content 'C:\\Users\\{account}\\.ssh\\authorized_keys' '{quoted}'",
            ),
        ),
    ]
