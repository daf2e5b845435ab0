"""The box's own style sheet, scripts and vendored libraries, held in memory under hashed addresses."""

import hashlib
import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

YEAR_S: Final = 31_536_000


class StaticFiles:
    """A few hundred kilobytes read once; a new content has a new address, so browsers keep it a year."""

    def __init__(self) -> None:
        self._content: dict[str, tuple[bytes, str]] = {}
        self._address: dict[str, str] = {}
        self._read(files("appliance.web").joinpath("static"), "")

    def _read(self, folder: Traversable, prefix: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda each: each.name):
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                self._read(entry, f"{name}/")
                continue
            content = entry.read_bytes()
            kind = mimetypes.guess_type(name)[0] or "text/plain"
            if name.endswith(".js"):
                kind = "text/javascript"
            if kind.startswith("text/"):
                kind += "; charset=utf-8"
            digest = hashlib.sha256(content).hexdigest()[:12]
            self._content[f"{digest}/{name}"] = (content, kind)
            self._address[name] = f"/static/{digest}/{name}"

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
