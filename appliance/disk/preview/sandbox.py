"""What a process gives up before it reads a stranger's file, and what the one that starts it gives up once.

In order of what holds most: the list of system calls (``seccomp``), limits of memory, time and files, another
user when we are root, a network namespace without any network where the system allows one.
"""

import ctypes
import logging
import os
import resource
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from struct import pack
from typing import Final

from appliance.disk.preview import seccomp
from appliance.units import MIB

#: Beyond what the process has mapped when it begins, which is its libraries.
MEMORY_BYTES: Final = 512 * MIB
CPU_S: Final = 10
_NOBODY: Final = 65534
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_log = logging.getLogger("armoire.preview")


def leave_the_network() -> bool:
    """Move this process where there is no network, if the system allows it; say whether it did.

    Not allowed: under our systemd unit (RestrictNamespaces), and where users may make no namespaces. The list
    of system calls refuses sockets either way.
    """
    library = ctypes.CDLL(None, use_errno=True)
    wanted = _CLONE_NEWNET | _CLONE_NEWIPC
    is_away = bool(library.unshare(wanted if os.geteuid() == 0 else wanted | _CLONE_NEWUSER) == 0)
    if not is_away:
        _log.info("no network namespace here: %s", os.strerror(ctypes.get_errno()))
    return is_away


def drop_powers() -> None:
    """Give up what the worker was lent: reading whatever lies on the disk. A root stays root until ``enter``."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    library.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if os.geteuid() != 0:
        # struct __user_cap_header_struct and two of __user_cap_data_struct, all zero. Source: capset(2)
        library.capset(pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def enter(keep: Collection[int], *, cpu_s: int = CPU_S) -> None:
    """Give up everything but computing, for ``cpu_s`` seconds, and reading and writing the descriptors ``keep``.

    Raises:
        OSError: the kernel does not take it: nothing may be read then.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    memory = _mapped() + MEMORY_BYTES
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # a library's warning may hold what stands in a patient's file
        os.dup2(null, number)
    _close_others({0, 1, 2, *keep})
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for which, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, max(keep, default=2) + 8, max(keep, default=2) + 8),
    ):
        resource.setrlimit(which, (soft, hard))
    seccomp.enter()


def _mapped() -> int:
    """Return the bytes this process has mapped."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _close_others(keep: Collection[int]) -> None:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers
        if int(name) not in keep:
            with suppress(OSError):  # the listing's own descriptor is gone already
                os.close(int(name))
