"""Mails that notify users about changes to their credentials."""

from typing import Any

from idp.accounts.tables import User
from idp.audit.events import record
from idp.mail import outbox

#: Maximum number of notices of one kind to one address within an hour.
HOURLY_NOTICES = 10


async def notify_change(user: User, what: str, **context: Any) -> None:
    """Record a change and queue a mail to the user, in the transaction of the change.

    Args:
        what: the name of the event and of the mail, such as ``passkey_added``.
        context: further values for the mail's template.
    """
    await record(what, user_id=user.id)
    await outbox.queue(user.email, what, language=user.locale, budget=HOURLY_NOTICES, name=user.name, **context)
