"""The statement that reads the user of a sign-in, with the device and the session of a browser."""

from uuid import UUID

from idp.accounts.repository.users import id_of_email
from idp.infra.db.engine import fetchrow
from idp.infra.db.rows import one
from idp.signin.browser import Browser
from idp.signin.factors.repository import FACTOR_COLUMNS
from idp.signin.subject import SignInSubject

_SUBJECT = f"""
    SELECT u.id, u.email, u.name, u.locale, u.password_hash, u.disabled_at IS NOT NULL AS disabled, {FACTOR_COLUMNS},
           d.id AS device_id, coalesce(d.trusted_until > now(), false) AS trusts_device, s.id AS session_id
    FROM users AS u
    LEFT JOIN device AS d ON d.user_id = $1 AND d.token_hash = $2 AND d.expires_at > now()
    LEFT JOIN session AS s ON s.user_id = $1 AND s.token_hash = $3 AND s.ended_at IS NULL AND s.expires_at > now()
    WHERE u.id = $1
"""  # noqa: S608


async def subject_by_id(user_id: UUID, browser: Browser) -> SignInSubject | None:
    """Return a user at a browser. Lock the user first if the transaction acts on the result."""
    # Not null, from which Citus would not see that these tables concern the user's node only.
    session_hash = browser.session.hash if browser.session else b""
    return one(SignInSubject, await fetchrow(_SUBJECT, user_id, browser.device_hash or b"", session_hash))


async def subject_by_email(email: str | None, browser: Browser) -> SignInSubject | None:
    """Return the user of a normalised email address, at a browser.

    None and an unknown address run the same statements as a known one, which takes the same time.
    """
    person = await subject_by_id(await id_of_email(email), browser)
    # The address may have changed between the two statements.
    return person if person is not None and person.email == email else None
