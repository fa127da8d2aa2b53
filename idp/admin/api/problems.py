"""Errors of the admin API, as problem details (RFC 9457)."""

from http import HTTPStatus

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException

from idp.errors import (
    BearerError,
    DomainError,
    InvalidDPoPProofError,
    InvalidRequestError,
    NoSigningKeyError,
    OAuthError,
    TryLaterError,
)
from idp.http.exception_handlers import AnyRequest, challenge, database_outage, router_detail, set_refusal
from idp.infra.request_context import request_id

_S = HTTPStatus


class ProblemError(DomainError):
    """An error with a cause that only this API has."""

    def __init__(self, status: HTTPStatus, code: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.code = code
        self.title = status.phrase


class OutdatedError(ProblemError):
    """The record has changed since the caller read it."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.PRECONDITION_FAILED, "outdated", "It has been changed. Reload it and try again.")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457 section 3).

    Attributes:
        type: a URI that identifies the kind of problem.
        instance: the request id, as in the log and the audit trail.
        errors: validation errors by the name of the parameter.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: dict[str, str] = {}


#: The codes of errors that are found before an operation runs.
HTTP_CODES = {
    _S.BAD_REQUEST: "bad-request",
    _S.NOT_FOUND: "not-found",
    _S.METHOD_NOT_ALLOWED: "method-not-allowed",
    _S.REQUEST_TIMEOUT: "request-timeout",
    _S.REQUEST_ENTITY_TOO_LARGE: "body-too-large",
}
HEADERS = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}

Answer = tuple[HTTPStatus, dict[str, str], bytes]


def problem(
    status: HTTPStatus,
    name: str,
    detail: str,
    *,
    errors: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Return status, headers and body of an error."""
    instance = f"urn:idp:request:{request_id.get()}"
    body = Problem(f"urn:idp:problem:{name}", status.phrase, int(status), detail, instance, errors or {})
    return status, HEADERS | (headers or {}), msgspec.json.encode(body)


def of(error: Exception, request: AnyRequest) -> Answer | None:
    """Return the response to an error of a family of :mod:`idp.errors`, or None for any other error, which is a bug."""
    match error:
        case BearerError() | InvalidDPoPProofError():
            status = HTTPStatus(error.status) if isinstance(error, BearerError) else _S.UNAUTHORIZED
            headers = {"WWW-Authenticate": challenge(error, request)}
            return problem(status, error.code, error.description, headers=headers)
        case InvalidRequestError():
            return problem(_S.BAD_REQUEST, "invalid-query", error.description)
        case OAuthError():
            return problem(_S.UNPROCESSABLE_ENTITY, error.code, error.description)
        case DomainError():
            errors = {error.field: error.description} if error.field is not None else None
            return problem(HTTPStatus(error.status), error.code.replace("_", "-"), error.description, errors=errors)
        case NoSigningKeyError():
            return problem(_S.CONFLICT, "wrong-state", error.description)
    if (found := database_outage(error)) is not None:
        return _try_later(_S.SERVICE_UNAVAILABLE, found.retry_after)
    if isinstance(error, TryLaterError):
        return _try_later(HTTPStatus(error.status), error.retry_after)
    return None


def response(answer: Answer) -> Response[bytes]:
    """Return the response with this status, headers and body."""
    status, headers, body = answer
    return Response(body, status_code=status, headers=headers, media_type=headers.get("Content-Type"))


def translate(request: AnyRequest, error: Exception) -> Response[bytes] | None:
    """Return the response to an error, also to one of the router, such as an unknown path; None for a bug."""
    if isinstance(error, HTTPException) and error.status_code < _S.INTERNAL_SERVER_ERROR:
        status = HTTPStatus(error.status_code)
        headers = {name: value for name, value in (error.headers or {}).items() if name in ("Allow", "Connection")}
        return response(problem(status, HTTP_CODES.get(status, "bad-request"), router_detail(error), headers=headers))
    found = of(error, request)
    if found is None:
        return None
    set_refusal(error)
    return response(found)


def _try_later(status: HTTPStatus, seconds: int) -> Answer:
    return problem(status, "try-later", "Try again later.", headers={"Retry-After": str(seconds)})
