"""What may come into smb.conf, and what may not."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.disk.smb_config import (
    Places,
    SmbPerson,
    SmbPlan,
    SmbShare,
    check_folder,
    from_json,
    listening,
    local_network,
    plain,
    render,
    user_map,
)
from appliance.disk.smb_discovery import avahi_service, may_announce, wsdd_environment
from appliance.disk.smb_samba import losers
from appliance.errors import InvalidInput

PLACES = Places(Path("/b"), Path("/r"), "armoire-web", "armoire", (Path("/shares"),), Path("/v"))
DOCUMENTS = SmbShare(3, "documents", "Documents", "/shares/documents", (7, 8), (7,))
MACS = SmbShare(4, "macs", "Macs", "/shares/macs", (7,), (7,), is_time_machine=True, quota_bytes=9)
PLAN = SmbPlan(
    "ARMOIRE",
    "Cabinet Martin",
    ("192.168.1.0/24",),
    (SmbPerson(7, "anne.martin"), SmbPerson(8, "lea.petit")),
    (DOCUMENTS, MACS),
)


def section(text: str, name: str) -> str:
    return text.partition(f"[{name}]\n")[2].partition("\n[")[0]


def test_a_plan_comes_back_from_json_as_it_was():
    """What the worker sends is what the helper reads."""
    assert from_json(PLAN.to_json()) == PLAN


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"name": "X\nroot preexec = /bin/sh"},
        {"networks": ["0.0.0.0/0"]},
        {"networks": ["8.8.8.0/24"]},
        {"networks": ["192.168.0.0/8"]},
        {"people": [{"id": 0, "login": "anne"}]},
        {"people": [{"id": 7, "login": "anne\nroot"}]},
        {"people": [{"id": 7, "login": 'anne"'}]},
        {"people": [{"id": True, "login": "anne"}]},
        {"people": [{"id": 7, "login": "anne"}, {"id": 7, "login": "lea"}]},
        {"shares": [{**PLAN.to_json()["shares"][0], "name": "global"} | {"name": "../x"}]},
        {"shares": [{**PLAN.to_json()["shares"][0], "readers": [9]}]},
        {"shares": [{**PLAN.to_json()["shares"][0], "readers": [8]}]},  # a writer who may not read
        {"shares": [PLAN.to_json()["shares"][0]] * 2},
        {"preexec": "/bin/sh"},
    ],
)
def test_a_plan_that_says_anything_else_is_refused(change: dict):
    """The helper believes nobody, the worker included."""
    with pytest.raises(InvalidInput):
        from_json({**PLAN.to_json(), **change})


@pytest.mark.parametrize(
    "folder",
    [
        "/etc",
        "/shares",
        "/shares/../etc",
        "/shares/a/./b",
        "/sharesx/a",
        "shares/a",
        "/shares/%U",
        "/shares/a\nroot preexec = x",
        "/shares/a ",
        "/shares/a\\",
        '/shares/a"',
        "/shares//a",
    ],
)
def test_a_folder_elsewhere_or_with_a_meaning_is_no_share(folder: str):
    """Below the roots of the unit, and nothing that smb.conf would read as more than a name."""
    with pytest.raises(InvalidInput):
        check_folder(folder, (Path("/shares"),))


def test_a_folder_below_a_root_is_a_share():
    """With letters as people write them."""
    assert check_folder("/shares/lettres été", (Path("/shares"),)) == Path("/shares/lettres été")


@given(st.text(max_size=60))
def test_no_label_adds_a_line_or_a_variable(label: str):
    """Whatever people call a share."""
    text = render(replace(PLAN, shares=(replace(DOCUMENTS, label=label),)), PLACES, [])

    assert len(text.splitlines()) == len(
        render(replace(PLAN, shares=(DOCUMENTS,)), PLACES, []).splitlines()
    )
    assert not set(plain(label)) & set('%\\"\n;#[]')


def test_each_share_names_who_reads_and_who_writes():
    """And everything in it belongs to one owner, whoever wrote it."""
    found = section(render(PLAN, PLACES, ["192.168.1.5"]), "documents")

    assert "valid users = armoire-p7 armoire-p8\n" in found
    assert "read only = yes\nwrite list = armoire-p7\n" in found
    assert "force user = armoire-web\nforce group = armoire\n" in found
    assert "veto files = /.armoire/\n" in found
    # The bin is the last: above the streams, deleting one would do nothing.
    assert (
        "vfs objects = full_audit shadow_copy2 acl_xattr catia fruit streams_xattr recycle\n"
        in found
    )


def test_a_share_nobody_reads_is_not_in_the_configuration():
    """An empty «valid users» would mean everybody. Source: smb.conf(5)."""
    text = render(replace(PLAN, shares=(replace(DOCUMENTS, readers=(), writers=()),)), PLACES, [])

    assert "[documents]" not in text
    assert "valid users" not in text


def test_a_time_machine_has_its_size_and_no_bin():
    """Its bands come and go by thousands."""
    found = section(render(PLAN, PLACES, []), "macs")

    assert "fruit:time machine = yes\nfruit:time machine max size = 9" in found
    assert "recycle" not in found.partition("vfs objects")[2]


def test_samba_understands_every_line(tmp_path: Path):
    """testparm says nothing of an unknown parameter."""
    if shutil.which("testparm") is None:
        pytest.skip("samba is not installed")
    file = tmp_path / "smb.conf"
    places = replace(PLACES, base=tmp_path, run=tmp_path)
    for name in ("state", "cache", "private", "lock"):
        (tmp_path / name).mkdir()
    file.write_text(render(PLAN, places, ["192.168.1.5"]))
    done = subprocess.run(
        ["testparm", "-s", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "Unknown" not in done.stderr
    assert "Ignoring" not in done.stderr


def test_it_listens_at_addresses_of_declared_networks_only():
    """An interface with an outside address beside: not that one."""
    own = ["127.0.0.1", "192.168.1.5", "203.0.113.9", "10.8.0.1", "fe80::1%eth0", "fd00::5"]

    assert listening(("192.168.1.0/24",), own) == ["192.168.1.5"]
    assert listening(("192.168.1.0/24", "fd00::/64"), own) == ["192.168.1.5", "fd00::5"]
    assert listening((), own) == []
    assert "interfaces = 127.0.0.1\n" in render(PLAN, PLACES, [])
    assert "bind interfaces only = yes\n" in render(PLAN, PLACES, [])


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "172.0.0.0/8", "1.2.3.4/32", "::/0", "2001:db8::/32", "x"]
)
def test_a_network_that_is_reached_from_outside_is_none_of_ours(text: str):
    """domain.md SEC-11."""
    with pytest.raises(InvalidInput):
        local_network(text)


def test_what_people_type_becomes_their_account():
    """No login can be an account of the system."""
    assert user_map(PLAN) == '!armoire-p7 = "anne.martin"\n!armoire-p8 = "lea.petit"\n'


def test_who_lost_anything_is_named_and_nobody_else():
    """Those alone are disconnected."""
    shares = (replace(DOCUMENTS, writers=()), MACS)
    assert losers(PLAN, replace(PLAN, shares=shares)) == {7}
    assert losers(PLAN, replace(PLAN, shares=(MACS,))) == {7, 8}
    assert losers(PLAN, replace(PLAN, shares=(replace(DOCUMENTS, writers=(7, 8)), MACS))) == set()
    assert losers(PLAN, PLAN) == set()
    assert losers(None, PLAN) == set()
    renamed = (SmbPerson(7, "anne.durand"), SmbPerson(8, "lea.petit"))
    assert losers(PLAN, replace(PLAN, people=renamed)) == {7}


def test_the_box_is_found_by_macs_and_windows():
    """Time Machine shares among it; nothing is announced without a share."""
    found = avahi_service(replace(PLAN, description="Cabinet <Martin>"), 445)

    assert "<type>_smb._tcp</type>" in found
    assert "dk0=adVN=macs,adVF=0x82" in found
    assert "<name>Cabinet &lt;Martin&gt;</name>" in found
    assert "_smb._tcp" not in avahi_service(replace(PLAN, shares=()), 445)
    assert wsdd_environment(PLAN, ["192.168.1.5"]) == (
        "WSDD_ARGUMENTS=--interface 192.168.1.5 --hostname ARMOIRE --workgroup WORKGROUP\n"
    )


@pytest.mark.parametrize(
    ("interfaces", "conf", "may"),
    [
        ({"lan": ["192.168.1.5", "2a01:e0a:1::5", "fe80::1%lan"]}, "", True),
        ({"lan": ["192.168.1.5"], "idle": ["fe80::2%idle"]}, "", True),
        ({"lan": ["192.168.1.5"], "guests": ["192.168.2.1"]}, "", False),
        ({"lan": ["192.168.1.5"], "wan": ["203.0.113.5"]}, "", False),
        ({"lan": ["192.168.1.5"], "wan": ["203.0.113.5"]}, "allow-interfaces=lan, other\n", True),
        ({"lan": ["192.168.1.5"], "wan": ["203.0.113.5"]}, "#allow-interfaces=lan\n", False),
        ({"lan": ["192.168.1.5"], "wan": ["203.0.113.5"]}, "allow-interfaces=lan,wan\n", False),
    ],
)
def test_the_box_announces_itself_in_the_building_only(interfaces, conf, may):
    """avahi speaks on every interface it has: one outside, and the box says nothing (SEC-11)."""
    plan = replace(PLAN, networks=("192.168.1.0/24",))

    assert may_announce(plan, interfaces, conf) is may
