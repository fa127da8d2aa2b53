"""Operations on the policies of identity assertions (ID-JAG) for other authorization servers."""

from http import HTTPStatus

import asyncpg
import msgspec

from idp.admin.access import check_client
from idp.admin.api.models import id_jag_policies as models
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.oauth.id_jag import registration
from idp.oauth.id_jag.repository import ID_JAG_POLICIES

_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_PATH = "/id_jag_policies"


def _read(row: asyncpg.Record) -> models.IdJagPolicy:
    return msgspec.convert(dict(row), models.IdJagPolicy)


listed(
    _PATH, _READ, "List policies of identity assertions",
    listing=ID_JAG_POLICIES, read=_read, item=models.IdJagPolicy,
)  # fmt: skip


@operation("GET", f"{_PATH}/{{id_jag_id}}", _READ, "Show a policy of identity assertions", content=models.IdJagPolicy)
async def show_id_jag_policy(call: Call) -> models.IdJagPolicy:
    found: models.IdJagPolicy = await one(ID_JAG_POLICIES, _read, id=call.params["id_jag_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Let a client get identity assertions",
    body=models.NewIdJagPolicy, content=models.IdJagPolicy, status=HTTPStatus.CREATED,
)  # fmt: skip
async def add_id_jag_policy(call: Call) -> Result:
    values = msgspec.to_builtins(call.body)
    client_id = values.pop("client_id")
    await check_client(call.caller, client_id)
    policy = await registration.add(client_id, **values)
    content = await one(ID_JAG_POLICIES, _read, id=str(policy.id))
    return Result(content, HTTPStatus.CREATED, f"{_PATH}/{policy.id}")


@operation("DELETE", f"{_PATH}/{{id_jag_id}}", _WRITE, "Remove a policy of identity assertions")
async def remove_id_jag_policy(call: Call) -> None:
    policy = await show_id_jag_policy(call)
    await check_client(call.caller, policy.client_id)
    await registration.remove(policy.id)
