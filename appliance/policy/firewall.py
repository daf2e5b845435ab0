"""A suggestion for the box's own firewall, as a file for nftables. It is printed, never applied by the box.

The box binds nothing that this would shut (``policy.listening``): it is a second lock, of another maker. Source: nft(8).
"""

from collections.abc import Sequence
from typing import Final

from appliance.policy import tunnel
from appliance.policy.listening import without_tunnel
from appliance.policy.local_networks import Network

#: SSH, for whoever runs the box, and the port of ``armoire receive``.
SSH: Final = (22, 2222)
SMB: Final = 445
#: How computers find the box: mDNS, WS-Discovery.
DISCOVERY: Final = (3702, 5353)
DISCOVERY_TCP: Final = 5357


def nftables(
    networks: Sequence[Network],
    web_ports: Sequence[int],
    *,
    tunnel_port: int = tunnel.PORT,
    is_open: bool = False,
    smb_in_tunnel: bool = False,
) -> str:
    """Return the file.

    Args:
        networks: declared.
        web_ports: where the web interface answers, the front's among them.
        tunnel_port: UDP, the only one that everybody may reach.
        is_open: the box was opened to the Internet by decision.
        smb_in_tunnel: the file explorer is let in through the tunnel too.
    """
    inside = without_tunnel(networks)
    by_version = [
        ("ip", [str(each) for each in inside if each.version == 4]),
        ("ip6", [str(each) for each in inside if each.version == 6]),
    ]
    web = _ports(web_ports)
    practice = _ports([*SSH, *web_ports, SMB, DISCOVERY_TCP])
    through = _ports([*web_ports, SMB] if smb_in_tunnel else web_ports)
    lines = [
        "#!/usr/sbin/nft -f",
        "# Suggested by Armoire, which never applies it. Read it, then:",
        "#   nft -c -f FILE    checks it",
        "#   nft -f FILE       applies it until the next start; /etc/nftables.conf is for always",
        "# Sit at the box when you try: a mistake shuts you out.",
        "table inet armoire",
        "delete table inet armoire",
        "table inet armoire {",
        "    chain input {",
        "        type filter hook input priority filter; policy drop;",
        "        ct state established,related accept",
        "        ct state invalid drop",
        '        iif "lo" accept',
        "        meta l4proto { icmp, ipv6-icmp } accept",
        "        udp sport { 67, 547 } udp dport { 68, 546 } accept  # the network gives the box its address",
        f"        udp dport {tunnel_port} accept  # the tunnel: it answers nobody without a key",
    ]
    for family, found in by_version:
        if found:
            source = f"{family} saddr {{ {', '.join(found)} }}"
            lines += [
                f"        {source} tcp dport {practice} accept  # the practice",
                f"        {source} udp dport {_ports(DISCOVERY)} accept",
            ]
    lines.append(
        f'        iifname "{tunnel.INTERFACE}" ip saddr {tunnel.NETWORK} tcp dport {through} accept  # devices'
    )
    if is_open:
        lines.append(f"        tcp dport {web} accept  # open to the Internet, by decision")
    lines += [
        "    }",
        "    chain forward {",
        "        type filter hook forward priority filter; policy accept;",
        f'        iifname "{tunnel.INTERFACE}" drop  # a device reaches the box, and nothing behind it',
        f'        oifname "{tunnel.INTERFACE}" drop',
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _ports(ports: Sequence[int]) -> str:
    return "{ " + ", ".join(str(each) for each in sorted(set(ports))) + " }"
