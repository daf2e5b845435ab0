"""Downloads: 2 GB with curl, and 50 KB files with wrk, beside copyparty, nginx with X-Accel and Starlette alone.

Ours asks for the session, the role and the right with each request; the peers ask for nothing. copyparty is measured
where ``ARMOIRE_COPYPARTY`` names a Python that has it, nginx and wrk where Debian's packages are installed.
``ARMOIRE_BENCH_SCALE=0.1`` makes a tenth.
"""

import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

import pytest

from appliance.accounts import sessions
from appliance.clock import utc_now
from tests.bench import disk_site, servers
from tests.bench.disk_site import DiskSite
from tests.bench.report import record
from tests.bench.servers import Served

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

SCALE = float(os.environ.get("ARMOIRE_BENCH_SCALE", "1"))
LARGE = max(1 << 26, int(2_000_000_000 * SCALE) >> 20 << 20)
FILES = 2_000
SMALL = 50_000
ROUNDS = 3
SECONDS = 3
#: Processor seconds a gigabyte (issue, §6).
CPU_BARS = {False: 0.35, True: 0.65}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskSite]:
    """A large file and 2,000 small ones, all in the system's memory."""
    made = disk_site.make(tmp_path_factory.mktemp("download"))
    disk_site.large(made.share / "film.bin", LARGE)
    disk_site.fill(made.share / "small", FILES, SMALL)
    yield made
    made.database.close()


def _peers(stack: ExitStack, site: DiskSite, place: Path, *, is_tls: bool) -> dict[str, Served]:
    found = {}
    if servers.has_nginx():
        found["nginx"] = stack.enter_context(
            servers.nginx(site.share, place / "nginx", is_tls=is_tls, settings=site.settings)
        )
    if servers.has_copyparty():
        found["copyparty"] = stack.enter_context(
            servers.copyparty(site.share, place / "copyparty", is_tls=is_tls)
        )
    return found


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
def test_a_large_file(site: DiskSite, tmp_path: Path, *, is_tls: bool) -> None:
    """As fast as copyparty, 0.9 of nginx; little processor time."""
    speeds: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(servers.armoire(site.settings, is_tls=is_tls))
        all_of_them = {"armoire": ours, **_peers(stack, site, tmp_path, is_tls=is_tls)}
        for number in range(ROUNDS + 1):  # the first warms up
            for name, server in all_of_them.items():
                path = site.file("film.bin") if server is ours else "/film.bin"
                headers = site.headers if server is ours else {}
                before = server.cpu_s()
                speed = servers.bytes_a_second(server.base, path, headers)
                if number:
                    speeds.setdefault(name, []).append(speed / 1e6)
                    costs.setdefault(name, []).append((server.cpu_s() - before) / LARGE * 1e9)
    mine = statistics.median(speeds.pop("armoire"))
    cost = statistics.median(costs.pop("armoire"))
    theirs = {name: statistics.median(each) for name, each in speeds.items()}
    how = "HTTPS" if is_tls else "HTTP"
    details: dict[str, object] = {"MB_s": round(mine)}
    details |= {f"{name}_MB_s": round(each) for name, each in theirs.items()}
    details |= {f"{name}_s_GB": round(statistics.median(each), 2) for name, each in costs.items()}
    rows = [
        record(
            f"download of 2 GB over {how}, processor s a GB",
            cost,
            CPU_BARS[is_tls],
            cost <= CPU_BARS[is_tls],
            details,
        )
    ]
    for name, bar in (("copyparty", 1.0), ("nginx", 0.9)):
        if name in theirs:
            ratio = mine / theirs[name]
            rows.append(
                record(f"download of 2 GB over {how}, × {name}", ratio, bar, ratio >= bar, {})
            )
    assert all(row.ok for row in rows) or SCALE < 1


def _small(server: Served, script: Path) -> tuple[float, float]:
    """Files a second, and microseconds of processor time of each."""
    before = server.cpu_s()
    told = servers.wrk(server.base, script, seconds=SECONDS)
    assert told["bad"] == 0
    return told["rps"], (server.cpu_s() - before) / told["requests"] * 1e6


def _first_time(server: Served, paths: list[str], headers: dict[str, str]) -> float:
    """Files a second when each is opened for the first time: the journal is written, with its own commits."""

    def ask(mine: list[str]) -> None:
        with closing(server.line()) as line:
            for path in mine:
                line.request("GET", path, headers=headers)
                answer = line.getresponse()
                assert answer.status == 200
                answer.read()

    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, [paths[number::8] for number in range(8)]))
    return len(paths) / (time.perf_counter() - began)


@pytest.mark.skipif(not servers.has("wrk"), reason="no wrk here")
def test_small_files(site: DiskSite, tmp_path: Path) -> None:
    """Three times Starlette's FileResponse alone, 0.8 of nginx that sends what the same decisions allow.

    «in front of ours» is the product behind nginx as docs/front.md has it, where the short way is shut; «our short
    way» is what it would be if it were open there: the same session, rights and journal, nginx for the bytes. Between
    a bare application that decides nothing and nginx there is less work, in two processes: recorded, without a bar.
    """
    names = [f"small/{each.name}" for each in sorted((site.share / "small").iterdir())]
    assert len(names) == FILES
    asked = [site.file(each) for each in names]
    with site.database.write() as connection:
        token = sessions.start(
            connection,
            site.doctor.id,
            now=utc_now(),
            address=servers.VISITOR,
            user_agent="tests",
        )
    headers = {"armoire": site.headers, "decided": site.headers}
    headers["front"] = site.headers | {"Cookie": f"__Host-sid={token}"}
    scripts = {
        name: servers.lua(tmp_path / f"{name}.lua", asked, each) for name, each in headers.items()
    }
    bare = servers.lua(tmp_path / "bare.lua", [f"/{quote(each)}" for each in names], {})
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    first: dict[str, float] = {}
    with ExitStack() as stack:
        all_of_them = {
            "armoire": stack.enter_context(servers.armoire(site.settings, is_tls=False)),
            "starlette": stack.enter_context(servers.stock(site.share)),
            **_peers(stack, site, tmp_path, is_tls=False),
        }
        if servers.has_nginx():
            for mode in ("front", "decided"):
                server = servers.front(site.settings, tmp_path / mode, mode=mode)
                all_of_them[mode] = stack.enter_context(server)
        for name in headers.keys() & all_of_them.keys():
            first[name] = _first_time(all_of_them[name], asked, headers[name])
        for _ in range(ROUNDS):
            for name, server in all_of_them.items():
                rate, cost = _small(server, scripts.get(name, bare))
                rates.setdefault(name, []).append(rate)
                costs.setdefault(name, []).append(cost)
    rate = {name: statistics.median(each) for name, each in rates.items()}
    details: dict[str, object] = {f"{name}_s": round(each) for name, each in rate.items()}
    details |= {f"{name}_us": round(statistics.median(each)) for name, each in costs.items()}
    details |= {f"{name}_first_time_s": round(each) for name, each in first.items()}
    rows = []
    for name, what, bar in (
        ("starlette", "Starlette", 3.0),
        ("front", "nginx in front of ours", 0.8),
        ("nginx", "nginx, nothing decided", 0.8),
        ("decided", "nginx, our short way", 0.8),
    ):
        if name in rate:
            ratio = rate["armoire"] / rate[name]
            told = details if name == "starlette" else {}
            rows.append(record(f"50 KB files a second, × {what}", ratio, bar, ratio >= bar, told))
    assert all(row.ok for row in rows) or SCALE < 1
