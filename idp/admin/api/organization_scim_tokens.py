"""Operations on the SCIM tokens of an organization. They also admit administrators of the organization.

Such a token manages the members and the roles of this organization, and nothing else.
"""

from http import HTTPStatus

from idp.admin.api.ids import uuid_of
from idp.admin.api.models import scim_tokens as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.api.organizations import show_organization
from idp.admin.roles import Permission
from idp.scim import tokens
from idp.scim.repository.tokens import SCIM_TOKENS

_READ, _WRITE = Permission.SCIM_TOKENS_READ, Permission.SCIM_TOKENS_WRITE
_PATH = "/organizations/{organization_id}/scim_tokens"
_ONE = f"{_PATH}/{{token_id}}"
_read = reader(models.ScimToken)

listed(
    _PATH, _READ, "List SCIM tokens of an organization", delegated=True,
    listing=SCIM_TOKENS, read=_read, item=models.ScimToken, within="organization_id", of=show_organization,
)  # fmt: skip


@operation("GET", _ONE, _READ, "Show a SCIM token of an organization", delegated=True, content=models.ScimToken)
async def show_organization_scim_token(call: Call) -> models.ScimToken:
    key = {"id": call.params["token_id"], "organization_id": call.params["organization_id"]}
    found: models.ScimToken = await one(SCIM_TOKENS, _read, **key)
    return found


@operation(
    "POST", _PATH, _WRITE, "Create a SCIM token of an organization; the response contains it, once", delegated=True,
    body=models.NewOrganizationScimToken, content=models.ScimTokenValue, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_organization_scim_token(call: Call) -> Result:
    asked: models.NewOrganizationScimToken = call.body
    organization_id = uuid_of(call.params["organization_id"])
    token_id, token = await tokens.create(
        asked.name, writes=asked.writes, lifetime=asked.lifetime, organization_id=organization_id
    )
    path = f"/organizations/{organization_id}/scim_tokens/{token_id}"
    return Result(models.ScimTokenValue(token_id, token), HTTPStatus.CREATED, path)


@operation(
    "POST", f"{_ONE}/rotate", _WRITE, "Replace the value of a SCIM token of an organization", delegated=True,
    body=models.ScimTokenRotation, content=models.ScimTokenValue,
)  # fmt: skip
async def rotate_organization_scim_token(call: Call) -> models.ScimTokenValue:
    asked: models.ScimTokenRotation = call.body
    token_id, organization_id = (await show_organization_scim_token(call)).id, uuid_of(call.params["organization_id"])
    token = await tokens.rotate(
        token_id, lifetime=asked.lifetime, overlap=asked.overlap, organization_id=organization_id
    )
    return models.ScimTokenValue(token_id, token)


@operation("DELETE", _ONE, _WRITE, "Delete a SCIM token of an organization; what it added stays", delegated=True)
async def delete_organization_scim_token(call: Call) -> None:
    token_id = (await show_organization_scim_token(call)).id
    await tokens.delete(token_id, organization_id=uuid_of(call.params["organization_id"]))
