"""Discovery documents and the JWKS.

They are served from memory, so that tokens can be verified while the database is down. A worker that starts then reads
the public keys from the copy on disk (:mod:`idp.keys.jwks_snapshot`).
"""

from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, get_args

from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.headers import encode, request_header
from idp.http.middleware import ON_SUCCESS
from idp.http.responses import BytesResponse
from idp.infra import i18n
from idp.infra.db.readiness import WITHOUT_DATABASE, readiness
from idp.infra.prepared_json import PreparedJSON, prepare
from idp.infra.request_context import client_address, head
from idp.keys import propagation
from idp.keys.algorithms import (
    CONTENT_ENCRYPTION_ALGORITHMS,
    KEY_ENCRYPTION_ALGORITHMS,
    PROOF_ALGORITHMS,
    SECRET_ALGORITHMS,
    VERIFICATION_ALGORITHMS,
)
from idp.keys.key_set import key_set
from idp.oauth import ciba, response_types
from idp.oauth.authorize.checks import prompts
from idp.oauth.authorize.request_object import SIGNING_ALGORITHMS as REQUEST_OBJECT_ALGORITHMS
from idp.oauth.authorize.response_modes import RESPONSE_MODES
from idp.oauth.binding import certificates
from idp.oauth.client_jwts import Kind
from idp.oauth.clients import jwks_consumers, lookup
from idp.oauth.clients.auth_methods import AUTH_METHODS, TLS_METHODS, WORKLOAD_METHOD
from idp.oauth.clients.dynamic import endpoint as client_registration
from idp.oauth.clients.members import DELIVERY_MODES, SUBJECT_TYPES
from idp.oauth.clients.registry import registry
from idp.oauth.device import endpoint as device
from idp.oauth.logout import session_management
from idp.oauth.scopes import CLAIMS, STANDARD_SCOPES
from idp.oauth.token import id_jag, jwt_bearer
from idp.oauth.token.grants import grant_types
from idp.settings import settings
from idp.signin.transitions import ACR_VALUES

ASSERTION_ALGORITHMS: Final = (*VERIFICATION_ALGORITHMS, *SECRET_ALGORITHMS)
#: The ``opt`` of all routes of this file.
DOCUMENT: Final = {"access": Access.PUBLIC, "cors": Cors.DOCUMENT} | WITHOUT_DATABASE


def _is_on(method: str) -> bool:
    """Return whether clients can authenticate by a method here."""
    if method == WORKLOAD_METHOD:
        return registry.has_workload_identities
    return method not in TLS_METHODS or certificates.permit(method)


def _metadata(issuer: str, algorithms: tuple[str, ...]) -> dict[str, Any]:
    """OpenID Connect Discovery section 3, RFC 8414 section 2, RFC 9207 section 3."""
    methods = tuple(filter(_is_on, AUTH_METHODS))
    confidential = [method for method in methods if method != "none"]
    return _mutual_tls() | {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "introspection_endpoint": f"{issuer}/introspect",
        "revocation_endpoint": f"{issuer}/revoke",
        "authorization_challenge_endpoint": f"{issuer}/challenge",
        "end_session_endpoint": f"{issuer}/logout",
        **({"device_authorization_endpoint": f"{issuer}{device.PATH}"} if settings().device_grant else {}),
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        **({"check_session_iframe": f"{issuer}{session_management.PATH}"} if settings().session_management else {}),
        **({"registration_endpoint": f"{issuer}{client_registration.PATH}"} if client_registration.is_on() else {}),
        "frontchannel_logout_supported": True,
        "frontchannel_logout_session_supported": True,
        "scopes_supported": list(STANDARD_SCOPES),
        "response_types_supported": list(response_types.supported()),
        "response_modes_supported": RESPONSE_MODES,
        "prompt_values_supported": prompts(),
        "grant_types_supported": list(grant_types()),
        "acr_values_supported": ACR_VALUES,
        "ui_locales_supported": i18n.LOCALES,
        "subject_types_supported": list(SUBJECT_TYPES),
        **_client_jwts(algorithms),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "claim_types_supported": ["normal", "distributed"],
        "claims_supported": list(CLAIMS),
        "claims_parameter_supported": True,
        "request_parameter_supported": True,
        "request_uri_parameter_supported": True,
        "require_request_uri_registration": True,
        "request_object_signing_alg_values_supported": REQUEST_OBJECT_ALGORITHMS,
        "require_signed_request_object": False,
        "require_pushed_authorization_requests": settings().require_pushed_requests,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        **({"client_id_metadata_document_supported": True} if lookup.accepts_documents() else {}),
        **(_ciba(issuer) if ciba.is_on() else {}),
    }


def _client_jwts(algorithms: tuple[str, ...]) -> dict[str, list[str]]:
    """Return how the JWTs of :mod:`idp.oauth.client_jwts` may be signed and encrypted."""
    values = {
        "signing_alg": list(algorithms),
        "encryption_alg": list(KEY_ENCRYPTION_ALGORITHMS),
        "encryption_enc": list(CONTENT_ENCRYPTION_ALGORITHMS),
    }
    return {f"{kind}_{what}_values_supported": values[what] for kind in get_args(Kind) for what in values}


def _ciba(issuer: str) -> dict[str, Any]:
    """CIBA Core section 4."""
    return {
        "backchannel_authentication_endpoint": f"{issuer}{ciba.PATH}",
        "backchannel_token_delivery_modes_supported": list(DELIVERY_MODES),
        "backchannel_authentication_request_signing_alg_values_supported": REQUEST_OBJECT_ALGORITHMS,
        "backchannel_user_code_parameter_supported": False,
    }


#: The endpoints that a client calls itself, which have an alias for mutual TLS.
_ALIASED: Final = {
    "token_endpoint": "/token",
    "userinfo_endpoint": "/userinfo",
    "pushed_authorization_request_endpoint": "/par",
    "introspection_endpoint": "/introspect",
    "revocation_endpoint": "/revoke",
    "authorization_challenge_endpoint": "/challenge",
}


def _mutual_tls() -> dict[str, Any]:
    """RFC 8705 sections 3.3 and 5."""
    if settings().client_certificate_header is None:
        return {}
    base = settings().mtls_url
    aliased = (
        _ALIASED
        | ({"device_authorization_endpoint": device.PATH} if settings().device_grant else {})
        | ({"backchannel_authentication_endpoint": ciba.PATH} if ciba.is_on() else {})
    )
    aliases = {"mtls_endpoint_aliases": {name: f"{base}{path}" for name, path in aliased.items()}} if base else {}
    return {"tls_client_certificate_bound_access_tokens": True} | aliases


# The rest of it is of the settings and the registry.
@lru_cache(maxsize=8)
def _discovery(issuer: str, algorithms: tuple[str, ...], generation: int) -> PreparedJSON:
    return prepare(_metadata(issuer, algorithms) | {name: values for name, values in _lists().items() if values})


def _lists() -> dict[str, tuple[str, ...]]:
    """Return the members that depend on what is registered; an empty one is left out.

    RFC 9396 section 10, draft-ietf-oauth-identity-assertion-authz-grant section 7.
    """
    return {
        "authorization_details_types_supported": registry.details_types,
        "authorization_grant_profiles_supported": jwt_bearer.profiles(),
        "identity_chaining_requested_token_types_supported": id_jag.token_types_issued(),
    }


def document() -> PreparedJSON:
    """Return the discovery document of this moment."""
    return _discovery(settings().issuer, key_set.algorithms(), registry.generation)


def cache_control() -> str:
    """Return the Cache-Control of the documents."""
    return f"public, max-age={settings().jwks_max_age}"


@lru_cache(maxsize=16)
def _answers(document: PreparedJSON, cached: str) -> tuple[BytesResponse, BytesResponse]:
    """Return the responses 200 and 304 of a document."""
    headers = {"Cache-Control": cached, "ETag": document.etag}
    # application/jwk-set+json is refused by some clients and by the tests of the OpenID Foundation.
    whole = BytesResponse(document.body, encode(headers | {"Content-Type": "application/json"}))
    return whole, BytesResponse(b"", encode(headers), status=HTTPStatus.NOT_MODIFIED)


def _unchanged(if_none_match: str, etag: str) -> bool:
    """Return whether the caller has this document (RFC 9110 section 13.1.2, weak comparison)."""
    if if_none_match == etag:
        return True
    tags = [tag.strip() for tag in if_none_match.split(",")]
    return "*" in tags or etag in [tag.removeprefix("W/") for tag in tags]


def _answer(request: Request[Any, Any, Any], document: PreparedJSON) -> BytesResponse:
    whole, unchanged = _answers(document, cache_control())
    if_none_match = request_header(request.scope, b"if-none-match")
    return unchanged if if_none_match and _unchanged(if_none_match, document.etag) else whole


def _require_keys() -> None:
    """Answer with 503 rather than with an empty set of keys.

    Raises:
        DatabaseUnavailableError: this process has not joined its database, and there is no copy of the keys on disk.
    """
    if not readiness.joined and not key_set.entries:
        readiness.require({})


@get(
    ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"],
    opt=DOCUMENT | {"quiet": ON_SUCCESS},
)
async def discovery(request: Request[Any, Any, Any]) -> BytesResponse:
    """Serve the metadata of this server, at the paths of OpenID Connect Discovery and of RFC 8414."""
    _require_keys()
    return _answer(request, document())


@get("/.well-known/jwks.json", opt=DOCUMENT | {"quiet": ON_SUCCESS})
async def jwks(request: Request[Any, Any, Any]) -> BytesResponse:
    """Serve the public keys (RFC 7517 section 5)."""
    _require_keys()
    agent = request_header(request.scope, b"user-agent") or ""
    if not head.get() and (servers := jwks_consumers.by_origin(client_address.get(), agent)):
        propagation.note(servers, client_address.get(), agent, key_set.kids())
    return _answer(request, key_set.jwks())


@get("/jwks/{jwks_id:str}", opt=DOCUMENT)
async def jwks_of_resource_server(request: Request[Any, Any, Any], jwks_id: FromPath[str]) -> BytesResponse:
    """Serve the public keys at the URL of one resource server, which records that it has fetched them.

    A worker without a database knows no resource servers, and answers at every such URL.
    """
    if not readiness.joined:
        _require_keys()
        return _answer(request, key_set.jwks())
    server = jwks_consumers.by_jwks_id(jwks_id)
    if server is None:
        raise NotFoundException
    if not head.get():
        agent = request_header(request.scope, b"user-agent") or ""
        propagation.note((server.identifier,), client_address.get(), agent, key_set.kids())
    return _answer(request, key_set.jwks())


ROUTES = [discovery, jwks, jwks_of_resource_server]
