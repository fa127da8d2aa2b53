"""Operations on the rules of workload identity: tokens of trusted issuers that authenticate clients."""

from http import HTTPStatus

import asyncpg
import msgspec

from idp.admin.access import check_client
from idp.admin.api.models import workload_identities as models
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.oauth.clients.workloads import registration
from idp.oauth.clients.workloads.repository import WORKLOAD_IDENTITIES, read

_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_PATH = "/workload_identities"


def _read(row: asyncpg.Record) -> models.WorkloadIdentity:
    return msgspec.convert(msgspec.structs.asdict(read(row)), models.WorkloadIdentity)


listed(
    _PATH, _READ, "List workload identities",
    listing=WORKLOAD_IDENTITIES, read=_read, item=models.WorkloadIdentity,
)  # fmt: skip


@operation("GET", f"{_PATH}/{{identity_id}}", _READ, "Show a workload identity", content=models.WorkloadIdentity)
async def show_identity(call: Call) -> models.WorkloadIdentity:
    found: models.WorkloadIdentity = await one(WORKLOAD_IDENTITIES, _read, id=call.params["identity_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Let tokens of a trusted issuer authenticate a client",
    body=models.NewWorkloadIdentity, content=models.WorkloadIdentity, status=HTTPStatus.CREATED,
)  # fmt: skip
async def add_identity(call: Call) -> Result:
    values = {name: value for name, value in msgspec.structs.asdict(call.body).items() if value is not None}
    client_id = values.pop("client_id")
    await check_client(call.caller, client_id)
    rule = await registration.add(client_id, **values)
    content = await one(WORKLOAD_IDENTITIES, _read, id=str(rule.id))
    return Result(content, HTTPStatus.CREATED, f"{_PATH}/{rule.id}")


@operation("DELETE", f"{_PATH}/{{identity_id}}", _WRITE, "Remove a workload identity")
async def remove_identity(call: Call) -> None:
    rule = await show_identity(call)
    await check_client(call.caller, rule.client_id)
    await registration.remove(rule.id)
