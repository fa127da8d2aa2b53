"""Changing an email address: the new one is confirmed, the old one is told."""

from uuid import UUID

from idp.accounts import proofs
from idp.accounts.proofs import Proved, Purpose
from idp.accounts.tables import User, user_by_email
from idp.audit.events import record
from idp.db.engine import execute, fetchrow, transaction
from idp.mail import outbox
from idp.settings import settings

# Somebody else may have taken the address meanwhile: then the statement finds nothing to do.
_CHANGE = """
    UPDATE users AS u SET email = $2, email_verified = true, updated_at = now() FROM users AS old
    WHERE u.id = $1 AND old.id = u.id AND u.disabled_at IS NULL
      AND NOT EXISTS (SELECT FROM users WHERE email = $2 AND id <> $1)
    RETURNING old.email AS before, u.name
"""
_WITHDRAW_OTHERS = "UPDATE email_proof SET consumed_at = now() WHERE user_id = $1 AND consumed_at IS NULL"


async def mail_confirmation(user: User, email: str, session_id: UUID) -> None:
    """Mail a code and a link to the new address; nothing tells whether somebody has it already.

    Args:
        email: in its normalised form. One's own present address may be confirmed in the same way.
        session_id: whose browser may type the code.
    """
    taken = await user_by_email(email)
    lifetime = settings().email_code_lifetime
    void = taken is not None and taken.id != user.id
    async with transaction():
        sent = await proofs.prepare(
            Purpose.EMAIL_CHANGE, email, lifetime=lifetime, flow_id=str(session_id), user_id=user.id, void=void
        )
        await outbox.queue(
            email,
            "email_change_confirm",
            lifetime=lifetime,
            void=void,
            name=user.name,
            code=sent.code,
            link=f"{settings().issuer}/account/email?token={sent.token}",
            minutes=lifetime // 60,
        )


async def confirm(user: User, session_id: UUID, *, code: str = "", token: str = "") -> bool:
    """Change the address, with the code or the link of the mail. Returns whether it was right."""
    async with transaction():
        flow_id = str(session_id)
        if token:
            proved = await proofs.take_token(token, Purpose.EMAIL_CHANGE, flow_id)
        else:
            proved = await proofs.try_code(Purpose.EMAIL_CHANGE, flow_id, code)
        return proved is not None and proved.user_id == user.id and await _change(user, proved)


async def _change(user: User, proved: Proved) -> bool:
    row = await fetchrow(_CHANGE, user.id, proved.email)
    if row is None:
        return False
    # A mail to the old address must not lead into the account any more.
    await execute(_WITHDRAW_OTHERS, user.id)
    await record("email_changed" if row["before"] != proved.email else "email_verified", user_id=user.id)
    if row["before"] != proved.email:
        await outbox.queue(row["before"], "email_changed", name=row["name"], email=masked(proved.email))
    return True


def masked(email: str) -> str:
    """An address of which only its owner sees whose it is: ``a…@example.com``."""
    local, _, domain = email.partition("@")
    return f"{local[:1]}…@{domain}"
