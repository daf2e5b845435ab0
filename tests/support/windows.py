r"""A SIMULATED Windows 10/11 machine with Win32-OpenSSH: no Windows can exist where these tests run.

What it is, what it keeps and what it cannot show: docs/decisions/0040-simulated-windows-host.md.
It listens on 127.0.0.1, takes public keys, speaks SFTP version 3 and runs commands through cmd.exe,
PowerShell included. A real OpenSSH client connects to it as to any server.

    with WindowsHost() as host:
        host.authorize(public_key)
        host.write(r"C:\Users\Médecin\Documents\lettre.docx", b"...")
        host.lock(r"C:\Users\Médecin\AppData\Local\Outlook\boite.pst")
        ... Source(host="127.0.0.1", port=host.port, user=host.user, host_key=host.host_key, ...)
        assert host.shadows_alive == [] and host.links_alive == []

Building the machine
    ``write(path, data, mtime=...)``, ``make_folder(path)``, ``add_drive("D", grain_ns=2_000_000_000)``,
    ``link(path, target, kind)`` («junction», «symlink-folder», «symlink-file»), ``lock(path)`` (a sharing
    violation on opening, readable in a shadow copy), ``hide(path)`` (pagefile.sys: not even listed),
    ``deny(path)`` (System Volume Information), ``read_only(path)``, ``local(path)`` (the file of ours
    behind a path), ``legacy_junctions()`` (the old names of a French Windows, «Application Data» loops).
Turning its knobs
    ``admin`` (False: no shadow copies, no links), ``vss_failure`` (return value of Create: 6 no space, 9
    busy, 12 provider…), ``vss_seconds``, ``free_bytes["C"]``, ``clock_offset``, ``services``, ``writers``,
    ``programs[name] = (argv, stdin) -> (exit code, stdout, stderr)``, ``oem_encoding``, ``mac``,
    ``fault(operation, path) -> SFTP status or None`` (operations: open, stat, opendir, readlink, …),
    ``cut()`` (every connection, now), ``offline = True`` (accepts nobody), ``replace_host_key()``.
Looking at it
    ``shadows_alive`` (DeviceObjects), ``links_alive`` (links made in the drives' roots), ``commands`` (each
    line given to cmd.exe), ``scripts`` (each PowerShell script), ``not_simulated`` (constructs the
    simulation does not know: a test that uses scripts asserts it is empty).
PowerShell: a real interpreter of a part of the language (``powershell_parser``), errors in CLIXML on
stderr, output in the OEM code page (cp850) unless ``[Console]::OutputEncoding`` is set, as on a French
Windows. WMI: Win32_ShadowCopy (Get-WmiObject with Delete(), Get-CimInstance without; Create by
[wmiclass], Get-WmiObject -List or Invoke-CimMethod), Win32_LogicalDisk, Win32_Volume,
Win32_OperatingSystem, Win32_NetworkAdapterConfiguration.
A connection that ends kills its programs at once: no «finally» of a script runs then.
"""

import os
import shutil
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import paramiko

from tests.support.powershell import Killed
from tests.support.sshd import make_key
from tests.support.windows_disk import Volume, WindowsDisk
from tests.support.windows_programs import Programs
from tests.support.windows_sftp import SftpSession

BANNER = "SSH-2.0-OpenSSH_for_Windows_9.5"
MAX_PACKET = 256 * 1024 + 1024


class WindowsHost:
    """The machine. Use as a context manager."""

    def __init__(self, *, user: str = "Médecin", long_paths: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="armoire-windows-"))
        self.host, self.port, self.user = "127.0.0.1", 0, user
        self.disk = WindowsDisk(self.folder / "drives", user=user, long_paths=long_paths)
        self.name, self.version, self.caption = (
            "ACCUEIL-1",
            "10.0.22631.0",
            "Microsoft Windows 11 Pro",
        )
        self.mac = "02:00:5e:10:00:17"
        self.admin, self.offline = True, False
        self.vss_failure, self.vss_seconds = 0, 0.0
        self.clock_offset = timedelta(0)
        self.free_bytes: dict[str, int] = {}
        self.oem_encoding = "cp850"
        self.services = {"VSS": "Stopped", "wuauserv": "Running", "postgresql-9.2": "Running"}
        self.writers = {
            "System Writer": "Stable",
            "Registry Writer": "Stable",
            "SqlServerWriter": "Stable",
        }
        self.programs: dict[str, Callable[[list[str], str], tuple[int, str, str]]] = {}
        self.fault: Callable[[str, str], int | None] = lambda _operation, _path: None
        self.commands: list[str] = []
        self.scripts: list[str] = []
        self.not_simulated: list[str] = []
        self._keys: set[tuple[str, bytes]] = set()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._transports: list[paramiko.Transport] = []
        self._lock = threading.Lock()
        self._host_key = self._new_key()
        for path in (self.disk.home, "C:\\Windows", "C:\\ProgramData", "C:\\Users\\Public"):
            self.make_folder(path)

    # --- building --------------------------------------------------------------------------

    def local(self, path: str) -> Path:
        """The file or folder of ours behind a Windows path."""
        return self.disk.find(path, follow=False).real

    def make_folder(self, path: str) -> Path:
        full = self.disk.lexical(path)
        parts = full[3:].split("\\")
        for count in range(1, len(parts) + 1):
            self.local(full[:3] + "\\".join(parts[:count])).mkdir(exist_ok=True)
        return self.local(full)

    def write(self, path: str, data: bytes, *, mtime: float | None = None) -> Path:
        """Write a file with the folders above it; ``mtime`` in seconds."""
        self.make_folder(self.disk.lexical(path).rpartition("\\")[0] + "\\")
        real = self.local(path)
        real.write_bytes(data)
        if mtime is not None:
            os.utime(real, (mtime, mtime))
        return real

    def add_drive(self, letter: str, *, grain_ns: int = 100) -> Volume:
        return self.disk.add_drive(letter, grain_ns=grain_ns)

    def link(self, path: str, target: str, kind: str = "symlink-folder") -> None:
        self.disk.make_link(path, target, kind)

    def lock(self, path: str) -> None:
        """Some program holds the file and shares nothing."""
        spot = self.disk.find(path)
        spot.volume.locked.add(spot.key)

    def unlock(self, path: str) -> None:
        spot = self.disk.find(path)
        spot.volume.locked.discard(spot.key)

    def hide(self, path: str) -> None:
        spot = self.disk.find(path)
        spot.volume.hidden.add(spot.key)

    def deny(self, path: str) -> None:
        spot = self.disk.find(path)
        spot.volume.denied.add(spot.key)

    def read_only(self, path: str) -> None:
        real = self.local(path)
        real.chmod(real.stat().st_mode & ~stat.S_IWUSR)

    def legacy_junctions(self, *, lists: bool = False) -> None:
        """The old names every (French) Windows keeps, and the two things nobody may read.

        They are folders to SFTP, and some lead in a circle. By default nobody may list them, as on a
        fresh Windows; ``lists`` True: an administrator has given everybody the right.
        Source: «dir /aL /s» of a French Windows 11; «All Users» alone is a symbolic link.
        """
        home = self.disk.home
        local, shared = f"{home}\\AppData\\Local", "C:\\ProgramData"
        roaming, start = f"{home}\\AppData\\Roaming", "Microsoft\\Windows\\Start Menu"
        documents, public = f"{home}\\Documents", "C:\\Users\\Public"
        for path in (local, roaming, documents, f"{public}\\Documents", "C:\\Users\\Default"):
            self.make_folder(path)
        junctions = {
            "C:\\Documents and Settings": "C:\\Users",
            "C:\\Programmes": "C:\\Program Files",
            "C:\\Users\\Default User": "C:\\Users\\Default",
            f"{shared}\\Application Data": shared,
            f"{shared}\\Bureau": f"{public}\\Desktop",
            f"{shared}\\Documents": f"{public}\\Documents",
            f"{shared}\\Favoris": f"{public}\\Favorites",
            f"{shared}\\Menu Démarrer": f"{shared}\\{start}",
            f"{shared}\\Modèles": f"{shared}\\Microsoft\\Windows\\Templates",
            f"{home}\\Application Data": roaming,
            f"{home}\\Cookies": f"{local}\\Microsoft\\Windows\\INetCookies",
            f"{home}\\Local Settings": local,
            f"{home}\\Menu Démarrer": f"{roaming}\\{start}",
            f"{home}\\Mes documents": documents,
            f"{home}\\Modèles": f"{roaming}\\Microsoft\\Windows\\Templates",
            f"{home}\\Recent": f"{roaming}\\Microsoft\\Windows\\Recent",
            f"{home}\\SendTo": f"{roaming}\\Microsoft\\Windows\\SendTo",
            f"{home}\\Voisinage d'impression": f"{roaming}\\Microsoft\\Windows\\Printer Shortcuts",
            f"{home}\\Voisinage réseau": f"{roaming}\\Microsoft\\Windows\\Network Shortcuts",
            f"{local}\\Application Data": local,
            f"{local}\\Historique": f"{local}\\Microsoft\\Windows\\History",
            f"{local}\\Temporary Internet Files": f"{local}\\Microsoft\\Windows\\INetCache",
            f"{documents}\\Ma musique": f"{home}\\Music",
            f"{documents}\\Mes images": f"{home}\\Pictures",
            f"{documents}\\Mes vidéos": f"{home}\\Videos",
        }
        for path, target in junctions.items():
            self._system_link(path, target, "junction", lists=lists)
        self._system_link("C:\\Users\\All Users", shared, "symlink-folder", lists=True)
        self.make_folder("C:\\System Volume Information")
        self.deny("C:\\System Volume Information")
        self.write("C:\\pagefile.sys", bytes(1000))
        self.hide("C:\\pagefile.sys")

    def _system_link(self, path: str, target: str, kind: str, *, lists: bool) -> None:
        spot = self.disk.find(path, follow=False)
        self.disk.make_link(path, target, kind)
        spot.volume.links[spot.key] = replace(spot.volume.links[spot.key], lists=lists, system=True)

    # --- looking ---------------------------------------------------------------------------

    @property
    def shadows_alive(self) -> list[str]:
        """The devices of every shadow copy there is."""
        return [each.device for each in self.disk.shadows.values()]

    @property
    def links_alive(self) -> list[str]:
        """Links anywhere on the drives, as «C:\\name», but for those Windows itself made."""
        return [
            f"{letter}:\\" + "\\".join((*key[:-1], each.name))
            for letter, volume in self.disk.drives.items()
            for key, each in volume.links.items()
            if not each.system
        ]

    @property
    def host_key(self) -> str:
        return f"ssh-ed25519 {self._host_key.get_base64()}"

    def now(self) -> datetime:
        """The machine's clock, in UTC."""
        return datetime.now(UTC) + self.clock_offset

    # --- its life --------------------------------------------------------------------------

    def authorize(self, public_key: str) -> None:
        """Let «ssh-ed25519 AAAA…» in."""
        kind, blob = public_key.split()[:2]
        self._keys.add((kind, paramiko.util.b(blob)))

    def replace_host_key(self) -> None:
        """Be another machine at the same address from now on."""
        self._host_key = self._new_key()
        self.cut()

    def cut(self) -> None:
        """End every connection without a word."""
        with self._lock:
            transports, self._transports = self._transports, []
        for each in transports:
            with suppress(OSError):
                each.sock.shutdown(socket.SHUT_RDWR)
            each.close()

    def start(self) -> Self:
        self._listener = socket.create_server((self.host, self.port), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept)
        return self

    def stop(self) -> None:
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()
        for thread in self._threads:
            thread.join(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _new_key(self) -> paramiko.Ed25519Key:
        path = self.folder / "host_key"
        for each in (path, path.with_suffix(".pub")):
            each.unlink(missing_ok=True)
        make_key(path)
        return paramiko.Ed25519Key.from_private_key_file(str(path))

    def _spawn(self, function: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if self.offline:
                connection.close()
                continue
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(connection)
        transport.local_version = BANNER
        transport.add_server_key(self._host_key)
        transport.set_subsystem_handler("sftp", _Sftp, self)
        with self._lock:
            self._transports.append(transport)
        try:
            transport.start_server(server=_Door(self))
        except (paramiko.SSHException, EOFError, OSError):
            transport.close()  # a client that only wanted to see the host key

    # --- sessions --------------------------------------------------------------------------

    def run(self, channel: paramiko.Channel, line: str) -> None:
        """Run a command line for a channel, to its end or the channel's."""
        self.commands.append(line)
        programs = Programs(self)

        def send(function: Callable[[bytes], None], text: str) -> None:
            if channel.closed or not channel.get_transport().is_active():
                raise Killed
            try:
                function(text.encode(programs.output_encoding, "replace"))
            except OSError:
                raise Killed from None

        def read(whole: bool) -> str:
            found = b""
            while whole or b"\n" not in found:
                block = channel.recv(65_536 if whole else 1)
                if not block:
                    if channel.closed or not channel.get_transport().is_active():
                        raise Killed
                    break
                found += block
            return found.decode("utf-8", "replace").rstrip("\r\n")

        code = 1
        try:
            code = programs.command_line(
                line,
                lambda text: send(channel.sendall, text),
                lambda text: send(channel.sendall_stderr, text),
                read,
            )
            channel.send_exit_status(code)
        except (Killed, OSError):
            pass
        finally:
            channel.close()


class _Door(paramiko.ServerInterface):
    def __init__(self, host: WindowsHost) -> None:
        self.machine = host

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = (key.get_name(), paramiko.util.b(key.get_base64())) in self.machine._keys
        right = (
            known and username.lower() == self.machine.user.lower()
        )  # account names have no case
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind == "session":
            return paramiko.OPEN_SUCCEEDED
        return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_env_request(
        self, channel: paramiko.Channel, name: bytes, value: bytes
    ) -> bool:
        return False

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.machine._spawn(self.machine.run, channel, command.decode("utf-8", "replace"))
        return True


class _Sftp(paramiko.SubsystemHandler):
    def __init__(
        self,
        channel: paramiko.Channel,
        name: str,
        server: paramiko.ServerInterface,
        host: WindowsHost,
    ) -> None:
        super().__init__(channel, name, server)
        self.machine = host

    def start_subsystem(
        self, name: str, transport: paramiko.Transport, channel: paramiko.Channel
    ) -> None:
        session = SftpSession(self.machine.disk, lambda *what: self.machine.fault(*what))
        waiting = b""
        try:
            while block := channel.recv(1 << 20):
                waiting += block
                while len(waiting) >= 4:
                    (size,) = struct.unpack_from(">I", waiting)
                    if size > MAX_PACKET:
                        return
                    if len(waiting) < 4 + size:
                        break
                    answer = session.answer(waiting[4 : 4 + size])
                    waiting = waiting[4 + size :]
                    channel.sendall(struct.pack(">I", len(answer)) + answer)
        except (OSError, EOFError):
            return
        finally:
            session.close()
