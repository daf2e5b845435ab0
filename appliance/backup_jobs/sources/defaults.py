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
    # Links that Windows keeps for old programs and that lead in a circle or to what is read anyway. Only
    # names no person gives; the others («Modèles», «Mes documents» …) are read where they can be listed
    # and passed over where they cannot: see ``is_legacy_junction``.
    "sh:*/Documents and Settings",
    "sh:*/Users/All Users",
    "sh:*/Users/Default User",
    "sh:*/ProgramData/Application Data",
    "sh:*/Users/*/Application Data",
    "sh:*/Users/*/Local Settings",
    "sh:*/Users/*/AppData/Local/Application Data",
)

DEFAULT_EXCLUDES: Final[dict[System, tuple[str, ...]]] = {
    System.LINUX: (*_ANYWHERE, *_BROWSERS, *_LINUX),
    System.MACOS: (*_ANYWHERE, *_BROWSERS, *_MACOS),
    System.WINDOWS: (*_ANYWHERE, *_BROWSERS, *_WINDOWS),
}

#: Names that Windows keeps for programs of 2001: junctions nobody may list, in French and in English.
#: Source: «dir /aL /s» of a fresh Windows 11; none of them holds a file of its own.
_JUNCTIONS: Final = {
    "": {"documents and settings", "programmes"},
    "programdata": {
        "application data", "bureau", "desktop", "documents", "favoris", "favorites",
        "menu démarrer", "start menu", "modèles", "templates",
    },
    "users": {"default user", "all users"},
    "users/*": {
        "application data", "cookies", "local settings", "menu démarrer", "start menu",
        "mes documents", "my documents", "modèles", "templates", "recent", "sendto", "nethood",
        "printhood", "voisinage d'impression", "voisinage réseau",
    },
    "users/*/appdata/local": {
        "application data", "historique", "history", "temporary internet files",
    },
    "users/*/documents": {
        "ma musique", "my music", "mes images", "my pictures", "mes vidéos", "my videos",
    },
}  # fmt: skip


def is_legacy_junction(stored: bytes) -> bool:
    """Return whether a Windows folder that refuses to be listed is one of the old names.

    Only asked when the listing was refused: a folder of that name with files in it is read as any other.

    Args:
        stored: the path as stored, «C/Users/anne/Cookies».
    """
    parts = stored.decode("utf-8", "replace").lower().split("/")[1:]
    if not parts:
        return False
    place = parts[:-1]
    if len(place) > 1 and place[0] == "users":
        place[1] = "*"
    return parts[-1] in _JUNCTIONS.get("/".join(place), ())
