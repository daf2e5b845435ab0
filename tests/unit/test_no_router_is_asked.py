"""No UPnP, no NAT-PMP, no PCP: the box never asks a router to open anything (domain.md SEC-10).

WS-Discovery, by which Windows finds the file explorer, is something else: it speaks on the addresses of the local
networks, asks nobody for anything, and wsdd does it (``disk.smb_discovery``).
"""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
#: Names of the protocols and of the libraries that speak them, as a program would write them.
WORDS = re.compile(
    r"upnp|\bssdp\b|nat[-_]?pmp|\bpcp\b|miniupnp|\bigd\b|WANIPConnection|AddPortMapping|239\.255\.255\.250|"
    r"[,:]\s*1900\b|\b535[01]\b",
    re.IGNORECASE,
)
#: Says to people what is not done.
TOLD = {
    "appliance/web/templates/network/visible.html",
    "appliance/locales/fr/network.po",
}
LIBRARIES = re.compile(r"upnp|ssdp|natpmp|nat-pmp|igd|pcp", re.IGNORECASE)


def sources() -> Iterator[Path]:
    """Everything that runs on a box, but libraries of others for the browser."""
    for folder in ("appliance", "systemd", "scripts"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not {"__pycache__", "vendor"} & set(path.parts):
                yield path


def closure() -> set[str]:
    """Every library that the product needs, and what these need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found: set[str] = set()
    waiting = [Requirement(each) for each in project["dependencies"]]
    while waiting:
        one = waiting.pop()
        if one.name.lower() in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(one.name.lower())
        try:
            waiting += [Requirement(each) for each in requires(one.name) or ()]
        except PackageNotFoundError:
            continue
    return found


def test_nothing_of_ours_speaks_to_a_router() -> None:
    """Neither a name of these protocols, nor their ports, nor their group address."""
    seen = 0
    for path in sources():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a picture, a compiled table
        seen += 1
        if str(path.relative_to(ROOT)) in TOLD:
            continue
        found = [
            line.strip()
            for line in text.splitlines()
            if WORDS.search(line) and not line.lstrip().startswith(("msgid", "msgstr"))
        ]
        assert found == [], path
    assert seen > 500
    for written in (
        "upnp.add_port_mapping(8443)",
        'sendto(data, ("239.255.255.250", 1900))',
        "gateway:5351",
    ):
        assert WORDS.search(written)


def test_no_library_of_ours_was_made_for_it() -> None:
    """Not by way of another library either."""
    names = closure()

    assert len(names) > 30
    assert not [each for each in names if LIBRARIES.search(each)]
