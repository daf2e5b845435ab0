"""One message out of the box: by SMTP, by a service of Apprise, or a word to an outside monitor.

Nothing here writes a secret, an address or an answer of a server to a log or an exception: what went wrong is one
word of ``policy.notices.PROBLEMS``. Certificates are always verified.
"""

import logging
import re
import smtplib
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from appliance.errors import InvalidInput
from appliance.policy.notice_ways import MailServer, Security, check_service, is_near, may_ask
from appliance.policy.notices import Message
from appliance.vault.secret import Secret

TIMEOUT_S: Final = 30.0
#: Libraries that would write addresses with their keys, or a person's address, into the log.
_SILENT: Final = ("apprise", "urllib3", "requests", "httpx2", "httpcore2", "hpack")
AGENT: Final = "Armoire"
#: How an answer begins that says the recipient's mailbox or domain does not exist.
_NO_MAILBOX: Final = re.compile(rb"5\.1\.([0-6]|10)(?!\d)")
#: What makes a plug-in of Apprise read a file, or fetch one.
_FILES: Final = ("template", "attach", "file_url")


class NotSent(Exception):
    """The message did not leave; ``problem`` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


# --- e-mail --------------------------------------------------------------------------------


def send_mail(
    server: MailServer,
    password: Secret | None,
    recipient: str,
    message: Message,
    *,
    message_id: str,
    now: datetime,
) -> None:
    """Hand one e-mail to the server; it has taken it when this returns.

    Args:
        server: checked by ``policy.notice_ways``.
        password: of its user; None: it has none.
        recipient: an e-mail address.
        message: plain text.
        message_id: the same when the same message is sent again: mail programs show it once.
        now: aware.

    Raises:
        NotSent: with the reason.
    """
    mail = EmailMessage()
    mail["From"] = f"{AGENT} <{server.sender}>"
    mail["To"] = recipient
    mail["Subject"] = f"[{AGENT}] {message.title}"
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{message_id}@{server.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body, cte="quoted-printable")
    with _judged(), _line(server) as line:
        _sign_in(line, server, password)
        line.send_message(mail, server.sender, [recipient])


def try_mail(server: MailServer, password: Secret | None) -> None:
    """Sign in to the server and leave, without a message.

    Raises:
        NotSent: with the reason.
    """
    with _judged(), _line(server) as line:
        _sign_in(line, server, password)
        line.noop()


def _sign_in(line: smtplib.SMTP, server: MailServer, password: Secret | None) -> None:
    """Show who we are, by PLAIN or LOGIN: the line is encrypted, and smtplib's own takes ASCII passwords only."""
    if not server.user:
        return
    if password is None:
        raise NotSent("not-opened")
    user, word = server.user.encode(), password.reveal()
    offered = line.esmtp_features.get("auth", "").upper().split()
    if "PLAIN" in offered:
        whole = _packed(b"\0".join((b"", user, word)))
        code, _ = line.docmd("AUTH", f"PLAIN {whole}")
    elif "LOGIN" in offered:
        code, _ = line.docmd("AUTH", f"LOGIN {_packed(user)}")
        if code == 334:
            code, _ = line.docmd(_packed(word))
    else:
        raise NotSent("password")
    if code not in {235, 503}:  # 503: it knows us already
        raise smtplib.SMTPAuthenticationError(code, b"")


def _packed(value: bytes) -> str:
    return b64encode(value).decode("ascii")


@contextmanager
def _line(server: MailServer) -> Iterator[smtplib.SMTP]:
    trust = ssl.create_default_context()
    if server.ca:
        trust = ssl.create_default_context(cadata=server.ca)
    if server.security is Security.TLS:
        line: smtplib.SMTP = smtplib.SMTP_SSL(
            server.server, server.port, timeout=TIMEOUT_S, context=trust
        )
    else:
        line = smtplib.SMTP(server.server, server.port, timeout=TIMEOUT_S)
    try:
        if server.security is Security.STARTTLS:
            line.ehlo()
            if not line.has_extn("starttls"):
                raise NotSent("no-encryption")
            line.starttls(context=trust)
        line.ehlo()
        yield line
    finally:
        # The server has the message: an answer to «goodbye» that does not come changes nothing.
        with suppress(OSError, smtplib.SMTPException):
            line.quit()
        line.close()


@contextmanager
def _judged() -> Iterator[None]:
    """Turn what smtplib raises into one word; its texts hold what the server said, addresses too."""
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        raise NotSent("later" if _is_later(error.smtp_code) else "password") from None
    except smtplib.SMTPSenderRefused as error:
        raise NotSent("later" if _is_later(error.smtp_code) else "sender") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise NotSent(_of_recipient(*next(iter(error.recipients.values())))) from None
    except smtplib.SMTPNotSupportedError:
        raise NotSent("no-encryption") from None
    except (smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError):
        raise NotSent("unreachable") from None
    except smtplib.SMTPResponseException as error:
        raise NotSent("later" if _is_later(error.smtp_code) else "refused") from None
    except smtplib.SMTPException:
        raise NotSent("refused") from None
    except ssl.SSLError:
        raise NotSent("certificate") from None
    except (OSError, UnicodeError):
        raise NotSent("unreachable") from None


def _of_recipient(code: int, said: bytes) -> str:
    """Return why a recipient was refused: final only for a mailbox that is not there.

    Servers refuse here, too, what they would take once the box is set right: a relay that is denied, a sender they do
    not know. Enhanced status codes (RFC 3463, 3.2): 5.1.7 and 5.1.8 are about the sender's address.
    """
    if _is_later(code):
        return "later"
    is_gone = code in {550, 551, 553} and _NO_MAILBOX.match(said) is not None
    return "recipient" if is_gone else "relay"


def _is_later(code: int) -> bool:
    return 400 <= code < 500


# --- services ------------------------------------------------------------------------------


def send_by_service(address: Secret, message: Message) -> None:
    """Hand one message to a service; it has taken it when this returns.

    Only the code of this very service is imported, never a plug-in found somewhere; nothing is kept on the disk.

    Raises:
        NotSent: it did not take it, or its address is not one that is allowed.
    """
    silence()
    try:
        is_taken = _service(address.reveal().decode()).notify(
            body=message.body, title=message.title
        )
    except NotSent:
        raise
    except InvalidInput:
        raise NotSent("address") from None
    except Exception:  # noqa: BLE001 - each service has its own way to fail; their texts hold keys
        raise NotSent("service") from None
    if not is_taken:
        raise NotSent("service")


def _service(url: str) -> Any:  # noqa: ANN401 - Apprise's own, without a common type
    service = check_service(url)
    asset = import_module("apprise.asset").AppriseAsset(
        plugin_paths=[], storage_mode="memory", timezone="UTC"
    )
    asset.app_id, asset.app_desc, asset.app_url = AGENT, AGENT, ""
    asset.async_mode, asset.http_redirects = False, False
    plugin = getattr(import_module(f"apprise.plugins.{service.module}"), service.plugin)
    given = _read(plugin, url)
    if service.is_plain:
        # In clear only to the computer that was looked at: Apprise reads some addresses otherwise.
        host = str(given.get("host")).lower()
        if not is_near(host) or host != urlsplit(url).hostname:
            raise NotSent("address")
    # Whole, what is too long for a service would be refused, with each retry anew.
    given.update(asset=asset, verify=True, redirect=False, overflow="split")
    given.update(rto=TIMEOUT_S, cto=TIMEOUT_S)
    return plugin(**given)


def _read(plugin: Any, url: str) -> dict[str, Any]:  # noqa: ANN401 - Apprise's own
    """Return an address as Apprise reads it: what counts is what it found, not what we think it will."""
    given = dict(plugin.parse_url(url) or {})
    if not given or not may_ask(given.get("qsd", {})) or any(given.get(each) for each in _FILES):
        raise NotSent("address")
    return given


def ping(address: Secret) -> None:
    """Tell an outside monitor that all is well: one GET, nothing about the box in it.

    Raises:
        NotSent: it did not answer with success.
    """
    silence()
    try:
        with httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            answer = client.get(address.reveal().decode(), headers={"user-agent": AGENT})
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        raise NotSent("unreachable") from None
    if not answer.is_success:
        raise NotSent("refused")


def silence() -> None:
    """Keep the libraries that name addresses out of the log."""
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
