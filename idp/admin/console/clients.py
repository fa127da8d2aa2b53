"""The list of clients, and the choice of a kind for a new one."""

from typing import Any

from litestar import Response

from idp.admin.console.client_paths import url_of
from idp.admin.console.components import Action, Cell, Field, asked_page, next_url, sortable, when
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.oauth.clients.kinds import APPLICATION_KINDS
from idp.oauth.clients.repository import CLIENTS, flat
from idp.oauth.clients.words import in_words
from idp.oauth.token.grants import grant_types

#: By whom, according to the origin of a client.
ORIGINS = {"admin": "by an administrator", "dynamic": "by itself", "document": "by its metadata document"}


@screen("GET", "/clients", Permission.CLIENTS_READ)
async def list_clients(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, CLIENTS)
    rows = [
        [
            Cell(row["client_name"], url_of(row["client_id"])),
            Cell(row["client_id"], code=True),
            Cell(in_words("kind", row["kind"])),
            state(row),
            when(row["created_at"]),
        ]
        for row in map(flat, found.rows)
    ]
    create = []
    if Permission.CLIENTS_WRITE in request.caller.allowed:
        create = [
            Action(f"New {each.name.lower()}", f"{HOME}/clients/new/{kind}") for kind, each in APPLICATION_KINDS.items()
        ]
    return render(
        request, "list", section="clients", heading="Clients", path=f"{HOME}/clients", acts=create,
        intro="Applications that users sign in to, and services that act as themselves.",
        filters=_filters(request),
        columns=sortable(
            request, CLIENTS, ("Name", "Client id", "Kind", "State", "Created"),
            {"Name": "client_name", "Created": "created_at"},
        ),
        rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _filters(request: AdminRequest) -> list[Field]:
    states = (("", "All"), ("false", "enabled"), ("true", "disabled"))
    kinds = (("", "All"), *((kind, each.name) for kind, each in APPLICATION_KINDS.items()))
    origins = (("", "All"), *ORIGINS.items())
    grants = (("", "All"), *((grant, in_words("grant_types", grant).partition(":")[0]) for grant in grant_types()))
    return [
        Field("q", "Part of the name, or the client id", request.query.get("q", ""), "search"),
        Field("kind", "Kind", request.query.get("kind", ""), "choice", choices=kinds),
        Field("disabled", "State", request.query.get("disabled", ""), "choice", choices=states),
        Field("origin", "Registered", request.query.get("origin", ""), "choice", choices=origins),
        Field("grant_type", "Grant", request.query.get("grant_type", ""), "choice", choices=grants),
    ]


def state(row: Any) -> Cell:
    """Return whether a client is enabled."""
    return Cell("disabled", mood="bad") if row["disabled_at"] else Cell("enabled", mood="good")
