"""A box with a share to read from, and somebody signed in."""

import os
from dataclasses import dataclass
from pathlib import Path

from appliance.db.engine import Database
from appliance.model import Person
from appliance.packed import pack_path
from appliance.settings import Settings
from tests.support import share_site


@dataclass(frozen=True)
class DiskSite:
    """A box, its share «documents», a doctor, her session."""

    settings: Settings
    database: Database
    share: Path
    doctor: Person
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What a signed-in browser sends."""
        return {"Cookie": f"__Host-sid={self.token}", "Sec-Fetch-Site": "same-origin"}

    def file(self, path: str) -> str:
        """The address of a file of the share."""
        return f"/disk/documents/file?p={pack_path(path.encode())}"


def make(place: Path) -> DiskSite:
    """A box in ``place``; nothing serves it yet."""
    made = share_site.make(Settings(data=place / "data"))
    return DiskSite(made.settings, made.database, made.share.folder, made.doctor, made.token)


def fill(folder: Path, count: int, size: int) -> list[str]:
    """Make ``count`` files of ``size`` bytes; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"compte rendu {number:05}.pdf" for number in range(count)]
    for name in names:
        (folder / name).write_bytes(os.urandom(size))
    return names


def large(path: Path, size: int) -> None:
    """Make a large file, quickly."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)
