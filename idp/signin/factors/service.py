"""The second factors of a user, and whether two-step sign-in is on."""

from datetime import datetime
from uuid import UUID

from idp.accounts.repository import users
from idp.accounts.users import SignOut
from idp.audit.events import record
from idp.infra.db.engine import transaction
from idp.signin.factors import passkeys, repository, totp
from idp.signin.subject import Factors
from idp.signin.tables import Passkey


async def factors_of(user_id: UUID) -> Factors | None:
    """Return the factors of a user; None if there is no such user or they are disabled."""
    found = await repository.find_factors(user_id)
    return found.factors if found is not None else None


async def set_two_step(user_id: UUID, wanted: bool) -> bool:
    """Switch two-step sign-in on or off. Returns whether this is a change."""
    return await users.set_two_step(user_id, wanted)


async def forget_two_step_without_factors(user_id: UUID) -> None:
    """Switch two-step sign-in off for a user without a second factor, in the transaction that removes the last one.

    Recovery codes alone are no factor to ask for at every sign-in.
    """
    await users.lock_user(user_id)
    found = await repository.find_factors(user_id)
    if found is not None and not (found.has_passkey or found.has_totp):
        await users.set_two_step(user_id, False)


async def remove_all(user_id: UUID, sign_out: SignOut) -> bool:
    """Remove every second factor of a user. Returns whether there was one.

    Everything that was proved with them ends, because another person may have them.
    """
    async with transaction():
        await users.lock_user(user_id)
        removed = await repository.delete_factors(user_id)
        await users.set_two_step(user_id, False)
        await sign_out(user_id, "factors_removed")
        if removed:
            await users.mark_changed([user_id])
            await record("factors_removed", user_id=user_id)
    return removed


async def remove_added_since(user_id: UUID, since: datetime) -> tuple[list[Passkey], bool]:
    """Remove the factors that a user has got since a time, if one from before remains.

    Runs in the caller's transaction, which has locked the user. Without one from before they stay: who asks for it has
    proved to read the mail of the user, which must not be the way around their second factor.

    Returns:
        the passkeys that were removed, and whether an authenticator app was.
    """
    own, found = await passkeys.passkeys_of(user_id), await repository.find_factors(user_id)
    new_app = await repository.has_totp_since(user_id, since)
    old_app = found is not None and found.has_totp and not new_app
    if not old_app and all(passkey.created_at >= since for passkey in own):
        return [], False
    added = [passkey for passkey in own if passkey.created_at >= since]
    for passkey in added:
        await passkeys.remove(user_id, passkey.id)
    await repository.delete_recovery_codes_since(user_id, since)
    return added, new_app and await totp.disable(user_id)
