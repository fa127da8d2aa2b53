"""Operations on token hooks: URLs that are asked before tokens of users are issued."""

from http import HTTPStatus
from typing import Any

from idp.admin.api.models import token_hooks as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.oauth.token_hook import registration
from idp.oauth.token_hook.repository import TOKEN_HOOKS

_PATH = "/token_hooks"
_ONE = f"{_PATH}/{{hook_id}}"
_READ, _WRITE = Permission.EVENTS_READ, Permission.EVENTS_WRITE
_read = reader(models.TokenHook)

listed(_PATH, _READ, "List token hooks", listing=TOKEN_HOOKS, read=_read, item=models.TokenHook)


@operation("GET", _ONE, _READ, "Show a token hook", content=models.TokenHook)
async def show_token_hook(call: Call) -> models.TokenHook:
    found: models.TokenHook = await one(TOKEN_HOOKS, _read, id=call.params["hook_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Add a token hook; the response contains its secret, once",
    body=models.NewTokenHook, content=models.TokenHookSecret, status=HTTPStatus.CREATED,
)  # fmt: skip
async def add_token_hook(call: Call) -> Result:
    asked: models.NewTokenHook = call.body
    hook_id, secret = await registration.add(asked.client_id, asked.url, places=asked.places, fail_open=asked.fail_open)
    return Result(models.TokenHookSecret(id=hook_id, secret=secret), HTTPStatus.CREATED, f"{_PATH}/{hook_id}")


@operation(
    "PATCH", _ONE, _WRITE, "Change a token hook",
    body=models.TokenHookChange, content=models.TokenHook, current=show_token_hook,
)  # fmt: skip
async def update_token_hook(call: Call) -> models.TokenHook:
    changes: dict[str, Any] = {name: getattr(call.body, name) for name in call.sent}
    await registration.update(call.current.id, expected_at=call.current.updated_at, **changes)
    return await show_token_hook(call)


@operation(
    "POST", f"{_ONE}/rotate_secret", _WRITE, "Make a new secret; the one before signs too for a time",
    content=models.TokenHookSecret,
)  # fmt: skip
async def rotate_token_hook_secret(call: Call) -> models.TokenHookSecret:
    found = await show_token_hook(call)
    return models.TokenHookSecret(id=found.id, secret=await registration.rotate_secret(found.id))


@operation("POST", f"{_ONE}/disable", _WRITE, "Disable a token hook", content=models.TokenHook)
async def disable_token_hook(call: Call) -> models.TokenHook:
    found = await show_token_hook(call)
    if found.disabled_at is None:
        await registration.set_enabled(found.id, False)
    return await show_token_hook(call)


@operation("POST", f"{_ONE}/enable", _WRITE, "Enable a token hook", content=models.TokenHook)
async def enable_token_hook(call: Call) -> models.TokenHook:
    found = await show_token_hook(call)
    if found.disabled_at is not None:
        await registration.set_enabled(found.id, True)
    return await show_token_hook(call)


@operation("DELETE", _ONE, _WRITE, "Delete a token hook")
async def delete_token_hook(call: Call) -> None:
    await registration.remove((await show_token_hook(call)).id)
