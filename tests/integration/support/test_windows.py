"""The simulated Windows host answers a real OpenSSH client as Windows' own does."""

import json
import struct
import subprocess
from base64 import b64encode

import paramiko
import pytest

from tests.support.sshd import make_key
from tests.support.windows import WindowsHost
from tests.support.windows_disk import Win32Error, WindowsDisk

pytestmark = pytest.mark.integration

DOCUMENTS = "C:\\Users\\Médecin\\Documents"


@pytest.fixture
def host(tmp_path):
    with WindowsHost() as machine:
        machine.authorize(make_key(tmp_path / "key"))
        machine.key_file = tmp_path / "key"
        yield machine


@pytest.fixture
def sftp(host):
    """paramiko's client, for questions one by one."""
    key = paramiko.Ed25519Key.from_private_key_file(str(host.key_file))
    transport = paramiko.Transport((host.host, host.port))
    transport.connect(username=host.user, pkey=key)
    client = paramiko.SFTPClient.from_transport(transport)
    yield client
    client.close()
    transport.close()


def options(host):
    known = host.folder / "known"
    known.write_text(f"[{host.host}]:{host.port} {host.host_key}\n")
    return ["-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
            "-i", str(host.key_file)]  # fmt: skip


def ssh(host, command, **more):
    return subprocess.run(
        ["ssh", *options(host), "-p", str(host.port), "-l", host.user, host.host, command],
        capture_output=True, timeout=30, check=False, **more,
    )  # fmt: skip


def powershell(host, script, **more):
    encoded = b64encode(script.encode("utf-16-le")).decode()
    return ssh(host, f"powershell.exe -NoProfile -NonInteractive -EncodedCommand {encoded}", **more)


def status_of(client, request, *arguments):
    """The status number a request is answered with, 0 when it is answered well."""
    try:
        client._request(request, *arguments)
    except FileNotFoundError:
        return 2
    except PermissionError:
        return 3
    except OSError as error:
        return {"Failure": 4, "Bad message": 5}[str(error)]
    return 0


def test_the_systems_own_client_reads_a_windows_path(host, tmp_path):
    """`sftp` of OpenSSH gets a file by «/C:/…», in whatever case, and lists the drives."""
    host.write(f"{DOCUMENTS}\\Été\\lettre.txt", b"bonjour", mtime=1_767_614_400.7)
    batch = tmp_path / "batch"
    batch.write_text(f"get /c:/USERS/médecin/documents/été/LETTRE.TXT {tmp_path / 'got'}\nls /\n")
    done = subprocess.run(
        ["sftp", *options(host), "-P", str(host.port), "-b", str(batch), f"{host.user}@{host.host}"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got").read_bytes() == b"bonjour"
    assert "/C:" in done.stdout


def test_attributes_are_those_of_win32_openssh(host, sftp):
    """Owner 0, whole seconds, no rights of others, read-only as the one mark, programs by their name."""
    host.write(f"{DOCUMENTS}\\a.txt", b"12345", mtime=1_767_614_400.7)
    host.write(f"{DOCUMENTS}\\setup.EXE", b"MZ")
    host.write(f"{DOCUMENTS}\\fixe.txt", b"x")
    host.read_only(f"{DOCUMENTS}\\fixe.txt")
    seen = {each.filename: each for each in sftp.listdir_attr("/C:/Users/Médecin/Documents")}
    assert (seen["a.txt"].st_size, seen["a.txt"].st_mtime) == (5, 1_767_614_400)
    assert {(each.st_uid, each.st_gid) for each in seen.values()} == {(0, 0)}
    assert [oct(seen[name].st_mode) for name in ("a.txt", "setup.EXE", "fixe.txt")] == [
        "0o100600", "0o100700", "0o100400",
    ]  # fmt: skip
    assert oct(sftp.lstat("/C:/Users").st_mode) == "0o40700"
    assert sftp.normalize(".") == "/C:/Users/Médecin"


def test_a_fat_drive_keeps_times_to_two_seconds(host, sftp):
    """An odd second is told as the even one before it."""
    host.add_drive("E", grain_ns=2_000_000_000)
    host.write("E:\\a", b"", mtime=1_767_614_401)
    assert sftp.stat("/E:/a").st_mtime == 1_767_614_400


def test_names_have_no_case_and_keep_it(host, sftp):
    """One name in two cases is one file; the listing shows the case it was made with."""
    with sftp.open("/C:/Users/Médecin/Documents.txt", "wb") as file:
        file.write(b"un")
    with sftp.open("/C:/USERS/MÉDECIN/DOCUMENTS.TXT", "wb") as file:
        file.write(b"deux")
    names = [name for name in sftp.listdir("/C:/Users/Médecin") if name.lower().startswith("doc")]
    assert names == ["Documents.txt"]
    assert host.local("C:\\Users\\Médecin\\documents.txt").read_bytes() == b"deux"


@pytest.mark.parametrize("name", ["CON", "nul.txt", "com1", "a:b", "a?b", "a|b", "x\x07y"])
def test_names_windows_cannot_have_are_refused(host, sftp, name):
    """Nothing is made, and the answer is «No such file»."""
    with pytest.raises(FileNotFoundError):
        sftp.open(f"/C:/Users/Médecin/{name}", "wb")
    assert sorted(host.local("C:\\Users\\Médecin").iterdir()) == []


def test_dots_and_spaces_at_the_end_of_a_name_are_dropped(host, sftp):
    """«lettre. » is «lettre», and a backslash parts folders."""
    host.write(f"{DOCUMENTS}\\lettre", b"x")
    assert sftp.stat("/C:/Users/Médecin/Documents/lettre. ").st_size == 1
    assert sftp.stat("/C:\\Users\\Médecin\\Documents\\lettre").st_size == 1


def test_junctions_look_like_folders_and_lead_in_circles(host, sftp):
    """Nothing tells a client that it is in a circle, until the path is too long: «Bad message»."""
    host.legacy_junctions(lists=True)
    local = "/C:/Users/Médecin/AppData/Local"
    assert oct(sftp.lstat(f"{local}/Application Data").st_mode) == "0o40700"
    assert status_of(sftp, 19, f"{local}/Application Data".encode()) == 5
    path = local
    for _ in range(5):
        path += "/Application Data"
        assert "Application Data" in sftp.listdir(path)
    assert status_of(sftp, 11, (local + "/Application Data" * 14).encode()) == 5


def test_a_folder_that_may_not_be_listed_answers_bad_message(host, sftp):
    """Not «Permission denied»: the C library of Windows says EINVAL."""
    host.legacy_junctions()
    assert status_of(sftp, 11, b"/C:/System Volume Information") == 5
    assert status_of(sftp, 11, "/C:/Users/Médecin/AppData/Local/Application Data".encode()) == 5
    assert status_of(sftp, 11, b"/C:/nowhere") == 2
    names = sftp.listdir("/C:/")
    assert "System Volume Information" in names
    assert "pagefile.sys" not in names


def test_a_locked_file_is_seen_but_not_opened(host, sftp):
    """Its size is told, its opening fails with «Failure», as a sharing violation does."""
    path = f"{DOCUMENTS}\\boite.pst"
    host.write(path, b"courrier")
    host.lock(path)
    unix = "/C:/Users/Médecin/Documents/boite.pst"
    assert sftp.stat(unix).st_size == 8
    assert status_of(sftp, 3, unix.encode(), 1, paramiko.SFTPAttributes()) == 4


def test_links_are_told_from_junctions(host, sftp):
    """A symbolic link is a link, with «/» before an absolute target."""
    host.write("C:\\ProgramData\\a.txt", b"x")
    host.link("C:\\lien", "C:\\ProgramData")
    host.link("C:\\lien.txt", "ProgramData\\a.txt", "symlink-file")
    assert oct(sftp.lstat("/C:/lien").st_mode)[:5] == "0o120"
    assert sftp.readlink("/C:/lien") == "/C:/ProgramData"
    assert sftp.readlink("/C:/lien.txt") == "ProgramData/a.txt"
    assert "a.txt" in sftp.listdir("/C:/lien")
    assert sftp.open("/C:/lien.txt").read() == b"x"


def test_owner_cannot_be_set_but_times_and_the_read_only_mark_can(host, sftp):
    """A restore keeps what Windows keeps and learns what it does not."""
    host.write("C:\\ProgramData\\a.txt", b"x")
    sftp.utime("/C:/ProgramData/a.txt", (1_700_000_000, 1_700_000_001))
    sftp.chmod("/C:/ProgramData/a.txt", 0o444)
    seen = sftp.stat("/C:/ProgramData/a.txt")
    assert (seen.st_mtime, oct(seen.st_mode)) == (1_700_000_001, "0o100400")
    with pytest.raises(OSError, match="Failure"):
        sftp.chown("/C:/ProgramData/a.txt", 1000, 1000)


def test_garbage_and_names_that_are_not_text_are_answered(host, sftp):
    """A name that is not UTF-8 cannot exist; a short packet is a bad message."""
    assert status_of(sftp, 7, b"/C:/\xff\xfe") in (2, 4)
    assert status_of(sftp, 6, b"\0\0\0\1") in (4, 5)


def test_only_a_known_key_gets_in(host, tmp_path):
    """Another key is refused; a replaced host key is refused by the client."""
    other = tmp_path / "other"
    make_key(other)
    before = host.host_key
    host.key_file, right = other, host.key_file
    assert b"Permission denied" in ssh(host, "ver").stderr
    host.key_file = right
    assert b"Microsoft Windows [Version 10.0.22631.0]" in ssh(host, "ver").stdout
    host.replace_host_key()
    assert host.host_key != before
    assert ssh(host, "ver").returncode == 0


def test_a_shadow_copy_is_made_read_through_a_link_and_removed(host, sftp):
    """The way of every recipe: Create, mklink, read what was locked, rmdir, Delete."""
    path = f"{DOCUMENTS}\\boite.pst"
    host.write(path, b"avant")
    host.lock(path)
    made = powershell(
        host,
        r"""
        $ErrorActionPreference='Stop'
        $r = Invoke-CimMethod -ClassName Win32_ShadowCopy -MethodName Create -Arguments @{
            Volume = 'C:\'; Context = 'ClientAccessible'
        }
        if ($r.ReturnValue -ne 0) { throw "shadow $($r.ReturnValue)" }
        $s = Get-CimInstance Win32_ShadowCopy -Filter "ID='$($r.ShadowID)'"
        cmd /c mklink /d C:\ombre "$($s.DeviceObject)\" | Out-Null
        if ($LASTEXITCODE) { exit 4 }
        [pscustomobject]@{ id = $r.ShadowID; device = $s.DeviceObject } | ConvertTo-Json -Compress
        """,
    )
    assert made.returncode == 0, made.stderr
    said = json.loads(made.stdout)
    assert host.shadows_alive == [said["device"]]
    host.local(path).write_bytes(b"apres")
    through = "/C:/ombre/Users/Médecin/Documents/boite.pst"
    assert sftp.open(through).read() == b"avant"
    assert oct(sftp.lstat("/C:/ombre").st_mode)[:5] == "0o120"
    assert oct(sftp.stat("/C:/ombre").st_mode) == "0o40700"
    assert status_of(sftp, 3, through.encode(), 2 | 8, paramiko.SFTPAttributes()) == 4
    removed = powershell(
        host,
        rf"""
        cmd /c rmdir C:\ombre
        Get-CimInstance Win32_ShadowCopy | Where-Object {{ $_.ID -eq '{said["id"]}' }} | Remove-CimInstance
        """,
    )
    assert removed.returncode == 0, removed.stderr
    assert (host.shadows_alive, host.links_alive, host.not_simulated) == ([], [], [])
    assert host.local(path).read_bytes() == b"apres"


def test_a_link_without_its_last_backslash_leads_nowhere(host, sftp):
    """The classic mistake of such scripts is one here too."""
    shadow = host.disk.make_shadow("C", "ClientAccessible")
    host.link("C:\\faux", shadow.device)
    assert status_of(sftp, 11, b"/C:/faux") == 5
    host.link("C:\\vrai", shadow.device + "\\")
    assert "Users" in sftp.listdir("/C:/vrai")


def test_without_rights_there_is_no_shadow_copy(host):
    """An ordinary account is refused by WMI and by mklink, each in its own way."""
    host.admin = False
    done = powershell(
        host,
        r"([wmiclass]'root\cimv2:Win32_ShadowCopy').Create('C:\', 'ClientAccessible').ReturnValue;"
        r"cmd /c mklink /d C:\a C:\Windows; Write-Output $LASTEXITCODE; Get-CimInstance Win32_ShadowCopy",
    )
    assert done.stdout.split() == [b"1", b"1"]
    assert b"sufficient privilege" in done.stderr
    assert b"#< CLIXML" in done.stderr
    assert b"Access denied" in done.stderr
    assert host.shadows_alive == []


def test_output_is_in_the_code_page_of_the_console(host):
    """«é» is not UTF-8 until the script says so."""
    assert powershell(host, "Write-Output 'é'").stdout == b"\x82\r\n"
    utf8 = powershell(host, "[Console]::OutputEncoding = [Text.Encoding]::UTF8; Write-Output 'é'")
    assert utf8.stdout == "é\r\n".encode()


def test_unknown_programs_and_unknown_powershell_fail_loudly(host):
    """What is not simulated is never taken for a success."""
    unknown = ssh(host, "frobnicate now")
    assert unknown.returncode == 1
    assert b"'frobnicate' is not recognized" in unknown.stderr
    done = powershell(host, "Get-Frobnication -Now")
    assert (done.returncode, b"is not recognized" in done.stderr) == (1, True)
    done = powershell(host, "switch (1) { 1 { 'a' } }")
    assert done.returncode == 1
    assert host.not_simulated


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("[Environment]::OSVersion.Version.ToString()", "10.0.22631.0"),
        ("(Get-PSDrive C).Free -gt 0", "True"),
        ("[DateTime]::UtcNow.ToString('yyyy')", "2026"),
        ("$a = 1, 2, 3; ($a | Where-Object { $_ -gt 1 } | Measure-Object -Sum).Sum", "5"),
        ('$x = "a$(1 + 1)b"; "$x-{0:D3}" -f 7', "a2b-007"),
        ("try { throw 'oh' } catch { $_.Exception.Message } finally { 'end' }", "oh\nend"),
        ("if ('Shadow12' -match 'w(\\d+)') { $Matches[1] }", "12"),
        ("foreach ($i in 1..3) { if ($i -eq 2) { continue }; $i }", "1\n3"),
        ("function Twice($n) { return $n * 2 }; Twice 21", "42"),
        ("@{a=1}.a; ([string]::IsNullOrEmpty('')) -and -not $false", "1\nTrue"),
        ("'C:\\a\\b' -replace '\\\\', '/'; 'a,b'.Split(',')[1]", "C:/a/b\nb"),
        ("(Get-WmiObject Win32_LogicalDisk -Filter \"DeviceID='C:'\").DriveType", "3"),
        ("Test-Path -LiteralPath 'C:\\Windows'; Test-Path 'C:\\Nowhere'", "True\nFalse"),
        ("(Get-NetAdapter -Physical | Select-Object -First 1).MacAddress", "02-00-5E-10-00-17"),
    ],
)
def test_powershell_gives_what_powershell_gives(host, script, expected):
    """A part of the language, with its own results."""
    done = powershell(host, script)
    assert done.stdout.decode().replace("\r\n", "\n").strip() == expected, done.stderr
    assert done.returncode == 0
    assert host.not_simulated == []


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 7", 7), ("throw 'x'", 1), ("cmd /c exit 3", 1), ("$ErrorActionPreference='Stop'; Get-Item C:\\no", 1),
     ("Get-Item C:\\no -ErrorAction SilentlyContinue; 'ok'", 0), ("vssadmin list shadows; exit $LASTEXITCODE", 1)],
)  # fmt: skip
def test_exit_codes_are_those_of_powershell(host, script, code):
    """Also the code of a program that ran last, which becomes 1."""
    assert powershell(host, script).returncode == code


def test_a_connection_that_ends_kills_its_script(host, tmp_path):
    """A script that waits is gone with its line; its «finally» does not run."""
    script = "try { Write-Output up; [Console]::In.ReadLine() } finally { New-Item C:\\fini -ItemType Directory }"
    encoded = b64encode(script.encode("utf-16-le")).decode()
    client = subprocess.Popen(
        ["ssh", *options(host), "-p", str(host.port), "-l", host.user, host.host,
         f"powershell -EncodedCommand {encoded}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with client:
        assert client.stdout.readline() == b"up\r\n"
        host.cut()
    assert client.returncode == 255
    assert not host.local("C:\\fini").exists()
    client = powershell(host, script, input=b"go\n")
    assert client.returncode == 0
    assert host.local("C:\\fini").exists()


def test_a_whole_tree_is_walked_like_on_windows(tmp_path):
    """The walk for tests passes through no link and names what is there."""
    disk = WindowsDisk(tmp_path / "d", user="a")
    (tmp_path / "d" / "C" / "x").mkdir()
    (tmp_path / "d" / "C" / "x" / "f").write_bytes(b"")
    disk.make_link("C:\\x\\rond", "C:\\x", "junction")
    assert list(disk.walk("C:\\")) == ["C:\\x\\f"]
    with pytest.raises(Win32Error):
        disk.make_link("C:\\X\\ROND", "C:\\", "junction")
    assert struct.calcsize(">I") == 4
