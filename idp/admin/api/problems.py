"""Errors of the admin API, as problem details (RFC 9457)."""

from http import HTTPStatus

import msgspec
import structlog

from idp.accounts.addresses import InvalidEmailError
from idp.accounts.last_owner import LastOwnerError
from idp.accounts.passwords import InvalidPasswordError
from idp.accounts.profile import InvalidProfileError
from idp.accounts.users import EmailTakenError
from idp.admin.access import PermissionDeniedError
from idp.admin.incidents import UnknownSubjectError
from idp.errors import (
    BearerError,
    InvalidRequestError,
    NoSigningKeyError,
    OAuthError,
    OverloadedError,
    TooManyRequestsError,
)
from idp.federation.errors import InvalidUpstreamError
from idp.http.exception_handlers import bearer_challenge, database_outage
from idp.infra.db.listing import InvalidQueryError
from idp.infra.request_context import request_id
from idp.keys.jose import InvalidKeyError, UnsupportedAlgorithmError
from idp.keys.lifecycle import RotationPendingError, UnknownKeyError
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.clients.service import NotBeforeInFutureError, UnknownResourceServerError, VersionConflictError

log = structlog.get_logger()

_S = HTTPStatus


class ProblemError(Exception):
    """A request that is not answered as asked.

    Attributes:
        name: the error, as the last part of the problem's ``type``.
        detail: one plain sentence.
    """

    def __init__(self, status: HTTPStatus, name: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name


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


#: What the services refuse, with the status and the name of the error.
KINDS: dict[type[Exception], tuple[HTTPStatus, str]] = {
    PermissionDeniedError: (_S.FORBIDDEN, "forbidden"),
    UnknownSubjectError: (_S.NOT_FOUND, "not-found"),
    UnknownClientError: (_S.NOT_FOUND, "not-found"),
    UnknownResourceServerError: (_S.NOT_FOUND, "not-found"),
    UnknownKeyError: (_S.CONFLICT, "wrong-state"),
    NoSigningKeyError: (_S.CONFLICT, "wrong-state"),
    RotationPendingError: (_S.CONFLICT, "rotation-pending"),
    NotBeforeInFutureError: (_S.UNPROCESSABLE_ENTITY, "moment-to-come"),
    VersionConflictError: (_S.PRECONDITION_FAILED, "outdated"),
    EmailTakenError: (_S.CONFLICT, "email-taken"),
    LastOwnerError: (_S.CONFLICT, "last-owner"),
    InvalidEmailError: (_S.UNPROCESSABLE_ENTITY, "invalid-email"),
    InvalidPasswordError: (_S.UNPROCESSABLE_ENTITY, "invalid-password"),
    InvalidUpstreamError: (_S.UNPROCESSABLE_ENTITY, "invalid-upstream"),
    UnsupportedAlgorithmError: (_S.UNPROCESSABLE_ENTITY, "unsupported-algorithm"),
    InvalidKeyError: (_S.UNPROCESSABLE_ENTITY, "invalid-key"),
    msgspec.ValidationError: (_S.UNPROCESSABLE_ENTITY, "invalid-body"),
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
    """Status, headers and body of an error."""
    instance = f"urn:idp:request:{request_id.get()}"
    body = Problem(f"urn:idp:problem:{name}", status.phrase, int(status), detail, instance, errors or {})
    return status, HEADERS | (headers or {}), msgspec.json.encode(body)


def of(error: Exception) -> Answer | None:
    """The answer to what was refused; None for what was not foreseen."""
    if isinstance(error, BearerError):
        headers = {"WWW-Authenticate": bearer_challenge(error)}
        return problem(HTTPStatus(error.status), error.error, error.description, headers=headers)
    if isinstance(error, ProblemError):
        return problem(error.status, error.name, str(error))
    if isinstance(error, InvalidQueryError):
        return problem(_S.BAD_REQUEST, "invalid-query", str(error), errors={error.parameter: str(error)})
    if isinstance(error, InvalidProfileError):
        return problem(_S.UNPROCESSABLE_ENTITY, "invalid-profile", str(error), errors={error.field: str(error)})
    if isinstance(error, TooManyRequestsError | OverloadedError):
        status = _S.TOO_MANY_REQUESTS if isinstance(error, TooManyRequestsError) else _S.SERVICE_UNAVAILABLE
        return _try_later(status, error.retry_after)
    if isinstance(error, InvalidRequestError):
        return problem(_S.BAD_REQUEST, "invalid-query", error.description)
    if isinstance(error, OAuthError):
        return problem(_S.UNPROCESSABLE_ENTITY, error.error, error.description)
    for kind, (status, name) in KINDS.items():
        if isinstance(error, kind):
            return problem(status, name, str(error))
    found = database_outage(error)
    if found is not None:
        return _try_later(_S.SERVICE_UNAVAILABLE, found.retry_after)
    return None


def _try_later(status: HTTPStatus, seconds: int) -> Answer:
    return problem(status, "try-later", "Try again later.", headers={"Retry-After": str(seconds)})
