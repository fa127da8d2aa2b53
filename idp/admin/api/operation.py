"""Declares the operations of the admin API, checks the token and reads the request.

Routes and OpenAPI document are generated from one table of operations.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler

from idp.admin.access import (
    Caller,
    api_resource,
    hold_client,
    hold_roles,
    lock_client_first,
    lock_users_first,
    person,
    speaks_for_roles,
)
from idp.admin.api import problems
from idp.admin.api.idempotency import repeatable
from idp.admin.api.problems import OutdatedError, ProblemError
from idp.admin.roles import PERMISSIONS, Permission, Role
from idp.directory import delegation
from idp.errors import (
    InsufficientScopeError,
    InsufficientUserAuthenticationError,
    InvalidTokenError,
    PermissionDeniedError,
    Refused,
)
from idp.http import forms
from idp.http.access import Access
from idp.http.body import MAX_BODY_BYTES, body_of
from idp.http.headers import request_header
from idp.infra import request_context
from idp.infra.db.engine import authority
from idp.infra.db.listing import DEFAULT_LIMIT, Filter, InvalidQueryError, Listing, find, list_page
from idp.infra.db.rows import known
from idp.oauth import access_tokens, protected
from idp.oauth.access_tokens import LiveAccessToken
from idp.oauth.clients import path_ids
from idp.oauth.clients.registry import registry
from idp.reasons import Reason
from idp.settings import settings
from idp.signin.transitions import ACR_VALUES

PREFIX = "/admin/api/v1"
AnyRequest = Request[Any, Any, Any]
MAX_KEY_LENGTH = 200
#: The name in audit events.
ENDPOINT = "admin_api"


class Call(msgspec.Struct, frozen=True):
    """One call of an operation.

    Attributes:
        params: the parameters of the path.
        query: the parameters of the query.
        body: the decoded body, of the declared type.
        sent: the names of its members, which tell a value from the default.
        current: the record that ``If-Match`` was compared with. A change fails if the record has changed since.
    """

    caller: Caller
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Any = None
    sent: frozenset[str] = frozenset()
    current: Any = None


class Result(msgspec.Struct, frozen=True):
    """The result of an operation. ``created`` is the path of a new record, relative to the prefix."""

    content: Any = None
    status: HTTPStatus = HTTPStatus.OK
    created: str | None = None


Handler = Callable[[Call], Awaitable[Any]]
H = TypeVar("H", bound=Handler)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation.

    Attributes:
        path: the path after :data:`PREFIX`, with ``{name}`` for parameters.
        permission: the required permission; None: any admin.
        delegated: whether administrators of the organization that ``organization_id`` of the path names are admitted
            too, with a token for that organization and the scope of the permission.
        body: the type of the request body; None: no body.
        content: the type of the response body; None: no body.
        listing: for lists, the filters and sort orders.
        query: for others, the parameters of the query with their descriptions.
        within: for the list of a record: the filter whose value is the parameter of the path.
        current: loads the record that the operation changes. If set, ``If-Match`` is required.
        max_body: the maximum size of the request body in bytes.
    """

    method: str
    path: str
    permission: Permission | None
    summary: str
    tag: str
    handler: Handler
    delegated: bool = False
    body: Any = None
    content: Any = None
    listing: Listing | None = None
    query: Mapping[str, str] = {}
    within: str | None = None
    current: Handler | None = None
    max_body: int = MAX_BODY_BYTES
    status: HTTPStatus = HTTPStatus.OK


OPERATIONS: list[Operation] = []


def operation(method: str, path: str, permission: Permission | None, summary: str, **more: Any) -> Callable[[H], H]:
    """Declare an operation. Its tag is the first segment of its path."""

    def declare(handler: H) -> H:
        tag = path.split("/")[1]
        OPERATIONS.append(
            Operation(
                method=method, path=path, permission=permission, summary=summary, tag=tag, handler=handler, **more
            )
        )
        return handler

    return declare


class Page(msgspec.Struct, frozen=True):
    """A page of a list. ``next_cursor`` continues the list; it is null on the last page."""

    items: list[Any]
    next_cursor: str | None


def listed(
    path: str,
    permission: Permission,
    summary: str,
    *,
    listing: Listing,
    read: Callable[[Any], Any],
    item: Any,
    delegated: bool = False,
    within: str | None = None,
    of: Handler | None = None,
    shown: Callable[[Call, Any], Any] | None = None,
    more_filters: Callable[[Call], Awaitable[Mapping[str, Filter]]] | None = None,
) -> None:
    """Declare an operation that lists records.

    Args:
        read: converts a row to an ``item``.
        within: for the list of a record: the filter whose value is the parameter of the path; of several, the one with
            this name, or the last.
        of: loads that record.
        shown: returns an item as this caller may see it.
        more_filters: returns filters that depend on the call.
    """

    async def handler(call: Call) -> Page:
        query = dict(call.query)
        if of is not None:
            await of(call)
        if within is not None:
            if within in query:
                raise InvalidQueryError(within, f"{within} is in the path.")
            query[within] = call.params[within] if within in call.params else list(call.params.values())[-1]
        limit = query.pop("limit", str(DEFAULT_LIMIT))
        if not limit.isascii() or not limit.isdigit() or len(limit) > 4:
            raise InvalidQueryError("limit", "limit must be a number.")
        sort, cursor = query.pop("sort", None), query.pop("cursor", None)
        more = await more_filters(call) if more_filters is not None else {}
        asked = msgspec.structs.replace(listing, filters={**listing.filters, **more})
        page = await list_page(asked, query, sort=sort, cursor=cursor, limit=int(limit))
        items = known(read, page.rows, path)
        return Page([shown(call, item) for item in items] if shown is not None else items, page.next_cursor)

    operation(
        "GET", path, permission, summary, delegated=delegated, listing=listing, content=item, within=within
    )(handler)  # fmt: skip


async def one(listing: Listing, read: Callable[[Any], Any], **key: str) -> Any:
    """Return the record with this key.

    Raises:
        ProblemError: 404, there is no such record, or it has a value that this version does not know.
    """
    row = await find(listing, **key)
    found = known(read, [row] if row is not None else [], listing.source)
    if not found:
        raise not_found()
    return found[0]


def not_found() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "not-found", "There is no such record.")


def tag_of(content: Any) -> str:
    """Return the strong entity tag of a record (RFC 9110 section 8.8.3)."""
    return f'"{sha256(msgspec.json.encode(content)).hexdigest()[:32]}"'


async def authorize(request: AnyRequest, permission: Permission | None, organization_id: str = "") -> Caller:
    """Authenticate the caller and check that both token and roles allow the operation.

    Args:
        organization_id: as in the path; administrators of this organization are admitted too. Empty: they are not.

    Raises:
        BearerError: the token is missing, not valid, not for the admin API, or lacks the scope.
        InvalidDPoPProofError: the token is bound to a key, and the proof of it is invalid.
        PermissionDeniedError: no role of the caller allows it.
    """
    live = await protected.authenticate(request, protected.in_header(request), endpoint=ENDPOINT)
    if api_resource().identifier not in _audience(live.claims):
        wrong = InvalidTokenError(refused=Refused(Reason.WRONG_AUDIENCE, live.user_id))
        raise protected.refuse(wrong, live.claims["client_id"], ENDPOINT)
    if live.named is not None:
        if ACR_VALUES.index(live.claims["acr"]) < ACR_VALUES.index(settings().admin_acr):
            raise InsufficientUserAuthenticationError(settings().admin_acr)
        caller = await person(live.named.user_id)
        if caller.roles and not await speaks_for_roles(live.named, live.claims.get("amr", ())):
            caller = msgspec.structs.replace(caller, roles=frozenset(), allowed=frozenset())
    else:
        caller = _client(live.claims["client_id"])
    scope = frozenset(live.claims["scope"].split())
    caller = msgspec.structs.replace(caller, allowed=frozenset(p for p in caller.allowed if p in scope))
    request_context.actor.set(caller.actor)
    authority.set(partial(_hold, live, caller))
    if permission is None:
        return caller
    if permission not in scope:
        raise InsufficientScopeError(permission)
    if permission not in caller.allowed and await _manages(live, organization_id):
        caller = msgspec.structs.replace(
            caller,
            roles=frozenset(),
            allowed=frozenset({permission}),
            organization_id=live.organization_id,
            amr=tuple(live.claims.get("amr", ())),
        )
        authority.set(partial(_hold, live, caller))
    caller.require(permission)
    return caller


async def _manages(live: LiveAccessToken, organization_id: str) -> bool:
    """Return whether a token is for this organization, and its user manages it."""
    if live.user_id is None or live.organization_id is None or str(live.organization_id) != organization_id:
        return False
    return await delegation.manages(live.user_id, live.organization_id)


async def _hold(live: LiveAccessToken, caller: Caller) -> None:
    """Check that the token is still valid and lock the caller's roles until the end of the transaction.

    Raises:
        InvalidTokenError: the token has been revoked.
        PermissionDeniedError: a role has been revoked, or the caller no longer manages the organization.
    """
    if not await access_tokens.lock(live):
        raise InvalidTokenError
    if caller.user_id is not None and caller.organization_id is not None:
        await delegation.hold(caller.user_id, caller.organization_id)
    elif caller.user_id is not None:
        await hold_roles(caller)
    elif not await hold_client(caller):
        raise PermissionDeniedError("Your role has been revoked.")


def _audience(claims: Mapping[str, Any]) -> list[str]:
    found = claims["aud"]
    return found if isinstance(found, list) else [found]


def _client(client_id: str) -> Caller:
    client = registry.client(client_id)
    role = client.admin_role if client is not None else None
    roles = frozenset({Role(role)} if role in set(Role) else ())
    return Caller(None, client_id, roles, PERMISSIONS[Role(role)] if roles and role else frozenset())


async def _answer(operation: Operation, request: AnyRequest) -> problems.Answer:
    named = str(request.path_params.get("organization_id", "")) if operation.delegated else ""
    caller = await authorize(request, operation.permission, named)
    if any("\0" in value for value in request.path_params.values()):
        raise not_found()
    asked, path = forms.query(request), path_ids.decoded(request.path_params)
    call = Call(caller, path, asked, *await _body(operation, request))
    if operation.method == "POST" and (key := request_header(request.scope, b"idempotency-key")) is not None:
        if not 1 <= len(key) <= MAX_KEY_LENGTH:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "invalid-key", f"A key has 1 to {MAX_KEY_LENGTH} characters.")
        _lock_target_first(call)
        name = f"{caller.actor}\0{request.scope['path']}\0{key}"
        return await repeatable(name, await body_of(request).read(), lambda: _perform(operation, call, request))
    return await _perform(operation, call, request)


def _lock_target_first(call: Call) -> None:
    """Lock the users or the client that the request names before the caller, because the transaction of an idempotent
    request begins before the operation looks for them.
    """
    named = call.params.get("user_id") or getattr(call.body, "user_id", None)
    user_ids = [*getattr(call.body, "user_ids", ())]
    # A malformed id names no user.
    with suppress(ValueError):
        user_ids += [UUID(str(named))] if named is not None else []
    if user_ids:
        lock_users_first(call.caller, user_ids)
    if "client_id" in call.params:
        lock_client_first(call.caller, call.params["client_id"])


async def _perform(operation: Operation, call: Call, request: AnyRequest) -> problems.Answer:
    if operation.current is not None:
        current = await operation.current(call)
        _check_match(request, tag_of(current))
        call = msgspec.structs.replace(call, current=current)
    found = await operation.handler(call)
    result = found if isinstance(found, Result) else Result(found, operation.status)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if result.created is not None:
        headers["Location"] = f"{settings().issuer}{PREFIX}{result.created}"
    if result.content is None:
        return HTTPStatus.NO_CONTENT, {"Cache-Control": "no-store"}, b""
    if isinstance(result.content, Page):
        headers |= _link(request, call, result.content)
    elif operation.method in ("GET", "PATCH"):
        headers["ETag"] = tag_of(result.content)
    return result.status, headers, msgspec.json.encode(result.content)


def _link(request: AnyRequest, call: Call, page: Page) -> dict[str, str]:
    """Return the ``Link`` header to the next page (RFC 8288)."""
    if page.next_cursor is None:
        return {}
    query = urlencode({**call.query, "cursor": page.next_cursor})
    return {"Link": f'<{settings().issuer}{request.scope["path"]}?{query}>; rel="next"'}


def _check_match(request: AnyRequest, tag: str) -> None:
    """Require an ``If-Match`` with the current entity tag (RFC 9110 section 13.1.1, RFC 6585 section 3)."""
    given = request_header(request.scope, b"if-match")
    if given is None:
        raise ProblemError(
            HTTPStatus.PRECONDITION_REQUIRED, "if-match-required", "Send If-Match with the ETag of the record."
        )
    if given.strip() != "*" and tag not in [each.strip() for each in given.split(",")]:
        raise OutdatedError


async def _body(operation: Operation, request: AnyRequest) -> tuple[Any, frozenset[str]]:
    """Return the decoded body and the names of its members."""
    if operation.body is None:
        return None, frozenset()
    content = await body_of(request).read()
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", "Send JSON, as application/json.")
    try:
        plain = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "malformed-json", "The body is not JSON.") from error
    _check_text(plain)
    try:
        return msgspec.convert(plain, operation.body), frozenset(plain)
    except msgspec.ValidationError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-body", str(error)) from error


def _check_text(value: Any) -> None:
    """Return whether a value contains a NUL, which PostgreSQL cannot store, also in names of members."""
    if isinstance(value, str) and "\0" in value:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "malformed-json", "A text contains a character that cannot be stored."
        )
    for inner in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_text(inner)


def route_of(operation: Operation) -> HTTPRouteHandler:
    """Return the route of an operation."""

    async def endpoint(request: AnyRequest, **_: str) -> Response[bytes]:
        try:
            status, headers, body = await _answer(operation, request)
        except Exception as error:
            refusal = problems.of(error, request)
            if refusal is None:
                raise
            status, headers, body = refusal
        return Response(body, status_code=status, headers=headers, media_type=headers.get("Content-Type"))

    path = PREFIX + operation.path.replace("}", ":str}")
    name = operation.handler.__name__
    endpoint.__name__ = f"{operation.method.lower()}_{operation.path}_{name}"
    opt = {"access": Access.BEARER, "permission": operation.permission, "body": operation.max_body}
    return route(path, http_method=[HttpMethod(operation.method)], opt=opt, status_code=200)(endpoint)
