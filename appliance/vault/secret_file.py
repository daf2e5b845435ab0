"""A secret as a file, for what takes nothing but a path: never on a disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.vault.secret import Secret


@contextmanager
def secret_file(secret: Secret) -> Iterator[str]:
    """Yield a path that programs of this user can read ``secret`` from; it is never on a disk.

    An anonymous memory file, reached through ``/proc``: OpenSSH closes inherited descriptors and
    wants a path with mode 0600; OpenSSL reads keys from paths only. Source: memfd_create(2); ssh.c
    «closefrom(STDERR_FILENO + 1)»; Python's ssl, SSLContext.load_cert_chain.
    """
    descriptor = os.memfd_create("armoire", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, secret.reveal())
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)
