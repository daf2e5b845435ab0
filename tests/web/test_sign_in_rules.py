"""The practice's rules of signing in, and another service's, as a browser sees them."""

import dataclasses
import re
import ssl
from collections.abc import Iterator
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import update

from appliance.accounts import oidc_providers, oidc_sign_in, people, second_factors, sessions
from appliance.accounts.oidc_providers import pro_sante_connect
from appliance.clock import utc_now
from appliance.db.schema import session as session_table
from appliance.model import Role
from appliance.vault.certificate_pair import make_client_pair
from appliance.vault.secret import Secret
from appliance.web.security import COOKIE
from tests.support.oidc import CLIENT, SECRET, SUBJECT, OidcServer

RPPS = SUBJECT[1:]


@pytest.fixture(scope="module")
def running() -> Iterator[OidcServer]:
    with OidcServer() as made:
        yield made


@pytest.fixture
def server(running):
    running.fault = ""
    return running


@pytest.fixture
def psc(server, settings, database, person_of):
    """Pro Santé Connect, moved to the server of this test, set up."""
    provider = dataclasses.replace(
        pro_sante_connect(), issuer=server.issuer, client_id=CLIENT, ca=server.ca,
        authorize=f"{server.base}/authorize", token=f"{server.base}/token",
        keys=f"{server.base}/certs", userinfo=f"{server.base}/userinfo",
        logout=f"{server.base}/logout",
    )  # fmt: skip
    owner = person_of(Role.OWNER)
    with database.write() as connection:
        oidc_providers.put(
            connection, provider, Secret(SECRET.encode()), settings.tls, by=owner.id, now=utc_now()
        )
    return provider


def travel(client, psc, next_page="/account"):
    """Press the button, go to the service, come back; return the box's last answer."""
    left = client.get(f"/sign-in/outside?with=psc&next={next_page}")
    assert left.headers["location"].startswith(psc.authorize)
    trust = ssl.create_default_context(cadata=psc.ca)
    there = httpx2.get(left.headers["location"], verify=trust, trust_env=False)
    return client.get(there.headers["location"])


def test_the_button_leads_to_the_service_and_back_into_the_prepared_account(
    anonymous, database, psc, person_of, server
):
    """End to end over TLS; signing out leads out of the service too."""
    who = person_of(Role.OWNER)
    assert "Sign in with Pro Santé Connect" in anonymous.get("/sign-in").text
    refused = travel(anonymous, psc)
    assert refused.status_code == 403
    assert "no account here was prepared" in refused.text
    with database.write() as connection:
        oidc_sign_in.prepare(connection, who, psc, RPPS, by=who.id, now=utc_now())
        before = people.count(connection)

    arrived = travel(anonymous, psc)

    assert arrived.headers["location"] == "/account"
    assert anonymous.get("/account").status_code == 200
    with database.read() as connection:
        assert people.count(connection) == before
        session = sessions.find(connection, anonymous.cookies[COOKIE], now=utc_now())[1]
        assert session.factors == "oidc+eidas1"
    out = anonymous.post("/sign-out")
    onward = re.search(r'href="([^"]+/logout[^"]+)"', out.text).group(1)
    assert "id_token_hint=" in onward
    assert "post_logout_redirect_uri=https%3A%2F%2Ftestserver%2Fsign-in" in onward
    assert out.headers["refresh"].startswith("1;url=https://127.0.0.1")
    assert anonymous.get("/account").status_code == 303


@pytest.mark.parametrize(
    "fault", ["wrong-signature", "wrong-nonce", "wrong-aud", "expired", "weak-acr"]
)
def test_an_answer_that_does_not_hold_signs_nobody_in(
    anonymous, database, psc, person_of, server, fault
):
    """The form comes back with a sentence."""
    who = person_of(Role.OWNER)
    with database.write() as connection:
        oidc_sign_in.prepare(connection, who, psc, RPPS, by=who.id, now=utc_now())
    server.fault = fault

    answer = travel(anonymous, psc)

    assert answer.status_code == 403
    assert 'name="password"' in answer.text
    assert COOKIE not in anonymous.cookies


def test_an_answer_without_the_browsers_own_cookie_signs_nobody_in(
    anonymous, database, psc, person_of
):
    """A link sent by somebody else would sign one in to their account."""
    left = anonymous.get("/sign-in/outside?with=psc")
    trust = ssl.create_default_context(cadata=psc.ca)
    there = httpx2.get(left.headers["location"], verify=trust, trust_env=False)
    anonymous.cookies.clear()

    assert anonymous.get(there.headers["location"]).status_code == 403
    assert anonymous.get("/sign-in/outside/back").status_code == 403
    assert anonymous.get("/sign-in/outside?with=nothing").status_code == 404


def test_the_owner_sets_pro_sante_connect_up_from_its_preset(owner, database, settings, person_of):
    """The preset is filled in; the secret is shown to nobody afterwards."""
    page = owner.get("/access/services/new-psc").text
    assert "https://testserver/sign-in/outside/back" in page
    fields = dict(re.findall(r'<input id="\w+" name="(\w+)" value="([^"]*)"', page))
    given = {**fields, "id": "psc", "client_id": "practice-1", "secret": SECRET, "is_on": "yes",
             "extra": "acr_values=eidas1\n"}  # fmt: skip
    wrong = owner.post("/access/services", data={**given, "token": "http://plain.example"})
    assert wrong.status_code == 422
    assert owner.post("/access/services", data=given).status_code == 303

    with database.read() as connection:
        kept = oidc_providers.get(connection, "psc")
    preset = dataclasses.replace(pro_sante_connect(), client_id="practice-1", secret=kept.secret)
    assert kept == preset
    assert SECRET not in owner.get("/access/services/psc").text
    who = person_of(Role.SECRETARY)
    bad = owner.post(f"/access/{who.id}/prepare", data={"service": "psc", "number": "12"})
    assert bad.status_code == 422
    owner.post(f"/access/{who.id}/prepare", data={"service": "psc", "number": RPPS})
    assert f'value="{RPPS}"' in owner.get("/access").text
    owner.post(f"/access/{who.id}/prepare", data={"service": "psc", "number": ""})
    assert f'value="{RPPS}"' not in owner.get("/access").text
    assert owner.post("/access/services/psc/remove").status_code == 303
    assert owner.get("/access/services/psc").status_code == 404


def test_a_key_made_here_is_shown_to_nobody_and_signs_people_in_by_mutual_tls(
    owner, anonymous, database, settings, person_of
):
    """The page shows the certificate to register; the key leaves the box in no form, and a new one replaces it."""
    given = {"id": "psc", "name": "PSC", "client_id": CLIENT, "issuer": "https://a.example/x",
             "discovery": "https://a.example/x", "subject_claim": "SubjectNameID", "acr": "eidas1",
             "authentication": "self_signed_tls_client_auth", "is_on": "yes"}  # fmt: skip
    assert owner.post("/access/services", data=given).status_code == 422
    made = owner.post("/access/services", data={**given, "make_pair": "yes"})
    page = owner.get(made.headers["location"]).text
    certificate = re.search(
        r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", page, re.DOTALL
    )

    with database.read() as connection:
        key = oidc_providers.key_of(oidc_providers.get(connection, "psc"), settings.tls)
    assert "good until" in page
    assert "PRIVATE KEY" not in page
    assert key.reveal().splitlines()[1].decode() not in page
    with OidcServer(certificate.group(0), by_certificate=True) as server:
        moved = {**given, "issuer": server.issuer, "ca": server.ca,
                 "discovery": f"{server.base}/.well-known/wallet-openid-configuration",
                 "certificate": certificate.group(0)}  # fmt: skip
        assert owner.post("/access/services", data=moved).status_code == 303
        who = person_of(Role.OWNER)
        with database.write() as connection:
            psc = oidc_providers.get(connection, "psc")
            oidc_sign_in.prepare(connection, who, psc, SUBJECT, by=who.id, now=utc_now())
        anonymous.cookies.clear()
        arrived = travel(anonymous, dataclasses.replace(psc, authorize=f"{server.base}/authorize"))
        assert arrived.headers["location"] == "/account"
        assert server.shown == [CLIENT, CLIENT]


def test_a_certificate_without_its_key_is_refused_and_stays_in_the_form(owner):
    """What was typed is not lost, but the key is: it is typed again."""
    pem = make_client_pair(CLIENT, now=utc_now(), days=9)[0]
    given = {"id": "psc", "name": "PSC", "client_id": CLIENT, "issuer": "https://a.example/x",
             "discovery": "https://a.example/x", "subject_claim": "sub", "certificate": pem}  # fmt: skip

    answer = owner.post("/access/services", data={**given, "key": "a wrong key"})

    assert answer.status_code == 422
    assert pem.strip() in answer.text
    assert "a wrong key" not in answer.text


def test_rules_are_stored_and_one_beyond_what_is_allowed_is_refused(owner):
    """SEC-08."""
    data = {"idle_minutes": 10, "local_hours": 8, "remote_hours": 2, "for_all": "yes"}
    assert owner.post("/access", data=data).headers["location"] == "/access?after=rules"
    assert '<option value="10" selected>' in owner.get("/access?after=rules").text
    assert "10 minutes" in owner.get("/account").text
    assert owner.post("/access", data={**data, "idle_minutes": 60}).status_code == 422


def test_the_owner_ends_sessions_at_once_everywhere(owner, database, person_of):
    """One person's, or everybody's but one's own."""
    who, me = person_of(Role.SECRETARY), person_of(Role.OWNER)

    def start():
        with database.write() as connection:
            return sessions.start(
                connection, who.id, now=utc_now(), address="127.0.0.1", user_agent=""
            )

    def lives(token):
        with database.read() as connection:
            return sessions.find(connection, token, now=utc_now()) is not None

    one = start()
    assert owner.post(f"/access/{who.id}/end").status_code == 303
    assert not lives(one)
    another = start()
    assert owner.post("/access/end-all").status_code == 303
    assert not lives(another)
    assert owner.get("/account").status_code == 200
    assert me.id != who.id


def test_who_lost_the_phone_is_helped_by_the_owner_and_nobody_helps_themselves(
    owner, database, settings, person_of
):
    """Their factors and sessions end; the next sign-in at the practice makes a new one."""
    import pyotp

    who, me, now = person_of(Role.SECRETARY), person_of(Role.OWNER), utc_now()
    with database.write() as connection:
        draft = second_factors.begin_totp(connection, who, settings.tls, now=now)
        second_factors.confirm_totp(
            connection, who, pyotp.TOTP(draft.secret).at(now), settings.tls, label="", now=now
        )
    assert owner.post(f"/access/{me.id}/forget-factors").status_code == 422
    assert owner.post(f"/access/{who.id}/forget-factors").status_code == 303
    owner.post(f"/access/{who.id}/needs", data={"wanted": "yes"})
    with database.read() as connection:
        assert not second_factors.has_any(connection, who.id, settings.tls)
        assert people.needs_second_factor(connection, who.id)


@pytest.mark.parametrize("role", [Role.ASSOCIATE, Role.SECRETARY, Role.TECHNICAL_ADMIN])
def test_only_the_owner_changes_how_people_sign_in(client_as, role):
    """Neither rules nor services nor another's factors."""
    client = client_as(role)
    assert client.get("/access").status_code == 403
    for path in ("/access", "/access/end-all", "/access/1/end", "/access/1/forget-factors",
                 "/access/1/needs", "/access/services", "/access/1/prepare"):  # fmt: skip
        assert client.post(path).status_code == 403, path


def test_what_matters_most_asks_again_after_a_quarter_of_an_hour(owner, database):
    """Rules, people, services: a browser left open changes nothing."""
    with database.write() as connection:
        connection.execute(
            update(session_table).values(proven_at=utc_now() - timedelta(minutes=16))
        )
    for path in ("/access", "/access/end-all", "/access/1/forget-factors", "/people"):
        answer = owner.post(path, headers={"referer": "https://testserver/access"})
        assert answer.headers["location"] == "/account/prove?next=%2Faccess", path
    assert owner.get("/access").status_code == 200
