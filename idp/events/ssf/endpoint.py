"""The routes of the Shared Signals Framework transmitter (OpenID Shared Signals Framework 1.0 sections 7 and 8)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response, delete, get, patch, post, put
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.errors import InsufficientScopeError, InvalidRequestError, InvalidTokenError, Refused
from idp.events.models import POLL, PUSH, Stream
from idp.events.ssf import poll, streams
from idp.events.ssf.types import SUPPORTED
from idp.http import forms
from idp.http.access import Access
from idp.http.body import body_of
from idp.http.exception_handlers import NO_STORE
from idp.http.responses import BytesResponse, json
from idp.infra import foreign_json, request_context
from idp.infra.media_types import JSON, media_type
from idp.oauth import protected
from idp.oauth.clients.models import Client, ResourceServer
from idp.oauth.clients.stored import stored_client
from idp.reasons import Reason
from idp.settings import settings

AnyRequest = Request[Any, Any, Any]

PATH: Final = "/ssf"
READ, MANAGE = "ssf.read", "ssf.manage"
_OPT: Final = {"access": Access.BEARER}
ENDPOINT: Final = "shared_signals"


def is_on() -> bool:
    """Return whether this server is a transmitter."""
    return settings().shared_signals


def resource() -> ResourceServer:
    """The transmitter as a resource server (RFC 8707): receivers get tokens for it by the client_credentials grant."""
    return ResourceServer(
        identifier=f"{settings().issuer}{PATH}", name="Shared signals", scope=f"{READ} {MANAGE}", witnessed=False
    )


@get("/.well-known/ssf-configuration", opt={"access": Access.PUBLIC})
async def configuration(request: AnyRequest) -> BytesResponse:
    """Serve the transmitter's configuration (section 7.1)."""
    _require_on()
    issuer = settings().issuer
    base = f"{issuer}{PATH}"
    return json(
        {
            "spec_version": "1_0",
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "delivery_methods_supported": [PUSH, POLL],
            "configuration_endpoint": f"{base}/streams",
            "status_endpoint": f"{base}/status",
            "add_subject_endpoint": f"{base}/subjects/add",
            "remove_subject_endpoint": f"{base}/subjects/remove",
            "verification_endpoint": f"{base}/verify",
            "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
            "default_subjects": settings().shared_signals_subjects.upper(),
        }
    )


def shown(stream: Stream) -> dict[str, Any]:
    """Return the configuration of a stream (section 8.1.1). The Authorization header for pushes is not shown again."""
    url = stream.endpoint_url or f"{settings().issuer}{PATH}/poll/{stream.id}"
    return {
        "stream_id": str(stream.id),
        "iss": settings().issuer,
        "aud": stream.client_id,
        "delivery": {"method": PUSH if stream.endpoint_url else POLL, "endpoint_url": url},
        "events_supported": SUPPORTED,
        "events_requested": stream.events_requested,
        "events_delivered": stream.events_requested,
        "min_verification_interval": streams.VERIFICATION_INTERVAL,
        "format": stream.format,
        **({"description": stream.description} if stream.description else {}),
    }


def _status(stream: Stream) -> dict[str, Any]:
    reason = {"reason": stream.status_reason} if stream.status_reason else {}
    return {"stream_id": str(stream.id), "status": stream.status, **reason}


@post(f"{PATH}/streams", opt=_OPT, status_code=HTTPStatus.CREATED)
async def create(request: AnyRequest) -> Response[Any]:
    """Create a stream (section 8.1.1.1)."""
    client = await _receiver(request, MANAGE)
    asked = await _body(request)
    if "stream_id" in asked:
        raise InvalidRequestError("A new stream has no stream_id.")
    return Response(shown(await streams.create(client, asked)), status_code=HTTPStatus.CREATED, headers=NO_STORE)


@get(f"{PATH}/streams", opt=_OPT)
async def read(request: AnyRequest) -> BytesResponse:
    """Show a stream, or all streams of the receiver (section 8.1.1.2)."""
    client = await _receiver(request, READ, MANAGE)
    stream_id = forms.query(request).get("stream_id")
    if stream_id is not None:
        return json(shown(await streams.find(client, stream_id)))
    return json([shown(stream) for stream in await streams.of_client(client)])


@patch(f"{PATH}/streams", opt=_OPT, status_code=HTTPStatus.OK)
async def update(request: AnyRequest) -> BytesResponse:
    """Change a stream (section 8.1.1.3)."""
    client = await _receiver(request, MANAGE)
    return json(shown(await streams.update(client, await _configuration(request, client), replace=False)))


@put(f"{PATH}/streams", opt=_OPT, status_code=HTTPStatus.OK)
async def replace(request: AnyRequest) -> BytesResponse:
    """Replace the configuration of a stream (section 8.1.1.4)."""
    client = await _receiver(request, MANAGE)
    return json(shown(await streams.update(client, await _configuration(request, client), replace=True)))


async def _configuration(request: AnyRequest, client: Client) -> Mapping[str, Any]:
    """Return a configuration whose members that the transmitter supplies are unchanged.

    Raises:
        InvalidRequestError: the receiver wants to change one.
    """
    asked = await _body(request)
    fixed = {"iss": settings().issuer, "aud": client.client_id, "events_supported": list(SUPPORTED)}
    for name, value in fixed.items():
        if asked.get(name, value) != value:
            raise InvalidRequestError(f"{name} cannot be changed.")
    return asked


@delete(f"{PATH}/streams", opt=_OPT, status_code=HTTPStatus.NO_CONTENT)
async def remove(request: AnyRequest) -> Response[None]:
    """Delete a stream (section 8.1.1.5)."""
    client = await _receiver(request, MANAGE)
    await streams.delete(client, forms.query(request).get("stream_id", ""))
    return _nothing(HTTPStatus.NO_CONTENT)


@get(f"{PATH}/status", opt=_OPT)
async def status(request: AnyRequest) -> BytesResponse:
    """Show the status of a stream (section 8.1.2.1)."""
    client = await _receiver(request, READ, MANAGE)
    return json(_status(await streams.find(client, forms.query(request).get("stream_id", ""))))


@post(f"{PATH}/status", opt=_OPT, status_code=HTTPStatus.OK)
async def set_status(request: AnyRequest) -> BytesResponse:
    """Set the status of a stream (section 8.1.2.2)."""
    client = await _receiver(request, MANAGE)
    return json(_status(await streams.set_status(client, await _body(request))))


@post(f"{PATH}/subjects/add", opt=_OPT, status_code=HTTPStatus.OK)
async def add_subject(request: AnyRequest) -> Response[None]:
    """Add a user to a stream (section 8.1.3.2)."""
    client = await _receiver(request, MANAGE)
    await streams.set_subject(client, await _body(request), present=True)
    return _nothing(HTTPStatus.OK)


@post(f"{PATH}/subjects/remove", opt=_OPT, status_code=HTTPStatus.NO_CONTENT)
async def remove_subject(request: AnyRequest) -> Response[None]:
    """Remove a user from a stream (section 8.1.3.3)."""
    client = await _receiver(request, MANAGE)
    await streams.set_subject(client, await _body(request), present=False)
    return _nothing(HTTPStatus.NO_CONTENT)


@post(f"{PATH}/verify", opt=_OPT, status_code=HTTPStatus.NO_CONTENT)
async def verify(request: AnyRequest) -> Response[None]:
    """Send a verification event (section 8.1.4.2)."""
    client = await _receiver(request, READ, MANAGE)
    await streams.verify(client, await _body(request))
    return _nothing(HTTPStatus.NO_CONTENT)


@post(f"{PATH}/poll/{{stream_id:str}}", opt=_OPT, status_code=HTTPStatus.OK)
async def poll_tokens(request: AnyRequest, stream_id: FromPath[str]) -> BytesResponse:
    """Acknowledge tokens and return the next ones (RFC 8936 section 2)."""
    client = await _receiver(request, READ, MANAGE)
    asked = poll.read(await _body(request))
    stream = await streams.find(client, stream_id)
    if stream.endpoint_url is not None or stream.status == "disabled":
        raise streams.UnknownStreamError
    return json(await poll.poll(stream, asked))


def _require_on() -> None:
    if not is_on():
        raise NotFoundException


async def _receiver(request: AnyRequest, *scopes: str) -> Client:
    """Return the client whose own access token the request has.

    Args:
        scopes: one of them is required.

    Raises:
        NotFoundException: this server is not a transmitter.
        BearerError: the token is missing, not valid, of a user, for another resource server, or lacks the scope.
    """
    _require_on()
    live = await protected.authenticate(request, protected.in_header(request), endpoint=ENDPOINT)
    protected.require_audience(live, resource().identifier, ENDPOINT)
    protected.require_own(live, ENDPOINT)
    client = await stored_client(live.claims["client_id"])
    if client is None:
        gone = InvalidTokenError(refused=Refused(Reason.CLIENT_DISABLED))
        raise protected.refuse(gone, live.claims["client_id"], ENDPOINT)
    if not set(scopes) & set(live.claims["scope"].split()):
        raise InsufficientScopeError(scopes[0])
    request_context.actor.set(f"client:{client.client_id}")
    return client


async def _body(request: AnyRequest) -> Mapping[str, Any]:
    """Return the JSON object in the body.

    Raises:
        InvalidRequestError: it is none.
    """
    if media_type(request.headers.get("content-type")) != JSON:
        raise InvalidRequestError("The body must be JSON, as application/json.")
    try:
        content = foreign_json.decode(await body_of(request).read())
    except ValueError as error:
        raise InvalidRequestError(f"The body cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return content


def _nothing(status: HTTPStatus) -> Response[None]:
    return Response(None, status_code=status, headers=NO_STORE)


ROUTES = [
    configuration, create, read, update, replace, remove, status, set_status, add_subject, remove_subject, verify,
    poll_tokens,
]  # fmt: skip
