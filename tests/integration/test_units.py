"""Every unit, started by a real systemd as systemd/README.md says, and what it then does in its sandbox."""

import base64
import json
import re
import textwrap
from collections.abc import Iterator

import pytest

from tests.support.booted import ROOT, Booted

pytestmark = pytest.mark.integration

UNITS = sorted(each.name for each in (ROOT / "systemd").glob("armoire*"))
#: On an interface of the building, and on one that is none of it.
INSIDE, OUTSIDE = "192.168.77.1", "203.0.113.5"
PASSWORD = "aaaabbbbcccc"

#: A person with every key there is, a share for every door, the way in: done by the library, as pages would.
PRACTICE = """
from datetime import timedelta
from pathlib import Path
from sqlalchemy import update
from appliance.accounts import app_passwords, people, tunnel
from appliance.accounts.app_passwords import Kind
from appliance.clock import utc_now
from appliance.db import facts
from appliance.db.engine import open_database
from appliance.db.schema_disk import share as shares_of
from appliance.disk import smb_passwords
from appliance.disk.set_up import make_share
from appliance.jobs import queue
from appliance.jobs.kinds import SetUpSource
from appliance.model import Role
from appliance.settings import Settings
from appliance.vault.seal import seal
from appliance.vault.secret import Secret

settings = Settings(data=Path("/var/lib/armoire"))
database = open_database(settings.database)
now = utc_now()
with database.write() as c:
    facts.put(c, "network.local", ["192.168.77.0/24", "127.0.0.0/8"], now=now)
    facts.put(c, tunnel.ENDPOINT, "cabinet.example:51999", now=now)
    who = people.add(c, login="anne.martin", name="Anne Martin", role=Role.OWNER, language="fr",
                     password_hash=None, now=now)
    made = make_share(c, settings, name="documents", label="Documents", person_id=who.id, now=now)
    c.execute(update(shares_of).values(over_smb=True, over_dav=True))
    queue.enqueue(c, SetUpSource(made.source_id), now=now)
    smb_passwords.ask(c, who.id, seal(Secret(b"aaaabbbbcccc"), settings.keys), now=now)
    tunnel.add(c, who.id, "phone", tunnel.make_keys()[1], by=who.id, now=now)
    print(app_passwords.make(c, who.id, kind=Kind.DAV, label="explorer", now=now)[0])
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Booted]:
    """A box installed and started by the lines of systemd/README.md."""
    with Booted() as system:
        system.sh(f"ip address add {INSIDE}/24 dev lo; ip address add {OUTSIDE}/24 dev lo")
        for line in documented():
            system.sh(f"cd /opt/armoire; {line}")
        yield system


@pytest.fixture(scope="module")
def practice(box: Booted) -> str:
    """A practice in it, the file explorer set up as the README says; the password of WebDAV."""
    for first in ("armoire-smb.socket", "armoire-tunnel.path"):
        (line,) = re.findall(rf"`(sudo systemctl enable --now {first} [^`]+)`", readme())
        box.sh(line)
    return box.sh(
        "cd /opt/armoire; sudo -u armoire-worker -g armoire .venv/bin/python - <<'END'\n"
        f"{PRACTICE}\nEND"
    ).split()[-1]


@pytest.fixture(scope="module")
def night(box: Booted) -> list[dict[str, str]]:
    """The jobs of a night of the box's own state, run by the worker in its unit."""
    box.wait_for(lambda: "set-up: succeeded" in box.journal(), "the box's own source")
    return json.loads(armoire(box, "--json backup boitier"))["jobs"]


def readme() -> str:
    return " ".join((ROOT / "systemd/README.md").read_text("utf-8").split())


def documented() -> list[str]:
    """Return the lines a person types, but the first, which fetches the program."""
    text = (ROOT / "systemd/README.md").read_text("utf-8")
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    first, *rest = block[1].splitlines()
    assert "git clone" in first
    return rest


def state(box: Booted, unit: str) -> str:
    return box.run("systemctl", "is-active", unit).stdout.strip()


def listens(box: Booted) -> set[str]:
    return {each.split()[4] for each in box.sh("ss -lntuH").splitlines()}


def armoire(
    box: Booted, words: str, timeout_s: float = 180, account: str = "armoire-worker"
) -> str:
    """Run a command of the box as the README has it run."""
    return box.sh(
        f"cd /opt/armoire; sudo -u {account} -g armoire .venv/bin/armoire"
        f" --data /var/lib/armoire {words}",
        timeout_s,
    )


def smb(box: Booted, commands: str) -> str:
    done = box.run(
        *("smbclient", f"//{INSIDE}/documents", "-m", "SMB3", "-U", f"anne.martin%{PASSWORD}"),
        *("-c", commands),
    )
    return done.stdout + done.stderr


def test_the_box_is_up_after_the_lines_of_the_readme(box: Booted):
    """Nothing failed, the web answers at home, and nothing else is heard."""
    for unit in ("armoire.target", "armoire-worker.service", "armoire-web.service"):
        assert state(box, unit) == "active", box.journal()

    box.wait_for(lambda: "127.0.0.1:8443" in listens(box), "the web")
    said = box.sh("curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:8443/sign-in")
    assert said == "200"
    assert box.run("systemctl", "--failed", "--quiet").stdout == ""


def test_a_night_is_made_inside_the_unit(box: Booted, night: list[dict[str, str]]):
    """Borg is started, writes, and gives the bytes back: with the unit's own rights and calls."""
    assert {each["kind"] for each in night} >= {"snapshot.take", "snapshot.verify"}
    assert {each["state"] for each in night} == {"succeeded"}, box.journal()


def test_all_that_the_file_explorer_needs_comes_up_by_itself(box: Booted, practice: str):
    """Helper by its socket, smbd by the helper, discovery by smbd, earlier versions mounted."""
    for unit in ("armoire-smbd", "armoire-wsdd", "armoire-versions", "armoire-smb.socket"):
        box.wait_for(lambda unit=unit: state(box, unit) == "active", unit)
    box.wait_for(lambda: f"{INSIDE}:445" in listens(box), "smbd")

    box.wait_for(lambda: "NT_STATUS" not in smb(box, "ls"), "the password")
    assert "NT_STATUS" not in smb(box, "mkdir letters; ls")
    assert "fuse (ro" in box.sh("mount | grep /run/armoire-versions")


def test_nothing_listens_for_the_file_explorer_outside(box: Booted, practice: str):
    """domain.md SEC-11, with the units as they are: SMB and discovery know the building's address only."""
    box.wait_for(lambda: f"{INSIDE}:5357" in listens(box), "wsdd")

    heard = {each for each in listens(box) if re.search(r":(445|139|5357|3702|5353)$", each)}
    assert heard <= {
        *(f"{INSIDE}:{port}" for port in (445, 5357, 3702)),
        "127.0.0.1:445",
        "239.255.255.250:3702",  # the group Windows asks
    }


def test_macs_find_the_box_by_its_own_words(box: Booted, practice: str):
    """The helper wrote avahi's file; smbd itself announces nothing."""
    if box.run("test", "-d", "/etc/avahi/services").returncode != 0:
        pytest.skip("avahi is not installed")
    box.wait_for(lambda: state(box, "armoire-smbd") == "active", "smbd")

    assert "_smb._tcp" in box.sh("cat /etc/avahi/services/armoire-smb.service")
    read = box.sh("testparm --suppress-prompt /var/lib/armoire-smb/smb.conf 2>/dev/null")
    assert "multicast dns register = No" in read


def test_files_of_every_door_are_made_in_the_sandboxes(box: Booted, practice: str):
    """A folder and a file by the web, seen and changed over SMB, kept by the night, shown as an earlier version."""
    web = "https://127.0.0.1:8443/dav/documents"
    ask = f"curl -sk -u anne.martin:{practice} -o /dev/null -w '%{{http_code}}'"
    box.wait_for(lambda: state(box, "armoire-smbd") == "active", "smbd")

    assert box.sh(f"{ask} -X MKCOL {web}/from-web") == "201", box.journal()
    assert box.sh(f"echo one > /tmp/a.txt; {ask} -T /tmp/a.txt {web}/from-web/a.txt") == "201"
    box.wait_for(lambda: "NT_STATUS" not in smb(box, "ls"), "the password")
    armoire(box, "backup documents")
    box.sh("echo two > /tmp/b.txt")
    assert "NT_STATUS" not in smb(
        box, "cd from-web; lcd /tmp; put b.txt; rename b.txt c.txt; put b.txt a.txt"
    )

    assert box.sh(f"curl -sk -u anne.martin:{practice} {web}/from-web/c.txt") == "two\n"
    before = box.sh("cat /run/armoire-versions/documents/@GMT-*/from-web/a.txt")
    assert set(before.split()) == {"one"}  # of each night there was by now
    share = "/var/lib/armoire/shares/documents"
    box.sh(f"{ask} -X MKCOL {web}/back")
    armoire(box, f"restore documents@latest:{share[1:]}/from-web/a.txt --to {share}/back")
    assert box.sh(f"curl -sk -u anne.martin:{practice} {web}/back/a.txt") == "one\n"
    modes = box.sh(
        "cd /var/lib/armoire/shares/documents; stat -c '%a %G %n' . from-web from-web/* back/*"
    )
    assert modes.splitlines() == [
        "2770 armoire .",
        "2770 armoire from-web",
        "660 armoire from-web/a.txt",
        "660 armoire from-web/c.txt",
        "660 armoire back/a.txt",
    ]


def test_the_search_knows_a_file_that_came_over_smb(box: Booted, practice: str):
    """The index runs in the worker's sandbox and is told by the kernel."""
    box.wait_for(lambda: "NT_STATUS" not in smb(box, "ls"), "the password")
    box.sh("echo found > /tmp/zebra.txt")
    assert "NT_STATUS" not in smb(box, "lcd /tmp; put zebra.txt")
    asked = textwrap.dedent("""
        from pathlib import Path
        from appliance.db import shares
        from appliance.db.engine import open_database
        from appliance.disk.index_search import find
        from appliance.settings import Settings
        settings = Settings(data=Path("/var/lib/armoire"))
        with open_database(settings.database).read() as c:
            print(find(settings, shares.all_living(c), "zebra"))
    """)

    def found() -> bool:
        done = box.run(
            *("sudo", "-u", "armoire-web", "-g", "armoire"),
            *("/opt/armoire/.venv/bin/python", "-"),
            stdin=asked,
        )
        return "zebra.txt" in done.stdout

    box.wait_for(found, "the index")


def test_the_web_s_sandbox_holds(box: Booted):
    """Not only written in a file: inside, the key is not there, no program starts, the system is read-only."""
    tried = inside(
        box,
        "armoire-web",
        """
        import os, socket, subprocess
        said = {}
        def attempt(name, call):
            try:
                call()
                said[name] = "done"
            except Exception as error:
                said[name] = type(error).__name__
        attempt("key", lambda: open("/var/lib/armoire/keys/box.key").read())
        attempt("repositories", lambda: os.listdir("/var/lib/armoire/repositories"))
        attempt("shell", lambda: subprocess.run(["/bin/sh", "-c", "true"]))
        attempt("python by path", lambda: subprocess.run(["/var/lib/armoire/x"]))
        attempt("etc", lambda: open("/etc/x", "w"))
        attempt("own data", lambda: open("/var/lib/armoire/run/probe", "w"))
        attempt("raw socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        attempt("namespace", lambda: os.unshare(os.CLONE_NEWUSER) if hasattr(os, "unshare") else 1 / 0)
        """,
    )
    assert tried["own data"] == "done"
    assert {each for name, each in tried.items() if name != "own data"}.isdisjoint({"done"}), tried


def test_the_worker_s_sandbox_holds_and_lets_it_work(box: Booted):
    """It has no more of root than reading; it starts programs."""
    tried = inside(
        box,
        "armoire-worker",
        """
        import os, subprocess
        said = {}
        def attempt(name, call):
            try:
                call()
                said[name] = "done"
            except Exception as error:
                said[name] = type(error).__name__
        attempt("program", lambda: subprocess.run(
            ["setpriv", "--pdeathsig", "INT", "--", "true"], check=True))
        attempt("read all", lambda: open("/etc/shadow").read())
        attempt("write all", lambda: open("/etc/shadow", "a"))
        attempt("become root", lambda: os.setuid(0))
        attempt("give away", lambda: (open("/var/lib/armoire/run/probe2", "w"),
                                      os.chown("/var/lib/armoire/run/probe2", 0, 0)))
        """,
    )
    assert (tried["program"], tried["read all"]) == ("done", "done")
    assert {tried[each] for each in ("write all", "become root", "give away")}.isdisjoint({"done"})


def test_the_tunnel_comes_up_when_the_worker_wrote_it_down(box: Booted, practice: str):
    """Path unit, root's script, the kernel's WireGuard or the program; changed without being cut."""
    box.wait_for(
        lambda: "10.113.77.1" in box.run("ip", "-brief", "address").stdout, "the tunnel", 60
    )
    assert box.sh("wg show armoire0 | grep -c ^peer").strip() == "1"
    box.sh("systemctl start armoire-tunnel-seen.service")
    seen = box.sh("sudo -u armoire-worker -g armoire cat /run/armoire-tunnel/handshakes")
    assert re.fullmatch(r"\S{44}\t0\n", seen), seen

    box.sh(
        "cd /var/lib/armoire/tunnel; grep -v PublicKey wanted.conf | sed '/Peer/,$d' > new; mv new wanted.conf"
    )

    box.wait_for(
        lambda: box.run("wg", "show", "armoire0", "peers").stdout == "", "a device taken away"
    )
    assert state(box, "armoire-tunnel.service") in {"inactive", "activating"}


@pytest.mark.usefixtures("night", "practice")
def test_a_copy_goes_from_one_unit_to_another(box: Booted):
    """ssh out of the worker's sandbox, into the sandbox of the box of the second building."""
    box.sh("cd /opt/armoire; sudo systemctl enable --now armoire-receive")
    box.wait_for(lambda: any(each.endswith(":2222") for each in listens(box)), "receive")
    added = json.loads(
        armoire(
            box,
            f"--json target add other --kind box --host {INSIDE} --user practice"
            " --nature same-practice-elsewhere --distance 40",
        )
    )
    let_in = f"receive add practice --key '{added['public_key']}' --quota 5"
    armoire(box, let_in, account="armoire-receive")
    armoire(box, f"target confirm other --host-key {added['fingerprint']}")

    pushed = json.loads(armoire(box, "--json push other"))

    assert pushed["targets"][0]["generation"] == 1
    assert box.sh("find /var/lib/armoire/receive -path '*generations*' -type f | wc -l") != "0\n"


def test_a_picture_is_made_small_between_two_sandboxes(box: Booted):
    """The web hands an open file to the process that can only compute, and gets a picture back."""
    tried = inside(
        box,
        "armoire-web",
        """
        import os
        from pathlib import Path
        from PIL import Image
        from appliance.disk.preview import client
        from appliance.disk.preview.protocol import Do, Wanted
        from appliance.settings import Settings
        path = Path("/var/lib/armoire/run/probe.png")
        Image.new("RGB", (300, 200), (9, 9, 9)).save(path)
        with path.open("rb") as file:
            settings = Settings(data=Path("/var/lib/armoire"))
            made = client.ask(settings, Wanted(Do.PICTURE, ending="png"), [file.fileno()])
        said = {"type": made.type}
        """,
    )
    assert tried == {"type": "image/webp"}


@pytest.fixture
def stick(box: Booted) -> Iterator[str]:
    """A disk of a few megabytes, as the kernel names it; loop devices are the machine's, so it is given back."""
    box.sh("[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237")
    found = box.run("losetup", "-f").stdout.strip()
    if not found:
        pytest.skip("no loop devices here")
    name = found.removeprefix("/dev/")
    box.sh(
        f"[ -e {found} ] || mknod {found} b 7 {name.removeprefix('loop')};"
        f" truncate -s 64M /var/tmp/stick; mkfs.ext4 -q /var/tmp/stick; losetup {found} /var/tmp/stick"
    )
    try:
        yield name
    finally:
        box.run("sh", "-c", f"umount -l /mnt/stick /run/armoire-disks/{name}; losetup -d {found}")


@pytest.mark.usefixtures("night")
def test_a_labelled_disk_that_is_plugged_in_is_copied_to_and_let_go(box: Booted, stick: str):
    """Mounted by root, written to by the worker in its own sandbox, unmounted. Only udev is not here."""
    box.sh(f"mkdir -p /mnt/stick; mount /dev/{stick} /mnt/stick")
    box.sh(
        "cd /opt/armoire; .venv/bin/armoire --data /var/lib/armoire disk label /mnt/stick"
        " --name monday; umount /mnt/stick"
    )
    # No udev, so no unit of the device to wait for.
    box.sh(
        "cd /etc/systemd/system; sed '/^BindsTo=/d; s/^After=.*/After=armoire-worker.service/'"
        " armoire-disk@.service > armoire-tried-disk@.service; systemctl daemon-reload"
    )

    box.sh(f"systemctl start armoire-tried-disk@{stick}", timeout_s=180)

    assert box.run("sh", "-c", "mount | grep armoire-disks").stdout == ""
    box.sh(f"mount -o ro /dev/{stick} /mnt/stick")
    kept = box.sh("cd /mnt/stick; find . -path '*generations*' -type f; umount /mnt/stick || true")
    assert kept.strip(), box.journal()


def test_little_of_the_system_is_exposed_to_the_running_units(box: Booted, practice: str):
    """systemd's own measure of each unit as it is loaded: 0 is nothing, 10 everything."""
    most = {
        "armoire-web.service": 1.5,
        "armoire-worker.service": 2.0,
        "armoire-receive.service": 1.5,
        "armoire-wsdd.service": 1.5,
        "armoire-smb.service": 3.0,  # root
        "armoire-smbd.service": 3.5,  # root: takes each person's identity
        "armoire-versions.service": 6.0,  # mounts, so it shares the system's own mounts
        "armoire-tunnel.service": 6.0,  # root, a few lines of shell, no daemon
        "armoire-tunnel-go.service": 3.0,
        "armoire-tunnel-seen.service": 6.0,  # root, two lines of shell
        "armoire-disk@x.service": 8.0,  # mounts a disk: no mount namespace of its own
    }
    assert {each for each in UNITS if each.endswith(".service")} == {
        each.replace("@x", "@") for each in most
    }
    for unit, level in most.items():
        said = box.run("systemd-analyze", "security", "--no-pager", unit).stdout
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert found is not None, said
        assert float(found[1]) <= level, unit


def test_all_stops_when_the_target_stops(box: Booted, practice: str):
    """Nothing of ours is left running, mounted or listening; then everything comes back."""
    box.sh("systemctl stop armoire.target", timeout_s=150)

    def left() -> str:
        return box.sh("systemctl list-units --no-legend --state=active 'armoire-*.service' || true")

    box.wait_for(lambda: not left().strip(), "the end of what belongs to the target", 100)
    assert box.run("sh", "-c", "mount | grep armoire-versions").stdout == ""
    box.sh("systemctl start armoire.target")
    box.wait_for(lambda: "127.0.0.1:8443" in listens(box), "the web")
    box.wait_for(lambda: f"{INSIDE}:445" in listens(box), "smbd")


def inside(box: Booted, unit: str, script: str) -> dict[str, str]:
    """Run lines of Python, which fill ``said``, in the sandbox of a unit; return it."""
    code = textwrap.dedent(script) + "\nimport json\nprint('SAID', json.dumps(said), flush=True)"
    packed = base64.b64encode(code.encode()).decode()
    once = f"exec(__import__('base64').b64decode('{packed}'))"
    path = f"/etc/systemd/system/{unit}-tried.service"
    box.sh(
        f"sed -e '/^Type=/d;/^Restart/d;/^Watchdog/d;/^NotifyAccess/d;/^\\[Install/,$d'"
        f' -e "s|^ExecStart=.*|Type=oneshot\\nExecStart=/opt/armoire/.venv/bin/python -c \\"{once}\\"|"'
        f" /etc/systemd/system/{unit}.service > {path}"
    )
    box.sh(f"systemctl daemon-reload; systemctl start {unit}-tried; journalctl --sync")
    told = box.journal("--unit", f"{unit}-tried")
    found = re.findall(r"^SAID (.*)$", told, re.MULTILINE)
    assert found, told
    return dict(json.loads(found[-1]))
