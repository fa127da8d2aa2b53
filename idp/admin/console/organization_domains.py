"""Screens of the domains of an organization."""

from typing import Any

import asyncpg
from litestar import Response

from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, when
from idp.admin.console.organizations import ONE, SECTION, organization
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import domains
from idp.directory.repository.domains import DOMAINS
from idp.federation import realms

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_DOMAIN = f"{ONE}/domains/{{domain_id}}"


@screen("GET", f"{ONE}/domains", _READ)
async def list_domains(request: AdminRequest) -> Response[str]:
    row = await organization(request)
    found = await asked_page(request, DOMAINS, organization_id=str(row["id"]))
    path = f"{HOME}/{SECTION}/{row['id']}"
    rows = [
        [
            Cell(each["domain"], f"{path}/domains/{each['id']}"),
            _state(each),
            Cell("yes" if each["enforced"] else "no"),
            when(each["checked_at"]),
        ]
        for each in found.rows
    ]
    add = {
        "heading": "Claim a domain", "action": f"{path}/domains", "fields": [_field("")], "label": "Claim",
    }  # fmt: skip
    return render(
        request, "list", section=SECTION, heading=f"Domains of {row['name']}", path=f"{path}/domains",
        acts=[Action("Organisation", path)], columns=("Domain", "State", "Enforced", "Checked"), rows=rows,
        next=next_url(request, found), forms=[add] if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


def _state(row: asyncpg.Record) -> Cell:
    if row["verified_at"] is None:
        return Cell("claimed", mood="plain")
    return Cell("record is missing", mood="bad") if row["missing_since"] else Cell("verified", mood="good")


def _field(value: str) -> Field:
    return Field("domain", "Domain", value, help="Such as example.com. Domains below it are others.", required=True)


@screen("POST", f"{ONE}/domains", _WRITE, page=f"/{SECTION}")
async def claim_domain(request: AdminRequest) -> Response[Any]:
    row, entered = await organization(request), request.form.get("domain", "")
    path = f"/{SECTION}/{row['id']}/domains"
    try:
        claimed = await domains.claim(row["id"], entered)
    except FORM_ERRORS as error:
        return render(
            request, "form", section=SECTION, heading=f"Claim a domain for {row['name']}", fields=[_field(entered)],
            action=f"{HOME}{path}", label="Claim", back=f"{HOME}{path}", error=error.description, status=400,
        )  # fmt: skip
    return redirect_with_notice(f"{path}/{claimed.id}")


async def _found(request: AdminRequest) -> asyncpg.Record:
    key = {"id": request.params["domain_id"], "organization_id": request.params["organization_id"]}
    row: asyncpg.Record = await one(DOMAINS, **key)
    return row


def _path(row: asyncpg.Record) -> str:
    return f"/{SECTION}/{row['organization_id']}/domains/{row['id']}"


@screen("GET", _DOMAIN, _READ)
async def show_domain(request: AdminRequest) -> Response[str]:
    row, domain = await organization(request), await _found(request)
    shown = {
        "Organisation": Cell(row["name"], f"{HOME}/{SECTION}/{row['id']}"),
        "State": _state(domain),
        "Name of the TXT record": domains.record_name(domain["domain"]),
        "Text of the TXT record": domains.record_value(domain["token"]),
        "Enforced": domain["enforced"],
        "Verified": when(domain["verified_at"], "not yet"),
        "Checked": when(domain["checked_at"], "never"),
        "Missing since": when(domain["missing_since"], "-"),
        "Claimed": domain["created_at"],
    }
    here = f"{HOME}{_path(domain)}"
    switch = Action("Release", f"{here}/release") if domain["enforced"] else Action("Enforce", f"{here}/enforce")
    buttons = [
        Action("Look for the record", f"{here}/verify"),
        *([switch] if domain["verified_at"] else []),
        Action("Remove", f"{here}/remove", danger=True),
    ]
    return render(
        request, "record", section=SECTION, heading=domain["domain"], facts=facts(shown),
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


#: By the last segment of the path: title, explanation, and whether it is dangerous.
_ACTS = {
    "verify": ("Look for the record", "Name servers are asked for the TXT record of the domain.", False),
    "enforce": (
        "Enforce", "People with an address in the domain sign in at the upstreams of the organisation only.", True,
    ),
    "release": ("Release", "People with an address in the domain may sign in by other ways too.", False),
    "remove": ("Remove", "The domain no longer belongs to the organisation. Others can claim it.", True),
}  # fmt: skip


async def _ask(request: AdminRequest, act: str, error: str | None = None) -> Response[str]:
    row, domain = await organization(request), await _found(request)
    title, explanation, danger = _ACTS[act]
    path = f"{HOME}{_path(domain)}"
    return render(
        request, "form", section=SECTION, heading=f"{title}?", fields=[], action=f"{path}/{act}", label=title,
        subject=facts({"Organisation": row["name"], "Domain": domain["domain"]}), intro=explanation, danger=danger,
        back=path, error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"{_DOMAIN}/verify", _WRITE)
async def ask_verify_domain(request: AdminRequest) -> Response[str]:
    return await _ask(request, "verify")


@screen("POST", f"{_DOMAIN}/verify", _WRITE)
async def verify_domain(request: AdminRequest) -> Response[Any]:
    domain = await _found(request)
    try:
        await domains.verify(domain["id"])
    except FORM_ERRORS as error:
        return await _ask(request, "verify", error.description)
    return redirect_with_notice(_path(domain))


@screen("GET", f"{_DOMAIN}/enforce", _WRITE)
async def ask_enforce_domain(request: AdminRequest) -> Response[str]:
    return await _ask(request, "enforce")


@screen("POST", f"{_DOMAIN}/enforce", _WRITE, fresh=True)
async def enforce_domain(request: AdminRequest) -> Response[Any]:
    domain = await _found(request)
    try:
        await realms.enforce(domain["id"])
    except FORM_ERRORS as error:
        return await _ask(request, "enforce", error.description)
    return redirect_with_notice(_path(domain))


@screen("GET", f"{_DOMAIN}/release", _WRITE)
async def ask_release_domain(request: AdminRequest) -> Response[str]:
    return await _ask(request, "release")


@screen("POST", f"{_DOMAIN}/release", _WRITE, fresh=True)
async def release_domain(request: AdminRequest) -> Response[Any]:
    domain = await _found(request)
    await domains.enforce(domain["id"], enforced=False)
    return redirect_with_notice(_path(domain))


@screen("GET", f"{_DOMAIN}/remove", _WRITE)
async def ask_remove_domain(request: AdminRequest) -> Response[str]:
    return await _ask(request, "remove")


@screen("POST", f"{_DOMAIN}/remove", _WRITE, fresh=True)
async def remove_domain(request: AdminRequest) -> Response[Any]:
    domain = await _found(request)
    await domains.remove(domain["id"])
    return redirect_with_notice(f"/{SECTION}/{domain['organization_id']}/domains", "deleted")
