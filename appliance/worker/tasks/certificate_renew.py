"""The job that gets a certificate by ACME: order, proof of the names, request, chain; killed anywhere, it goes on.

The key is the web interface's and stays there; the authority's account is the box's, sealed in the vault, so it
survives a fire. What was begun at the authority is written down before the next step.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.clock import utc_now
from appliance.db import facts, secrets
from appliance.errors import (
    ArmoireError,
    AuthorityUnreachable,
    CertificateRefused,
    HookFailed,
    NoListener,
    WebSilent,
)
from appliance.jobs import certificates
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import RenewCertificate
from appliance.language import mark
from appliance.ledger import events
from appliance.model import JobState
from appliance.policy.certificate import Way, Wish
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.vault.unseal import unseal
from appliance.worker.acme_client import (
    Challenge,
    Exchange,
    Order,
    make_account_key,
    open_exchange,
)
from appliance.worker.dns_hook import check_program, run_hook
from appliance.worker.txt_lookup import txt_values

#: Seconds the web interface gets to make a request, to listen, to take what came.
WEB_S: Final = 60.0
#: Seconds a hook's record gets to become visible here; after that the authority is asked all the same.
VISIBLE_S: Final = 120.0
#: Seconds between seeing a record here and asking: the zone's other name servers follow the first, and the authority
#: asks from several places. A look that fails spends the order.
SETTLE_S: Final = 20.0
#: Seconds the authority gets to look, and to sign.
AUTHORITY_S: Final = 180.0
_PUBLIC: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def run(context: JobContext, spec: RenewCertificate) -> JobState:
    """Get the certificate that was asked for.

    Returns:
        WARNED when a person has to enter a DNS record first; the planner goes on by itself once it is public.

    Raises:
        CertificateError: why there is none; what is shown stays.
        KeyMissing, SecretUnreadable: the vault does not open.
        JobCancelled: a person stopped it.
    """
    with context.database.read() as connection:
        wish = certificates.wish(connection)
    if wish is None:
        return JobState.SUCCEEDED
    if wish.way is Way.DNS and context.settings.acme_hook:
        check_program(Path(context.settings.acme_hook))
    context.step(mark("Waiting for the web interface"))
    csr = _await_request(context, wish)
    if _waits_for_the_web(context, csr):
        raise WebSilent  # another would be one too many: authorities count what they sign
    context.step(mark("Speaking to the certificate authority"))
    own, bound = _account(context, wish)
    exchange = open_exchange(wish, own, context.settings.acme_ca_bundle, bound)
    order = _order(context, exchange, wish, csr)
    if order.status == "pending":
        todo = exchange.challenges(order)
        try:
            if wish.way is Way.HTTP:
                _prove_by_http(context, exchange, todo)
            elif not _prove_by_dns(context, exchange, order, todo, anyway=spec.anyway):
                return JobState.WARNED
        except AuthorityUnreachable:
            raise  # the order lives on
        except ArmoireError:
            if any(_is_spent(exchange, each) for each in todo):
                _put(context, certificates.ORDER, None)
            raise
        order = _again(exchange, order, csr)
    context.step(mark("Asking for the certificate"))
    return _finish(context, exchange, order, csr)


# --- the account and the order -----------------------------------------------------------------


def _account(context: JobContext, wish: Wish) -> tuple[Secret, Secret | None]:
    """Return the box's own key at the authority, made when there is none, and that of somebody's account there."""
    name, theirs = certificates.own_secret(wish), certificates.account_secret(wish)
    keys = context.settings.keys
    with context.database.write() as connection:
        given = secrets.get_sealed(connection, theirs) if wish.account else None
        bound = None if given is None else unseal(theirs, given, keys)
        sealed = secrets.find_sealed(connection, name)
        if sealed is not None:
            return unseal(name, sealed, keys), bound
        made = make_account_key()
        secrets.put_sealed(connection, name, seal(made, keys), now=utc_now())
    return made, bound


def _await_request(context: JobContext, wish: Wish) -> str:
    found: list[str] = []

    def look() -> bool:
        with context.database.read() as connection:
            known = certificates.mapping(connection, certificates.REQUEST)
        if known.get("names") == list(wish.names):
            found[:] = [str(known["pem"])]
        return bool(found)

    if not _wait(context, look, WEB_S):
        raise WebSilent
    return found[0]


def _order(context: JobContext, exchange: Exchange, wish: Wish, csr: str) -> Order:
    """Return the order of before when it still serves, else a new one; written down either way."""
    with context.database.read() as connection:
        known = certificates.mapping(connection, certificates.ORDER)
    asked = certificates.order_of(wish)
    # An order of before accounts could be named says nothing of one.
    if known and {key: known.get(key, "") for key in asked} == asked:
        found = exchange.order(str(known["url"]), csr)
        if (
            found is not None
            and found.status != "invalid"
            and not _is_of_another_key(exchange, found, csr)
        ):
            return found
    made = exchange.new_order(csr)
    _put(context, certificates.ORDER, {**asked, "url": made.url, "since": utc_now().isoformat()})
    return made


def _is_of_another_key(exchange: Exchange, order: Order, csr: str) -> bool:
    """Return whether a finished order holds a certificate for a key of before."""
    return order.status == "valid" and not _fits(exchange.chain(order), csr)


def _again(exchange: Exchange, order: Order, csr: str) -> Order:
    found = exchange.order(order.url, csr)
    if found is None:
        raise CertificateRefused("unknown", "order")
    return found


def _is_spent(exchange: Exchange, challenge: Challenge) -> bool:
    try:
        exchange.is_valid(challenge)
    except AuthorityUnreachable:
        return False
    except ArmoireError:
        return True
    return False


def _waits_for_the_web(context: JobContext, csr: str) -> bool:
    """Return whether the certificate of this very request is there, and nobody has taken it."""
    with context.database.read() as connection:
        chain = str(certificates.mapping(connection, certificates.CHAIN).get("pem", ""))
    if not _fits(chain, csr):
        return False
    leaf = x509.load_pem_x509_certificates(chain.encode("ascii"))[0]
    return leaf.not_valid_after_utc > utc_now() and not _wait(
        context, lambda: _is_shown(context, leaf), WEB_S
    )


# --- showing whose the names are ---------------------------------------------------------------


def _prove_by_http(context: JobContext, exchange: Exchange, todo: list[Challenge]) -> None:
    context.step(mark("Answering the certificate authority"))
    answers = {each.token: each.answer for each in todo}
    until = utc_now() + timedelta(seconds=WEB_S + AUTHORITY_S)
    _put(context, certificates.ANSWERS, {"answers": answers, "until": until.isoformat()})
    try:
        _await_listener(context, sorted(answers))
        _ask_to_look(context, exchange, todo)
    finally:
        _put(context, certificates.ANSWERS, None)
        _put(context, certificates.LISTENING, None)


def _await_listener(context: JobContext, tokens: list[str]) -> None:
    said: dict[str, Any] = {}

    def look() -> bool:
        with context.database.read() as connection:
            said.update(certificates.mapping(connection, certificates.LISTENING))
        return said.get("for") == tokens

    if not _wait(context, look, WEB_S):
        raise WebSilent
    if said["problem"]:
        raise NoListener(context.settings.acme_http_port, str(said["problem"]))


def _prove_by_dns(
    context: JobContext, exchange: Exchange, order: Order, todo: list[Challenge], *, anyway: bool
) -> bool:
    """Show the names by DNS records; return False when a person has to enter them first."""
    hook = context.settings.acme_hook
    # Sorted: the authority lists them in any order, and a person compares with what was shown before.
    wanted = sorted((f"_acme-challenge.{each.name}", each.record) for each in todo)
    if not hook:
        _keep_records(context, order, wanted)
        if not anyway and not _are_public(context, wanted):
            context.note(
                mark(
                    "A DNS record has to be entered; the box goes on by itself once it is public."
                ),
                level="warning",
            )
            context.result["records"] = len(wanted)
            return False
        if not anyway:
            _wait(context, _never, SETTLE_S)
        _ask_to_look(context, exchange, todo)
        return True
    try:
        context.step(mark("Entering the DNS record"))
        for name, value in wanted:
            run_hook(hook, "add", name, value)
        if _wait(context, lambda: _are_public(context, wanted), VISIBLE_S, every_s=3):
            _wait(context, _never, SETTLE_S)
        _ask_to_look(context, exchange, todo)
    finally:
        for name, value in wanted:
            with suppress(HookFailed):
                run_hook(hook, "remove", name, value)
    return True


def _keep_records(context: JobContext, order: Order, wanted: list[tuple[str, str]]) -> None:
    now = utc_now()
    with context.database.write() as connection:
        known = dict(certificates.mapping(connection, certificates.ORDER))
        if known.get("url") != order.url:
            return
        known["records"] = [{"name": name, "value": value} for name, value in wanted]
        facts.put(connection, certificates.ORDER, known, now=now)


def _are_public(context: JobContext, wanted: list[tuple[str, str]]) -> bool:
    resolver = context.settings.acme_resolver
    return all(value in txt_values(name, resolver) for name, value in wanted)


def _ask_to_look(context: JobContext, exchange: Exchange, todo: list[Challenge]) -> None:
    context.step(mark("The certificate authority looks"))
    for each in todo:
        if each.status == "pending":
            exchange.answer(each)
    for each in todo:
        challenge = each
        if not _wait(context, lambda c=challenge: exchange.is_valid(c), AUTHORITY_S):  # type: ignore[misc]
            raise AuthorityUnreachable(challenge.name, "timeout")


# --- the certificate ---------------------------------------------------------------------------


def _finish(context: JobContext, exchange: Exchange, order: Order, csr: str) -> JobState:
    state = [order]

    def look() -> bool:
        if state[0].status == "ready":
            state[0] = exchange.finalise(state[0])
        elif state[0].status in {"processing", "pending"}:
            state[0] = _again(exchange, state[0], csr)
        return state[0].status in {"valid", "invalid"}

    if not _wait(context, look, AUTHORITY_S):
        raise AuthorityUnreachable("order", "timeout")
    if state[0].status == "invalid":
        _put(context, certificates.ORDER, None)
        raise exchange.refused(state[0])
    chain = exchange.chain(state[0])
    if not _fits(chain, csr):
        _put(context, certificates.ORDER, None)
        raise CertificateRefused("badKey", "–")
    leaf = x509.load_pem_x509_certificates(chain.encode("ascii"))[0]
    now = utc_now()
    with context.database.write() as connection:
        facts.put(connection, certificates.CHAIN, {"pem": chain}, now=now)
        facts.put(connection, certificates.ORDER, None, now=now)
        events.record(
            connection, at=now, event="certificate.renewed", subject="box", actor=context.actor,
            serial=format(leaf.serial_number, "x"), until=leaf.not_valid_after_utc.isoformat(),
        )  # fmt: skip
    context.result["until"] = leaf.not_valid_after_utc.isoformat()
    context.step(mark("Waiting for the web interface"))
    _wait(context, lambda: _is_shown(context, leaf), WEB_S)
    return JobState.SUCCEEDED


def _is_shown(context: JobContext, leaf: x509.Certificate) -> bool:
    with context.database.read() as connection:
        served = certificates.served(connection)
    return served is not None and served.ends == leaf.not_valid_after_utc


def _fits(chain: str, csr: str) -> bool:
    try:
        leaf = x509.load_pem_x509_certificates(chain.encode("ascii"))[0]
    except (ValueError, UnicodeError):
        return False
    request = x509.load_pem_x509_csr(csr.encode("ascii"))
    return leaf.public_key().public_bytes(*_PUBLIC) == request.public_key().public_bytes(*_PUBLIC)


def _put(context: JobContext, name: str, value: object) -> None:
    with context.database.write() as connection:
        facts.put(connection, name, value, now=utc_now())


def _never() -> bool:
    return False


def _wait(
    context: JobContext, look: Callable[[], bool], seconds: float, *, every_s: float = 0.5
) -> bool:
    """Return whether ``look`` said yes in time.

    Raises:
        JobCancelled: a person stopped it.
    """
    end = time.monotonic() + seconds
    while not look():
        context.check()
        if time.monotonic() >= end:
            return False
        time.sleep(every_s)
    return True
