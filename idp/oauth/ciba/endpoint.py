"""The backchannel authentication endpoint (CIBA Core section 7)."""

from typing import Any

from litestar import MediaType, Request, Response, post
from litestar.exceptions import NotFoundException

from idp.errors import InvalidRequestError, UnauthorizedClientError
from idp.http import forms
from idp.http.access import Access
from idp.http.exception_handlers import NO_STORE
from idp.http.headers import request_header
from idp.oauth.ciba import GRANT_TYPE, PATH, hints, is_on, service, signed_request
from idp.oauth.ciba.request import validate
from idp.oauth.clients.authentication import authenticate


@post(PATH, opt={"access": Access.CLIENT}, status_code=200)
async def backchannel_authentication(request: Request[Any, Any, Any]) -> Response[Any]:
    """Ask a user, and return the ``auth_req_id`` to poll with."""
    if not is_on():
        raise NotFoundException
    form = await forms.form(request)
    client = await authenticate(request_header(request.scope, b"authorization"), form, PATH)
    if GRANT_TYPE not in client.grant_types:
        raise UnauthorizedClientError("This client is not registered for backchannel authentication.")
    if "request_uri" in form:
        raise InvalidRequestError("request_uri cannot be used here.")
    parameters = await signed_request.resolve(form, client)
    wanted = validate(parameters, client)
    person = await hints.find(parameters, client)
    answer = await service.ask(client, wanted, person)
    return Response(answer._asdict(), media_type=MediaType.JSON, headers=NO_STORE)


ROUTES = [backchannel_authentication]
