"""Registration: the account is created when its address is verified, and not before.

So an address cannot be blocked by others, and the response does not reveal whether a user has it.
"""

from uuid import UUID

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import Origin, User
from idp.accounts.users import insert_user
from idp.infra.db.engine import transaction
from idp.infra.i18n import locale
from idp.mail import outbox
from idp.settings import settings


async def send_proof(email: str, flow_id: str, link_prefix: str) -> None:
    """Mail a code and a link. A user who has the address gets a mail that says so instead.

    The mail contains nothing that was entered, because the address may belong to another person.

    Args:
        link_prefix: the link without the token.
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
                email, "already_registered", language=user.locale, lifetime=lifetime,
                void=user.disabled_at is not None, name=user.name,
            )  # fmt: skip


async def create_account(
    email: str, password_hash: str | None, name: str | None, *, invited: bool = False
) -> UUID | None:
    """Create the account of a verified address, and mail a welcome. Runs in the caller's transaction.

    Args:
        invited: the user registers by an invitation.

    Returns:
        the id of the new user; None if another user has the address.
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
