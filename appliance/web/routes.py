"""Every group of routes, in one list; the first that matches answers."""

from typing import Final

from fastapi import APIRouter

from appliance.web import metrics
from appliance.web.api import copies as api_copies
from appliance.web.api import disk, upload, v1
from appliance.web.pages import (
    account,
    account_factors,
    account_prove,
    browse,
    connect,
    copies,
    copies_add,
    copies_do,
    copies_host,
    copies_letters,
    copies_show,
    disk_search,
    drills,
    emergency,
    files,
    home,
    jobs,
    kit,
    ledger,
    links,
    links_new,
    links_open,
    links_send,
    locum_report,
    locums,
    notices,
    people,
    plan,
    preview,
    recipes,
    recovery,
    restores,
    search,
    set_up,
    shares,
    sign_in,
    sign_in_second,
    sources,
    tokens,
    versions,
)
from appliance.web.pages import disk as disk_page

ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    sign_in_second.router,
    home.router,
    set_up.router,  # «/sources/new» before «/sources/{id}»
    sources.router,
    plan.router,
    recipes.router,
    browse.router,
    files.router,
    restores.router,
    search.router,
    copies.router,
    copies_add.router,  # «/copies/add» before «/copies/{name}»
    copies_show.router,
    copies_do.router,
    copies_host.router,
    copies_letters.router,
    jobs.router,
    kit.router,
    drills.router,
    ledger.router,
    recovery.router,
    account.router,
    connect.router,
    account_factors.router,
    account_prove.router,
    tokens.router,
    metrics.router,
    people.router,
    notices.router,
    locums.router,
    locum_report.router,
    emergency.router,
    preview.router,
    disk.files_router,
    disk_search.router,  # «/disk/search» before «/disk/{share}»
    disk_search.api_router,
    versions.router,  # «/disk/{share}/past» beside the folder's own
    disk_page.router,
    shares.router,
    disk.router,
    upload.router,
    links_new.router,  # «/links/new» before «/links/{link_id}»
    links.router,
    links_open.router,
    links_send.router,
    v1.router,
    api_copies.router,
)
