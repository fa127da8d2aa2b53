"""Accounts that administrators create, and addresses that they change."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from idp.accounts import profile, recovery, users
from idp.accounts.addresses import normalise_email
from idp.accounts.attributes import service as attributes
from idp.accounts.attributes.models import Audience
from idp.accounts.repository.users import lock_user, user_by_id
from idp.accounts.tables import Origin, User
from idp.directory.delegation import manages_any
from idp.errors import PermissionDeniedError
from idp.federation.linking import release_email
from idp.infra.db.engine import transaction
from idp.oauth.credentials import credentials_changed
from idp.signin.enforcement import EnforcedDomainError, check_change
from idp.signin.factors.repository import delete_factors


def check_names(**names: str | None) -> None:
    """Check names as they are entered.

    Raises:
        InvalidProfileError: one is too long, or has characters that cannot be shown.
    """
    for name, value in names.items():
        if value is not None and (len(value) > users.MAX_NAME_LENGTH or not value.isprintable()):
            raise profile.InvalidProfileError(
                {name: "The value is too long, or contains characters that cannot be shown."}
            )


async def create(
    email: str, names: Mapping[str, Any], values: Mapping[str, Any], audience: Audience, *, send_mail: bool
) -> User:
    """Create a user without a password.

    Args:
        names: values of ``name``, ``given_name`` and ``family_name``.
        values: values of attributes, which the audience may edit.
        send_mail: whether the user gets a mail with a link to choose a password.

    Raises:
        ValidationError: a value is not valid.
        EmailTakenError: a user has this address.
    """
    check_names(**names)
    async with transaction():
        await release_email(normalise_email(email), delete_factors)
        user = await users.create_user(email, None, **names)
        await attributes.change(user.id, values, audience)
        if send_mail:
            await recovery.send_reset_to_user(user)
    return user


async def change_email(user_id: UUID, email: str, *, by_owner: bool) -> bool:
    """Set an address that the user has not verified. Sessions, tokens, and codes in the old mailbox end.

    Whoever reads the mails to an address can sign in to its account. So only an owner of the server gives another
    mailbox the authority over an organization, or takes a user out of an enforced domain.

    Returns:
        False if the user has this address, or there is no such user.

    Raises:
        InvalidEmailError: the address is not valid.
        EmailTakenError: another user has this address.
        PermissionDeniedError: only an owner may do this.
    """
    normalised = normalise_email(email)
    async with transaction():
        await lock_user(user_id)
        user = await user_by_id(user_id)
        if user is None or user.email == normalised:
            return False
        if not by_owner:
            await _check_authority(user, normalised)
        await release_email(normalised, delete_factors)
        return await users.assign_email(user_id, normalised, Origin.OPERATOR, credentials_changed)


async def _check_authority(user: User, email: str) -> None:
    if await manages_any(user.id):
        raise PermissionDeniedError("Only an owner may change the address of a user who manages an organisation.")
    try:
        await check_change(user, email)
    except EnforcedDomainError as error:
        raise PermissionDeniedError("Only an owner may change an address from or to an enforced domain.") from error
