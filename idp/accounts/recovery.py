"""Password reset by mail."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.passwords import check_new_password, hash_password
from idp.accounts.repository import users
from idp.accounts.repository.email_proofs import VerifiedEmail
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.accounts.users import SignOut
from idp.audit.events import record
from idp.infra.db.engine import transaction
from idp.mail import outbox
from idp.settings import settings

PasswordElsewhere = Callable[[User | None], Awaitable[str | None]]


async def send_reset(email: str, flow_id: str, password_elsewhere: PasswordElsewhere) -> None:
    """Mail a link, and a code for the flow. The response does not reveal whether a user has the address.

    Args:
        email: the normalised address.
        password_elsewhere: returns the name of the directory that has the password of a user, or None. It belongs to a
            package above this one.
    """
    user = await user_by_email(email)
    elsewhere = await password_elsewhere(user)
    await _mail(email, user if user is not None and user.disabled_at is None else None, flow_id, elsewhere)


async def send_reset_to_user(user: User) -> None:
    """Mail a link on behalf of an administrator. There is no code, because no flow waits for one."""
    await _mail(user.email, user if user.disabled_at is None else None, None)


async def _mail(email: str, user: User | None, flow_id: str | None, elsewhere: str | None = None) -> None:
    lifetime = settings().password_reset_lifetime
    async with transaction():
        sent = await email_proofs.create(
            Purpose.PASSWORD_RESET,
            email,
            lifetime=lifetime,
            flow_id=flow_id,
            user_id=user.id if user else None,
            decoy=user is None or elsewhere is not None,
        )
        await outbox.queue(
            email,
            "reset_password" if elsewhere is None else "password_elsewhere",
            upstream=elsewhere,
            language=user.locale if user else None,
            lifetime=lifetime,
            void=user is None,
            name=user.name if user else None,
            code=sent.code if flow_id is not None else None,
            link=f"{settings().issuer}/reset?token={sent.token}",
            minutes=lifetime // 60,
        )
        # Recorded for unknown addresses too, so that the time is the same.
        await record("password_reset_requested", user_id=user.id if user else None, limit_key=email)


async def reset_password(proved: VerifiedEmail, password: str, sign_out: SignOut) -> bool:
    """Set a new password, and end all sessions and tokens of the user.

    Args:
        proved: the verified code or link. It is consumed in the transaction of the change. Hashing requires a live one,
            so that others cannot use up the hashing pool.

    Returns:
        False if the proof is no longer valid.

    Raises:
        InvalidPasswordError: the password is too weak, too short or too long.
        OverloadedError: too many passwords are being hashed.
    """
    if proved.user_id is None:
        return False
    await check_new_password(password, user_inputs=[proved.email])
    password_hash = await hash_password(password)
    async with transaction():
        # The user first, as every change of a credential does.
        await users.lock_user(proved.user_id)
        if not await email_proofs.consume(proved):
            return False
        return await _set_password(proved.user_id, proved.email, password_hash, sign_out)


async def _set_password(user_id: UUID, email: str, password_hash: str, sign_out: SignOut) -> bool:
    done, name = await users.reset_password(user_id, email, password_hash)
    if not done:
        return False
    await sign_out(user_id, "password_reset")
    await record("password_changed", user_id=user_id, detail={"reason": "password_reset"})
    await outbox.queue(email, "password_changed", name=name)
    return True
