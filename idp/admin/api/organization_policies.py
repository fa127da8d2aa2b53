"""Operations on the sign-in policy of an organization. They also admit its administrators."""

import msgspec

from idp.admin.api.models import organizations as models
from idp.admin.api.operation import Call, operation
from idp.admin.api.organizations import show_organization
from idp.admin.roles import Permission
from idp.directory import sign_in_policy_changes as service

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = "/organizations/{organization_id}/sign_in_policy"


@operation(
    "GET", _PATH, _READ, "Show what a sign-in for an organization needs", delegated=True, content=models.SignInPolicy
)  # fmt: skip
async def show_sign_in_policy(call: Call) -> models.SignInPolicy:
    organization = await show_organization(call)
    policy = msgspec.to_builtins(await service.policy_of(organization.id))
    return models.SignInPolicy(**policy, updated_at=organization.updated_at)


@operation(
    "PUT", _PATH, _WRITE, "Set what a sign-in for an organization needs", delegated=True,
    body=models.NewSignInPolicy, content=models.SignInPolicy, current=show_sign_in_policy,
)  # fmt: skip
async def set_sign_in_policy(call: Call) -> models.SignInPolicy:
    organization = await show_organization(call)
    await service.set_policy(
        organization.id, call.current.updated_at, amr=call.caller.amr, **msgspec.to_builtins(call.body)
    )
    return await show_sign_in_policy(call)
