"""Pushed authorization requests (RFC 9126): the client sends the request itself, and the browser only its name.

The request is validated as at the authorization endpoint, then stored by the hash of its ``request_uri``. Until it
expires, the browser may load it several times, because people reload pages and browsers prefetch links. The
authorization response uses it up, so it never yields two codes.
"""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, post

from idp import ids
from idp.errors import FlowFinishedError, InvalidRequestError, PageError
from idp.http import forms
from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.exception_handlers import NO_STORE
from idp.http.headers import encode, request_header
from idp.http.middleware import ON_SUCCESS
from idp.http.responses import BytesResponse
from idp.infra.i18n import gettext as _
from idp.oauth.authorize import explain, repository, request_object
from idp.oauth.authorize.checks import validate
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.binding import dpop, proofs
from idp.oauth.clients import redirects
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.lookup import client_for_pushed_request
from idp.oauth.clients.models import Client
from idp.oauth.parameters import Parameters
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import limits
from idp.signin.http import app_of

#: RFC 9126 section 2.2.
PREFIX = "urn:ietf:params:oauth:request_uri:"
HEADERS = encode({"Content-Type": "application/json"} | NO_STORE)


@post("/par", opt={"access": Access.CLIENT, "cors": Cors.CLIENT, "quiet": ON_SUCCESS}, status_code=HTTPStatus.CREATED)
async def push(request: Request[Any, Any, Any]) -> BytesResponse:
    """Store an authorization request and return its ``request_uri`` (RFC 9126 section 2)."""
    form = await forms.form(request)
    authorization = request_header(request.scope, b"authorization")
    client = await authenticate(authorization, form, "/par", client_for_pushed_request)
    if "request_uri" in form:
        raise InvalidRequestError("request_uri cannot be pushed.")
    # Before the object is used up: a client that needs a nonce sends the same object again.
    proof = proofs.checked(request, client)
    parameters = proofs.with_dpop_jkt(await request_object.resolve(form, client), proof)
    redirect_uri = parameters.get("redirect_uri", "")
    explain.requested(parameters, "pushed request")
    if not redirects.matches(client, redirect_uri):
        explain.redirect_uri_mismatch(client, redirect_uri)
        raise InvalidRequestError("redirect_uri is missing, or none of those that this client registered.")
    asked = validate(parameters, client, redirect_uri)
    if client.public:
        # Anybody can send its client_id.
        await limits.count_flow(app_of(request))
    elif client.origin != "admin":
        await limits.count_pushed(client.client_id)
    if proof is not None:
        await dpop.use_up(proof)
    content = {"request_uri": await store(asked), "expires_in": settings().pushed_request_lifetime}
    return BytesResponse(msgspec.json.encode(content), HEADERS, status=HTTPStatus.CREATED)


async def store(asked: AuthorizationRequest) -> str:
    """Store a validated request. Returns its ``request_uri``, of which only the hash is stored."""
    request_uri = f"{PREFIX}{ids.random_token()}"
    lifetime = settings().pushed_request_lifetime
    await repository.insert_pushed(ids.digest(request_uri), asked.client_id, asked.to_json(), lifetime)
    return request_uri


def is_required(client: Client) -> bool:
    """Return whether the authorization endpoint accepts only pushed requests of a client (sections 5 and 6)."""
    return settings().require_pushed_requests or client.require_pushed_authorization_requests


def is_named(parameters: Parameters) -> bool:
    """Return whether the parameters name a pushed request (section 4)."""
    return parameters.get("request_uri", "").startswith(PREFIX)


async def load(parameters: Parameters, client: Client) -> AuthorizationRequest:
    """Return the pushed request that the parameters name. All other parameters are ignored.

    Raises:
        PageError: it is unknown, expired, used, or of another client.
    """
    digest = ids.digest(parameters["request_uri"])
    stored = await repository.find_pushed(digest)
    if stored is None:
        raise _gone(Reason.UNKNOWN)
    causes = (
        (stored.client_id != client.client_id, Reason.WRONG_CLIENT),
        (stored.used, Reason.REUSED),
        (not stored.live, Reason.EXPIRED),
    )
    for holds, reason in causes:
        if holds:
            raise _gone(reason)
    asked = AuthorizationRequest.from_json(stored.request)
    explain.of_pushed(asked)
    return msgspec.structs.replace(asked, pushed=digest)


def _gone(reason: Reason) -> PageError:
    return PageError(
        _("This sign-in has expired"),
        _(
            "The page was open for too long, or you started in another browser. Go back to the application and"
            " sign in again."
        ),
        code="invalid_request_uri",
        hint=f"The pushed authorization request cannot be used: {reason}.",
        reason=reason,
    )


async def use(asked: AuthorizationRequest) -> None:
    """Use up the pushed request, if this is one. In the transaction of a response without a code.

    Raises:
        FlowFinishedError: there was an authorization response to it already.
    """
    if asked.pushed is not None and not await repository.use_pushed(asked.pushed):
        raise FlowFinishedError


ROUTES = [push]
