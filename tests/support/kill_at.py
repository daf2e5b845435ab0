"""``python -m tests.support.kill_at POINT --data DIR JOB_ID``: a job process that kills itself.

POINT is a number from 0 to 1: how far through the job's own lines SIGKILL comes. Lines of the rooms
that a night is made of are counted, those of libraries are not. With POINT 2 the job runs to its end
and the number of lines is written to ``data/lines``, which later points are a part of.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

ROOMS = (
    "/appliance/backup_jobs/take_snapshot.py",
    "/appliance/backup_jobs/reconcile.py",
    "/appliance/backup_jobs/anomalies.py",
    "/appliance/backup_jobs/prune.py",
    "/appliance/backup_jobs/workplace.py",
    "/appliance/backup_jobs/sources/",
    "/appliance/backup_jobs/borg_library_archive.py",
    "/appliance/catalogue/night.py",
    "/appliance/catalogue/store.py",
    "/appliance/db/snapshots.py",
    "/appliance/db/sources.py",
    "/appliance/ledger/",
    "/appliance/jobs/queue.py",
)


def main() -> int:
    point, arguments = float(sys.argv[1]), sys.argv[2:]
    counter = Path(arguments[arguments.index("--data") + 1]) / "lines"
    limit = int(point * int(counter.read_text())) if point <= 1 else None
    # Imported before the trace begins: what counts is the job, not the start of Python.
    from appliance.backup_jobs import check_repository, prune, take_snapshot, verify_snapshot
    from appliance.worker import job_main

    del check_repository, prune, take_snapshot, verify_snapshot
    seen = 0

    def on_line(frame: FrameType, event: str, _argument: object):
        nonlocal seen
        if event == "line":
            seen += 1
            if limit is not None and seen >= limit:
                os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    def on_call(frame: FrameType, _event: str, _argument: object):
        return on_line if any(room in frame.f_code.co_filename for room in ROOMS) else None

    sys.settrace(on_call)
    try:
        return job_main.main(arguments)
    finally:
        sys.settrace(None)
        if limit is None:
            counter.write_text(str(seen))


if __name__ == "__main__":
    sys.exit(main())
