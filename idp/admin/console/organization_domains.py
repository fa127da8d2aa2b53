"""Screens of the domains of an organization."""

from typing import Any

import asyncpg
from litestar import Response

from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, when
from idp.admin.console.organization_parts import Act, Part, declare_acts
from idp.admin.console.organizations import ONE, SECTION, organization
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import domains
from idp.directory.repository.domains import DOMAINS
from idp.federation import realms

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_DOMAINS = Part("domains", "domain_id", DOMAINS, "Domain", "domain")


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
    return Field(
        "domain", "Domain", value, help="For example, example.com. Subdomains are not included.", required=True
    )


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


@screen("GET", _DOMAINS.pattern, _READ)
async def show_domain(request: AdminRequest) -> Response[str]:
    row, domain = await organization(request), await _DOMAINS.found(request)
    shown = {
        "Organisation": Cell(row["name"], f"{HOME}/{SECTION}/{row['id']}"),
        "State": _state(domain),
        "Name of the TXT record": domains.record_name(domain["domain"]),
        "Text of the TXT record": domains.record_value(domain["token"]),
        "Enforced": domain["enforced"],
        "Verified": when(domain["verified_at"], "not yet"),
        "Checked": when(domain["checked_at"], "never"),
        "Missing since": when(domain["missing_since"], ""),
        "Claimed": domain["created_at"],
    }
    here = f"{HOME}{_DOMAINS.path(domain)}"
    switch = Action("Release", f"{here}/release") if domain["enforced"] else Action("Enforce", f"{here}/enforce")
    buttons = [
        Action("Check for the record", f"{here}/verify"),
        *([switch] if domain["verified_at"] else []),
        Action("Remove", f"{here}/remove", danger=True),
    ]
    return render(
        request, "record", section=SECTION, heading=domain["domain"], facts=facts(shown),
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


declare_acts(
    _DOMAINS,
    [
        Act(
            "verify", "Check for the record", "Name servers are asked for the TXT record of the domain.",
            lambda row: domains.verify(row["id"]),
        ),
        Act(
            "enforce", "Enforce",
            "People with an address in the domain sign in at the upstreams of the organisation only. Existing"
            " sessions continue. Release it to undo this.",
            lambda row: realms.enforce(row["id"]), danger=True, fresh=True,
        ),
        Act(
            "release", "Release", "People with an address in the domain may sign in in other ways too.",
            lambda row: domains.enforce(row["id"], enforced=False), fresh=True,
        ),
        Act(
            "remove", "Remove",
            "The domain no longer belongs to the organisation. Others can claim it. To have it back, it is claimed and"
            " verified again.",
            lambda row: domains.remove(row["id"]), danger=True, fresh=True, removes=True, notice="deleted",
        ),
    ],
)  # fmt: skip
