"""Screens of trusted issuers: other servers whose tokens say who a user is."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, seen, version
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import ValidationError
from idp.infra.db.rows import known
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.oauth.issuers import registration
from idp.oauth.issuers.models import DEFAULT_LIFETIME, Purpose, StoredTrustedIssuer, SubjectSource
from idp.oauth.issuers.repository import TRUSTED_ISSUERS, read

SECTION = "trusted_issuers"
_READ, _WRITE = Permission.UPSTREAMS_READ, Permission.UPSTREAMS_WRITE
_PURPOSES = {
    Purpose.JWT_BEARER: "JWT bearer grant: its assertions give access tokens",
    Purpose.ID_JAG: "Identity assertions (ID-JAG) of an enterprise identity provider",
    Purpose.TOKEN_EXCHANGE: "Subjects of token exchange",
    Purpose.LOGIN_HINT: "Hints of whom a client wants to ask (CIBA)",
}
_SUBJECTS = {
    SubjectSource.IDENTITY: "the user to whom this identity is linked",
    SubjectSource.EMAIL: "that user, or the user with the verified address",
    SubjectSource.CLIENT: "the client itself",
}
_LISTS = ("clients", "email_domains", "audiences", "algorithms")


@screen("GET", f"/{SECTION}", _READ)
async def list_issuers(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, TRUSTED_ISSUERS)
    rows = [
        [
            Cell(issuer.issuer, f"{HOME}/{SECTION}/{issuer.id}"), Cell(" ".join(issuer.purposes)),
            Cell(" ".join(issuer.clients)), Cell("enabled" if issuer.enabled else "disabled"),
        ]
        for issuer in known(read, found.rows, "trusted_issuer")
    ]  # fmt: skip
    add = [Action("New issuer", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Trusted issuers", path=f"{HOME}/{SECTION}", acts=add,
        intro="Other servers whose tokens say who a user is. The clients that you name may present them here.",
        filters=[], columns=("Issuer", "Accepted for", "Clients", "State"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _form(
    request: AdminRequest,
    path: str,
    values: Mapping[str, str],
    error: str | None = None,
    *,
    heading: str,
    new: bool = False,
    updated_at: datetime | None = None,
) -> Response[str]:
    fields = [
        *(
            Field(f"purpose_{name}", label, values.get(f"purpose_{name}", ""), "check")
            for name, label in _PURPOSES.items()
        ),
        Field("clients", "Clients that may present the tokens, one per line", values.get("clients", ""), "lines"),
        Field(
            "subject", "Who the sub refers to", values.get("subject", ""), "choice",
            choices=list(_SUBJECTS.items()), required=True,
        ),
        Field(
            "email_domains", (
                "Domains of addresses the issuer vouches for, one per line"
            ), values.get("email_domains", ""),
            "lines", "Anyone who has the keys of the issuer can name every user with an address in these domains.",
        ),
        Field("create_users", "Create a user for a new verified address", values.get("create_users", ""), "check"),
        Field("scope", "Scopes that the tokens can give", values.get("scope", ""), help="Separated by spaces."),
        Field(
            "audiences", "Other audiences, one per line", values.get("audiences", ""), "lines",
            "For subjects of token exchange only.",
        ),
        Field("max_lifetime", "Longest lifetime of a token, in seconds", values.get("max_lifetime", ""), "number"),
        Field(
            "jwks_uri", "URL of the keys", values.get("jwks_uri", ""), help=(
                "Leave empty for the URL in the discovery document."
            )
        ),
        Field("jwks", "Keys, as a JWK Set", values.get("jwks", ""), "lines", "Instead of a URL."),
        Field("algorithms", "Algorithms, one per line", values.get("algorithms", ""), "lines", "Empty: all."),
        Field("enabled", "Accept tokens", values.get("enabled", ""), "check"),
    ]  # fmt: skip
    if new:
        hint = "The iss of the tokens, such as https://idp.example.org."
        fields.insert(0, Field("issuer", "Issuer", values.get("issuer", ""), help=hint, required=True))
    return render(
        request, "form", section=SECTION, heading=heading, fields=fields, action=path, label="Save",
        back=path.rpartition("/")[0], error=error, status=400 if error else 200, version=version(request, updated_at),
    )  # fmt: skip


def _shown(issuer: StoredTrustedIssuer) -> dict[str, str]:
    """Return the values of an issuer as the fields of the form."""
    flags = {name: "on" for name in ("create_users", "enabled") if getattr(issuer, name)}
    lists = {name: "\n".join(getattr(issuer, name)) for name in _LISTS}
    return {
        **lists, **flags, **{f"purpose_{name}": "on" for name in issuer.purposes},
        "subject": issuer.subject, "scope": issuer.scope, "max_lifetime": str(issuer.max_lifetime),
        "jwks_uri": issuer.jwks_uri or "", "jwks": json.dumps(issuer.jwks, indent=2) if issuer.jwks else "",
    }  # fmt: skip


def _entered(form: Mapping[str, str]) -> dict[str, Any]:
    """
    Raises:
        ValidationError: the keys are not JSON, or the lifetime is no number.
    """
    values: dict[str, Any] = {name: form.get(name, "").split() for name in _LISTS}
    if not values["algorithms"]:
        values["algorithms"] = VERIFICATION_ALGORITHMS
    try:
        values["jwks"] = json.loads(form["jwks"]) if form.get("jwks", "").strip() else None
        values["max_lifetime"] = int(form.get("max_lifetime", ""))
    except (ValueError, RecursionError) as error:
        raise ValidationError("The keys must be a JWK Set as JSON, and the lifetime a number of seconds.") from error
    return values | {
        "purposes": [name for name in Purpose if f"purpose_{name}" in form],
        "subject": form.get("subject", ""),
        "scope": " ".join(form.get("scope", "").split()),
        "jwks_uri": form.get("jwks_uri", "").strip() or None,
        "create_users": "create_users" in form,
        "enabled": "enabled" in form,
    }


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_issuer(request: AdminRequest) -> Response[str]:
    values = {"max_lifetime": str(DEFAULT_LIFETIME), "enabled": "on"}
    return _form(request, f"{HOME}/{SECTION}/new", values, heading="New trusted issuer", new=True)


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def add_issuer(request: AdminRequest) -> Response[Any]:
    try:
        name = request.form.get("issuer", "").strip()
        issuer = await registration.add(issuer=name, **_entered(request.form))
    except FORM_ERRORS as error:
        path, heading = f"{HOME}/{SECTION}/new", "New trusted issuer"
        return _form(request, path, request.form, error.description, heading=heading, new=True)
    return redirect_with_notice(f"/{SECTION}/{issuer.id}")


@screen("GET", f"/{SECTION}/{{issuer_id}}", _READ)
async def show_issuer(request: AdminRequest) -> Response[str]:
    issuer = read(await one(TRUSTED_ISSUERS, id=request.params["issuer_id"]))
    given = issuer.jwks["keys"] if issuer.jwks else []
    keys = issuer.jwks_uri or " ".join(str(key.get("kid", key["kty"])) for key in given)
    shown = {
        "Accepted for": [_PURPOSES[name] for name in issuer.purposes],
        "Clients": issuer.clients,
        "Its sub means": _SUBJECTS[issuer.subject],
        "Domains of addresses": issuer.email_domains,
        "Creates users": issuer.create_users,
        "Scopes": issuer.scope,
        "Other audiences": issuer.audiences,
        "Longest lifetime of a token": f"{issuer.max_lifetime} s",
        "Keys": keys or "by its discovery document",
        "Algorithms": issuer.algorithms,
        "State": "enabled" if issuer.enabled else "disabled",
        "Since": issuer.created_at,
    }
    path = f"{HOME}/{SECTION}/{issuer.id}"
    buttons = [Action("Change", f"{path}/change"), Action("Remove", f"{path}/remove", danger=True)]
    return render(
        request, "record", section=SECTION, heading=issuer.issuer, facts=facts(shown), secret=None,
        acts=buttons if _WRITE in request.caller.allowed else [], snippets=[],
    )  # fmt: skip


@screen("GET", f"/{SECTION}/{{issuer_id}}/change", _WRITE)
async def change_issuer(request: AdminRequest) -> Response[str]:
    issuer = read(await one(TRUSTED_ISSUERS, id=request.params["issuer_id"]))
    path, heading = f"{HOME}/{SECTION}/{issuer.id}/change", f"Change {issuer.issuer}"
    return _form(request, path, _shown(issuer), heading=heading, updated_at=issuer.updated_at)


@screen("POST", f"/{SECTION}/{{issuer_id}}/change", _WRITE, fresh=True)
async def save_issuer(request: AdminRequest) -> Response[Any]:
    row = await one(TRUSTED_ISSUERS, id=request.params["issuer_id"])
    try:
        await registration.update(row["id"], seen(request, row), **_entered(request.form))
    except FORM_ERRORS as error:
        path, heading = f"{HOME}/{SECTION}/{row['id']}/change", f"Change {row['issuer']}"
        return _form(request, path, request.form, error.description, heading=heading)
    return redirect_with_notice(f"/{SECTION}/{row['id']}")


async def _remove(_request: AdminRequest, issuer_id: str) -> tuple[str, str]:
    await registration.remove((await one(TRUSTED_ISSUERS, id=issuer_id))["id"])
    return f"/{SECTION}", "deleted"


async def _named(issuer_id: str) -> dict[str, Any]:
    issuer = read(await one(TRUSTED_ISSUERS, id=issuer_id))
    return {"Issuer": issuer.issuer, "Clients": issuer.clients}


actions.declare_actions(
    SECTION,
    "issuer_id",
    _named,
    [ConfirmedAction("remove", "Remove", "Tokens of the issuer are no longer accepted.", _WRITE, _remove)],
)
