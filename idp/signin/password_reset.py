"""Resetting a password during a sign-in, for the pages and for the JSON interface."""

from idp.accounts import email_proofs, recovery
from idp.accounts.addresses import normalise_email
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.email_proofs import VerifiedEmail
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.accounts.users import SignOut
from idp.federation.ldap.accounts import directory_of, directory_of_id
from idp.ids import uuid7
from idp.signin import enforcement, limits
from idp.signin.browser import Browser
from idp.signin.flow import Flow
from idp.signin.mail_needed import require_mail


async def request_reset(flow: Flow, username: str, browser: Browser) -> None:
    """Mail a code and a link to choose a new password.

    Raises:
        InvalidEmailError: it is not an address.
        EnforcedDomainError: the domain of the address is enforced.
        TooManyRequestsError: too many mails were sent.
        PageError: this server sends no mail.
    """
    require_mail()
    email = normalise_email(username)
    await limits.count_mail(email, browser)
    await enforcement.check_address(email)
    await recovery.send_reset(email, flow.binding.id, _password_elsewhere)


async def _password_elsewhere(user: User | None) -> str | None:
    # Read for an unknown user as well, so that it takes as long.
    directory = await directory_of_id(user.id if user is not None else uuid7())
    return directory if user is not None and user.password_hash is None else None


async def _may_be_set(proved: VerifiedEmail) -> bool:
    """Return whether a user may have a password here. A link of an administrator does not change that either."""
    user = await user_by_id(proved.user_id) if proved.user_id is not None else None
    return user is not None and await directory_of(user) is None


async def reset_by_code(flow: Flow, code: str, password: str, sign_out: SignOut, browser: Browser) -> bool:
    """Set a new password with the code from the mail. Returns whether the code was right.

    Raises:
        InvalidPasswordError: the password is too short, too long or too weak. The code can be used again.
        TooManyRequestsError: there were too many attempts from this address.
    """
    await limits.count_step(browser)
    proved = await email_proofs.verify_code(Purpose.PASSWORD_RESET, flow.binding.id, code)
    return await _reset(proved, password, sign_out)


async def reset_by_link(token: str, password: str, sign_out: SignOut, browser: Browser) -> bool:
    """Set a new password with the link from the mail. Returns whether it could be used.

    Raises:
        InvalidPasswordError: the password is too short, too long or too weak. The link can be used again.
        TooManyRequestsError: there were too many attempts from this address.
    """
    await limits.count_step(browser)
    proved = await email_proofs.verify_token(token, Purpose.PASSWORD_RESET)
    return await _reset(proved, password, sign_out)


async def _reset(proved: VerifiedEmail | None, password: str, sign_out: SignOut) -> bool:
    if proved is None or await enforcement.enforced(proved.email) is not None:
        # The domain may have been enforced since the mail was sent.
        return False
    return await _may_be_set(proved) and await recovery.reset_password(proved, password, sign_out)
