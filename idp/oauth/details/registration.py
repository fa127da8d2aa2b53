"""Registering the types of authorization details.

Each change is one transaction with its cache invalidation and its audit event, as for clients.
"""

import json
import re
from datetime import datetime
from typing import Any

import msgspec

from idp.audit.events import record
from idp.errors import NotFoundError, ValidationError, VersionConflictError
from idp.oauth.clients.metadata import is_name
from idp.oauth.clients.registration import change
from idp.oauth.clients.repository import lock_resource_server
from idp.oauth.details import repository, schemas
from idp.oauth.details.models import DetailsType, StoredDetailsType

MAX_SUMMARY_LENGTH = 500
#: A name or a URI, in characters that need no escaping in JSON and that a list separated by spaces may have.
_TYPE = re.compile(r"[!#-\[\]-~]{1,200}")


class InvalidDetailsTypeError(ValidationError):
    """The type of authorization details is not valid."""


class UnknownDetailsTypeError(NotFoundError):
    """There is no such type."""

    def __init__(self) -> None:
        super().__init__("There is no type of authorization details with this id.")


async def register_type(**values: Any) -> DetailsType:
    """Register a type of authorization details.

    Args:
        values: the fields of :class:`DetailsType`.

    Raises:
        InvalidDetailsTypeError: a value is not valid.
        InvalidSchemaError: the JSON Schema is not valid.
    """
    kind = _checked(values)
    async with change():
        await _check_resource(kind)
        if not await repository.insert_type(kind):
            raise InvalidDetailsTypeError("A type with this name already exists.")
        await record("authorization_details_type_registered", detail={"type": kind.type, "resource": kind.resource})
    return kind


async def update_type(id: str, expected: datetime | None = None, **changes: Any) -> DetailsType:
    """Change a type, except its name. Details of this type that were granted before stay as they are.

    Raises:
        UnknownDetailsTypeError: there is no such type.
        VersionConflictError: it was changed since.
        InvalidDetailsTypeError: a value is not valid.
        InvalidSchemaError: the JSON Schema is not valid.
    """
    async with change():
        stored = await _lock(id, expected)
        before = {name: getattr(stored, name) for name in DetailsType.__struct_fields__}
        before["schema"] = schemas.normal(json.loads(stored.schema))
        kind = _checked(before | changes)
        if (kind.id, kind.type) != (stored.id, stored.type):
            raise InvalidDetailsTypeError("The name of a type cannot be changed.")
        await _check_resource(kind)
        values = {name: value for name, value in msgspec.structs.asdict(kind).items() if value != before[name]}
        if values:
            await repository.update_type(id, values)
            detail = {"type": kind.type, "changed": sorted(values)}
            await record("authorization_details_type_updated", detail=detail)
    return kind


async def delete_type(id: str, expected: datetime | None = None) -> None:
    """Delete a type. Requests for it are refused, and tokens are issued without its details.

    Raises:
        UnknownDetailsTypeError: there is no such type.
        VersionConflictError: it was changed since.
    """
    async with change():
        stored = await _lock(id, expected)
        await repository.delete_type(id)
        await record("authorization_details_type_deleted", detail={"type": stored.type})


async def _lock(id: str, expected: datetime | None) -> StoredDetailsType:
    stored = await repository.lock_type(id)
    if stored is None:
        raise UnknownDetailsTypeError
    if expected is not None and stored.updated_at != expected:
        raise VersionConflictError
    return stored


async def _check_resource(kind: DetailsType) -> None:
    if await lock_resource_server(kind.resource) is None:
        raise InvalidDetailsTypeError("There is no resource server with this identifier.")


def _checked(values: dict[str, Any]) -> DetailsType:
    try:
        kind = msgspec.convert(values, DetailsType)
    except msgspec.ValidationError as error:
        raise InvalidDetailsTypeError("A member is missing, or of a wrong type.") from error
    if not _TYPE.fullmatch(kind.type):
        raise InvalidDetailsTypeError("type must be 1 to 200 ASCII characters, without spaces or quotes.")
    if not is_name(kind.title):
        raise InvalidDetailsTypeError("The title must be one line of up to 200 characters.")
    if len(kind.summary) > MAX_SUMMARY_LENGTH or not kind.summary.isprintable():
        raise InvalidDetailsTypeError(f"The summary must be one line of up to {MAX_SUMMARY_LENGTH} characters.")
    return msgspec.structs.replace(kind, schema=schemas.check(kind.schema))
