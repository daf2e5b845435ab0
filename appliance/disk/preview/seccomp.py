"""A list of the few system calls that computing needs; every other one is refused by the kernel.

With it a program that has been taken over can neither open a file, nor a socket, nor start another program,
nor signal one; threads of its own it may start, for the decoder of HEIC does not work without. It is written by hand as BPF, twenty lines, so that no library has to be loaded for it.
Source: seccomp(2), Documentation/userspace-api/seccomp_filter.rst; numbers from asm/unistd_64.h and
asm-generic/unistd.h.
"""

import ctypes
import errno
import os
import platform
import struct
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_KILL: Final = 0x80000000
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0  # in struct seccomp_data
_MACHINE_AT: Final = 4
_THIRD_AT: Final = 32  # low half of args[2], little endian
_PROT_EXEC: Final = 4
_FIRST_AT: Final = 16  # low half of args[0]
_CLONE_THREAD: Final = 0x00010000
#: Its flags lie in memory, where no filter sees them: told that it is unknown, libc asks with ``clone``.
_UNKNOWN: Final = 0x00050000 | errno.ENOSYS
_CLONE3: Final = 435  # on every processor

#: machine → (AUDIT_ARCH, clone, calls, calls whose third argument must not ask for executable memory)
_MACHINES: Final[dict[str, tuple[int, int, dict[str, int], dict[str, int]]]] = {
    "x86_64": (
        0xC000003E,
        56,
        {
            "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "munmap": 11, "brk": 12,
            "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19,
            "writev": 20, "sched_yield": 24, "mremap": 25, "madvise": 28, "dup": 32, "getpid": 39,
            "exit": 60, "fcntl": 72, "gettimeofday": 96, "getrusage": 98, "sigaltstack": 131,
            "gettid": 186, "time": 201, "futex": 202, "sched_getaffinity": 204, "clock_gettime": 228,
            "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "newfstatat": 262,
            "set_robust_list": 273, "getrandom": 318, "rseq": 334,
        },
        {"mmap": 9, "mprotect": 10},
    ),
    "aarch64": (
        0xC00000B7,
        220,
        {
            "dup": 23, "fcntl": 25, "close": 57, "lseek": 62, "read": 63, "write": 64, "readv": 65,
            "writev": 66, "pread64": 67, "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94,
            "futex": 98, "set_robust_list": 99, "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115,
            "sched_getaffinity": 123, "sched_yield": 124, "sigaltstack": 132, "rt_sigaction": 134,
            "rt_sigprocmask": 135, "rt_sigreturn": 139, "getrusage": 165, "gettimeofday": 169,
            "getpid": 172, "gettid": 178, "brk": 214, "munmap": 215, "mremap": 216, "madvise": 233,
            "getrandom": 278, "rseq": 293,
        },
        {"mmap": 222, "mprotect": 226},
    ),
}  # fmt: skip


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def program(machine: str) -> bytes:
    """Return the filter for a kind of processor.

    Raises:
        OSError: its numbers are not written here.
    """
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, "no list of system calls for this processor")
    audit, thread, allowed, not_executable = _MACHINES[machine]
    steps = [
        _step(_LOAD, _MACHINE_AT),
        _step(_EQUAL, audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
    ]
    for number in sorted(allowed.values()):
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    steps += [_step(_EQUAL, _CLONE3, 0, 1), _step(_RETURN, _UNKNOWN)]
    steps += [
        _step(_EQUAL, thread, 0, 4),
        _step(_LOAD, _FIRST_AT),
        _step(_ANY_BIT, _CLONE_THREAD, 1, 0),
        _step(_RETURN, _REFUSE),
        _step(_RETURN, _ALLOW),
    ]
    for number in sorted(not_executable.values()):
        steps += [
            _step(_EQUAL, number, 0, 4),
            _step(_LOAD, _THIRD_AT),
            _step(_ANY_BIT, _PROT_EXEC, 0, 1),
            _step(_RETURN, _REFUSE),
            _step(_RETURN, _ALLOW),
        ]
    return b"".join([*steps, _step(_RETURN, _REFUSE)])


def enter() -> None:
    """From here on this thread, and what it would start, computes and nothing else. There is no way back.

    Raises:
        OSError: the kernel refuses, or the processor is not known here.
    """
    written = program(platform.machine())
    library = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(written, len(written))
    # struct sock_fprog: a count and a pointer, padded as the machine does.
    packed = struct.pack("@HP", len(written) // 8, ctypes.addressof(held))
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, packed, 0, 0),
    ):
        if library.prctl(*arguments) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
