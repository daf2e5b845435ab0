"""Setting up another service that says who somebody is, and preparing accounts for it."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import ClassVar, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from appliance.accounts import oidc_providers, oidc_sign_in, people
from appliance.accounts.oidc_providers import (
    BY_CERTIFICATE,
    BY_SECRET,
    Provider,
    pro_sante_connect,
)
from appliance.clock import utc_now
from appliance.errors import InvalidInput, NotFound
from appliance.language import explain, mark
from appliance.model import PersonId
from appliance.policy.roles import Action
from appliance.vault.certificate_pair import certificate_ends, make_client_pair
from appliance.vault.secret import Secret
from appliance.web.deps import Box, TheBox, TheVisitor, Visitor, language_of, needs, proven
from appliance.web.pages import arrivals
from appliance.web.pages.oidc import BACK
from appliance.web.pages.sign_in_rules import rules_page
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

_CHANGES: Final = [needs(Action.PEOPLE_CHANGE), proven()]
_TEXTS: Final = tuple(
    each.name
    for each in fields(Provider)
    if each.name not in {"id", "extra", "is_on", "secret", "key", "authentication"}
)
#: How the box is known there, in the order of the form.
WAYS: Final = (
    (BY_SECRET, mark("client secret in the request (client_secret_post)")),
    (BY_CERTIFICATE[0], mark("certificate of an authority (tls_client_auth)")),
    (BY_CERTIFICATE[1], mark("certificate signed by itself (self_signed_tls_client_auth)")),
)
LONGEST: Final = 20_000


@dataclass(frozen=True, slots=True)
class ServicePage(Page):
    """One service: what the practice was given when it registered."""

    template: ClassVar[str] = "account/service.html"
    provider: Provider
    extra: str  # a line each: name=value
    is_new: bool
    has_secret: bool
    ways: tuple[tuple[str, str], ...]
    has_key: bool
    certificate_ends: datetime | None
    redirect: str  # to register there, exactly
    back: str
    problem: str | None = None


@router.get(
    "/access/services/{provider_id}", name="access-service",
    dependencies=[needs(Action.PEOPLE_CHANGE)],
)  # fmt: skip
async def show_service(request: Request, box: TheBox, provider_id: str) -> Response:
    """Show a service; «new-psc», «new-psc-test» and «new» begin one."""
    begun = preset(provider_id)
    with box.database.read() as connection:
        provider = begun or oidc_providers.get(connection, provider_id)
    return _page(request, provider, is_new=begun is not None)


@router.post("/access/services", name="access-service-save", dependencies=_CHANGES)
async def save_service(request: Request, box: TheBox, visitor: TheVisitor) -> Response:
    """Store a service."""
    form = {
        name: value[:LONGEST].strip()
        for name, value in (await request.form()).items()
        if isinstance(value, str)
    }
    extra = tuple(
        (name.strip(), value.strip())
        for name, sign, value in (
            line.partition("=") for line in form.get("extra", "").splitlines()
        )
        if sign and name.strip()
    )
    provider = Provider(
        id=form.get("id", ""),
        extra=extra,
        is_on=form.get("is_on") == "yes",
        authentication=form.get("authentication") or BY_SECRET,
        **{name: form.get(name, "") for name in _TEXTS},
    )
    is_made = form.get("make_pair") == "yes"
    try:
        await put_service(
            box, visitor, provider, form.get("secret", ""), form.get("key", ""), is_made=is_made
        )
    except InvalidInput as error:
        said = explain(error, language_of(request))
        return _page(request, provider, is_new=form.get("is_new") == "yes", problem=said)
    # One that was made here is shown: it is registered there.
    onward = f"/access/services/{provider.id}" if is_made else "/access?after=service"
    return RedirectResponse(onward, 303)


@router.post(
    "/access/services/{provider_id}/remove", name="access-service-remove", dependencies=_CHANGES
)
async def remove_service(box: TheBox, visitor: TheVisitor, provider_id: str) -> Response:
    """Forget a service and its secret."""
    await box.write(
        lambda c: oidc_providers.remove(c, provider_id, by=visitor.person.id, now=utc_now())
    )
    return RedirectResponse("/access?after=service", 303)


@router.post("/access/{person_id}/prepare", name="access-prepare", dependencies=_CHANGES)
async def prepare(
    request: Request, box: TheBox, visitor: TheVisitor, person_id: PersonId
) -> Response:
    """Prepare an account for a service by its RPPS number, or end that when the number is empty."""
    form = await request.form()
    service, number = str(form.get("service", "")), str(form.get("number", ""))[:200].strip()
    try:
        await box.write(lambda c: prepare_account(c, visitor, person_id, service, number))
    except InvalidInput as error:
        said = explain(error, language_of(request))
        return rules_page(request, box, visitor, problem=said, status=422)
    return RedirectResponse("/access?after=prepared", 303)


async def put_service(
    box: Box, visitor: Visitor, provider: Provider, secret: str, key: str, *, is_made: bool
) -> None:
    """Store a service; an empty secret or key keeps the one stored.

    Args:
        box: the box.
        visitor: who does it.
        provider: the service, as it was typed.
        secret: the client's, when it is another one.
        key: of its certificate, when it is another one.
        is_made: certificate and key are made here, in place of any.

    Raises:
        InvalidInput.
    """
    now = utc_now()
    sealed_key = Secret(key.encode()) if key else None
    if is_made:
        pem, sealed_key = make_client_pair(
            provider.client_id[:64] or "armoire", now=now, days=oidc_providers.CERTIFICATE_DAYS
        )
        provider = replace(provider, certificate=pem)
    await box.write(
        lambda c: oidc_providers.put(
            c,
            provider,
            Secret(secret.encode()) if secret else None,
            box.settings.tls,
            key=sealed_key,
            by=visitor.person.id,
            now=now,
        )
    )


def prepare_account(
    connection: Connection, visitor: Visitor, person_id: PersonId, service: str, number: str
) -> None:
    """Prepare an account for a service inside the caller's write; with an empty number, end that.

    Raises:
        NotFound: no such service, no such account, or it is closed. InvalidInput.
    """
    provider = oidc_providers.get(connection, service)
    person = people.get(connection, person_id)
    if person.disabled_at is not None:
        raise NotFound("account", str(person_id))
    me, now = visitor.person.id, utc_now()
    if number:
        oidc_sign_in.prepare(connection, person, provider, number, by=me, now=now)
    else:
        oidc_sign_in.forget(connection, person.id, provider, by=me, now=now)


def preset(name: str) -> Provider | None:
    """Return how a service begins, «new-psc», «new-psc-test» and «new»; None: it is not one of these."""
    return {
        "new-psc": pro_sante_connect(),
        "new-psc-test": replace(
            pro_sante_connect(is_sandbox=True), id="psc-test", name="Pro Santé Connect (test)"
        ),
        "new": Provider("", "", "", ""),
    }.get(name)


def ends(provider: Provider) -> datetime | None:
    """Return when the client certificate ends; None: there is none, or its key is missing."""
    return certificate_ends(provider.certificate) if provider.key else None


def _page(
    request: Request, provider: Provider, *, is_new: bool, problem: str | None = None
) -> Response:
    origin = arrivals.origin_of(request)
    page = ServicePage(
        provider,
        "\n".join(f"{name}={value}" for name, value in provider.extra),
        is_new,
        has_secret=provider.secret != "",
        ways=WAYS,
        has_key=provider.key != "",
        certificate_ends=ends(provider),
        redirect=origin + BACK,
        back=origin + "/sign-in",
        problem=problem,
    )
    return render(request, page, 200 if problem is None else 422)
