"""Signing in with an email address and a password."""

from typing import Any

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.passwords import needs_rehash, rehash_password, verify_password
from idp.infra.db.engine import execute, fetchrow
from idp.infra.i18n import gettext as _
from idp.reasons import Reason
from idp.signin import limits
from idp.signin.flow import Flow
from idp.signin.steps import Browser, Fields, StepRefusedError, VerifiedStep
from idp.signin.subject import SignInSubject
from idp.signin.transitions import CompletedStep, Step

#: Of what is no address, so much is looked at.
MAX_LENGTH = 254

_STILL_HOLDS = "SELECT FROM users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR SHARE"
_UPGRADE = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"


async def context(flow: Flow) -> dict[str, Any]:
    """The page asks for both at once; a passkey may answer it too."""
    return {}


async def verify(flow: Flow, fields: Fields, browser: Browser | None) -> VerifiedStep:
    """Whose address and password these are."""
    person, matches = await _matching(fields.get("username", ""), fields.get("password", ""), browser)
    if person is None or not matches:
        # Whose account was tried is for the audit trail alone.
        raise _refused(person)
    return VerifiedStep(person.user_id, CompletedStep(Step.PASSWORD, ("pwd",)), person)


async def complete(flow: Flow, entered: VerifiedStep) -> VerifiedStep:
    """Whether what was entered still holds. Checking takes a while, in which it may have changed."""
    verified = entered.by.password_hash if entered.by is not None else None
    if await fetchrow(_STILL_HOLDS, entered.user_id, verified) is None:
        raise _refused(entered.by)
    return entered._replace(by=None)


def _refused(person: SignInSubject | None) -> StepRefusedError:
    message = _("That email and password do not match.")
    if person is None:
        return StepRefusedError(message, reason=Reason.UNKNOWN_USER)
    reason = Reason.USER_DISABLED if person.disabled else Reason.WRONG_PASSWORD
    return StepRefusedError(message, person.user_id, reason=reason)


async def _matching(username: str, password: str, browser: Browser | None) -> tuple[SignInSubject | None, bool]:
    """Whose account this is, if anyone's, and whether the password is theirs.

    Unknown, disabled and passwordless users cost the same time as known ones: a password is always verified.

    Raises:
        OverloadedError: too many passwords are being verified.
        TooManyRequestsError: at this account.
    """
    try:
        email: str | None = normalise_email(username)
    except InvalidEmailError:
        email = None
    person = await limits.count_password(email, email or username[:MAX_LENGTH], browser)
    matches = await verify_password(person.password_hash if person else None, password)
    if person is None or person.password_hash is None or person.disabled or not matches:
        return person, False
    return await _upgraded(person, password) if needs_rehash(person.password_hash) else person, True


async def _upgraded(person: SignInSubject, password: str) -> SignInSubject:
    """Keep the hash at today's parameters, unless the password was changed meanwhile."""
    upgraded = await rehash_password(password)
    done = await execute(_UPGRADE, person.user_id, person.password_hash, upgraded)
    return person._replace(password_hash=upgraded) if done else person
