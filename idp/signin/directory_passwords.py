"""Passwords that a directory verifies (docs/ldap.md): whose password goes to which directory.

A user with a password here is never tried at a directory. A user with an account here but without a password is, if the
account is linked to one. Everybody else is searched for in the directories. A password that fails here costs the
directories the same messages in all of these cases.
"""

from typing import TYPE_CHECKING

from idp.federation import repository
from idp.federation.errors import UpstreamUnavailableError
from idp.federation.ldap.logins import normalise
from idp.federation.linking import ExternalIdentity, external_identity
from idp.ids import uuid7
from idp.signin.flow import Flow
from idp.signin.steps import StepRefusedError
from idp.signin.steps.upstream import directories as directories_of
from idp.signin.subject import SignInSubject
from idp.signin.upstream_errors import failure_message, record_failure

if TYPE_CHECKING:
    from idp.federation.ldap.authentication import Wanted


async def verify(flow: Flow, person: SignInSubject | None, username: str, password: str) -> ExternalIdentity | None:
    """Verify a password that is not one of this server.

    Args:
        person: the user with this address here.

    Returns:
        None if the password is wrong, or no directory knows the user.

    Raises:
        StepRefusedError: a directory does not answer, or does not let the user in. The message says so.
        OverloadedError: too many sign-ins wait for a directory.
    """
    directories = directories_of(flow)
    if not directories:
        return None
    # Imported late, because it is slow, and not every server has a directory.
    from idp.federation.ldap import authentication

    # Read for an unknown user as well, so that it takes as long.
    linked = await repository.identities_of(person.id if person is not None else uuid7())
    subjects = {identity.issuer: identity.subject for identity in linked}
    wanted = _wanted(person, username, subjects if {one.issuer for one in directories} & subjects.keys() else {})
    if wanted is not None and wanted.subjects:
        directories = [one for one in directories if one.issuer in wanted.subjects]
    try:
        verified = await authentication.verify(directories, wanted, password)
    except authentication.FailedError as error:
        await record_failure(error.upstream, error.cause)
        down = isinstance(error.cause, UpstreamUnavailableError)
        raise StepRefusedError(
            failure_message(error.cause, error.upstream.name), reason=error.cause.reason, unavailable=down
        ) from error
    return external_identity(verified.upstream, verified.person) if verified else None


def _wanted(person: SignInSubject | None, username: str, subjects: dict[str, str]) -> "Wanted | None":
    """Return who is to be found at the directories. None: nobody, and the directories get a random name."""
    from idp.federation.ldap.authentication import Wanted

    if person is None:
        login = normalise(username)
        return Wanted(login) if login is not None else None
    if person.disabled or person.password_hash is not None or not subjects:
        return None
    return Wanted(subjects=subjects)
