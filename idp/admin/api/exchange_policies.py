"""Operations on the policies of token exchange (RFC 8693)."""

from http import HTTPStatus

import asyncpg
import msgspec

from idp.admin.access import check_client, check_impersonation
from idp.admin.api.models import exchange_policies as models
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.oauth.exchange import registration
from idp.oauth.exchange.repository import POLICIES

_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_PATH = "/token_exchange_policies"


def _read(row: asyncpg.Record) -> models.ExchangePolicy:
    return msgspec.convert(dict(row), models.ExchangePolicy)


listed(_PATH, _READ, "List policies of token exchange", listing=POLICIES, read=_read, item=models.ExchangePolicy)


@operation("GET", f"{_PATH}/{{policy_id}}", _READ, "Show a policy of token exchange", content=models.ExchangePolicy)
async def show_policy(call: Call) -> models.ExchangePolicy:
    found: models.ExchangePolicy = await one(POLICIES, _read, id=call.params["policy_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Let a client exchange tokens",
    body=models.NewExchangePolicy, content=models.ExchangePolicy, status=HTTPStatus.CREATED,
)  # fmt: skip
async def add_policy(call: Call) -> Result:
    values = msgspec.structs.asdict(call.body)
    client_id = values.pop("client_id")
    check_impersonation(call.caller, values["mode"])
    await check_client(call.caller, client_id)
    policy = await registration.add(client_id, **values)
    content = await one(POLICIES, _read, id=str(policy.id))
    return Result(content, HTTPStatus.CREATED, f"{_PATH}/{policy.id}")


@operation("DELETE", f"{_PATH}/{{policy_id}}", _WRITE, "Remove a policy of token exchange")
async def remove_policy(call: Call) -> None:
    policy = await show_policy(call)
    await check_client(call.caller, policy.client_id)
    await registration.remove(policy.id)
