"""Operations on the tokens with which other systems manage users and groups over SCIM."""

from http import HTTPStatus
from uuid import UUID

from idp.admin.api.models import scim_tokens as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.scim import tokens
from idp.scim.repository.tokens import SCIM_TOKENS

_PATH = "/scim_tokens"
_READ, _WRITE = Permission.SCIM_TOKENS_READ, Permission.SCIM_TOKENS_WRITE
_read = reader(models.ScimToken)

listed(_PATH, _READ, "List SCIM tokens", listing=SCIM_TOKENS, read=_read, item=models.ScimToken)


@operation("GET", f"{_PATH}/{{token_id}}", _READ, "Show a SCIM token", content=models.ScimToken)
async def show_scim_token(call: Call) -> models.ScimToken:
    found: models.ScimToken = await one(SCIM_TOKENS, _read, id=call.params["token_id"])
    return found


async def _id(call: Call) -> UUID:
    return (await show_scim_token(call)).id


@operation(
    "POST", _PATH, _WRITE, "Create a SCIM token; the response contains it, once",
    body=models.NewScimToken, content=models.ScimTokenValue, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_scim_token(call: Call) -> Result:
    asked: models.NewScimToken = call.body
    token_id, token = await tokens.create(
        asked.name, writes=asked.writes, lifetime=asked.lifetime, organization_id=asked.organization_id
    )
    return Result(models.ScimTokenValue(token_id, token), HTTPStatus.CREATED, f"{_PATH}/{token_id}")


@operation(
    "POST", f"{_PATH}/{{token_id}}/rotate", _WRITE, "Replace the value of a SCIM token; the response contains it, once",
    body=models.ScimTokenRotation, content=models.ScimTokenValue,
)  # fmt: skip
async def rotate_scim_token(call: Call) -> models.ScimTokenValue:
    asked: models.ScimTokenRotation = call.body
    token_id = await _id(call)
    token = await tokens.rotate(token_id, lifetime=asked.lifetime, overlap=asked.overlap)
    return models.ScimTokenValue(token_id, token)


@operation("DELETE", f"{_PATH}/{{token_id}}", _WRITE, "Delete a SCIM token; what it added stays")
async def delete_scim_token(call: Call) -> None:
    await tokens.delete(await _id(call))
