"""The device authorization endpoint: a device asks for its codes (RFC 8628 section 3.1)."""

from http import HTTPStatus
from typing import Any, Final

from litestar import MediaType, Request, Response, post
from litestar.exceptions import NotFoundException

from idp.errors import UnauthorizedClientError
from idp.http import forms
from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.exception_handlers import NO_STORE
from idp.http.headers import request_header
from idp.oauth.authorize.checks import validate_polled
from idp.oauth.binding import dpop, proofs
from idp.oauth.clients.authentication import authenticate
from idp.oauth.device import codes, limits, service
from idp.settings import settings

PATH: Final = "/device_authorization"
#: The page at which people enter the code.
VERIFICATION_PATH: Final = "/device"
#: The parameters of an authorization request that a device may send. Others are ignored (RFC 6749 section 3.1).
PARAMETERS: Final[tuple[str, ...]] = (
    "scope",
    "resource",
    "authorization_details",
    "acr_values",
    "max_age",
    "organization",
    "dpop_jkt",
)


@post(PATH, opt={"access": Access.CLIENT, "cors": Cors.CLIENT}, status_code=HTTPStatus.OK)
async def authorize_device(request: Request[Any, Any, Any]) -> Response[Any]:
    """Store the request of a device and return its codes (section 3.2).

    With a DPoP proof, or ``dpop_jkt``, only the holder of that key gets the tokens.
    """
    if not settings().device_grant:
        raise NotFoundException
    form = await forms.form(request)
    authorization = request_header(request.scope, b"authorization")
    client = await authenticate(authorization, form, PATH)
    if codes.GRANT_TYPE not in client.grant_types:
        raise UnauthorizedClientError("This client is not registered for the device grant.")
    proof = proofs.checked(request, client)
    parameters = {name: form[name] for name in PARAMETERS if name in form}
    asked = validate_polled(proofs.with_dpop_jkt(parameters, proof), client)
    await limits.count_start(client)
    if proof is not None:
        await dpop.use_up(proof)
    started = await service.start(asked)
    verification_uri = f"{settings().issuer}{VERIFICATION_PATH}"
    content = {
        "device_code": started.device_code,
        "user_code": started.user_code,
        "verification_uri": verification_uri,
        "verification_uri_complete": f"{verification_uri}?user_code={started.user_code}",
        "expires_in": settings().device_code_lifetime,
        "interval": service.INTERVAL,
    }
    return Response(content, media_type=MediaType.JSON, headers=NO_STORE)


ROUTES = [authorize_device]
