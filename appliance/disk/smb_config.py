"""What Samba is told: one plan of plain values, checked field by field, written as smb.conf.

Pure. The plan is made by the worker; the helper that runs as root takes nothing else from it: a text of
smb.conf could name programs that run as root, a plan cannot (docs/decisions/0169).
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from appliance.errors import InvalidInput
from appliance.language import mark
from appliance.policy.local_networks import BUILDING, Network

#: Unix accounts of people: ``armoire-p<id>``, never a name that the system has.
ACCOUNT: Final = "armoire-p"
#: Their user numbers begin here; one for each person.
FIRST_UID: Final = 58_000
MOST_PEOPLE: Final = 1_900
#: Where the recycle module puts what was deleted, below a share; ``smb_bin`` gives it to the bin.
RECYCLED: Final = ".armoire/bin/smb"
#: Of a share that shows its snapshots: folders ``@GMT-…``, mounted read-only (``smb_versions``).
SNAPSHOT_FORMAT: Final = "@GMT-%Y.%m.%d-%H.%M.%S"
#: KiB of audit lines before Samba begins a new file; the follower reads the old one to its end.
AUDIT_KIB: Final = 5_000

_SHARE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]")
_UNIX: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_NETBIOS: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{0,14}")
_FOLDER: Final = re.compile(r"(/[^/%\"\\;#\x00-\x1f\x7f]+)+")


@dataclass(frozen=True, slots=True)
class SmbPerson:
    """Somebody who may sign in over SMB."""

    id: int
    login: str

    @property
    def account(self) -> str:
        """The name of their Unix account, and of their SMB password."""
        return f"{ACCOUNT}{self.id}"

    @property
    def uid(self) -> int:
        """The number of their Unix account."""
        return FIRST_UID + self.id


@dataclass(frozen=True, slots=True)
class SmbShare:
    """A share as SMB knows it: who reads, and who of them writes. SMB has nothing between the two."""

    id: int
    name: str
    label: str
    folder: str  # absolute
    readers: tuple[int, ...]  # ids of people; writers are among them
    writers: tuple[int, ...] = ()
    is_time_machine: bool = False
    quota_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SmbPlan:
    """Everything Samba is to know; what is not in it has no access."""

    name: str  # of the box in the file explorer, NetBIOS letters
    description: str
    networks: tuple[str, ...]  # CIDR, local ones only
    people: tuple[SmbPerson, ...] = ()
    shares: tuple[SmbShare, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Places:
    """What the box's own unit decides, and no plan can: folders, accounts, the port."""

    base: Path  # root only: configuration, passwords, state of Samba
    run: Path  # on tmpfs: process numbers, audit lines
    owner: str  # every file belongs to it, whoever wrote it
    group: str
    roots: tuple[Path, ...]  # shares lie below one of them
    versions: Path | None = None  # ``<versions>/<share>/@GMT-…``, mounted read-only
    port: int = 445
    avahi: Path | None = None  # its folder of services, where avahi is installed

    @property
    def config(self) -> Path:
        """The smb.conf in use."""
        return self.base / "smb.conf"

    @property
    def audit(self) -> Path:
        """Where Samba writes who did what, in memory only: it names documents."""
        return self.run / "audit" / "audit.log"


def from_json(values: Mapping[str, Any]) -> SmbPlan:
    """Return the plan in ``values``, every field checked: the helper believes nobody.

    Raises:
        InvalidInput: a field is missing, unknown, or holds what it may not.
    """
    try:
        plan = SmbPlan(
            name=_match(_NETBIOS, values["name"]),
            description=plain(str(values["description"])),
            networks=tuple(str(local_network(str(each))) for each in values["networks"]),
            people=tuple(
                SmbPerson(_number(each["id"], MOST_PEOPLE), _match(_LOGIN, each["login"]))
                for each in values["people"]
            ),
            shares=tuple(_share(each) for each in values["shares"]),
        )
        if set(values) != {"name", "description", "networks", "people", "shares"}:
            raise InvalidInput("plan", mark("This is not a plan for Samba."))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput("plan", mark("This is not a plan for Samba.")) from error
    known = {each.id for each in plan.people}
    names = [each.name for each in plan.shares]
    logins = [each.login for each in plan.people]
    for share in plan.shares:
        if not set(share.writers) <= set(share.readers) <= known:
            raise InvalidInput("plan", mark("This is not a plan for Samba."))
    if (
        len(set(names)) != len(names)
        or len(set(logins)) != len(logins)
        or len(known) != len(logins)
    ):
        raise InvalidInput("plan", mark("This is not a plan for Samba."))
    return plan


def check_folder(folder: str, roots: Sequence[Path]) -> Path:
    """Return the folder of a share when it lies below one of ``roots``.

    Raises:
        InvalidInput: it does not, or its name could be read as something else in smb.conf.
    """
    place = PurePosixPath(folder)
    if (
        not _FOLDER.fullmatch(folder)
        or any(each in {".", ".."} for each in folder.split("/"))
        or folder != folder.strip()
        or not any(PurePosixPath(root) in place.parents for root in roots)
    ):
        raise InvalidInput(
            "folder", mark("This folder is not one that the file explorer may open.")
        )
    return Path(folder)


def local_network(text: str) -> Network:
    """Return a declared network.

    Raises:
        InvalidInput: it is none, or reaches beyond the networks of a building (domain.md SEC-11).
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidInput("network", mark("This is not a local network.")) from error
    for local in BUILDING:
        if network.version == local.version and network.subnet_of(local):  # type: ignore[arg-type]
            return network
    raise InvalidInput("network", mark("This is not a local network."))


def listening(networks: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the addresses of the box that lie in a declared network: the only ones Samba may bind.

    Args:
        networks: CIDR, as declared.
        own: the addresses of the box's interfaces.
    """
    declared = [local_network(each) for each in networks]
    found = []
    for text in own:
        address = ipaddress.ip_address(text.partition("%")[0])
        if address.version == 6 and address.is_link_local:  # no interface could be named with it
            continue
        if any(address.version == each.version and address in each for each in declared):
            found.append(str(address))
    return sorted(set(found))


def plain(text: str) -> str:
    """Return a label as smb.conf can hold it: no variables, quotes, escapes or line ends."""
    kept = "".join(each for each in text if each.isprintable() and each not in '%\\"#;=[]')
    return kept.strip()[:200]


def user_map(plan: SmbPlan) -> str:
    """Return Samba's map of the names people type to their accounts. Source: smb.conf(5), «username map»."""
    return "".join(f'!{each.account} = "{each.login}"\n' for each in plan.people)


def render(plan: SmbPlan, places: Places, addresses: Sequence[str], *, mark: str = "") -> str:
    """Return the smb.conf of a plan; with no address or no share it listens on the box itself only.

    Args:
        plan: checked.
        places: of the unit.
        addresses: of the box, out of ``listening``.
        mark: begins each audit line. A name that holds a line end could forge one, but for this.

    Source: smb.conf(5), vfs_acl_xattr(8), vfs_full_audit(8), vfs_recycle(8), vfs_fruit(8), vfs_shadow_copy2(8) of Samba 4.17.
    """
    base, run = places.base, places.run
    lines = [
        "# Written by Armoire; changes made here are lost.",
        "[global]",
        "server role = standalone server",
        f"netbios name = {plan.name}",
        f"server string = {plan.description or 'Armoire'}",
        "disable netbios = yes",
        f"smb ports = {places.port}",
        # Addresses, not names of interfaces: an interface can carry an outside address too.
        f"interfaces = {' '.join(addresses) or '127.0.0.1'}",
        "bind interfaces only = yes",
        f"hosts allow = {' '.join(['127.0.0.1', *plan.networks])}",
        "hosts deny = ALL",
        "server min protocol = SMB3",
        "server signing = mandatory",
        "server smb encrypt = desired",
        "restrict anonymous = 2",
        "map to guest = Never",
        "ntlm auth = ntlmv2-only",
        "usershare max shares = 0",
        "load printers = no",
        "printing = bsd",
        "printcap name = /dev/null",
        "disable spoolss = yes",
        # Announced by the box itself, where it may be (smb_discovery).
        "multicast dns register = no",
        "unix password sync = no",
        f"username map = {base / 'users.map'}",
        f"passdb backend = tdbsam:{base / 'private' / 'passdb.tdb'}",
        f"private dir = {base / 'private'}",
        f"state directory = {base / 'state'}",
        f"cache directory = {base / 'cache'}",
        f"lock directory = {run / 'lock'}",
        f"pid directory = {run}",
        f"ncalrpc dir = {run / 'ncalrpc'}",
        "logging = file",
        f"log file = {run / 'smbd.log'}",
        # Only the audit says anything, and into memory: its lines name documents (beam 7).
        f"log level = 0 full_audit:1@{places.audit}",
        f"max log size = {AUDIT_KIB}",
        "timestamp logs = no",
        "access based share enum = yes",
        "hide unreadable = yes",
        "unix extensions = no",
        "wide links = no",
        "follow symlinks = no",
        # Rights are the box's own; nobody changes those of a file in its «Security» tab. And who may write a share
        # may open its files for «full control», as Windows programs ask: the share's «read only» is what holds
        # readers back. Files are still 0660, folders 2770: they inherit (docs/decisions/0197).
        "nt acl support = no",
        "acl_xattr:ignore system acls = yes",
        "acl_xattr:default acl style = everyone",
        "inherit permissions = yes",
        "map archive = no",
        "map readonly = no",
        "store dos attributes = yes",
        "ea support = yes",
        "fruit:metadata = stream",
        "fruit:model = MacSamba",
        "fruit:posix_rename = yes",
        "fruit:nfs_aces = no",
        "fruit:veto_appledouble = no",
        "fruit:delete_empty_adfiles = yes",
        f"full_audit:prefix = {mark}%U|%I|%S",
        "full_audit:success = connect create_file renameat unlinkat mkdirat",
        "full_audit:failure = connect",
        "full_audit:syslog = no",
        f"recycle:repository = {RECYCLED}/%U",
        "recycle:keeptree = yes",
        "recycle:versions = yes",
        "recycle:touch = no",
        "recycle:directory_mode = 0770",
        "recycle:subdir_mode = 0770",
        "recycle:exclude = ~$* .DS_Store ._*",
    ]
    accounts = {each.id: each.account for each in plan.people}
    for share in plan.shares:
        if share.readers:
            lines += _section(share, places, accounts)
    return "\n".join(lines) + "\n"


def _section(share: SmbShare, places: Places, accounts: Mapping[int, str]) -> list[str]:
    writers = " ".join(accounts[each] for each in share.writers)
    # The bin comes last: above the streams it would swallow the deletion of a stream (a Mac's resource fork).
    modules = ["full_audit", "acl_xattr", "catia", "fruit", "streams_xattr", "recycle"]
    more = []
    if share.is_time_machine:
        # Bands of a disk image come and go by thousands: neither a bin nor a journal of them helps.
        modules = ["acl_xattr", "catia", "fruit", "streams_xattr"]
        more.append("fruit:time machine = yes")
        if share.quota_bytes is not None:
            more.append(f"fruit:time machine max size = {share.quota_bytes}")
    elif places.versions is not None:
        # The longest part of the tree that is shadowed is the share itself.
        modules.insert(1, "shadow_copy2")
        more += [
            f"shadow:mountpoint = {share.folder}",
            f"shadow:snapdir = {places.versions / share.name}",
            "shadow:basedir = " + share.folder,
            "shadow:sort = desc",
            f"shadow:format = {SNAPSHOT_FORMAT}",
            "shadow:localtime = no",
        ]
    return [
        f"[{share.name}]",
        f"comment = {plain(share.label)}",
        f"path = {share.folder}",
        f"valid users = {' '.join(accounts[each] for each in share.readers)}",
        "read only = yes",
        *([f"write list = {writers}"] if writers else []),
        f"force user = {places.owner}",
        f"force group = {places.group}",
        "veto files = /.armoire/",
        f"vfs objects = {' '.join(modules)}",
        *more,
    ]


def _share(values: Mapping[str, Any]) -> SmbShare:
    quota = values["quota_bytes"]
    return SmbShare(
        id=_number(values["id"], 2**31),
        name=_match(_SHARE, values["name"]),
        label=plain(str(values["label"])),
        folder=str(values["folder"]),
        readers=tuple(_number(each, MOST_PEOPLE) for each in values["readers"]),
        writers=tuple(_number(each, MOST_PEOPLE) for each in values["writers"]),
        is_time_machine=values["is_time_machine"] is True,
        quota_bytes=None if quota is None else _number(quota, 2**62),
    )


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 < value < most:
        raise ValueError
    return value


def _match(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError
    return value


def check_unix_name(name: str) -> str:
    """Return the name of an account or a group of the unit.

    Raises:
        InvalidInput: it could be read as something else.
    """
    if not _UNIX.fullmatch(name):
        raise InvalidInput("account", mark("This is not the name of an account."))
    return name
