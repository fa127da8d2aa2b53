"""Signing in with an email address and a password, or with the name and the password of a directory."""

from typing import Any, NamedTuple
from uuid import UUID

from idp import ids
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.passwords import needs_rehash, rehash_password, verify_password
from idp.accounts.repository import users
from idp.federation.ldap.accounts import directory_of_id
from idp.federation.ldap.logins import normalise
from idp.federation.linking import ExternalIdentity
from idp.infra.i18n import gettext as _
from idp.reasons import Reason
from idp.signin import directory_passwords, enforcement, limits
from idp.signin.browser import Browser
from idp.signin.flow import Flow
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.subject import SignInSubject
from idp.signin.transitions import FEDERATED, CompletedStep, Step
from idp.signin.upstream_accounts import resolve

#: Maximum length of a username that is not an address.
MAX_LENGTH = 254


class VerifiedPassword(NamedTuple):
    """The user whose password was verified, and the hash that it was verified against."""

    user_id: UUID
    password_hash: str


class VerifiedElsewhere(NamedTuple):
    """The identity whose password a directory verified, and the name whose attempts were counted."""

    identity: ExternalIdentity
    counted: str


async def context(flow: Flow, _entered: Fields) -> dict[str, Any]:
    """Return no values. The page asks for address and password together, and also accepts a passkey."""
    return {}


async def verify(flow: Flow, fields: Fields, browser: Browser) -> VerifiedPassword | VerifiedElsewhere:
    """Verify the password. This takes as long for unknown, disabled and passwordless users as for others.

    A password that is not right here is verified by the directories, for users who have none here.

    Raises:
        OverloadedError: too many passwords are being verified.
    """
    username, password = fields.get("username", ""), fields.get("password", "")
    email = _email(username)
    counted = email or normalise(username) or username[:MAX_LENGTH]
    person = await limits.count_password(email, counted, browser)
    matches = await verify_password(person.password_hash if person else None, password)
    enforced = await enforcement.refusal(email, person) if email is not None else None
    # The same for no account, for a wrong password and for a right one, but for the right one of an administrator.
    if enforced is not None and not await enforcement.is_exempt(person.id if person is not None else ids.uuid7()):
        raise enforced
    if person is not None and person.password_hash is not None and not person.disabled and matches:
        return VerifiedPassword(person.id, await _upgraded(person, person.password_hash, password))
    # The answer of a directory would tell an administrator from others: only one whose password it has gets there.
    if enforced is not None and (person is None or not await _has_directory(person)):
        raise enforced
    identity = await directory_passwords.verify(flow, person, username, password)
    if identity is None:
        raise enforced or _refused(person)
    return VerifiedElsewhere(identity, counted)


def _email(username: str) -> str | None:
    try:
        return normalise_email(username)
    except InvalidEmailError:
        return None


async def _has_directory(person: SignInSubject) -> bool:
    return person.password_hash is None and not person.disabled and await directory_of_id(person.id) is not None


async def _upgraded(person: SignInSubject, password_hash: str, password: str) -> str:
    """Return the hash of the password under today's parameters, stored if it has changed."""
    if not needs_rehash(password_hash):
        return password_hash
    upgraded = await rehash_password(password)
    stored = await users.upgrade_password_hash(person.id, password_hash, upgraded)
    return upgraded if stored else password_hash


async def complete(flow: Flow, entered: VerifiedPassword | VerifiedElsewhere) -> VerifiedStep | None:
    """Check that the password was not changed while it was verified, and lock the user.

    For a user of a directory, find or create the account. None if more must be proved for that.
    """
    if isinstance(entered, VerifiedElsewhere):
        done = CompletedStep(Step.PASSWORD, ("pwd", FEDERATED))
        found = await resolve(flow, entered.identity, mailed=False, step=done)
        # The name is not that of the account, so the end of the sign-in does not know it.
        await limits.unlock(entered.counted)
        return found
    if not await users.lock_user_with_password(entered.user_id, entered.password_hash):
        raise StepRefusedError(_message(), entered.user_id, reason=Reason.WRONG_PASSWORD)
    return VerifiedStep(entered.user_id, CompletedStep(Step.PASSWORD, ("pwd",)), user_locked=True)


def _refused(person: SignInSubject | None) -> StepRefusedError:
    if person is None:
        return StepRefusedError(_message(), reason=Reason.UNKNOWN_USER)
    reason = Reason.USER_DISABLED if person.disabled else Reason.WRONG_PASSWORD
    return StepRefusedError(_message(), person.id, reason=reason)


def _message() -> str:
    return _("That email and password do not match.")
