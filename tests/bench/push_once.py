"""One push in a process of its own: ``python -m tests.bench.push_once ORDER``; prints figures as JSON.

ORDER is JSON: practice (folder), repository (frozen first; or none), host, port, user, host_key, key, folder,
connections.
"""

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from appliance.replication import moment, push
from appliance.replication.targets.sftp import SftpAccount, SftpTarget
from appliance.vault.secret import Secret
from tests.support.copy_places import BOX, NOW, Practice


def peak_mb() -> int:
    """Peak resident memory of this program; getrusage would count what its parent had before exec."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main() -> None:
    order = json.loads(sys.argv[1])
    practice = Practice(Path(order["practice"]))
    account = SftpAccount(
        order["host"],
        order["port"],
        order["user"],
        order["host_key"],
        folder=order["folder"],
        private_key=Secret(Path(order["key"]).read_bytes()),
    )
    if order.get("warm"):  # the line itself is what is measured
        SftpTarget(account).stat("objects/none")
    began, began_cpu = time.monotonic(), time.process_time()
    if order.get("repository"):
        files = moment.freeze(
            Path(order["repository"]), 1, practice.folder / "moment" / "1", locked=nullcontext
        )
        frozen = push.Moment(
            NOW, practice.folder / "moment", tuple(files), practice.moment_of_nothing().repositories
        )
    else:
        frozen = practice.moment()
    froze = time.monotonic()
    with practice.database() as database:
        pushed = push.push(
            database,
            practice.target_id,
            box=BOX,
            moment=frozen,
            line=push.Line(lambda: SftpTarget(account), connections=order.get("connections", 1)),
            spool=practice.folder / "spool",
            now=lambda: NOW,
        )
    ended = time.monotonic()
    print(
        json.dumps(
            {
                "seconds": ended - began,
                "froze_s": froze - began,
                "cpu_s": time.process_time() - began_cpu,
                "sent_bytes": pushed.sent_bytes,
                "sent_objects": pushed.sent_objects,
                "number": pushed.number,
                "files": pushed.files,
                "peak_mb": peak_mb(),
            }
        )
    )


if __name__ == "__main__":
    main()
