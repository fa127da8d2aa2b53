"""The authentication context (``acr``) that a client requests, essential or voluntary.

OpenID Connect Core sections 3.1.2.1 and 5.5.1.1. An essential ``acr`` that is not met leads to a step-up, a voluntary
one to an offer that the user may decline.
"""

from typing import NamedTuple

from idp.errors import OAuthError
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.signin.transitions import ACR_VALUES, SINGLE_FACTOR, falls_short


class AcrRequest(NamedTuple):
    """The ``acr`` that must be reached, and the one that is offered beyond it."""

    essential: str
    voluntary: str

    @property
    def acr(self) -> str:
        return max(self, key=ACR_VALUES.index)


def requested(asked: AuthorizationRequest, client: Client) -> AcrRequest:
    """Return the ``acr`` that a request and its client require. A request can only raise ``default_acr_values``, and
    that of the access policy.

    Raises:
        OAuthError: none of the essential acr values is supported.
    """
    claim = asked.claims.id_token.get("acr")
    values = tuple(map(str, claim.accepted())) if claim is not None else ()
    essential = claim is not None and claim.essential and bool(values)
    if essential and not set(values) & set(ACR_VALUES):
        raise OAuthError("unmet_authentication_requirements", "The essential acr cannot be met.")
    required = max(
        (_first(client.default_acr_values), _first(values if essential else ()), _of_policy(client)),
        key=ACR_VALUES.index,
    )
    voluntary = _first((*asked.acr_values, *(() if essential else values)))
    return AcrRequest(required, voluntary)


def _of_policy(client: Client) -> str:
    policy = registry.access_policy(client)
    return policy.acr if policy is not None and policy.acr is not None else SINGLE_FACTOR


def _first(values: tuple[str, ...]) -> str:
    """Return the first supported value, in order of preference."""
    return next((value for value in values if value in ACR_VALUES), SINGLE_FACTOR)


def reaches(acr: str, required: str) -> bool:
    """Return whether a sign-in with one ``acr`` satisfies another."""
    return not falls_short(acr, required)
