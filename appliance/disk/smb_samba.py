"""Samba itself, with the rights of root: accounts, passwords, configuration, sessions. Only the helper calls it.

Every program gets its arguments as a list, names come out of ``smb_config``'s patterns, a password only ever
goes through standard input. A configuration is tried before it replaces the one in use, in one step.
"""

import json
import os
import pwd
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from appliance.disk.smb_config import (
    ACCOUNT,
    Places,
    SmbPerson,
    SmbPlan,
    SmbShare,
    check_folder,
    from_json,
    listening,
    render,
    user_map,
)
from appliance.disk.smb_discovery import avahi_service, may_announce, wsdd_environment
from appliance.disk.smb_samba_facts import (
    Applied,
    SmbSession,
    announcing_interfaces,
    own_addresses,
)
from appliance.errors import InvalidInput, SmbFailed
from appliance.process import Finished, run
from appliance.vault.secret import Secret

PROGRAM_S: Final = 30.0  # seconds; all of these answer at once
NO_HOME: Final = "/nonexistent"
NO_SHELL: Final = "/usr/sbin/nologin"
#: What people's accounts belong to: nothing. Files get their group from «force group».
NO_GROUP: Final = "nogroup"


class Samba:
    """One Samba with a configuration, passwords and state of its own."""

    def __init__(self, places: Places, unit: str | None = None) -> None:
        self.places = places
        self.unit = unit  # systemd's; None: somebody else starts smbd
        for folder, mode in (
            (places.base, 0o711),  # avahi and wsdd read what is below discovery/
            (places.base / "private", 0o700),
            (places.base / "state", 0o755),
            (places.base / "cache", 0o755),
            (places.run, 0o755),
            (places.run / "lock", 0o755),
            (places.audit.parent, 0o2750),  # Samba's files in it get the group
        ):
            folder.mkdir(parents=True, exist_ok=True)
            if folder == places.audit.parent:
                # The worker reads it; nobody else of the system does. First, for it takes the set-group bit away.
                shutil.chown(folder, group=places.group)
            folder.chmod(mode)

    # --- the configuration ---------------------------------------------------------------------

    def apply(self, plan: SmbPlan, own: list[str] | None = None) -> Applied:
        """Make Samba know exactly this plan; safe to run again at any line.

        Who lost anything is disconnected at once; who gained keeps working.

        Args:
            plan: checked.
            own: the addresses of the box; None asks its interfaces.

        Raises:
            SmbFailed: a program refused; the configuration in use is the one before.
        """
        found = own_addresses() if own is None else own
        addresses = listening(plan.networks, found)
        shares: list[SmbShare] = []
        left_out: list[SmbShare] = []
        for share in plan.shares:
            (shares if self._is_there(share) else left_out).append(share)
        known = self._accounts()
        for person in plan.people:
            self._ensure_account(person)
        before, old_addresses = self._last()
        narrowed = SmbPlan(plan.name, plan.description, plan.networks, plan.people, tuple(shares))
        mark = self._mark()
        text = render(narrowed, self.places, addresses, mark=mark)
        self._try(text)
        current = self.places.config.read_text("utf-8") if self.places.config.exists() else ""
        _write(self.places.base / "users.map", user_map(narrowed))
        _write(self.places.config, text)
        # After the configuration: killed in between, the next run compares with the older plan and cuts.
        for account, is_enabled in known.items():
            wanted = any(each.account == account for each in plan.people)
            if wanted != is_enabled:
                self._run(
                    "smbpasswd", "-c", str(self.places.config), "-e" if wanted else "-d", account
                )
        self._announce(narrowed, addresses)
        is_changed = text != current
        if is_changed:
            self._reload(has_moved=old_addresses != addresses, has_shares=bool(shares))
        cut = self.cut({ACCOUNT + str(each) for each in losers(before, narrowed)})
        _write(
            self.places.base / "plan.json",
            json.dumps({"plan": narrowed.to_json(), "addresses": addresses}),
        )
        return Applied(is_changed, tuple(addresses), tuple(each.id for each in left_out), cut, mark)

    def _mark(self) -> str:
        """Return what each audit line begins with: made once, known to the worker, in no name of a file."""
        path = self.places.base / "private" / "audit.mark"
        if not path.exists():
            _write(path, secrets.token_hex(12) + ":")
        return path.read_text("ascii")

    def _is_there(self, share: SmbShare) -> bool:
        try:
            place = check_folder(share.folder, self.places.roots)
        except InvalidInput:
            return False
        return place.is_dir() and os.path.realpath(place) == str(place)

    def _try(self, text: str) -> None:
        draft = self.places.base / "smb.conf.try"
        _write(draft, text)
        done = self._run("testparm", "--suppress-prompt", str(draft), may_fail=True)
        draft.unlink()
        told = "\n".join(done.stderr_tail)
        if done.exit_code != 0 or "Unknown parameter" in told or "Ignoring" in told:
            raise SmbFailed("testparm", done.exit_code)

    def _last(self) -> tuple[SmbPlan | None, list[str]]:
        try:
            values = json.loads((self.places.base / "plan.json").read_text("utf-8"))
            return from_json(values["plan"]), list(values["addresses"])
        except (OSError, ValueError, KeyError, InvalidInput):
            return None, []

    def _reload(self, *, has_moved: bool, has_shares: bool) -> None:
        if self.unit is not None:
            verb = "stop" if not has_shares else "restart" if has_moved else "start"
            self._run("systemctl", "--no-block", verb, self.unit)
            if verb != "start":
                return
        if self.is_running():
            self._run("smbcontrol", "-s", str(self.places.config), "smbd", "reload-config")

    def _announce(self, plan: SmbPlan, addresses: list[str]) -> None:
        # Read by avahi and wsdd, which run under accounts of their own; nothing secret is in it.
        folder = self.places.base / "discovery"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        _write(folder / "wsdd.env", wsdd_environment(plan, addresses), 0o644)
        if self.places.avahi is not None and self.places.avahi.is_dir():
            service = self.places.avahi / "armoire-smb.service"
            general = self.places.avahi.parent / "avahi-daemon.conf"
            words = general.read_text("utf-8", "replace") if general.is_file() else ""
            if may_announce(plan, announcing_interfaces(), words):
                _write(service, avahi_service(plan, self.places.port), 0o644)
            else:
                service.unlink(missing_ok=True)

    # --- people ----------------------------------------------------------------------------------

    def set_password(self, person: SmbPerson, password: Secret) -> None:
        """Give a person the password of the file explorer; who is connected with the former is cut.

        Raises:
            SmbFailed.
        """
        self._ensure_account(person)
        if not self.places.config.exists():
            self._first_config()
        words = password.reveal()
        self._run(
            "smbpasswd",
            "-c",
            str(self.places.config),
            "-s",
            "-a",
            person.account,
            stdin=words + b"\n" + words + b"\n",
        )
        before, _ = self._last()
        if before is None or all(each.id != person.id for each in before.people):
            self._run("smbpasswd", "-c", str(self.places.config), "-d", person.account)
        self.cut({person.account})

    def forget(self, person: SmbPerson) -> None:
        """Remove a person's password and end their sessions; the account stays, for files may name it.

        Raises:
            SmbFailed.
        """
        if person.account in self._accounts():
            self._run("pdbedit", "-s", str(self.places.config), "-x", person.account)
        self.cut({person.account})

    def _first_config(self) -> None:
        empty = SmbPlan("ARMOIRE", "", ())
        _write(self.places.base / "users.map", "")
        _write(self.places.config, render(empty, self.places, []))

    def _accounts(self) -> dict[str, bool]:
        """Return the accounts that have a password, and whether they may sign in."""
        if not (self.places.base / "private" / "passdb.tdb").exists():
            return {}
        done = self._run("pdbedit", "-s", str(self.places.config), "-L", "-v")
        found: dict[str, bool] = {}
        name = ""
        for line in done.stdout.splitlines():
            key, _, value = line.partition(":")
            if key == "Unix username":
                name = value.strip()
            elif key == "Account Flags" and name.startswith(ACCOUNT):
                found[name] = "D" not in value
        return found

    def _ensure_account(self, person: SmbPerson) -> None:
        try:
            found = pwd.getpwnam(person.account)
        except KeyError:
            self._run(
                "useradd",
                "--no-create-home",
                "--home-dir",
                NO_HOME,
                "--no-user-group",
                "--gid",
                NO_GROUP,
                "--shell",
                NO_SHELL,
                "--uid",
                str(person.uid),
                "--comment",
                "Armoire",
                person.account,
            )
            return
        if found.pw_uid != person.uid or found.pw_shell != NO_SHELL:
            raise SmbFailed("useradd", 9)  # somebody else's account

    # --- sessions --------------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Return whether this configuration's smbd runs."""
        try:
            pid = int((self.places.run / "smbd.pid").read_text("ascii"))
            return psutil.Process(pid).name() == "smbd"
        except (OSError, ValueError, psutil.Error):
            return False

    def sessions(self) -> list[SmbSession]:
        """Return who is connected.

        Raises:
            SmbFailed.
        """
        if not self.is_running():
            return []
        done = self._run("smbstatus", "-s", str(self.places.config), "--json")
        values = json.loads(done.stdout or "{}")
        opened = values.get("tcons", {}).values()
        found = []
        for each in values.get("sessions", {}).values():
            name = str(each["username"])
            number = name.removeprefix(ACCOUNT)
            found.append(
                SmbSession(
                    int(number) if name.startswith(ACCOUNT) and number.isdigit() else None,
                    int(each["server_id"]["pid"]),
                    str(each["remote_machine"]),
                    str(each["session_dialect"]),
                    str(each["encryption"]["cipher"]),
                    tuple(
                        sorted(
                            {
                                str(tree["service"])
                                for tree in opened
                                if tree["session_id"] == each["session_id"]
                            }
                        )
                    ),
                )
            )
        return found

    def cut(self, accounts: set[str]) -> int:
        """End the connections of these accounts now; return how many.

        One process of Samba is one connection: others keep what they have open.
        """
        count = 0
        if not accounts:
            return 0
        for each in self.sessions():
            if each.person_id is not None and ACCOUNT + str(each.person_id) in accounts:
                with suppress(ProcessLookupError):
                    if psutil.pid_exists(each.pid) and psutil.Process(each.pid).name() == "smbd":
                        os.kill(each.pid, 15)
                        count += 1
        return count

    # --- programs --------------------------------------------------------------------------------

    def _run(
        self, program: str, *arguments: str, stdin: bytes | None = None, may_fail: bool = False
    ) -> Finished:
        done = run([program, *arguments], timeout_s=PROGRAM_S, stdin=stdin)
        if done.exit_code != 0 and not may_fail:
            raise SmbFailed(program, done.exit_code)
        return done


def losers(before: SmbPlan | None, after: SmbPlan) -> set[int]:
    """Return the people who could do something before that they may not any more."""
    if before is None:
        return set()
    now = {each.name: each for each in after.shares}
    lost: set[int] = set()
    for share in before.shares:
        other = now.get(share.name)
        if other is None or other.folder != share.folder:
            lost |= set(share.readers)
            continue
        lost |= set(share.readers) - set(other.readers)
        lost |= set(share.writers) - set(other.writers)
    logins = {each.id: each.login for each in after.people}
    lost |= {each.id for each in before.people if logins.get(each.id) != each.login}
    return lost


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    """Give ``path`` a new content in one step."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(mode)
    draft.replace(path)
