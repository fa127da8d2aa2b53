"""The checks of an authorization request, in order.

They run after the client and its redirect URI are validated, so a refusal can be sent to the client.
"""

import contextlib
from collections.abc import Callable

from idp.errors import InvalidRequestError, InvalidScopeError, InvalidTargetError, OAuthError, UnauthorizedClientError
from idp.keys import jose
from idp.oauth.authorize import legacy, organizations
from idp.oauth.authorize.request import MAX_LENGTH, AuthorizationRequest, granted_scope, read
from idp.oauth.authorize.response_modes import RESPONSE_MODES, allowed, effective
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.parameters import Parameters, words
from idp.oauth.resources import requested_resources
from idp.oauth.response_types import CODE, canonical, grants_of
from idp.settings import settings
from idp.trace import recorder

#: base64url of a SHA-256 without padding (RFC 7636 section 4.2).
SHA256_LENGTH = 43
BASE64URL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def response_mode(parameters: Parameters) -> str:
    """Return the response mode of a refusal.

    A client that sends ``response_mode`` only in a request object expects the error in that mode, also when the object
    is refused. This member and ``response_type`` are read without verification: they only select how the validated
    redirect URI is reached. The object has precedence (OpenID Connect Core section 6.1).
    """
    found: dict[str, object] = {name: parameters.get(name) for name in ("response_type", "response_mode")}
    if "request" in parameters:
        with contextlib.suppress(jose.InvalidJWTError):
            inside = jose.unverified_claims(parameters["request"])
            found = {name: inside.get(name, outside) for name, outside in found.items()}
    response_type, mode = (value if isinstance(value, str) else None for value in found.values())
    return effective(response_type or "", mode)


def prompts() -> tuple[str, ...]:
    """Return the supported values of ``prompt``; ``create`` only if people can register themselves."""
    create = ("create",) if settings().registers_by_mail else ()
    return ("none", "login", "consent", "select_account", *create)


def registration_is_not_used(parameters: Parameters, client: Client) -> None:
    """OpenID Connect Core section 7.2.1: the parameter must not be ignored."""
    if "registration" in parameters:
        raise OAuthError("registration_not_supported", "The registration parameter is not supported.")


def response_type_is_registered(parameters: Parameters, client: Client) -> None:
    """RFC 6749 section 3.1.1. Every client with the grant may use ``code``."""
    if "response_type" not in parameters:
        raise InvalidRequestError("response_type is missing.")
    response_type = canonical(parameters["response_type"])
    if response_type != CODE:
        legacy.check(parameters, client, response_type)
    if not grants_of(response_type) <= set(client.grant_types):
        raise UnauthorizedClientError("This client is not registered for the grant of this response_type.")


def response_mode_is_known(parameters: Parameters, client: Client) -> None:
    """OAuth 2.0 Multiple Response Types section 5, Form Post Response Mode section 2, JARM section 2.3."""
    mode = parameters.get("response_mode")
    if mode is None:
        return
    if mode not in RESPONSE_MODES:
        raise InvalidRequestError(f"response_mode must be one of {', '.join(RESPONSE_MODES)}.")
    if not allowed(parameters["response_type"], mode):
        raise InvalidRequestError("This response_type must not be answered in a query.")


def response_is_signed(parameters: Parameters, client: Client) -> None:
    """FAPI 2.0 Message Signing section 5.4.1: a client with the profile gets its responses as JWTs."""
    if profiles.rules(client).signed_responses and not parameters.get("response_mode", "").endswith("jwt"):
        raise InvalidRequestError("response_mode must be jwt, or end in .jwt: the profile of this client requires it.")


def lengths_are_bounded(parameters: Parameters, client: Client) -> None:
    """Values that are stored or echoed have a limit."""
    for name in ("state", "nonce", "scope", "login_hint", "idp_hint", "acr_values", "ui_locales", "resource"):
        if len(parameters.get(name, "")) > MAX_LENGTH:
            raise InvalidRequestError(f"{name} is too long.")


def scope_is_known(parameters: Parameters, client: Client) -> None:
    """RFC 6749 section 3.3: scopes that the client may not have are dropped; a request with no other is refused."""
    if not granted_scope(parameters, client) and ("scope" in parameters or "authorization_details" not in parameters):
        with recorder.explanation:
            recorder.step("scope_refused", scope=words(parameters, "scope"), allowed=sorted(client.scopes))
        raise InvalidScopeError("None of the requested scopes is known and allowed to this client.")


def organization_is_well_formed(parameters: Parameters, client: Client) -> None:
    """One organization at most, in the parameter or in the scope."""
    organizations.named(parameters)


def pkce_is_s256(parameters: Parameters, client: Client) -> None:
    """RFC 7636 section 4.4.1: S256 only, and required for a code unless the client is confidential and opted out."""
    challenge = parameters.get("code_challenge")
    if challenge is None:
        if CODE not in parameters["response_type"].split():
            return
        if client.require_pkce or client.public or "code_challenge_method" in parameters:
            raise InvalidRequestError("code_challenge is missing: PKCE is required.")
        return
    if parameters.get("code_challenge_method") != "S256":
        raise InvalidRequestError("code_challenge_method must be S256.")
    if len(challenge) != SHA256_LENGTH or not set(challenge) <= BASE64URL:
        raise InvalidRequestError("code_challenge must be the base64url of a SHA-256.")


def prompt_is_consistent(parameters: Parameters, client: Client) -> None:
    """OpenID Connect Core section 3.1.2.1, Initiating User Registration via OpenID Connect section 4.1."""
    prompt = set(words(parameters, "prompt"))
    if "create" in prompt and "create" not in prompts():
        raise InvalidRequestError("prompt create is not possible: people cannot register themselves here.")
    if not prompt <= set(prompts()):
        raise InvalidRequestError("prompt has an unknown value.")
    for alone in ("none", "create"):
        if alone in prompt and len(prompt) > 1:
            raise InvalidRequestError(f"prompt {alone} cannot be combined with others.")


def resources_are_registered(parameters: Parameters, client: Client) -> None:
    """RFC 8707 section 2."""
    for resource in requested_resources(parameters):
        if registry.resource_server(resource) is None:
            recorder.step("resource_refused", resource=resource)
            raise InvalidTargetError("The resource is not registered.")
        if not registry.may_access(client, resource):
            recorder.step("resource_refused", resource=resource)
            raise InvalidTargetError("The resource is not open to clients that registered themselves.")


def resource_is_named(parameters: Parameters, client: Client) -> None:
    """MCP authorization: a client names the server that its token is for (RFC 8707)."""
    if profiles.rules(client).names_resource and "resource" not in parameters:
        raise InvalidTargetError("resource is missing: the profile of this client requires it.")


def dpop_jkt_is_a_thumbprint(parameters: Parameters, client: Client) -> None:
    """RFC 9449 section 10: the base64url of a SHA-256."""
    jkt = parameters.get("dpop_jkt")
    if jkt is not None and (len(jkt) != SHA256_LENGTH or not set(jkt) <= BASE64URL):
        raise InvalidRequestError("dpop_jkt must be the SHA-256 thumbprint of a JWK.")


CHECKS: tuple[Callable[[Parameters, Client], None], ...] = (
    registration_is_not_used,
    response_type_is_registered,
    response_mode_is_known,
    response_is_signed,
    lengths_are_bounded,
    scope_is_known,
    pkce_is_s256,
    prompt_is_consistent,
    resources_are_registered,
    resource_is_named,
    organization_is_well_formed,
    dpop_jkt_is_a_thumbprint,
)

#: Those of a request whose response goes to the token endpoint (:class:`idp.oauth.authorize.request.PolledRequest`).
POLLED_CHECKS = (
    lengths_are_bounded,
    scope_is_known,
    resources_are_registered,
    resource_is_named,
    organization_is_well_formed,
    dpop_jkt_is_a_thumbprint,
)


def validate(parameters: Parameters, client: Client, redirect_uri: str) -> AuthorizationRequest:
    """Check the parameters of a request and return it.

    Args:
        redirect_uri: is validated already.

    Raises:
        OAuthError: a check refuses the request.
    """
    for check in CHECKS:
        check(parameters, client)
    return read(parameters, client, redirect_uri)


def validate_polled(parameters: Parameters, client: Client) -> AuthorizationRequest:
    """Check the parameters of a request whose response goes to the token endpoint, and return it.

    Raises:
        OAuthError: a check refuses the request.
    """
    for check in POLLED_CHECKS:
        check(parameters, client)
    return read(parameters, client, "")
