"""What is known about the certificate by ACME: written and read by the web interface, the worker and commands.

The web interface makes the key and never gives it away; the worker talks to the authority and never has the key.
Between them lie only things that are public: a request, a chain, an answer that the authority fetches by HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from sqlalchemy import Connection

from appliance.db import facts, secrets
from appliance.errors import AlreadyQueued, InvalidInput
from appliance.jobs import queue
from appliance.jobs.kinds import RenewCertificate, Spec
from appliance.language import mark
from appliance.ledger import events
from appliance.model import Job, JobState, PersonId
from appliance.policy import certificate
from appliance.policy.certificate import LastTry, Served, Wish
from appliance.policy.findings import Finding
from appliance.settings import Settings

#: Facts. What somebody asked for; the web's signing request; the chain the authority gave.
WISH: Final = "certificate.wish"
REQUEST: Final = "certificate.request"
CHAIN: Final = "certificate.chain"
#: In the settings' ``tls``: the certificate that the practice brought itself.
BROUGHT: Final = "own.crt"
#: What the web interface shows now.
SERVED: Final = "certificate.served"
#: The order at the authority that is not finished, and the DNS records it asks for.
ORDER: Final = "certificate.order"
#: Answers by HTTP that the authority may fetch now; and what came of the web's try to listen.
ANSWERS: Final = "certificate.answers"
LISTENING: Final = "certificate.listening"


@dataclass(frozen=True, slots=True)
class Record:
    """A TXT record that shows whose the name is."""

    name: str  # _acme-challenge.…
    value: str


@dataclass(frozen=True, slots=True)
class Reading:
    """All there is to say about it."""

    wish: Wish | None
    served: Served | None
    last: Job | None
    records: tuple[Record, ...]  # to be entered by a person now
    record_since: datetime | None

    @property
    def is_busy(self) -> bool:
        """Return whether the box is at it: the newest job waits or runs."""
        return self.wish is not None and self.last is not None and self.last.finished_at is None

    @property
    def last_try(self) -> LastTry | None:
        """The newest job, as the policy asks for it."""
        job = self.last
        if job is None:
            return None
        wait_s = job.error_facts.get("wait_s", 0)
        return LastTry(
            job.finished_at,
            job.state in {JobState.SUCCEEDED, JobState.WARNED},
            wait_s if isinstance(wait_s, int) else 0,
        )

    def is_due(self, now: datetime) -> bool:
        """Return whether the authority is to be asked by itself now."""
        return certificate.is_due(
            self.wish, self.served, self.last_try, now=now, record_since=self.record_since
        )


def read(connection: Connection) -> Reading:
    """Return what is stored."""
    order = mapping(connection, ORDER)
    records = tuple(
        Record(str(each["name"]), str(each["value"])) for each in order.get("records", [])
    )
    last = queue.newest(connection, kind=RenewCertificate.kind, limit=1)
    return Reading(
        wish(connection),
        served(connection),
        last[0] if last else None,
        records,
        datetime.fromisoformat(order["since"]) if records else None,
    )


def wishes(connection: Connection, now: datetime) -> list[Spec]:
    """Return the job that is due by itself: a first try, a renewal, a look for a record."""
    if wish(connection) is None:
        return []  # most boxes: one point read
    return [RenewCertificate()] if read(connection).is_due(now) else []


def certificate_findings(
    connection: Connection, settings: Settings, now: datetime
) -> list[Finding]:
    """Return what there is to say about the certificates: that by ACME, and one the practice brought."""
    said = certificate.brought_findings(brought_until(settings.tls), now=now)
    if wish(connection) is None:
        return said
    known = read(connection)
    return said + certificate.findings(
        known.wish, known.served, known.last_try, now=now, record_since=known.record_since
    )


def brought_until(folder: Path) -> datetime | None:
    """Return when the certificate ends that the practice brought; None: none, or not this account's to read."""
    try:
        leaf = x509.load_pem_x509_certificates((folder / BROUGHT).read_bytes())[0]
    except (OSError, ValueError):
        return None
    return leaf.not_valid_after_utc


def wish(connection: Connection) -> Wish | None:
    """Return what somebody asked for."""
    found = facts.find(connection, WISH)
    return Wish.from_json(found) if isinstance(found, dict) else None


def served(connection: Connection) -> Served | None:
    """Return what the web interface shows."""
    found = facts.find(connection, SERVED)
    if not isinstance(found, dict):
        return None
    return Served(
        tuple(found["names"]),
        datetime.fromisoformat(found["begins"]),
        datetime.fromisoformat(found["ends"]),
        str(found["issuer"]),
        datetime.fromisoformat(found["taken_at"]),
    )


def keep_served(connection: Connection, value: Served | None, *, now: datetime) -> None:
    """Store what is shown; None: nothing of the sort."""
    content = None if value is None else {
        "names": list(value.names),
        "begins": value.begins.isoformat(),
        "ends": value.ends.isoformat(),
        "issuer": value.issuer,
        "taken_at": value.taken_at.isoformat(),
    }  # fmt: skip
    facts.put(connection, SERVED, content, now=now)


def mapping(connection: Connection, name: str) -> Mapping[str, Any]:
    """Return a fact that is an object; an empty one when there is none."""
    found = facts.find(connection, name)
    return found if isinstance(found, dict) else {}


def account_secret(wanted: Wish) -> str:
    """Return the name under which the key of somebody's account at an authority is sealed."""
    return f"acme-account:{_short(wanted.directory, wanted.account)}"


def own_secret(wanted: Wish) -> str:
    """Return the name under which the box's own key at an authority is sealed."""
    if not wanted.account:
        return f"acme:{_short(wanted.directory)}"
    return f"acme:{_short(wanted.directory, wanted.account)}"


def ask(
    connection: Connection,
    wanted: Wish,
    *,
    person_id: PersonId | None,
    actor: str,
    now: datetime,
    sealed: bytes | None = None,
) -> None:
    """Store what is asked for and queue the job; an order for something else is forgotten.

    Args:
        connection: of the write.
        wanted: what is asked for.
        person_id: who asks; None: the command line.
        actor: what the journal writes besides.
        now: aware.
        sealed: key of the account at the authority; None: the one of before, if it has one.

    Raises:
        InvalidInput: an account without its key.
    """
    before = wish(connection)
    if wanted.account and sealed is not None:
        secrets.put_sealed(connection, account_secret(wanted), sealed, now=now)
    elif wanted.account and secrets.find_sealed(connection, account_secret(wanted)) is None:
        raise InvalidInput("account_key", mark("the key that belongs to this account."))
    if before is not None and before.account and account_secret(before) != account_secret(wanted):
        secrets.forget(connection, [account_secret(before)])
    facts.put(connection, WISH, wanted.to_json(), now=now)
    if before is None or order_of(before) != order_of(wanted):
        facts.put(connection, ORDER, None, now=now)
    events.record(
        connection, at=now, event="certificate.asked", subject="box", person_id=person_id,
        actor=actor, names=list(wanted.names), directory=wanted.directory, way=wanted.way.value,
        agreed=wanted.has_agreed, account=wanted.account,
    )  # fmt: skip
    renew(connection, person_id=person_id, now=now)


def order_of(wanted: Wish) -> Mapping[str, Any]:
    """Return what an order is for: one for anything else serves no more."""
    return {
        "directory": wanted.directory,
        "names": list(wanted.names),
        "way": wanted.way.value,
        "account": wanted.account,
    }


def renew(
    connection: Connection, *, person_id: PersonId | None, now: datetime, anyway: bool = False
) -> None:
    """Queue the job; one that waits already is fine."""
    try:
        queue.enqueue(connection, RenewCertificate(anyway), now=now, person_id=person_id)
    except AlreadyQueued:
        return


def give_up(
    connection: Connection, *, person_id: PersonId | None, actor: str, now: datetime
) -> bool:
    """Forget what was asked for; return whether there was something. The web puts its file away."""
    before = wish(connection)
    if before is None:
        return False
    if before.account:
        secrets.forget(connection, [account_secret(before)])
    for name in (WISH, REQUEST, CHAIN, ORDER, ANSWERS):
        facts.put(connection, name, None, now=now)
    events.record(
        connection, at=now, event="certificate.given-up", subject="box", person_id=person_id,
        actor=actor,
    )  # fmt: skip
    return True


def _short(*words: str) -> str:
    return sha256("\n".join(words).encode()).hexdigest()[:16]
