"""Creates, disables and enables users, and sets passwords. Each change is one transaction with its audit event."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.accounts import kept_subjects
from idp.accounts.addresses import InvalidEmailError, is_same_spelling, mask_email, normalise_email
from idp.accounts.claims import ADDRESS_MEMBERS, TEXT_CLAIMS, VERIFICATION_CLAIMS
from idp.accounts.last_owner import check_owner_remains
from idp.accounts.passwords import hash_password
from idp.accounts.repository import users
from idp.accounts.tables import Origin, User
from idp.audit.events import record
from idp.errors import ConflictError
from idp.infra.db.engine import transaction
from idp.mail import outbox

#: Ends all sessions and tokens of a user in the current transaction, with a reason. A callback, because sessions and
#: tokens belong to packages above this one.
SignOut = Callable[[UUID, str], Awaitable[object]]

#: An administrator, as who disables a user.
ADMIN: Final = "admin"
#: Maximum length of a name in characters.
MAX_NAME_LENGTH = 200


class EmailTakenError(ConflictError):
    """Another user has this email address."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("A user with this email address already exists.")


async def create_user(
    email: str, password: str | None, *, origin: Origin = Origin.OPERATOR, **claims: Any
) -> User:  # fmt: skip
    """Create a user on behalf of the operator.

    Args:
        password: None: sign-in by password is not possible until one is set.
        origin: who creates it.
        claims: standard claims by name (OpenID Connect Core section 5.1); the address as a dict.

    Raises:
        EmailTakenError: a user has this address, in any spelling.
        InvalidEmailError: the address is not valid.
        InvalidPasswordError: the password is too short or too long.
        OverloadedError: too many passwords are being hashed.
    """
    user = User(email=normalise_email(email), origin=origin, **_columns(claims))
    # A verification of another spelling does not apply to the normalised address.
    user.email_verified = user.email_verified and is_same_spelling(email.strip(), user.email)
    if password is not None:
        user.password_hash = await hash_password(password)
    async with transaction():
        if not await insert_user(user):
            raise EmailTakenError
    return user


async def named_user(name: str) -> User | None:
    """Return the user with an email address, an id or a public ``sub``, as operators enter it.

    Raises:
        InvalidEmailError: the address is not valid.
    """
    if "@" in name:
        return await users.user_by_email(normalise_email(name))
    user_id = _id(name)
    return await users.user_by_id(user_id) if user_id is not None else None


async def ids_of_names(names: Collection[str]) -> dict[str, UUID]:
    """Return the ids of the existing users among email addresses, ids and public subjects, as operators enter them."""
    emails = {name: email for name in names if "@" in name and (email := _normalised(name)) is not None}
    by_email = await users.ids_of_emails(list(set(emails.values())))
    found = {name: by_email[email] for name, email in emails.items() if email in by_email}
    by_id = {name: user_id for name in names if (user_id := _id(name)) is not None}
    existing = await users.emails_by_id(by_id.values())
    return found | {name: user_id for name, user_id in by_id.items() if user_id in existing}


def _normalised(email: str) -> str | None:
    try:
        return normalise_email(email)
    except InvalidEmailError:
        return None


def _id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return kept_subjects.user_id(name)


async def insert_user(user: User) -> bool:
    """Insert a user, in the caller's transaction. Returns False if the address is taken."""
    if not await users.insert_user(user):
        return False
    await record("user_created", user_id=user.id)
    return True


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
    """Change the password hash and end all sessions and tokens. Returns False if there is no such user.

    Runs in the caller's transaction.
    """
    if not await users.set_password_hash(user_id, password_hash):
        return False
    await sign_out(user_id, "password_changed")
    return True


async def set_password(user_id: UUID, password: str, sign_out: SignOut) -> bool:
    """Set the password of a user, and end all sessions and tokens.

    Returns:
        False if there is no such user.

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


async def disable_user(
    user_id: UUID, sign_out: SignOut, *, by: str = ADMIN, keep_owner: bool = True, reason: str | None = None
) -> bool:
    """Disable a user, and end all sessions and tokens. Returns whether this call changed it.

    Args:
        by: who does it. What an administrator disables, also after another, only an administrator enables.
        keep_owner: check that another owner remains. False for the command line, which can create owners.
        reason: for the audit trail.

    Raises:
        LastOwnerError: the user is the last owner.
    """
    async with transaction():
        await users.lock_user(user_id)
        if keep_owner:
            await check_owner_remains(user_id)
        if not await users.disable_user(user_id, by, admin=by == ADMIN):
            return False
        await sign_out(user_id, "user_disabled")
        await record("user_disabled", user_id=user_id, detail={"reason": reason} if reason is not None else {})
    return True


async def assign_email(user_id: UUID, email: str, origin: Origin, sign_out: SignOut) -> bool:
    """Change the address of a user on behalf of the operator, and end all sessions and tokens. The old address is told.

    The new address is not verified.

    Args:
        email: the normalised address.
        origin: who answers for it. The user counts as created so, and is not one whom a stranger could have created.

    Returns:
        False if the user has this address, or there is no such user.

    Raises:
        EmailTakenError: another user has this address.
    """
    async with transaction():
        await users.lock_user(user_id)
        before = await users.user_by_id(user_id)
        if before is None or before.email == email:
            return False
        if not await users.assign_email(user_id, email, origin):
            raise EmailTakenError
        await after_change_of_email(before, email, sign_out)
    return True


async def after_change_of_email(before: User, email: str, sign_out: SignOut) -> None:
    """Record that the operator has changed an address, end all sessions and tokens, and tell the old address.

    Runs in the transaction of the change.
    """
    await record("email_changed", user_id=before.id, private={"before": before.email, "after": email})
    await sign_out(before.id, "email_changed")
    after = mask_email(email)
    await outbox.queue(before.email, "email_changed", language=before.locale, name=before.name, email=after)


async def enable_user(user_id: UUID, disabled_by: str | None = None) -> bool:
    """Enable a user. Ended sessions and tokens stay ended. Returns whether this call changed it.

    Args:
        disabled_by: only if who disabled the user begins with this.
    """
    async with transaction():
        if not await users.enable_user(user_id, disabled_by):
            return False
        await record("user_enabled", user_id=user_id)
    return True
