"""Who comes in by a correspondent's link: the address, the rights of its maker right now, and a pass after the password.

The pass is a cookie bound to one link, sealed with the hash of its password: it dies with the password, and a server
that starts again knows it still.
"""

import hashlib
import hmac
from typing import Final

from fastapi import Request
from starlette.responses import Response

from appliance.clock import utc_now
from appliance.disk import links
from appliance.disk.links import Opened
from appliance.errors import LinkGone, LinkPasswordWrong
from appliance.units import HOUR_S
from appliance.web.deps import Box
from appliance.web.render import Page, render

COOKIE: Final = "__Secure-armoire-link"
#: Seconds the password is not asked for again; a request in the second half begins anew.
PASS_S: Final = 4 * HOUR_S
#: No page of a link tells another site where one came from, and no search engine keeps one.
HEADERS: Final = {"referrer-policy": "no-referrer", "x-robots-tag": "noindex, nofollow"}


def opened_by(box: Box, token: str, *, goes_on: bool = False) -> Opened:
    """Return the link of an address, when it is worth something right now.

    Raises:
        LinkGone.
    """
    with box.database.read() as connection:
        return links.open_link(connection, token, now=utc_now(), goes_on=goes_on)


def entered(request: Request, box: Box, token: str, kind: str, *, goes_on: bool = False) -> Opened:
    """Return the link when it is of this kind and its password was given.

    Raises:
        LinkGone, LinkPasswordWrong.
    """
    opened = opened_by(box, token, goes_on=goes_on)
    if opened.link.kind != kind:
        raise LinkGone
    if not has_pass(request, opened):
        raise LinkPasswordWrong
    return opened


def _mark(opened: Opened, until: int) -> str:
    """Return the seal on a pass: only who knows the hash of the password, the box, can make it."""
    one = opened.link
    key = (one.password_hash or "").encode()
    return hmac.new(key, f"{one.id}.{until}".encode(), hashlib.sha256).hexdigest()


def _until(request: Request, opened: Opened) -> int:
    """Return until when, in seconds since 1970, a true pass is good; 0: there is none."""
    until, _, seal = request.cookies.get(COOKIE, "").partition(".")
    if not until.isascii() or not until.isdecimal() or len(until) > 12:
        return 0
    is_true = hmac.compare_digest(seal.encode(), _mark(opened, int(until)).encode())
    return int(until) if is_true else 0


def has_pass(request: Request, opened: Opened) -> bool:
    """Return whether the password was given, or none is needed."""
    if opened.link.password_hash is None:
        return True
    now_s = utc_now().timestamp()
    return now_s < _until(request, opened) <= now_s + PASS_S + 1


def give_pass(answer: Response, opened: Opened, token: str) -> Response:
    """Let a browser in for some hours."""
    if opened.link.password_hash is not None:
        until = int(utc_now().timestamp()) + PASS_S
        answer.set_cookie(
            COOKIE,
            f"{until}.{_mark(opened, until)}",
            max_age=PASS_S,
            path=f"/l/{token}",
            secure=True,
            httponly=True,
            samesite="lax",
        )
    return answer


def renewed(request: Request, answer: Response, opened: Opened, token: str) -> Response:
    """Lengthen a pass that is in use: a large upload takes longer than one lasts."""
    if 0 < _until(request, opened) < utc_now().timestamp() + PASS_S / 2:
        return give_pass(answer, opened, token)
    return answer


def address_of(request: Request) -> str:
    """Return where a request comes from."""
    return request.client.host if request.client else ""


def answer_with(request: Request, page: Page, status: int = 200) -> Response:
    """Return a page of a link."""
    return render(request, page, status, HEADERS)
