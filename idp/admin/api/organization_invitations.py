"""Operations on invitations into organizations. They also admit administrators of the organization."""

from http import HTTPStatus

import msgspec

from idp.admin.api.ids import uuid_of
from idp.admin.api.models import organizations as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.api.organizations import show_organization
from idp.admin.roles import Permission
from idp.directory import invitations
from idp.directory.repository.invitations import INVITATIONS

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = "/organizations/{organization_id}/invitations"
_ONE = f"{_PATH}/{{invitation_id}}"
_read = reader(models.OrganizationInvitation)


def _without_others(call: Call, shown: models.OrganizationInvitation) -> models.OrganizationInvitation:
    """Leave out users who may not be members, for administrators of an organization."""
    return msgspec.structs.replace(shown, invited_by=None, user_id=None) if call.caller.delegated else shown


listed(
    _PATH, _READ, "List invitations into an organization", delegated=True,
    listing=INVITATIONS, read=_read, item=models.OrganizationInvitation, within="organization_id", of=show_organization,
    shown=_without_others,
)  # fmt: skip


@operation(
    "GET", _ONE, _READ, "Show an invitation into an organization", delegated=True,
    content=models.OrganizationInvitation,
)  # fmt: skip
async def show_organization_invitation(call: Call) -> models.OrganizationInvitation:
    key = {"id": call.params["invitation_id"], "organization_id": call.params["organization_id"]}
    found: models.OrganizationInvitation = await one(INVITATIONS, _read, **key)
    return _without_others(call, found)


@operation(
    "POST", _PATH, _WRITE, "Invite an address into an organization, by mail", delegated=True,
    body=models.NewOrganizationInvitation, content=models.OrganizationInvitation, status=HTTPStatus.CREATED,
)  # fmt: skip
async def invite_into_organization(call: Call) -> Result:
    organization_id, body = uuid_of(call.params["organization_id"]), call.body
    sent = await invitations.invite(
        organization_id, body.email, role_ids=body.role_ids, admin=body.admin, invited_by=call.caller.user_id
    )
    content = _without_others(call, await one(INVITATIONS, _read, id=str(sent.invitation.id)))
    path = f"/organizations/{organization_id}/invitations/{sent.invitation.id}"
    return Result(content, HTTPStatus.CREATED, path)


@operation(
    "POST", f"{_ONE}/resend", _WRITE, "Mail an invitation again, with another link", delegated=True,
    content=models.OrganizationInvitation,
)  # fmt: skip
async def resend_organization_invitation(call: Call) -> models.OrganizationInvitation:
    organization_id = uuid_of(call.params["organization_id"])
    await invitations.resend(organization_id, uuid_of(call.params["invitation_id"]))
    return await show_organization_invitation(call)


@operation(
    "POST", f"{_ONE}/revoke", _WRITE, "Revoke an invitation into an organization", delegated=True,
    content=models.OrganizationInvitation,
)  # fmt: skip
async def revoke_organization_invitation(call: Call) -> models.OrganizationInvitation:
    organization_id = uuid_of(call.params["organization_id"])
    await invitations.revoke(organization_id, uuid_of(call.params["invitation_id"]))
    return await show_organization_invitation(call)
