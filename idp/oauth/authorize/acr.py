"""How sure of the person a client wants to be: the ``acr`` to reach, and whether less would do.

OpenID Connect Core sections 3.1.2.1 and 5.5.1.1; the essential ones lead to a step-up, the voluntary ones to an offer.
"""

from typing import NamedTuple

from idp.errors import OAuthError
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.registry import Client
from idp.signin.transitions import ACR_VALUES, SINGLE_FACTOR, falls_short


class Wanted(NamedTuple):
    """The level that must be reached, and the one that is asked for on top of it if possible."""

    essential: str
    voluntary: str

    @property
    def acr(self) -> str:
        return max(self, key=ACR_VALUES.index)


def wanted(asked: AuthorizationRequest, client: Client) -> Wanted:
    """What a request and its client ask for. The client's ``default_acr_values`` can be raised, not lowered.

    Raises:
        OAuthError: an essential acr is one that we do not know.
    """
    claim = asked.claims.id_token.get("acr")
    values = tuple(map(str, claim.wanted())) if claim is not None else ()
    essential = claim is not None and claim.essential and bool(values)
    if essential and not set(values) & set(ACR_VALUES):
        raise OAuthError("unmet_authentication_requirements", "The essential acr cannot be met.")
    required = max(_first(client.default_acr_values), _first(values if essential else ()), key=ACR_VALUES.index)
    voluntary = _first((*asked.acr_values, *(() if essential else values)))
    return Wanted(required, voluntary)


def _first(values: tuple[str, ...]) -> str:
    """The first level that we know, in the order of preference."""
    return next((value for value in values if value in ACR_VALUES), SINGLE_FACTOR)


def reaches(acr: str, wanted: str) -> bool:
    """Whether a sign-in of one level is good enough for another."""
    return not falls_short(acr, wanted)
