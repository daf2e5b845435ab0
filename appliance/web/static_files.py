"""The box's own style sheet, scripts and vendored libraries, held in memory under hashed addresses."""

import hashlib
import mimetypes
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

YEAR_S: Final = 31_536_000


_IMPORT: Final = re.compile(rb'(\bfrom ")\./([a-z0-9_]+\.js)"')


def _all(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _all(entry, f"{name}/")
        else:
            yield name, entry.read_bytes()


class StaticFiles:
    """A few hundred kilobytes read once; a new content has a new address, so browsers keep it a year."""

    def __init__(self) -> None:
        self._content: dict[str, tuple[bytes, str]] = {}
        self._address: dict[str, str] = {}
        found = dict(_all(files("appliance.web").joinpath("static"), ""))
        for name in sorted(found):
            self._take(name, found)

    def _take(self, name: str, found: dict[str, bytes]) -> str:
        """Keep a file and return its address; the modules it imports come first, for theirs are in it."""
        if name not in self._address:
            content = found[name]
            if name.endswith(".js") and "/" not in name:  # ours; vendored ones stay as they are
                content = _IMPORT.sub(
                    lambda match: match[1] + self._take(match[2].decode(), found).encode() + b'"',
                    content,
                )
            kind = mimetypes.guess_type(name)[0] or "text/plain"
            if name.endswith(".js"):
                kind = "text/javascript"
            if kind.startswith("text/"):
                kind += "; charset=utf-8"
            digest = hashlib.sha256(content).hexdigest()[:12]
            self._content[f"{digest}/{name}"] = (content, kind)
            self._address[name] = f"/static/{digest}/{name}"
        return self._address[name]

    def address(self, name: str) -> str:
        """Return the address of a file.

        Raises:
            KeyError: there is none of this name: a mistake in a template.
        """
        return self._address[name]

    def answer(self, request: Request) -> Response:
        """Return the file asked for, or 404."""
        found = self._content.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404)
        content, kind = found
        return Response(
            content,
            media_type=kind,
            headers={"cache-control": f"public, max-age={YEAR_S}, immutable"},
        )
