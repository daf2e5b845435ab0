"""The doors every request passes."""

import re

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route

from appliance.model import Role
from appliance.web.app import create_app
from appliance.web.deps import Needs
from appliance.web.routes import ROUTERS
from appliance.web.security import LINKS_PREFIX, PUBLIC, PUBLIC_PREFIX

#: Signed-in people see these whatever their role.
OWN = {
    "home",
    "status",
    "live-home",
    "account",
    "notices",
    "notices-seen",
    "notices-settings",  # one's own ways; the practice's for who may change settings
    "notices-way-add",
    "notices-way-change",
    "notices-way-test",
    "notices-way-remove",
    "api-notices",
    "api-notices-seen",
    "api-notices-ways",
    "api-notices-way-test",
    "information",
    "information-read",
    "account-password",
    "account-end-session",
    "account-end-others",
    "tokens",
    "token-make",
    "token-revoke",
    "sign-out",
    "language",
    # One's own second factors, and showing again who one is.
    "sign-in-second",
    "sign-in-second-try",
    "sign-in-second-options",
    "sign-in-second-passkey",
    "account-factors",
    "account-factors-application",
    "account-factors-confirm",
    "account-factors-options",
    "account-factors-passkey",
    "account-factors-codes",
    "account-factors-remove",
    "account-prove",
    "account-prove-try",
    "account-prove-options",
    "account-prove-passkey",
    "recovery",  # whoever may sign in during a recovery sees how it goes; it names no file
    "live-recovery",
    "api-recovery",
    # The same, as JSON.
    "api-account",
    "api-account-change",
    "api-account-password",
    "api-account-end-session",
    "api-account-end-others",
    "api-account-prove",
    "api-account-prove-options",
    "api-account-prove-passkey",
    "api-factors",
    "api-factors-application",
    "api-factors-confirm",
    "api-factors-options",
    "api-factors-passkey",
    "api-factors-codes",
    "api-factors-remove",
    "api-tokens",
    "api-token-make",
    "api-token-revoke",
    "api-devices",
    "api-device-add",
    "api-device-revoke",
    "api-notices-settings",
    "api-notices-way-add",
    "api-notices-way-change",
    "api-notices-way-remove",
    "devices",  # one's own; whoever runs the box sees all of them
    "device-add",
    "device-revoke",
}


def _routes(app):
    """Return every route: the application's own and those of the routers it includes."""
    own = [route for route in app.routes if isinstance(route, Route | Mount)]
    assert len(app.routes) - len(own) == len(ROUTERS)
    # WebDAV asks for its own passwords: «/dav» answers 401 by itself, below.
    assert {route.path for route in own if isinstance(route, Mount)} <= {"/dav"}
    own = [route for route in own if isinstance(route, Route) and not route.path.startswith("/dav")]
    return [*own, *(route for router in ROUTERS for route in router.routes)]


def _filled(path):
    return re.sub(r"\{[^}]+\}", "1", path)


def test_every_route_but_the_allow_list_asks_for_a_session(anonymous, settings, database):
    """Closed by default, routes to come included."""
    closed = 0
    for route in _routes(anonymous.app):
        path = _filled(route.path)
        if path in PUBLIC or path.startswith(PUBLIC_PREFIX):
            continue
        for method in route.methods - {"HEAD", "OPTIONS"}:
            answer = anonymous.request(method, path)
            if path.startswith(LINKS_PREFIX):  # the address is the key, and this one is invented
                assert answer.status_code in {410, 422}, (method, route.path)
                continue
            assert answer.status_code in {303, 401}, (method, route.path)
            if answer.status_code == 303:
                assert answer.headers["location"].startswith("/sign-in"), route.path
            closed += 1
    assert closed > 5


def test_webdav_asks_for_a_password_of_its_own(anonymous):
    """No session opens it, and nothing of it is shown before."""
    for method in ("GET", "PROPFIND", "PUT", "DELETE", "MKCOL"):
        for path in ("/dav", "/dav/", "/dav/documents/a.txt"):
            assert anonymous.request(method, path).status_code == 401, (method, path)


def test_every_route_names_the_action_it_needs_or_is_ones_own(settings, database):
    """A new page without a right attached fails here."""
    for route in _routes(create_app(settings, database)):
        if not isinstance(route, APIRoute) or route.path in PUBLIC or route.name in OWN:
            continue
        if route.path.startswith(LINKS_PREFIX):
            continue  # a correspondent has no role: the rights of the link's maker are asked for
        asked = [d.dependency for d in route.dependencies if isinstance(d.dependency, Needs)]
        assert asked, route.path


@pytest.mark.parametrize("role", [Role.LOCUM, Role.SECRETARY, Role.TECHNICAL_ADMIN])
def test_what_a_role_may_not_see_is_not_there(client_as, role):
    """Names of files are patients' data: no search for these three (SEC-03)."""
    assert client_as(role).get("/search?q=martin").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "", "origin": "https://testserver"}, 403),
        ({"sec-fetch-site": None, "origin": "https://testserver"}, 303),
        ({"sec-fetch-site": None, "origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": None, "origin": "null"}, 403),
        ({"sec-fetch-site": None}, 403),
    ],
)
def test_another_sites_page_changes_nothing(owner, headers, status):
    """Forms need no token: the browser says where a request comes from."""
    for name, value in headers.items():
        if value is None:
            owner.headers.pop(name, None)
        else:
            owner.headers[name] = value

    assert owner.post("/language", data={"language": "fr"}).status_code == status


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/api/v1/sources"])
def test_every_answer_carries_the_headers(owner, path):
    """No script but ours, no frame, no cache, no sniffing."""
    headers = owner.get(path).headers

    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["strict-transport-security"].startswith("max-age=")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_static_files_are_kept_for_a_year_under_an_address_of_their_content(anonymous):
    """A new content has a new address."""
    page = anonymous.get("/sign-in").text
    address = re.search(r'href="(/static/[0-9a-f]{12}/app\.css)"', page).group(1)

    answer = anonymous.get(address)

    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert anonymous.get("/static/000000000000/app.css").status_code == 404
    assert anonymous.get("/static/../app.py").status_code in {303, 404}


def test_no_page_names_another_host_or_holds_inline_script_or_style():
    """What the CSP would block is not even written."""
    from importlib.resources import files

    folder = files("appliance.web").joinpath("templates")
    texts = {
        path.name: path.read_text()
        for path in [*folder.iterdir(), *folder.joinpath("_partials").iterdir()]
        if path.is_file()
    }
    for name, text in texts.items():
        assert not re.search(r"""\s(style|on\w+)=["']""", text), name
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), name
        assert "https://" not in text, name


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("fr-FR,fr;q=0.9,en;q=0.8", "fr"),
        ("en-US", "en"),
        ("de", "fr"),
        ("", "fr"),
        ("de,en;q=0.2", "en"),
    ],
)
def test_a_page_speaks_the_browsers_language_french_first(anonymous, header, language):
    """French unless English is preferred."""
    answer = anonymous.get("/sign-in", headers={"accept-language": header})

    assert f'<html lang="{language}"' in answer.text
