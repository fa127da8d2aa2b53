"""Enforced domains: their addresses sign in at the upstreams of their organization, and in no other way.

The domain alone decides, before anything is looked up or sent for the address, so that a refusal does not reveal
whether there is an account. An administrator's account is exempt where it proves itself: with its password, a passkey
or a linked identity (docs/decisions/0080-home-realms.md).
"""

from collections.abc import Iterable
from uuid import UUID

from idp.accounts.repository.admin_roles import roles_of_user
from idp.accounts.tables import User
from idp.directory.models import DomainOwner
from idp.federation import realms
from idp.federation.registry import upstreams
from idp.infra.i18n import gettext as _
from idp.reasons import Reason
from idp.signin.steps import StepRefusedError
from idp.signin.subject import SignInSubject
from idp.signin.transitions import FIRST, CompletedStep, Step


class EnforcedDomainError(StepRefusedError):
    """The address may sign in at the upstreams of its organization only.

    Attributes:
        email: the address.
    """

    def __init__(self, owner: DomainOwner, email: str, user_id: UUID | None = None) -> None:
        if not owner.organization_disabled and owner.organization_id in upstreams.organizations:
            message = _("Addresses at %(domain)s sign in with their organisation only.", domain=owner.domain)
        else:
            message = _(
                "Addresses at %(domain)s sign in with their organisation only, and that is not possible at the moment."
                " Ask your organisation.",
                domain=owner.domain,
            )
        super().__init__(message, user_id, reason=Reason.ENFORCED_DOMAIN)
        self.email = email


async def enforced(email: str) -> DomainOwner | None:
    """Return the domain of a normalised address if it is enforced. Other addresses cost nothing."""
    owner = await realms.owner_of(email)
    return owner if owner is not None and owner.enforced else None


async def refusal(email: str, person: SignInSubject | None) -> EnforcedDomainError | None:
    """Return the error for a normalised address if its domain is enforced.

    Args:
        person: the user with this address, for the audit trail.
    """
    owner = await enforced(email)
    return EnforcedDomainError(owner, email, person.id if person is not None else None) if owner is not None else None


async def check_address(email: str, *, by: UUID | None = None) -> None:
    """Refuse an address of an enforced domain.

    Args:
        email: a normalised address.
        by: the organization whose upstream has identified the user.

    Raises:
        EnforcedDomainError: the domain is enforced, by another organization.
    """
    owner = await enforced(email)
    if owner is not None and owner.organization_id != by:
        raise EnforcedDomainError(owner, email)


async def check_account(user_id: UUID, email: str, done: Iterable[CompletedStep]) -> None:
    """Refuse a sign-in to an account with an address of an enforced domain, in the transaction of the sign-in.

    Args:
        email: the address of the account.
        done: the steps of the sign-in, the first ones those of an earlier sign-in that it continues.

    Raises:
        EnforcedDomainError: the sign-in did not begin at an upstream of the organization, and the user is no
            administrator.
    """
    owner = await enforced(email)
    if owner is None:
        return
    first = next((taken for taken in done if taken.step in FIRST), None)
    upstream = upstreams.get(first.upstream) if first is not None else None
    by = upstream.organization_id if upstream is not None else None
    if by != owner.organization_id and not await is_exempt(user_id):
        raise EnforcedDomainError(owner, email, user_id)


async def check_change(user: User, email: str) -> None:
    """Refuse that users change their address from or to one of an enforced domain. They may confirm the one they have.

    Args:
        email: the new address, normalised.

    Raises:
        EnforcedDomainError: one of the domains is enforced.
    """
    if email == user.email:
        return
    await check_address(email)
    if not await is_exempt(user.id):
        await check_address(user.email)


def speaks_for_administrators(done: Iterable[CompletedStep]) -> bool:
    """Return whether a sign-in gives its user the authority of a role of the server.

    An upstream of an organization never speaks for administrators. It refuses those who have a role; a sign-in from
    before the role was given goes on without authority. So does one at an upstream that is gone or disabled.
    """
    used = [upstreams.get(step.upstream) for step in done if step.upstream or step.step is Step.UPSTREAM]
    return all(upstream is not None and upstream.organization_id is None for upstream in used)


async def is_exempt(user_id: UUID) -> bool:
    """Return whether a user is an administrator. Users who do not exist cause the same work."""
    return bool(await roles_of_user(user_id))
