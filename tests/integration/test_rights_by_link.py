"""The door «link» of the table role × rights: a correspondent gets what the link's maker may share right now."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient

from appliance.clock import utc_now
from appliance.db.engine import open_database
from appliance.db.schema_disk import link
from appliance.disk.batch import pack
from appliance.model import Role
from appliance.policy.outside_links import ASK, DEFAULT_DAYS, GIVE, Rules
from appliance.policy.roles import WITHOUT_DOCUMENTS
from appliance.policy.share_rights import Right
from appliance.settings import Settings
from appliance.vault.tokens import digest
from appliance.web.app import create_app
from tests.support.doors import LETTER, SECRET, Scene, packed

pytestmark = pytest.mark.integration

NEEDED = {GIVE: {Right.SEE, Right.SHARE_OUT}, ASK: {Right.ADD, Right.SHARE_OUT}}
SUBSETS = [
    frozenset(Right),
    *(frozenset(Right) - {each} for each in Right),
    *(frozenset(each) for each in NEEDED.values()),
    *(frozenset({each}) for each in Right),
    frozenset[Right](),
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A box, its people, a share with a letter, and a browser that has no account."""
    settings = Settings(data=tmp_path_factory.mktemp("links") / "data")
    settings.data.mkdir()
    database = open_database(settings.database, create=True)
    with TestClient(
        create_app(settings, database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
    ) as client:
        yield Scene.build(settings, database, client)
    database.close()


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_a_link_is_worth_what_its_maker_may_share(scene: Scene, role: Role) -> None:
    """Links made once, rights that come and go: nothing is kept beyond a request."""
    now = utc_now()
    with scene.database.write() as connection:
        for kind, path in ((GIVE, LETTER.encode()), (ASK, b"")):
            connection.execute(
                insert(link).values(
                    token_hash=digest(f"{role.value}-{kind}"),
                    kind=kind,
                    share_id=scene.share.id,
                    path=path,
                    person_id=scene.people[role].id,
                    label="Dr Petit",
                    created_at=now,
                    ends_at=now + timedelta(days=DEFAULT_DAYS),
                    rules=Rules(frozenset({"documents"})).stored(),
                )
            )
    wrong = []
    body = pack([({"path": packed("note.txt"), "size": 2}, b"ok")])
    for rights in SUBSETS:
        scene.give(role, rights)
        scene.lay_out()
        taken = scene.client.get(f"/l/{role.value}-{GIVE}/file")
        sent = scene.client.post(f"/l/{role.value}-{ASK}/batch", content=body)
        for kind, answer, is_done in (
            (GIVE, taken, taken.content == SECRET),
            (ASK, sent, sent.status_code == 200 and "error" not in sent.json()["files"][0]),
        ):
            allowed = rights >= NEEDED[kind] and role not in WITHOUT_DOCUMENTS
            if is_done != allowed or (not allowed and answer.status_code != 410):
                given = ", ".join(sorted(rights)) or "nothing"
                wrong.append(f"{kind} {answer.status_code} with {given}")
    assert wrong == []
