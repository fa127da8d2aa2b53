"""The parameters of a backchannel authentication request (CIBA Core section 7.1), parsed and checked."""

import re
from collections.abc import Callable

import msgspec

from idp.errors import InvalidRequestError, InvalidScopeError, OAuthError
from idp.infra.visible_text import INVISIBLE
from idp.oauth.authorize.checks import (
    lengths_are_bounded,
    organization_is_well_formed,
    resource_is_named,
    resources_are_registered,
)
from idp.oauth.authorize.request import AuthorizationRequest, granted_scope, read
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.parameters import Parameters
from idp.oauth.response_types import CODE
from idp.settings import settings

#: Maximum length in characters: people compare it with what they see or hear elsewhere.
MAX_BINDING_MESSAGE = 128
#: Minimum number of seconds to decide: a mail must arrive.
MIN_LIFETIME = 30
#: Parameters that mean the same as at the authorization endpoint.
_SHARED = frozenset({"scope", "acr_values", "resource", "authorization_details", "organization"})
#: RFC 6750 section 2.1; at least 128 bits in base64, at most 1024 characters (CIBA Core section 7.1).
_NOTIFICATION_TOKEN = re.compile(r"(?=.{22,1024}$)[A-Za-z0-9._~+/-]+=*")


class BackchannelAuthentication(msgspec.Struct, frozen=True):
    """A valid request.

    Attributes:
        asked: what the tokens will be for.
        lifetime: seconds that the user has to decide.
        notification_token: for the ping; None: the client polls.
    """

    asked: AuthorizationRequest
    binding_message: str | None
    lifetime: int
    notification_token: str | None


def openid_is_requested(parameters: Parameters, client: Client) -> None:
    """The scope must contain openid."""
    if "openid" not in granted_scope(parameters, client) or "scope" not in parameters:
        raise InvalidScopeError("scope must contain openid, and the client must be registered for it.")


def user_code_is_not_used(parameters: Parameters, client: Client) -> None:
    """A client that sends one relies on it, so it is not ignored."""
    if "user_code" in parameters:
        raise OAuthError("invalid_user_code", "user_code is not supported.")


def binding_message_can_be_shown(parameters: Parameters, client: Client) -> None:
    """It is one line of plain text, which the page shows as it is."""
    message = parameters.get("binding_message")
    if message is None:
        if profiles.rules(client).names_transaction and "authorization_details" not in parameters:
            raise OAuthError("invalid_binding_message", "The profile of this client requires a binding_message.")
        return
    if len(message) > MAX_BINDING_MESSAGE or not message.isprintable() or INVISIBLE.search(message):
        raise OAuthError(
            "invalid_binding_message",
            f"binding_message must be one line of up to {MAX_BINDING_MESSAGE} characters that can be seen.",
        )


CHECKS: tuple[Callable[[Parameters, Client], None], ...] = (
    lengths_are_bounded,
    openid_is_requested,
    resources_are_registered,
    resource_is_named,
    organization_is_well_formed,
    user_code_is_not_used,
    binding_message_can_be_shown,
)


def validate(parameters: Parameters, client: Client) -> BackchannelAuthentication:
    """Check the parameters of a request, except its hint, and return it.

    Raises:
        OAuthError: a parameter is refused.
    """
    for check in CHECKS:
        check(parameters, client)
    shared = {name: value for name, value in parameters.items() if name in _SHARED}
    return BackchannelAuthentication(
        # There is no redirect URI. The tokens are those of a code.
        asked=read(shared | {"response_type": CODE}, client, ""),
        binding_message=parameters.get("binding_message"),
        lifetime=_lifetime(parameters.get("requested_expiry")),
        notification_token=_notification_token(parameters, client),
    )


def _lifetime(requested: str | None) -> int:
    """Return the lifetime of the request: what the client requests, within bounds."""
    if requested is None:
        return settings().ciba_request_lifetime
    if not (requested.isascii() and requested.isdigit() and len(requested) <= 10 and int(requested)):
        raise InvalidRequestError("requested_expiry must be a positive number of seconds.")
    return max(MIN_LIFETIME, min(int(requested), settings().ciba_request_max_lifetime))


def _notification_token(parameters: Parameters, client: Client) -> str | None:
    if client.backchannel_token_delivery_mode != "ping":
        return None
    token = parameters.get("client_notification_token")
    if token is None:
        raise InvalidRequestError("client_notification_token is missing: this client is registered for ping.")
    if not _NOTIFICATION_TOKEN.fullmatch(token):
        raise InvalidRequestError("client_notification_token must be a bearer token of 22 to 1024 characters.")
    return token
