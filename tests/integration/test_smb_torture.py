"""Samba's own suites, written by no one here, on a share as the box makes it: what passes is pinned.

The whole table, with the reason of each failure, is docs/decisions/0197. The same Samba with a bare share passes
what is here and no more, but for rights kept in the file (NT ACLs), which a share of ours does not have.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.disk.smb_config import Places, SmbPerson, SmbPlan, SmbShare
from appliance.vault.secret import Secret
from tests.support.smb import GROUP, OWNER, SmbServer

pytestmark = [pytest.mark.integration]

#: Of each suite, what must pass; quick ones of those that hold.
PASSING = {
    "smb2.compound": "related1 related2 related3 related5 related6 related8 related9 unrelated1 invalid1 invalid2"
    " invalid3 invalid4 interim1 compound-break compound-padding create-write-close",
    "smb2.deny": "deny1 deny2",
    "smb2.fileid": "fileid fileid-dir unique unique-dir",
    "smb2.getinfo": "qfile_buffercheck qsec_buffercheck granted getinfo_access",
    "smb2.lock": "valid-request rw-shared rw-exclusive auto-unlock lock async cancel cancel-tdis errorcode"
    " zerobytelength zerobyteread unlock multiple-unlock stacking contend context range overlap truncate",
    "smb2.mkdir": "mkdir",
    "smb2.openattr": "openattr",
    "smb2.read": "eof position dir access",
    "smb2.rename": "simple no_sharing share_delete_and_delete_access no_share_delete_but_delete_access"
    " share_delete_no_delete_access msword rename_dir_openfile rename_dir_bench close-full-information",
    "smb2.rw": "rw1 rw2",
    "smb2.sharemode": "sharemode-access access-sharemode bug14375",
    "smb2.streams": "dir io sharemodes names names2 names3 create-disposition attributes1 attributes2 delete"
    " zero-byte basefile-rename-with-open-stream",
    "smb2.winattr": "winattr",
}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[SmbServer, str]]:
    """A Samba with one share, made by the helper's own code."""
    if shutil.which("smbtorture") is None:
        pytest.skip("smbtorture is not installed (samba-testsuite)")
    with SmbServer() as made:
        folder = made.root / "documents"
        folder.mkdir()
        shutil.chown(folder, OWNER, GROUP)
        folder.chmod(0o2770)
        ask(made, SmbPlan(
            "ARMOIRE", "", ("127.0.0.0/8",), (SmbPerson(1, "anne.martin"),),
            (SmbShare(1, "documents", "Documents", str(folder), (1,), (1,)),),
        ))  # fmt: skip
        made.start()
        yield made, "aaaabbbbcccc"


def ask(server: SmbServer, plan: SmbPlan) -> None:
    from appliance.disk.smb_samba import Samba

    places = Places(server.base, server.run, OWNER, GROUP, (server.root,), port=server.port)
    samba = Samba(places)
    samba.apply(plan)
    samba.set_password(plan.people[0], Secret(b"aaaabbbbcccc"))


@pytest.mark.parametrize("suite", sorted(PASSING))
def test_what_passed_passes(server: tuple[SmbServer, str], suite: str, tmp_path: Path):
    """No change of the configuration may take one of these away."""
    samba, password = server
    done = subprocess.run(
        [
            *("smbtorture", "//127.0.0.1/documents", "-p", str(samba.port)),
            *("-U", f"anne.martin%{password}", "--option=torture:progress=no", suite),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        check=False,
    )
    passed = set(re.findall(r"^success: (\S+)", done.stdout, re.MULTILINE))

    assert set(PASSING[suite].split()) <= passed, done.stdout
