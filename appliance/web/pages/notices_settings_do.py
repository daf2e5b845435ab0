"""What is done on the page of notices that leave the box: ways, the e-mail server, when, the outside monitor.

The web seals what is secret; only the worker opens it and sends.
"""

from contextlib import suppress
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import deliveries, notice_ways
from appliance.accounts.notice_ways import Way
from appliance.clock import utc_now
from appliance.errors import AlreadyQueued, InvalidInput, NotFound
from appliance.jobs import queue
from appliance.jobs.kinds import SendNotices
from appliance.language import translate
from appliance.policy import notice_ways as policy
from appliance.policy.notice_ways import Kind, MailServer
from appliance.policy.roles import Action
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs, proven
from appliance.web.pages.notices_settings import Filled, settings_page, topics_of
from appliance.web.render import words_of

router = APIRouter(prefix="/notices/settings", include_in_schema=False)

LONGEST: Final = 20_000
#: Fields that are not shown again.
_SECRET: Final = frozenset({"password", "url", "ping"})
_SETTING: Final = [needs(Action.SETTINGS_CHANGE), proven()]


class _Form:
    """What was typed, in one place."""

    def __init__(self, name: str, values: dict[str, str], topics: list[str]) -> None:
        self.name, self.values, self.topics = name, values, topics

    def __getitem__(self, field: str) -> str:
        return self.values.get(field, "")

    def filled(self) -> Filled:
        """Return what is shown again."""
        return Filled(self.name, tuple((n, v) for n, v in self.values.items() if n not in _SECRET))


async def _read(request: Request, name: str) -> _Form:
    form = await request.form()
    values = {n: v[:LONGEST] for n, v in form.items() if isinstance(v, str)}
    return _Form(name, values, [str(each) for each in form.getlist("topic")])


def _wrong(
    request: Request, box: Box, visitor: Visitor, form: _Form, error: InvalidInput
) -> Response:
    said = words_of(request).spaced(translate(error.expected, language_of(request)))
    return settings_page(
        request, box, visitor, problems=((f"{form.name}-{error.name}", said),), filled=form.filled()
    )


def _done(what: str) -> Response:
    return RedirectResponse(f"/notices/settings?after={what}", 303)


# --- ways ----------------------------------------------------------------------------------


@router.post("/ways", name="notices-way-add", dependencies=[proven()])
async def add_way(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Add a way: ``whose`` me or practice, ``kind`` email or service."""
    form = await _read(request, "")
    ours = form["whose"] == "practice"
    kind = Kind.SERVICE if form["kind"] == Kind.SERVICE.value else Kind.EMAIL
    form.name = f"{'ours' if ours else 'mine'}-{kind.value}"
    to = form["url"] if kind is Kind.SERVICE else form["email"]
    try:
        await put_way(box, visitor, kind, to, form.topics, ours=ours)
    except InvalidInput as error:
        return _wrong(request, box, visitor, form, error)
    return _done("way")


async def put_way(
    box: Box, visitor: Visitor, kind: Kind, to: str, topics: list[str], *, ours: bool
) -> Way:
    """Add a way: an e-mail's address, or a service's, which is sealed.

    Args:
        box: the box.
        visitor: who does it.
        kind: e-mail or service.
        to: the address.
        topics: what is told this way.
        ours: the practice's, else one's own.

    Raises:
        NotFound: the practice's ways, and services, are for who may change settings. InvalidInput.
    """
    if (ours or kind is Kind.SERVICE) and not visitor.may(Action.SETTINGS_CHANGE):
        raise NotFound("way", kind.value)
    now, me = utc_now(), visitor.person.id
    sealed = None
    if kind is Kind.SERVICE:
        label = policy.check_service(to.strip()).name
        sealed = seal(Secret(to.strip().encode()), box.settings.keys)
    else:
        label = policy.check_email(to)
    chosen = policy.topics(topics, topics_of(visitor, ours=ours))
    whose = None if ours else me
    return await box.write(
        lambda c: notice_ways.add(
            c, person_id=whose, kind=kind, label=label, topics=chosen, by=me, now=now, sealed=sealed
        )
    )


@router.post("/ways/{way_id}", name="notices-way-change")
async def change_way(request: Request, box: TheBox, visitor: TheVisitor, way_id: int) -> Response:
    """Choose anew what a way is for.

    Raises:
        NotFound: there is none, or it is another's.
    """
    form = await _read(request, f"way-{way_id}")
    try:
        await box.write(lambda c: put_topics(c, visitor, way_id, form.topics))
    except InvalidInput as error:
        return _wrong(request, box, visitor, form, error)
    return _done("topics")


def put_topics(connection: Connection, visitor: Visitor, way_id: int, topics: list[str]) -> None:
    """Choose anew what a way is for, inside the caller's write.

    Raises:
        NotFound: there is none, or it is another's. InvalidInput.
    """
    way = _mine(connection, visitor, way_id)
    chosen = policy.topics(topics, topics_of(visitor, ours=way.person_id is None))
    notice_ways.change(connection, way, chosen, by=visitor.person.id, now=utc_now())


@router.post("/ways/{way_id}/test", name="notices-way-test")
async def test_way(box: TheBox, visitor: TheVisitor, way_id: int) -> Response:
    """Send a test by one way.

    Raises:
        NotFound: there is none, or it is another's.
    """
    await box.write(lambda c: send_test(c, visitor, way_id, utc_now()))
    return _done("test")


def send_test(connection: Connection, visitor: Visitor, way_id: int, now: datetime) -> None:
    """Queue a test by one way, inside the caller's write; one that still waits is enough.

    Raises:
        NotFound: there is no such way, or it is another's.
    """
    way = _mine(connection, visitor, way_id)
    before = deliveries.last_test(connection, way.id)
    if before is None or not before.waits:
        deliveries.test(connection, way, by=visitor.person.id, now=now)
    with suppress(AlreadyQueued):  # it takes this one along, or the planner asks for another
        queue.enqueue(connection, SendNotices(), now=now)


@router.post("/ways/{way_id}/remove", name="notices-way-remove", dependencies=[proven()])
async def remove_way(box: TheBox, visitor: TheVisitor, way_id: int) -> Response:
    """Remove a way.

    Raises:
        NotFound: there is none, or it is another's.
    """
    await box.write(lambda c: drop_way(c, visitor, way_id))
    return _done("removed")


def drop_way(connection: Connection, visitor: Visitor, way_id: int) -> None:
    """Remove a way inside the caller's write.

    Raises:
        NotFound: there is none, or it is another's.
    """
    way = _mine(connection, visitor, way_id)
    notice_ways.remove(connection, way, by=visitor.person.id, now=utc_now())


def _mine(connection: Connection, visitor: Visitor, way_id: int) -> Way:
    way = notice_ways.get(connection, way_id)
    is_ours = way.person_id is None and visitor.may(Action.SETTINGS_CHANGE)
    if not is_ours and way.person_id != visitor.person.id:
        raise NotFound("way", str(way_id))
    return way


# --- the practice's ------------------------------------------------------------------------


@router.post("/rules", name="notices-rules", dependencies=[needs(Action.SETTINGS_CHANGE)])
async def save_rules(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Say when notices leave, and where they lead."""
    form = await _read(request, "rules")
    now, me = utc_now(), visitor.person.id
    try:
        rules = policy.check_rules(
            quiet_from=form["quiet_from"],
            quiet_until=form["quiet_until"],
            digest_days=form["digest_days"],
            digest_at=form["digest_at"],
            base_url=form["base_url"],
        )
    except InvalidInput as error:
        return _wrong(request, box, visitor, form, error)
    await box.write(lambda c: notice_ways.put_rules(c, rules, by=me, now=now))
    return _done("rules")


@router.post("/mail", name="notices-mail", dependencies=_SETTING)
async def save_mail(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Set the e-mail server; an empty password keeps the one that is stored for it."""
    form = await _read(request, "mail")
    try:
        server = policy.check_server(
            server=form["server"],
            port=form["port"],
            security=form["security"],
            sender=form["sender"],
            user=form["user"],
            ca=form["ca"],
        )
        await put_mail(box, visitor, server, form["password"])
    except InvalidInput as error:
        return _wrong(request, box, visitor, form, error)
    return _done("mail")


async def put_mail(box: Box, visitor: Visitor, server: MailServer, password: str) -> None:
    """Set the e-mail server; an empty password keeps the one that is stored for it.

    Raises:
        InvalidInput.
    """
    sealed = seal(Secret(password.encode()), box.settings.keys) if password else None
    me = visitor.person.id
    await box.write(lambda c: notice_ways.put_mail_server(c, server, sealed, by=me, now=utc_now()))


@router.post("/mail/remove", name="notices-mail-remove", dependencies=_SETTING)
async def remove_mail(box: TheBox, visitor: TheVisitor) -> Response:
    """Forget the e-mail server and its password."""
    now, me = utc_now(), visitor.person.id
    await box.write(lambda c: notice_ways.remove_mail_server(c, by=me, now=now))
    return _done("no-mail")


@router.post("/monitor", name="notices-monitor", dependencies=_SETTING)
async def save_monitor(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Set the address that is called after a good night; nothing: none is."""
    form = await _read(request, "monitor")
    try:
        is_set = await put_monitor(box, visitor, form["ping"])
    except InvalidInput as error:
        return _wrong(request, box, visitor, form, error)
    return _done("monitor" if is_set else "no-monitor")


async def put_monitor(box: Box, visitor: Visitor, address: str) -> bool:
    """Set the address that is called after a good night, which is sealed; return whether there is one now.

    Raises:
        InvalidInput.
    """
    url = policy.check_ping(address) if address.strip() else ""
    sealed = seal(Secret(url.encode()), box.settings.keys) if url else None
    me = visitor.person.id
    await box.write(lambda c: notice_ways.put_ping(c, sealed, by=me, now=utc_now()))
    return sealed is not None
