"""The account of an identity at an upstream: finding it, creating it, and linking the two.

Issuer and subject alone identify the account. For an identity that is not linked yet, the user proves an address, or
signs in to the account that already has the address. An upstream of an organization links accounts by the addresses of
its organization, and signs in no others (:mod:`idp.federation.trust`).
"""

from collections.abc import Awaitable
from uuid import UUID

from idp.accounts.repository.users import confirm_email, lock_user, owner_of_email, user_by_id
from idp.accounts.tables import User
from idp.federation import linking, provisioning, realms, trust
from idp.federation.errors import UpstreamError
from idp.federation.linking import ExternalIdentity
from idp.federation.models import Upstream
from idp.federation.registry import upstreams
from idp.infra.i18n import gettext as _
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import enforcement, invitation
from idp.signin import flow as flows
from idp.signin.factors.repository import delete_factors
from idp.signin.flow import Flow
from idp.signin.steps import StepRefusedError, VerifiedStep
from idp.signin.transitions import FEDERATED, CompletedStep, Step
from idp.signin.upstream_errors import failure_message, record_failure


async def resolve(
    flow: Flow, identity: ExternalIdentity, *, mailed: bool, step: CompletedStep | None = None
) -> VerifiedStep | None:
    """Return the account of an identity.

    Args:
        step: the step that proved it. None: a sign-in at the upstream.
        mailed: the address was proved by our own mail, for example by an email code.

    Returns:
        None if more must be proved; the identity is stored until then.
    """
    methods = (FEDERATED, "mfa") if identity.two_factors else (FEDERATED,)
    done = step or CompletedStep(Step.UPSTREAM, methods, identity.auth_time, identity.upstream_id)
    await trusted(identity, trust.hold(identity))
    try:
        user_id = await linking.find_user(identity, lock=flow.user_id is None)
    except linking.AccountDisabledError as error:
        raise _no_account(error.reason) from error
    if user_id is not None:
        # After the lock, so that a role that is given meanwhile counts.
        await trusted(identity, trust.check_account(identity, user_id))
        if flow.user_id in (None, user_id):
            await provisioning.apply(user_id, identity)
        return VerifiedStep(user_id, done, user_locked=True, upstream=identity.session)
    await trusted(identity, trust.check_address(identity, identity.email))
    if identity.email is None or not identity.email_verified:
        await flows.store_identity(flow, identity)
        return None
    await enforcement.check_address(identity.email, by=identity.organization_id)
    if (owner := await owner_of_email(identity.email)) is not None:
        if identity.organization_id is not None and await _link_by_address(owner, identity):
            return VerifiedStep(owner, done, user_locked=True, upstream=identity.session)
        flow = await flows.store_identity(flow, identity)
        by_mail = mailed and settings().email_code_sign_in and await confirm_email(owner, identity.email)
        return VerifiedStep(owner, CompletedStep(Step.EMAIL_CODE, ("otp",)), flow=flow) if by_mail else None
    provider = upstreams.get(identity.upstream_id)
    allowed = provider.creates_accounts if provider else None
    held = await invitation.hold(flow.registration, identity.email)
    if held is None and not (settings().registration == "open" if allowed is None else allowed):
        raise _no_account(Reason.UNKNOWN_USER)
    await linking.release_email(identity.email, delete_factors)
    user_id = await linking.create_user(identity)
    if user_id is None:
        raise StepRefusedError(_("There is already an account with this address. Sign in to it."))
    await provisioning.apply(user_id, identity)
    await invitation.accept(flow.registration, held, user_id)
    return VerifiedStep(user_id, done, upstream=identity.session)


def _no_account(reason: Reason | None) -> StepRefusedError:
    return StepRefusedError(
        _("You do not have an account here. Ask the people who run this service for one."), reason=reason
    )


async def trusted(identity: ExternalIdentity, check: Awaitable[None]) -> None:
    """Refuse a sign-in if the upstream of an organization says more than it may."""
    try:
        await check
    except UpstreamError as error:
        provider = upstreams.get(identity.upstream_id)
        name = provider.name if provider is not None else identity.upstream_id
        if provider is not None:
            await record_failure(provider, error)
        raise StepRefusedError(failure_message(error, name), reason=error.reason) from error


async def _link_by_address(user_id: UUID, identity: ExternalIdentity) -> bool:
    """Link an identity to the account with its address, which belongs to the organization of the upstream.

    Returns False for an administrator, who signs in to the account in another way.
    """
    await lock_user(user_id)
    # After the lock, so that a role that is given meanwhile counts.
    if await enforcement.is_exempt(user_id):
        return False
    if identity.email is None or not await confirm_email(user_id, identity.email):
        raise _no_account(Reason.USER_DISABLED)
    if not await _linked(user_id, identity):
        raise StepRefusedError(
            _("This account is already connected to another account here. Disconnect it there first.")
        )
    return True


async def _linked(user_id: UUID, identity: ExternalIdentity) -> bool:
    """Link an identity, tell its user, and give what its claims give. Returns False if another user has it."""
    if not await linking.link(user_id, identity):
        return False
    provider = upstreams.get(identity.upstream_id)
    await linking.notify(user_id, "identity_linked", provider.name if provider else identity.upstream_id)
    await provisioning.apply(user_id, identity)
    return True


async def linkable(user: User) -> list[Upstream]:
    """Return the upstreams whose identities a signed-in user can link: none around an enforced domain.

    An administrator links none of an organization.
    """
    found = realms.offered(None, user.email)
    if await enforcement.is_exempt(user.id):
        return [one for one in found if one.organization_id is None]
    owner = await enforcement.enforced(user.email)
    if owner is None:
        return found
    return [one for one in found if one.organization_id == owner.organization_id]


async def link_to_account(user_id: UUID, identity: ExternalIdentity) -> bool:
    """Link an identity to the account of a signed-in user, in the caller's transaction. False: another user has it.

    Raises:
        StepRefusedError: the upstream may not be linked to this account.
    """
    await trusted(identity, trust.hold(identity))
    await lock_user(user_id)
    user = await user_by_id(user_id)
    if user is None or user.disabled_at is not None:
        raise _no_account(Reason.USER_DISABLED)
    await trusted(identity, trust.check_account(identity, user_id))
    if not await enforcement.is_exempt(user_id):
        await enforcement.check_address(user.email, by=identity.organization_id)
    return await linking.link(user_id, identity)


async def hold(flow: Flow) -> None:
    """Hold the organization of an identity that waits in a flow, before the user of the flow is locked.

    Raises:
        StepRefusedError: its upstream no longer signs in anyone.
    """
    if flow.identity is not None:
        await trusted(flow.identity, trust.hold(flow.identity))


async def link_identity(flow: Flow, user_id: UUID) -> None:
    """Link the identity of a flow to the account that signed in, if its address is the one that was proved.

    The upstream of an organization is not linked to an administrator's account. Runs in the transaction that finishes
    the sign-in.
    """
    identity = flow.identity
    if identity is None or not identity.email_verified or any(done.step is Step.UPSTREAM for done in flow.done):
        return
    user = await user_by_id(user_id)
    if user is not None and user.email == identity.email:
        if identity.organization_id is not None and await enforcement.is_exempt(user_id):
            return
        await trusted(identity, trust.check_address(identity, user.email))
        await _linked(user_id, identity)
