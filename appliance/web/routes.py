"""Every group of routes, in one list; the first that matches answers."""

from typing import Final

from fastapi import APIRouter

from appliance.web.api import v1
from appliance.web.pages import (
    account,
    browse,
    files,
    home,
    jobs,
    ledger,
    people,
    plan,
    recipes,
    restores,
    search,
    set_up,
    sign_in,
    sources,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    home.router,
    set_up.router,  # «/sources/new» before «/sources/{id}»
    sources.router,
    plan.router,
    recipes.router,
    browse.router,
    files.router,
    restores.router,
    search.router,
    jobs.router,
    ledger.router,
    account.router,
    people.router,
    v1.router,
)
