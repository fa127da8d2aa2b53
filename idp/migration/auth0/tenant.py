"""A tenant: clients, APIs, roles, connections and organizations."""

from collections.abc import Collection
from typing import Any, Final

from idp.keys.algorithms import SIGNING_ALGORITHMS
from idp.migration import redirects, secrets
from idp.migration.auth0.representations import Client, Connection, ResourceServer, Tenant
from idp.migration.models import Export
from idp.oauth.clients.metadata import MAX_NAME_LENGTH
from idp.oauth.grant_types import DEVICE_CODE
from idp.settings import HOUR

#: Types of applications that have no secret.
_PUBLIC: Final = ("spa", "native")
_USERS: Final = "openid profile email address phone offline_access"
_GRANTS: Final = frozenset({"authorization_code", "refresh_token", "client_credentials", DEVICE_CODE})
_NO_PASSWORD: Final = "The password grant is refused. Use the authorization code flow."
_REFUSED: Final = {
    "implicit": "The implicit flow is left out. Use the authorization code flow with PKCE.",
    "password": _NO_PASSWORD,
    "http://auth0.com/oauth/grant-type/password-realm": _NO_PASSWORD,
}
_KINDS: Final = {"google-oauth2": "google", "github": "github", "oidc": "oidc", "okta": "oidc"}
_HOURS: Final = {
    "session_lifetime": "IDP_SESSION_LIFETIME",
    "idle_session_lifetime": "IDP_SESSION_IDLE_LIFETIME",
}
#: Connections that are no upstreams: here they are the password and the code by mail.
_OWN: Final = frozenset({"auth0", "email"})


def translate(export: Export, tenant: Tenant) -> None:
    """Add the objects of a tenant."""
    for api in tenant.resource_servers:
        if not api.is_system and not api.identifier.endswith("/api/v2/"):
            _add_api(export, api)
    for client in tenant.clients:
        _add_client(export, tenant, client)
    for role in tenant.roles:
        export.add("roles", {"name": role.name, "description": " ".join(role.description.split())})
        if role.permissions:
            export.change(f"role {role.name}", "Its permissions have no counterpart: a token has roles as a claim.")
    for connection in tenant.connections:
        _add_connection(export, connection)
    for one in tenant.organizations:
        export.add("organizations", {"slug": one.name, "name": one.display_name or one.name})
    for kind, found in (("actions", tenant.actions), ("rules", tenant.rules), ("hooks", tenant.hooks)):
        if found:
            export.skip(kind, "Programs are not translated: docs/migrate-from-auth0.md says what there is instead.")
    for name, setting in _HOURS.items():
        if isinstance(hours := tenant.tenant.get(name), int | float) and hours > 0:
            export.settings[setting] = str(round(hours * HOUR))


def _add_api(export: Export, api: ResourceServer) -> None:
    if api.signing_alg not in SIGNING_ALGORITHMS:
        export.change(f"API {api.identifier}", f"Its access tokens are signed with RS256 here, not {api.signing_alg}.")
    profile = api.token_dialect.startswith("rfc9068_profile")
    export.add(
        "resource_servers",
        {
            "identifier": api.identifier,
            "name": api.name or api.identifier,
            "scope": " ".join(scope.value for scope in api.scopes),
            "scope_descriptions": _descriptions(api) or None,
            "access_token_signed_response_alg": api.signing_alg if api.signing_alg in SIGNING_ALGORITHMS else None,
            "access_token_type": None if profile else "JWT",
        },
    )


def _descriptions(api: ResourceServer) -> dict[str, str]:
    """Return the descriptions of scopes, each in one line."""
    lines = {scope.value: " ".join(scope.description.split())[:MAX_NAME_LENGTH] for scope in api.scopes}
    return {scope: line for scope, line in lines.items() if line}


def _add_client(export: Export, tenant: Tenant, client: Client) -> None:
    what = f"client {client.name}"
    if not client.client_id:
        export.skip(what, "The file has no client_id. Take the clients from the API with --clients.")
        return
    uris = redirects.exact(export, what, client.callbacks)
    grants = _grants(export, what, client, uris)
    if not {*grants} - {"refresh_token"}:
        export.skip(what, "It has no grant that is supported here.")
        return
    users = {*grants} != {"client_credentials"}
    method = client.token_endpoint_auth_method or ("none" if client.app_type in _PUBLIC else "client_secret_basic")
    names = (client.client_id, client.name)
    granted = [scope for one in tenant.client_grants if one.client_id in names for scope in one.scope]
    entry: dict[str, Any] = {
        "client_id": client.client_id,
        "client_name": client.name,
        "application_type": redirects.application_type(uris),
        "token_endpoint_auth_method": method,
        "grant_types": grants,
        "redirect_uris": uris if "authorization_code" in grants else [],
        "post_logout_redirect_uris": redirects.exact(export, what, client.allowed_logout_urls),
        "scope": " ".join(dict.fromkeys([*(_USERS.split() if users else ()), *granted])),
        "skip_consent": client.is_first_party,
        "require_pkce": method == "none",
        "scope_claims_in_id_token": users,
        "require_pushed_authorization_requests": client.require_pushed_authorization_requests,
        "initiate_login_uri": client.initiate_login_uri or None,
        "logo_uri": client.logo_uri if client.logo_uri.startswith("https://") else None,
    }
    urls = client.oidc_logout.get("backchannel_logout_urls")
    if isinstance(urls, list) and urls:
        entry["backchannel_logout_uri"] = str(urls[0])
    if client.jwt_configuration.alg == "HS256":
        export.change(what, "Its ID tokens are signed with RS256 here, not HS256.")
    if method.startswith("client_secret"):
        reference = secrets.of_client(export, what, client.client_id, client.client_secret)
        if reference is None:
            return
        entry["client_secret"] = reference
    export.add("clients", entry)


def _grants(export: Export, what: str, client: Client, uris: Collection[str]) -> list[str]:
    """Return the grants that the client can have here."""
    grants = [grant for grant in client.grant_types if grant in _GRANTS]
    for grant in client.grant_types:
        if grant not in _GRANTS:
            export.skip(what, _REFUSED.get(grant, f"The grant {grant} has no counterpart."))
    if "authorization_code" in grants and not uris:
        grants.remove("authorization_code")
        export.skip(what, "It has no callback that is accepted here.")
    if client.token_endpoint_auth_method == "none" and "client_credentials" in grants:
        grants.remove("client_credentials")
    return grants


def _add_connection(export: Export, connection: Connection) -> None:
    what = f"connection {connection.name}"
    if connection.strategy in _OWN:
        return
    kind = _KINDS.get(connection.strategy)
    issuer = connection.text("issuer") or (f"https://{connection.text('domain')}" if connection.text("domain") else "")
    if kind is None or (kind == "oidc" and not issuer):
        export.skip(what, f"The strategy {connection.strategy} is not translated: docs/upstreams.md.")
        return
    upstream = connection.name.lower().replace("_", "-")[:31] if kind == "oidc" else kind
    named, reference = secrets.reference(export, "upstreams", upstream, connection.text("client_secret"))
    if reference is None:
        export.todo(what, f"It is disabled, because the export has no secret. Set it in the environment: {named}")
    entry = {
        "id": upstream,
        "kind": kind,
        "name": connection.display_name or connection.name,
        "client_id": connection.text("client_id"),
        "client_secret": reference,
        "disabled": reference is None,
    }
    export.add("upstreams", entry | ({"issuer": issuer} if kind == "oidc" else {}))
    export.todo(what, f"Register the redirect URI of this server there: …/upstreams/{upstream}/callback")
