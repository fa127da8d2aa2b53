"""Screens of the mappings of claims: what clients get about users in their tokens and responses."""

from collections.abc import Mapping
from typing import Any

from litestar import Response

from idp.admin.access import check_claims
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.infra.db.rows import known
from idp.oauth.claims import registration
from idp.oauth.claims.flat import FIELDS, source_of, summary
from idp.oauth.claims.models import ClaimMapping, Place, Shape
from idp.oauth.claims.repository import CLAIM_MAPPINGS, read
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.registration import UnknownClientError

SECTION = "claim_mappings"
_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_INTRO = (
    "Claims about users that a client gets in its tokens and responses, beside those of its scopes. A mapping of the"
    " claim groups or roles replaces the standard one of the client. A mapping cannot be edited: remove it and"
    " add another one."
)
_SOURCES = {
    "groups": "Groups of the user",
    "roles": "Roles of the user",
    "organization": "The organisation that the user signed in for",
    "attribute": "An attribute",
    "profile": "A claim of the profile",
    "constant": "The same text for everyone",
}
_ROLES = {"all": "of the server and of the client", "server": "of the server", "client": "of the client"}
_MEMBERS = {"": "an object of all", "id": "its id", "slug": "its slug", "name": "its name", "roles": "the roles there"}
_SHAPES = {
    Shape.VALUE: "a list, or a single value",
    Shape.SPACES: "one text, joined by spaces",
    Shape.COMMAS: "one text, joined by commas",
    Shape.OBJECT: "an object with roles, as of Keycloak",
}


@screen("GET", f"/{SECTION}", _READ)
async def list_mappings(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, CLAIM_MAPPINGS)
    rows = [
        [
            Cell(mapping.claim, f"{HOME}/{SECTION}/{mapping.id}"), _client(mapping), Cell(mapping.scope or ""),
            Cell(summary(mapping.source)), Cell(" ".join(mapping.places)),
        ]
        for mapping in known(read, found.rows, "claim_mapping")
    ]  # fmt: skip
    add = [Action("New claim", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Claims", path=f"{HOME}/{SECTION}", acts=add, intro=_INTRO,
        filters=[Field("client_id", "Client", request.query.get("client_id", ""), "search")],
        columns=("Claim", "Client", "Scope", "Source", "In"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _client(mapping: ClaimMapping) -> Cell:
    if mapping.client_id is None:
        return Cell("every client with the scope")
    return Cell(mapping.client_id, f"{HOME}/clients/{path_id(mapping.client_id)}")


def _form(request: AdminRequest, values: Mapping[str, str], error: str | None = None) -> Response[str]:
    def field(name: str, label: str, kind: str = "text", **more: Any) -> Field:
        return Field(name, label, values.get(name, ""), kind, **more)

    fields = [
        field("claim", "Claim", help="Its name in tokens and responses.", required=True),
        field("client_id", "Client", help="The client_id of the client. Leave empty for every client with the scope."),
        field("scope", "Scope", help="The scope that the claim requires. Leave empty for none."),
        field("source", "Source", "choice", choices=tuple(_SOURCES.items())),
        field("prefix", "Beginning of the names of groups", help="Empty: any."),
        field("strip_prefix", "Without this beginning", "check"),
        field("groups", "Only these groups", "lines", help="One per line. Empty: all."),
        field("roles_of", "Roles", "choice", choices=tuple(_ROLES.items())),
        field(
            "roles_client",
            "Client of the roles",
            help="The client_id of the client. Leave empty for the client that the token is for.",
        ),
        field("organization_member", "Of the organisation", "choice", choices=tuple(_MEMBERS.items())),
        field("attribute", "Attribute", help="Its name."),
        field("profile_claim", "Claim of the profile", help="For example, nickname."),
        field("value", "Text"),
        *(field(place, f"In {place}", "check") for place in Place),
        field("shape", "Written as", "choice", choices=tuple(_SHAPES.items())),
    ]
    return render(
        request, "form", section=SECTION, heading="New claim", fields=fields, action=f"{HOME}/{SECTION}/new",
        label="Create", back=f"{HOME}/{SECTION}", error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_mapping(request: AdminRequest) -> Response[str]:
    return _form(request, {"client_id": request.query.get("client_id", ""), "id_token": "on", "userinfo": "on"})


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def add_mapping(request: AdminRequest) -> Response[Any]:
    form = {name: value.strip() for name, value in request.form.items()}
    client_id = form.get("client_id") or None
    try:
        await check_claims(request.caller, client_id)
        mapping = await registration.add(
            client_id,
            request.caller.audience,
            claim=form.get("claim", ""),
            scope=form.get("scope") or None,
            source=_source(form),
            places=[place for place in Place if place in form],
            shape=form.get("shape", Shape.VALUE),
        )
    except (*FORM_ERRORS, UnknownClientError) as error:
        return _form(request, request.form, error.description)
    return redirect_with_notice(f"/{SECTION}/{mapping.id}")


def _source(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the source. The fields of the others are ignored."""
    kind = form.get("source", "")
    given: dict[str, Any] = {name: form[name] for name in FIELDS.get(kind, {}) if form.get(name)}
    if "groups" in given:
        given["groups"] = [line.strip() for line in form["groups"].splitlines() if line.strip()]
    if "strip_prefix" in given:
        # A box that is checked means nothing without a prefix.
        given["strip_prefix"] = "prefix" in given
    return source_of(kind, given) if kind in FIELDS else {"kind": kind}


@screen("GET", f"/{SECTION}/{{mapping_id}}", _READ)
async def show_mapping(request: AdminRequest) -> Response[str]:
    mapping = await _find(request.params["mapping_id"])
    shown = {
        "Client": _client(mapping),
        "Scope": mapping.scope or "none needed",
        "Source": summary(mapping.source),
        "In": " ".join(mapping.places),
        "Written as": _SHAPES[mapping.shape],
        "Since": mapping.created_at,
    }
    buttons = [Action("Remove", f"{HOME}/{SECTION}/{mapping.id}/remove", danger=True)]
    return render(
        request, "record", section=SECTION, heading=mapping.claim, facts=facts(shown), secret=None,
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


async def _find(mapping_id: str) -> ClaimMapping:
    return read(await one(CLAIM_MAPPINGS, id=mapping_id))


async def _remove(request: AdminRequest, mapping_id: str) -> tuple[str, str]:
    mapping = await _find(mapping_id)
    await check_claims(request.caller, mapping.client_id)
    await registration.remove(mapping.id)
    return f"/{SECTION}", "deleted"


async def _named(mapping_id: str) -> dict[str, Any]:
    mapping = await _find(mapping_id)
    return {"Claim": mapping.claim, "Client": mapping.client_id or "every client with the scope"}


actions.declare_actions(
    SECTION,
    "mapping_id",
    _named,
    [
        ConfirmedAction(
            "remove",
            "Remove",
            "New tokens no longer have the claim. Those that were issued keep it.",
            _WRITE,
            _remove,
        )
    ],
)
