"""Settings: read once from one TOML file and ``ARMOIRE_*`` variables, then passed down.

Order: built-in default, ``armoire.toml`` of the data folder, environment. Every field is documented
in docs/RUNBOOK; a test fails when one is not.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from appliance.errors import SettingsInvalid

FILE_NAME: Final = "armoire.toml"
PREFIX: Final = "ARMOIRE_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and how the box listens. Frozen; use ``load``."""

    data: Path
    #: SQLAlchemy URL; empty means ``state.sqlite`` in the data folder.
    database_url: str = ""
    #: Empty: the declared local networks, the box itself and the tunnel; an address: of these, that one only.
    listen_address: str = ""
    listen_port: int = 8443
    #: Address of the web server in front of the box (nginx, caddy): the only one whose X-Forwarded-For counts.
    front_address: str = ""
    #: 1: the nginx in front sends the files of shares itself (docs/front.md); 0: the box does.
    front_accel: int = 0
    #: Time zone until the practice chooses one: timetables are in its local time.
    time_zone: str = "Europe/Paris"
    #: Bytes per repository segment; docs/decisions says how it was chosen.
    segment_bytes: int = 8 * 1024 * 1024
    #: A snapshot does not start when less than this is free on the repository's disk.
    free_bytes_floor: int = 1024 * 1024 * 1024
    #: Seconds of rolling `borg check --repository-only` after each run.
    check_seconds: int = 60
    #: More recipes than those of the package are read from here.
    recipes_folder: str = ""
    #: Jobs that run at once.
    worker_jobs: int = 2
    log_level: str = "INFO"
    #: Where the unit that sets Samba up listens, and where Samba writes who did what (in memory).
    smb_run: str = "/run/armoire-smb"
    #: Where the unit of the tunnel writes which device was seen when.
    tunnel_run: str = "/run/armoire-tunnel"

    #: 1: the search finds pictures by their DICOM fields too (patient, examination); 0: by their names only.
    index_dicom_fields: int = 0

    #: Port of the box on which a certificate authority's question is answered, while it asks; the router's port 80 leads to it.
    acme_http_port: int = 80
    #: Program that enters DNS records for ACME: called with `add` or `remove`, name and value. Absolute path, owned by root.
    acme_hook: str = ""
    #: Name server that is asked whether a DNS record is public, `address` or `address:port`; empty: that of the system.
    acme_resolver: str = ""
    #: PEM file of the authorities to trust when a certificate authority of one's own is asked; empty: those of the system.
    acme_ca_bundle: str = ""

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the state database."""
        return self.database_url or f"sqlite:///{self.data / 'state.sqlite'}"

    @property
    def repositories(self) -> Path:
        """One Borg repository per source: ``repositories/<source id>``."""
        return self.data / "repositories"

    @property
    def catalogues(self) -> Path:
        """One SQLite file per source: ``catalogues/<source id>.sqlite``."""
        return self.data / "catalogues"

    @property
    def state(self) -> Path:
        """What the worker keeps of its own: the box's state laid out to be archived, and its catalogue."""
        return self.data / "state"

    @property
    def shares(self) -> Path:
        """Where new shares of the network disk lie: ``shares/<name>``."""
        return self.data / "shares"

    @property
    def indexes(self) -> Path:
        """What the shares contain, to be searched: ``index/<share id>.sqlite``; made again from the disk."""
        return self.data / "index"

    @property
    def keys(self) -> Path:
        """``box.key`` (worker only) and ``box.pub``."""
        return self.data / "keys"

    @property
    def borg_home(self) -> Path:
        """BORG_BASE_DIR: Borg's cache, config and security folders."""
        return self.data / "borg"

    @property
    def run(self) -> Path:
        """Sockets and locks."""
        return self.data / "run"

    @property
    def reader_socket(self) -> Path:
        """Where the worker serves files out of snapshots."""
        return self.run / "reader.sock"

    @property
    def preview_socket(self) -> Path:
        """Where the sandboxed process makes previews."""
        return self.run / "preview.sock"

    @property
    def previews(self) -> Path:
        """Previews kept for a while: ``previews/<two letters>/<key>``."""
        return self.data / "previews"

    @property
    def tls(self) -> Path:
        """Certificate and key of the web interface."""
        return self.data / "tls"


def load(data: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the box in ``data``.

    Raises:
        SettingsInvalid: the file is not TOML, or names an unknown field or a value of a wrong type.
    """
    path = data / FILE_NAME
    given: dict[str, object] = {}
    if path.exists():
        try:
            given.update(tomllib.loads(path.read_text("utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsInvalid(str(path), str(error)) from error
    known = {each.name: each for each in fields(Settings) if each.name != "data"}
    for name in known:
        if PREFIX + name.upper() in environment:
            given[name] = environment[PREFIX + name.upper()]
    settings = Settings(data=data.absolute())
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise SettingsInvalid(str(path), f"unknown setting «{name}»")
        usual = getattr(settings, name)
        if isinstance(usual, int) and isinstance(value, str):
            try:
                value = int(value)  # noqa: PLW2901 - environment variables are text
            except ValueError as error:
                raise SettingsInvalid(str(path), f"«{name}» must be a number") from error
        if type(value) is not type(usual):
            raise SettingsInvalid(str(path), f"«{name}» must be of type {type(usual).__name__}")
        changes[name] = value
    return replace(settings, **changes)
