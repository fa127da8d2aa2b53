"""Withdrawing all that was given, or is under way, when a person's credentials change.

One function for every such change: a new password, a reset, a new address, a factor or an account elsewhere that is
taken off, by the person or by an administrator, disabling and containment. So nothing is forgotten in one of them;
tests/attacks/test_67_outliving_artefacts.py lists every table and every purpose of a mail.
"""

from collections import Counter
from uuid import UUID

from idp.accounts import email_proofs
from idp.infra.db.engine import execute
from idp.oauth.sign_out import sign_out_user
from idp.signin import totp

# Ways to a provider that would link its account to this one.
_LINKS = """
    UPDATE upstream_attempt SET consumed_at = now()
    WHERE consumed_at IS NULL AND session_id IN (SELECT id FROM session WHERE user_id = $1 AND ended_at IS NULL)
"""


async def credentials_changed(user_id: UUID, reason: str) -> Counter[str]:
    """End mails that lead in, factors and links half made, sessions with their passkey challenges, sign-ins under way,
    trust in browsers, codes and token families of a user. In the transaction of the change.

    A session that goes on is begun again after this, by :func:`idp.signin.sessions.restart`.

    Returns:
        how many of each were ended.
    """
    ended = Counter[str]()
    ended["email_proofs"] = await email_proofs.withdraw_of_user(user_id)
    ended["pending_totp"] = await totp.delete_pending(user_id)
    ended["upstream_attempts"] = await execute(_LINKS, user_id)
    ended.update(await sign_out_user(user_id, reason))
    return ended
