"""Signed authentication requests (CIBA Core section 7.1.1): the parameters in a JWT that the client signed."""

from idp.errors import InvalidRequestError, OAuthError
from idp.oauth.authorize import request_object
from idp.oauth.clients.models import Client
from idp.oauth.parameters import Parameters

#: Parameters that may stand beside the JWT: those that authenticate the client.
_OUTSIDE = frozenset({"request", "client_id", "client_secret", "client_assertion", "client_assertion_type"})
_REQUIRED = ("aud", "iss", "exp", "iat", "nbf", "jti")


async def resolve(parameters: Parameters, client: Client) -> Parameters:
    """Return the parameters in the JWT; those of the form for a client that does not sign its requests.

    Raises:
        InvalidRequestError: the client must sign and did not, or the JWT is not valid (section 13).
    """
    alg, token = client.backchannel_authentication_request_signing_alg, parameters.get("request")
    if alg is None and token is None:
        return parameters
    if alg is None:
        raise InvalidRequestError("This client has registered no backchannel_authentication_request_signing_alg.")
    if token is None:
        raise InvalidRequestError("This client must send its parameters in a signed request.")
    if not parameters.keys() <= _OUTSIDE:
        raise InvalidRequestError("Parameters must be in the signed request, and not beside it.")
    try:
        claims = await request_object.verify(token, client, alg, bounded=True)
        missing = [name for name in _REQUIRED if name not in claims]
        if missing:
            raise InvalidRequestError(f"The signed request must have {', '.join(missing)}.")
        inside = request_object.parameters_of(claims)
        if not _OUTSIDE.isdisjoint(inside):
            raise InvalidRequestError("A signed request cannot contain another one, nor credentials.")
        await request_object.use_up(claims, client)
    except OAuthError as error:
        raise _refused(error) from error
    return inside


def _refused(error: OAuthError) -> InvalidRequestError:
    """Return the error with the code of this endpoint."""
    refused = InvalidRequestError(error.description, hint=error.hint)
    refused.refused, refused.reason = error.refused, error.reason
    return refused
