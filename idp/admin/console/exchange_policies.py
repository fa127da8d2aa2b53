"""Screens of the policies of token exchange (RFC 8693)."""

from typing import Any

from litestar import Response

from idp.admin.access import check_client, check_impersonation
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import ValidationError
from idp.infra.db.rows import known
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.exchange import registration
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.exchange.repository import POLICIES, read
from idp.oauth.exchange.token_types import ACCESS_TOKEN, PREFIX
from idp.oauth.token.token_exchange import GRANT_TYPE
from idp.settings import settings

SECTION = "token_exchange"
_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_INTRO = (
    "A client with a policy may exchange the token of a user for another one, for another resource server. In"
    " delegation the token names the client as actor; in impersonation it does not. A policy cannot be edited:"
    " remove it and add another one."
)
_LISTS = ("resources", "subject_token_types", "subject_clients", "user_ids")


@screen("GET", f"/{SECTION}", _READ)
async def list_policies(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, POLICIES)
    rows = [
        [
            Cell(policy.client_id, f"{HOME}/clients/{policy.client_id}"),
            Cell(policy.mode, f"{HOME}/{SECTION}/{policy.id}"),
            Cell(" ".join(policy.resources)),
            Cell(policy.scope),
            Cell(policy.added_scope),
        ]
        for policy in known(read, found.rows, "token_exchange_policy")
    ]
    add = [Action("New policy", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Token exchange", path=f"{HOME}/{SECTION}", acts=add, intro=_INTRO,
        filters=[], columns=("Client", "Mode", "Resource servers", "Scope", "Added scope"), rows=rows,
        next=next_url(request, found),
    )  # fmt: skip


def _form(request: AdminRequest, values: dict[str, str], error: str | None = None) -> Response[str]:
    def field(name: str, label: str, kind: str = "text", **more: Any) -> Field:
        return Field(name, label, values.get(name, ""), kind, **more)

    fields = [
        field("client_id", "Client", help=f"The client_id of a client with the grant {GRANT_TYPE}.", required=True),
        field(
            "mode", "Mode", "choice",
            choices=(("delegation", "Delegation: tokens name the actor"), ("impersonation", "Impersonation")),
            help="Only owners may allow impersonation. It never applies to users with a role here.",
        ),
        field("resources", "Resource servers", "lines", help="One identifier per line.", required=True),
        field("scope", "Scope", help="The scopes of the subject token that a token keeps."),
        field("added_scope", "Added scope", help="Scopes that a token gets even if the subject token lacks them."),
        field(
            "subject_token_types", "Subject token types", "lines",
            help="access_token, id_token or jwt (of trusted issuers), one per line.",
        ),
        field(
            "subject_clients", "Clients of subject tokens", "lines",
            help="Clients whose tokens may be exchanged even if they are not meant for this client, one per line.",
        ),
        field("user_ids", "Users", "lines", help=(
            "The ids of users whose tokens may be exchanged. Leave empty for all users."
        )),
        field("max_lifetime", "Longest lifetime in seconds", "number", help=(
            "Leave empty for the lifetime of every access token."
        )),
        field(
            "bearer_for_bound", "Exchange bound tokens for bearer tokens", "check",
            help="Anyone who has the new token can then use it without a key.",
        ),
    ]  # fmt: skip
    return render(
        request, "form", section=SECTION, heading="New policy of token exchange", fields=fields,
        action=f"{HOME}/{SECTION}/new", label="Create", back=f"{HOME}/{SECTION}", error=error,
        status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_policy(request: AdminRequest) -> Response[str]:
    return _form(request, {"mode": "delegation", "subject_token_types": "access_token"})


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def add_policy(request: AdminRequest) -> Response[Any]:
    form = request.form
    given: dict[str, Any] = {name: " ".join(form.get(name, "").split()) for name in ("scope", "added_scope")}
    given |= {name: form.get(name, "").split() for name in _LISTS}
    client_id, mode = form.get("client_id", "").strip(), form.get("mode", "delegation")
    try:
        check_impersonation(request.caller, mode)
        if lifetime := form.get("max_lifetime", "").strip():
            given["max_lifetime"] = _seconds(lifetime)
        await check_client(request.caller, client_id)
        policy = await registration.add(client_id, mode=mode, bearer_for_bound="bearer_for_bound" in form, **given)
    except (*FORM_ERRORS, UnknownClientError) as error:
        return _form(request, dict(form), error.description)
    return redirect_with_notice(f"/{SECTION}/{policy.id}")


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValidationError("The lifetime must be a number of seconds.")
    return int(text)


@screen("GET", f"/{SECTION}/{{policy_id}}", _READ)
async def show_policy(request: AdminRequest) -> Response[str]:
    policy = await _find(request.params["policy_id"])
    shown = {
        "Client": Cell(policy.client_id, f"{HOME}/clients/{policy.client_id}"),
        "Mode": policy.mode,
        "Resource servers": " ".join(policy.resources),
        "Scope": policy.scope,
        "Added scope": policy.added_scope,
        "Subject token types": " ".join(policy.subject_token_types),
        "Clients of subject tokens": " ".join(policy.subject_clients) or "those that are meant for it",
        "Users": " ".join(map(str, policy.user_ids)) or "all",
        "Longest lifetime": f"{policy.max_lifetime} s" if policy.max_lifetime else "that of every access token",
        "Bound tokens for bearer tokens": policy.bearer_for_bound,
        "Created": policy.created_at,
    }
    kind = f"{PREFIX}{policy.subject_token_types[0]}" if policy.subject_token_types else ACCESS_TOKEN
    snippet = (
        f"curl {settings().issuer}/token -u {policy.client_id}:$SECRET \\\n"
        f"  -d grant_type={GRANT_TYPE} \\\n"
        f"  -d subject_token_type={kind} \\\n"
        '  --data-urlencode subject_token="$TOKEN" \\\n'
        f"  -d resource={policy.resources[0]}"
    )
    buttons = [Action("Remove", f"{HOME}/{SECTION}/{policy.id}/remove", danger=True)]
    return render(
        request, "record", section=SECTION, heading=f"{policy.client_id}: {policy.mode}", facts=facts(shown),
        secret=None, acts=buttons if _WRITE in request.caller.allowed else [],
        snippets=[("Exchange a token", snippet)],
    )  # fmt: skip


async def _find(policy_id: str) -> ExchangePolicy:
    return read(await one(POLICIES, id=policy_id))


async def _remove(request: AdminRequest, policy_id: str) -> tuple[str, str]:
    policy = await _find(policy_id)
    await check_client(request.caller, policy.client_id)
    await registration.remove(policy.id)
    return f"/{SECTION}", "deleted"


async def _named(policy_id: str) -> dict[str, Any]:
    policy = await _find(policy_id)
    return {"Client": policy.client_id, "Mode": policy.mode, "Resource servers": " ".join(policy.resources)}


actions.declare_actions(
    SECTION,
    "policy_id",
    _named,
    [
        ConfirmedAction(
            "remove",
            "Remove",
            "The client can no longer exchange tokens by this policy. Access tokens stay valid until they expire.",
            _WRITE,
            _remove,
        )
    ],
)
