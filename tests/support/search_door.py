"""The search as one of the doors of ``tests.support.doors``."""

from appliance.disk.index_file import ROOT, Index, path_of
from appliance.disk.index_keep import Keeper
from appliance.model import Role
from tests.support.doors import LETTER, SECRET, Door, Scene


class Search(Door):
    """The page, the box over a folder, and JSON, over an index that knows the letter and its text."""

    name = "search"
    lacks = frozenset({"find", "add", "replace", "rename", "delete"})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        scene.lay_out()
        keeper = Keeper(scene.share, Index(path_of(scene.settings, scene.share.id)))
        keeper.look_at_all()
        keeper.settle()
        for row in keeper.index.inside(ROOT).values():
            keeper.index.set_text(row.id, SECRET.decode())
        keeper.index.close()

    def names(self, role: Role) -> bool:
        """Is a name found, on every way?"""
        client = self.scene.signed_in(role)
        stem = LETTER.partition(".")[0]
        answer = client.get("/api/v1/disk/search", params={"q": stem}).text
        told = client.get("/api/v1/disk/search", params={"q": stem, "share": "documents"}).text
        page = client.get("/disk/search", params={"q": stem[:4], "share": "documents"}).text
        few = client.get(
            "/disk/search", params={"q": stem[:4], "few": 1}, headers={"hx-request": "true"}
        ).text
        is_there = LETTER in answer
        assert (LETTER in told) == is_there
        assert (f'data-name="{LETTER}"' in page) == (f'data-name="{LETTER}"' in few) == is_there
        return is_there

    def read(self, role: Role) -> bool:
        """Is what stands in the letter in the answer?"""
        client = self.scene.signed_in(role)
        answer = client.get("/api/v1/disk/search", params={"q": "about dupont"}).content
        page = client.get("/disk/search", params={"q": "about dupont"}).text
        assert (SECRET in answer) == ("<mark>Dupont</mark>" in page)
        return SECRET in answer
