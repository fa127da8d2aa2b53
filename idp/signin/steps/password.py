"""Signing in with an email address and a password."""

from typing import Any

from idp.accounts.addresses import InvalidEmail, normalise_email
from idp.accounts.passwords import needs_rehash, rehash_password, verify_password
from idp.accounts.tables import User, user_by_email
from idp.db.engine import fetchrow
from idp.signin import limits
from idp.signin.flow import Flow
from idp.signin.machine import Done, Step
from idp.signin.steps import Browser, Fields, Proof, Refused
from idp.web.i18n import gettext as _

#: Of what is no address, so much is looked at.
MAX_LENGTH = 254

_STILL_HOLDS = "SELECT 1 FROM users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR SHARE"


async def show(flow: Flow) -> dict[str, Any]:
    """The page asks for both at once; a passkey may answer it too."""
    return {}


async def check(flow: Flow, fields: Fields, browser: Browser | None) -> User:
    """The user whose address and password these are."""
    user = await _matching(fields.get("username", ""), fields.get("password", ""), browser)
    if user is None:
        raise _refused()
    return user


async def take(flow: Flow, checked: User) -> Proof:
    """Whether what was checked still holds. Checking takes a while, in which it may have changed."""
    if await fetchrow(_STILL_HOLDS, checked.id, checked.password_hash) is None:
        raise _refused()
    return Proof(checked.id, Done(Step.PASSWORD, ("pwd",)))


def _refused() -> Refused:
    return Refused(_("That email and password do not match."))


async def _matching(username: str, password: str, browser: Browser | None) -> User | None:
    """Unknown, disabled and passwordless users cost the same time as known ones: a password is always verified.

    Raises:
        Overloaded: too many passwords are being verified.
        TooManyTries: at this account.
    """
    try:
        email = normalise_email(username)
        user = await user_by_email(email)
    except InvalidEmail:
        email, user = username[:MAX_LENGTH], None
    await limits.password(email, user, browser)
    matches = await verify_password(user.password_hash if user else None, password)
    if user is None or not matches or user.disabled_at is not None:
        return None
    if user.password_hash is not None and needs_rehash(user.password_hash):
        await _upgrade(user, password)
    return user


async def _upgrade(user: User, password: str) -> None:
    """Keep the hash at today's parameters, unless the password was changed meanwhile."""
    upgraded = await rehash_password(password)
    updated = (
        await User.update({User.password_hash: upgraded})
        .where((User.id == user.id) & (User.password_hash == user.password_hash))
        .returning(User.id)
    )
    if updated:
        user.password_hash = upgraded
