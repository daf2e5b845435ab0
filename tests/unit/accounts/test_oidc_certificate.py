"""Mutual TLS towards another sign-in service (RFC 8705), against a real one that asks for a certificate."""

import dataclasses
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from appliance.accounts import oidc, oidc_providers, people
from appliance.accounts.oidc import Waitings
from appliance.accounts.oidc_providers import BY_CERTIFICATE, BY_SECRET, Provider
from appliance.clock import utc_now
from appliance.errors import InvalidInput, OutsideRefused
from appliance.jobs.people_readings import people_findings
from appliance.language import explain
from appliance.ledger import chain
from appliance.model import Role
from appliance.vault.certificate_pair import make_client_pair
from appliance.vault.secret import Secret
from tests.support.authority import make_pair
from tests.support.oidc import CLIENT, SECRET, SUBJECT, OidcServer

REDIRECT = "https://armoire.local/sign-in/outside/back"
NOW = utc_now()
AUTHORITY = make_pair("an authority", days=30, path_length=0)
SIGNED = make_pair(CLIENT, by=AUTHORITY)
ITSELF = make_client_pair(CLIENT, now=NOW, days=30)
PAIRS = {  # way of being known → certificate, key, whom the service trusts
    "tls_client_auth": (SIGNED[0].decode(), Secret(SIGNED[1]), AUTHORITY[0].decode()),
    "self_signed_tls_client_auth": (*ITSELF, ITSELF[0]),
}


def provider_of(server: OidcServer, **changes: str) -> Provider:
    given = {
        "id": "psc",
        "name": "Pro Santé Connect",
        "issuer": server.issuer,
        "client_id": CLIENT,
        "discovery": f"{server.base}/.well-known/wallet-openid-configuration",
        "acr": "eidas1",
        "subject_claim": "SubjectNameID",
        "ca": server.ca,
    }
    return Provider(**given | changes)


def travel(provider: Provider, key: Secret | None, secret: Secret | None = None) -> oidc.Said:
    """Go to the service and back, as a browser does, which has no certificate; return what it said."""
    waitings = Waitings()
    found = oidc.located(provider, key)
    address = oidc.begin(found, waitings, redirect=REDIRECT, browser="one", next_page="/")
    trust = ssl.create_default_context(cadata=provider.ca)
    there = httpx2.get(address, verify=trust, follow_redirects=False, trust_env=False)
    back = {k: v[0] for k, v in parse_qs(urlsplit(there.headers["location"]).query).items()}
    return oidc.finish(
        found,
        secret,
        waitings.take(back["state"], "one"),
        back,
        redirect=REDIRECT,
        now=time.time(),
        key=key,
    )


@pytest.fixture(params=BY_CERTIFICATE)
def way(request) -> str:
    return str(request.param)


@pytest.fixture
def server(way) -> Iterator[OidcServer]:
    with OidcServer(PAIRS[way][2], by_certificate=True) as made:
        yield made


def test_the_certificate_alone_makes_the_box_known(server, way):
    """Of an authority or signed by itself; the token and the person come through the door that asks for it."""
    certificate, key, _ = PAIRS[way]
    psc = provider_of(server, authentication=way, certificate=certificate)

    # A secret kept from before is not sent beside it: the service would refuse two ways at once.
    said = travel(psc, key, Secret(SECRET.encode()))

    assert said.subject == SUBJECT
    assert server.shown == [CLIENT, CLIENT]


def test_with_another_certificate_or_none_nobody_signs_in(server, way):
    """It is said what is wrong, so that the right person mends it; the browser is told nothing of the other side."""
    other = make_client_pair(CLIENT, now=NOW, days=30)
    strange = provider_of(server, authentication=way, certificate=other[0])
    bare = dataclasses.replace(
        provider_of(server), discovery="", authorize=f"{server.base}/authorize",
        token=f"{server.tls_base}/token", keys=f"{server.base}/certs",
        userinfo=f"{server.tls_base}/userinfo",
    )  # fmt: skip

    for provider, key in ((strange, other[1]), (bare, None), (strange, None)):
        with pytest.raises(OutsideRefused) as raised:
            travel(provider, key)
        assert "does not take the certificate" in explain(raised.value, "en")
    assert server.shown == []


def test_a_certificate_of_another_client_is_not_ours():
    """The authority is right, the name is not: the service says no."""
    certificate, key = make_pair("another-client", by=AUTHORITY)
    with OidcServer(AUTHORITY[0].decode(), by_certificate=True) as server:
        psc = provider_of(
            server, authentication="tls_client_auth", certificate=certificate.decode()
        )
        with pytest.raises(OutsideRefused):
            travel(psc, Secret(key))
        assert server.shown == ["another-client"]


def test_a_secret_may_be_asked_for_beside_the_certificate():
    """A service may want both: the line is mutual TLS, the client is known by its secret."""
    certificate, key, trusted = PAIRS["tls_client_auth"]
    with OidcServer(trusted) as server:
        psc = provider_of(server, certificate=certificate)
        assert psc.authentication == BY_SECRET
        assert travel(psc, key, Secret(SECRET.encode())).subject == SUBJECT
        with pytest.raises(OutsideRefused):
            travel(psc, key)


@pytest.fixture
def keep(database, settings):
    """Store a service as the owner does."""
    with database.write() as c:
        owner = people.add(
            c, login="claire.martin", name="Claire Martin", role=Role.OWNER, language="fr",
            password_hash=None, now=NOW,
        )  # fmt: skip

    def put(provider, key=None):
        with database.write() as c:
            oidc_providers.put(c, provider, None, settings.tls, key=key, by=owner.id, now=utc_now())
        with database.read() as c:
            return oidc_providers.get(c, provider.id)

    return put


PLAIN = Provider(
    "psc", "Pro Santé Connect", "https://a.example", CLIENT,
    discovery="https://a.example/.well-known/openid-configuration",
)  # fmt: skip


def test_the_key_is_sealed_and_goes_with_its_certificate(keep, database, settings):
    """Neither the database nor the journal holds it; another service's form may leave it as it is."""
    certificate, key, _ = PAIRS["tls_client_auth"]
    kept = keep(dataclasses.replace(PLAIN, certificate=certificate), key)

    assert oidc_providers.key_of(kept, settings.tls).reveal() == key.reveal()
    again = keep(dataclasses.replace(PLAIN, certificate=certificate, name="Another name"))
    assert oidc_providers.key_of(again, settings.tls).reveal() == key.reveal()
    stored = b"".join(path.read_bytes() for path in settings.data.glob("state.sqlite*"))
    secret_line = key.reveal().splitlines()[1]
    assert secret_line not in stored
    with database.read() as c:
        assert secret_line.decode() not in str(list(chain.entries(c)))
    assert keep(PLAIN).key == ""


@pytest.mark.parametrize(
    ("certificate", "key", "field"),
    [
        (PAIRS["tls_client_auth"][0], None, "key"),
        (PAIRS["tls_client_auth"][0], ITSELF[1], "key"),
        (PAIRS["tls_client_auth"][0], Secret(b"no key"), "certificate"),
        ("no certificate", ITSELF[1], "certificate"),
        (make_pair(CLIENT, days=0, by=AUTHORITY)[0].decode(), None, "key"),
        ("", None, "certificate"),
        (SIGNED[0].decode() + ITSELF[0], Secret(SIGNED[1]), "certificate"),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_stored(keep, certificate, key, field):
    """Another's key, none, no certificate, another's issuer: said with the field."""
    wrong = dataclasses.replace(PLAIN, certificate=certificate, authentication=BY_CERTIFICATE[0])
    with pytest.raises(InvalidInput) as raised:
        keep(wrong, key)
    assert raised.value.name == field


def test_a_certificate_that_is_over_is_refused_and_one_that_ends_is_told(keep, database):
    """Thirty days before: else nobody signs in by it one morning."""
    over = make_pair(CLIENT, days=0)
    with pytest.raises(InvalidInput):
        keep(dataclasses.replace(PLAIN, certificate=over[0].decode()), Secret(over[1]))
    certificate, key = make_client_pair(CLIENT, now=NOW, days=40)
    keep(dataclasses.replace(PLAIN, certificate=certificate), key)

    def codes(days: int) -> list[str]:
        with database.read() as c:
            return [each.code for each in people_findings(c, NOW + timedelta(days=days))]

    assert codes(5) == []
    assert codes(15) == ["sign-in.certificate-ends"]
    assert codes(41) == ["sign-in.certificate-expired"]
    keep(dataclasses.replace(PLAIN, certificate=certificate, is_on=False))
    assert codes(41) == []
