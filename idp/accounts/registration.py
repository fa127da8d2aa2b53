"""Registration: an account comes into being when its address is proved, and not before.

So nobody can hold an address that is not theirs, and what the server answers is the same whether somebody has it.
"""

from uuid import UUID

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.tables import Origin, User, user_by_email
from idp.accounts.users import insert_user
from idp.infra.db.engine import transaction
from idp.infra.i18n import locale
from idp.mail import outbox
from idp.settings import settings


async def send_proof(email: str, flow_id: str, link_prefix: str) -> None:
    """Mail a code and a link; to somebody who has an account, the advice to use it.

    The mail says nothing that was entered: who reads the address may be somebody else.

    Args:
        link_prefix: the link without its token.
    """
    user = await user_by_email(email)
    lifetime = settings().email_code_lifetime
    async with transaction():
        sent = await email_proofs.create(
            Purpose.REGISTRATION, email, lifetime=lifetime, flow_id=flow_id, decoy=user is not None
        )
        if user is None:
            await outbox.queue(
                email,
                "verify_email",
                lifetime=lifetime,
                code=sent.code,
                link=f"{link_prefix}{sent.token}",
                minutes=lifetime // 60,
            )
        else:
            await outbox.queue(
                email, "already_registered", lifetime=lifetime, void=user.disabled_at is not None, name=user.name
            )


async def create_account(
    email: str, password_hash: str | None, name: str | None, *, invited: bool = False
) -> UUID | None:
    """Make the account of a proved address, and welcome its owner. Runs in the caller's transaction.

    Args:
        invited: the operator sent an invitation.

    Returns:
        the new user's id; None when somebody has the address by now.
    """
    user = User(
        email=email,
        email_verified=True,
        password_hash=password_hash,
        name=name,
        locale=locale.get(),
        origin=Origin.INVITATION if invited else Origin.REGISTRATION,
    )
    if not await insert_user(user):
        return None
    await outbox.queue(email, "welcome", name=name)
    return user.id
