"""Registering a client: the form of each kind asks for what that kind needs."""

from typing import Any

from litestar import Response

from idp.admin.access import check_scope
from idp.admin.console import client_form
from idp.admin.console.client_paths import path_of
from idp.admin.console.components import Field
from idp.admin.console.once import show_once
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.oauth.clients import registration
from idp.oauth.clients.kinds import APPLICATION_KINDS
from idp.oauth.clients.presets import KINDS

WITHOUT_REDIRECTS = ("device", "service")
#: How a client with a secret or a key authenticates, with the defaults.
AUTHENTICATION = {"token_endpoint_auth_method": "client_secret_basic", "jwks_uri": None, "jwks": None}
#: Members that a new client is asked for, by its kind, with their defaults.
ASKED: dict[str, dict[str, Any]] = {
    "web": {"require_pkce": True, "scope_claims_in_id_token": False, "profile": None, **AUTHENTICATION},
    "spa": {"refresh_token_cookie": False, "scope_claims_in_id_token": False, "profile": None},
    "native": {"scope_claims_in_id_token": False, "profile": None},
    "device": {"scope_claims_in_id_token": False, **AUTHENTICATION, "token_endpoint_auth_method": "none"},
    "service": {"profile": None, **AUTHENTICATION},
}
#: Redirect URIs of each kind, as an example.
_EXAMPLES = {
    "web": "https://app.example.com/callback",
    "spa": "https://app.example.com/callback",
    "native": "com.example.app:/callback, or http://localhost/callback for any port",
}


@screen("GET", "/clients/new/{kind}", Permission.CLIENTS_WRITE)
async def new_client(request: AdminRequest) -> Response[str]:
    return _form(request, _kind(request))


def _kind(request: AdminRequest) -> str:
    kind = request.params["kind"]
    if kind not in APPLICATION_KINDS:
        raise not_found()
    return kind


def _form(request: AdminRequest, kind: str, error: str | None = None) -> Response[str]:
    name, about = APPLICATION_KINDS[kind]
    asked, form = ASKED[kind], request.form
    entered = client_form.read(form, asked, asked) if form else asked
    return render(
        request, "form", section="clients", heading=f"New {name.lower()}",
        intro=f"{about} Everything else is on its page, under Change.",
        fields=[*_names(request, kind), *client_form.fields(asked, entered, sections=False)],
        error=error, action=f"{HOME}/clients/new/{kind}", label="Register", back=f"{HOME}/clients",
        status=400 if error else 200,
    )  # fmt: skip


def _names(request: AdminRequest, kind: str) -> list[Field]:
    """Return the fields that every kind has, and the redirect URIs of those that have any."""
    form = request.form
    fields = [
        Field(
            "client_name", "Name", form.get("client_name", ""), required=True,
            help="Users see it when they sign in and consent.",
        ),
        Field(
            "client_id", "Client id", form.get("client_id", ""),
            help="Leave empty for a random one. Letters, digits and . _ ~ - are allowed. It cannot be changed.",
        ),
    ]  # fmt: skip
    if kind not in WITHOUT_REDIRECTS:
        hint = f"Exactly as the application sends them, one per line, such as {_EXAMPLES[kind]}."
        # By their numbers errors name them.
        uris = "\n".join(_lines(form.get("redirect_uris", "")))
        fields.append(Field("redirect_uris", "Redirect URIs", uris, "lines", hint, required=True))
    scope = form.get("scope", "" if form else KINDS[kind]["scope"])
    return [*fields, Field("scope", "Scopes", scope, help="What it may request, separated by spaces.")]


@screen("POST", "/clients/new/{kind}", Permission.CLIENTS_WRITE, fresh=True)
async def create_client(request: AdminRequest) -> Response[Any]:
    kind, form = _kind(request), request.form
    scope = form.get("scope", "").strip()
    check_scope(request.caller, scope.split())
    given: dict[str, Any] = {"client_name": form.get("client_name", "").strip(), "scope": scope}
    if kind not in WITHOUT_REDIRECTS:
        given["redirect_uris"] = _lines(form.get("redirect_uris", ""))
    entered = client_form.read(form, ASKED[kind], ASKED[kind])
    try:
        client_form.check_readable(entered)
        # A member that was left as it is gets what a profile requires.
        chosen = {name: value for name, value in entered.items() if value != ASKED[kind][name]}
        client_id = form.get("client_id", "").strip() or None
        client, secret = await registration.register_client(client_id, **(KINDS[kind] | given | chosen))
    except FORM_ERRORS as error:
        return _form(request, kind, error.description)
    path = path_of(client.client_id)
    return redirect_with_notice(path, "registered") if secret is None else show_once(request, path, secret)


def _lines(entered: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in entered.splitlines() if line.strip())
