"""Screens of the initial access tokens, with which clients register themselves (RFC 7591)."""

from typing import Any

from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, when
from idp.admin.console.once import secret_of, show_once
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.errors import ValidationError
from idp.oauth.clients.dynamic import initial_tokens
from idp.oauth.clients.dynamic.ceiling import Ceiling
from idp.oauth.clients.dynamic.repository import INITIAL_ACCESS_TOKENS, StoredToken, read_token
from idp.oauth.token.grants import grant_types
from idp.settings import DAY, settings

SECTION = "initial_access_tokens"
_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_INTRO = {
    "off": "Clients cannot register themselves: IDP_CLIENT_REGISTRATION is off.",
    "token": "Anyone who has one of these tokens can register clients, within the limits of the token.",
    "open": (
        "Everyone can register clients. Clients registered with one of these tokens get the limits of the token,"
        " and do not expire."
    ),
}


@screen("GET", f"/{SECTION}", _READ)
async def list_tokens(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, INITIAL_ACCESS_TOKENS)
    rows = [
        [
            Cell(token.name, f"{HOME}/{SECTION}/{token.id}"), Cell(str(token.uses_left)), when(token.expires_at),
            Cell(" ".join(token.ceiling.scopes)), Cell(" ".join(token.ceiling.redirect_hosts) or "any"),
        ]
        for token in map(read_token, found.rows)
    ]  # fmt: skip
    create = [Action("New initial access token", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Initial access tokens", path=f"{HOME}/{SECTION}", acts=create,
        intro=_INTRO[settings().client_registration], filters=[],
        columns=("Name", "Uses left", "Expires", "Scopes", "Redirect hosts"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _form(request: AdminRequest, values: dict[str, str], error: str | None = None) -> Response[str]:
    fields = [
        Field("name", "Name, for administrators", values.get("name", ""), help=(
            "The person or team that gets the token."
        ), required=True),
        Field("uses", "Number of registrations", values.get("uses", "1"), "number", required=True),
        Field("days", "Days until it expires", values.get("days", "7"), "number", required=True),
        Field("scopes", "Scopes that the clients may request", values.get("scopes", ""), help="Separated by spaces."),
        Field(
            "grant_types", "Grants that the clients may have, one per line", values.get("grant_types", ""), "lines",
            f"Some of {', '.join(grant_types())}.",
        ),
        Field(
            "redirect_hosts", "Hosts of their redirect URIs, one per line", values.get("redirect_hosts", ""), "lines",
            "For example, app.example.com, or .example.com for all hosts below example.com. Leave empty for any host.",
        ),
        Field(
            "require_pkce", "PKCE is required", values.get("require_pkce", ""), "check",
            "Clear it for the OpenID Foundation's Dynamic plan, which sends none.",
        ),
    ]  # fmt: skip
    return render(
        request, "form", section=SECTION, heading="New initial access token", fields=fields,
        action=f"{HOME}/{SECTION}/new", label="Create", back=f"{HOME}/{SECTION}", error=error,
        status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_token(request: AdminRequest) -> Response[str]:
    default = Ceiling()
    grants = "\n".join(default.grant_types)
    return _form(request, {"scopes": " ".join(default.scopes), "grant_types": grants, "require_pkce": "on"})


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def create_token(request: AdminRequest) -> Response[Any]:
    form = request.form
    ceiling = Ceiling(
        scopes=tuple(form.get("scopes", "").split()),
        grant_types=tuple(form.get("grant_types", "").split()),
        redirect_hosts=tuple(form.get("redirect_hosts", "").split()),
        require_pkce="require_pkce" in form,
    )
    try:
        uses, lifetime = _number(form.get("uses", "")), _number(form.get("days", "")) * DAY
        id_, token = await initial_tokens.create(form.get("name", "").strip(), ceiling, uses=uses, lifetime=lifetime)
    except FORM_ERRORS as error:
        return _form(request, dict(form), error.description)
    return show_once(request, f"/{SECTION}/{id_}", token)


def _number(text: str) -> int:
    """Return a number of up to five digits.

    Raises:
        ValidationError: it is none.
    """
    if not text.strip().isascii() or not text.strip().isdigit() or len(text.strip()) > 5:
        raise ValidationError("The number of registrations and of days must be numbers.")
    return int(text)


@screen("GET", f"/{SECTION}/{{token_id}}", _READ)
async def show_token(request: AdminRequest) -> Response[str]:
    return await _record(request, request.params["token_id"])


async def _record(request: AdminRequest, token_id: str) -> Response[str]:
    token, secret = await _find(token_id), secret_of(request)
    shown = {
        "Uses left": token.uses_left,
        "Expires": token.expires_at,
        "Scopes": token.ceiling.scopes,
        "Grants": token.ceiling.grant_types,
        "Redirect hosts": token.ceiling.redirect_hosts or "any",
        "PKCE is required": token.ceiling.require_pkce,
        "Created": token.created_at,
    }
    snippet = (
        f"curl {settings().issuer}/register \\\n"
        f'  -H "Authorization: Bearer {secret or "THE_TOKEN"}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        """  -d '{"client_name": "My app", "redirect_uris": ["https://app.example.com/callback"]}'"""
    )
    buttons = [Action("Delete", f"{HOME}/{SECTION}/{token.id}/delete", danger=True)]
    return render(
        request, "record", section=SECTION, heading=token.name, facts=facts(shown), secret=secret,
        acts=buttons if _WRITE in request.caller.allowed else [], snippets=[("Register a client", snippet)],
        shown_once="Token",
    )  # fmt: skip


async def _find(token_id: str) -> StoredToken:
    return read_token(await one(INITIAL_ACCESS_TOKENS, id=token_id))


async def _delete(_visit: AdminRequest, token_id: str) -> tuple[str, str]:
    await initial_tokens.delete((await _find(token_id)).id)
    return f"/{SECTION}", "deleted"


async def _named(token_id: str) -> dict[str, Any]:
    token = await _find(token_id)
    return {"Name": token.name, "Uses left": token.uses_left}


actions.declare_actions(
    SECTION,
    "token_id",
    _named,
    [
        ConfirmedAction(
            "delete",
            "Delete",
            "No more clients can be registered with this token. Clients already registered stay.",
            _WRITE,
            _delete,
        )
    ],
)
