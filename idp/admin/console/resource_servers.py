"""Screens of resource servers: metadata, and when each fetched the keys."""

from collections.abc import Mapping
from typing import Any

from litestar import Response

from idp.admin.console import actions, snippets
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import (
    Action,
    Cell,
    Field,
    asked_page,
    facts,
    next_url,
    one,
    seen,
    sortable,
    version,
    when,
)
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.keys.algorithms import DEFAULT_ALGORITHM, SIGNING_ALGORITHMS
from idp.oauth.clients import registration, service
from idp.oauth.clients.repository import RESOURCE_SERVERS, with_descriptions
from idp.oauth.token_types import ACCESS_TOKEN_TYPES
from idp.settings import settings

SECTION = "resource_servers"
_WRITE = Permission.RESOURCE_SERVERS_WRITE


@screen("GET", "/resource_servers", Permission.RESOURCE_SERVERS_READ)
async def list_servers(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, RESOURCE_SERVERS)
    rows = [
        [
            Cell(row["name"], f"{HOME}/{SECTION}/{row['jwks_id']}"),
            Cell(row["identifier"]),
            Cell(row["access_token_signed_response_alg"]),
            when(row["jwks_fetched_at"]) if row["witnessed"] else Cell("not waited for", mood="plain"),
            _period(row),
        ]
        for row in found.rows
    ]
    create = [Action("New resource server", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Resource servers", path=f"{HOME}/{SECTION}", acts=create,
        intro="The services that accept our access tokens. New keys sign when all of them have fetched them.",
        filters=[Field("q", "Part of the name or identifier", request.query.get("q", ""), "search")],
        columns=sortable(
            request, RESOURCE_SERVERS, ("Name", "Identifier (aud)", "Algorithm", "Fetched the keys", "Fetches every"),
            {"Name": "name", "Identifier (aud)": "identifier"},
        ),
        rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _period(row: Any) -> Cell:
    return Cell(f"{row['jwks_period']:.0f} s") if row["jwks_period"] is not None else Cell("not known")


def _form(
    request: AdminRequest, path: str, values: dict[str, Any], error: str | None = None, *, new: bool
) -> Response[str]:
    algorithms = [(alg, alg) for alg in SIGNING_ALGORITHMS]
    fields = [Field("name", "Name, as the consent page shows it", values.get("name") or "", required=True)]
    if new:
        hint = "The URI that clients name as resource and tokens carry as aud."
        fields.insert(0, Field("identifier", "Identifier", values.get("identifier") or "", help=hint, required=True))
    fields += [
        Field("scope", "Scopes", values.get("scope") or "", help="Separated by spaces."),
        Field(
            "scope_descriptions", "What they allow, as the consent page says it",
            _lines(values.get("scope_descriptions") or {}), "lines",
            "One scope per line, for example: orders:read = Read your orders",
        ),
        Field(
            "access_token_signed_response_alg", "Algorithm of its tokens",
            values.get("access_token_signed_response_alg") or DEFAULT_ALGORITHM, "choice", choices=algorithms,
        ),
        Field(
            "access_token_type", "Type (typ) of its tokens", values.get("access_token_type") or "at+jwt", "choice",
            "JWT if its validator refuses at+jwt. ID tokens have the same type, so it must check the audience.",
            choices=[(kind, kind) for kind in ACCESS_TOKEN_TYPES],
        ),
        Field(
            "self_registered_clients", "Clients that registered themselves get tokens for it",
            "on" if values.get("self_registered_clients") else "", "check", "As MCP servers need. Users decide.",
        ),
        Field("witnessed", "New keys wait until it has fetched them", "on" if values.get("witnessed") else "", "check"),
        Field(
            "networks", "Networks that it calls from, one per line", "\n".join(values.get("networks") or ()), "lines",
            "Only for a server that uses the common JWKS URL.",
        ),
        Field("user_agent", "Beginning of its User-Agent", values.get("user_agent") or ""),
    ]  # fmt: skip
    heading = "New resource server" if new else f"Change {values.get('name')}"
    back = path.rpartition("/")[0]
    return render(
        request, "form", section=SECTION, heading=heading, fields=fields, action=path, label="Save", back=back,
        error=error, status=400 if error else 200, version=version(request, values.get("updated_at")),
    )  # fmt: skip


def _lines(descriptions: Mapping[str, str]) -> str:
    return "\n".join(f"{scope} = {text}" for scope, text in descriptions.items())


def _read_lines(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if line.strip())
    return {scope.strip(): words.strip() for scope, _, words in pairs}


def _entered(request: AdminRequest) -> dict[str, Any]:
    return {
        "name": request.form.get("name", "").strip(),
        "scope": request.form.get("scope", "").strip(),
        "scope_descriptions": _read_lines(request.form.get("scope_descriptions", "")),
        "access_token_signed_response_alg": request.form.get("access_token_signed_response_alg", DEFAULT_ALGORITHM),
        "access_token_type": request.form.get("access_token_type", "at+jwt"),
        "self_registered_clients": "self_registered_clients" in request.form,
        "witnessed": "witnessed" in request.form,
        "networks": tuple(line.strip() for line in request.form.get("networks", "").splitlines() if line.strip()),
        "user_agent": request.form.get("user_agent", "").strip() or None,
    }


@screen("GET", "/resource_servers/new", _WRITE)
async def new_server(request: AdminRequest) -> Response[str]:
    return _form(request, f"{HOME}/{SECTION}/new", {"witnessed": True}, new=True)


@screen("POST", "/resource_servers/new", _WRITE, fresh=True)
async def create_server(request: AdminRequest) -> Response[Any]:
    entered, identifier = _entered(request), request.form.get("identifier", "").strip()
    try:
        server = await registration.register_resource_server(identifier, **entered)
    except FORM_ERRORS as error:
        values = entered | {"identifier": identifier}
        return _form(request, f"{HOME}/{SECTION}/new", values, error.description, new=True)
    return redirect_with_notice(f"/{SECTION}/{server.jwks_id}")


@screen("GET", "/resource_servers/{jwks_id}", Permission.RESOURCE_SERVERS_READ)
async def show_server(request: AdminRequest) -> Response[str]:
    row = await one(RESOURCE_SERVERS, jwks_id=request.params["jwks_id"])
    shown = {
        "Identifier (aud)": row["identifier"],
        "JWKS URL": f"{settings().issuer}/jwks/{row['jwks_id']}",
        "New keys wait for it": row["witnessed"],
        "Fetched the keys": when(row["jwks_fetched_at"]),
        "Fetches every": _period(row),
        "Networks": row["networks"],
        "User-Agent begins with": row["user_agent"],
        "Scopes": row["scope"],
        "What they allow": _lines(with_descriptions(row)["scope_descriptions"]).splitlines(),
        "Algorithm": row["access_token_signed_response_alg"],
        "Type of its tokens": row["access_token_type"],
        "Open to clients that registered themselves": row["self_registered_clients"],
        "Introspects as": row["client_id"],
    }
    path = f"{HOME}/{SECTION}/{row['jwks_id']}"
    buttons = [Action("Change", f"{path}/change"), Action("Delete", f"{path}/delete", danger=True)]
    return render(
        request, "record", section=SECTION, heading=row["name"], facts=facts(shown),
        acts=buttons if _WRITE in request.caller.allowed else [], snippets=snippets.of_resource_server(row),
    )  # fmt: skip


@screen("GET", "/resource_servers/{jwks_id}/change", _WRITE)
async def change_server(request: AdminRequest) -> Response[str]:
    row = await one(RESOURCE_SERVERS, jwks_id=request.params["jwks_id"])
    return _form(request, f"{HOME}/{SECTION}/{row['jwks_id']}/change", with_descriptions(row), new=False)


@screen("POST", "/resource_servers/{jwks_id}/change", _WRITE, fresh=True)
async def save_server(request: AdminRequest) -> Response[Any]:
    row = await one(RESOURCE_SERVERS, jwks_id=request.params["jwks_id"])
    entered = _entered(request)
    try:
        await service.update_resource_server(row["identifier"], seen(request, row), **entered)
    except FORM_ERRORS as error:
        path = f"{HOME}/{SECTION}/{row['jwks_id']}/change"
        return _form(request, path, entered, error.description, new=False)
    return redirect_with_notice(f"/{SECTION}/{row['jwks_id']}")


async def _delete(_visit: AdminRequest, jwks_id: str) -> tuple[str, str]:
    row = await one(RESOURCE_SERVERS, jwks_id=jwks_id)
    await service.delete_resource_server(row["identifier"])
    return f"/{SECTION}", "deleted"


async def _named(jwks_id: str) -> dict[str, Any]:
    row = await one(RESOURCE_SERVERS, jwks_id=jwks_id)
    return {"Name": row["name"], "Identifier (aud)": row["identifier"]}


actions.declare_actions(
    SECTION,
    "jwks_id",
    _named,
    [
        ConfirmedAction(
            "delete",
            "Delete",
            "Tokens for the resource server are no longer issued, and its JWKS URL is removed. This cannot be undone.",
            _WRITE,
            _delete,
            question="Delete {Name}?",
            typed="Identifier (aud)",
        )
    ],
)
