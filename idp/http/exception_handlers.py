"""Turns every exception into a response: JSON for programs, a page for users."""

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import asyncpg
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException

from idp.errors import (
    BearerError,
    BoundTokenError,
    DomainError,
    FlowError,
    FlowFinishedError,
    FlowNotBoundError,
    InsufficientScopeError,
    InsufficientUserAuthenticationError,
    InvalidClientError,
    InvalidDPoPProofError,
    InvalidRequestError,
    MissingTokenError,
    NoSigningKeyError,
    OAuthError,
    OverloadedError,
    PageError,
    SessionEndedError,
    TooManyRequestsError,
    TryLaterError,
)
from idp.http.access import Access
from idp.http.headers import request_header
from idp.http.pages import page
from idp.http.routes import Errors
from idp.infra.db import outages
from idp.infra.db.outages import DatabaseUnavailableError
from idp.infra.i18n import gettext as _
from idp.infra.i18n import ngettext
from idp.infra.logs import exception_fields
from idp.infra.request_context import Refusal, actor, refusal
from idp.keys.algorithms import PROOF_ALGORITHMS
from idp.reasons import Reason
from idp.settings import settings
from idp.trace import recorder

log = structlog.get_logger()
AnyRequest = Request[Any, Any, Any]

#: Innermost frames of an unexpected error that the flow recorder keeps. The log has all of ours.
MAX_FRAMES = 5
#: PostgreSQL refuses a text with a NUL character or half of a surrogate pair. It always comes from input.
NOT_STORABLE = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
NOT_STORABLE_MESSAGE = "A value contains a character that cannot be stored."
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def error_page(error: PageError) -> Response[str]:
    """Return the page that tells the user what went wrong and how to continue."""
    return page(
        error.template,
        status=error.status,
        title=error.title,
        message=error.message,
        error=error.code,
        developer=_for_developers(error) if settings().dev else [],
        way_out=error.way_out or [(_("Go to the start page"), "/")],
    )


def _for_developers(error: PageError) -> list[tuple[str, str]]:
    """Return what development mode says about the cause: it may name what a client registered."""
    told = [*([("Cause", error.hint)] if error.hint else []), *error.facts]
    return [*told, ("Note", "Development mode shows this. In production, it is in the log.")] if told else []


def json_error(
    error: str, description: str, status: int, headers: dict[str, str] | None = None
) -> Response[dict[str, str]]:
    """Return an error response in the form of RFC 6749 section 5.2."""
    return Response(
        {"error": error, "error_description": description},
        status_code=status,
        media_type=MediaType.JSON,
        headers=NO_STORE | (headers or {}),
    )


def _wants_page(request: AnyRequest) -> bool:
    """Return whether the response is a page: by the route's access, or without a route by the Accept header."""
    handler = request.scope.get("route_handler")
    access = handler.opt.get("access") if handler is not None else None
    if access is None:
        return "text/html" in request.headers.get("accept", "")
    return access in (Access.ENTRY, Access.PAGE)


_DPOP_ALGS = {"algs": " ".join(PROOF_ALGORITHMS)}


def _challenge(scheme: str, values: dict[str, str]) -> str:
    return f"{scheme} " + ", ".join(f'{name}="{value}"' for name, value in values.items())


def challenge(error: BearerError | InvalidDPoPProofError, request: AnyRequest) -> str:
    """Return the ``WWW-Authenticate`` of a protected resource, in the scheme of the request.

    RFC 6750 section 3, RFC 9449 section 7.1, RFC 9470 section 3. Where the other scheme may help, it is named too. The
    registration endpoint accepts Bearer tokens only.
    """
    values = {"realm": "idp"}
    if not isinstance(error, MissingTokenError):
        values |= {"error": error.code, "error_description": error.description}
    if isinstance(error, InsufficientScopeError):
        values["scope"] = error.scope
    if isinstance(error, InsufficientUserAuthenticationError):
        values["acr_values"] = error.acr_values
    if not _is_resource(request):
        return _challenge("Bearer", values)
    if (request_header(request.scope, b"authorization") or "").lower().startswith("dpop "):
        return _challenge("DPoP", values | _DPOP_ALGS)
    if isinstance(error, MissingTokenError | BoundTokenError):
        return f"{_challenge('Bearer', values)}, {_challenge('DPoP', _DPOP_ALGS)}"
    return _challenge("Bearer", values)


def _is_resource(request: AnyRequest) -> bool:
    handler = request.scope.get("route_handler")
    return handler is not None and handler.opt.get("access") == Access.BEARER


def set_refusal(error: Exception) -> None:
    """Keep what the log says of a refusal: never the description of a :class:`DomainError`, which may quote input."""
    kind, _colon, client_id = actor.get().partition(":")
    if isinstance(error, OAuthError):
        refusal.set(Refusal.of(error, client_id if kind == "client" else None))
    elif isinstance(error, DomainError):
        refusal.set(Refusal(error.code.replace("-", "_"), f"{error.title}.", client_id if kind == "client" else None))
    elif isinstance(error, NOT_STORABLE):
        refusal.set(Refusal("invalid_request", NOT_STORABLE_MESSAGE, None))
    elif isinstance(error, TooManyRequestsError):
        refusal.set(Refusal(error.code, "A limit of requests is exceeded.", None, error.reason))
    elif outages.outage(error) is not None:
        _set_unavailable(Reason.DATABASE_UNAVAILABLE)
    elif isinstance(error, TryLaterError):
        _set_unavailable(error.reason)


def _set_unavailable(reason: Reason | None) -> None:
    refusal.set(Refusal("temporarily_unavailable", "The server could not answer at that moment.", None, reason))


def _oauth_error(request: AnyRequest, error: OAuthError) -> Response[Any]:
    set_refusal(error)
    if _wants_page(request):
        return error_page(
            PageError(_("This request cannot be answered"), error.description, code=error.code, status=error.status)
        )
    headers, status = dict[str, str](), error.status
    if isinstance(error, InvalidClientError) and error.challenge:
        headers["WWW-Authenticate"] = 'Basic realm="idp", charset="UTF-8"'
    elif isinstance(error, BearerError) or (isinstance(error, InvalidDPoPProofError) and _is_resource(request)):
        headers["WWW-Authenticate"] = challenge(error, request)
        status = status if isinstance(error, BearerError) else HTTPStatus.UNAUTHORIZED
    return json_error(error.code, error.description, status, headers)


def _page_error(request: AnyRequest, error: PageError) -> Response[Any]:
    refusal.set(Refusal.of(error, None))
    if _wants_page(request):
        return error_page(error)
    return json_error(error.code or "invalid_request", error.message, error.status)


def _domain_error(request: AnyRequest, error: DomainError) -> Response[Any]:
    """Answer a refusal of a service. Only a page shows its sentence, which may contain characters that RFC 6749 does
    not allow.
    """
    set_refusal(error)
    if _wants_page(request):
        return error_page(PageError(_("This request cannot be answered"), error.description, status=error.status))
    return json_error("invalid_request", "The request cannot be answered as it is.", error.status)


def _flow_error(request: AnyRequest, error: FlowError) -> Response[Any]:
    if not _wants_page(request):
        response = _oauth_error(request, OAuthError("invalid_session", error.description, error.status))
    else:
        response = _page_error(request, flow_page(error))
    refusal.set(Refusal("invalid_session", "The sign-in or its request cannot continue.", None, error.reason))
    return response


def flow_page(error: FlowError) -> PageError:
    """Return the page for a sign-in flow or authorization request that cannot continue."""
    match error:
        case FlowFinishedError():
            return _gone_page(
                _("This sign-in is already finished"),
                _("You can close this tab, or go back to the application that you came from."),
                _("Continue"),
                error,
            )
        case FlowNotBoundError(sends_keys=True):
            return PageError(
                _("This sign-in was started in another browser"),
                _("Continue there, or go back to the application and sign in here."),
            )
        case FlowNotBoundError():
            return PageError(
                _("Your browser did not send our cookie"),
                _(
                    "Signing in needs a cookie. Allow cookies for this site, or use the browser in which you started. "
                    "Then go back to the application and sign in again."
                ),
            )
    if error.application is None and error.return_to is None:
        message = _(
            "The page was open for too long, or you started in another browser. Go back to the application and"
            " sign in again."
        )
    else:
        message = _("The page was open for too long. Nothing was changed.")
    return _gone_page(_("This sign-in has expired"), message, _("Sign in again"), error)


def _gone_page(title: str, message: str, again: str, error: FlowError) -> PageError:
    """Return the page for what is over, with a link to where it led."""
    way_out: tuple[tuple[str, str], ...] = ()
    if error.return_to is not None:
        way_out = ((again, error.return_to),)
    elif error.application is not None:
        name, url = error.application
        way_out = ((_("Continue to %(application)s") % {"application": name}, url),)
    return PageError(title, message, way_out=way_out, template="flow_gone.html")


def _session_ended(request: AnyRequest, error: SessionEndedError) -> Response[Any]:
    page_error = PageError(
        _("You have been signed out"),
        _("Nothing was changed. Sign in and try again."),
        status=HTTPStatus.FORBIDDEN,
    )
    response = _page_error(request, page_error)
    refusal.set(Refusal("invalid_session", "The session ended before it changed anything.", None, error.reason))
    return response


def wait_sentence(error: TooManyRequestsError) -> str:
    """Return how long to wait, in words."""
    minutes = math.ceil(error.retry_after / 60)
    if minutes <= 1:
        return _("Too many attempts. Wait a minute and try again.")
    return ngettext(
        "Too many attempts. Wait %(count)s minute and try again.",
        "Too many attempts. Wait %(count)s minutes and try again.",
        minutes,
    )


def slowed_down(response: Response[Any], error: TooManyRequestsError) -> Response[Any]:
    """Turn a page that asks the user to wait into a 429 or 503 (RFC 6585 section 4)."""
    response.status_code = HTTPStatus.TOO_MANY_REQUESTS
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def _too_many_tries(request: AnyRequest, error: TooManyRequestsError) -> Response[Any]:
    set_refusal(error)
    if _wants_page(request):
        return slowed_down(error_page(PageError(_("Please wait a little"), wait_sentence(error))), error)
    description = "There were too many requests. Try again later."
    return slowed_down(json_error("temporarily_unavailable", description, HTTPStatus.TOO_MANY_REQUESTS), error)


def _unavailable(request: AnyRequest, message: str, retry_after: int, reason: Reason | None) -> Response[Any]:
    _set_unavailable(reason)
    status = HTTPStatus.SERVICE_UNAVAILABLE
    if _wants_page(request):
        response: Response[Any] = error_page(PageError(_("Please try again in a moment"), message, status=status))
    else:
        response = json_error("temporarily_unavailable", message, status)
    response.headers["Retry-After"] = str(retry_after)
    return response


def _overloaded(request: AnyRequest, error: OverloadedError) -> Response[Any]:
    return _unavailable(request, _("The server is overloaded."), error.retry_after, error.reason)


def database_outage(error: Exception) -> outages.Outage | None:
    """Log and return a temporary error of the database; None for any other error."""
    found = outages.outage(error)
    if found is not None:
        outages.observe(found)
        log.error("database_unavailable", reason=found.reason, **exception_fields(error.__cause__ or error))
    return found


def _database_error(request: AnyRequest, error: Exception) -> Response[Any]:
    found = database_outage(error)
    if found is None:
        return _unexpected(request, error)
    message = _("The server cannot use its database at the moment.")
    return _unavailable(request, message, found.retry_after, Reason.DATABASE_UNAVAILABLE)


def _no_signing_key(request: AnyRequest, error: NoSigningKeyError) -> Response[Any]:
    log.error("no_signing_key", **exception_fields(error))
    return _unavailable(request, _("The server has no signing key at the moment."), 5, error.reason)


def _http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Answer errors of the router, such as an unknown path, a wrong method or a body that is too large."""
    status = HTTPStatus(error.status_code)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unexpected(request, error)
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() in ("allow", "connection")}
    if _wants_page(request):
        response: Response[Any] = error_page(_page_of(status))
        response.headers.update(headers)
        return response
    return json_error("invalid_request", router_detail(error), status, headers)


def router_detail(error: HTTPException) -> str:
    """Return what is wrong with a request that matches no route, or whose body was not read. It never quotes input."""
    match HTTPStatus(error.status_code):
        case HTTPStatus.NOT_FOUND:
            return "There is no such path, or an identifier in it is malformed."
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"The path does not have this method. It has {(error.headers or {}).get('Allow', 'others')}."
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return "The body is too large."
        case HTTPStatus.REQUEST_TIMEOUT:
            return "The body did not arrive in time."
        case status:
            return f"{status.phrase}."


def _page_of(status: HTTPStatus) -> PageError:
    title = _("This request cannot be answered")
    match status:
        case HTTPStatus.NOT_FOUND:
            title, message = _("There is no such page"), _("The address may be wrong, or the page no longer exists.")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            message = _("This address opens no page. Go back and try again.")
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            message = _("What was sent is too large.")
        case _:
            message = _("It is not in a form that this server accepts.")
    return PageError(title, message, status=status)


def _unexpected(request: AnyRequest, error: Exception) -> Response[Any]:
    fields = exception_fields(error)
    log.error("unexpected_error", **fields)
    recorder.step("unexpected_error", error=fields["error"], frames=fields.get("trace", ())[-MAX_FRAMES:])
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    message = _("Something went wrong on our side. We recorded it under the number below.")
    if _wants_page(request):
        return error_page(PageError(_("Something went wrong"), message, status=status))
    return json_error("server_error", "Something went wrong on our side.", status)


def _not_storable(request: AnyRequest, _: Exception) -> Response[Any]:
    return _oauth_error(request, InvalidRequestError(NOT_STORABLE_MESSAGE))


HANDLERS: dict[int | type[Exception], Callable[[AnyRequest, Any], Response[Any]]] = {
    OAuthError: _oauth_error,
    PageError: _page_error,
    DomainError: _domain_error,
    FlowError: _flow_error,
    SessionEndedError: _session_ended,
    OverloadedError: _overloaded,
    TooManyRequestsError: _too_many_tries,
    **dict.fromkeys(NOT_STORABLE, _not_storable),
    DatabaseUnavailableError: _database_error,
    asyncpg.PostgresError: _database_error,
    asyncpg.InterfaceError: _database_error,
    asyncpg.InternalClientError: _database_error,
    NoSigningKeyError: _no_signing_key,
    HTTPException: _http_error,
    Exception: _unexpected,
}


def answer(request: AnyRequest, error: Exception, own: Errors | None = None) -> Response[Any]:
    """Return the response to an exception: that of ``own``, if the path has errors in a form of its own, or by the
    handler of its nearest class.
    """
    if own is not None and (response := own(request, error)) is not None:
        return cast(Response[Any], response)
    handler = next(HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS)
    return handler(request, error)
