"""Authenticating the client of a request."""

from collections.abc import Mapping

from idp.audit import unauthenticated_limit
from idp.audit.events import note
from idp.errors import InvalidClientError, InvalidRequestError, Refused
from idp.infra.request_context import actor
from idp.oauth.clients.auth_methods import TLS_METHODS
from idp.oauth.clients.authentication import basic, explain
from idp.oauth.clients.authentication.credentials import Credentials, Failure, Sent
from idp.oauth.clients.authentication.methods import METHODS
from idp.oauth.clients.lookup import FindClient, authorized_client
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.reasons import Reason
from idp.trace import recorder


async def authenticate(
    authorization: str | None, form: Mapping[str, str], endpoint: str = "/token", find: FindClient = authorized_client
) -> Client:
    """Authenticate the client of a request by one of its methods (:attr:`Client.auth_methods`).

    Args:
        authorization: the value of the Authorization header, if there is one.
        form: the parameters of the body.
        endpoint: the path of the endpoint below the issuer, which an assertion may have as its audience.
        find: finds the client, by default one that was authorized before if it has a document.

    Raises:
        InvalidClientError: the client is unknown or disabled, or its proof is wrong. The response does not tell which.
        InvalidRequestError: the request uses more than one method, or names two clients.
    """
    sent = Sent(basic.decode(authorization) if authorization is not None else None, form, endpoint)
    challenge = authorization is not None
    found = [(name, read) for name, method in METHODS.items() if (read := method(sent)) is not None]
    if not found:
        raise InvalidClientError("The request names no client.")
    if len(found) > 1 and not all(credentials.implicit for _, credentials in found):
        raise InvalidRequestError("The request uses more than one client authentication method.")
    client_id = found[0][1].client_id
    if form.get("client_id", client_id) != client_id:
        raise InvalidRequestError("The client_id in the body is not the one of the credentials.")
    client = await find(client_id)
    method_name, credentials = found[0] if len(found) == 1 else _registered(found, client)
    permitted = client if client is not None and method_name in client.auth_methods else None
    failure = await credentials.verify(permitted)
    if permitted is None or failure is not None:
        failed = failure if permitted and failure else _why_not_permitted(client, client_id, method_name)
        explain.failed(sent, client, method_name, failed)
        reason, hint = failed
        # An invented client_id must not be logged as a client.
        known = client_id if client is not None or reason is Reason.CLIENT_DISABLED else None
        note(
            "client_authentication",
            outcome="failure",
            client_id=known,
            detail={"reason": reason},
            limit_key=unauthenticated_limit.limit_key(known),
        )
        whose = f" of {known}" if known else ""
        raise InvalidClientError(
            challenge=challenge, hint=f"Client authentication{whose} failed: {hint}.", refused=Refused(reason)
        )
    actor.set(f"client:{client_id}")
    recorder.about(client_id=client_id)
    recorder.aside("client_authenticated", auth_method=method_name)
    return permitted


def _registered(found: list[tuple[str, Credentials]], client: Client | None) -> tuple[str, Credentials]:
    """Return the method that the client is registered for, of those that a request without a proof may use."""
    registered = client.auth_methods if client is not None else ()
    return next((one for one in found if one[0] in registered), found[-1])


def _why_not_permitted(client: Client | None, client_id: str, method: str) -> Failure:
    """Return the reason for the operator, which the response does not contain."""
    if client is None and registry.is_disabled(client_id):
        return Failure(Reason.CLIENT_DISABLED, "disabled client")
    if client is None:
        return Failure(Reason.UNKNOWN_CLIENT, "unknown client")
    if client.public:
        return Failure(Reason.SECRET_NOT_EXPECTED, "the client is registered without a secret, but sent one")
    if method == "none" and client.token_endpoint_auth_method in TLS_METHODS:
        return Failure(Reason.PROOF_MISSING, "no certificate came from a trusted proxy")
    if method == "none":
        return Failure(Reason.SECRET_NOT_SENT, "the client has a secret, but sent none")
    registered = client.token_endpoint_auth_method
    return Failure(Reason.WRONG_AUTH_METHOD, f"the client is registered strictly for {registered}, but used {method}")
