"""Signing in with an email address and a password."""

from idp.accounts.addresses import InvalidEmail, normalise_email
from idp.accounts.passwords import hash_password, needs_rehash, verify_password
from idp.accounts.tables import User, user_by_email
from idp.db.engine import fetchrow

#: RFC 8176: a password was used.
AMR = ["pwd"]

_STILL_HOLDS = "SELECT 1 FROM users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR SHARE"


async def check(email: str, password: str) -> User | None:
    """The user whose address and password these are, or None.

    Unknown, disabled and passwordless users cost the same time as known ones: a password is always verified.

    Raises:
        Overloaded: too many passwords are being verified.
    """
    try:
        user = await user_by_email(normalise_email(email))
    except InvalidEmail:
        user = None
    matches = await verify_password(user.password_hash if user else None, password)
    if user is None or not matches or user.disabled_at is not None:
        return None
    if user.password_hash is not None and needs_rehash(user.password_hash):
        await _upgrade(user, password)
    return user


async def confirm(user: User) -> bool:
    """Whether what was checked still holds, for the rest of the transaction.

    Checking a password takes a while, in which it may be changed or the user be disabled.
    """
    return await fetchrow(_STILL_HOLDS, user.id, user.password_hash) is not None


async def _upgrade(user: User, password: str) -> None:
    """Keep the hash at today's parameters, unless the password was changed meanwhile."""
    upgraded = await hash_password(password)
    updated = (
        await User.update({User.password_hash: upgraded})
        .where((User.id == user.id) & (User.password_hash == user.password_hash))
        .returning(User.id)
    )
    if updated:
        user.password_hash = upgraded
