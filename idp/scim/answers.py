"""Responses of SCIM: documents and errors as ``application/scim+json`` (RFC 7644 sections 3.1 and 3.12)."""

from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from idp.accounts.addresses import InvalidEmailError
from idp.errors import BearerError, DomainError, InvalidDPoPProofError, OAuthError, TooManyRequestsError, TryLaterError
from idp.http.exception_handlers import (
    NOT_STORABLE,
    NOT_STORABLE_MESSAGE,
    challenge,
    database_outage,
    router_detail,
    set_refusal,
)
from idp.http.headers import encode
from idp.http.responses import BytesResponse
from idp.scim.errors import InvalidValueError, ScimError
from idp.scim.patch import Document

AnyRequest = Request[Any, Any, Any]

ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
MEDIA_TYPE: Final = "application/scim+json"
_HEADERS: Final = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}


def document(content: Document, status: int = HTTPStatus.OK, **headers: str) -> BytesResponse:
    """Return a document. ``headers`` have underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return BytesResponse(msgspec.json.encode(content), encode(_HEADERS | named), status=status)


def resource(content: Document, status: int = HTTPStatus.OK) -> BytesResponse:
    """Return a resource with its location and version."""
    meta = content.get("meta", {})
    headers = {"Location": meta["location"]} if "location" in meta else {}
    if "version" in meta:
        headers["ETag"] = meta["version"]
    return document(content, status, **headers)


def nothing() -> BytesResponse:
    return BytesResponse(b"", encode({"Cache-Control": "no-store"}), status=HTTPStatus.NO_CONTENT)


def error_document(status: int, detail: str, scim_type: str | None = None) -> Document:
    """Return the document of an error."""
    found: Document = {"schemas": [ERROR], "status": str(int(status)), "detail": detail}
    return found | ({"scimType": scim_type} if scim_type is not None else {})


def failure() -> tuple[int, Document]:
    """Return the status and the document of an unexpected error."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return status, error_document(status, "The server failed.")


def error_of(error: Exception) -> tuple[int, Document, dict[str, str]] | None:
    """Return the status, the document and the headers of an error; None for a bug."""
    headers: dict[str, str] = {}
    status, detail, scim_type = int(HTTPStatus.BAD_REQUEST), str(getattr(error, "description", "")), None
    if isinstance(error, ScimError):
        status, scim_type = error.status, error.scim_type
    elif isinstance(error, NOT_STORABLE):
        detail, scim_type = NOT_STORABLE_MESSAGE, InvalidValueError.scim_type
    elif (found := database_outage(error)) is not None:
        status, detail = int(HTTPStatus.SERVICE_UNAVAILABLE), "The server cannot use its database at the moment."
        headers["Retry-After"] = str(found.retry_after)
    elif isinstance(error, TryLaterError):
        busy = not isinstance(error, TooManyRequestsError)
        status, headers["Retry-After"] = error.status, str(error.retry_after)
        detail = "The server is overloaded." if busy else "There were too many requests. Try again later."
    elif isinstance(error, OAuthError):
        status = error.status if isinstance(error, BearerError) else int(HTTPStatus.UNAUTHORIZED)
    elif isinstance(error, DomainError):
        status = _status(error)
        scim_type = InvalidValueError.scim_type if status == HTTPStatus.BAD_REQUEST else None
    elif isinstance(error, HTTPException):
        status, detail = error.status_code, router_detail(error)
        headers |= {name: value for name, value in (error.headers or {}).items() if name in ("Allow", "Connection")}
    else:
        return None
    return status, error_document(status, detail, scim_type), headers


def _status(error: DomainError) -> int:
    """Return the status of an error of a service: a value that it refuses is one of the request."""
    invalid = isinstance(error, InvalidEmailError) or error.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return int(HTTPStatus.BAD_REQUEST if invalid else error.status)


def translate(request: AnyRequest, error: Exception) -> BytesResponse | Response[Any] | None:
    """Return the response to an error; None for a bug."""
    found = error_of(error)
    if found is None:
        return None
    status, content, headers = found
    set_refusal(error)
    if isinstance(error, BearerError | InvalidDPoPProofError):
        headers["WWW-Authenticate"] = challenge(error, request)
    return document(content, status, **headers)
