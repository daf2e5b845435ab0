"""What runs on the simulated Windows host: cmd.exe, its commands, and PowerShell's own cmdlets.

Sources: Microsoft, Win32_ShadowCopy.Create (return values, «ClientAccessible» is the one context a
client system takes), vssadmin, mklink, rmdir; the exit codes of cmd.exe.
"""

import base64
import binascii
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from tests.support import windows_disk as disk
from tests.support.powershell import Shell, Table, Thing, Thrown, cmdlet, many, text_of
from tests.support.powershell_parser import NotUnderstood
from tests.support.windows_disk import Win32Error

if TYPE_CHECKING:
    from tests.support.windows import WindowsHost

#: The practice's own time: Windows' local clock.
LOCAL = timezone(timedelta(hours=1))
Result = tuple[int, str, str]


class Programs:
    """The machine as its programs see it."""

    def __init__(self, host: "WindowsHost") -> None:
        self.host, self.disk = host, host.disk
        self.not_simulated = host.not_simulated
        self.output_encoding = host.oem_encoding
        self.environment = {
            "COMPUTERNAME": host.name,
            "USERNAME": host.user,
            "USERPROFILE": self.disk.home,
            "SYSTEMDRIVE": "C:",
            "SYSTEMROOT": "C:\\Windows",
            "PROGRAMDATA": "C:\\ProgramData",
            "PROGRAMFILES": "C:\\Program Files",
            "TEMP": f"{self.disk.home}\\AppData\\Local\\Temp",
        }

    # --- cmd.exe ---------------------------------------------------------------------------

    def command_line(
        self,
        line: str,
        out: Callable[[str], None],
        err: Callable[[str], None],
        stdin: Callable[[bool], str],
    ) -> int:
        """What ``cmd.exe /c LINE`` does: the usual default shell of Windows' OpenSSH."""
        if len(line) > 8191:
            err("The command line is too long.\r\n")
            return 1
        for part in re.split(r"\s*&&\s*", line.strip()):
            argv = split_line(part)
            if not argv:
                continue
            if re.fullmatch(r"(?i)(.*\\)?powershell(\.exe)?", argv[0]):
                code = self.powershell(argv[1:], out, err, stdin)
            else:
                found = self.native(argv, "")
                if found is None:
                    err(
                        f"'{argv[0]}' is not recognized as an internal or external command,\r\n"
                        "operable program or batch file.\r\n"
                    )
                    return 1
                code, said, wrong = found
                out(said)
                err(wrong)
            if code:
                return code
        return 0

    def powershell(
        self,
        argv: list[str],
        out: Callable[[str], None],
        err: Callable[[str], None],
        stdin: Callable[[bool], str],
    ) -> int:
        """``powershell.exe`` with -EncodedCommand or -Command."""
        script: str | None = None
        number = 0
        while number < len(argv):
            flag = argv[number].lower().lstrip("-/")
            if (flag and "encodedcommand".startswith(flag)) or flag == "ec":
                try:
                    script = base64.b64decode(argv[number + 1], validate=True).decode("utf-16-le")
                except (binascii.Error, UnicodeDecodeError, IndexError):
                    err("Cannot process the command because the value specified with -EncodedCommand is not "
                        "properly encoded. The value must be Base64 encoded.\r\n")  # fmt: skip
                    return 1
                number += 2
            elif flag in (
                "executionpolicy",
                "ep",
                "outputformat",
                "inputformat",
                "windowstyle",
                "version",
            ):
                number += 2
            elif flag in ("noprofile", "noninteractive", "nologo", "nop", "noni", "sta", "mta"):
                number += 1
            elif flag in ("command", "c"):
                script = " ".join(argv[number + 1 :])
                number = len(argv)
            else:
                script = " ".join(argv[number:])
                number = len(argv)
        if script is None or script == "-":
            script = stdin(True)
        self.host.scripts.append(script)
        self.output_encoding = self.host.oem_encoding
        return Shell(self, out, err, stdin).run(script)

    def native(self, argv: list[str], stdin: str) -> Result | None:
        """Run a program; None when there is none of this name."""
        name = argv[0].lower().rpartition("\\")[2].removesuffix(".exe")
        if name in self.host.programs:
            return self.host.programs[name](argv[1:], stdin)
        function = getattr(self, f"_run_{name}", None)
        return None if function is None else function(argv[1:])

    def _run_cmd(self, argv: list[str]) -> Result:
        words = (
            [each for each in argv if each.lower() not in ("/c", "/d", "/s", "/q", "/k")]
            if argv and argv[0].lower() != "/c"
            else argv[1:]
        )
        said: list[str] = []
        wrong: list[str] = []
        inner = " ".join(f'"{word}"' if " " in word and '"' not in word else word for word in words)
        inner = re.sub(r"\s*2>&1|\s*[12]?>\s*nul", "", inner, flags=re.IGNORECASE)
        code = self.command_line(inner, said.append, wrong.append, lambda _whole: "")
        return code, "".join(said), "".join(wrong)

    def _run_mklink(self, argv: list[str]) -> Result:
        flags = [each.lower() for each in argv if each.startswith("/")]
        paths = [each for each in argv if not each.startswith("/")]
        kind = (
            "junction" if "/j" in flags else "symlink-folder" if "/d" in flags else "symlink-file"
        )
        if not self.host.admin and kind != "junction":
            return self._wrong(disk.NO_PRIVILEGE)
        try:
            self.disk.make_link(paths[0], paths[1], kind)
        except Win32Error as error:
            return self._wrong(error.code)
        what = "Junction" if kind == "junction" else "symbolic link"
        return 0, f"{what} created for {paths[0]} <<===>> {paths[1]}\r\n", ""

    def _run_rmdir(self, argv: list[str]) -> Result:
        flags = {each.lower() for each in argv if each.startswith("/")}
        for path in (each for each in argv if not each.startswith("/")):
            try:
                if "/s" in flags:
                    self._remove_tree(path)
                else:
                    self.disk.remove_folder(path)
            except Win32Error as error:
                return self._wrong(error.code)
        return 0, "", ""

    _run_rd = _run_rmdir

    def _run_echo(self, argv: list[str]) -> Result:
        return 0, " ".join(argv) + "\r\n", ""

    def _run_exit(self, argv: list[str]) -> Result:
        return int(argv[-1]) if argv and argv[-1].isdigit() else 0, "", ""

    def _run_ver(self, _argv: list[str]) -> Result:
        return 0, f"\r\nMicrosoft Windows [Version {self.host.version}]\r\n", ""

    def _run_hostname(self, _argv: list[str]) -> Result:
        return 0, f"{self.host.name}\r\n", ""

    def _run_whoami(self, _argv: list[str]) -> Result:
        return 0, f"{self.host.name.lower()}\\{self.host.user.lower()}\r\n", ""

    def _run_vssadmin(self, argv: list[str]) -> Result:
        head = "vssadmin 1.1 - Volume Shadow Copy Service administrative command-line tool\r\n\r\n"
        if not self.host.admin:
            return (
                2,
                head + "Error: You don't have the correct permissions to run this command.\r\n",
                "",
            )
        words = [each.lower() for each in argv]
        if words[:2] == ["list", "writers"]:
            return 0, head + "".join(
                f"Writer name: '{name}'\r\n   Writer Id: {{00000000-0000-0000-0000-000000000000}}\r\n"
                f"   State: [{1 if state == 'Stable' else 8}] {state}\r\n   Last error: "
                f"{'No error' if state == 'Stable' else 'Retryable error'}\r\n\r\n"
                for name, state in self.host.writers.items()
            ), ""  # fmt: skip
        if words[:2] == ["list", "shadows"]:
            if not self.disk.shadows:
                return 1, head + "No items found that satisfy the query.\r\n", ""
            return 0, head + "".join(
                f"   Shadow Copy ID: {each.id}\r\n      Original Volume: ({each.letter}:)\r\n"
                f"      Shadow Copy Volume: {each.device}\r\n"
                for each in self.disk.shadows.values()
            ), ""  # fmt: skip
        if words[:2] == ["delete", "shadows"]:
            wanted = next(
                (each.partition("=")[2] for each in argv if each.lower().startswith("/shadow=")), ""
            )
            if wanted.upper() not in self.disk.shadows:
                return 1, head + "Error: The specified shadow copy was not found.\r\n", ""
            self.disk.remove_shadow(wanted.upper())
            return 0, head + "Successfully deleted 1 shadow copies.\r\n", ""
        return 1, head + "Error: Invalid command.\r\n", ""

    @staticmethod
    def _wrong(code: int) -> Result:
        return 1, "", disk.MESSAGES[code] + "\r\n"

    def _remove_tree(self, path: str) -> None:
        what = self.disk.attributes(path, follow=False)
        if what.link is None and what.folder:
            for name in self.disk.listing(path):
                self._remove_tree(f"{path}\\{name}")
        if what.folder:
            self.disk.remove_folder(path)
        else:
            self.disk.remove_file(path)

    # --- .NET ------------------------------------------------------------------------------

    def statics(self, shell: Shell) -> dict[str, Any]:
        """Static members of the machine's own classes."""
        out = Thing("Out", {
            "write": lambda text="": shell.write_raw(text_of(text)),
            "writeline": lambda text="": shell.write_raw(text_of(text) + "\r\n"),
            "flush": lambda: None,
        })  # fmt: skip
        error = Thing("Error", {
            "write": lambda text="": shell.err(text_of(text)),
            "writeline": lambda text="": shell.err(text_of(text) + "\r\n"),
        })  # fmt: skip
        reading = Thing("In", {
            "readline": lambda: shell.stdin(False),
            "readtoend": lambda: shell.stdin(True),
        })  # fmt: skip
        version = Thing("Version", **dict(zip(("Major", "Minor", "Build", "Revision"),
                                              (int(each) for each in self.host.version.split(".")), strict=True)))  # fmt: skip
        version.text = self.host.version  # type: ignore[attr-defined]
        system = Thing("OperatingSystem", Version=version, Platform="Win32NT",
                       VersionString=f"Microsoft Windows NT {self.host.version}")  # fmt: skip
        system.text = system.get("VersionString")  # type: ignore[attr-defined]
        return {
            "environment::osversion": lambda: system,
            "environment::machinename": lambda: self.host.name,
            "environment::username": lambda: self.host.user,
            "environment::is64bitoperatingsystem": lambda: True,
            "environment::getenvironmentvariable": lambda name: self.environment.get(name.upper()),
            "console::out": lambda: out,
            "console::error": lambda: error,
            "console::in": lambda: reading,
            "console::write": lambda text="": shell.write_raw(text_of(text)),
            "console::writeline": lambda text="": shell.write_raw(text_of(text) + "\r\n"),
            "console::outputencoding": lambda: self.output_encoding,
            "datetime::utcnow": self.host.now,
            "datetime::now": lambda: self.host.now().astimezone(LOCAL),
            "datetimeoffset::utcnow": self.host.now,
            "datetimeoffset::now": lambda: self.host.now().astimezone(LOCAL),
            "io.file::exists": lambda path: self._exists(path, folder=False),
            "io.directory::exists": lambda path: self._exists(path, folder=True),
            "io.directory::delete": lambda path, *_all: self._dotnet(self.disk.remove_folder, path),
            "io.file::delete": lambda path: self._dotnet(self.disk.remove_file, path),
            "io.directory::createdirectory": lambda path: self._dotnet(self.disk.make_folder, path),
            "security.principal.windowsidentity::getcurrent": self.principal,
            "security.principal.windowsbuiltinrole::administrator": lambda: "Administrator",
        }

    def set_static(self, kind: str, name: str, value: Any) -> None:
        if (kind, name) != ("console", "outputencoding"):
            raise NotUnderstood(f"[{kind}]::{name} =")
        self.output_encoding = value.get("WebName") if isinstance(value, Thing) else text_of(value)

    def principal(self) -> Thing:
        return Thing(
            "WindowsPrincipal", {"isinrole": lambda _role: self.host.admin}, Name=self.host.user
        )

    def _dotnet(self, function: Callable[[str], Any], path: str) -> None:
        try:
            function(path)
        except Win32Error as error:
            raise Thrown(f'Exception calling with "1" argument(s): "{error}"') from None

    def _exists(self, path: str, *, folder: bool | None = None) -> bool:
        try:
            what = self.disk.attributes(path)
        except Win32Error:
            return False
        return folder is None or what.folder == folder

    # --- WMI -------------------------------------------------------------------------------

    def wmi_class(self, shell: Shell, name: str) -> Thing:
        """``[WMICLASS]'root\\cimv2:Win32_ShadowCopy'``."""
        if name.lower().rpartition(":")[2] != "win32_shadowcopy":
            raise NotUnderstood(f"[wmiclass] {name}")
        return Thing(
            "ManagementClass",
            {"create": lambda volume, context: self._create(shell, volume, context)},
        )

    def _create(self, _shell: Shell, volume: str, context: str) -> Thing:
        letter = text_of(volume)[:1].upper()
        if not self.host.admin:
            code = 1
        elif self.host.vss_failure:
            code = self.host.vss_failure
        elif not re.fullmatch(r"[A-Za-z]:\\", text_of(volume)):
            code = 2
        elif letter not in self.disk.drives:
            code = 3
        elif text_of(context).lower() != "clientaccessible":
            code = 5
        elif len(self.disk.shadows) >= 64:
            code = 8
        else:
            code = 0
        if code:
            return Thing(
                "Created", ReturnValue=code, ShadowID="{00000000-0000-0000-0000-000000000000}"
            )
        time.sleep(self.host.vss_seconds)
        shadow = self.disk.make_shadow(letter, "ClientAccessible", self.host.now())
        return Thing("Created", ReturnValue=0, ShadowID=shadow.id)

    def instances(self, shell: Shell, kind: str, named: dict[str, Any], *, wmi: bool) -> list[Any]:
        """The instances of a class; those of Get-WmiObject have «Delete()», those of CIM have not."""
        low = kind.lower()
        if low == "win32_shadowcopy":
            if not self.host.admin:
                return shell.fail(
                    "Access denied " if not wmi else "Access is denied. (0x80041003)", named
                )
            found = [self._shadow(each, wmi=wmi) for each in self.disk.shadows.values()]
        elif low in ("win32_logicaldisk", "win32_volume"):
            found = [self._drive(letter, low) for letter in sorted(self.disk.drives)]
        elif low == "win32_operatingsystem":
            found = [Thing(low, Caption=self.host.caption, Version=self.host.version.rpartition(".")[0],
                           BuildNumber=self.host.version.split(".")[2], CSName=self.host.name,
                           LocalDateTime=self.host.now().astimezone(LOCAL), OSArchitecture="64-bit",
                           LastBootUpTime=self.host.now() - timedelta(hours=9))]  # fmt: skip
        elif low == "win32_computersystem":
            found = [Thing(low, Name=self.host.name, UserName=self.host.user)]
        elif low in ("win32_networkadapterconfiguration", "win32_networkadapter"):
            found = [Thing(low, MACAddress=self.host.mac.upper(), IPEnabled=True, NetEnabled=True,
                           PhysicalAdapter=True, IPAddress=["192.0.2.17"], Description="Ethernet")]  # fmt: skip
        else:
            raise NotUnderstood(f"the class {kind}")
        return [each for each in found if filtered(each, text_of(named.get("filter")))]

    def _shadow(self, shadow: disk.Shadow, *, wmi: bool) -> Thing:
        methods: dict[str, Callable[..., Any]] = (
            {"delete": lambda: self.disk.remove_shadow(shadow.id)} if wmi else {}
        )
        return Thing("Win32_ShadowCopy", methods, ID=shadow.id, SetID=shadow.set_id, DeviceObject=shadow.device,
                     VolumeName=volume_name(shadow.letter), ClientAccessible=True, Persistent=True, State=12,
                     NoWriters=True, InstallDate=shadow.made_at, Count=1)  # fmt: skip

    def _drive(self, letter: str, kind: str) -> Thing:
        free = self.host.free_bytes.get(
            letter, shutil.disk_usage(self.disk.drives[letter].root).free
        )
        if kind == "win32_volume":
            return Thing(kind, DriveLetter=f"{letter}:", Name=f"{letter}:\\", DeviceID=volume_name(letter),
                         FreeSpace=free, Capacity=500 * 2**30, DriveType=3, FileSystem="NTFS")  # fmt: skip
        return Thing(
            kind,
            DeviceID=f"{letter}:",
            FreeSpace=free,
            Size=500 * 2**30,
            DriveType=3,
            FileSystem="NTFS",
        )

    # --- cmdlets ---------------------------------------------------------------------------

    def cmdlets(self, _shell: Shell) -> dict[str, Callable[..., Any]]:
        return {
            name.removeprefix("_do_").replace("_", "-"): self._bound(name)
            for name in dir(self)
            if name.startswith("_do_")
        }

    def _bound(self, name: str) -> Callable[..., Any]:
        method = getattr(self, name)
        found = lambda shell, named: method(shell, named)  # noqa: E731 - carries attributes
        found.order = getattr(method, "order", [])  # type: ignore[attr-defined]
        found.switches = getattr(method, "switches", set())  # type: ignore[attr-defined]
        return found

    @cmdlet("classname")
    def _do_get_ciminstance(self, shell: Shell, named: dict[str, Any]) -> list[Any]:
        return self.instances(shell, text_of(named["classname"]), named, wmi=False)

    @cmdlet("class", "property", switches=("list",))
    def _do_get_wmiobject(self, shell: Shell, named: dict[str, Any]) -> Any:
        if "list" in named:
            return self.wmi_class(shell, text_of(named["class"]))
        return self.instances(shell, text_of(named["class"]), named, wmi=True)

    @cmdlet("classname", "methodname", "arguments")
    def _do_invoke_cimmethod(self, shell: Shell, named: dict[str, Any]) -> Any:
        kind, method = (
            text_of(named.get("classname")).lower(),
            text_of(named.get("methodname")).lower(),
        )
        if (kind, method) != ("win32_shadowcopy", "create"):
            raise NotUnderstood(f"{kind}.{method}")
        arguments: Table = named.get("arguments") or named.get("property") or Table()
        return self._create(shell, arguments.find("volume"), arguments.find("context"))

    @cmdlet("classname", "methodname")
    def _do_invoke_wmimethod(self, shell: Shell, named: dict[str, Any]) -> Any:
        raise NotUnderstood("Invoke-WmiMethod")

    @cmdlet("inputobject")
    def _do_remove_ciminstance(self, shell: Shell, named: dict[str, Any]) -> list[Any]:
        for each in many(named.get("inputobject")) + (named["|"] or []):
            if each.get("ID") not in self.disk.shadows:
                return shell.fail("The requested object could not be found.", named)
            self.disk.remove_shadow(each.get("ID"))
        return []

    _do_remove_wmiobject = _do_remove_ciminstance

    @cmdlet("path")
    def _do_test_path(self, _shell: Shell, named: dict[str, Any]) -> bool:
        kind = text_of(named.get("pathtype")).lower()
        folder = {"container": True, "leaf": False}.get(kind)
        return self._exists(text_of(named.get("literalpath") or named.get("path")), folder=folder)

    @cmdlet("path")
    def _do_get_item(self, shell: Shell, named: dict[str, Any]) -> Any:
        path = text_of(named.get("literalpath") or named.get("path"))
        try:
            return self._item(path)
        except Win32Error:
            return shell.fail(f"Cannot find path '{path}' because it does not exist.", named)

    @cmdlet("path", "filter", switches=("file", "directory", "name"))
    def _do_get_childitem(self, shell: Shell, named: dict[str, Any]) -> Any:
        path = text_of(named.get("literalpath") or named.get("path") or self.disk.home).rstrip("\\")
        try:
            names = self.disk.listing(path)
        except Win32Error as error:
            if error.code == disk.DENIED:
                return shell.fail(f"Access to the path '{path}' is denied.", named)
            return shell.fail(f"Cannot find path '{path}' because it does not exist.", named)
        found: list[Thing] = []
        for name in names:
            try:
                item = self._item(f"{path}\\{name}")
            except Win32Error:
                continue
            folder = item.get("PSIsContainer")
            wanted = not (("file" in named and folder) or ("directory" in named and not folder))
            if wanted and re.match(
                translate(text_of(named.get("filter") or "*")), name, re.IGNORECASE
            ):
                found.append(item)
            if "recurse" in named and folder and not item.get("LinkType"):
                found += many(
                    self._do_get_childitem(shell, {**named, "literalpath": item.get("FullName")})
                )
        return found

    def _item(self, path: str) -> Thing:
        what = self.disk.attributes(path, follow=False)
        full = self.disk.lexical(path)
        when = datetime.fromtimestamp(what.mtime_ns / 10**9, UTC)
        kinds = {
            "junction": "Junction",
            "symlink-folder": "SymbolicLink",
            "symlink-file": "SymbolicLink",
        }
        item = Thing("Item", {"delete": lambda *_all: self._dotnet(self._remove_tree, full)},
                     Name=full.rpartition("\\")[2], FullName=full, Length=what.size,
                     LastWriteTimeUtc=when, LastWriteTime=when.astimezone(LOCAL), PSIsContainer=what.folder,
                     LinkType=kinds[what.link.kind] if what.link else None,
                     Target=[what.link.target] if what.link else None)  # fmt: skip
        item.text = full  # type: ignore[attr-defined]
        return item

    @cmdlet("path")
    def _do_remove_item(self, shell: Shell, named: dict[str, Any]) -> list[Any]:
        for path in many(named.get("literalpath") or named.get("path") or named["|"]):
            try:
                self._remove_tree(text_of(path))
            except Win32Error as error:
                return shell.fail(f"Cannot remove item {text_of(path)}: {error}", named)
        return []

    @cmdlet("path")
    def _do_new_item(self, shell: Shell, named: dict[str, Any]) -> Any:
        path, kind = text_of(named["path"]), text_of(named.get("itemtype") or "File").lower()
        target = text_of(named.get("value") or named.get("target"))
        try:
            if kind in ("symboliclink", "junction"):
                if kind == "symboliclink" and not self.host.admin:
                    return shell.fail("Administrator privilege required for this operation.", named)
                if kind == "symboliclink" and not self._exists(target):
                    return shell.fail(
                        f"Cannot find path '{target}' because it does not exist.", named
                    )
                self.disk.make_link(
                    path, target, "junction" if kind == "junction" else "symlink-folder"
                )
            elif kind == "directory":
                self.disk.make_folder(path)
            else:
                self.disk.open(path, "w+b").close()
            return self._item(path)
        except Win32Error as error:
            return shell.fail(str(error), named)

    @cmdlet("path", switches=("raw",))
    def _do_get_content(self, shell: Shell, named: dict[str, Any]) -> Any:
        path = text_of(named.get("literalpath") or named.get("path"))
        try:
            with self.disk.open(path) as file:
                text = file.read().decode("utf-8", "replace")
        except Win32Error as error:
            return shell.fail(f"{path}: {error}", named)
        return text if "raw" in named else text.splitlines()

    @cmdlet("path", "value")
    def _do_set_content(self, shell: Shell, named: dict[str, Any]) -> Any:
        path = text_of(named.get("literalpath") or named.get("path"))
        value = named.get("value") if "value" in named else named["|"]
        try:
            with self.disk.open(path, "w+b") as file:
                file.write("".join(f"{text_of(each)}\r\n" for each in many(value)).encode())
        except Win32Error as error:
            return shell.fail(f"{path}: {error}", named)
        return []

    @cmdlet("name")
    def _do_get_psdrive(self, shell: Shell, named: dict[str, Any]) -> Any:
        wanted = text_of(named.get("name")).upper().rstrip(":")
        found = []
        for letter in sorted(self.disk.drives):
            if not wanted or wanted == letter:
                size = self._drive(letter, "win32_logicaldisk")
                found.append(Thing("PSDrive", Name=letter, Root=f"{letter}:\\", Free=size.get("FreeSpace"),
                                   Used=size.get("Size") - size.get("FreeSpace")))  # fmt: skip
        return found or shell.fail(
            f"Cannot find drive. A drive with the name '{wanted}' does not exist.", named
        )

    @cmdlet("driveletter")
    def _do_get_volume(self, _shell: Shell, named: dict[str, Any]) -> Any:
        wanted = [text_of(each).upper() for each in many(named.get("driveletter"))] or list(
            self.disk.drives
        )
        return [Thing("Volume", DriveLetter=letter, DriveType="Fixed", FileSystem="NTFS",
                      SizeRemaining=self._drive(letter, "").get("FreeSpace"), Size=500 * 2**30)
                for letter in sorted(self.disk.drives) if letter in wanted]  # fmt: skip

    @cmdlet("date", switches=("asutc",))
    def _do_get_date(self, _shell: Shell, named: dict[str, Any]) -> Any:
        now = self.host.now().astimezone(LOCAL)
        if "format" in named:
            from tests.support.powershell import formatted_date

            return formatted_date(now, text_of(named["format"]))
        return str(now.timestamp()) if text_of(named.get("uformat")) == "%s" else now

    @cmdlet("name", switches=("physical",))
    def _do_get_netadapter(self, _shell: Shell, _named: dict[str, Any]) -> Any:
        return [
            Thing(
                "NetAdapter",
                Name="Ethernet",
                Status="Up",
                MacAddress=self.host.mac.upper().replace(":", "-"),
            )
        ]

    @cmdlet("name")
    def _do_get_service(self, shell: Shell, named: dict[str, Any]) -> Any:
        return [
            self._service(shell, each, named)
            for each in many(named.get("name")) or list(self.host.services)
        ]

    @cmdlet("name")
    def _do_stop_service(self, shell: Shell, named: dict[str, Any]) -> list[Any]:
        return self._turn(shell, named, "Stopped")

    @cmdlet("name")
    def _do_start_service(self, shell: Shell, named: dict[str, Any]) -> list[Any]:
        return self._turn(shell, named, "Running")

    def _turn(self, shell: Shell, named: dict[str, Any], state: str) -> list[Any]:
        for name in many(named.get("name")):
            if text_of(name) not in self.host.services:
                return shell.fail(
                    f"Cannot find any service with service name '{text_of(name)}'.", named
                )
            self.host.services[text_of(name)] = state
        return []

    def _service(self, shell: Shell, name: Any, named: dict[str, Any]) -> Any:
        state = self.host.services.get(text_of(name))
        if state is None:
            return shell.fail(
                f"Cannot find any service with service name '{text_of(name)}'.", named
            )
        return Thing(
            "Service", {"waitforstatus": lambda *_what: None}, Name=text_of(name), Status=state
        )

    @cmdlet("seconds")
    def _do_start_sleep(self, _shell: Shell, named: dict[str, Any]) -> None:
        time.sleep(float(named.get("seconds") or 0) + float(named.get("milliseconds") or 0) / 1000)


def split_line(line: str) -> list[str]:
    """Words of a command line, double quotes taken off."""
    return [found.replace('"', "") for found in re.findall(r'(?:[^\s"]+|"[^"]*"?)+', line)]


def volume_name(letter: str) -> str:
    return f"\\\\?\\Volume{{00000000-0000-0000-0000-0000000000{ord(letter):02x}}}\\"


def filtered(item: Thing, query: str) -> bool:
    """Whether a WQL condition «A='b' AND C=3» holds."""
    for part in re.split(r"(?i)\s+and\s+", query) if query else []:
        found = re.fullmatch(
            r"\s*(\w+)\s*(=|<>|!=|like)\s*(?:'([^']*)'|\"([^\"]*)\"|(\w+))\s*", part, re.IGNORECASE
        )
        if not found:
            raise NotUnderstood(f"the filter {part}")
        wanted = next(each for each in found.groups()[2:] if each is not None).replace("\\\\", "\\")
        same = text_of(item.get(found[1])).lower() == wanted.lower()
        if found[2].lower() == "like":
            same = bool(
                re.match(
                    translate(wanted.replace("%", "*")), text_of(item.get(found[1])), re.IGNORECASE
                )
            )
        if same == (found[2] in ("<>", "!=")):
            return False
    return True
