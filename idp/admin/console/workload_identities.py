"""Screens of the rules of workload identity: tokens of trusted issuers that authenticate clients."""

import json
from typing import Any

from litestar import Response

from idp.admin.access import check_client
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import ValidationError
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.clients.workloads import registration
from idp.oauth.clients.workloads.models import WorkloadIdentity
from idp.oauth.clients.workloads.repository import WORKLOAD_IDENTITIES, read
from idp.settings import settings

SECTION = "workload_identities"
_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_INTRO = (
    "Tokens that authenticate a client without a secret: of a Kubernetes cluster, of GitHub Actions, or of a"
    " SPIFFE trust domain. The client is registered with the method workload_identity."
)


@screen("GET", f"/{SECTION}", _READ)
async def list_identities(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, WORKLOAD_IDENTITIES)
    rows = [
        [
            Cell(rule.subject, f"{HOME}/{SECTION}/{rule.id}"), Cell(rule.issuer),
            Cell(rule.client_id, f"{HOME}/clients/{rule.client_id}"), Cell(rule.audience),
        ]
        for rule in map(read, found.rows)
    ]  # fmt: skip
    add = [Action("New workload identity", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Workload identities", path=f"{HOME}/{SECTION}", acts=add,
        intro=_INTRO, filters=[], columns=("Subject", "Issuer", "Client", "Audience"), rows=rows,
        next=next_url(request, found),
    )  # fmt: skip


def _form(request: AdminRequest, values: dict[str, str], error: str | None = None) -> Response[str]:
    fields = [
        Field("client_id", "Client", values.get("client_id", ""), help="Its client_id.", required=True),
        Field(
            "issuer", "Issuer", values.get("issuer", ""), required=True,
            help="The iss of its tokens, such as https://token.actions.githubusercontent.com.",
        ),
        Field(
            "subject", "Subject", values.get("subject", ""), required=True,
            help="The sub, such as repo:octo-org/octo-repo:environment:production. An asterisk stands for one part,"
            " without colons and slashes.",
        ),
        Field("audience", "Audience", values.get("audience", ""), help="The only aud of the tokens.", required=True),
        Field(
            "jwks_uri", "URL of the keys of the issuer", values.get("jwks_uri", ""),
            help="Leave empty for the URL in the discovery document.",
        ),
        Field("jwks", "Keys of the issuer, as a JWK Set", values.get("jwks", ""), "lines", "Instead of a URL."),
        Field(
            "single_use", "Each token is accepted once", values.get("single_use", ""), "check",
            "Clear it for Kubernetes and SPIFFE, whose workloads send the same token until it expires.",
        ),
    ]  # fmt: skip
    return render(
        request, "form", section=SECTION, heading="New workload identity", fields=fields,
        action=f"{HOME}/{SECTION}/new", label="Create", back=f"{HOME}/{SECTION}", error=error,
        status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_identity(request: AdminRequest) -> Response[str]:
    return _form(request, {"audience": settings().issuer, "single_use": "on"})


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def add_identity(request: AdminRequest) -> Response[Any]:
    form = request.form
    names = ("issuer", "subject", "audience", "jwks_uri")
    given: dict[str, Any] = {name: text for name in names if (text := form.get(name, "").strip())}
    client_id = form.get("client_id", "").strip()
    try:
        if form.get("jwks", "").strip():
            given["jwks"] = _jwks(form["jwks"])
        await check_client(request.caller, client_id)
        rule = await registration.add(client_id, single_use="single_use" in form, **given)
    except (*FORM_ERRORS, UnknownClientError) as error:
        return _form(request, dict(form), error.description)
    return redirect_with_notice(f"/{SECTION}/{rule.id}")


def _jwks(text: str) -> Any:
    """
    Raises:
        ValidationError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError("The keys must be a JWK Set: an object of JSON with a list of keys.") from error


@screen("GET", f"/{SECTION}/{{identity_id}}", _READ)
async def show_identity(request: AdminRequest) -> Response[str]:
    rule = await _find(request.params["identity_id"])
    keys = " ".join(str(key.get("kid", key.get("kty"))) for key in rule.jwks["keys"]) if rule.jwks else rule.jwks_uri
    shown = {
        "Client": Cell(rule.client_id, f"{HOME}/clients/{rule.client_id}"),
        "Issuer": rule.issuer,
        "Audience": rule.audience,
        "Keys": keys or "by its discovery document",
        "Each token is accepted once": rule.single_use,
        "Created": rule.created_at,
    }
    snippet = (
        f"curl {settings().issuer}/token \\\n"
        "  -d grant_type=client_credentials \\\n"
        "  -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \\\n"
        '  --data-urlencode client_assertion="$TOKEN"'
    )
    buttons = [Action("Remove", f"{HOME}/{SECTION}/{rule.id}/remove", danger=True)]
    return render(
        request, "record", section=SECTION, heading=rule.subject, facts=facts(shown), secret=None,
        acts=buttons if _WRITE in request.caller.allowed else [], snippets=[("Get an access token", snippet)],
    )  # fmt: skip


async def _find(identity_id: str) -> WorkloadIdentity:
    return read(await one(WORKLOAD_IDENTITIES, id=identity_id))


async def _remove(request: AdminRequest, identity_id: str) -> tuple[str, str]:
    rule = await _find(identity_id)
    await check_client(request.caller, rule.client_id)
    await registration.remove(rule.id)
    return f"/{SECTION}", "deleted"


async def _named(identity_id: str) -> dict[str, Any]:
    rule = await _find(identity_id)
    return {"Subject": rule.subject, "Client": rule.client_id}


actions.declare_actions(
    SECTION,
    "identity_id",
    _named,
    [
        ConfirmedAction(
            "remove",
            "Remove",
            "Its tokens no longer authenticate the client. Access tokens stay valid until they expire.",
            _WRITE,
            _remove,
        )
    ],
)
