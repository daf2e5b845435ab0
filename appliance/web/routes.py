"""Every group of routes, in one list."""

from typing import Final

from fastapi import APIRouter

from appliance.web.pages import account, home, sign_in, sources

ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    home.router,
    sources.router,
    account.router,
)
