"""``armoire receive``: from an empty box to a copy that arrived, and what its alarm says."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import cli
from appliance.clock import utc_now
from appliance.replication.targets.box import BoxAccount, BoxTarget
from appliance.vault.secret import Secret
from tests.contract.target_contract import content, sealed
from tests.support.sshd import make_key

pytestmark = pytest.mark.integration


@pytest.fixture
def armoire(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ARMOIRE_LANG", "en")
    monkeypatch.setenv("ARMOIRE_DATA", str(tmp_path / "box"))
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)

    def run(*argv: str) -> tuple[int, dict, str]:
        capsys.readouterr()
        code = cli.run([*argv, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out), err

    assert run("init")[0] == 0
    return run


@pytest.fixture
def key(tmp_path):
    public = make_key(tmp_path / "id")
    return public, Secret((tmp_path / "id").read_bytes())


def test_a_sender_is_let_in_sends_is_listed_and_taken_out(armoire, key, tmp_path):
    """Two boxes of one practice, with what each shows."""
    code, added, _ = armoire("receive", "add", "cabinet", "--key", key[0], "--quota", "1")
    assert code == 0
    assert armoire("receive", "key")[1]["host_key"] == added["host_key"]
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.cli", "receive", "serve", "--address", "127.0.0.1",
         "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        said = re.search(r"port (\d+).*?(SHA256:\S+)\.", line)
        assert said is not None, line
        assert said[2] == added["fingerprint"]
        target = BoxTarget(
            BoxAccount("127.0.0.1", int(said[1]), "cabinet", added["host_key"], key[1])
        )
        target.create("objects/one", sealed(tmp_path, b"one"))
        assert content(target, "objects/one") == b"one"
        target.close()
    finally:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, out

    code, listed, _ = armoire("receive", "list")
    (one,) = listed["senders"]
    assert code == 0
    assert one["sender"] == "cabinet"
    assert one["finding"] == {"code": "receive.incomplete", "severity": "notice"}
    assert armoire("receive", "quota", "cabinet", "2")[0] == 0
    assert armoire("receive", "revoke", "cabinet")[0] == 0
    assert armoire("receive", "list")[1] == {"senders": []}


def test_a_sender_that_is_silent_is_said_by_the_exit_code_too(armoire, key, tmp_path):
    """26 hours: so a timer can tell somebody."""
    armoire("receive", "add", "cabinet", "--key", key[0], "--quota", "1")
    mark = tmp_path / "box" / "receive" / "received" / "cabinet"
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    for hours, expected, code in ((25, "receive.incomplete", 0), (27, "receive.silent", 3)):
        then = utc_now().timestamp() - hours * 3600
        os.utime(mark, (then, then))

        found, listed, _ = armoire("receive", "list")

        assert found == code
        assert listed["senders"][0]["finding"]["code"] == expected


def test_what_is_no_key_is_refused_and_changes_are_in_the_journal(armoire, key):
    assert armoire("receive", "add", "cabinet", "--key", "nonsense", "--quota", "1")[0] == 2
    assert armoire("receive", "revoke", "cabinet")[0] == 2
    armoire("receive", "add", "cabinet", "--key", key[0], "--quota", "1")
    armoire("receive", "revoke", "cabinet")

    text = json.dumps(armoire("ledger", "list")[1])
    assert "sender.added" in text
    assert "sender.revoked" in text


def test_the_unit_that_receives_sees_its_own_folder_only(tmp_path):
    """It faces the other building: neither this box's keys nor its database exist for it."""
    root = Path(__file__).parent.parent.parent
    text = (root / "systemd" / "armoire-receive.service").read_text("utf-8")
    unit = tmp_path / "armoire-receive.service"
    unit.write_text(text.replace("/opt/armoire", str(root)), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)

    assert level is not None, done.stdout + done.stderr
    assert float(level[1]) <= 1.5
    assert re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE) == ["/var/lib/armoire/receive"]
    hidden = " ".join(re.findall(r"^InaccessiblePaths=(.*)$", text, re.MULTILINE))
    for name in ("keys", "repositories", "borg", "state.sqlite", "tls"):
        assert f"-/var/lib/armoire/{name}" in hidden.split()
    command = re.search(r"^ExecStart=\S+ --data \S+ (.+)$", text, re.MULTILINE)[1]
    assert command == "receive serve"
