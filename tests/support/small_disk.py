"""A disk of a few megabytes that fills up: a tmpfs for root, a limit on file sizes for others."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[None]:
    """Mount a tmpfs of ``size_bytes`` at ``folder`` (root only) and take it away again."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def free_bytes(folder: Path) -> int:
    """How much still fits."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@contextmanager
def nearly_full(folder: Path, left_bytes: int) -> Iterator[None]:
    """Leave only ``left_bytes`` free on the disk of ``folder``; give the rest back at the end."""
    ballast = folder / "ballast"
    wanted = max(0, free_bytes(folder) - left_bytes)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, wanted)
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def no_file_larger_than(size_bytes: int) -> Iterator[None]:
    """Refuse to let any file of this process and its children grow beyond ``size_bytes`` (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
