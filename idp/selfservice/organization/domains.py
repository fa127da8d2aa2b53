"""Domains of an organization: claiming, verifying and removing them."""

from functools import partial
from typing import Any

import asyncpg
from litestar import Response

from idp.accounts.addresses import InvalidEmailError
from idp.directory import domains as service
from idp.directory.repository.domains import DOMAINS
from idp.errors import ConflictError, TooManyRequestsError
from idp.infra.i18n import gettext as _
from idp.selfservice.organization.components import Field, ask, form
from idp.selfservice.organization.page import Visit, ask_to_wait, done, next_url, one, page, render, rows

SECTION = "domains"
_DOMAIN = "/domains/{domain_id:uuid}"


@page("GET", "/domains")
async def list_domains(visit: Visit) -> Response[Any]:
    found = await rows(visit, DOMAINS)
    return render(visit, "domains", SECTION, domains=found.rows, next=next_url(visit, found))


def _form(visit: Visit, error: Any = None) -> Response[Any]:
    field = Field(
        "domain", _("Domain"), visit.form.get("domain", ""), ltr=True, max_length=253,
        hint=_("For example, example.com. Subdomains are not included."),
    )  # fmt: skip
    return form(
        visit, SECTION, heading=_("Claim a domain"), fields=[field], label=_("Claim"), back="/domains", error=error,
        intro=_("You then prove with a TXT record that the domain is yours."),
    )  # fmt: skip


@page("GET", "/domains/add")
async def new_domain(visit: Visit) -> Response[Any]:
    return _form(visit)


@page("POST", "/domains/add")
async def claim_domain(visit: Visit) -> Response[Any]:
    try:
        claimed = await service.claim(visit.organization.id, visit.form.get("domain", ""))
    except InvalidEmailError:
        return _form(visit, _("Enter a domain, such as example.com."))
    except ConflictError as error:
        return _form(visit, error)
    return done(visit, f"/domains/{claimed.id}", "claimed")


async def _found(visit: Visit) -> asyncpg.Record:
    row: asyncpg.Record = await one(visit, DOMAINS, id=visit.ids["domain_id"])
    return row


async def _show(visit: Visit, error: Any = None) -> Response[Any]:
    row = await _found(visit)
    return render(
        visit, "domain", SECTION, domain=row, record_name=service.record_name(row["domain"]), record_type="TXT",
        record_value=service.record_value(row["token"]), error=error,
    )  # fmt: skip


@page("GET", _DOMAIN)
async def show_domain(visit: Visit) -> Response[Any]:
    return await _show(visit)


@page("POST", f"{_DOMAIN}/verify", fresh=True, back="/domains/{domain_id}")
async def verify_domain(visit: Visit) -> Response[Any]:
    row = await _found(visit)
    try:
        await service.verify(row["id"])
    except ConflictError as error:
        return await _show(visit, error)
    except TooManyRequestsError as error:
        return await ask_to_wait(partial(_show, visit), error)
    return done(visit, f"/domains/{row['id']}", "verified")


@page("GET", f"{_DOMAIN}/remove", fresh=True)
async def ask_remove_domain(visit: Visit) -> Response[Any]:
    row = await _found(visit)
    return ask(
        visit, SECTION, heading=_("Remove this domain?"), facts={_("Domain"): row["domain"]},
        text=_(
            "The domain will no longer belong to the organisation, and others can claim it. To get it back,"
            " verify it again."
        ),
        label=_("Remove"), back=f"/domains/{row['id']}", danger=True,
    )  # fmt: skip


@page("POST", f"{_DOMAIN}/remove", fresh=True)
async def remove_domain(visit: Visit) -> Response[Any]:
    try:
        await service.remove((await _found(visit))["id"], delegated=True)
    except ConflictError as error:
        return await _show(visit, error)
    return done(visit, "/domains", "domain-removed")
