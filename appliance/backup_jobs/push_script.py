"""The installation script for a machine that pushes by itself (Linux, macOS): Borg and a timer.

Printed by the box, run by a person on the machine, safe to run again. The passphrase is read from
the terminal or from standard input into a file only root may read; it is never an argument.
"""

import shlex
from dataclasses import dataclass
from typing import Final

from appliance.backup_jobs.sources.defaults import DEFAULT_EXCLUDES
from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.model import Repository, Source, System


@dataclass(frozen=True, slots=True)
class PushAddress:
    """Where the machine finds the box."""

    host: str
    port: int
    user: str  # the account of the box whose keys are ours
    host_key: str  # «ssh-ed25519 AAAA…» of the box, pinned on the machine


def push_script(source: Source, repository: Repository, address: PushAddress) -> str:
    """Return the script to run as root on the machine.

    It asks for the passphrase once, makes a key, prints its public half, and starts a timer in the
    plan's window. ``ARMOIRE_PREFIX`` in its environment puts everything under another folder and
    starts no timer (for a trial).

    Raises:
        InvalidInput: there is no such script for Windows.
    """
    if source.system is System.WINDOWS:
        raise InvalidInput("system", mark("Borg does not run on Windows: let the box pull."))
    url = f"ssh://{address.user}@{address.host}:{address.port}{repository.path}"
    known = address.host if address.port == 22 else f"[{address.host}]:{address.port}"
    excludes = (*_defaults(source), *source.excludes)
    if any("\n" in text for text in (url, address.host_key, *excludes, *source.roots)):
        raise InvalidInput("roots", mark("A path of a pushed machine holds no line end."))
    hour, minute = source.plan.window_start.split(":")
    values = {
        "SOURCE": str(source.id),
        "KNOWN": f"{known} {address.host_key}",
        "HOUR": str(int(hour)),
        "MINUTE": str(int(minute)),
    }
    arguments = [
        *(f"--exclude {shlex.quote(pattern)}" for pattern in excludes),
        f'"::{source.id}-$(date -u +%Y%m%dT%H%M%SZ)"',
        *(shlex.quote(root) for root in source.roots),
    ]
    push = _PUSH.replace("@URL@", shlex.quote(url)).replace("@ARGUMENTS@", " ".join(arguments))
    timer = _LAUNCHD if source.system is System.MACOS else _SYSTEMD
    return "\n".join(
        [
            "#!/bin/sh",
            *(f"{name}={shlex.quote(value)}" for name, value in values.items()),
            _HEAD,
            "cat >\"$PLACE/push.sh\" <<'EOF_PUSH'",
            push.strip("\n"),
            "EOF_PUSH",
            'chmod 700 "$PLACE/push.sh"',
            timer,
            _TAIL,
        ]
    )


def _defaults(source: Source) -> list[str]:
    """Return the usual excludes without those that a root lies in: what was asked for is read."""
    return [
        pattern
        for pattern in DEFAULT_EXCLUDES[source.system]
        if not any(
            pattern.startswith("pp:") and f"{root.strip('/')}/".startswith(f"{pattern[3:]}/")
            for root in source.roots
        )
    ]


_HEAD: Final = r"""
set -eu
umask 077
PREFIX=${ARMOIRE_PREFIX:-}
PLACE=$PREFIX/etc/armoire-push
if [ -z "$PREFIX" ] && [ "$(id -u)" != 0 ]; then
  echo 'Lancez ce script avec sudo. / Run this script with sudo.' >&2; exit 1
fi
if ! command -v borg >/dev/null 2>&1; then
  echo 'Installez Borg d abord (apt install borgbackup, brew install borgbackup). / Install Borg first.' >&2; exit 1
fi
BORG=$(command -v borg)
mkdir -p "$PLACE/borg"

# The passphrase: from the terminal without echo, or from standard input. Kept if given before.
if [ ! -s "$PLACE/passphrase" ]; then
  printf 'Phrase de passe du dépôt / Passphrase of the repository: ' >&2
  if [ -t 0 ]; then stty -echo; trap 'stty echo' EXIT; fi
  IFS= read -r PASS
  if [ -t 0 ]; then stty echo; trap - EXIT; fi
  echo >&2
  [ -n "$PASS" ] || { echo 'Rien reçu. / Nothing given.' >&2; exit 1; }
  printf '%s\n' "$PASS" >"$PLACE/passphrase.new"
  mv "$PLACE/passphrase.new" "$PLACE/passphrase"
  unset PASS
fi
[ -s "$PLACE/key" ] || ssh-keygen -q -t ed25519 -N '' -C "armoire-push-$SOURCE" -f "$PLACE/key"
printf '%s\n' "$KNOWN" >"$PLACE/known_hosts"

printf "BORG='%s'\n" "$BORG" >"$PLACE/place"
"""

_PUSH: Final = r"""
#!/bin/sh
umask 077
PLACE=$(cd "$(dirname "$0")" && pwd)
. "$PLACE/place"
export BORG_BASE_DIR="$PLACE/borg"
export BORG_REPO=@URL@
export BORG_PASSCOMMAND="cat '$PLACE/passphrase'"
export BORG_RSH="ssh -F none -i '$PLACE/key' -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile='$PLACE/known_hosts' -o ServerAliveInterval=15"
export BORG_RELOCATED_REPO_ACCESS_IS_OK=no BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=no
export BORG_EXIT_CODES=legacy
"$BORG" create --compression zstd,3 --lock-wait 600 --checkpoint-interval 300 @ARGUMENTS@
CODE=$?
# 1: done, but some files could not be read.
[ "$CODE" -eq 1 ] && exit 0
exit "$CODE"
"""

_SYSTEMD: Final = r"""
if [ -z "$PREFIX" ]; then
  cat >/etc/systemd/system/armoire-push.service <<EOF_UNIT
[Unit]
Description=Armoire: push to the box
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
ExecStart=$PLACE/push.sh
Nice=10
IOSchedulingClass=idle
PrivateTmp=yes
EOF_UNIT
  cat >/etc/systemd/system/armoire-push.timer <<EOF_UNIT
[Unit]
Description=Armoire: every evening, or when next switched on
[Timer]
OnCalendar=*-*-* $HOUR:$MINUTE:00
RandomizedDelaySec=15min
Persistent=true
[Install]
WantedBy=timers.target
EOF_UNIT
  chmod 644 /etc/systemd/system/armoire-push.service /etc/systemd/system/armoire-push.timer
  systemctl daemon-reload
  systemctl enable --now armoire-push.timer
fi
"""

_LAUNCHD: Final = r"""
if [ -z "$PREFIX" ]; then
  cat >/Library/LaunchDaemons/org.armoire.push.plist <<EOF_PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>Label</key><string>org.armoire.push</string>
<key>ProgramArguments</key><array><string>$PLACE/push.sh</string></array>
<key>StartCalendarInterval</key><dict><key>Hour</key><integer>$HOUR</integer><key>Minute</key><integer>$MINUTE</integer></dict>
<key>LowPriorityIO</key><true/><key>Nice</key><integer>10</integer>
</dict></plist>
EOF_PLIST
  chmod 644 /Library/LaunchDaemons/org.armoire.push.plist
  launchctl bootout system/org.armoire.push 2>/dev/null || true
  launchctl bootstrap system /Library/LaunchDaemons/org.armoire.push.plist
  echo 'macOS: donnez l accès complet au disque à borg (Réglages > Confidentialité). / Give borg Full Disk Access.' >&2
fi
"""

_TAIL: Final = r"""
echo 'Clé à donner à l armoire / Key to give to the box:' >&2
cat "$PLACE/key.pub"
"""
