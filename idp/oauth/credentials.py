"""Revoking everything that was issued or started before a change of a user's credentials.

One function for every such change, by the user or by an administrator: a new password, a reset, a new address, a
removed factor or external identity, disabling, and incident response. So no change can forget a part;
tests/attacks/test_67_outliving_artefacts.py lists every table and every purpose of a mail.
"""

from collections import Counter
from uuid import UUID

from idp.accounts import email_proofs
from idp.accounts.repository.users import lock_user
from idp.federation.repository import consume_requests_of_sessions
from idp.oauth.sign_out import sign_out_user
from idp.signin.factors import totp
from idp.signin.repository.sessions import session_ids_of_user


async def credentials_changed(user_id: UUID, reason: str) -> Counter[str]:
    """End the mail proofs, unconfirmed factors and links, sessions with their passkey challenges, unfinished sign-ins,
    trusted browsers, codes and token families of a user, in the transaction of the change. Only the link of the mail
    about a new browser stays.

    A session that continues is started again after this, by :func:`idp.signin.sessions.restart`.

    Returns:
        how many of each were ended.
    """
    await lock_user(user_id)
    ended = Counter[str]()
    ended["email_proofs"] = await email_proofs.revoke_for_user(user_id)
    ended["pending_totp"] = await totp.delete_pending(user_id)
    ended["upstream_attempts"] = await consume_requests_of_sessions(await session_ids_of_user(user_id))
    ended.update(await sign_out_user(user_id, reason))
    return ended
