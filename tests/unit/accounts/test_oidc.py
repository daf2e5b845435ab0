"""Sign-in through another service, against a real one on 127.0.0.1 that lies on request."""

import dataclasses
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from appliance.accounts import oidc, oidc_providers, oidc_sign_in, passwords, people
from appliance.accounts.oidc import Waitings
from appliance.accounts.oidc_providers import Provider, pro_sante_connect
from appliance.clock import utc_now
from appliance.errors import InvalidInput, NotFound, OutsideRefused
from appliance.ledger import chain
from appliance.model import Role
from appliance.policy.second_factor import Step
from appliance.vault.secret import Secret
from tests.support.oidc import CLIENT, FAULTS, SECRET, SUBJECT, OidcServer

REDIRECT = "https://armoire.local/sign-in/outside/back"
RPPS = SUBJECT[1:]
NOW = utc_now()
OUTSIDE = "82.64.10.20"


@pytest.fixture(scope="module")
def running() -> Iterator[OidcServer]:
    with OidcServer() as made:
        yield made


@pytest.fixture
def server(running):
    running.fault, running.subject, running.acr, running.jwt_userinfo = "", SUBJECT, "eidas1", True
    running.asked.clear()
    return running


@pytest.fixture
def psc(server) -> Provider:
    """The preset, its addresses moved to the server of this test."""
    return dataclasses.replace(
        pro_sante_connect(),
        issuer=server.issuer,
        client_id=CLIENT,
        authorize=f"{server.base}/authorize",
        token=f"{server.base}/token",
        keys=f"{server.base}/certs",
        userinfo=f"{server.base}/userinfo",
        logout=f"{server.base}/logout",
        ca=server.ca,
    )


@pytest.fixture
def claire(database):
    with database.write() as connection:
        return people.add(
            connection,
            login="claire.martin",
            name="Claire Martin",
            role=Role.OWNER,
            language="fr",
            password_hash=passwords.make_hash("Trois-lampes9"),
            now=NOW,
        )


def travel(provider, waitings=None, browser="a browser", secret=SECRET):
    """Go to the service and back, as a browser does; return what it said."""
    waitings = waitings or Waitings()
    address = oidc.begin(
        provider, waitings, redirect=REDIRECT, browser=browser, next_page="/ledger"
    )
    import ssl

    trust = ssl.create_default_context(cadata=provider.ca)
    answer = httpx2.get(address, verify=trust, follow_redirects=False, trust_env=False)
    back = {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    waiting = waitings.take(back["state"], "a browser")
    assert waiting.next == "/ledger"
    return oidc.finish(
        provider, Secret(secret.encode()), waiting, back, redirect=REDIRECT, now=time.time()
    )


def test_the_request_is_pro_sante_connects_with_pkce_state_and_nonce(server, psc):
    """acr_values, scope_all, S256: domain.md §6.1."""
    travel(psc)
    asked = server.asked[0]
    assert asked["acr_values"] == "eidas1"
    assert asked["scope"] == "openid scope_all"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == REDIRECT
    assert asked["response_type"] == "code"
    assert len(asked["nonce"]) >= 43
    assert len(asked["state"]) >= 43


@pytest.mark.parametrize("signed", [True, False])
def test_a_right_answer_names_the_subject(server, psc, signed):
    """The national number comes from userinfo, as a JWT or as JSON."""
    server.jwt_userinfo = signed
    said = travel(psc)
    assert (said.subject, said.acr) == (SUBJECT, "eidas1")
    assert psc.number_of(said.subject) == RPPS


def test_the_addresses_may_be_read_from_a_document_of_any_name(server, psc):
    """Pro Santé Connect's is not at the usual place."""
    bare = dataclasses.replace(
        psc, authorize="", token="", keys="", userinfo="", logout="",
        discovery=f"{server.base}/.well-known/wallet-openid-configuration",
    )  # fmt: skip
    assert oidc.located(bare).authorize == f"{server.base}/authorize"
    assert travel(oidc.located(bare)).subject == SUBJECT
    server.fault = "wrong-iss"
    with pytest.raises(OutsideRefused):
        oidc.located(bare)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_does_not_hold_is_refused(server, psc, fault):
    """Another's signature, nonce, audience, issuer, date, level: each alone is enough."""
    server.fault = fault
    with pytest.raises(OutsideRefused) as raised:
        travel(psc)
    assert "127.0.0.1" not in str(raised.value)
    assert SUBJECT not in str(raised.value)


def test_a_wrong_client_secret_and_an_unknown_authority_are_refused(psc):
    """And said as a sentence, not as a stack."""
    with pytest.raises(OutsideRefused):
        travel(psc, secret="wrong")
    waitings = Waitings()
    oidc.begin(psc, waitings, redirect=REDIRECT, browser="b", next_page="/")
    state = next(iter(waitings._all))
    waiting = waitings.take(state, "b")
    stranger = dataclasses.replace(psc, ca="")
    with pytest.raises(OutsideRefused):
        oidc.finish(stranger, None, waiting, {"code": "x"}, redirect=REDIRECT, now=time.time())


def test_a_state_is_good_once_in_the_browser_that_began(psc):
    """Somebody else's answer, sent as a link, signs nobody in."""
    waitings = Waitings()
    with pytest.raises(OutsideRefused):
        travel(psc, waitings, browser="another browser")
    address = oidc.begin(psc, waitings, redirect=REDIRECT, browser="b", next_page="/")
    state = parse_qs(urlsplit(address).query)["state"][0]
    waitings.take(state, "b")
    for again in (state, "never made", ""):
        with pytest.raises(OutsideRefused):
            waitings.take(again, "b")


# --- the account -------------------------------------------------------------------------------------


def come(database, settings, provider, said, address=OUTSIDE):
    with database.write() as connection:
        return oidc_sign_in.come_in(
            connection, provider, said, address=address, user_agent="t", now=NOW,
            web_keys=settings.tls,
        )  # fmt: skip


def test_only_a_prepared_account_is_opened_and_none_is_made(
    database, settings, psc, claire, server
):
    """Pro Santé Connect proves who one is, not that one may come in (PSC-01, §6.2)."""
    said = travel(psc)
    assert come(database, settings, psc, said) is None
    with database.write() as connection:
        oidc_sign_in.prepare(connection, claire, psc, RPPS, by=claire.id, now=NOW)

    started = come(database, settings, psc, said)

    assert started.person.id == claire.id
    assert started.step is Step.IN  # eidas1 is two factors, from outside too
    with database.read() as connection:
        assert people.count(connection) == 1
        events = [(e.event, e.body.get("by")) for e in chain.newest(connection)]
    assert events[0] == ("session.start", "oidc+eidas1")
    assert ("session.refused", "oidc") in events


def test_a_number_given_again_to_another_subject_opens_nothing(database, settings, psc, claire):
    """The first subject is bound; afterwards it alone counts."""
    said = travel(psc)
    with database.write() as connection:
        oidc_sign_in.prepare(connection, claire, psc, RPPS, by=claire.id, now=NOW)
    assert come(database, settings, psc, said) is not None
    other = dataclasses.replace(psc, subject_prefix="9")
    imitated = dataclasses.replace(said, subject="9" + RPPS)
    assert come(database, settings, other, imitated) is None
    assert come(database, settings, dataclasses.replace(psc, issuer="https://x"), said) is None
    assert come(database, settings, psc, said) is not None


def test_a_closed_account_and_a_forgotten_preparation_open_nothing(database, settings, psc, claire):
    """At once."""
    said = travel(psc)
    with database.write() as connection:
        oidc_sign_in.prepare(connection, claire, psc, RPPS, by=claire.id, now=NOW)
        assert oidc_sign_in.prepared(connection, psc) == {claire.id: RPPS}
        oidc_sign_in.forget(connection, claire.id, psc, by=claire.id, now=NOW)
    assert come(database, settings, psc, said) is None
    with database.write() as connection:
        oidc_sign_in.prepare(connection, claire, psc, RPPS, by=claire.id, now=NOW)
        people.disable(connection, claire.id, now=NOW)
    assert come(database, settings, psc, said) is None


def test_a_service_without_a_level_of_assurance_is_one_factor(database, settings, psc, claire):
    """From outside the second one is asked for here."""
    plain = dataclasses.replace(psc, acr="", subject_prefix="")
    said = travel(plain)
    with database.write() as connection:
        oidc_sign_in.prepare(connection, claire, plain, SUBJECT, by=claire.id, now=NOW)
    assert come(database, settings, plain, said).step is Step.REFUSED


@pytest.mark.parametrize("typed", ["", "1234", "1000123456a", "100012345678"])
def test_what_is_no_rpps_is_not_prepared(database, psc, claire, typed):
    """Eleven digits (PSC-01)."""
    with database.write() as connection, pytest.raises(InvalidInput):
        oidc_sign_in.prepare(connection, claire, psc, typed, by=claire.id, now=NOW)


# --- the settings ------------------------------------------------------------------------------------


def test_a_service_is_stored_with_its_secret_sealed(database, settings, psc, claire):
    """Changed without typing the secret again; forgotten with it."""
    with database.write() as connection:
        oidc_providers.put(
            connection, psc, Secret(SECRET.encode()), settings.tls, by=claire.id, now=NOW
        )
        renamed = dataclasses.replace(psc, name="e-CPS")
        oidc_providers.put(connection, renamed, None, settings.tls, by=claire.id, now=NOW)
        kept = oidc_providers.get(connection, "psc")
        assert kept.name == "e-CPS"
        assert kept.extra == (("acr_values", "eidas1"),)
        assert oidc_providers.secret_of(kept, settings.tls).reveal() == SECRET.encode()
        assert SECRET not in str(oidc_providers.read(connection))
        assert oidc_providers.secret_of(kept, settings.data / "another") is None
        oidc_providers.remove(connection, "psc", by=claire.id, now=NOW)
        with pytest.raises(NotFound):
            oidc_providers.get(connection, "psc")


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": " "},
        {"token": "http://plain.example/token"},
        {"token": ""},
        {"issuer": "https://user:pass@x.example"},
        {"id": "PSC"},
        {"logout": "javascript:alert(1)"},
    ],
)
def test_an_address_that_is_not_https_is_not_stored(psc, change):
    """The client secret goes there."""
    with pytest.raises(InvalidInput):
        oidc_providers.check(dataclasses.replace(psc, **change))


def test_both_presets_are_the_ones_of_the_documentation():
    """Addresses of production and of the sandbox."""
    for is_sandbox, house in ((False, "esw"), (True, "bas.psc")):
        made = dataclasses.replace(pro_sante_connect(is_sandbox=is_sandbox), client_id="x")
        oidc_providers.check(made)
        assert made.authorize == f"https://wallet.{house}.esante.gouv.fr/auth"
        assert made.token.startswith(f"https://auth.{house}.esante.gouv.fr/auth/realms/")
