"""The ceiling of a client that registers itself: the most that it may have.

A value beyond the ceiling is left out where the server may replace it (RFC 7591 section 2): scopes, grants, a secret
that the client can do without, types of authorization details. The response shows what is left. Otherwise the
registration is refused.
"""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

import msgspec

from idp.errors import OAuthError
from idp.oauth.clients import repository
from idp.oauth.clients.auth_methods import AUTH_METHODS
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata, is_scope
from idp.oauth.clients.registration import check_signing_keys
from idp.oauth.clients.registry import registry
from idp.oauth.scopes import SELF_SERVICE_SCOPES, STANDARD_SCOPES
from idp.oauth.token.grants import WITH_USER, grant_types
from idp.settings import Settings, settings

#: The grants that a client gets at most, if the operator does not say.
USER_GRANTS: Final = ("authorization_code", "refresh_token")
_HOST = re.compile(r"\.?[a-z0-9-]+(?:\.[a-z0-9-]+)*|[0-9a-f:.]+")


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a client may have.

    Attributes:
        scopes: what it may request. A client that does not name its scopes gets all of them.
        redirect_hosts: the hosts of its redirect and logout URIs, such as app.example.com, or .example.com for all
            hosts below it; empty: any, and schemes of apps.
        auth_methods: how it may authenticate.
        require_pkce: whether it must use PKCE. A client without authentication always must.
        logo: whether it may have a logo, which browsers load from its server.
        max_bytes: size of its metadata as JSON. Every worker holds every client in memory.
    """

    scopes: tuple[str, ...] = SELF_SERVICE_SCOPES
    grant_types: tuple[str, ...] = USER_GRANTS
    redirect_hosts: tuple[str, ...] = ()
    auth_methods: tuple[str, ...] = AUTH_METHODS
    require_pkce: bool = True
    logo: bool = True
    max_bytes: int = 16 * 1024


async def check(ceiling: Ceiling) -> None:
    """Check a ceiling that an operator sets.

    Raises:
        OAuthError: ``invalid_client_metadata``, a grant is unknown, or a scope is not for such clients.
    """
    if not ceiling.grant_types or not set(ceiling.grant_types) <= set(grant_types()):
        raise invalid_metadata(f"grant_types must be some of {', '.join(grant_types())}.")
    servers = [server for server in await repository.resource_servers() if server.self_registered_clients]
    if not set(ceiling.scopes) <= STANDARD_SCOPES.keys() | {name for server in servers for name in server.scopes}:
        raise invalid_metadata(
            "scopes must be standard ones, or of resource servers that are open to self-registered clients."
        )
    if any(not _HOST.fullmatch(host) for host in ceiling.redirect_hosts):
        raise invalid_metadata("redirect_hosts must be hosts, such as app.example.com or .example.com.")


def of_settings() -> Ceiling:
    """Return the ceiling of clients that register without an initial access token."""
    config = settings()
    return Ceiling(
        scopes=(*config.client_registration_scopes, *registry.open_scopes),
        grant_types=config.client_registration_grant_types,
        redirect_hosts=config.client_registration_hosts,
        auth_methods=config.client_registration_auth_methods,
        logo=False,
        max_bytes=4 * 1024,
    )


def problems(config: Settings) -> list[str]:
    """Return what is wrong with the ceiling of the settings, as sentences."""
    named = {
        "GRANT_TYPES": (config.client_registration_grant_types, grant_types()),
        "AUTH_METHODS": (config.client_registration_auth_methods, AUTH_METHODS),
    }
    return [
        f"IDP_CLIENT_REGISTRATION_{name} must be some of {', '.join(known)}."
        for name, (values, known) in named.items()
        if not values or not set(values) <= set(known)
    ]


def within(asked: ClientMetadata, ceiling: Ceiling) -> ClientMetadata:
    """Return the metadata of a client within a ceiling.

    Args:
        asked: its ``scope`` is empty if the client names none.

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata``, nothing usable is left.
    """
    if not is_scope(asked.scope):
        raise invalid_metadata("scope must be names separated by single spaces.")
    _check_hosts(asked, ceiling)
    check_signing_keys(asked)
    wanted = asked.scope.split() or ceiling.scopes
    scopes = [name for name in wanted if name in ceiling.scopes]
    if asked.scope and not scopes:
        raise invalid_metadata("scope has no scope that this client may have.")
    scopes += _others_of_servers(scopes, ceiling)
    grants = tuple(grant for grant in asked.grant_types if grant in ceiling.grant_types)
    if not grants:
        raise invalid_metadata(f"grant_types must be some of {', '.join(ceiling.grant_types)}.")
    if asked.subject_type == "pairwise" and not set(WITH_USER).intersection(grants) <= {"authorization_code"}:
        # Anybody can name the redirect URIs of another sector. Only what is sent there proves it.
        raise invalid_metadata("The subject_type pairwise is only for clients that get their tokens by redirect URIs.")
    method = _auth_method(asked, ceiling)
    return msgspec.structs.replace(
        asked,
        scope=" ".join(name for name in dict.fromkeys(scopes) if name not in registry.builtin_scopes),
        grant_types=grants,
        token_endpoint_auth_method=method,
        require_pkce=ceiling.require_pkce or method == "none",
        logo_uri=asked.logo_uri if ceiling.logo else None,
        authorization_details_types=(),
    )


def _others_of_servers(scopes: Collection[str], ceiling: Ceiling) -> list[str]:
    """Return the other scopes of the resource servers that define one of these.

    Clients of MCP register with the scopes of their first request, and ask for more of the same server when it refuses
    a later one. The user decides about each.
    """
    servers = [server for server in registry.resource_servers.values() if server.self_registered_clients]
    named = [server for server in servers if not server.scopes.isdisjoint(scopes)]
    return [name for server in named for name in server.scope.split() if name in ceiling.scopes]


def _auth_method(asked: ClientMetadata, ceiling: Ceiling) -> str:
    method = asked.token_endpoint_auth_method
    if method in ceiling.auth_methods:
        return method
    if "none" in ceiling.auth_methods and method.startswith("client_secret_") and method in AUTH_METHODS:
        return "none"
    raise invalid_metadata(f"token_endpoint_auth_method must be one of {', '.join(ceiling.auth_methods)}.")


def _check_hosts(asked: ClientMetadata, ceiling: Ceiling) -> None:
    if not ceiling.redirect_hosts:
        return
    if not all(_is_at(uri, ceiling.redirect_hosts) for uri in asked.redirect_uris):
        raise OAuthError("invalid_redirect_uri", "A redirect URI is not at a host that this registration allows.")
    if not all(_is_at(uri, ceiling.redirect_hosts) for uri in asked.post_logout_redirect_uris):
        raise invalid_metadata("post_logout_redirect_uris must be at hosts that this registration allows.")
    told = asked.backchannel_logout_uri
    if told is not None and not _is_at(told, ceiling.redirect_hosts):
        raise invalid_metadata("backchannel_logout_uri must be at a host that this registration allows.")


def _is_at(uri: str, hosts: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("https", "http"):
        return False
    return any(host == allowed or (allowed.startswith(".") and host.endswith(allowed)) for allowed in hosts)
