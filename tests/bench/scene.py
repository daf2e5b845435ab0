"""What the benches of reading share: how many files there are, and what they are called."""

import os

SCALE = float(os.environ.get("ARMOIRE_BENCH_SCALE", "1"))
FILES = int(300_000 * SCALE)
DISTINCT = 1_000  # files of 100 KB with contents of their own; the others share small ones
IN_ONE_FOLDER = int(20_000 * SCALE)


def path_of(number: int) -> bytes:
    """Where a file of the scene lies: the first IN_ONE_FOLDER in one folder, the others in 3,000."""
    if number < IN_ONE_FOLDER:
        return f"srv/cabinet/Scans/scan {number:06}.pdf".encode()
    return f"srv/cabinet/Patients/{number % 3_000:04}/lettre {number}.pdf".encode()
