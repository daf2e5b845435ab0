"""The job that writes down who may come in through the tunnel; a unit of root's puts it into force.

``tunnel/wanted.conf`` is what ``wg syncconf`` takes, written in one step; ``armoire-tunnel.path`` sees it. The
box's key is made here, sealed in the vault, and in this file only, readable by the worker and root.
"""

from hashlib import sha256
from typing import Final

from appliance.accounts import tunnel as devices
from appliance.clock import utc_now
from appliance.db import facts, secrets
from appliance.folders import put_file
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import TunnelApply
from appliance.model import JobState
from appliance.policy import tunnel
from appliance.settings import Settings
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal

KEY: Final = "tunnel:key"
#: Fact: the digest of what was written last; the planner compares.
APPLIED: Final = "tunnel.applied"


def run(context: JobContext, _spec: TunnelApply) -> JobState:
    """Write the tunnel's configuration for now.

    Raises:
        KeyMissing, SecretUnreadable: the vault does not open.
    """
    settings, now = context.settings, utc_now()
    with context.database.write() as connection:
        sealed = secrets.find_sealed(connection, KEY)
        if sealed is None:
            private, public = devices.make_keys()
            secrets.put_sealed(
                connection, KEY, seal(Secret(private.encode()), settings.keys), now=now
            )
            facts.put(connection, devices.PUBLIC_KEY, public, now=now)
        else:
            private = unseal(KEY, sealed, settings.keys).reveal().decode("ascii")
        endpoint = devices.endpoint(connection)
        peers = devices.peers(connection, now=now)
    port = endpoint[1] if endpoint is not None else tunnel.PORT
    write(settings, tunnel.interface_text(private, port, peers))
    with context.database.write() as connection:
        facts.put(connection, APPLIED, digest(peers, port), now=now)
    context.result.update({"devices": len(peers)})
    return JobState.SUCCEEDED


def digest(peers: list[tunnel.Peer], port: int) -> str:
    """Return what changes when the tunnel must be written again."""
    return sha256(tunnel.interface_text("", port, peers).encode()).hexdigest()


def write(settings: Settings, text: str) -> None:
    """Put the configuration in place, in one step."""
    folder = settings.data / "tunnel"
    folder.mkdir(mode=0o700, exist_ok=True)
    put_file(folder / "wanted.conf", text.encode(), 0o600)
