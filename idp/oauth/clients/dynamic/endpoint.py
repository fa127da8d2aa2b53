"""The registration endpoint and the configuration endpoint of each client (RFC 7591 section 3, RFC 7592 section 2)."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from litestar import MediaType, Request, Response, delete, get, post, put
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.errors import InvalidRequestError
from idp.http.access import Access
from idp.http.body import body_of
from idp.http.cors import Cors
from idp.http.exception_handlers import NO_STORE
from idp.http.headers import request_header
from idp.infra.media_types import JSON, media_type
from idp.oauth.clients.dynamic import service
from idp.oauth.clients.dynamic.request import MEMBERS
from idp.oauth.clients.dynamic.service import Registered
from idp.settings import settings

AnyRequest = Request[Any, Any, Any]

PATH = "/register"
#: Apps in browsers register themselves before this server knows their origin.
_OPT = {"access": Access.CLIENT, "cors": Cors.ANY}


def is_on() -> bool:
    """Return whether clients can register themselves."""
    return settings().client_registration != "off"


@post(PATH, opt=_OPT, status_code=HTTPStatus.CREATED)
async def register(request: AnyRequest) -> Response[Any]:
    """Register a client (RFC 7591 section 3.1)."""
    token, body = _bearer(request), await _body(request)
    return _answer(await service.register(body, token), HTTPStatus.CREATED)


@get(f"{PATH}/{{client_id:str}}", opt=_OPT)
async def read(request: AnyRequest, client_id: FromPath[str]) -> Response[Any]:
    """Show a client to itself (RFC 7592 section 2.1)."""
    return _answer(await service.read(client_id, _bearer(request)), HTTPStatus.OK)


@put(f"{PATH}/{{client_id:str}}", opt=_OPT, status_code=HTTPStatus.OK)
async def update(request: AnyRequest, client_id: FromPath[str]) -> Response[Any]:
    """Replace the metadata of a client (RFC 7592 section 2.2)."""
    token, body = _bearer(request), await _body(request)
    return _answer(await service.update(client_id, token, body), HTTPStatus.OK)


@delete(f"{PATH}/{{client_id:str}}", opt=_OPT, status_code=HTTPStatus.NO_CONTENT)
async def remove(request: AnyRequest, client_id: FromPath[str]) -> Response[None]:
    """Delete a client (RFC 7592 section 2.3)."""
    await service.delete(client_id, _bearer(request))
    return Response(None, status_code=HTTPStatus.NO_CONTENT, headers=NO_STORE)


def _bearer(request: AnyRequest) -> str | None:
    """Return the Bearer token of a request, if it has one (RFC 6750 section 2.1).

    Raises:
        NotFoundException: clients cannot register themselves.
    """
    if not is_on():
        raise NotFoundException
    scheme, _, token = (request_header(request.scope, b"authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


async def _body(request: AnyRequest) -> bytes:
    if media_type(request_header(request.scope, b"content-type")) != JSON:
        raise InvalidRequestError("The body must be JSON, as application/json.")
    return await body_of(request).read()


def _answer(registered: Registered, status: HTTPStatus) -> Response[Any]:
    """Return the client information response (RFC 7591 section 3.2.1, RFC 7592 section 3)."""
    client = registered.client
    described = {name: getattr(client, name) for name in type(client).__struct_fields__ if name in MEMBERS}
    content = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created_at.timestamp()),
        **(secret_of(registered.secret, client.client_secret_expires_at) if registered.secret else {}),
        "registration_client_uri": f"{settings().issuer}{PATH}/{client.client_id}",
        "registration_access_token": registered.registration_token,
        **({"software_statement": statement} if (statement := registered.software_statement) else {}),
        **{name: value for name, value in described.items() if value is not None},
    }
    return Response(content, status_code=status, media_type=MediaType.JSON, headers=NO_STORE)


def secret_of(secret: str, expires_at: datetime | None) -> dict[str, Any]:
    """Return the members of a new secret (RFC 7591 section 3.2.1). The expiry is in seconds since 1970; 0: never."""
    return {"client_secret": secret, "client_secret_expires_at": int(expires_at.timestamp()) if expires_at else 0}


ROUTES = [register, read, update, remove]
