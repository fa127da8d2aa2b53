"""A forgotten password: a mail that lets its reader choose a new one."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from idp.accounts import proofs
from idp.accounts.passwords import check_new_password, hash_password
from idp.accounts.proofs import Proved
from idp.accounts.tables import user_by_email
from idp.accounts.users import SignOut
from idp.audit.events import record
from idp.db.engine import fetchrow, transaction
from idp.mail import outbox
from idp.settings import settings

PURPOSE = "password_reset"

# Whoever has the mail reads the address. Whoever is disabled stays so.
_SET_PASSWORD = """
    UPDATE users SET password_hash = $3, password_changed_at = now(), email_verified = true
    WHERE id = $1 AND email = $2 AND disabled_at IS NULL RETURNING name
"""


async def mail_reset(email: str, flow_id: str) -> None:
    """Mail a link, and a code for whoever asked; nothing tells whether anybody has the address.

    Args:
        email: in its normalised form.
    """
    user = await user_by_email(email)
    if user is not None and user.disabled_at is not None:
        user = None
    lifetime = settings().password_reset_lifetime
    async with transaction():
        sent = await proofs.prepare(
            PURPOSE, email, lifetime=lifetime, flow_id=flow_id, user_id=user and user.id, void=user is None
        )
        await outbox.queue(
            email,
            "reset_password",
            lifetime=lifetime,
            void=user is None,
            name=user.name if user else None,
            code=sent.code,
            link=f"{settings().issuer}/reset?token={sent.token}",
            minutes=lifetime // 60,
        )
        # Of nobody too, so that it costs the same.
        await record("password_reset_requested", user_id=user and user.id, stranger=email)


async def reset(prove: Callable[[], Awaitable[Proved | None]], email: str, password: str, sign_out: SignOut) -> bool:
    """Set a new password, and end all that was signed in with the old one.

    Args:
        prove: uses the code or the link, in the transaction of the change.
        email: the address, which must be no part of the password.

    Returns:
        False when the proof does not hold.

    Raises:
        PasswordRefused: the password is too weak, too short or too long.
        Overloaded: too many passwords are being hashed.
    """
    await check_new_password(password, user_inputs=[email])
    password_hash = await hash_password(password)
    async with transaction():
        proved = await prove()
        if proved is None or proved.user_id is None:
            return False
        return await _set_password(proved.user_id, proved.email, password_hash, sign_out)


async def _set_password(user_id: UUID, email: str, password_hash: str, sign_out: SignOut) -> bool:
    row = await fetchrow(_SET_PASSWORD, user_id, email, password_hash)
    if row is None:
        return False
    await sign_out(user_id, "password_reset")
    await record("password_changed", user_id=user_id, detail={"reason": "password_reset"})
    await outbox.queue(email, "password_changed", name=row["name"])
    return True
