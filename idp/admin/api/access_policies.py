"""Operations on the access policies of clients."""

import msgspec

from idp.accounts.attributes import repository as attributes
from idp.accounts.repository.users import user_by_id
from idp.admin.access import check_client
from idp.admin.api.models import access_policies as models
from idp.admin.api.operation import Call, not_found, operation
from idp.admin.roles import Permission
from idp.oauth.access_policies import registration, repository
from idp.oauth.access_policies.decision import reasons_against
from idp.oauth.clients.repository import find_client

_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_PATH = "/clients/{client_id}/access_policy"


@operation("GET", _PATH, _READ, "Show who may use a client", content=models.AccessPolicy)
async def show_access_policy(call: Call) -> models.AccessPolicy:
    client_id = call.params["client_id"]
    if await find_client(client_id) is None:
        raise not_found()
    policy = await repository.policy_of(client_id)
    if policy is None:
        nothing = msgspec.to_builtins(models.NewAccessPolicy())
        return msgspec.convert(nothing | {"client_id": client_id, "updated_at": None}, models.AccessPolicy)
    return msgspec.convert(msgspec.to_builtins(policy), models.AccessPolicy)


@operation(
    "PUT", _PATH, _WRITE, "Set who may use a client",
    body=models.NewAccessPolicy, content=models.AccessPolicy, current=show_access_policy,
)  # fmt: skip
async def set_access_policy(call: Call) -> models.AccessPolicy:
    client_id = call.current.client_id
    await check_client(call.caller, client_id)
    values = msgspec.to_builtins(call.body)
    await registration.set_policy(client_id, call.current.updated_at, audience=call.caller.audience, **values)
    return await show_access_policy(call)


@operation("DELETE", _PATH, _WRITE, "Let everyone use a client", current=show_access_policy)
async def remove_access_policy(call: Call) -> None:
    client_id = call.current.client_id
    await check_client(call.caller, client_id)
    await registration.remove_policy(client_id, call.current.updated_at)


@operation(
    "POST", f"{_PATH}/check", _READ, "Ask whether a user may use a client",
    body=models.AccessQuestion, content=models.AccessAnswer,
)  # fmt: skip
async def check_access(call: Call) -> models.AccessAnswer:
    call.caller.require(Permission.USERS_READ)
    asked: models.AccessQuestion = call.body
    client_id = call.params["client_id"]
    if await find_client(client_id) is None or await user_by_id(asked.user_id) is None:
        raise not_found()
    policy, hidden = await repository.policy_of(client_id), False
    if policy is not None and policy.attributes:
        # Whether a user has a value is as hidden as the value.
        declared = await attributes.hold_attributes(policy.attributes)
        seen = {name for name, each in declared.items() if each.is_visible(call.caller.audience)}
        hidden = bool(policy.attributes.keys() - seen)
        compared = {name: values for name, values in policy.attributes.items() if name in seen}
        policy = msgspec.structs.replace(policy, attributes=compared)
    reasons = await reasons_against(
        policy, asked.user_id, address=asked.address, acr=asked.acr, moment=asked.at
    )  # fmt: skip
    return models.AccessAnswer(False if reasons else None if hidden else True, reasons, hidden)
