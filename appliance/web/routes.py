"""Every group of routes, in one list."""

from typing import Final

from fastapi import APIRouter

from appliance.web.pages import account, browse, files, home, jobs, search, sign_in, sources

ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    home.router,
    sources.router,
    browse.router,
    files.router,
    search.router,
    jobs.router,
    account.router,
)
