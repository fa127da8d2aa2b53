"""Verifies a password by a bind at the directory.

Whatever the outcome, the directory gets the same messages: a search and a bind. For a user who does not exist, or whose
account is not in a directory, they have a random name and a random password, so that neither the duration nor the
directory tells who exists, and no password of another account gets there.
"""

import asyncio
import math
import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import structlog
from sansldap import LDAPResult, LDAPResultCode

from idp import clock
from idp.accounts.passwords import MAX_LENGTH
from idp.federation import rules
from idp.federation.errors import NotInAllowedOrganizationError, UpstreamError, UpstreamUnavailableError
from idp.federation.ldap import active_directory, entries, filters, groups
from idp.federation.ldap.connection import Connection, Entry, RefusedByDirectoryError
from idp.federation.ldap.options import Directory, read
from idp.federation.ldap.pool import bind_as_idp, pool_of
from idp.federation.ldap.problems import AccountProblemError
from idp.federation.models import Upstream, UserInfo
from idp.federation.providers.base import SECONDS

log = structlog.get_logger()


class Wanted(NamedTuple):
    """Who is to be found at the directories.

    Attributes:
        login: what the user entered, as :func:`idp.federation.ldap.logins.normalise` returns it.
        subjects: instead, the linked identities of a user, by issuer.
    """

    login: str | None = None
    subjects: Mapping[str, str] = MappingProxyType({})


class Verified(NamedTuple):
    """A user whose password a directory accepts."""

    upstream: Upstream
    person: UserInfo


class FailedError(UpstreamError):
    """A directory could not verify the password, or the right password does not let the user in.

    Attributes:
        upstream: the directory.
        cause: why.
    """

    def __init__(self, upstream: Upstream, cause: UpstreamError) -> None:
        super().__init__(str(cause))
        self.upstream, self.cause = upstream, cause
        self.reason = cause.reason


class Found(NamedTuple):
    """A user in a directory."""

    directory: Directory
    entry: Entry
    subject: str


async def verify(upstreams: Sequence[Upstream], wanted: Wanted | None, password: str) -> Verified | None:
    """Verify a password at the directories, in their order. Returns None if it is wrong, or nobody is found.

    Args:
        wanted: None: nobody; the directories get the messages all the same.

    Raises:
        FailedError: see there. If one directory knows the user, the others may be down.
        OverloadedError: too many sign-ins wait for a directory.
    """
    if not upstreams:
        return None
    directories = [read(upstream) for upstream in upstreams]
    if not _is_usable(password):
        wanted = None
    try:
        async with asyncio.timeout(SECONDS):
            found = await _found(directories, wanted)
            return await _verified(found.directory if found is not None else directories[0], found, password)
    except TimeoutError as error:
        late = UpstreamUnavailableError(f"The directory did not answer within {SECONDS:g} s.")
        raise FailedError(upstreams[0], late) from error


async def _found(directories: Sequence[Directory], wanted: Wanted | None) -> Found | None:
    """Search in all directories, and return the user of the first that has one."""
    results = await asyncio.gather(*(_find(directory, wanted) for directory in directories), return_exceptions=True)
    found = next((each for each in results if isinstance(each, Found)), None)
    for directory, result in zip(directories, results, strict=True):
        if isinstance(result, UpstreamUnavailableError):
            if found is None:
                raise FailedError(directory.upstream, result) from result
        elif isinstance(result, BaseException):
            raise result
    return found


async def _verified(directory: Directory, found: Found | None, password: str) -> Verified | None:
    try:
        async with pool_of(directory).connection() as connection:
            return await _verify(connection, directory, found, password)
    except UpstreamError as error:
        raise FailedError(directory.upstream, error) from error


def _is_usable(password: str) -> bool:
    """Return whether a password may be sent.

    An empty one would be an anonymous bind, and some servers end it at a NUL.
    """
    if not 0 < len(password) <= MAX_LENGTH or "\0" in password:
        return False
    try:
        return bool(password.encode())
    except UnicodeEncodeError:
        return False


async def _find(directory: Directory, wanted: Wanted | None) -> Found | None:
    try:
        async with pool_of(directory).connection() as connection:
            return await find(connection, directory, wanted)
    except RefusedByDirectoryError:
        raise
    except UpstreamUnavailableError as error:
        # The server may have closed a connection that was used before, or there is another server.
        try:
            async with pool_of(directory).connection() as connection:
                return await find(connection, directory, wanted)
        except UpstreamUnavailableError:
            raise error from None


async def find(connection: Connection, directory: Directory, wanted: Wanted | None) -> Found | None:
    """Search for a user. None: there is none, or more than one."""
    subject = wanted.subjects.get(directory.issuer) if wanted is not None else None
    login = wanted.login if wanted is not None else None
    if subject is not None:
        by_id = filters.equal(directory.id_attribute, entries.id_value(directory, subject))
        condition = filters.both(directory.anybody, by_id)
    else:
        condition = directory.by_login(login or secrets.token_hex(12))
    base = directory.option("base_dn")
    matching = await connection.search(base, condition, entries.attributes(directory), limit=2)
    if subject is None and login is None:
        return None
    if len(matching) != 1:
        if len(matching) > 1:
            log.warning("directory_user_ambiguous", path=directory.upstream.id)
        return None
    known = entries.subject(directory, matching[0])
    if known is None or (subject is not None and known != subject):
        log.warning("directory_user_without_id", path=directory.upstream.id)
        return None
    if login is not None and not entries.has_login(directory, matching[0], login):
        return None
    return Found(directory, matching[0], known)


async def _verify(connection: Connection, directory: Directory, found: Found | None, password: str) -> Verified | None:
    if found is None:
        name = f"cn={secrets.token_hex(12)},{directory.option('base_dn')}"
        await connection.bind(name, secrets.token_hex(12))
        await bind_as_idp(connection, directory)
        return None
    result = await connection.bind(found.entry.dn, password)
    # The connection must not stay bound as the user.
    await bind_as_idp(connection, directory)
    _check(directory, found.entry, result)
    if result.result_code != LDAPResultCode.SUCCESS:
        return None
    return Verified(directory.upstream, await _person(connection, directory, found))


def _check(directory: Directory, entry: Entry, result: LDAPResult) -> None:
    """Raise what a user with the right password is told. A result that does not tell is a wrong password."""
    if result.result_code == LDAPResultCode.SUCCESS:
        problem = entries.problem_of(directory, entry)
    elif directory.is_active_directory and result.result_code == LDAPResultCode.INVALID_CREDENTIALS:
        problem = active_directory.problem_of_bind(result)
    else:
        problem = None
    if problem is not None:
        raise AccountProblemError(problem)
    if result.result_code in (LDAPResultCode.BUSY, LDAPResultCode.UNAVAILABLE):
        raise UpstreamUnavailableError("The directory is busy.")


async def may_sign_in(connection: Connection, directory: Directory, subject: str) -> bool:
    """Return whether a user is there, and the right password would let them in.

    Raises:
        UpstreamUnavailableError: the directory does not respond as it should.
    """
    found = await find(connection, directory, Wanted(subjects={directory.issuer: subject}))
    if found is None or entries.problem_of(directory, found.entry) is not None:
        return False
    return entries.meets_requirements(directory, await _values(connection, directory, found.entry))


async def _values(connection: Connection, directory: Directory, entry: Entry) -> dict[str, Any]:
    names: Sequence[str] | None = []
    if entries.wants_groups(directory):
        names = await groups.read(connection, directory, entry)
    return entries.for_rules(directory, entry, names)


async def _person(connection: Connection, directory: Directory, found: Found) -> UserInfo:
    upstream, entry = directory.upstream, found.entry
    values = await _values(connection, directory, entry)
    if not entries.meets_requirements(directory, values):
        raise NotInAllowedOrganizationError("The user is not one of those who may sign in.")
    email, verified = entries.email(directory, entry)
    return UserInfo(
        directory.issuer, found.subject, email, verified, entries.claims(directory, entry),
        # Rounded up: it is not before the request that asked for a new sign-in.
        auth_time=math.ceil(clock.now().timestamp()), proved=rules.read(upstream.rules, values),
    )  # fmt: skip
