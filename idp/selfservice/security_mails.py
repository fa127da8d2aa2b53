"""Telling people by mail what was changed about how their account is protected."""

from typing import Any

from idp.accounts.tables import User
from idp.audit.events import record
from idp.mail import outbox


async def changed(user: User, what: str, **context: Any) -> None:
    """Record a change and mail it to its owner, in the transaction of the change.

    Args:
        what: the name of the event and of the mail, as ``passkey_added``.
        context: what the mail says besides.
    """
    await record(what, user_id=user.id)
    await outbox.queue(user.email, what, name=user.name, **context)
