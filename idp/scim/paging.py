"""Lists (RFC 7644 section 3.4.2, RFC 9865): what a request asks for, and the pages over one or more resource types."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from idp.scim import groups, organization_groups, organization_users, users
from idp.scim.access import Caller
from idp.scim.attributes import GROUP, USER, ResourceType
from idp.scim.errors import InvalidCursorError, InvalidValueError, ScimError
from idp.scim.filters import Filter, Path, Selection, parse_filter, parse_path
from idp.scim.patch import Document
from idp.scim.repository.groups import GROUPS, read_groups
from idp.scim.repository.members import MEMBERS, read_members
from idp.scim.repository.roles import ROLES
from idp.scim.repository.search import Found, Order, Position, Searched, order_by, search
from idp.scim.repository.users import USERS, read_users
from idp.scim.representation import Wanted, project, wanted

MESSAGE: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
REQUEST: Final = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
DEFAULT_COUNT: Final = 100
MAX_COUNT: Final = 200
#: Resources before the page. Whoever reads more gets them by cursors, of which each page costs the same.
MAX_INDEX: Final = 10_000_000
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_SEARCHED: Mapping[str, Searched] = {USER.name: USERS, GROUP.name: GROUPS}
_IN_ORGANIZATION: Mapping[str, Searched] = {USER.name: MEMBERS, GROUP.name: ROLES}


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What a request for a list asks for.

    Attributes:
        fingerprint: of what decides which resources are in which order, so that a cursor is of one list.
        cursor: None: by index; empty: the first page.
    """

    filter: Filter | None
    sort_by: Path | None
    descending: bool
    start: int
    count: int
    cursor: str | None
    parts: Wanted
    fingerprint: str


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    fingerprint: str
    type: str
    position: Position | None


def read_query(types: Sequence[ResourceType], given: Mapping[str, Any]) -> Query:
    """Return what a request asks for.

    Args:
        given: the parameters of the query, or the members of a ``SearchRequest``.

    Raises:
        InvalidFilterError: the filter is malformed.
        InvalidValueError: another parameter is not valid.
        InvalidCursorError: the cursor is given with an index.
    """
    values = {name.lower(): value for name, value in given.items()}
    filter_text, sort_text = _text(values, "filter"), _text(values, "sortby")
    order = (_text(values, "sortorder") or "ascending").lower()
    if order not in ("ascending", "descending"):
        raise InvalidValueError("sortOrder must be ascending or descending.")
    cursor = _text(values, "cursor")
    if cursor is not None and "startindex" in values:
        raise InvalidCursorError("Either a cursor or startIndex, not both.")
    sort_by = parse_path(sort_text) if sort_text else None
    if isinstance(sort_by, Selection):
        raise InvalidValueError("sortBy must be an attribute.")
    fingerprint = sha256(repr((filter_text, sort_text, order, [each.name for each in types])).encode()).hexdigest()[:16]
    return Query(
        filter=parse_filter(filter_text) if filter_text is not None else None,
        sort_by=sort_by,
        descending=order == "descending",
        start=max(1, _number(values, "startindex", 1)),
        count=min(MAX_COUNT, max(0, _number(values, "count", DEFAULT_COUNT))),
        cursor=cursor,
        parts=read_parts(types, values),
        fingerprint=fingerprint,
    )


def read_parts(types: Sequence[ResourceType], given: Mapping[str, Any]) -> Wanted:
    """Return the parts of resources that a request wants: ``attributes`` and ``excludedAttributes``.

    Raises:
        InvalidValueError: they are not names.
    """
    values = {name.lower(): value for name, value in given.items()}
    return wanted(types, _names(values, "attributes"), _names(values, "excludedattributes"))


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and (not isinstance(value, str) or "\0" in value):
        raise InvalidValueError(f"{name} must be a text.")
    return value


def _names(values: Mapping[str, Any], name: str) -> list[str]:
    value = values.get(name)
    names = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise InvalidValueError(f"{name} must be names.")
    return [each for each in names if each.strip()]


def _number(values: Mapping[str, Any], name: str, default: int) -> int:
    value = values.get(name, default)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value > MAX_INDEX:
        raise InvalidValueError(f"{name} must be a number up to {MAX_INDEX}.")
    return value


async def page(caller: Caller, types: Sequence[ResourceType], query: Query) -> Document:
    """Return a page of resources, as a ``ListResponse``.

    Raises:
        ScimError: the filter, the order or the cursor is not valid.
    """
    by_cursor = query.cursor is not None
    started = _read_cursor(query, types) if query.cursor else None
    scope: list[object] = [caller.origin]
    searched = _SEARCHED
    if caller.organization_id is not None:
        scope.append(caller.organization_id)
        searched = _IN_ORGANIZATION
    orders = _orders(types, query, searched)
    resources: list[Document] = []
    total, cursor = 0, None
    for number, resource in enumerate(types):
        if started is not None and [each.name for each in types].index(started.type) > number:
            continue
        room = query.count - len(resources)
        if by_cursor and not room:
            cursor = cursor or _Cursor(query.fingerprint, resource.name, None)
            break
        after = started.position if started is not None and started.type == resource.name else None
        found = await search(
            searched[resource.name], scope, query.filter, orders[resource.name],
            limit=room, after=after, counted=not by_cursor,
            offset=0 if by_cursor else max(0, query.start - 1 - total),
            exact=len(types) > 1, others=types,
        )  # fmt: skip
        resources += await _shown(caller, resource, found, query.parts)
        total += found.total or 0
        if by_cursor and found.next is not None:
            cursor = _Cursor(query.fingerprint, resource.name, found.next)
            break
    return _response(query, resources, None if by_cursor else total, cursor)


def _orders(types: Sequence[ResourceType], query: Query, searched: Mapping[str, Searched]) -> dict[str, Order]:
    """Return the order of each type. One of several types that does not have the attribute is ordered by id."""
    found: dict[str, Order] = {}
    refused: ScimError | None = None
    for resource in types:
        try:
            found[resource.name] = (
                order_by(searched[resource.name], query.sort_by, descending=query.descending)
                if query.sort_by is not None
                else Order(descending=query.descending)
            )
        except InvalidValueError as error:
            refused = error
            found[resource.name] = Order()
    if refused is not None and len(types) == 1:
        raise refused
    return found


async def _shown(caller: Caller, resource: ResourceType, found: Found, parts: Wanted) -> list[Document]:
    inside = caller.organization_id
    if resource is USER:
        wanted_groups = parts.has("groups")
        if inside is None:
            documents = await users.shown(read_users(found.rows), with_groups=wanted_groups)
        else:
            documents = await organization_users.shown(read_members(found.rows), inside, with_groups=wanted_groups)
    else:
        service = groups if inside is None else organization_groups
        documents = await service.shown(read_groups(found.rows), with_members=parts.has("members"))
    return [project(document, parts) for document in documents]


def _response(query: Query, resources: list[Document], total: int | None, cursor: _Cursor | None) -> Document:
    response: Document = {"schemas": [MESSAGE]}
    if total is not None:
        response |= {"totalResults": total, "startIndex": query.start}
    response["itemsPerPage"] = len(resources)
    if cursor is not None:
        response["nextCursor"] = urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()
    return response | {"Resources": resources}


def _read_cursor(query: Query, types: Sequence[ResourceType]) -> _Cursor:
    text = query.cursor or ""
    try:
        cursor = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Cursor)
    except (ValueError, msgspec.DecodeError):
        raise InvalidCursorError("The cursor is not of this list.") from None
    position = cursor.position
    inside = f"{position.value}{position.id}" if position is not None else ""
    if cursor.fingerprint != query.fingerprint or cursor.type not in [each.name for each in types] or "\0" in inside:
        raise InvalidCursorError("The cursor is not of this list and filter.")
    return cursor
