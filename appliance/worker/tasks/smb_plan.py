"""What Samba should know now: shares, rights, people and networks as they are at this moment.

Rights are those of every other door (``disk.access``): who sees reads; who sees, adds, changes and deletes
writes; SMB has nothing between. So a locum's dates, an emergency access, a disabled account and a right
taken away end here by themselves.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_network
from typing import Final

from sqlalchemy import Connection

from appliance.accounts import people
from appliance.db import facts, local_networks, shares
from appliance.disk import access
from appliance.disk.smb_config import (
    MOST_PEOPLE,
    SmbPerson,
    SmbPlan,
    SmbShare,
    listening,
    local_network,
)
from appliance.disk.smb_samba_facts import announcing_interfaces, own_addresses
from appliance.errors import InvalidInput
from appliance.jobs import network
from appliance.policy import tunnel
from appliance.policy.listening import without_tunnel
from appliance.policy.local_networks import Network
from appliance.policy.share_rights import WRITE, Right

#: What was applied last: ``digest``, ``at``, ``addresses``, ``left_out``.
APPLIED: Final = "smb.applied"
#: How the box is called in the file explorer; the page of the network may set it.
NAME: Final = "smb.name"
USUAL_NAME: Final = "ARMOIRE"


def wanted(connection: Connection, *, now: datetime) -> SmbPlan:
    """Return the plan of this moment."""
    readers: dict[int, list[int]] = {}
    writers: dict[int, list[int]] = {}
    known = []
    possible = [
        person
        for person in people.everybody(connection)
        if person.disabled_at is None and 0 < person.id < MOST_PEOPLE
    ]
    for readings in access.read_each(connection, possible, now=now):
        person, may_read = readings.person, False
        for held in readings.held(now):
            if not held.share.over_smb or not held.may(Right.SEE):
                continue
            may_read = True
            readers.setdefault(held.share.id, []).append(person.id)
            if held.rights >= WRITE:
                writers.setdefault(held.share.id, []).append(person.id)
        if may_read:
            known.append(SmbPerson(person.id, person.login))
    opened = tuple(
        SmbShare(
            id=share.id,
            name=share.name,
            label=share.label,
            folder=str(share.folder),
            readers=tuple(sorted(readers[share.id])),
            writers=tuple(sorted(writers.get(share.id, []))),
            is_time_machine=share.is_time_machine,
            quota_bytes=share.quota_bytes,
        )
        for share in shares.all_living(connection)
        if share.id in readers
    )
    practice = facts.find(connection, "practice.name")
    name = facts.find(connection, NAME)
    return SmbPlan(
        name=name if isinstance(name, str) else USUAL_NAME,
        description=_ascii(practice) if isinstance(practice, str) else "Armoire",
        networks=_networks(connection),
        people=tuple(sorted(known, key=lambda each: each.id)),
        shares=opened,
    )


def digest(plan: SmbPlan) -> str:
    """Return what changes whenever Samba must be told something, an address of the box among it."""
    told = {
        **plan.to_json(),
        "listening": listening(plan.networks, own_addresses()),
        "interfaces": announcing_interfaces(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _networks(connection: Connection) -> tuple[str, ...]:
    """Return where the file explorer is let in: the local networks, and the tunnel when somebody switched that on.

    A larger network that holds the tunnel's does not let it in by the way.
    """
    # What reaches beyond the building is passed over whole, before anything is cut out of it.
    found = without_tunnel(_local(local_networks.declared(connection)))
    if network.smb_in_tunnel(connection):
        found = (*found, ip_network(tunnel.NETWORK))
    return tuple(sorted(str(each) for each in found))


def _local(declared: Iterable[Network]) -> tuple[Network, ...]:
    """Return the declared networks that no one reaches from outside: over SMB there are no others (SEC-11)."""
    found = []
    for each in declared:
        with suppress(InvalidInput):
            found.append(local_network(str(each)))
    return tuple(found)


def _ascii(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text)
    return "".join(each for each in folded if each.isascii() and each.isprintable())
