"""A certificate that every device knows already: which names, when it is renewed, what to say when it is not.

By ACME (RFC 8555): an authority such as Let's Encrypt signs for a public name once it has seen an answer of ours,
over HTTP (the box is exposed) or in the DNS (it is not: the way for a practice).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.policy.findings import Finding, Severity

#: What may be said instead of an address. Source: letsencrypt.org/docs, "ACME Protocol Updates" and "Staging Environment".
DIRECTORIES: Final[Mapping[str, str]] = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
NAMES_MAX: Final = 20
#: A failed try is not made again before: authorities count failures (Let's Encrypt: 5 an hour for a name).
TRY_AGAIN: Final = timedelta(hours=6)
#: How often the box looks by itself whether the DNS record that a person enters is there.
LOOK_AGAIN: Final = timedelta(minutes=10)
#: A record nobody enters in this time is no longer looked for by itself.
LOOKS_FOR: Final = timedelta(days=7)
#: Less than this left, and the renewal does not work: grave.
ALARM: Final = timedelta(days=7)
#: A certificate that the practice brought is spoken of so long before its end: people have to fetch another.
BROUGHT_WARNING: Final = timedelta(days=30)

_ACCOUNT: Final = re.compile(r"[!-~]{1,200}")
#: From 16 bytes on: less is no key for HMAC with SHA-256.
_ACCOUNT_KEY: Final = re.compile(r"[A-Za-z0-9_-]{22,1024}")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
#: Names no public authority signs for. Source: RFC 6761, RFC 8375, ICANN on «.internal».
_LOCAL: Final = frozenset({"local", "localhost", "lan", "internal", "home", "test", "invalid", "example", "onion"})  # fmt: skip


class Way(StrEnum):
    """How the authority is shown that the name is ours."""

    DNS = "dns"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for."""

    directory: str  # https address of the authority's directory
    names: tuple[str, ...]  # the first is the one people type
    way: Way
    email: str = ""
    has_agreed: bool = False  # to the authority's terms
    account: str = ""  # number of an account somebody has there; empty: the authority asks for none

    def to_json(self) -> dict[str, object]:
        """Return JSON values."""
        return {
            "directory": self.directory,
            "names": list(self.names),
            "way": self.way.value,
            "email": self.email,
            "has_agreed": self.has_agreed,
            "account": self.account,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "Wish":
        """Return what ``to_json`` gave."""
        names = values["names"]
        return cls(
            str(values["directory"]),
            tuple(map(str, names)) if isinstance(names, list) else (),
            Way(str(values["way"])),
            str(values["email"]),
            values["has_agreed"] is True,
            str(values.get("account", "")),
        )


@dataclass(frozen=True, slots=True)
class Served:
    """The certificate by ACME that the web interface shows."""

    names: tuple[str, ...]
    begins: datetime  # aware UTC
    ends: datetime
    issuer: str
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class LastTry:
    """How the newest job ended; ``ended_at`` None: it waits or runs."""

    ended_at: datetime | None
    succeeded: bool
    wait_s: int = 0  # what the authority asked for


def check_wish(
    directory: str, names: list[str], way: Way, email: str, *, agreed: bool, account: str = ""
) -> Wish:
    """Return a wish in its one form.

    Raises:
        InvalidInput: what the directory, a name, the e-mail address or the account must be.
    """
    directory = DIRECTORIES.get(directory.strip(), directory.strip())
    try:
        parts = urlsplit(directory)
        has_host = bool(parts.hostname) and parts.port != 0 and not parts.username
        is_found = parts.scheme == "https" and has_host
    except ValueError:  # a bracket that is not closed, a port that is none
        is_found = False
    if not is_found:
        raise InvalidInput(
            "directory", mark("«letsencrypt», or the https address of an ACME directory.")
        )
    found = tuple(dict.fromkeys(check_name(each, way) for each in names if each.strip()))
    if not 0 < len(found) <= NAMES_MAX:
        raise InvalidInput("name", mark("one to 20 names, as cloud.cabinet-martin.fr."))
    email = email.strip()
    if email and not re.fullmatch(r"[^\s@,;?&]{1,64}@[^\s@,;?&]{3,190}", email):
        raise InvalidInput("email", mark("one e-mail address, or none."))
    account = account.strip()
    if account and not _ACCOUNT.fullmatch(account):
        raise InvalidInput("account", mark("the number as the authority gave it, without spaces."))
    return Wish(directory, found, way, email, agreed, account)


def check_account_key(text: str) -> str:
    """Return the key of an account at an authority as RFC 8555 section 7.3.4 has it: base64url, unpadded.

    Raises:
        InvalidInput: it is none.
    """
    key = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    if not _ACCOUNT_KEY.fullmatch(key) or len(key) % 4 == 1:
        raise InvalidInput("account_key", mark("the key as the authority gave it, in one piece."))
    return key


def check_name(text: str, way: Way) -> str:
    """Return a public DNS name in lower case ASCII.

    Raises:
        InvalidInput: it is none, or a wildcard that HTTP cannot prove.
    """
    name = text.strip().rstrip(".").lower()
    try:
        name = name.encode("ascii").decode() if name.isascii() else name.encode("idna").decode()
    except UnicodeError as error:
        raise InvalidInput("name", mark("one to 20 names, as cloud.cabinet-martin.fr.")) from error
    star, plain = name.startswith("*."), name.removeprefix("*.")
    labels = plain.split(".")
    is_name = len(plain) <= 253 and len(labels) > 1 and all(_LABEL.fullmatch(one) for one in labels)
    if not is_name or labels[-1].isdigit() or labels[-1] in _LOCAL or plain.endswith("home.arpa"):
        raise InvalidInput("name", mark("one to 20 names, as cloud.cabinet-martin.fr."))
    if star and way is Way.HTTP:
        raise InvalidInput(
            "name", mark("no «*.» with HTTP: such names are proven in the DNS only.")
        )
    return name


def renew_at(served: Served) -> datetime:
    """Return when two thirds of a certificate's life are over."""
    return served.begins + (served.ends - served.begins) * 2 / 3


def covers(served: Served | None, wish: Wish) -> bool:
    """Return whether what is shown is what was asked for."""
    return served is not None and set(wish.names) <= set(served.names)


def is_due(
    wish: Wish | None,
    served: Served | None,
    last: LastTry | None,
    *,
    now: datetime,
    record_since: datetime | None,
) -> bool:
    """Return whether the box should ask the authority by itself now.

    Args:
        wish: what somebody asked for; None: nothing is ever asked.
        served: what is shown.
        last: the newest job.
        now: aware UTC.
        record_since: since when a DNS record waits for a person to enter it; None: none does.
    """
    if wish is None or (last is not None and last.ended_at is None):
        return False
    if covers(served, wish) and served is not None and now < renew_at(served):
        return False
    if last is None or last.ended_at is None:
        return True
    if record_since is not None and last.succeeded and now - record_since < LOOKS_FOR:
        return now - last.ended_at >= LOOK_AGAIN
    return now - last.ended_at >= max(TRY_AGAIN, timedelta(seconds=last.wait_s))


def findings(
    wish: Wish | None,
    served: Served | None,
    last: LastTry | None,
    *,
    now: datetime,
    record_since: datetime | None,
) -> list[Finding]:
    """Return what there is to say; arguments as for ``is_due``."""
    if wish is None:
        return []
    action = mark("Open «Certificate»: it says why, and what to do.")
    name = wish.names[0]
    has = covers(served, wish) and served is not None
    left = served.ends - now if has and served is not None else timedelta()
    if has and left <= timedelta():
        text = mark("The certificate of «%(name)s» has expired: browsers warn of the box.")
        return [Finding("certificate.expired", Severity.ALARM, text, action, {"name": name})]
    grave = Severity.ALARM if has and left <= ALARM else Severity.WARNING
    facts: dict[str, object] = {"name": name, **({"left": left} if has else {})}
    if record_since is not None and (last is None or last.succeeded):
        text = mark("A DNS record has to be entered for the certificate of «%(name)s».")
        return [Finding("certificate.record-awaited", grave, text, action, facts)]
    if last is None or last.ended_at is None or last.succeeded:
        return []
    if has and served is not None:
        if now < renew_at(served):
            return []
        text = mark("The certificate of «%(name)s» could not be renewed; it is valid for another %(left)s.")  # fmt: skip
        return [Finding("certificate.not-renewed", grave, text, action, facts)]
    text = mark("The certificate of «%(name)s» could not be had; the box shows its own.")
    return [Finding("certificate.not-had", Severity.WARNING, text, action, facts)]


def brought_findings(ends: datetime | None, *, now: datetime) -> list[Finding]:
    """Return what there is to say about a certificate that the practice brought itself; None: there is none."""
    if ends is None or ends - now > BROUGHT_WARNING:
        return []
    action = mark(
        "Bring the next one («armoire certificate use»), or let the box have one by ACME."
    )
    if ends <= now:
        text = mark(
            "The certificate that the practice brought has expired: browsers warn of the box."
        )
        return [Finding("certificate.brought-expired", Severity.ALARM, text, action)]
    text = mark("The certificate that the practice brought is valid for another %(left)s.")
    grave = Severity.ALARM if ends - now <= ALARM else Severity.WARNING
    return [Finding("certificate.brought-ends", grave, text, action, {"left": ends - now})]
