"""What the practice declared and decided about its network, and what follows: the rule of ``policy.listening``.

Each change is written to the ledger. The web interface and Samba see it by themselves some seconds later.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from appliance import interfaces
from appliance.db import facts, local_networks
from appliance.db.engine import Database
from appliance.db.schema import person
from appliance.errors import AlreadyExists, NotFound
from appliance.language import mark
from appliance.ledger import events
from appliance.model import PersonId
from appliance.policy.findings import Finding, Severity
from appliance.policy.firewall import nftables
from appliance.policy.listening import Card, Rule, doors, stands_apart
from appliance.policy.local_networks import Network, declarable, holds
from appliance.policy.tunnel import PORT, check_endpoint
from appliance.settings import Settings

#: Fact: who opened the box to the Internet, and when; nothing or null: nobody did.
OPENED: Final = "network.opened"
#: Fact: visitors of the Internet who reached an address of the practice and were sent away: since, at, count.
TURNED_AWAY: Final = "network.turned-away"
#: Told for so long after the last of them.
TOLD_FOR: Final = timedelta(days=1)
#: Fact: Samba listens in the tunnel too.
SMB_IN_TUNNEL: Final = "network.smb-in-tunnel"


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Visitors of the Internet who reached the box, and were sent away: its router lets them in."""

    count: int
    since: datetime
    at: datetime  # the last


@dataclass(frozen=True, slots=True)
class Opened:
    """Somebody's decision to open the box to the Internet."""

    by: PersonId
    at: datetime
    links_only: bool = False  # correspondents' links, and no page where somebody could sign in


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database says of it, whatever the box's interfaces are."""

    networks: tuple[Network, ...] | None  # None: the practice declared none yet
    opened: Opened | None


def cards() -> list[Card]:
    """Return the addresses of the box's interfaces, as they are now."""
    return [Card(each.interface, each.address) for each in interfaces.addresses()]


def rule(connection: Connection, settings: Settings) -> Rule:
    """Return what was declared and decided."""
    return _rule(stored(connection), settings)


def recall(database: Database, settings: Settings) -> Rule:
    """As ``rule``, for who asks often: the database is read again only after somebody wrote into it."""
    return _rule(recall_stored(database), settings)


def recall_stored(database: Database) -> Stored:
    """As ``stored``, read again only after somebody wrote into the database."""
    return database.recall("network.stored", stored)


def stored(connection: Connection) -> Stored:
    """Return what the database says."""
    return Stored(local_networks.find_declared(connection), opened(connection))


def _rule(known: Stored, settings: Settings) -> Rule:
    networks = known.networks
    return Rule(
        networks=local_networks.of_the_box() if networks is None else networks,
        is_open=known.opened is not None,
        setting=settings.listen_address,
        front=settings.front_address,
    )


def is_declared(connection: Connection) -> bool:
    """Return whether the practice declared its networks; else those of the box's interfaces count."""
    return local_networks.find_declared(connection) is not None


def declare(
    connection: Connection,
    text: str,
    *,
    now: datetime,
    by: PersonId | None = None,
    actor: str | None = None,
) -> Network:
    """Declare a local network, inside the caller's write; the first time, those in use are declared with it.

    Raises:
        InvalidInput: it is none, reaches beyond a building, or is the tunnel's.
        AlreadyExists: it is declared.
    """
    network = declarable(text)
    known = [str(each) for each in local_networks.declared(connection)]
    if is_declared(connection) and str(network) in known:
        raise AlreadyExists("network", str(network))
    _put(connection, sorted({*known, str(network)}), now)
    events.record(connection, at=now, event="network.declared", subject="box",
                  person_id=by, actor=actor, network=str(network))  # fmt: skip
    return network


def forget(
    connection: Connection,
    text: str,
    *,
    now: datetime,
    by: PersonId | None = None,
    actor: str | None = None,
) -> None:
    """Declare a network no longer, inside the caller's write.

    Raises:
        NotFound: it is not among those in use.
        InvalidInput: it is none.
    """
    network = declarable(text)
    known = [str(each) for each in local_networks.declared(connection)]
    if str(network) not in known:
        raise NotFound("network", str(network))
    _put(connection, [each for each in known if each != str(network)], now)
    events.record(connection, at=now, event="network.forgotten", subject="box",
                  person_id=by, actor=actor, network=str(network))  # fmt: skip


def would_shut_out(connection: Connection, text: str, address: str) -> bool:
    """Return whether ``address`` is at the practice through this network only.

    Raises:
        InvalidInput: ``text`` is no network.
    """
    network = declarable(text)
    left = [each for each in local_networks.declared(connection) if each != network]
    return local_networks.is_local(connection, address) and not holds(left, address)


def opened(connection: Connection) -> Opened | None:
    """Return the decision to open the box to the Internet, or None."""
    found = facts.find(connection, OPENED)
    if not isinstance(found, dict):
        return None
    return Opened(
        PersonId(int(found["by"])),
        datetime.fromisoformat(str(found["at"])),
        found.get("links_only") is True,
    )


def open_to_internet(
    connection: Connection, *, by: PersonId, now: datetime, links_only: bool = False
) -> None:
    """Open the box to the Internet by decision of a person, inside the caller's write."""
    value = {"by": int(by), "at": now.isoformat(), "links_only": links_only}
    facts.put(connection, OPENED, value, now=now)
    events.record(
        connection,
        at=now,
        event="network.opened",
        subject="box",
        person_id=by,
        links_only=links_only,
    )


def name_of(connection: Connection, who: PersonId) -> str:
    """Return a person's name."""
    found = connection.execute(select(person.c.name).where(person.c.id == who)).scalar()
    return "–" if found is None else str(found)


def close(
    connection: Connection,
    *,
    now: datetime,
    by: PersonId | None = None,
    actor: str | None = None,
) -> bool:
    """Close the box to the Internet again; return whether it was open."""
    if opened(connection) is None:
        return False
    facts.put(connection, OPENED, None, now=now)
    events.record(
        connection, at=now, event="network.closed", subject="box", person_id=by, actor=actor
    )
    return True


def turned_away(connection: Connection, now: datetime) -> TurnedAway | None:
    """Return who was sent away lately, or None: nobody."""
    found = facts.find(connection, TURNED_AWAY)
    if not isinstance(found, dict):
        return None
    at = datetime.fromisoformat(str(found["at"]))
    if now - at > TOLD_FOR:
        return None
    return TurnedAway(int(found["count"]), datetime.fromisoformat(str(found["since"])), at)


def note_turned_away(connection: Connection, count: int, *, now: datetime) -> None:
    """Note that ``count`` more were sent away; no address: it would be a list of strangers."""
    known = turned_away(connection, now)
    value = {
        "count": count + (0 if known is None else known.count),
        "since": (now if known is None else known.since).isoformat(),
        "at": now.isoformat(),
    }
    facts.put(connection, TURNED_AWAY, value, now=now)


def smb_in_tunnel(connection: Connection) -> bool:
    """Return whether the file explorer reaches the box through the tunnel too."""
    return facts.find(connection, SMB_IN_TUNNEL) is True


def set_smb_in_tunnel(
    connection: Connection, *, is_on: bool, now: datetime, by: PersonId | None = None
) -> None:
    """Let the file explorer in through the tunnel, or no longer."""
    facts.put(connection, SMB_IN_TUNNEL, is_on, now=now)
    events.record(
        connection, at=now, event="network.smb-in-tunnel", subject="box", person_id=by, is_on=is_on
    )


def network_findings(connection: Connection, settings: Settings, now: datetime) -> list[Finding]:
    """Return what there is to say about the way in."""
    said = []
    knocking = turned_away(connection, now)
    if knocking is not None and opened(connection) is None:
        said.append(
            Finding(
                "network.knocking",
                Severity.WARNING,
                mark(
                    "The practice's router lets visitors from the Internet through to the box: %(count)s were sent away "
                    "since %(since_at)s."
                ),
                mark(
                    "Remove the forwarded port or the «DMZ» in the router; the tunnel needs one UDP port and nothing else."
                ),
                {"count": knocking.count, "since_at": knocking.since},
            )
        )
    found = opened(connection)
    if found is not None and found.links_only:
        said.append(
            Finding(
                "network.open-for-links",
                Severity.NOTICE,
                mark(
                    "Correspondents' links can be opened from the Internet, by decision of %(name)s, on %(opened_at)s. Nobody can "
                    "sign in from there."
                ),
                mark("When no link is in use any more, close the box under «Network»."),
                {"name": name_of(connection, found.by), "opened_at": found.at},
            )
        )
    elif found is not None:
        said.append(
            Finding(
                "network.open",
                Severity.WARNING,
                mark("The box is open to the Internet by decision of %(name)s, on %(opened_at)s."),
                mark(
                    "Use the tunnel instead, and close the box under «Network»: two doctors were fined because a router "
                    "showed their patients' images to the whole Internet (CNIL, SAN-2020-014 and 015)."
                ),
                {"name": name_of(connection, found.by), "opened_at": found.at},
            )
        )
    apart = (
        stands_apart(doors(cards(), rule(connection, settings))) if is_declared(connection) else []
    )
    if apart:
        said.append(
            Finding(
                "network.apart",
                Severity.WARNING,
                mark(
                    "The box stands in no declared local network: nobody reaches it at %(addresses)s."
                ),
                mark(
                    "If this is the practice's network now, declare it: «armoire network declare», on the box itself."
                ),
                {"addresses": ", ".join(apart)},
            )
        )
    return said


def firewall(connection: Connection, settings: Settings) -> str:
    """Return the suggestion for the box's firewall, as things are now."""
    known = rule(connection, settings)
    found = facts.find(connection, facts.TUNNEL_ENDPOINT)
    ports = [settings.listen_port, *([443] if settings.front_address else [])]
    return nftables(
        known.networks,
        ports,
        tunnel_port=check_endpoint(found)[1] if isinstance(found, str) and found else PORT,
        is_open=known.is_open,
        smb_in_tunnel=smb_in_tunnel(connection),
    )


def _put(connection: Connection, networks: list[str], now: datetime) -> None:
    facts.put(connection, local_networks.FACT, networks, now=now)
