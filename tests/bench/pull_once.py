"""One pull in a process of its own, as the worker runs it: its wall time and its peak memory."""

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from appliance import process
from appliance.backup_jobs import borg_library as library
from appliance.backup_jobs.sftp import Pipeline, PlainTransport
from appliance.backup_jobs.sources.pulled import Connection, PullOptions, pull
from appliance.backup_jobs.ssh import Endpoint
from appliance.model import Source, SourceId, SourceKind
from appliance.vault.secret import Secret


class Counter:
    """A night and a context that only count."""

    def __init__(self) -> None:
        self.put_count = self.gone_count = 0

    def put(self, entry: object) -> None:
        self.put_count += 1

    def gone(self, path: bytes) -> None:
        self.gone_count += 1

    def report(self, *_args: object, **_named: object) -> None:
        pass

    def should_stop(self) -> bool:
        return False


@contextmanager
def _over_pipes(argv: list[str]) -> Iterator[Pipeline]:
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    with process.pipes(argv, env=environment) as child:
        yield Pipeline(PlainTransport(child.stdout.fileno(), child.stdin.fileno()))


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    """Peak resident memory of this program; getrusage would count what its parent had before exec."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    order = json.loads(sys.argv[1])
    connection: Connection
    if "command" in order:
        connection = lambda: _over_pipes(order["command"])  # noqa: E731
    else:
        connection = Endpoint(
            "127.0.0.1",
            order["port"],
            order["user"],
            order["host_key"],
            Secret(Path(order["key"]).read_bytes()),
        )
    source = Source(
        id=SourceId(1),
        name="bench",
        label="bench",
        kind=SourceKind.PULLED,
        created_at=datetime.now(UTC),
        roots=(order["root"],),
    )
    counter = Counter()
    with library.open_repository(
        Path(order["repository"]),
        Secret(order["passphrase"].encode()),
        Path(order["home"]),
        mode=library.Mode.WRITE,
    ) as repository:
        archives = repository.archives()
        taken = pull(
            source,
            connection,
            repository,
            counter,
            counter,
            archive=order["archive"],
            comment="{}",
            previous=archives[0].id if archives else None,
            options=PullOptions(default_excludes=order.get("excludes", False)),
        )
    print(
        json.dumps(
            {
                "files": taken.files_seen,
                "changed": taken.changed,
                "put": counter.put_count,
                "events": sum(taken.event_counts.values()),
                "cpu_s": round(_cpu(resource.RUSAGE_SELF), 2),
                "ssh_cpu_s": round(_cpu(resource.RUSAGE_CHILDREN), 2),
                "memory_mb": _peak_mb(),
            }
        )
    )


if __name__ == "__main__":
    if "--profile" in sys.argv:
        import cProfile
        import pstats

        sys.argv.remove("--profile")
        profile = cProfile.Profile()
        profile.runcall(main)
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    else:
        main()
