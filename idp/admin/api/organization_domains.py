"""Operations on the domains of an organization. They also admit administrators of the organization."""

from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec

from idp.admin.api.ids import uuid_of
from idp.admin.api.models import organizations as models
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.api.organizations import show_organization
from idp.admin.roles import Permission
from idp.directory import domains
from idp.directory.repository.domains import DOMAINS
from idp.federation import realms

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = "/organizations/{organization_id}/domains"
_ONE = f"{_PATH}/{{domain_id}}"


def _read(row: asyncpg.Record) -> models.OrganizationDomain:
    values: dict[str, Any] = dict(row)
    values |= {"record_name": domains.record_name(row["domain"]), "record_value": domains.record_value(row["token"])}
    return msgspec.convert(values, models.OrganizationDomain)


listed(
    _PATH, _READ, "List domains of an organization", delegated=True,
    listing=DOMAINS, read=_read, item=models.OrganizationDomain, within="organization_id", of=show_organization,
)  # fmt: skip


@operation("GET", _ONE, _READ, "Show a domain of an organization", delegated=True, content=models.OrganizationDomain)
async def show_organization_domain(call: Call) -> models.OrganizationDomain:
    key = {"id": call.params["domain_id"], "organization_id": call.params["organization_id"]}
    found: models.OrganizationDomain = await one(DOMAINS, _read, **key)
    return found


@operation(
    "POST", _PATH, _WRITE, "Claim a domain for an organization", delegated=True,
    body=models.NewOrganizationDomain, content=models.OrganizationDomain, status=HTTPStatus.CREATED,
)  # fmt: skip
async def claim_organization_domain(call: Call) -> Result:
    organization_id = uuid_of(call.params["organization_id"])
    claimed = await domains.claim(organization_id, call.body.domain)
    content = await one(DOMAINS, _read, id=str(claimed.id))
    return Result(content, HTTPStatus.CREATED, f"/organizations/{organization_id}/domains/{claimed.id}")


@operation(
    "POST", f"{_ONE}/verify", _WRITE, "Look for the TXT record of a domain", delegated=True,
    content=models.OrganizationDomain,
)  # fmt: skip
async def verify_organization_domain(call: Call) -> models.OrganizationDomain:
    await domains.verify((await show_organization_domain(call)).id)
    return await show_organization_domain(call)


@operation(
    "POST", f"{_ONE}/enforce", _WRITE, "Let addresses of a domain sign in at upstreams of the organization only",
    content=models.OrganizationDomain,
)  # fmt: skip
async def enforce_organization_domain(call: Call) -> models.OrganizationDomain:
    await realms.enforce((await show_organization_domain(call)).id)
    return await show_organization_domain(call)


@operation(
    "POST", f"{_ONE}/release", _WRITE, "Let the addresses of a domain sign in by other ways too",
    content=models.OrganizationDomain,
)  # fmt: skip
async def release_organization_domain(call: Call) -> models.OrganizationDomain:
    await domains.enforce((await show_organization_domain(call)).id, enforced=False)
    return await show_organization_domain(call)


@operation("DELETE", _ONE, _WRITE, "Remove a domain from an organization", delegated=True)
async def remove_organization_domain(call: Call) -> None:
    await domains.remove((await show_organization_domain(call)).id, delegated=call.caller.delegated)
