"""Who may do what: one table, closed by default (domain.md SEC-03, SAV-04).

The technical administrator keeps the box running and sees no document: neither contents nor names,
for the name of a document is a patient's datum too. The secretary sees whether the night went well;
shares of her own come with the network disk. Who opened the sealed envelope lets in those who cannot come in
any more, and does nothing else: what is to be done then is done in their own names. The sheets that open every copy, and the word on what a
place is to the practice, are an owner doctor's. A locum has no right here until the practice gives one.
"""

from enum import StrEnum
from typing import Final

from appliance.language import mark
from appliance.model import Role


class Action(StrEnum):
    """Something a person may ask for."""

    STATUS_SEE = "status.see"  # the home page: the sentence, the calendar, what needs doing
    SOURCES_SEE = "sources.see"  # a source's plan, sizes, snapshots as dates; no file name
    SOURCES_CHANGE = "sources.change"
    BACKUP_START = "backup.start"
    SNAPSHOT_BROWSE = "snapshot.browse"  # names of files: also search, history, comparison
    FILE_OPEN = "file.open"
    FILE_RESTORE = "file.restore"
    FILE_RESTORE_TO_MACHINE = "file.restore-to-machine"
    SNAPSHOT_PROTECT = "snapshot.protect"
    PRUNE_RUN = "prune.run"
    ANOMALY_CLOSE = "anomaly.close"
    LEDGER_SEE = "ledger.see"
    JOBS_SEE = "jobs.see"
    JOBS_CANCEL = "jobs.cancel"
    PEOPLE_CHANGE = "people.change"
    #: See the accounts, open one, make a one-time link, forget a lost second factor.
    PEOPLE_LET_IN = "people.let-in"
    ENVELOPE_SEAL = "envelope.seal"  # the account in the safe (SEC-04)
    SETTINGS_CHANGE = "settings.change"
    COPIES_SEE = "copies.see"  # where sealed copies lie and what was proven about them
    COPIES_CHANGE = "copies.change"  # add, test, push, verify, pace, remove
    #: What a place is to the practice, and the host's dossier: an owner doctor's word (HDS-01).
    COPIES_DECLARE = "copies.declare"
    KIT_PRINT = "kit.print"  # make, print and confirm the sheets that open every copy
    DRILL_RUN = "drill.run"
    DISK_USE = "disk.use"  # the network disk; what may be done there is of each share (policy.share_rights)
    SHARES_CHANGE = "shares.change"  # make shares, give rights on them
    LINKS_SEE_ALL = "links.see-all"  # every correspondent's link, not only one's own
    #: Prepare, extend and end a locum's term; an associate for their own replacement only.
    LOCUMS_CHANGE = "locums.change"
    EMERGENCY_TAKE = "emergency.take"  # «bris de glace»
    EMERGENCY_REVIEW = "emergency.review"
    NETWORK_CHANGE = "network.change"  # certificate, local networks, tunnel
    FIRST_STEPS = "first-steps"  # the assistant of the first day, and how far it is


#: The whole of what is allowed; whatever is not written here is refused.
ALLOWED: Final[dict[Role, frozenset[Action]]] = {
    Role.OWNER: frozenset(Action),
    Role.ASSOCIATE: frozenset(
        {
            Action.STATUS_SEE,
            Action.SOURCES_SEE,
            Action.BACKUP_START,
            Action.SNAPSHOT_BROWSE,
            Action.FILE_OPEN,
            Action.FILE_RESTORE,
            Action.FILE_RESTORE_TO_MACHINE,
            Action.SNAPSHOT_PROTECT,
            Action.JOBS_SEE,
            Action.LEDGER_SEE,
            Action.COPIES_SEE,
            Action.DRILL_RUN,
            Action.DISK_USE,
            Action.LOCUMS_CHANGE,
            Action.EMERGENCY_TAKE,
        }
    ),
    Role.SECRETARY: frozenset({Action.STATUS_SEE, Action.DISK_USE}),
    Role.LOCUM: frozenset({Action.DISK_USE, Action.EMERGENCY_TAKE}),
    Role.TECHNICAL_ADMIN: frozenset(
        {
            Action.STATUS_SEE,
            Action.SOURCES_SEE,
            Action.SOURCES_CHANGE,
            Action.BACKUP_START,
            Action.LEDGER_SEE,
            Action.JOBS_SEE,
            Action.JOBS_CANCEL,
            Action.SETTINGS_CHANGE,
            Action.COPIES_SEE,
            Action.COPIES_CHANGE,
            Action.NETWORK_CHANGE,
        }
    ),
    Role.SEALED_ENVELOPE: frozenset({Action.STATUS_SEE, Action.LEDGER_SEE, Action.PEOPLE_LET_IN}),
}

#: Roles that no document is ever shown to, whatever was granted.
WITHOUT_DOCUMENTS: Final = frozenset({Role.TECHNICAL_ADMIN, Role.SEALED_ENVELOPE})

ROLE_NAMES: Final[dict[Role, str]] = {
    Role.OWNER: mark("practice owner"),
    Role.ASSOCIATE: mark("associate"),
    Role.LOCUM: mark("locum"),
    Role.SECRETARY: mark("medical secretary"),
    Role.TECHNICAL_ADMIN: mark("technical administrator"),
    Role.SEALED_ENVELOPE: mark("sealed envelope"),
}


def may(role: Role, action: Action) -> bool:
    """Return whether a person of this role may do this."""
    return action in ALLOWED.get(role, frozenset())
