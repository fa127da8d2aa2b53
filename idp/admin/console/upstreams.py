"""Screens of upstreams: configuration, order and actions."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response

from idp.admin.console.components import Action, Cell, Field, Table, asked_page, facts, one, seen, when
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.console.upstream_form import CHECKS, SECTION, configuration, show_form
from idp.admin.roles import Permission
from idp.directory.repository.groups import names_of_groups
from idp.directory.repository.organizations import slugs_of_organizations
from idp.directory.repository.roles import roles_by_ids
from idp.errors import VersionConflictError
from idp.federation import checks, registry
from idp.federation.guides import KIND_LABELS
from idp.federation.models import Finding
from idp.federation.providers import KINDS
from idp.federation.providers.oidc import OpenIDProvider
from idp.federation.repository import UPSTREAMS
from idp.ids import uuid_or_none
from idp.settings import settings

_WRITE = Permission.UPSTREAMS_WRITE
_PASSED, _FAILED = Cell("passed", mood="good"), Cell("failed", mood="bad")
_NEXT = "It is not offered to users yet. Test it, then enable it."
_LABELS = {
    "required_claims": "Required claims", "organizations": "Organizations", "claims": "Claim mapping",
    "mfa_acr": "MFA acr value",
}  # fmt: skip


@screen("GET", "/upstreams", Permission.UPSTREAMS_READ)
async def list_upstreams(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, UPSTREAMS)
    slugs = await slugs_of_organizations([row["organization_id"] for row in found.rows if row["organization_id"]])
    rows = []
    for row in found.rows:
        config = msgspec.json.decode(row["config"])
        owner = row["organization_id"]
        rows.append(
            [
                Cell(config["name"], f"{HOME}/{SECTION}/{row['id']}"),
                Cell(row["id"]),
                Cell(config["issuer"]),
                Cell(slugs.get(owner, ""), f"{HOME}/organizations/{owner}") if owner is not None else Cell(""),
                _state(row),
                _tested(row),
            ]
        )
    rows += [
        [Cell(each.name), Cell(each.id), Cell(each.issuer), Cell(""), Cell("by the settings", mood="plain"), Cell("")]
        for each in registry.from_settings(settings())
    ]
    may = _WRITE in request.caller.allowed
    create = [Action("Add an upstream", f"{HOME}/{SECTION}/new")] if may else []
    order = {
        "heading": "The order on the sign-in page",
        "action": f"{HOME}/{SECTION}",
        "fields": [Field("ids", "Ids, one per line", "\n".join(row["id"] for row in found.rows), "lines")],
        "label": "Save the order",
    }
    return render(
        request, "list", section=SECTION, heading="Upstreams", path=f"{HOME}/{SECTION}", acts=create,
        intro="Upstream providers that users may sign in with.",
        columns=("Name", "Id", "Issuer", "Organisation", "State", "Last test"), rows=rows,
        empty="There are no upstreams. Add one, and users can sign in with the account that they have there.",
        forms=[order] if may and len(found.rows) > 1 else [],
    )  # fmt: skip


def _state(row: Any) -> Cell:
    return Cell("disabled", mood="bad") if row["disabled_at"] else Cell("enabled", mood="good")


def _findings(row: Any) -> list[Finding]:
    """Return the findings of the last test."""
    return msgspec.json.decode(row["findings"], type=list[Finding]) if row["findings"] else []


def _tested(row: Any) -> Cell:
    if row["tested_at"] is None:
        return Cell("not tested", mood="plain")
    return when(row["tested_at"]) if checks.passed(_findings(row)) else Cell("failed", mood="bad")


@screen("POST", "/upstreams", _WRITE)
async def order_upstreams(request: AdminRequest) -> Response[Any]:
    try:
        await registry.reorder(request.form.get("ids", "").split())
    except FORM_ERRORS as error:
        return render(
            request, "form", section=SECTION, heading="The order on the sign-in page",
            error=error.description, status=400,
            fields=[Field("ids", "Ids, one per line", request.form.get("ids", ""), "lines")],
            action=f"{HOME}/{SECTION}", label="Save the order", back=f"{HOME}/{SECTION}",
        )  # fmt: skip
    return redirect_with_notice(f"/{SECTION}")


@screen("GET", "/upstreams/{upstream_id}", Permission.UPSTREAMS_READ)
async def show_upstream(request: AdminRequest) -> Response[str]:
    row = await one(UPSTREAMS, id=request.params["upstream_id"])
    config = msgspec.json.decode(row["config"])
    # None: a newer version added it, before a downgrade.
    provider = KINDS.get(config["kind"])
    shown = {
        "Id": row["id"],
        "Kind": KIND_LABELS.get(config["kind"], config["kind"])
        if provider
        else Cell(f"{config['kind']} (not known to this version)", mood="bad"),
        **(await _organization(row["organization_id"]) if row["organization_id"] is not None else {}),
        "State": _state(row),
        "Redirect URI to register there": (
            Cell(f"{settings().issuer}/upstreams/{row['id']}/callback", copy="redirect-uri")
            if provider is not None and provider.redirects
            else None
        ),
        "Back-channel logout URI to register there": (
            Cell(f"{settings().issuer}/upstreams/{row['id']}/backchannel-logout", copy="logout-uri")
            if isinstance(provider, OpenIDProvider)
            else None
        ),
        "Issuer": config["issuer"],
        "Client id": config["client_id"],
        "Client secret": "stored, encrypted" if row["has_client_secret"] else "none",
        "Scopes": config["scope"],
        **{label: config["options"].get(name) for name, label in (provider.OPTIONS if provider else {}).items()},
        **{label: msgspec.json.encode(config[name]).decode() for name, label in _LABELS.items() if config[name]},
        "Create accounts for unknown users": {None: "as IDP_REGISTRATION says"}.get(
            config["creates_accounts"], config["creates_accounts"]
        ),
        **{label: config.get(name, False) for name, label in CHECKS.items()},
        **{f"Rule {number}": text for number, text in enumerate(await _described(config.get("rules", ())), 1)},
        "Created": when(row["created_at"]),
    }
    path = f"{HOME}/{SECTION}/{row['id']}"
    tested = _findings(row)
    rows = [[Cell(each.text, prose=True), _PASSED if each.passed else _FAILED] for each in tested]
    tests = Table("Last test", ("Check", "Result"), rows, "It was not tested since the last change.")
    switch = (
        Action("Enable", f"{path}/enable") if row["disabled_at"] else Action("Disable", f"{path}/disable", danger=True)
    )
    buttons = [
        Action("Test", f"{path}/test"),
        Action("Change", f"{path}/change"),
        switch,
        Action("Contain", f"{path}/contain", danger=True),
        Action("Delete", f"{path}/delete", danger=True),
    ]
    return render(
        request, "record", section=SECTION, heading=config["name"], facts=facts(shown), tables=[tests],
        intro=_NEXT if row["disabled_at"] and row["tested_at"] is None else None,
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


async def _organization(key: UUID) -> dict[str, Cell]:
    slugs = await slugs_of_organizations([key])
    return {"Organisation": Cell(slugs.get(key, str(key)), f"{HOME}/organizations/{key}")}


async def _described(rules: list[dict[str, Any]]) -> list[Cell]:
    """Return rules as sentences, with what they give by its name."""
    ids = [one for rule in rules if (one := uuid_or_none(rule.get("group") or rule.get("role") or "")) is not None]
    names = await names_of_groups(ids) | {role.id: role.name for role in (await roles_by_ids(ids)).values()}
    return [_sentence(rule, {str(key): name for key, name in names.items()}) for rule in rules]


def _sentence(rule: dict[str, Any], names: dict[str, str]) -> Cell:
    condition = next((f" {name} {rule[name]}" for name in ("equals", "prefix") if name in rule), "")
    if rule.get("each"):
        return Cell(f"{rule['claim']}{condition}: the groups named {rule.get('group_prefix', '')}…")
    kind = next(kind for kind in ("group", "role", "attribute") if kind in rule)
    if kind == "attribute":
        return Cell(f"{rule['claim']}{condition}: attribute {rule[kind]}")
    if rule[kind] not in names:
        return Cell(f"{rule['claim']}{condition}: a {kind} that is deleted. The rule is skipped.", mood="bad")
    return Cell(f"{rule['claim']}{condition}: {kind} {names[rule[kind]]}")


@screen("GET", "/upstreams/{upstream_id}/change", _WRITE)
async def change_upstream(request: AdminRequest) -> Response[str]:
    return _change(request, await one(UPSTREAMS, id=request.params["upstream_id"]))


def _change(request: AdminRequest, row: Any, error: str | None = None) -> Response[str]:
    config = msgspec.json.decode(row["config"]) | {
        "updated_at": row["updated_at"], "organization_id": row["organization_id"],
    }  # fmt: skip
    return show_form(request, f"{HOME}/{SECTION}/{row['id']}/change", config["kind"], config, error)


@screen("POST", "/upstreams/{upstream_id}/change", _WRITE, fresh=True)
async def save_upstream(request: AdminRequest) -> Response[Any]:
    row = await one(UPSTREAMS, id=request.params["upstream_id"])
    kind = msgspec.json.decode(row["config"])["kind"]
    try:
        if await registry.update(row["id"], seen(request, row), **configuration(request.form, kind)) is None:
            raise VersionConflictError
    except FORM_ERRORS as error:
        return _change(request, row, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}")
