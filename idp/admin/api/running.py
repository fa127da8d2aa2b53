"""Runs an operation for an authorized caller: reads the request, checks ``If-Match``, calls the handler.

The routes of the API and the page of the console that sends requests both call :func:`run`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from idp.admin.access import Caller, lock_client_first, lock_users_first
from idp.admin.api.idempotency import repeatable
from idp.admin.api.operation import PREFIX, Call, Operation, Page, Result, not_found, tag_of
from idp.admin.api.problems import Answer, OutdatedError, ProblemError
from idp.infra import foreign_json
from idp.infra.media_types import JSON, media_type
from idp.settings import settings

MAX_KEY_LENGTH = 200


class Message(msgspec.Struct, frozen=True):
    """The parts of a request that an operation reads.

    Attributes:
        path: the whole path of the URL.
        params: the decoded parameters of the path.
        headers: ``content-type``, ``if-match`` and ``idempotency-key``, those that were sent.
        read: returns the body.
    """

    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    read: Callable[[], Awaitable[bytes]]


async def run(operation: Operation, caller: Caller, message: Message) -> Answer:
    """Run an operation. The caller has its permission, and :data:`idp.infra.db.engine.authority` checks that again.

    Raises:
        DomainError: the request is refused.
    """
    params = {name: message.params[name] for name in operation.names}
    if any("\0" in value for value in params.values()):
        raise not_found()
    call = Call(caller, params, message.query, *await _body(operation, message))
    if operation.method == "POST" and (key := message.headers.get("idempotency-key")) is not None:
        if not 1 <= len(key) <= MAX_KEY_LENGTH:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "invalid-key", f"A key has 1 to {MAX_KEY_LENGTH} characters.")
        _lock_target_first(call)
        # The decoded parameters, because a path can be encoded in several ways.
        name = "\0".join([caller.actor, operation.path, *params.values(), key])
        return await repeatable(name, await message.read(), lambda: _perform(operation, call, message))
    return await _perform(operation, call, message)


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


async def _perform(operation: Operation, call: Call, message: Message) -> Answer:
    if operation.current is not None:
        current = await operation.current(call)
        _check_match(message, tag_of(current))
        call = msgspec.structs.replace(call, current=current)
    found = await operation.handler(call)
    result = found if isinstance(found, Result) else Result(found, operation.status)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if result.created is not None:
        headers["Location"] = f"{settings().issuer}{PREFIX}{result.created}"
    if result.content is None:
        return HTTPStatus.NO_CONTENT, {"Cache-Control": "no-store"}, b""
    if isinstance(result.content, Page):
        headers |= _link(message, call, result.content)
    elif operation.method in ("GET", "PATCH"):
        headers["ETag"] = tag_of(result.content)
    return result.status, headers, msgspec.json.encode(result.content)


def _link(message: Message, call: Call, page: Page) -> dict[str, str]:
    """Return the ``Link`` header to the next page (RFC 8288)."""
    if page.next_cursor is None:
        return {}
    query = urlencode({**call.query, "cursor": page.next_cursor})
    return {"Link": f'<{settings().issuer}{message.path}?{query}>; rel="next"'}


def _check_match(message: Message, tag: str) -> None:
    """Require an ``If-Match`` with the current entity tag (RFC 9110 section 13.1.1, RFC 6585 section 3)."""
    given = message.headers.get("if-match")
    if given is None:
        raise ProblemError(
            HTTPStatus.PRECONDITION_REQUIRED, "if-match-required", "Send If-Match with the ETag of the record."
        )
    if given.strip() != "*" and tag not in [each.strip() for each in given.split(",")]:
        raise OutdatedError


async def _body(operation: Operation, message: Message) -> tuple[Any, frozenset[str]]:
    """Return the decoded body and the names of its members."""
    if operation.body is None:
        return None, frozenset()
    content = await message.read()
    if media_type(message.headers.get("content-type")) != JSON:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", "Send JSON, as application/json.")
    try:
        plain = foreign_json.decode(content)
    except ValueError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "malformed-json", f"The body cannot be read: {error}.") from error
    _check(plain)
    try:
        return msgspec.convert(plain, operation.body), frozenset(plain)
    except msgspec.ValidationError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-body", str(error)) from error


def _check(value: Any) -> None:
    """Require that a value can be stored.

    Raises:
        ProblemError: it contains a NUL, which PostgreSQL cannot store, also in names of members.
    """
    if isinstance(value, str) and "\0" in value:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "malformed-json", "A text contains a character that cannot be stored."
        )
    for inner in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check(inner)
