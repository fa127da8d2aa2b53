"""Screens of the policies of identity assertions (ID-JAG) for other authorization servers."""

from typing import Any

import msgspec
from litestar import Response

from idp.admin.access import check_client
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.id_jag import registration
from idp.oauth.id_jag.models import IdJagPolicy
from idp.oauth.id_jag.repository import ID_JAG_POLICIES

SECTION = "id_jag_policies"
_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_INTRO = (
    "Which clients get identity assertions (ID-JAG) about their users, for which other authorization servers. Such a"
    " server gives the client an access token for one, and the user is not asked."
)
_TEXTS, _LISTS = ("audience", "audience_client_id", "relying_party", "acr"), ("resources", "email_domains", "user_ids")


def _policy(row: Any) -> IdJagPolicy:
    return msgspec.convert(dict(row), IdJagPolicy)


@screen("GET", f"/{SECTION}", _READ)
async def list_policies(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, ID_JAG_POLICIES)
    rows = [
        [
            Cell(policy.audience, f"{HOME}/{SECTION}/{policy.id}"),
            Cell(policy.client_id, f"{HOME}/clients/{policy.client_id}"), Cell(policy.audience_client_id),
            Cell(policy.scope),
        ]
        for policy in map(_policy, found.rows)
    ]  # fmt: skip
    add = [Action("New policy", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Identity assertions", path=f"{HOME}/{SECTION}", acts=add,
        intro=_INTRO, filters=[], columns=("Audience", "Client", "Client there", "Scopes"), rows=rows,
        next=next_url(request, found),
    )  # fmt: skip


def _form(request: AdminRequest, values: dict[str, str], error: str | None = None) -> Response[str]:
    def field(name: str, label: str, kind: str = "text", help: str = "", **more: Any) -> Field:
        return Field(name, label, values.get(name, ""), kind, help, **more)

    fields = [
        field("client_id", "Client", help="Its client_id.", required=True),
        field("audience", "Audience", help="The issuer of the other authorization server.", required=True),
        field("audience_client_id", "Client there", help="The client_id of the client there.", required=True),
        field(
            "relying_party", "Relying party",
            help=(
                "The client with which that server signs users in here. That server knows users by the sub for"
                " this client."
            ),
        ),
        field("resources", "Resources there, one per line", "lines"),
        field("scope", "Scopes there", help="Separated by spaces."),
        field("email", "The assertion has the address of the user", "check"),
        field("email_domains", "Only users with a verified address in these domains, one per line", "lines"),
        field("user_ids", "Only these users, by id, one per line", "lines"),
        field("acr", "Level of the sign-in (1, 2 or phr)", help="Empty: any."),
    ]  # fmt: skip
    return render(
        request, "form", section=SECTION, heading="New policy of identity assertions", fields=fields,
        action=f"{HOME}/{SECTION}/new", label="Create", back=f"{HOME}/{SECTION}", error=error,
        status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_policy(request: AdminRequest) -> Response[str]:
    return _form(request, {})


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def add_policy(request: AdminRequest) -> Response[Any]:
    form = request.form
    given: dict[str, Any] = {name: text for name in _TEXTS if (text := form.get(name, "").strip())}
    given |= {name: form.get(name, "").split() for name in _LISTS}
    client_id = form.get("client_id", "").strip()
    try:
        await check_client(request.caller, client_id)
        scope = " ".join(form.get("scope", "").split())
        policy = await registration.add(client_id, email="email" in form, scope=scope, **given)
    except (*FORM_ERRORS, UnknownClientError) as error:
        return _form(request, dict(form), error.description)
    return redirect_with_notice(f"/{SECTION}/{policy.id}")


@screen("GET", f"/{SECTION}/{{id_jag_id}}", _READ)
async def show_policy(request: AdminRequest) -> Response[str]:
    policy = await _find(request.params["id_jag_id"])
    shown = {
        "Client": Cell(policy.client_id, f"{HOME}/clients/{policy.client_id}"),
        "Client there": policy.audience_client_id,
        "Relying party": policy.relying_party or "none: the public sub",
        "Resources": policy.resources,
        "Scopes": policy.scope,
        "With the address of the user": policy.email,
        "Domains": policy.email_domains or "all users",
        "Users": policy.user_ids or "all",
        "Level of the sign-in": policy.acr or "any",
        "Created": policy.created_at,
    }
    buttons = [Action("Remove", f"{HOME}/{SECTION}/{policy.id}/remove", danger=True)]
    return render(
        request, "record", section=SECTION, heading=policy.audience, facts=facts(shown), secret=None,
        acts=buttons if _WRITE in request.caller.allowed else [], snippets=[],
    )  # fmt: skip


async def _find(id_jag_id: str) -> IdJagPolicy:
    return _policy(await one(ID_JAG_POLICIES, id=id_jag_id))


async def _remove(request: AdminRequest, id_jag_id: str) -> tuple[str, str]:
    policy = await _find(id_jag_id)
    await check_client(request.caller, policy.client_id)
    await registration.remove(policy.id)
    return f"/{SECTION}", "deleted"


async def _named(id_jag_id: str) -> dict[str, Any]:
    policy = await _find(id_jag_id)
    return {"Audience": policy.audience, "Client": policy.client_id}


actions.declare_actions(
    SECTION,
    "id_jag_id",
    _named,
    [
        ConfirmedAction(
            "remove", "Remove", "The client gets no more assertions. Issued ones stay valid until they expire.",
            _WRITE, _remove,
        )
    ],
)  # fmt: skip
