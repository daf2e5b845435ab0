"""Who may do what on a share is the same through every door: role × rights × act × door.

What is expected is written here by hand, not asked of ``policy.share_rights``: a grant is what one may do, a
locum's is cut to what the replaced doctor may, and a technical administrator sees nothing whatever is granted.
"""

from collections.abc import Iterator
from itertools import chain, combinations

import pytest
from starlette.testclient import TestClient

from appliance.db.engine import open_database
from appliance.model import Role
from appliance.policy.roles import WITHOUT_DOCUMENTS
from appliance.policy.share_rights import Right
from appliance.settings import Settings
from appliance.web.app import create_app
from tests.support.dav_door import WebDav
from tests.support.doors import ACTS, Api, Door, Scene, Web
from tests.support.search_door import Search
from tests.support.smb_door import Smb

pytestmark = pytest.mark.integration

#: A new door joins here, and is tried at once with every role, right and act.
DOORS: tuple[type[Door], ...] = (Api, Web, Search, WebDav, Smb)

#: Nothing, each right alone, all but one, all.
SUBSETS = sorted(
    {
        frozenset(each)
        for each in chain(
            [()], combinations(Right, 1), combinations(Right, len(Right) - 1), [tuple(Right)]
        )
    },
    key=lambda each: (len(each), sorted(each)),
)
FEW = [
    frozenset[Right](),
    frozenset({Right.SEE}),
    frozenset(Right) - {Right.DELETE},
    frozenset(Right),
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A box, its people, a share with a letter."""
    settings = Settings(data=tmp_path_factory.mktemp("doors") / "data")
    settings.data.mkdir()
    database = open_database(settings.database, create=True)
    with TestClient(
        create_app(settings, database),
        base_url="https://testserver",
        client=("127.0.0.1", 50_000),  # at the practice: from elsewhere two factors are asked for
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
    ) as client:
        made = Scene.build(settings, database, client)
        yield made
        for end in made.at_end:
            end()
    database.close()


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
@pytest.mark.parametrize("kind", DOORS, ids=lambda kind: kind.name)
def test_a_door_lets_through_what_was_granted_and_nothing_else(
    scene: Scene, kind: type[Door], role: Role
) -> None:
    """Every act happens exactly when its rights were given; the disk is asked, not the answer."""
    door = kind(scene)
    wrong = []
    for rights in FEW if door.is_slow else SUBSETS:
        scene.give(role, rights)
        for act, needed in ACTS.items():
            if act in door.lacks:
                continue
            if act == "find" and rights and Right.SEE not in rights:
                continue  # who may only add needs a way in over the web, and has none over others
            allowed = door.needs.get(act, needed) <= rights and role not in WITHOUT_DOCUMENTS
            if door.try_to(act, role) != allowed:
                given = ", ".join(sorted(rights)) or "nothing"
                wrong.append(f"{act} {'refused' if allowed else 'let through'} with {given}")
    assert wrong == []


@pytest.mark.parametrize("kind", DOORS, ids=lambda kind: kind.name)
def test_a_right_taken_away_is_gone_with_the_next_request(scene: Scene, kind: type[Door]) -> None:
    """No door remembers."""
    door = kind(scene)
    scene.give(Role.SECRETARY, {Right.SEE})
    assert door.try_to("read", Role.SECRETARY)
    scene.give(Role.SECRETARY, ())
    assert not door.try_to("read", Role.SECRETARY)
    assert not door.try_to("names", Role.SECRETARY)
