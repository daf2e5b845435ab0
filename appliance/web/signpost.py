"""Which groups of routes can answer a path at all: only those are asked.

FastAPI asks every included router in turn, and each asks every route of its own: with 50 routers and 300 routes
two thirds of what a page cost (docs/decisions/0191). The first segments of a path already say that almost all of
them will refuse. The order among the others, and their answers, stay as they are.
"""

from collections.abc import Iterable
from typing import Any, Final

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

#: A segment that may be anything.
_ANY: Final = ""


class _Node:
    """What may follow some first segments of a path."""

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.here: set[int] = set()  # groups with a route that ends here
        self.open: set[int] = set()  # groups with a route that takes all that follows


class Signpost:
    """Says for a path which of several groups of routes may know it."""

    def __init__(self, groups: Iterable[Iterable[str]]) -> None:
        """Learn the templates («/disk/{share}/file») of each group; its number is its place."""
        self._top = _Node()
        # Of the path asked for last: all groups are asked about one path, one after the other.
        self._last: tuple[str, set[int]] = ("", set())
        for number, templates in enumerate(groups):
            for template in templates:
                self._learn(number, template)

    def _learn(self, number: int, template: str) -> None:
        node = self._top
        for segment in template.split("/"):
            if ":path}" in segment:
                node.open.add(number)
                return
            node = node.below.setdefault(_ANY if "{" in segment else f"={segment}", _Node())
        node.here.add(number)

    def groups(self, path: str) -> set[int]:
        """Return the numbers of the groups that may know ``path``; not one that does is missing."""
        known, found = self._last
        if known is path:
            return found
        found = set()
        front = [self._top]
        for segment in path.split("/"):
            further = []
            for node in front:
                found |= node.open
                names = (f"={segment}", _ANY)
                further += [node.below[name] for name in names if name in node.below]
            front = further
        for node in front:
            found |= node.here
        self._last = path, found
        return found


def put_up(routes: Iterable[BaseRoute]) -> None:
    """Let each included router among ``routes`` be asked only about paths it may know."""
    included = [each for each in routes if hasattr(each, "original_router")]
    signpost = Signpost([route.path for route in each.original_router.routes] for each in included)
    for number, each in enumerate(included):
        _guard(each, number, signpost)


def _guard(router: Any, number: int, signpost: Signpost) -> None:  # noqa: ANN401 - FastAPI keeps its class to itself
    asked = router.matches

    def matches(scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and number not in signpost.groups(scope["path"]):
            return Match.NONE, {}
        found: tuple[Match, Scope] = asked(scope)
        return found

    router.matches = matches
