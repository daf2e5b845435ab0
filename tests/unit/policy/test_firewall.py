"""The suggestion for the box's firewall: what it lets in, and that nftables understands it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.policy.firewall import nftables
from appliance.policy.local_networks import parse

NETWORKS = parse(["192.168.1.0/24", "fd12::/64", "10.0.0.0/8"])


def test_everybody_reaches_the_tunnel_and_the_practice_the_rest() -> None:
    """One UDP port for all; every TCP port names who may come."""
    text = nftables(NETWORKS, [8443], tunnel_port=51999)

    assert "policy drop" in text
    free = [line.strip() for line in text.splitlines() if "dport" in line and "saddr" not in line]
    assert [line.partition("  #")[0] for line in free] == [
        "udp sport { 67, 547 } udp dport { 68, 546 } accept",
        "udp dport 51999 accept",
    ]
    assert "445" not in next(line for line in text.splitlines() if "armoire0" in line)
    assert "tcp dport { 8443 } accept  # open" in nftables(NETWORKS, [8443], is_open=True)
    through = nftables(NETWORKS, [8443, 443], smb_in_tunnel=True)
    assert "tcp dport { 443, 445, 8443 } accept  # devices" in through


def test_the_tunnel_is_cut_out_of_a_larger_network() -> None:
    """Else a device would have what the practice has."""
    practice = next(
        line for line in nftables(NETWORKS, [8443]).splitlines() if "# the practice" in line
    )

    assert "10.0.0.0/8" not in practice
    assert "10.113.76.0/24" in practice
    assert "10.113.77." not in practice


@pytest.mark.parametrize("networks", [(), NETWORKS], ids=["none", "some"])
def test_nftables_understands_it(tmp_path: Path, networks) -> None:
    """nft's own word; nothing is applied."""
    if shutil.which("nft") is None or shutil.which("unshare") is None or os.geteuid():
        pytest.skip("nft asks the kernel, which needs root")
    file = tmp_path / "armoire.nft"
    file.write_text(nftables(networks, [8443, 443], is_open=True, smb_in_tunnel=True))
    done = subprocess.run(
        ["unshare", "--net", "nft", "-c", "-f", str(file)],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    if "not supported" in done.stderr or "Protocol not" in done.stderr:
        pytest.skip("this kernel has no nftables")

    assert (done.returncode, done.stderr) == (0, "")
