"""Clients of a realm."""

import json
import re
from typing import Any, Final

from idp.keys.algorithms import SIGNING_ALGORITHMS
from idp.migration import redirects, secrets
from idp.migration.keycloak.representations import Client, Realm
from idp.migration.models import Export
from idp.oauth.clients.uris import origin_of
from idp.oauth.clients.validation.general import SHORTEST
from idp.oauth.grant_types import DEVICE_CODE
from idp.oauth.scopes import STANDARD_SCOPES
from idp.settings import settings

#: Keycloak makes these for itself in each realm.
BUILT_IN: Final = frozenset(
    {"account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console"}
)
#: Scopes that only carry Keycloak's own claims, which every token has here, or which have no counterpart.
INTERNAL_SCOPES: Final = frozenset({"acr", "basic", "microprofile-jwt", "service_account", "web-origins", "role_list"})
_METHODS: Final = {
    "client-secret": "client_secret_basic",
    "client-secret-jwt": "client_secret_jwt",
    "client-jwt": "private_key_jwt",
    "client-x509": "tls_client_auth",
}
_SECONDS: Final = re.compile("[0-9]{1,8}")
#: Lifetimes of a client, and the member that is each here.
_LIFETIMES: Final = {
    "access.token.lifespan": "access_token_lifetime",
    "client.session.idle.timeout": "refresh_token_lifetime",
    "client.session.max.lifespan": "refresh_token_family_lifetime",
}
_OFFLINE_LIMITS: Final = ("client.offline.session.idle.timeout", "client.offline.session.max.lifespan")
_SEVERAL: Final = "##"


def translate(export: Export, realm: Realm) -> set[str]:
    """Add the clients. Returns the ids of those that can have roles here."""
    return {
        client.client_id for client in realm.clients if client.client_id not in BUILT_IN and _add(export, realm, client)
    }


def _add(export: Export, realm: Realm, client: Client) -> bool:
    what = f"client {client.client_id}"
    if client.protocol != "openid-connect":
        export.skip(what, f"The protocol {client.protocol} is not supported.")
        return False
    method = "none" if client.public_client else _METHODS.get(client.client_authenticator_type)
    if method is None:
        export.skip(what, f"The client authentication {client.client_authenticator_type} is not supported.")
        return False
    uris = redirects.exact(export, what, client.redirect_uris, client.root_url) if client.standard_flow_enabled else []
    if client.standard_flow_enabled and not client.bearer_only and not uris:
        export.skip(what, "It has no redirect URI that is accepted here.")
        return False
    grants = _grants(export, what, client)
    if not grants:
        export.skip(what, "It has no grant that is supported here.")
        return False
    entry: dict[str, Any] = {
        "client_id": client.client_id,
        "client_name": client.name if client.name and "${" not in client.name else client.client_id,
        "application_type": redirects.application_type(uris),
        "token_endpoint_auth_method": method,
        "grant_types": grants,
        "redirect_uris": uris,
        "post_logout_redirect_uris": _post_logout(export, what, client, uris),
        "scope": _scope(realm, client, grants),
        "skip_consent": not client.consent_required,
        "require_pkce": client.public_client or client.text("pkce.code.challenge.method") == "S256",
        "disabled": not client.enabled,
        "scope_claims_in_id_token": bool(uris),
    }
    known = {origin_of(uri) for uri in uris}
    if others := [origin for origin in client.web_origins if origin.rstrip("/") not in {*known, "+"}]:
        export.change(what, f"Scripts may call from the origins of redirect URIs only, not from: {' '.join(others)}")
    entry |= _keys(client, method) | _logout(client) | _security(export, what, client) | _links(client)
    if method.startswith("client_secret"):
        reference = secrets.of_client(export, what, client.client_id, client.secret)
        if reference is None:
            return False
        entry["client_secret"] = reference
    export.add("clients", entry)
    return True


def _grants(export: Export, what: str, client: Client) -> list[str]:
    grants = []
    if client.bearer_only:
        export.change(what, "It only accepts tokens. It can introspect them; add it as a resource server too.")
        return ["client_credentials"]
    if client.standard_flow_enabled:
        grants += ["authorization_code"]
    if client.on("oauth2.device.authorization.grant.enabled"):
        grants.append(DEVICE_CODE)
    if grants and client.text("use.refresh.tokens") != "false":
        grants.append("refresh_token")
    if client.service_accounts_enabled and not client.public_client:
        grants.append("client_credentials")
    if client.direct_access_grants_enabled:
        export.skip(what, "The password grant (Direct access grants) is refused. Use the authorization code flow.")
    if client.implicit_flow_enabled:
        export.skip(what, "The implicit flow is left out. Use the authorization code flow with PKCE.")
    if client.authorization_services_enabled:
        export.skip(what, "Authorization services (resources, permissions and policies) have no counterpart.")
    if client.on("oidc.ciba.grant.enabled"):
        export.todo(what, "CIBA needs settings here: docs/ciba.md.")
    if client.on("standard.token.exchange.enabled"):
        export.todo(what, "Token exchange needs a policy here: idp token-exchange add.")
    return grants


def _post_logout(export: Export, what: str, client: Client, uris: list[str]) -> list[str]:
    given = [uri for uri in client.text("post.logout.redirect.uris").split(_SEVERAL) if uri not in ("", "-")]
    own = uris if "+" in given else []
    return [*own, *redirects.exact(export, what, [uri for uri in given if uri != "+"], client.root_url)]


def _scope(realm: Realm, client: Client, grants: list[str]) -> str:
    known = {scope.name for scope in realm.client_scopes} | STANDARD_SCOPES.keys()
    named = dict.fromkeys([*client.default_client_scopes, *client.optional_client_scopes])
    found = [name for name in named if name in known and name not in INTERNAL_SCOPES and name != "openid"]
    if grants == ["client_credentials"]:
        return " ".join(name for name in found if name not in STANDARD_SCOPES)
    return " ".join(["openid", *found])


def _keys(client: Client, method: str) -> dict[str, Any]:
    if method == "tls_client_auth":
        return {"tls_client_auth_subject_dn": client.text("x509.subjectdn")}
    if method != "private_key_jwt":
        return {}
    if client.on("use.jwks.url"):
        return {"jwks_uri": client.text("jwks.url")}
    try:
        jwks = json.loads(client.text("jwks.string") or "null")
    except (ValueError, RecursionError):
        jwks = None
    return {"jwks": jwks}


def _logout(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for channel, on in (("backchannel", True), ("frontchannel", client.frontchannel_logout)):
        if on and (url := client.text(f"{channel}.logout.url")):
            found[f"{channel}_logout_uri"] = url
            found[f"{channel}_logout_session_required"] = client.on(f"{channel}.logout.session.required")
    return found


def _security(export: Export, what: str, client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dpop_bound_access_tokens": client.on("dpop.bound.access.tokens"),
        "tls_client_certificate_bound_access_tokens": client.on("tls.client.certificate.bound.access.tokens"),
        "require_pushed_authorization_requests": client.on("require.pushed.authorization.requests"),
    }
    for attribute, member in (
        ("id.token.signed.response.alg", "id_token_signed_response_alg"),
        ("user.info.response.signature.alg", "userinfo_signed_response_alg"),
    ):
        alg = client.text(attribute)
        if alg in SIGNING_ALGORITHMS:
            found[member] = alg
        elif alg and alg != "unsigned":
            export.change(what, f"{member} is the default here, because {alg} is not supported.")
    if client.public_client and client.text("pkce.code.challenge.method") != "S256":
        export.change(what, "It must use PKCE with S256 here, because it has no secret.")
    found |= _lifetimes(export, what, client)
    if any(mapper.protocol_mapper == "oidc-sha256-pairwise-sub-mapper" for mapper in client.protocol_mappers):
        export.change(what, "Its pairwise subjects are hashes of Keycloak and cannot be kept: it gets the public ones.")
    return found


def _lifetimes(export: Export, what: str, client: Client) -> dict[str, int]:
    found = {}
    for attribute, member in _LIFETIMES.items():
        if not (seconds := client.text(attribute)):
            continue
        longest = getattr(settings(), member)
        if _SECONDS.fullmatch(seconds) and int(seconds) >= SHORTEST[member]:
            found[member] = int(seconds)
        if found.get(member, longest + 1) > longest:
            export.change(what, f"{attribute} of {seconds} seconds: it is {longest}, as IDP_{member.upper()} says.")
    for attribute in _OFFLINE_LIMITS:
        if seconds := client.text(attribute):
            export.skip(what, f"{attribute} of {seconds} seconds: offline access has no lifetimes of its own.")
    return found


def _links(client: Client) -> dict[str, Any]:
    links = {"client_uri": client.base_url, "logo_uri": client.text("logoUri")}
    links |= {"policy_uri": client.text("policyUri"), "tos_uri": client.text("tosUri")}
    return {name: link for name, link in links.items() if link.startswith("https://")}
