"""Operations on the types of authorization details (RFC 9396)."""

import json
from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec

from idp.admin.api.models import authorization_details as models
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.oauth.details import registration
from idp.oauth.details.repository import DETAILS_TYPES

_READ, _WRITE = Permission.RESOURCE_SERVERS_READ, Permission.RESOURCE_SERVERS_WRITE
_PATH = "/authorization_details_types"


def _read(row: asyncpg.Record) -> models.DetailsType:
    return msgspec.convert(dict(row) | {"schema": json.loads(row["schema"])}, models.DetailsType)


listed(_PATH, _READ, "List types of authorization details", listing=DETAILS_TYPES, read=_read, item=models.DetailsType)


@operation("GET", f"{_PATH}/{{type_id}}", _READ, "Show a type of authorization details", content=models.DetailsType)
async def show_type(call: Call) -> models.DetailsType:
    found: models.DetailsType = await one(DETAILS_TYPES, _read, id=call.params["type_id"])
    return found


def _values(body: msgspec.Struct) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(body)
    return values | ({"schema": json.dumps(values["schema"])} if "schema" in values else {})


@operation(
    "POST", _PATH, _WRITE, "Register a type of authorization details",
    body=models.NewDetailsType, content=models.DetailsType, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_type(call: Call) -> Result:
    kind = await registration.register_type(**_values(call.body))
    return Result(await one(DETAILS_TYPES, _read, id=kind.id), HTTPStatus.CREATED, f"{_PATH}/{kind.id}")


@operation(
    "PATCH", f"{_PATH}/{{type_id}}", _WRITE, "Change a type of authorization details",
    body=models.DetailsTypeChange, content=models.DetailsType, current=show_type,
)  # fmt: skip
async def update_type(call: Call) -> models.DetailsType:
    kind: models.DetailsType = call.current
    await registration.update_type(kind.id, kind.updated_at, **_values(call.body))
    return await show_type(call)


@operation("DELETE", f"{_PATH}/{{type_id}}", _WRITE, "Delete a type of authorization details", current=show_type)
async def delete_type(call: Call) -> None:
    kind: models.DetailsType = call.current
    await registration.delete_type(kind.id, kind.updated_at)
