"""Bulk requests (RFC 7644 section 3.7): operations one after the other, each in a transaction of its own.

An operation may refer to a resource that another operation of the request creates: ``bulkId:NAME``, in its path or in
its data. It waits until that one is created; without it, it fails.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from idp.scim.access import PATH
from idp.scim.errors import InvalidSyntaxError, InvalidValueError, PayloadTooLargeError
from idp.scim.patch import Document

REQUEST: Final = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
RESPONSE: Final = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
MAX_OPERATIONS: Final = 100
MAX_BODY: Final = 1024 * 1024
#: Depth of the data of an operation: of objects and lists in one another.
MAX_DEPTH: Final = 10
_REFERENCE: Final = "bulkId:"


class Operation(msgspec.Struct, frozen=True):
    """One operation of a bulk request.

    Attributes:
        references: the ids of the operations to which it refers.
    """

    method: str
    path: str
    bulk_id: str | None
    version: str | None
    data: Any
    references: frozenset[str] = frozenset()


class Outcome(msgspec.Struct, frozen=True):
    """The result of an operation.

    Attributes:
        content: the resource or the error.
    """

    status: int
    content: Document | None = None
    location: str | None = None
    version: str | None = None


#: Performs an operation, and answers its errors.
Perform = Callable[[Operation], Awaitable[Outcome]]


def read(body: Mapping[str, Any]) -> tuple[list[Operation], int]:
    """Return the operations of a request, and the number of errors at which it ends.

    Raises:
        InvalidSyntaxError: it is malformed.
        PayloadTooLargeError: it has too many operations.
    """
    values = {name.lower(): value for name, value in body.items()}
    given, limit = values.get("operations"), values.get("failonerrors")
    if not isinstance(given, list) or not given:
        raise InvalidSyntaxError("Operations must be a list of operations.")
    if len(given) > MAX_OPERATIONS:
        raise PayloadTooLargeError(f"A bulk request has up to {MAX_OPERATIONS} operations.")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidSyntaxError("failOnErrors must be a positive number.")
    operations = [_operation(each) for each in given]
    names = [each.bulk_id for each in operations if each.bulk_id is not None]
    if len(set(names)) < len(names):
        raise InvalidSyntaxError("Two operations have the same bulkId.")
    return operations, limit or len(operations)


def _operation(given: Any) -> Operation:
    values = {name.lower(): value for name, value in given.items()} if isinstance(given, dict) else {}
    method, path, bulk_id, version = (values.get(name) for name in ("method", "path", "bulkid", "version"))
    method = method.upper() if isinstance(method, str) else method
    if method not in ("POST", "PUT", "PATCH", "DELETE") or not isinstance(path, str):
        raise InvalidSyntaxError("An operation needs a method, POST, PUT, PATCH or DELETE, and a path.")
    if any(not isinstance(each, str | None) for each in (bulk_id, version)) or (method == "POST" and not bulk_id):
        raise InvalidSyntaxError("An operation that creates needs a bulkId, and a version is a text.")
    data = values.get("data")
    return Operation(method, path, bulk_id, version, data, _references([*path.split("/"), data]))


async def perform(operations: list[Operation], limit: int, one: Perform) -> Document:
    """Perform operations, until ``limit`` of them have failed. Returns the ``BulkResponse``."""
    results: dict[int, Document] = {}
    created: dict[str, str] = {}
    waiting, errors = list(enumerate(operations)), 0
    while waiting and errors < limit:
        ready = next((each for each in waiting if each[1].references <= created.keys()), None)
        number, operation = ready or waiting[0]
        waiting.remove((number, operation))
        outcome = await (_unresolved(operation, one) if ready is None else one(_resolved(operation, created)))
        errors += outcome.status >= HTTPStatus.BAD_REQUEST
        if operation.bulk_id and outcome.location is not None and outcome.status == HTTPStatus.CREATED:
            created[operation.bulk_id] = outcome.location.rpartition("/")[2]
        results[number] = _result(operation, outcome)
    return {"schemas": [RESPONSE], "Operations": [results[number] for number in sorted(results)]}


def _result(operation: Operation, outcome: Outcome) -> Document:
    found: Document = {"method": operation.method, "status": str(int(outcome.status))}
    if operation.bulk_id is not None:
        found["bulkId"] = operation.bulk_id
    if outcome.location is not None:
        found["location"] = outcome.location
    if outcome.version is not None:
        found["version"] = outcome.version
    if outcome.status >= HTTPStatus.BAD_REQUEST:
        found["response"] = outcome.content
    return found


async def _unresolved(operation: Operation, one: Perform) -> Outcome:
    """Answer an operation that refers to a resource that was not created."""
    return await one(msgspec.structs.replace(operation, method="", data=InvalidValueError("A bulkId is not known.")))


def _references(value: Any) -> frozenset[str]:
    """Return the ids of operations to which a value refers.

    Raises:
        InvalidSyntaxError: it is too deep.
    """
    found, left = set[str](), [(value, 0)]
    while left:
        one, depth = left.pop()
        if isinstance(one, str) and one.startswith(_REFERENCE):
            found.add(one.removeprefix(_REFERENCE))
        elif isinstance(one, dict | list):
            if depth > MAX_DEPTH:
                raise InvalidSyntaxError("The data of an operation is too deep.")
            left += [(inner, depth + 1) for inner in (one.values() if isinstance(one, dict) else one)]
    return frozenset(found)


def _resolved(operation: Operation, created: Mapping[str, str]) -> Operation:
    path = "/".join(_replaced(part, created) for part in operation.path.split("/"))
    return msgspec.structs.replace(operation, path=path, data=_replaced(operation.data, created))


def _replaced(value: Any, created: Mapping[str, str]) -> Any:
    if isinstance(value, str) and value.startswith(_REFERENCE):
        return created[value.removeprefix(_REFERENCE)]
    if isinstance(value, dict):
        return {name: _replaced(inner, created) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, created) for inner in value]
    return value


def relative(path: str) -> str:
    """Return the path of an operation without what precedes the resource type."""
    return path.partition(PATH)[2] if PATH in path else path
