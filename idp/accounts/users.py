"""Making and changing users. Each change is one transaction with its audit event."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.addresses import is_same_spelling, normalise_email
from idp.accounts.claims import ADDRESS_MEMBERS, TEXT_CLAIMS, VERIFICATION_CLAIMS
from idp.accounts.last_owner import check_owner_remains
from idp.accounts.passwords import hash_password
from idp.accounts.tables import Origin, User
from idp.audit.events import record
from idp.errors import ConflictError
from idp.infra.db.engine import execute, transaction

#: Ends, in the current transaction, all that a user's sign-ins gave, and says why. Given by the caller, because
#: sessions and tokens are the business of modules above this one.
SignOut = Callable[[UUID, str], Awaitable[object]]

#: Of any one name of a person, in characters.
MAX_NAME_LENGTH = 200

_SET_PASSWORD = "UPDATE users SET password_hash = $2, password_changed_at = now() WHERE id = $1"
_DISABLE = "UPDATE users SET disabled_at = now(), updated_at = now() WHERE id = $1 AND disabled_at IS NULL"
_ENABLE = "UPDATE users SET disabled_at = NULL, updated_at = now() WHERE id = $1 AND disabled_at IS NOT NULL"


class EmailTakenError(ConflictError):
    """Another user has this email address."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("There is a user with this email address already.")


async def create_user(email: str, password: str | None, **claims: Any) -> User:
    """Add a user, for the operator. Without a password nobody can sign in as them until one is set.

    Args:
        claims: standard claims by their names (OpenID Connect Core section 5.1); the address as a dict.

    Raises:
        EmailTakenError: somebody has this address, in whatever spelling.
        InvalidEmailError: it is not an email address.
        InvalidPasswordError: the password is too short or too long.
        OverloadedError: too many passwords are being hashed.
    """
    user = User(email=normalise_email(email), origin=Origin.OPERATOR, **_columns(claims))
    # What is known of another spelling says nothing of this one.
    user.email_verified = user.email_verified and is_same_spelling(email.strip(), user.email)
    if password is not None:
        user.password_hash = await hash_password(password)
    async with transaction():
        if not await insert_user(user):
            raise EmailTakenError
    return user


async def insert_user(user: User) -> bool:
    """Keep a new user, in the caller's transaction. Returns False when somebody has the address."""
    added = await User.insert(user).on_conflict(target=User.email, action="DO NOTHING").returning(User.id)
    if added:
        await record("user_created", user_id=user.id)
    return bool(added)


def _columns(claims: dict[str, Any]) -> dict[str, Any]:
    unknown = claims.keys() - TEXT_CLAIMS - VERIFICATION_CLAIMS.keys() - {"address"}
    if unknown:
        raise TypeError(f"no such claims: {', '.join(sorted(unknown))}")
    columns = dict(claims)
    if address := columns.pop("address", None):
        members = {name: address[name] for name in ADDRESS_MEMBERS if name in address}
        columns["address"] = msgspec.json.encode(members).decode()
    return columns


async def change_password_hash(user_id: UUID, password_hash: str, sign_out: SignOut) -> bool:
    """Change the hash, in the caller's transaction, and end what the old password gave. Returns whether it did."""
    if not await execute(_SET_PASSWORD, user_id, password_hash):
        return False
    await sign_out(user_id, "password_changed")
    return True


async def set_password(user_id: UUID, password: str, sign_out: SignOut) -> bool:
    """Give a user a new password. Whoever was signed in with the old one is no longer.

    Returns:
        whether there is such a user.

    Raises:
        InvalidPasswordError: the password is too short or too long.
        OverloadedError: too many passwords are being hashed.
    """
    password_hash = await hash_password(password)
    async with transaction():
        if not await change_password_hash(user_id, password_hash, sign_out):
            return False
        await record("password_changed", user_id=user_id)
    return True


async def disable_user(user_id: UUID, sign_out: SignOut, *, keep_owner: bool = True) -> bool:
    """Lock a user out: no new sign-in, and all that earlier ones gave ends. Returns whether this call did it.

    Args:
        keep_owner: refuse where no other owner is left. The command line, which can make owners, does not ask for it.

    Raises:
        LastOwnerError: this is the last owner.
    """
    async with transaction():
        if keep_owner:
            await check_owner_remains(user_id)
        if not await execute(_DISABLE, user_id):
            return False
        await sign_out(user_id, "user_disabled")
        await record("user_disabled", user_id=user_id)
    return True


async def enable_user(user_id: UUID) -> bool:
    """Let a user sign in again. What disabling ended stays ended. Returns whether this call did it."""
    async with transaction():
        if not await execute(_ENABLE, user_id):
            return False
        await record("user_enabled", user_id=user_id)
    return True
