"""Making an account: who it is for, under which name, with which password."""

import re
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from appliance.accounts import links, people
from appliance.db import facts, practice
from appliance.errors import InvalidInput, LinkExpired
from appliance.language import Language, mark
from appliance.ledger import events
from appliance.model import Person, Role

_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}[a-z0-9]")


def make(
    connection: Connection,
    token: str,
    *,
    login: str,
    name: str,
    password_hash: str,
    language: Language,
    now: datetime,
) -> Person:
    """Use the first link up and make the owner's account, inside the caller's write; return it.

    Raises:
        LinkExpired: the link was used, has ended, or an account exists.
        InvalidInput: the name or the login cannot be used; the link stays good.
    """
    check_names(login, name)
    link = links.use(connection, token, now=now)
    if link.person_id is not None:
        raise LinkExpired
    made = people.add(
        connection,
        login=login,
        name=" ".join(name.split()),
        role=Role.OWNER,
        language=language,
        password_hash=password_hash,
        now=now,
    )
    facts.put(connection, practice.LANGUAGE, language, now=now)
    events.record(
        connection,
        at=now,
        event="person.add",
        subject=f"person:{made.id}",
        person_id=made.id,
        role=made.role.value,
    )
    return made


def check_names(login: str, name: str) -> None:
    """Check the name and the login of a new account.

    Raises:
        InvalidInput: one is missing, malformed, or not of one person (domain.md SEC-01).
    """
    if not 3 <= len(" ".join(name.split())) <= 200:
        raise InvalidInput("name", mark("Give first name and last name."))
    if not _LOGIN.fullmatch(login):
        raise InvalidInput(
            "login",
            mark("Use 3 to 64 small letters without accents, digits, dots or dashes."),
        )
    if _is_generic(login):
        raise InvalidInput(
            "login",
            mark(
                "An account belongs to one person. Use a name of yours, such as «claire.martin»,"
                " not a function."
            ),
        )


_GENERIC: Final = frozenset(
    [
        "admin",
        "administrateur",
        "administrator",
        "accueil",
        "assistant",
        "assistante",
        "bureau",
        "cabinet",
        "caisse",
        "comptable",
        "compta",
        "docteur",
        "doctor",
        "dr",
        "guest",
        "infirmier",
        "infirmiere",
        "informatique",
        "interne",
        "invite",
        "laboratoire",
        "local",
        "maintenance",
        "medecin",
        "medecins",
        "office",
        "owner",
        "poste",
        "pro",
        "public",
        "radio",
        "reception",
        "remplacant",
        "remplacante",
        "root",
        "sauvegarde",
        "secretaire",
        "secretariat",
        "service",
        "shared",
        "stagiaire",
        "support",
        "systeme",
        "system",
        "temp",
        "test",
        "titulaire",
        "user",
        "utilisateur",
        "armoire",
        "backup",
        "borg",
    ]
)


def _is_generic(login: str) -> bool:
    words = [word for word in re.split(r"[._-]|\d+", login) if word]
    return not words or all(word in _GENERIC for word in words)
