"""Screens of clients: guided creation, metadata and actions."""

from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response

from idp import clock
from idp.admin.access import check_client, check_scope
from idp.admin.console import access_policies, actions, client_form, reports, snippets
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.claim_preview import may_preview
from idp.admin.console.components import (
    Action,
    Cell,
    Field,
    Table,
    asked_page,
    facts,
    next_url,
    one,
    seen,
    sortable,
    text,
    version,
    when,
)
from idp.admin.console.once import secret_of, show_once
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.incidents import contain_client
from idp.admin.roles import Permission
from idp.directory.repository.roles import OWN_ROLES
from idp.infra import pictures
from idp.infra.db.listing import list_page
from idp.oauth.access_policies.repository import policy_of
from idp.oauth.clients import logos, registration, service
from idp.oauth.clients.auth_methods import SECRET_BEARING_METHODS
from idp.oauth.clients.members import default_of
from idp.oauth.clients.models import Client
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.presets import KINDS
from idp.oauth.clients.repository import CLIENTS, flat
from idp.oauth.clients.validation import not_possible
from idp.oauth.token.grants import grant_types

TITLES = {
    "web": ("Web application", "An app with a server that can keep a secret."),
    "spa": ("Single-page app", "An app that runs in the browser and cannot keep a secret."),
    "native": ("Native app", "On a phone or a desktop."),
    "device": ("Device", "A television or a terminal: its users sign in on their phone with a code."),
    "service": ("Service", "A program that calls APIs as itself, without users."),
}
WITHOUT_REDIRECTS = ("device", "service")
#: How a client with a secret or a key authenticates, with the defaults.
AUTHENTICATION = {"token_endpoint_auth_method": "client_secret_basic", "jwks_uri": None, "jwks": None}
#: Members that a new client is asked for, by application type, with their defaults.
ASKED: dict[str, dict[str, Any]] = {
    "web": {"require_pkce": True, "scope_claims_in_id_token": False, "profile": None, **AUTHENTICATION},
    "spa": {"refresh_token_cookie": False, "scope_claims_in_id_token": False, "profile": None},
    "native": {"scope_claims_in_id_token": False, "profile": None},
    "device": {"scope_claims_in_id_token": False, **AUTHENTICATION, "token_endpoint_auth_method": "none"},
    "service": {"profile": None, **AUTHENTICATION},
}
#: Members that the page of a client shows even if they have their default.
ALWAYS = ("redirect_uris", "grant_types", "scope", "id_token_signed_response_alg", "require_pkce")
#: By whom, according to the origin of a client.
ORIGINS = {"admin": "by an administrator", "dynamic": "by itself", "document": "by its metadata document"}
METHOD = "token_endpoint_auth_method"


@screen("GET", "/clients", Permission.CLIENTS_READ)
async def list_clients(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, CLIENTS)
    rows = [
        [
            Cell(row["client_name"], f"{HOME}{_path(row['client_id'])}"),
            Cell(row["client_id"]),
            text(row["grant_types"]),
            _state(row),
            when(row["created_at"]),
        ]
        for row in map(flat, found.rows)
    ]
    create = []
    if Permission.CLIENTS_WRITE in request.caller.allowed:
        create = [Action(f"New {title.lower()}", f"{HOME}/clients/new/{kind}") for kind, (title, _) in TITLES.items()]
    return render(
        request, "list", section="clients", heading="Clients", path=f"{HOME}/clients", acts=create,
        intro="Applications that users sign in to, and services that act as themselves.",
        filters=_filters(request),
        columns=sortable(
            request, CLIENTS, ("Name", "client_id", "Grants", "State", "Created"),
            {"Name": "client_name", "Created": "created_at"},
        ),
        rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _path(client_id: str) -> str:
    """Return the path of a client's page below that of the console."""
    return f"/clients/{path_id(client_id)}"


async def _read(client_id: str) -> dict[str, Any]:
    return flat(await one(CLIENTS, client_id=client_id))


def _filters(request: AdminRequest) -> list[Field]:
    states = (("", "All"), ("false", "enabled"), ("true", "disabled"))
    origins = (("", "All"), *ORIGINS.items())
    grants = (("", "All"), *((grant, grant) for grant in grant_types()))
    return [
        Field("q", "Part of the name, or the client_id", request.query.get("q", ""), "search"),
        Field("disabled", "State", request.query.get("disabled", ""), "choice", choices=states),
        Field("origin", "Registered", request.query.get("origin", ""), "choice", choices=origins),
        Field("grant_type", "Grant", request.query.get("grant_type", ""), "choice", choices=grants),
    ]


def _state(row: Any) -> Cell:
    return Cell("disabled", mood="bad") if row["disabled_at"] else Cell("enabled", mood="good")


@screen("GET", "/clients/new/{kind}", Permission.CLIENTS_WRITE)
async def new_client(request: AdminRequest) -> Response[str]:
    return _creation(request)


def _creation(request: AdminRequest, error: str | None = None) -> Response[str]:
    kind = request.params["kind"]
    if kind not in TITLES:
        raise not_found()
    title, explanation = TITLES[kind]
    fields = [Field("client_name", "Name that users see", request.form.get("client_name", ""), required=True)]
    if kind not in WITHOUT_REDIRECTS:
        uris, hint = request.form.get("redirect_uris", ""), "Exactly as the client sends them, one per line, such as "
        if kind == "native":
            hint += "com.example.app:/callback or http://localhost/callback, which stands for any port"
        else:
            hint += "https://app.example.com/callback"
        fields.append(Field("redirect_uris", "Redirect URIs", uris, "lines", hint, required=True))
    scope = request.form.get("scope", KINDS[kind]["scope"])
    fields.append(Field("scope", "Allowed scopes", scope, help="Separated by spaces."))
    asked = ASKED[kind]
    entered = client_form.read(request.form, asked, asked) if request.form else asked
    fields += client_form.fields(asked, entered, sections=False)
    return render(
        request, "form", section="clients", heading=f"New {title.lower()}", intro=explanation, fields=fields,
        error=error,
        action=f"{HOME}/clients/new/{kind}", label="Register", back=f"{HOME}/clients", status=400 if error else 200,
    )  # fmt: skip


@screen("POST", "/clients/new/{kind}", Permission.CLIENTS_WRITE, fresh=True)
async def create_client(request: AdminRequest) -> Response[Any]:
    kind = request.params["kind"]
    if kind not in TITLES:
        raise not_found()
    scope = request.form.get("scope", "").strip()
    check_scope(request.caller, scope.split())
    given: dict[str, Any] = {"client_name": request.form.get("client_name", "").strip(), "scope": scope}
    if kind not in WITHOUT_REDIRECTS:
        given["redirect_uris"] = _lines(request.form.get("redirect_uris", ""))
    entered = client_form.read(request.form, ASKED[kind], ASKED[kind])
    try:
        client_form.check_readable(entered)
        # A member that was left as it is gets what a profile requires.
        chosen = {name: value for name, value in entered.items() if value != ASKED[kind][name]}
        client, secret = await registration.register_client(**(KINDS[kind] | given | chosen))
    except FORM_ERRORS as error:
        return _creation(request, error.description)
    path = _path(client.client_id)
    return redirect_with_notice(path, "registered") if secret is None else show_once(request, path, secret)


def _lines(entered: str) -> Any:
    return tuple(line.strip() for line in entered.splitlines() if line.strip())


@screen("GET", "/clients/{client_id}", Permission.CLIENTS_READ)
async def show_client(request: AdminRequest) -> Response[str]:
    return await _record(request, request.params["client_id"])


async def _record(request: AdminRequest, client_id: str) -> Response[str]:
    secret = secret_of(request)
    row = await _read(client_id)
    shown = {
        "client_id": row["client_id"],
        "State": _state(row),
        "Who may use it": await _who(client_id),
        "Registered": ORIGINS[row["origin"]],
        **({"Deleted if unused": row["expires_at"]} if row["expires_at"] else {}),
        **({"Document read": when(row["document_fetched_at"])} if row["origin"] == "document" else {}),
        "application_type": row["application_type"],
        METHOD: row[METHOD],
        **_secrets(row),
        **{name: _shown(row[name]) for name in client_form.NAMES if _tells(name, row[name])},
        "Role at the admin API": row["admin_role"],
        "Tokens are valid from": when(row["not_before"], "ever"),
        "Created": row["created_at"],
        "Changed": row["updated_at"],
    }
    return render(
        request, "record", section="clients", heading=row["client_name"], facts=facts(shown), secret=secret,
        acts=_acts(request, row), snippets=snippets.of_client(row, secret or "THE_SECRET"),
        tables=[await _roles(row)] if Permission.GROUPS_READ in request.caller.allowed else [],
    )  # fmt: skip


async def _roles(row: dict[str, Any]) -> Table:
    found = await list_page(OWN_ROLES, {"client_id": row["client_id"]}, limit=20)
    rows = [[Cell(each["name"], f"{HOME}/roles/{each['id']}"), text(each["description"])] for each in found.rows]
    more = f"{HOME}/roles?{urlencode({'client_id': row['client_id']})}" if found.next_cursor else None
    return Table("Roles", ("Name", "Description"), rows, next=more)


async def _who(client_id: str) -> Cell:
    policy = await policy_of(client_id)
    return Cell("everybody" if policy is None else "see its access policy", f"{HOME}{access_policies.path(client_id)}")


def _secrets(row: dict[str, Any]) -> dict[str, Cell]:
    """Return which secrets are accepted."""
    if row[METHOD] not in SECRET_BEARING_METHODS:
        return {}
    newest = when(row["client_secret_expires_at"], "no end") if row["client_secret_live"] else None
    found = {"Secret is valid until": newest or Cell("none is valid", mood="bad")}
    if row["previous_secret_live"]:
        found["Old secret is valid until"] = when(row["previous_secret_expires_at"])
    return found


def _tells(name: str, value: Any) -> bool:
    """Return whether the value of a member is worth a line: those of rare members are usually the default."""
    usual = list(each) if isinstance(each := default_of(name), tuple) else each
    return bool(value) and name not in ("client_name", METHOD) and (value != usual or name in ALWAYS)


def _shown(value: Any) -> Any:
    return " ".join(str(key.get("kid", key.get("kty"))) for key in value["keys"]) if isinstance(value, dict) else value


def _acts(request: AdminRequest, row: Any) -> list[Action]:
    of_it = urlencode({"client_id": row["client_id"]})
    may_add = Permission.GROUPS_WRITE in request.caller.allowed
    new_role = [Action("New role", f"{HOME}/roles/new?{of_it}")] if may_add else []
    path = f"{HOME}{_path(row['client_id'])}"
    preview = [Action("Claims of a user", f"{path}/claims")] if may_preview(request.caller) else []
    if Permission.CLIENTS_WRITE not in request.caller.allowed:
        return [*preview, *new_role]
    found = [*preview, Action("Change", f"{path}/change"), Action("Upload a logo", f"{path}/logo")]
    if row["logo_uri"]:
        found.append(Action("Remove the logo", f"{path}/remove_logo"))
    if row[METHOD] in SECRET_BEARING_METHODS:
        found.append(Action("New secret", f"{path}/rotate_secret"))
    if row["previous_secret_live"]:
        found.append(Action("End the old secret", f"{path}/end_previous_secret", danger=True))
    found.append(
        Action("Enable", f"{path}/enable") if row["disabled_at"] else Action("Disable", f"{path}/disable", danger=True)
    )
    found += new_role
    found.append(Action("Reject issued tokens", f"{path}/not_before", danger=True))
    return [*found, Action("Contain", f"{path}/contain", danger=True), Action("Delete", f"{path}/delete", danger=True)]


@screen("GET", "/clients/{client_id}/change", Permission.CLIENTS_WRITE)
async def change_client(request: AdminRequest) -> Response[str]:
    row = await _read(request.params["client_id"])
    return _change(request, row)


def _change(request: AdminRequest, values: dict[str, Any], error: str | None = None) -> Response[str]:
    reasons = {} if error else not_possible(msgspec.convert(values, Client))
    fields = client_form.fields(client_form.NAMES, values, reasons)
    path = f"{HOME}{_path(request.params['client_id'])}"
    return render(
        request, "form", section="clients", heading=f"Change {values['client_name']}", fields=fields, error=error,
        action=f"{path}/change", label="Save", back=path, status=400 if error else 200,
        version=version(request, values.get("updated_at")),
    )  # fmt: skip


@screen("POST", "/clients/{client_id}/change", Permission.CLIENTS_WRITE, fresh=True)
async def save_client(request: AdminRequest) -> Response[Any]:
    client_id = request.params["client_id"]
    row = await _read(client_id)
    await check_client(request.caller, client_id)
    entered = client_form.read(request.form, client_form.NAMES, row)
    check_scope(request.caller, entered["scope"].split())
    try:
        client_form.check_readable(entered)
        stored = msgspec.convert(row, Client)
        # The others get what a new profile requires.
        changed = {name: value for name, value in entered.items() if value != getattr(stored, name)}
        await service.update_client(client_id, seen(request, row), **changed)
    except FORM_ERRORS as error:
        return _change(request, entered, error.description)
    return redirect_with_notice(_path(client_id))


@screen("GET", "/clients/{client_id}/logo", Permission.CLIENTS_WRITE)
async def ask_for_logo(request: AdminRequest) -> Response[str]:
    row = await _read(request.params["client_id"])
    return await _logo(request, row["client_id"])


async def _logo(request: AdminRequest, client_id: str, error: str | None = None) -> Response[str]:
    path = f"{HOME}{_path(client_id)}"
    size = pictures.MAX_BYTES // 1024
    hint = f"PNG, JPEG, GIF or WebP, up to {size} KiB. SVG is not accepted, because it can run scripts."
    return render(
        request, "form", section="clients", heading="Upload a logo", multipart=True,
        subject=facts(await _named(client_id)), error=error, action=f"{path}/logo",
        fields=[Field("file", "Picture", kind="file", help=hint, required=True)], label="Upload", back=path,
        status=400 if error else 200,
    )  # fmt: skip


@screen("POST", "/clients/{client_id}/logo", Permission.CLIENTS_WRITE, upload=True)
async def upload_logo(request: AdminRequest) -> Response[Any]:
    client_id = await _allowed(request, request.params["client_id"])
    try:
        await logos.save_logo(client_id, request.file)
    except FORM_ERRORS as error:
        return await _logo(request, client_id, error.description)
    return redirect_with_notice(_path(client_id))


# Actions


async def _allowed(request: AdminRequest, client_id: str) -> str:
    await one(CLIENTS, client_id=client_id)
    await check_client(request.caller, client_id)
    return client_id


async def _rotate(request: AdminRequest, client_id: str) -> Response[bytes]:
    secret = await registration.rotate_secret(await _allowed(request, client_id))
    return show_once(request, _path(client_id), secret)


async def _end_previous_secret(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await registration.end_previous_secret(await _allowed(request, client_id))
    return _path(client_id), "secret-ended"


async def _remove_logo(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await logos.remove_logo(await _allowed(request, client_id))
    return _path(client_id), "saved"


async def _disable(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await registration.disable_client(await _allowed(request, client_id))
    return _path(client_id), "disabled"


async def _enable(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await registration.enable_client(await _allowed(request, client_id))
    return _path(client_id), "enabled"


async def _not_before(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await service.set_not_before(await _allowed(request, client_id), clock.now())
    return _path(client_id), "saved"


async def _contain(request: AdminRequest, client_id: str) -> Response[str]:
    report = await contain_client(await _allowed(request, client_id))
    return reports.show_report(request, "clients", report, f"{HOME}{_path(client_id)}")


async def _delete(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await service.delete_client(await _allowed(request, client_id))
    return "/clients", "deleted"


async def _named(client_id: str) -> dict[str, Any]:
    row = await _read(client_id)
    return {"Name": row["client_name"], "client_id": row["client_id"]}


_WRITE = Permission.CLIENTS_WRITE
actions.declare_actions(
    "clients",
    "client_id",
    _named,
    [
        ConfirmedAction(
            "rotate_secret",
            "New secret",
            "The old secret stops working immediately, or after IDP_CLIENT_SECRET_OVERLAP if that is set."
            " The new one is shown once.",
            _WRITE,
            _rotate,
        ),
        ConfirmedAction(
            "end_previous_secret",
            "End the old secret",
            "Only the newest secret is accepted from now on.",
            _WRITE,
            _end_previous_secret,
        ),
        ConfirmedAction(
            "remove_logo", "Remove the logo", "Pages then show only the name.", _WRITE, _remove_logo, danger=False
        ),
        ConfirmedAction(
            "disable",
            "Disable",
            "The requests of the client are refused, and all its tokens are revoked.",
            _WRITE,
            _disable,
        ),
        ConfirmedAction(
            "enable",
            "Enable",
            "The requests of the client are accepted again. Users have to sign in again.",
            _WRITE,
            _enable,
            danger=False,
        ),
        ConfirmedAction(
            "not_before",
            "Reject issued tokens",
            "Tokens issued to the client until now are rejected.",
            _WRITE,
            _not_before,
        ),
        ConfirmedAction(
            "contain",
            "Contain",
            "For a compromised client. The client is disabled, and all its tokens and consents end.",
            _WRITE,
            _contain,
        ),
        ConfirmedAction(
            "delete",
            "Delete",
            "The client is deleted with all its tokens and consents. This cannot be undone.",
            _WRITE,
            _delete,
        ),
    ],
)
