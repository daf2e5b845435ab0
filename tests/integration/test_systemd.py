"""The units are valid, hardened, and give each account only what it needs. Real systemd tools."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.sshd import make_key

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICES = ("armoire-web.service", "armoire-worker.service")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they would lie on a box whose program is this checkout."""
    for path in UNITS.glob("armoire*"):
        text = path.read_text("utf-8").replace("/opt/armoire", str(ROOT))
        (tmp_path / path.name).write_text(text, "utf-8")
    return tmp_path


def tool(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_systemd_finds_nothing_to_say_about_the_units(installed):
    """No unknown setting, no missing program, no cycle."""
    done = tool("systemd-analyze", "verify", *(str(each) for each in installed.iterdir()))

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("unit", "most"), [("armoire-web.service", 1.5), ("armoire-worker.service", 2.0)]
)
def test_little_of_the_system_is_exposed_to_a_unit(installed, unit, most):
    """systemd's own measure: 0 is nothing, 10 everything; a usual service has 9.6."""
    done = tool("systemd-analyze", "security", "--offline=yes", str(installed / unit))
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)

    assert level is not None, done.stdout + done.stderr
    assert float(level[1]) <= most


def test_the_process_that_faces_the_network_sees_no_key_and_runs_no_program():
    """Beam 1, kept by the kernel as well as by the imports."""
    text = (UNITS / "armoire-web.service").read_text("utf-8")

    assert "InaccessiblePaths=-/var/lib/armoire/keys/box.key" in text
    assert "InaccessiblePaths=-/var/lib/armoire/repositories" in text
    assert "NoExecPaths=/" in text
    assert re.search(r"^CapabilityBoundingSet=$", text, re.MULTILINE)
    assert re.search(r"^User=armoire-web$", text, re.MULTILINE)


def test_the_units_call_commands_that_exist():
    """A renamed command would be found on the box only."""
    from appliance.cli import COMMANDS

    for unit in SERVICES:
        command = re.search(
            r"^ExecStart=\S+ --data \S+ (\S+)$", (UNITS / unit).read_text(), re.MULTILINE
        )
        assert command is not None
        assert command[1] in COMMANDS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders to other accounts")
def test_accounts_and_folders_part_what_only_the_worker_may_read(tmp_path):
    """Real systemd-sysusers and systemd-tmpfiles on a system tree of their own."""
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", tmp_path / "etc" / name)
    users = tool("systemd-sysusers", f"--root={tmp_path}", str(UNITS / "sysusers.d/armoire.conf"))
    folders = tool(
        "systemd-tmpfiles", f"--root={tmp_path}", "--create", str(UNITS / "tmpfiles.d/armoire.conf")
    )
    assert (users.returncode, folders.returncode) == (0, 0), users.stderr + folders.stderr
    passwd = dict(
        (line.split(":")[0], int(line.split(":")[2]))
        for line in (tmp_path / "etc/passwd").read_text().splitlines()
    )

    def seen(name: str) -> tuple[str, int]:
        found = (tmp_path / "var/lib/armoire" / name).stat()
        owner = next(user for user, uid in passwd.items() if uid == found.st_uid)
        return owner, stat.S_IMODE(found.st_mode)

    assert seen("repositories") == ("armoire-worker", 0o700)
    assert seen("borg") == ("armoire-worker", 0o700)
    assert seen("keys") == ("armoire-worker", 0o750)
    assert seen("tls") == ("armoire-web", 0o700)
    assert seen("catalogues") == ("armoire-worker", 0o2770)


def test_a_machine_that_pushes_gets_no_terminal_and_no_tunnel(tmp_path):
    """What sshd itself makes of our snippet, for the account the machines come with."""
    make_key(tmp_path / "host_key")
    config = tmp_path / "sshd_config"
    snippet = (UNITS / "sshd_config.d/armoire-push.conf").read_text("utf-8")
    config.write_text(f"HostKey {tmp_path / 'host_key'}\n{snippet}", "utf-8")

    def effective(user: str) -> dict[str, str]:
        done = tool(
            "/usr/sbin/sshd", "-T", "-f", str(config), "-C", f"user={user},host=a,addr=10.0.0.1"
        )
        assert done.returncode == 0, done.stderr
        return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)

    pusher, other = effective("armoire-worker"), effective("somebody")
    assert pusher["authorizedkeyscommand"].endswith(" push-keys")
    assert pusher["authorizedkeysfile"] == "none"
    assert (pusher["permittty"], pusher["disableforwarding"]) == ("no", "yes")
    assert other["authorizedkeyscommand"] == "none"
