"""Change of an email address: the new address is confirmed, the old one is notified."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from idp.accounts import email_proofs
from idp.accounts.addresses import mask_email
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository import users
from idp.accounts.repository.email_proofs import VerifiedEmail
from idp.accounts.repository.users import owner_of_email
from idp.accounts.tables import User
from idp.accounts.users import SignOut
from idp.audit.events import record
from idp.infra.db.engine import transaction
from idp.mail import outbox
from idp.settings import settings

#: Takes an address from an account that registered with it and never verified it. A callback, because the factors of
#: that account belong to a package above this one.
Release = Callable[[str], Awaitable[object]]


async def send_confirmation(user: User, email: str, session_id: UUID) -> None:
    """Mail a code and a link to the new address. The response does not reveal whether another user has it.

    The mail contains no name, because the address may belong to another person.

    Args:
        email: the normalised address. It may be the current address, which is then verified.
        session_id: the session that may enter the code.
    """
    lifetime = settings().email_code_lifetime
    void = await owner_of_email(email) not in (None, user.id)
    async with transaction():
        sent = await email_proofs.create(
            Purpose.EMAIL_CHANGE, email, lifetime=lifetime, flow_id=str(session_id), user_id=user.id, decoy=void
        )
        await outbox.queue(
            email,
            "email_change_confirm",
            language=user.locale,
            lifetime=lifetime,
            void=void,
            code=sent.code,
            link=f"{settings().issuer}/account/email?token={sent.token}",
            minutes=lifetime // 60,
        )


async def confirm(
    user: User, session_id: UUID, sign_out: SignOut, release: Release, *, code: str = "", token: str = ""
) -> str | None:
    """Change the address, given the code or the link of the mail. Runs in the caller's transaction.

    Args:
        release: takes the address from an account that never proved it.

    Returns:
        the event: ``email_changed``, or ``email_verified`` for the current address. None: code or link are not valid.
    """
    flow_id = str(session_id)
    if token:
        proved = await email_proofs.consume_token(token, Purpose.EMAIL_CHANGE, flow_id)
    else:
        proved = await email_proofs.consume_code(Purpose.EMAIL_CHANGE, flow_id, code)
    if proved is None or proved.user_id != user.id:
        return None
    if proved.email != user.email:
        await release(proved.email)
    return await _change(user, proved, sign_out)


async def _change(user: User, proved: VerifiedEmail, sign_out: SignOut) -> str | None:
    changed = await users.change_email(user.id, proved.email)
    if changed is None:
        return None
    if changed.before == proved.email:
        await record("email_verified", user_id=user.id)
        return "email_verified"
    await record("email_changed", user_id=user.id, private={"before": changed.before, "after": proved.email})
    # Links and codes in the old mailbox, and all sessions and tokens, end.
    await sign_out(user.id, "email_changed")
    after = mask_email(proved.email)
    await outbox.queue(changed.before, "email_changed", language=user.locale, name=changed.name, email=after)
    return "email_changed"
