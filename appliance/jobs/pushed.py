"""What can be seen of a repository that a machine pushes into, without opening it: for planner and import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import RepositoryMissing

#: In the source's facts: the transaction of the last import.
SEEN: Final = "push_seen_transaction"


@dataclass(frozen=True, slots=True)
class PushState:
    """What lies in a repository, seen without opening it."""

    transaction: int  # of the last commit: grows with every change; 0: nothing was committed yet
    is_busy: bool  # somebody holds it now: a push is going on


def push_state(repository: Path) -> PushState:
    """Return what can be seen of a repository in one listing; nothing is opened, no key is needed.

    Raises:
        RepositoryMissing: it is not at its place.

    Source: Borg 1.4 internals, «Repository»: ``index.<transaction>``, ``lock.exclusive``, ``lock.roster``.
    """
    try:
        names = [entry.name for entry in repository.iterdir()]
    except OSError as error:
        raise RepositoryMissing(str(repository)) from error
    if "config" not in names:
        raise RepositoryMissing(str(repository))
    transactions = [
        int(number)
        for kind, _dot, number in (name.partition(".") for name in names)
        if kind == "index" and number.isdecimal()
    ]
    return PushState(max(transactions, default=0), "lock.exclusive" in names)


def new_pushes(repository: Path, *seen: object) -> bool:
    """Return whether a machine pushed since, and is not pushing now. Costs one listing.

    Args:
        repository: its folder.
        seen: transactions that were read, or asked to be; None stands for none.

    Raises:
        RepositoryMissing: it is not at its place.
    """
    state = push_state(repository)
    # «not in» and not «>»: a repository that went back is to be looked at too.
    return state.transaction > 0 and not state.is_busy and state.transaction not in seen
