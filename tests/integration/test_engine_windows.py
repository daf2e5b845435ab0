"""A Windows machine, as the simulated host shows it: drives, junctions, locked files, coarse times."""

import os

import pytest

from appliance.backup_jobs import ssh
from appliance.backup_jobs.sources.pulled import PullOptions
from appliance.model import EntryKind, ReadEventKind, System
from tests.support.engine import Box, new_box
from tests.support.windows import WindowsHost

pytestmark = pytest.mark.integration

LONG_AGO = 1_700_000_000


@pytest.fixture
def box(tmp_path) -> Box:
    return new_box(tmp_path)


@pytest.fixture
def host():
    with WindowsHost() as one:
        yield one


def endpoint(host: WindowsHost) -> ssh.Endpoint:
    key, public = ssh.make_key()
    host.authorize(public)
    return ssh.Endpoint("127.0.0.1", host.port, host.user, host.host_key, key)


def files(box: Box) -> set[bytes]:
    return {path for path, each in box.entries().items() if each.kind is EntryKind.FILE}


def test_a_users_folder_is_taken_without_a_warning(box, host):
    """A fresh French Windows with its old links, page file and bin: documents only, nothing to say."""
    host.legacy_junctions()
    home = f"C:\\Users\\{host.user}"
    data = os.urandom(700_000)
    host.write(f"{home}\\Documents\\Courrier à envoyer.docx", data, mtime=LONG_AGO)
    host.write(f"{home}\\AppData\\Local\\Temp\\x.tmp", b"x", mtime=LONG_AGO)
    host.write("C:\\$Recycle.Bin\\S-1-5\\$R1.pdf", b"x", mtime=LONG_AGO)
    point = endpoint(host)
    taken, _night = box.take(point, ("C:\\",), system=System.WINDOWS, options=PullOptions())
    path = f"C/Users/{host.user}/Documents/Courrier à envoyer.docx".encode()
    assert path in files(box)
    assert not {each for each in files(box) if b"Temp" in each or b"Recycle" in each}
    assert not taken.events
    assert box.content(path) == data
    again, night = box.take(point, ("C:\\",), system=System.WINDOWS, options=PullOptions())
    assert (again.changed, again.vanished, night.put_, night.gone_) == (0, 0, {}, [])
    box.check()


def test_a_junction_that_leads_in_a_circle_ends(box, host):
    """SFTP shows it as a folder: it is recognised by what it shows, said, and not followed again."""
    host.add_drive("D")
    host.write("D:\\Dossiers\\a.txt", b"a", mtime=LONG_AGO)
    host.link("D:\\Dossiers\\encore", "D:\\Dossiers", "junction")
    taken, _night = box.take(endpoint(host), ("D:\\Dossiers",), system=System.WINDOWS)
    assert taken.event_counts == {ReadEventKind.LOOP: 1}
    assert files(box) == {b"D/Dossiers/a.txt", b"D/Dossiers/encore/a.txt"}
    box.check()


def test_a_locked_file_is_named_and_the_rest_is_taken(box, host):
    """A program that shares nothing: the practice's software, at night."""
    host.write("C:\\Logiciel\\base.db", b"locked", mtime=LONG_AGO)
    host.write("C:\\Logiciel\\lettre.txt", b"free", mtime=LONG_AGO)
    host.lock("C:\\Logiciel\\base.db")
    taken, _night = box.take(endpoint(host), ("C:\\Logiciel",), system=System.WINDOWS)
    assert taken.event_counts == {ReadEventKind.UNREADABLE: 1}
    assert files(box) == {b"C/Logiciel/lettre.txt"}


def test_times_of_two_seconds_do_not_hide_a_change(box, host):
    """A stick with FAT: a file changed just after its reading may keep its time, and is read again."""
    host.add_drive("E", grain_ns=2 * 10**9)
    real = host.write("E:\\note.txt", b"first")
    point = endpoint(host)
    options = PullOptions()
    box.take(point, ("E:\\",), system=System.WINDOWS, options=options)
    times = real.stat()
    real.write_bytes(b"secnd")
    os.utime(real, ns=(times.st_atime_ns, times.st_mtime_ns))
    taken, _night = box.take(point, ("E:\\",), system=System.WINDOWS, options=options)
    assert taken.changed == 1
    assert box.content(b"E/note.txt") == b"secnd"


def test_excludes_do_not_mind_case_where_names_do_not(box, host):
    """«sh:**/CACHE» leaves «Cache» out, as a person of Windows expects."""
    host.write("C:\\X\\Cache\\a", b"a", mtime=LONG_AGO)
    host.write("C:\\X\\keep", b"k", mtime=LONG_AGO)
    box.take(endpoint(host), ("c:\\X",), system=System.WINDOWS, excludes=("sh:**/CACHE",))
    assert files(box) == {b"C/X/keep"}


def test_a_persons_own_folder_with_an_old_name_is_read(box, host):
    """«Modèles» on an English Windows is somebody's work, not a link: nothing is lost by its name."""
    home = f"C:\\Users\\{host.user}"
    for name in ("Modèles", "Mes documents", "Templates"):
        host.write(f"{home}\\{name}\\Ordonnance.docx", b"o", mtime=LONG_AGO)

    taken, _night = box.take(
        endpoint(host), ("C:\\Users",), system=System.WINDOWS, options=PullOptions()
    )

    assert {path.split(b"/")[3].decode() for path in files(box)} == {
        "Modèles",
        "Mes documents",
        "Templates",
    }
    assert not taken.events


def test_a_folder_that_refuses_and_has_no_old_name_is_still_said(box, host):
    home = f"C:\\Users\\{host.user}"
    host.write(f"{home}\\Patients\\a.txt", b"a", mtime=LONG_AGO)
    host.make_folder(f"{home}\\Privé")
    host.deny(f"{home}\\Privé")

    taken, _night = box.take(
        endpoint(host), ("C:\\Users",), system=System.WINDOWS, options=PullOptions()
    )

    assert taken.event_counts == {ReadEventKind.UNREADABLE: 1}
