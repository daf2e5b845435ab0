"""Only routers that may know a path are asked; nothing else is answered than before."""

import re

import pytest
from starlette.routing import Match

from appliance.web.app import create_app
from appliance.web.signpost import Signpost, put_up


@pytest.mark.parametrize(
    ("path", "groups"),
    [
        ("/", {0}),
        ("/disk", {1}),
        ("/disk/documents", {1}),
        ("/disk/search", {1, 2}),
        ("/disk/documents/file", {2}),
        ("/disk/documents/bin/3", {1}),
        ("/disk/documents/bin/3/", set()),
        ("/static/vendor/htmx.js", {3}),
        ("/static/", {3}),
        ("/static", set()),
        ("/nowhere", set()),
        ("disk", set()),
        ("", set()),
        ("//", set()),
    ],
)
def test_a_path_is_shown_to_whom_it_may_concern(path, groups):
    """By its segments: literal ones, any ones, and all that follows."""
    signpost = Signpost(
        [
            ["/"],
            ["/disk", "/disk/{share}", "/disk/{share}/bin/{item_id}"],
            ["/disk/search", "/disk/{share}/file"],
            ["/static/{name:path}"],
        ]
    )

    assert signpost.groups(path) == groups
    assert signpost.groups(path) == groups


def scope(path, method):
    return {"type": "http", "path": path, "root_path": "", "method": method, "headers": []}


def test_every_route_is_still_found_by_the_router_that_has_it(settings, database, monkeypatch):
    """Each route of the application, with each method, and a path nobody has."""
    guarded = create_app(settings, database)
    monkeypatch.setattr("appliance.web.app.put_up", lambda _: None)
    free = create_app(settings, database)
    templates = {
        route.path
        for each in free.router.routes
        if hasattr(each, "original_router")
        for route in each.original_router.routes
    }
    asked = 0
    for template in sorted(templates):
        for value in ("1", "search", "new", "été", "a/b" if ":path}" in template else "x"):
            path = re.sub(r"\{[^}]+\}", value, template)
            for method in ("GET", "POST"):
                said = [
                    [route.matches(scope(path, method))[0] for route in app.router.routes]
                    for app in (free, guarded)
                ]
                assert said[0] == said[1], (method, path)
                asked += any(each is not Match.NONE for each in said[0])
    assert asked > 1_000


def test_few_routers_are_asked(settings, database):
    """Else nothing would be gained."""
    app = create_app(settings, database)
    included = [each for each in app.router.routes if hasattr(each, "original_router")]
    asked = []
    for each in included:
        inner = each.original_router
        inner.matches = lambda _, at=inner: asked.append(at) or (Match.NONE, {})
    put_up([])  # of nothing: allowed
    try:
        for each in included:
            each.matches(scope("/disk/documents/file", "GET"))
    finally:
        for each in included:
            del each.original_router.matches

    assert 1 <= len(asked) <= 5
    assert len(included) > 30
