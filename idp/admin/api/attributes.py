"""Operations on declared attributes, and on the values of users."""

from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec

from idp.accounts.attributes import declaration, repository, service
from idp.accounts.attributes.jobs.repository import JOBS
from idp.accounts.attributes.repository import ATTRIBUTES
from idp.admin.api.models import attributes as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.api.people import named_user, show_user
from idp.admin.api.problems import OutdatedError
from idp.admin.roles import Permission

_READ, _WRITE = Permission.ATTRIBUTES_READ, Permission.ATTRIBUTES_WRITE
_PATH = "/attributes"


def _read(row: asyncpg.Record) -> models.Attribute:
    values = dict(row)
    return msgspec.convert(msgspec.json.decode(values.pop("config")) | values, models.Attribute)


listed(_PATH, _READ, "List attributes of users", listing=ATTRIBUTES, read=_read, item=models.Attribute)
listed(
    "/attribute_jobs", _READ, "List attributes whose values are being indexed or deleted",
    listing=JOBS, read=reader(models.AttributeJob), item=models.AttributeJob,
)  # fmt: skip


@operation("GET", f"{_PATH}/{{name}}", _READ, "Show an attribute", content=models.Attribute)
async def show_attribute(call: Call) -> models.Attribute:
    found: models.Attribute = await one(ATTRIBUTES, _read, name=call.params["name"])
    return found


@operation("GET", f"{_PATH}/{{name}}/usage", _READ, "Count the values of an attribute", content=models.AttributeUsage)
async def count_values(call: Call) -> models.AttributeUsage:
    found = await show_attribute(call)
    return models.AttributeUsage(await repository.count_values(found.name))


@operation(
    "POST", _PATH, _WRITE, "Declare an attribute",
    body=models.NewAttribute, content=models.Attribute, status=HTTPStatus.CREATED,
)  # fmt: skip
async def declare_attribute(call: Call) -> Result:
    stored = await declaration.declare(**msgspec.to_builtins(call.body))
    content = await one(ATTRIBUTES, _read, name=stored.name)
    return Result(content, HTTPStatus.CREATED, f"{_PATH}/{stored.name}")


@operation(
    "PATCH", f"{_PATH}/{{name}}", _WRITE, "Change an attribute",
    body=models.AttributeChange, content=models.Attribute, current=show_attribute,
)  # fmt: skip
async def update_attribute(call: Call) -> models.Attribute:
    before: models.Attribute = call.current
    changes: dict[str, Any] = msgspec.to_builtins(call.body)
    if await declaration.update(before.name, before.updated_at, **changes) is None:
        raise OutdatedError
    return await show_attribute(call)


@operation(
    "DELETE", f"{_PATH}/{{name}}", _WRITE, "Delete an attribute with the values of all users", current=show_attribute
)
async def delete_attribute(call: Call) -> None:
    before: models.Attribute = call.current
    if await declaration.delete(before.name, before.updated_at) is None:
        raise OutdatedError


@operation(
    "GET", "/users/{user_id}/attributes", Permission.USERS_READ, "Show the attributes of a user",
    content=models.AttributeValues,
)  # fmt: skip
async def show_values(call: Call) -> models.AttributeValues:
    user = await show_user(call)
    return models.AttributeValues(await service.stored_values(user.id, call.caller.audience))


@operation(
    "PATCH", "/users/{user_id}/attributes", Permission.USERS_WRITE, "Change attributes of a user",
    body=models.AttributeValuesChange, content=models.AttributeValues, current=show_values,
)  # fmt: skip
async def change_values(call: Call) -> models.AttributeValues:
    user = await named_user(call)
    before: models.AttributeValues = call.current
    changed = await service.change(user.id, call.body.values, call.caller.audience, expected=before.values)
    if changed is None:
        raise OutdatedError
    return await show_values(call)
