"""How computers of the building find the box by themselves: mDNS (macOS, Linux) and WS-Discovery (Windows).

wsdd is told the addresses Samba listens on. avahi cannot be told for one service: it speaks on every interface it
has, so the box announces itself only where each of them is of the building. Pure: texts and one decision.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

from appliance.disk.smb_config import SmbPlan, local_network

#: What the Finder draws; Source: Apple's «com.apple.rackmac» type, as vfs_fruit(8) «fruit:model».
MODEL: Final = "RackMac"


def may_announce(
    plan: SmbPlan, interfaces: Mapping[str, Sequence[str]], avahi_conf: str = ""
) -> bool:
    """Return whether no one outside the declared networks would hear of the box (domain.md SEC-11).

    An interface with an address in a declared network is of the building, whatever else it carries; one that has
    addresses, and none of them, is not.

    Args:
        plan: with the declared networks.
        interfaces: addresses of each on which avahi speaks.
        avahi_conf: avahi-daemon.conf, whose ``allow-interfaces`` narrows them.
    """
    declared = [local_network(each) for each in plan.networks]
    allowed = re.search(r"^\s*allow-interfaces\s*=(.*)$", avahi_conf, re.MULTILINE)
    names = set(interfaces)
    if allowed is not None:
        names &= {each.strip() for each in allowed[1].split(",")}
    for name in names:
        parsed = [ipaddress.ip_address(each.partition("%")[0]) for each in interfaces[name]]
        routed = [each for each in parsed if not each.is_link_local]
        if routed and not any(
            one.version == each.version and one in each for one in routed for each in declared
        ):
            return False
    return True


def avahi_service(plan: SmbPlan, port: int) -> str:
    """Return a service file for avahi, Time Machine shares among it. Source: avahi.service(5), Samba wiki «Time Machine»."""
    machines = [each for each in plan.shares if each.is_time_machine and each.readers]
    services = [
        _service("_smb._tcp", port),
        _service("_device-info._tcp", 0, f"model={MODEL}"),
    ]
    if machines:
        disks = [f"dk{number}=adVN={each.name},adVF=0x82" for number, each in enumerate(machines)]
        services.append(_service("_adisk._tcp", 9, *disks, "sys=waMa=0,adVF=0x100"))
    if not any(each.readers for each in plan.shares):
        services = []  # nothing to find
    body = "\n".join(services)
    return (
        '<?xml version="1.0" standalone="no"?>\n'
        '<!DOCTYPE service-group SYSTEM "avahi-service.dtd">\n'
        f"<service-group>\n<name>{escape(plan.description or plan.name)}</name>\n{body}\n</service-group>\n"
    )


def wsdd_environment(plan: SmbPlan, addresses: Sequence[str]) -> str:
    """Return the environment file of the unit that runs wsdd. Source: wsdd(8)."""
    arguments = " ".join(f"--interface {each}" for each in addresses)
    return f"WSDD_ARGUMENTS={arguments} --hostname {plan.name} --workgroup WORKGROUP\n"


def _service(kind: str, port: int, *records: str) -> str:
    texts = "".join(f"\n    <txt-record>{escape(each)}</txt-record>" for each in records)
    return f"  <service>\n    <type>{kind}</type>\n    <port>{port}</port>{texts}\n  </service>"
