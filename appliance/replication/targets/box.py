"""Another Armoire in the practice's second building as a target: `armoire receive` answers.

The SFTP client does all of it: the other box speaks the same calls and refuses the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.replication.targets.sftp import SftpAccount, SftpTarget
from appliance.vault.secret import Secret


@dataclass(frozen=True, slots=True)
class BoxAccount:
    """How the other box is reached."""

    host: str
    port: int
    sender: str  # our id there
    host_key: str  # «ssh-ed25519 AAAA…», pinned; its fingerprint is shown over there
    private_key: Secret  # OpenSSH format, ed25519


class BoxTarget(SftpTarget):
    """Objects at another Armoire; keeps the promises of ``Target``. ``remove`` is always refused there."""

    def __init__(
        self, account: BoxAccount, *, on_connect: Callable[[], None] | None = None
    ) -> None:
        """Prepare; the connection is made at the first use and again after a cut."""
        super().__init__(
            SftpAccount(
                host=account.host,
                port=account.port,
                user=account.sender,
                host_key=account.host_key,
                private_key=account.private_key,
            ),
            on_connect=on_connect,
        )
        self._host = account.host

    @property
    def label(self) -> str:
        """«box host»."""
        return f"box {self._host}"
