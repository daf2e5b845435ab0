"""Every group of routes, in one list; the first that matches answers."""

from typing import Final

from fastapi import APIRouter

from appliance.web import metrics
from appliance.web.api import access_rules as api_access
from appliance.web.api import account as api_account
from appliance.web.api import certificate as api_certificate
from appliance.web.api import copies as api_copies
from appliance.web.api import copies_add as api_copies_add
from appliance.web.api import copies_change as api_copies_change
from appliance.web.api import devices as api_devices
from appliance.web.api import disk, disk_details, disk_files, disk_past, disk_versions, upload, v1
from appliance.web.api import drills as api_drills
from appliance.web.api import envelope as api_envelope
from appliance.web.api import hosts as api_hosts
from appliance.web.api import jobs as api_jobs
from appliance.web.api import kit as api_kit
from appliance.web.api import links as api_links
from appliance.web.api import locums as api_locums
from appliance.web.api import marks as api_marks
from appliance.web.api import network as api_network
from appliance.web.api import notices as api_notices
from appliance.web.api import notices_settings as api_notices_settings
from appliance.web.api import own_passwords as api_own_passwords
from appliance.web.api import people as api_people
from appliance.web.api import plans as api_plans
from appliance.web.api import recipes as api_recipes
from appliance.web.api import recovery as api_recovery
from appliance.web.api import restores as api_restores
from appliance.web.api import settings as api_settings
from appliance.web.api import shares as api_shares
from appliance.web.api import sources as api_sources
from appliance.web.api import welcome as api_welcome
from appliance.web.pages import (
    access_review,
    account,
    account_factors,
    account_prove,
    browse,
    certificate,
    connect,
    copies,
    copies_add,
    copies_do,
    copies_host,
    copies_letters,
    copies_set_up,
    copies_show,
    disk_search,
    drills,
    emergency,
    envelope,
    files,
    history,
    home,
    jobs,
    kit,
    ledger,
    ledger_questions,
    links,
    links_new,
    links_open,
    links_send,
    locum_report,
    locums,
    locums_prepare,
    network,
    notices,
    notices_settings,
    notices_settings_do,
    oidc,
    oidc_settings,
    past,
    past_restore,
    people,
    plan,
    preview,
    recipes,
    recovery,
    restores,
    search,
    set_up,
    settings_page,
    shares,
    sign_in,
    sign_in_rules,
    sign_in_second,
    sources,
    tokens,
    trust,
    tunnel,
    versions,
    welcome,
)
from appliance.web.pages import disk as disk_page

ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    sign_in_second.router,
    oidc.router,
    home.router,
    welcome.router,
    settings_page.router,
    set_up.router,  # «/sources/new» before «/sources/{id}»
    sources.router,
    plan.router,
    recipes.router,
    browse.router,
    files.router,
    restores.router,
    search.router,
    history.router,
    copies.router,
    copies_add.router,  # «/copies/add» before «/copies/{name}»
    copies_set_up.router,
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
    envelope.router,
    oidc_settings.router,  # «/access/services» before «/access/{id}»
    sign_in_rules.router,
    notices_settings.router,
    notices_settings_do.router,
    notices.router,
    locums_prepare.router,  # «/locums/new» before «/locums/{id}»
    locums.router,
    locum_report.router,
    emergency.router,
    access_review.router,
    ledger_questions.router,
    preview.router,
    preview.past_router,
    preview.machine_router,
    disk_files.router,
    disk_search.router,  # «/disk/search» before «/disk/{share}»
    disk_search.api_router,
    trust.router,
    certificate.router,
    api_certificate.router,
    tunnel.router,
    network.router,
    api_network.router,
    past.router,
    past_restore.router,
    versions.router,  # «/disk/{share}/past» beside the folder's own
    disk_page.router,
    shares.router,
    disk.router,
    disk_details.router,
    disk_past.router,
    disk_versions.router,
    upload.router,
    links_new.router,  # «/links/new» before «/links/{link_id}»
    links.router,
    links_open.router,
    links_send.router,
    v1.router,
    api_account.router,
    api_own_passwords.router,
    api_access.router,
    api_devices.router,
    api_notices_settings.router,
    api_sources.router,
    api_plans.router,
    api_recipes.router,
    api_restores.router,
    api_marks.router,
    api_jobs.router,
    api_copies.router,
    api_copies_add.router,
    api_copies_change.router,
    api_hosts.router,
    api_kit.router,
    api_drills.router,
    api_recovery.router,
    api_links.router,
    api_people.router,
    api_envelope.router,
    api_notices.router,
    api_shares.router,
    api_locums.router,
    api_locums.emergency_router,
    api_settings.router,
    api_welcome.router,
)
