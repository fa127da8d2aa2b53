"""Declares the operations of the admin API.

Routes and OpenAPI document are generated from one table of operations.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from idp.admin.access import Caller
from idp.admin.api.problems import ProblemError
from idp.admin.roles import Permission
from idp.http.body import MAX_BODY_BYTES
from idp.infra.db.listing import DEFAULT_LIMIT, Filter, InvalidQueryError, Listing, find, list_page
from idp.infra.db.rows import known

PREFIX = "/admin/api/v1"


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

    @property
    def names(self) -> list[str]:
        """The names of the parameters of the path, in their order."""
        return re.findall(r"{(\w+)}", self.path)


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
