"""A box in which every page has something to show, and the address of an example of each page."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fastapi.routing import APIRoute
from sqlalchemy import Connection

from appliance.accounts import (
    app_passwords,
    emergency,
    locums,
    notice_ways,
    notices,
    oidc_providers,
    passwords,
    people,
    review,
    sessions,
    tunnel,
)
from appliance.clock import utc_now
from appliance.db import facts, restore_sheets, sources, workers
from appliance.db.shares import Share
from appliance.disk import access, actions, links, quarantine, set_up, uploads
from appliance.disk.actions import Doer
from appliance.jobs import queue, recovery_status
from appliance.jobs.kinds import RestoreFolder, SetUpSource
from appliance.jobs.recovery_status import Phase, RecoveryStatus, RepositoryLine, ShareLine
from appliance.language import mark
from appliance.ledger import proofs
from appliance.model import JobId, Outcome, Person, RestoreSheet, Role
from appliance.packed import pack_path
from appliance.policy import drills
from appliance.policy.drills import Drill
from appliance.policy.drills import RepositoryLine as DrillLine
from appliance.policy.notice_ways import Kind, MailServer, Security
from appliance.policy.outside_links import ASK, GIVE, Rules
from appliance.policy.share_rights import Right
from appliance.replication import kit
from appliance.settings import Settings
from appliance.web.routes import ROUTERS
from tests.support.box import Box
from tests.support.browser import at_free_port, served
from tests.support.preview import PreviewProcess
from tests.support.reading import ReaderProcess
from tests.web.copied import add_transfer, fill_copies
from tests.web.practice import add_running_job, fill

PASSWORD = "Trois-lampes9"
PDF = b"%PDF-1.4\n%%EOF\n"
GB = 1_000_000_000
LETTER = "Courriers/Lettre à Dr Petit.txt"

#: Doors that answer with a file, figures or another address: no page of ours.
NO_PAGE = {
    "home",  # goes on to the disk, or to how the box does
    "browse-at",  # goes on to a night
    "copy-paper",
    "disk_file",
    "disk_past_zip",
    "disk_version",
    "file",
    "ledger-account-csv",
    "link_file",
    "link_received",
    "link_zip",
    "metrics",
    "network-firewall",  # a file of rules
    "preview_info",
    "preview_past_info",
    "preview_past_picture",
    "preview_past_pixels",
    "preview_picture",
    "preview_pixels",
    "preview_snapshot_info",
    "preview_snapshot_picture",
    "preview_snapshot_pixels",
    "sign-in-outside",
    "sign-in-outside-back",
    "trust-crt",
    "trust-profile",
    "welcome-go",  # goes on to a step's page
}


@dataclass(frozen=True)
class FilledBox:
    """A served box, its owner signed in."""

    address: str
    token: str  # of the owner's session
    half_token: str  # of a session that owes its second factor
    places: dict[str, str]  # of a path's parameters
    given: str  # /l/… that asks for a password
    opened: str  # /l/… of a folder, without a password
    asked: str  # /l/… that takes files, without a password

    def example(self, route: APIRoute) -> str:
        """Return an address of a route's page: the places of its path filled in, its query added.

        Raises:
            KeyError: a place is new here; give it a value in ``filled``.
        """
        places = dict(self.places)
        # «{name}» is a copy's or a share's.
        places["name"] = "documents" if route.path.startswith("/shares") else "hebergeur"
        if route.path.startswith("/preview/") or route.name.startswith("preview_snapshot"):
            places["snapshot_id"] = places["share_snapshot_id"]
        if route.name == "disk_restoring":
            places["job_id"] = places["back_job_id"]
        path = re.sub(r"\{(\w+)\}", lambda found: places[found[1]], route.path)
        if route.name == "preview_snapshot":
            return f"{path}?p={places['share_path']}"
        return path + _QUERIES.get(route.name, "")


_QUERIES = {
    "search": "?q=radio",
    "history": "?p=" + pack_path("home/accueil/Patients/Dupont Élise/Courrier du 12 mars.txt".encode()),
    "disk_versions": "?p=" + pack_path(LETTER.encode()),
    "ledger-document": "?p=" + pack_path(LETTER.encode()),
    "preview": "?p=" + pack_path(LETTER.encode()),
    "preview_past": "?p=" + pack_path(LETTER.encode()),
    "link_new": "?kind=give&share=documents&p=" + pack_path(b"Courriers"),
}  # fmt: skip


def page_routes() -> list[APIRoute]:
    """Return the routes that answer a browser with a page; what NO_PAGE names, programs' doors and fragments are left out."""
    found = [
        route
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        and "GET" in route.methods
        and not route.path.startswith(("/api/", "/live/"))
        and route.name not in NO_PAGE
    ]
    return sorted(found, key=lambda route: route.path)


@contextmanager
def filled(settings: Settings) -> Iterator[FilledBox]:
    """Fill and serve a box whose data folder is empty."""
    now = utc_now()
    box = Box(settings.data)
    practice = fill(box.database, box.settings, now)
    copied = fill_copies(box.database, box.settings, now)
    add_transfer(box.database, copied.bucket, now)
    job = add_running_job(box.database, practice.machine, now)
    with box.database.write() as connection:
        workers.beat(connection, "tests:1", now=now)
        owner = _person(connection, "claire.martin", "Dr Claire Martin", Role.OWNER, now)
        share = set_up.make_share(
            connection, box.settings, name="documents", label="Documents du cabinet",
            person_id=owner.id, now=now,
        )  # fmt: skip
        source = sources.get_by_name(connection, "documents")
    box.settings.repositories.mkdir(mode=0o700)
    box.run(SetUpSource(source.id))
    _fill_share(share)
    box.night(source)
    (share.folder / LETTER).write_text("Cher confrère, voici la suite.\n")
    (share.folder / "Ordonnance 30.txt").unlink()
    shared_night = box.night(source)
    places = {
        "source_id": str(practice.machine.id),
        "snapshot_id": str(practice.snapshots[practice.machine.id][-1]),
        "share_snapshot_id": str(shared_night.id),
        "share": "documents",
        "share_path": pack_path(os.fsencode(share.folder / LETTER).lstrip(b"/")),
        "job_id": str(job),
    }
    with box.database.write() as connection:
        places["back_job_id"] = str(
            queue.enqueue(
                connection,
                RestoreFolder(
                    source.id, shared_night.id, share.id, pack_path(b"Courriers"),
                    pack_path(os.fsencode(share.folder).lstrip(b"/") + b"/Courriers"), "0" * 32,
                ),
                now=now, person_id=owner.id,
            )
        )  # fmt: skip
        places |= _people(connection, box, owner, share, now)
        places |= _sheets(connection, source.id, shared_night.id, job, now)
        kit.make(connection, box.settings.keys, now=now)
        token = _session(connection, owner, now)
        half = _session(connection, owner, now, is_half=True)
    addresses = _links(box, owner, share, places, now)
    recovery_status.write_report(box.settings, _recovery(now))
    served_at = at_free_port(box.settings)
    try:
        with ReaderProcess(served_at), PreviewProcess(served_at), served(served_at) as address:
            yield FilledBox(address, token, half, places, *addresses)
    finally:
        box.close()


def _person(connection: Connection, login: str, name: str, role: Role, now: datetime) -> Person:
    return people.add(
        connection, login=login, name=name, role=role, language="fr",
        password_hash=passwords.make_hash(PASSWORD), now=now - timedelta(days=2),
    )  # fmt: skip


def _session(connection: Connection, whom: Person, now: datetime, *, is_half: bool = False) -> str:
    return sessions.start(
        connection, whom.id, now=now, address="127.0.0.1", user_agent="Firefox Windows",
        is_half=is_half,
    )  # fmt: skip


def _fill_share(share: Share) -> None:
    for name in ("Courriers", "Imagerie/2026", "Comptabilité"):
        (share.folder / name).mkdir(parents=True)
    (share.folder / LETTER).write_text("Chère consœur,\n" * 30)
    (share.folder / "Imagerie" / "2026" / "compte rendu.pdf").write_bytes(PDF)
    for number in range(30):
        (share.folder / f"Ordonnance {number + 1}.txt").write_text("Paracétamol\n")
    # As long as a name may be, and one that is no text.
    (share.folder / ("Compte rendu opératoire " + "très " * 35 + "long.txt")).write_bytes(b"x")
    (share.folder / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")


def _people(
    connection: Connection, box: Box, owner: Person, share: Share, now: datetime
) -> dict[str, str]:
    """Let others in, one of them in an emergency; return the places of their pages."""
    associate = _person(connection, "hugo.petit", "Dr Hugo Petit", Role.ASSOCIATE, now)
    _person(connection, "lea.bernard", "Léa Bernard", Role.SECRETARY, now)
    set_up.give_rights(
        connection, share, {Right.SEE, Right.ADD}, role=Role.SECRETARY, by=owner.id, now=now
    )
    whom = people.add(
        connection, login="paul.durand", name="Dr Paul Durand", role=Role.LOCUM, language="fr",
        password_hash=None, now=now,
    )  # fmt: skip
    term = locums.prepare(
        connection, person_id=whom.id, replaces_id=owner.id, by=owner, rpps="10001234567",
        starts_at=now - timedelta(minutes=5), ends_at=now + timedelta(days=7),
        wanted={share.id: frozenset({Right.SEE})}, now=now,
    )  # fmt: skip
    taken = emergency.begin(
        connection, associate, share_id=share.id, beneficiary="Tom Le Gall",
        reason="Une patiente du Dr Martin fait une réaction, elle est absente", now=now,
    )  # fmt: skip
    app_passwords.make(
        connection, owner.id, kind=app_passwords.Kind.API, label="Tableau de bord",
        scope=[app_passwords.Scope.STATUS_READ], now=now,
    )  # fmt: skip
    tunnel.add(connection, owner.id, "Téléphone", tunnel.make_keys()[1], by=owner.id, now=now)
    notices.put(
        connection, "locum.prepared",
        mark("%(sponsor)s prepared a replacement of you by %(locum)s, until %(ends_at)s."),
        {"sponsor": "Dr Petit", "locum": "Dr Paul Durand", "ends_at": now, "href": "/locums/1"},
        person_id=owner.id, now=now,
    )  # fmt: skip
    mails = MailServer("smtp.cabinet.example", 465, Security.TLS, "boitier@cabinet.example")
    notice_ways.put_mail_server(connection, mails, None, by=owner.id, now=now)
    for whose in (None, owner.id):
        way = notice_ways.add(
            connection, person_id=whose, kind=Kind.EMAIL, label="lilas@cabinet.example",
            topics=["account"], by=owner.id, now=now,
        )  # fmt: skip
        notice_ways.failed(connection, way.id, "password", now=now)
    service = replace(oidc_providers.pro_sante_connect(), client_id="cabinet-des-lilas")
    oidc_providers.put(connection, service, None, box.settings.tls, by=owner.id, now=now)
    every = review.lines(connection, now=now)
    review.sign(
        connection, by=owner, confirmed={each.person_id for each in every},
        seen_digest=review.digest(every), name=owner.name, now=now,
    )  # fmt: skip
    return {"term_id": str(term.id), "access_id": str(taken.id), "provider_id": service.id}


def _sheets(
    connection: Connection, source: int, snapshot: int, job: int, now: datetime
) -> dict[str, str]:
    """Write a restore and a drill; return the places of their sheets."""
    sheet = restore_sheets.add(
        connection,
        RestoreSheet(
            id=0, job_id=JobId(job), source_id=source, snapshot_id=snapshot,
            operator="Dr Claire Martin", requested_by="Dr Hugo Petit", files=2, bytes=4200,
            snapshot_at=now - timedelta(hours=9), restored_at=now, destination="browser",
            check=Outcome.PROVEN, figures={},
        ),
        paths=[pack_path("home/accueil/Patients/Dupont Élise".encode())],
    )  # fmt: skip
    drill = Drill(
        "Hébergeur Exemple", 9, (now - timedelta(hours=5)).isoformat(), data_age_s=40_000,
        state_s=3.2, first_document_s=8.4, restored_s=185.0, total_s=201.0, files=412,
        bytes=3_200_000_000,
        repositories=(DrillLine(1, "Poste accueil", 300, 2_400_000_000, 92.0, "right"),),
        documents=28, documents_same=28, segments=380, segments_same=371, segments_gone=9,
        secrets=11, secrets_same=11, ledger_entries=1204, dmia_s=86_400, pdma_s=86_400,
    )  # fmt: skip
    proof = proofs.record(
        connection, at=now, kind=drills.PROOF, outcome=drill.outcome,
        figures=drills.to_figures(drill),
    )  # fmt: skip
    facts.put(connection, "practice.name", "Cabinet des Lilas", now=now)
    return {"sheet_id": str(sheet), "seq": str(proof.seq)}


def _links(
    box: Box, owner: Person, share: Share, places: dict[str, str], now: datetime
) -> tuple[str, str, str]:
    """Make the three kinds of links, delete something, receive something; return the addresses."""
    with box.database.read() as connection:
        held = access.on_share(connection, owner, "documents", now=now)
    doer = Doer(owner.id, "web")
    uploads.put(box.database, held, b"brouillon.txt", 3, [b"abc"], doer=doer, now=now)
    actions.delete(box.database, held, b"brouillon.txt", doer=doer, now=now)
    rules = Rules(frozenset({"documents", "dicom"}))
    made = [
        links.make(
            box.database, held, b"Courriers", kind=kind, person_id=owner.id,
            label="Dr Petit, radiologie", days=7, now=now, rules=rules if kind == ASK else None,
            hash_password=passwords.make_hash if has_password else None,
        )
        for kind, has_password in ((GIVE, True), (GIVE, False), (ASK, False))
    ]  # fmt: skip
    with box.database.read() as connection:
        opened = links.open_link(connection, made[2].token, now=now)
    token = quarantine.begin(box.database, opened, b"bilan.pdf", len(PDF), now=now)
    with box.database.read() as connection:
        one = quarantine.find(connection, token, opened.link)
    (share.folder / ".armoire" / "parts" / one.part).write_bytes(PDF)
    received = quarantine.receive(box.database, opened, one, address="192.0.2.7", now=now)
    places |= {
        "link_id": str(made[2].link.id),
        "received_id": str(received.id),
        "token": made[1].token,
    }
    first, second, third = (f"/l/{each.token}" for each in made)
    return first, second, third


def _recovery(now: datetime) -> RecoveryStatus:
    return RecoveryStatus(
        phase=Phase.DONE, at=now, started_at=now - timedelta(minutes=46),
        place="Hébergeur certifié de Lyon", number=212, taken_at=now - timedelta(hours=9),
        state_at=now - timedelta(minutes=45), readable_at=now - timedelta(minutes=44),
        finished_at=now, bytes_total=41 * GB, bytes_back=41 * GB, documents_read=4,
        repositories=(
            RepositoryLine(0, "Boîtier", "box", GB, "right", 21.0),
            RepositoryLine(3, "Partage du cabinet", "share", 12 * GB, "right", 900.0),
        ),
        shares=(ShareLine(3, "Partage du cabinet", "/srv/partage", "back", now, 48_211, 9 * GB, 2),),
    )  # fmt: skip
