"""``armoire certificate``: what the web interface shows to browsers."""

from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from rich.console import Console

from appliance.clock import utc_now
from appliance.commands.following import enqueue, error_words, exit_code_of, follow
from appliance.commands.framework import Group, answers, option
from appliance.commands.session import Answer, Session, when, wrong
from appliance.commands.target_common import ask
from appliance.jobs import certificates
from appliance.jobs.certificates import Reading
from appliance.jobs.kinds import RenewCertificate
from appliance.language import mark
from appliance.policy.certificate import Way, check_account_key, check_wish, renew_at
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.web import own_certificate, tls
from appliance.web.pages.trust import authority, fingerprint


@click.group("certificate", cls=Group, help=mark("The certificate of the web interface."))
def certificate() -> None:
    """Hold the commands about the certificate."""


@certificate.command("show", help=mark("Show which certificate is used, and what to compare."))
@answers
def show(session: Session) -> Answer:
    """Show the certificate."""
    path, _ = tls.ensure_certificate(session.settings)
    leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
    ca = authority(session.settings)
    with session.database.read() as connection:
        known = certificates.read(connection)
    body = {
        "is_own": ca is None,
        "authority_fingerprint": None if ca is None else fingerprint(ca),
        "fingerprint": leaf.fingerprint(hashes.SHA256()).hex(":").upper(),
        "until": leaf.not_valid_after_utc,
        "acme": _acme_body(session, known),
    }

    def tell(out: Console) -> None:
        if ca is not None:
            out.print(
                session.say(mark("Fingerprint of the box's authority, to compare on /trust:"))
            )
            out.print(fingerprint(ca), style="bold")
        out.print(
            session.say(
                mark("The certificate is valid until %(day)s."), day=when(leaf.not_valid_after_utc)
            )
        )
        _tell_acme(session, out, known)

    return Answer(body, tell)


@certificate.command(
    "acme",
    help=mark(
        "Get a certificate that every device knows, for a public name, and renew it by itself.\n\n"
        "With «--way dns» the name is proven by a DNS record: the box need not be reachable from the Internet. "
        "The record is shown here, or entered by the program of the setting «acme_hook». With «--way http» the "
        "authority must reach the box by HTTP under this name (port 80 of the router)."
    ),
)
@option("--name", "names", multiple=True, required=True, metavar="NAME", help=mark("A public name, as cloud.cabinet-martin.fr; may be given several times."))  # fmt: skip
@option("--way", type=click.Choice([each.value for each in Way]), default=Way.DNS.value, help=mark("How the name is proven."))  # fmt: skip
@option("--directory", default="letsencrypt", metavar="URL", help=mark("letsencrypt, letsencrypt-staging, or the https address of another authority's directory."))  # fmt: skip
@option("--email", default="", help=mark("Where the authority may write to."))
@option("--account", default="", metavar="NUMBER", help=mark("Number of your account at the authority (EAB key identifier), if it asks for one; its key is read from standard input."))  # fmt: skip
@option("--accept-terms", is_flag=True, help=mark("Agree to the authority's terms."))
@answers
def get(
    session: Session,
    *,
    names: tuple[str, ...],
    way: str,
    directory: str,
    email: str,
    account: str,
    accept_terms: bool,
) -> Answer:
    """Ask for a certificate by ACME."""
    wish = check_wish(directory, list(names), Way(way), email, agreed=accept_terms, account=account)
    sealed = None
    if wish.account:
        key = check_account_key(ask(session, mark("Key of the account at the authority")))
        sealed = seal(Secret(key.encode("ascii")), session.settings.keys)
    with session.database.write() as connection:
        certificates.ask(
            connection, wish, person_id=None, actor="command", now=utc_now(), sealed=sealed
        )
    return _follow(session)


@certificate.command(
    "renew", help=mark("Renew the certificate by ACME now, or go on where it waits for a record.")
)
@option("--anyway", is_flag=True, help=mark("Ask the authority though this box does not see the DNS record itself."))  # fmt: skip
@answers
def renew(session: Session, *, anyway: bool) -> Answer:
    """Renew it."""
    with session.database.read() as connection:
        if certificates.wish(connection) is None:
            raise wrong("certificate", mark("one that was asked for: begin with «armoire certificate acme»."))  # fmt: skip
    return _follow(session, anyway=anyway)


def _follow(session: Session, *, anyway: bool = False) -> Answer:
    jobs = follow(session, [enqueue(session, RenewCertificate(anyway))])
    with session.database.read() as connection:
        known = certificates.read(connection)
    return Answer(
        _acme_body(session, known) or {},
        lambda out: _tell_acme(session, out, known),
        exit_code_of(jobs),
    )


def _acme_body(session: Session, known: Reading) -> dict[str, object] | None:
    wish, served, last = known.wish, known.served, known.last
    if wish is None:
        return None
    return {
        "names": list(wish.names),
        "directory": wish.directory,
        "way": wish.way.value,
        "records": [
            {"name": each.name, "type": "TXT", "value": each.value} for each in known.records
        ],
        "until": None if served is None else served.ends,
        "renew_at": None if served is None else renew_at(served),
        "issuer": None if served is None else served.issuer,
        "problem": error_words(last, session) if last is not None and last.error_code else None,
    }


def _tell_acme(session: Session, out: Console, known: Reading) -> None:
    if known.wish is None:
        return
    if known.served is not None:
        out.print(
            session.say(
                mark("%(names)s: valid until %(day)s, renewed by itself from %(from)s on."),
                names=", ".join(known.served.names),
                day=when(known.served.ends),
                **{"from": when(renew_at(known.served))},
            )
        )
    if known.records:
        out.print(session.say(mark("To be entered where the practice's DNS zone is run:")))
        for each in known.records:
            out.print(f"  {each.name}.  TXT  {each.value}")
        out.print(
            session.say(
                mark("The box looks every ten minutes and goes on by itself; at once: «armoire certificate renew».")
            )
        )  # fmt: skip


@certificate.command(
    "use",
    help=mark(
        "Use a certificate and key of one's own, as PEM files; renewed ones are taken without a restart.\n\n"
        "CERTIFICATE holds the certificate and those of its issuers, KEY its private key without a password."
    ),
)
@click.argument("certificate_file", metavar="CERTIFICATE", type=click.Path(path_type=Path, exists=True, dir_okay=False))  # fmt: skip
@click.argument("key_file", metavar="KEY", type=click.Path(path_type=Path, exists=True, dir_okay=False))  # fmt: skip
@answers
def use(session: Session, *, certificate_file: Path, key_file: Path) -> Answer:
    """Use one's own certificate."""
    chain, key, now = certificate_file.read_bytes(), Secret(key_file.read_bytes()), utc_now()
    ends = own_certificate.check(chain, key, now=now)
    with session.database.write() as connection:
        own_certificate.bring(
            connection, session.settings, chain, key,
            until=ends, person_id=None, actor="command", now=now,
        )  # fmt: skip

    def tell(out: Console) -> None:
        out.print(
            session.say(
                mark("This certificate is used from now on, until %(day)s; a running box takes it within 10 minutes."),
                day=when(ends),
            )
        )  # fmt: skip

    return Answer({"until": ends}, tell)


@certificate.command("own", help=mark("Go back to the box's own authority."))
@answers
def own(session: Session) -> Answer:
    """Use the box's own authority again."""
    with session.database.write() as connection:
        own_certificate.go_back(
            connection, session.settings, person_id=None, actor="command", now=utc_now()
        )

    def tell(out: Console) -> None:
        out.print(session.say(mark("The box signs its certificate itself again; devices trust it by way of /trust.")))  # fmt: skip

    return Answer({}, tell)
