"""What is left out of every machine, by its system: nothing here is a person's work.

Patterns of Borg («sh:»), on paths as stored (no leading slash, «C/Users/…» on Windows). A practice's
program may keep its data in the oddest place: when in doubt something is *not* in this list.
"""

from typing import Final

from appliance.model import System

_ANYWHERE: Final = (
    "sh:**/.cache/thumbnails",
    "sh:**/.Trash-*",
    "sh:**/.DS_Store",
    "sh:**/Thumbs.db",
    "sh:**/desktop.ini",
)

_BROWSERS: Final = (
    "sh:**/Cache_Data",
    "sh:**/Code Cache",
    "sh:**/GPUCache",
    "sh:**/cache2",
    "sh:**/startupCache",
)

_LINUX: Final = (
    "pp:proc",
    "pp:sys",
    "pp:dev",
    "pp:run",
    "pp:tmp",
    "pp:var/run",
    "pp:var/tmp",
    "pp:var/cache",
    "pp:var/lib/docker/overlay2",
    "pp:var/lib/containerd",
    "pp:var/lib/systemd/coredump",
    "pp:swapfile",
    "pp:swap.img",
    "pp:lost+found",
    "pp:mnt",
    "pp:media",
    "sh:home/*/.cache",
    "sh:root/.cache",
    "sh:home/*/.local/share/Trash",
    "sh:root/.local/share/Trash",
    "sh:home/*/.gvfs",
    "sh:home/*/snap/*/*/.cache",
)

_MACOS: Final = (
    "pp:dev",
    "pp:private/var/vm",
    "pp:private/var/folders",
    "pp:private/var/tmp",
    "pp:private/tmp",
    "pp:System/Volumes",
    "pp:Volumes",
    "pp:Network",
    "pp:cores",
    "sh:**/.Trashes",
    "sh:**/.Trash",
    "sh:**/.Spotlight-V100",
    "sh:**/.fseventsd",
    "sh:**/.DocumentRevisions-V100",
    "sh:**/.TemporaryItems",
    "sh:**/.MobileBackups",
    "sh:Library/Caches",
    "sh:System/Library/Caches",
    "sh:Users/*/Library/Caches",
    "sh:Users/*/Library/Logs",
    "sh:Users/*/Library/Containers/*/Data/Library/Caches",
)

_WINDOWS: Final = (
    "sh:*/pagefile.sys",
    "sh:*/hiberfil.sys",
    "sh:*/swapfile.sys",
    "sh:*/DumpStack.log*",
    "sh:*/$Recycle.Bin",
    "sh:*/System Volume Information",
    "sh:*/$WinREAgent",
    "sh:*/$Windows.~BT",
    "sh:*/$Windows.~WS",
    "sh:*/Config.Msi",
    "sh:*/Recovery",
    "sh:*/Windows/Temp",
    "sh:*/Windows/Prefetch",
    "sh:*/Windows/SoftwareDistribution/Download",
    "sh:*/Windows/Minidump",
    "sh:*/Windows/MEMORY.DMP",
    "sh:*/Users/*/AppData/Local/Temp",
    "sh:*/Users/*/AppData/Local/CrashDumps",
    "sh:*/Users/*/AppData/Local/Microsoft/Windows/INetCache",
    "sh:*/Users/*/AppData/Local/Microsoft/Windows/Explorer",
    "sh:*/Users/*/AppData/Local/Microsoft/Windows/WebCache",
    "sh:*/Users/*/AppData/Local/Packages/*/AC/INetCache",
    "sh:*/Users/*/AppData/Local/Packages/*/TempState",
    "sh:*/Users/*/AppData/Local/D3DSCache",
    # Links to other folders that Windows keeps for old programs; some lead in a circle, nobody may
    # list them. Source: «dir /aL /s» of Windows 11, in English and in French.
    "sh:*/Documents and Settings",
    "sh:*/Programmes",
    "sh:*/Users/All Users",
    "sh:*/Users/Default User",
    *(
        f"sh:*/{place}/{name}"
        for place in ("ProgramData", "Users/*", "Users/*/AppData/Local")
        for name in ("Application Data", "Start Menu", "Menu Démarrer", "Templates", "Modèles")
    ),
    *(f"sh:*/ProgramData/{name}" for name in ("Desktop", "Bureau", "Documents", "Favoris")),
    *(
        f"sh:*/Users/*/{name}"
        for name in (
            "Cookies",
            "Local Settings",
            "My Documents",
            "Mes documents",
            "NetHood",
            "PrintHood",
            "Recent",
            "SendTo",
            "Voisinage d'impression",
            "Voisinage réseau",
            "AppData/Local/History",
            "AppData/Local/Historique",
            "AppData/Local/Temporary Internet Files",
            "Documents/My Music",
            "Documents/My Pictures",
            "Documents/My Videos",
            "Documents/Ma musique",
            "Documents/Mes images",
            "Documents/Mes vidéos",
        )
    ),
)

DEFAULT_EXCLUDES: Final[dict[System, tuple[str, ...]]] = {
    System.LINUX: (*_ANYWHERE, *_BROWSERS, *_LINUX),
    System.MACOS: (*_ANYWHERE, *_BROWSERS, *_MACOS),
    System.WINDOWS: (*_ANYWHERE, *_BROWSERS, *_WINDOWS),
}
