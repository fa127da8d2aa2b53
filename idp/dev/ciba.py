"""Deciding a backchannel authentication request without its user, for the test suite of the OpenID Foundation.

The suite calls ``/dev/ciba?token={auth_req_id}&type={action}``, its setting ``automated_ciba_approval_url``. Whoever
has the ``auth_req_id`` decides, which is the client itself. So this route exists in development mode only.
"""

from typing import Any

from litestar import MediaType, Request, Response, post

from idp.errors import InvalidRequestError, Refused
from idp.http import forms
from idp.http.access import Access
from idp.infra.db.engine import transaction
from idp.oauth import codes
from idp.oauth.authorize.request import AuthorizationRequest, within_registration
from idp.oauth.ciba import repository, service
from idp.oauth.clients.stored import stored_client
from idp.signin import sessions
from idp.signin.browser import Browser
from idp.signin.transitions import CompletedStep, Step

#: A sign-in with two factors.
STEPS = (CompletedStep(Step.PASSWORD, ("pwd",)), CompletedStep(Step.TOTP, ("otp",)))


@post("/dev/ciba", opt={"access": Access.ENTRY}, status_code=200)
async def decide(request: Request[Any, Any, Any]) -> Response[Any]:
    """Allow or deny the request as its user, who is signed in for that moment."""
    parameters = forms.query(request)
    code = codes.read(parameters.get("token", ""), service.AUTH_REQ_ID)
    waiting = None if isinstance(code, Refused) else await repository.find_by_auth_req_id(code)
    client = await stored_client(waiting.client_id) if waiting is not None else None
    if isinstance(code, Refused) or waiting is None or client is None:
        raise InvalidRequestError("token must be the auth_req_id of a request that waits.")
    if parameters.get("type") not in ("allow", "deny"):
        raise InvalidRequestError("type must be allow or deny.")
    asked = within_registration(AuthorizationRequest.from_json(waiting.request), client)
    async with transaction():
        started = await sessions.start(Browser(user_agent="conformance suite"), code.user_id, STEPS)
        if parameters["type"] == "allow":
            await service.allow(waiting.id, asked, client, started.session)
        else:
            await service.deny(waiting.id, started.session, report=False)
        await sessions.end(started.session, "conformance_suite")
    return Response({"decided": parameters["type"]}, media_type=MediaType.JSON)


ROUTES = [decide]
