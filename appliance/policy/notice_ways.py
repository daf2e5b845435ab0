"""Which ways out there may be, and what their addresses look like: pure.

A message goes by e-mail, or by a service of this list through Apprise. The list is closed: of Apprise's many kinds
some run programs, read files or write to the system's log, and an address may ask a kind to read a file or not to
look at a certificate. What is not named here is refused (docs/decisions/0194).
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote, urlsplit

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.policy.local_networks import is_building
from appliance.policy.notices import Rules, Topic

LONGEST_URL: Final = 1000
LONGEST_EMAIL: Final = 254
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+'/=?^{|}~!#$&*-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class Kind(StrEnum):
    """How a way works."""

    EMAIL = "email"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Service:
    """A service of Apprise: its name for people, and where its code is."""

    name: str
    module: str  # of apprise.plugins
    plugin: str
    is_plain: bool = False  # without encryption: to an address of the practice's own networks only


#: The beginning of an address → its service.
SERVICES: Final[dict[str, Service]] = {
    "jsons": Service("JSON (HTTPS)", "custom_json", "NotifyJSON"),
    "json": Service("JSON (HTTP)", "custom_json", "NotifyJSON", is_plain=True),
    "ntfys": Service("ntfy", "ntfy", "NotifyNtfy"),
    "ntfy": Service("ntfy (HTTP)", "ntfy", "NotifyNtfy", is_plain=True),
    "gotifys": Service("Gotify", "gotify", "NotifyGotify"),
    "gotify": Service("Gotify (HTTP)", "gotify", "NotifyGotify", is_plain=True),
    "mmosts": Service("Mattermost", "mattermost", "NotifyMattermost"),
    "rockets": Service("Rocket.Chat", "rocketchat", "NotifyRocketChat"),
    "nctalks": Service("Nextcloud Talk", "nextcloudtalk", "NotifyNextcloudTalk"),
    "signals": Service("Signal", "signal_api", "NotifySignalAPI"),
    "synologys": Service("Synology Chat", "synology", "NotifySynology"),
    "freemobile": Service("Free Mobile (SMS)", "freemobile", "NotifyFreeMobile"),
    "pover": Service("Pushover", "pushover", "NotifyPushover"),
    "tgram": Service("Telegram", "telegram", "NotifyTelegram"),
    "slack": Service("Slack", "slack", "NotifySlack"),
    "discord": Service("Discord", "discord", "NotifyDiscord"),
    "zulip": Service("Zulip", "zulip", "NotifyZulip"),
}
#: What an address may say behind «?»; templates, attachments, certificates and redirects are not among it.
_QUERY: Final = frozenset(
    {"priority", "tags", "to", "mode", "auth", "token", "channel", "topic", "method"}
)


class Security(StrEnum):
    """How the line to the e-mail server is encrypted."""

    TLS = "tls"  # from the first byte, usually port 465
    STARTTLS = "starttls"  # after a greeting, usually port 587
    NONE = "none"  # to a server of the practice's own networks only, and without a password


SECURITY_NAMES: Final[dict[Security, str]] = {
    Security.TLS: mark("TLS (usually port 465)"),
    Security.STARTTLS: mark("STARTTLS (usually port 587)"),
    Security.NONE: mark("none (a server of the practice's own network only)"),
}


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server that takes the practice's e-mail; its password is in the vault."""

    server: str
    port: int
    security: Security
    sender: str
    user: str = ""
    ca: str = ""  # PEM of the authority of its certificate; empty: the system's

    def stored(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "server": self.server,
            "port": self.port,
            "security": self.security.value,
            "sender": self.sender,
            "user": self.user,
            "ca": self.ca,
        }

    @staticmethod
    def of(stored: Mapping[str, object]) -> "MailServer":
        """Return the server that is stored."""
        return MailServer(
            str(stored["server"]),
            int(str(stored["port"])),
            Security(str(stored["security"])),
            str(stored["sender"]),
            str(stored.get("user", "")),
            str(stored.get("ca", "")),
        )


def check_email(text: str, field: str = "email") -> str:
    """Return an e-mail address.

    Raises:
        InvalidInput: it is none.
    """
    found = text.strip()
    if len(found) > LONGEST_EMAIL or _EMAIL.fullmatch(found) is None:
        raise InvalidInput(field, mark("An e-mail address, please: name@example.org"))
    return found


def check_server(
    *, server: str, port: str, security: str, sender: str, user: str = "", ca: str = ""
) -> MailServer:
    """Return the e-mail server of what somebody typed.

    Raises:
        InvalidInput: a field is wrong, or something would go over the line in clear.
    """
    name = server.strip().rstrip(".")
    if not is_host(name):
        raise InvalidInput("server", mark("The name of the e-mail server, please."))
    number = int(port) if port.strip().isascii() and port.strip().isdecimal() else 0
    if not 0 < number < 65536:
        raise InvalidInput("port", mark("A port from 1 to 65535, please."))
    try:
        kind = Security(security)
    except ValueError as error:
        raise InvalidInput("security", mark("tls, starttls or none, please.")) from error
    who = user.strip()
    if any(ord(each) < 32 for each in who) or len(who) > LONGEST_EMAIL:
        raise InvalidInput("user", mark("The user name holds something it may not."))
    if kind is Security.NONE and (who or not is_near(name)):
        raise InvalidInput(
            "security",
            mark(
                "Without encryption only to a server of the practice's own network, by its"
                " address in figures, and without a user name."
            ),
        )
    return MailServer(name, number, kind, check_email(sender, "sender"), who, ca.strip())


def check_service(url: str) -> Service:
    """Return the service of an Apprise address, when it may be used.

    Raises:
        InvalidInput: a kind that is not in the list, something that is asked for behind «?» and not allowed, or an
            address that Apprise might read otherwise than we do.
    """
    if len(url) > LONGEST_URL or any(ord(each) <= 32 or ord(each) == 127 for each in url):
        raise InvalidInput("url", mark("An address without spaces, please."))
    schema, found, _rest = url.partition("://")
    service = SERVICES.get(schema.lower())
    if not found or service is None:
        raise InvalidInput("url", mark("This kind of address is not among those that are allowed."))
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise InvalidInput("url", mark("This address cannot be read.")) from error
    if parts.netloc.count("@") > 1:
        raise InvalidInput("url", mark("One «@» at most before the computer's name, please."))
    if "[" in parts.netloc:  # Apprise cuts the last figures off
        raise InvalidInput(
            "url", mark("A name or an IPv4 address, please: IPv6 does not work here.")
        )
    if _is_read_in_two_ways(url):
        raise InvalidInput(
            "url", mark("An address with one «?» at most, before any «#», and without «;», please.")
        )
    # Apprise's own reading: from the first «?» to the end, «#» and all.
    asked = url.partition("?")[2]
    if asked and not may_ask(unquote(each.partition("=")[0]) for each in asked.split("&")):
        raise InvalidInput("url", mark("Something behind «?» in this address is not allowed."))
    if service.is_plain and not is_near(host):
        raise InvalidInput(
            "url",
            mark(
                "Without encryption only to the practice's own network, by its address in figures."
            ),
        )
    return service


def may_ask(names: Iterable[str]) -> bool:
    """Return whether an address may say all of these behind «?»; «+name» is a header of JSON."""
    return all(not each or each.lower() in _QUERY or each.startswith("+") for each in names)


def _is_read_in_two_ways(url: str) -> bool:
    """Return whether Apprise might find more in it than we: it splits at «;» too, and looks behind «#»."""
    before, _mark, behind = url.partition("?")
    return (
        any(each in url for each in ";\\")
        or "?" in behind
        or (bool(_mark) and "#" in before)
        or any(ord(each) < 32 or ord(each) == 127 for each in unquote(url))
    )


def check_ping(url: str) -> str:
    """Return the address of an outside monitor.

    Raises:
        InvalidInput: it is none, or not encrypted and not near.
    """
    found = url.strip()
    if len(found) > LONGEST_URL or any(ord(each) <= 32 or ord(each) == 127 for each in found):
        raise InvalidInput("ping", mark("An address without spaces, please."))
    try:
        parts = urlsplit(found)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidInput("ping", mark("This address cannot be read.")) from error
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_near(host))
    if not is_host(host.strip("[]")) or not is_safe:
        raise InvalidInput("ping", mark("An address that begins with https://, please."))
    return found


def check_base_url(url: str) -> str:
    """Return the box's own address as messages show it, without a path; empty stays empty.

    Raises:
        InvalidInput: it is no «https://…».
    """
    found = url.strip().rstrip("/")
    if not found:
        return ""
    try:
        parts = urlsplit(found)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidInput("base_url", mark("This address cannot be read.")) from error
    is_bare = not parts.path and not parts.query and not parts.fragment and not parts.username
    if parts.scheme != "https" or not is_host(host) or not is_bare or len(found) > 200:
        raise InvalidInput("base_url", mark("Like this, please: https://armoire.example.org:8443"))
    return found


def check_rules(
    *, quiet_from: str, quiet_until: str, digest_days: str, digest_at: str, base_url: str
) -> Rules:
    """Return the rules of what somebody typed.

    Raises:
        InvalidInput: a field is wrong.
    """
    given = {
        "quiet_from": quiet_from,
        "quiet_until": quiet_until,
        "digest_at": digest_at,
    }
    for field, text in given.items():
        if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text) is None:
            raise InvalidInput(field, mark("An hour like 21:00, please."))
    if digest_days not in {"0", "1", "7"}:
        raise InvalidInput("digest_days", mark("0, 1 or 7, please."))
    return Rules.of(
        {**given, "digest_days": int(digest_days), "base_url": check_base_url(base_url)}
    )


def topics(chosen: list[str], allowed: tuple[Topic, ...]) -> list[str]:
    """Return the chosen topics, sorted.

    Raises:
        InvalidInput: none, or one that is not of this kind of way.
    """
    if not chosen or not set(chosen) <= {each.value for each in allowed}:
        raise InvalidInput("topics", mark("Choose what is to be told this way, please."))
    return sorted(set(chosen))


def is_host(name: str) -> bool:
    """Return whether this is the name or the address of a computer."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return len(name) <= 253 and _HOST.fullmatch(name) is not None and ".." not in name
    return True


def is_near(host: str) -> bool:
    """Return whether this is an address in figures of the box itself or of a private network."""
    try:
        one = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    return is_building(one)
