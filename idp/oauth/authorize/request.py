"""An authorization request as a typed struct.

It is read once from the parameters, then stored, and never taken from the browser again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import msgspec
import structlog

from idp.errors import InvalidRequestError, InvalidScopeError, OAuthError
from idp.infra import foreign_json
from idp.oauth.authorize import organizations
from idp.oauth.authorize.response_modes import effective
from idp.oauth.clients.models import Client
from idp.oauth.details.models import Details
from idp.oauth.details.requested import allowed_type, requested, resources_of_request
from idp.oauth.id_token_hint import read_id_token_hint
from idp.oauth.parameters import Parameters, words
from idp.oauth.resources import check_access, default_scope, requested_resources
from idp.oauth.response_types import canonical
from idp.oauth.scopes import CLAIMS, SCOPE_OF_CLAIM
from idp.trace import recorder

log = structlog.get_logger()

#: Longest value of a parameter that is echoed or stored.
MAX_LENGTH = 2048
#: Deepest nesting of ``claims``, which becomes a part of what is stored.
MAX_DEPTH = 16
#: A maximum age in seconds that every sign-in with a known time satisfies.
KNOWN = 10**9


class ClaimRequest(msgspec.Struct, frozen=True):
    """The request for one claim (OpenID Connect Core section 5.5.1)."""

    essential: bool = False
    value: Any = None
    values: list[Any] | None = None

    def accepted(self) -> list[Any]:
        """Return the acceptable values; empty: any value."""
        return self.values or ([] if self.value is None else [self.value])


class ClaimsRequest(msgspec.Struct, frozen=True):
    """The ``claims`` parameter (OpenID Connect Core section 5.5)."""

    userinfo: dict[str, ClaimRequest | None] = {}
    id_token: dict[str, ClaimRequest | None] = {}

    @classmethod
    def from_json(cls, data: str | None) -> Self:
        """Parse the parameter as codes and token families store it."""
        return cls() if data is None else msgspec.json.decode(data, type=cls)


class PolledRequest(msgspec.Struct, frozen=True):
    """The name of a request whose response the client gets at the token endpoint, where it polls for it.

    Attributes:
        grant_type: that of the poll.
        hash: the SHA-256 of the code that the client polls with.
    """

    grant_type: str
    hash: bytes


class ApprovedRequest(msgspec.Struct, frozen=True):
    """A request that its user has approved and that yields tokens, with the sign-in of the session in which they did.

    Attributes:
        request: the :class:`AuthorizationRequest` as JSON.
    """

    user_id: UUID
    request: str
    auth_time: datetime
    auth_age: int | None
    amr: Sequence[str]
    acr: str


class AuthorizationRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An authorization request (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2.1)."""

    client_id: str
    redirect_uri: str
    response_type: str
    response_mode: str = "query"
    scope: tuple[str, ...] = ()
    state: str | None = None
    nonce: str | None = None
    code_challenge: str | None = None
    prompt: frozenset[str] = frozenset()
    max_age: int | None = None
    login_hint: str = ""
    acr_values: tuple[str, ...] = ()
    ui_locales: tuple[str, ...] = ()
    claims: ClaimsRequest = ClaimsRequest()
    resource: tuple[str, ...] = ()
    #: The thumbprint of the key that the code is bound to (RFC 9449 section 10).
    dpop_jkt: str | None = None
    #: The upstream that the user is redirected to at once.
    idp_hint: str = ""
    #: The subject that ``id_token_hint`` or a claims request for ``sub`` names; other users are refused.
    subject: str | None = None
    #: The SHA-256 of the ``request_uri``, if the request was pushed.
    pushed: bytes | None = None
    #: Set if the response does not go through the browser. The request then has no redirect URI and no response type.
    polled: PolledRequest | None = None
    authorization_details: Details = ()
    #: The slug or the id of the organization that the request names.
    organization: str | None = None
    #: The organization that the user signs in for, once it is known.
    organization_id: UUID | None = None
    #: Of the record for support (:mod:`idp.trace`).
    trace_id: str = ""

    @property
    def claims_by_name(self) -> tuple[str, ...]:
        """The claims about the user that ``claims`` requests and that no scope of the request includes."""
        names = dict.fromkeys((*self.claims.userinfo, *self.claims.id_token))
        return tuple(name for name in names if name in SCOPE_OF_CLAIM and SCOPE_OF_CLAIM[name] not in self.scope)

    @property
    def claims_json(self) -> str | None:
        """The ``claims`` parameter as codes and token families store it; None if it requests nothing."""
        requests = self.claims.userinfo or self.claims.id_token
        return msgspec.json.encode(self.claims).decode() if requests else None

    @property
    def max_proof_age(self) -> int | None:
        """The maximum age of the authentication in seconds; None: any age.

        ``prompt=login`` requires a new authentication, ``auth_time`` as an essential claim (OpenID Connect Core section
        5.5.1) one whose time is known.
        """
        if "login" in self.prompt:
            return 0
        auth_time = self.claims.id_token.get("auth_time")
        return KNOWN if self.max_age is None and auth_time is not None and auth_time.essential else self.max_age

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, data: str) -> Self:
        return msgspec.json.decode(data, type=cls)


def read(parameters: Parameters, client: Client, redirect_uri: str) -> AuthorizationRequest:
    """Parse the parameters of a request that passed the checks.

    Raises:
        InvalidRequestError: a value is malformed.
    """
    claims, scope = _read_claims(parameters), granted_scope(parameters, client)
    details = requested(parameters, client)
    response_type = parameters.get("response_type", "")
    asked = AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        response_type=canonical(response_type),
        response_mode=effective(response_type, parameters.get("response_mode")),
        scope=scope,
        state=parameters.get("state"),
        nonce=parameters.get("nonce"),
        code_challenge=parameters.get("code_challenge"),
        prompt=frozenset(words(parameters, "prompt")),
        max_age=_read_max_age(parameters, client),
        login_hint=parameters.get("login_hint", ""),
        acr_values=words(parameters, "acr_values"),
        ui_locales=words(parameters, "ui_locales"),
        claims=claims,
        resource=resources_of_request(parameters, client, scope, details),
        dpop_jkt=parameters.get("dpop_jkt"),
        idp_hint=parameters.get("idp_hint", ""),
        subject=_read_subject(parameters, claims),
        authorization_details=details,
        organization=organizations.named(parameters),
        trace_id=recorder.trace_id(),
    )
    return within_registration(asked, client)


def within_registration(asked: AuthorizationRequest, client: Client) -> AuthorizationRequest:
    """Return the request without the scopes, claims and authorization details that its client is not registered for.

    A claim about the user needs its scope (:data:`idp.oauth.scopes.SCOPE_OF_CLAIM`) and OpenID Connect. Other claims,
    such as ``acr``, are kept; unknown claims are removed.
    """
    scope = tuple(name for name in asked.scope if name in client.scopes)
    scopes = client.scopes if "openid" in scope else frozenset[str]()
    userinfo, id_token = (
        {
            name: how
            for name, how in requested.items()
            if (SCOPE_OF_CLAIM[name] in scopes if name in SCOPE_OF_CLAIM else name in CLAIMS)
        }
        for requested in (asked.claims.userinfo, asked.claims.id_token)
    )
    details = tuple(detail for detail in asked.authorization_details if allowed_type(detail, client))
    return msgspec.structs.replace(
        asked, scope=scope, claims=ClaimsRequest(userinfo, id_token), authorization_details=details
    )


def check_registration(asked: AuthorizationRequest, client: Client) -> None:
    """Refuse a request (:func:`within_registration`) that its client may no longer make.

    Raises:
        InvalidScopeError: nothing is left of it.
        InvalidTargetError: a resource server was deleted, or is no longer open to the client.
    """
    if not asked.scope and not asked.authorization_details:
        raise InvalidScopeError("This client may no longer use any of the requested scopes.")
    check_access(client, asked.resource)


def _read_max_age(parameters: Parameters, client: Client) -> int | None:
    """Return ``max_age`` in seconds, by default that of the client (OpenID Connect Registration section 2)."""
    text = parameters.get("max_age")
    if text is None and client.default_max_age is not None:
        return client.default_max_age
    if text is None:
        return KNOWN if client.require_auth_time else None
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise InvalidRequestError("max_age must be a number of seconds.")
    return int(text)


def _read_claims(parameters: Parameters) -> ClaimsRequest:
    """Return the ``claims`` parameter. Unknown members are ignored (section 5.5)."""
    text = parameters.get("claims")
    if text is None:
        return ClaimsRequest()
    if len(text) > MAX_LENGTH:
        raise InvalidRequestError("claims is too long.")
    if "\\u0000" in text:
        raise InvalidRequestError("claims contains a NUL character.")
    try:
        if not foreign_json.is_shallow(msgspec.json.decode(text), MAX_DEPTH):
            raise InvalidRequestError("claims is nested too deeply.")
        return msgspec.json.decode(text, type=ClaimsRequest)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequestError("claims must be a JSON object as in OpenID Connect Core section 5.5.") from error


def _read_subject(parameters: Parameters, claims: ClaimsRequest) -> str | None:
    """Return the subject that the client requires, if it names one.

    A hint that cannot be verified, such as one signed by a revoked key, is ignored: the browser could have omitted it
    too. With ``prompt=none`` the request is refused instead, because ignoring the hint could return another user.

    Raises:
        OAuthError: ``prompt`` is ``none`` and the hint cannot be verified.
    """
    requested = claims.id_token.get("sub")
    if requested is not None and isinstance(requested.value, str):
        return requested.value
    if "id_token_hint" in parameters:
        try:
            return str(read_id_token_hint(parameters["id_token_hint"])["sub"])
        except InvalidRequestError as error:
            if "none" in words(parameters, "prompt"):
                raise OAuthError("login_required", error.description, hint=error.hint) from error
            log.info("id_token_hint_ignored", hint=error.hint)
    return None


def granted_scope(parameters: Parameters, client: Client) -> tuple[str, ...]:
    """Return the requested scopes that the client is registered for. Others are dropped (RFC 6749 section 3.3).

    A request for authorization details needs no scope, and has none by default (RFC 9396 section 3).
    """
    if "scope" not in parameters and "authorization_details" not in parameters:
        return default_scope(client, requested_resources(parameters))
    scope = map(organizations.without_name, words(parameters, "scope"))
    return tuple(name for name in dict.fromkeys(scope) if name in client.scopes)
