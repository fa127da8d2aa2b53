"""Shows step by step how a directory responds, for the operator. No secret is shown."""

from collections.abc import AsyncIterator

import sansldap
from sansldap import LDAPResultCode, SearchScope

from idp.federation.errors import UpstreamUnavailableError
from idp.federation.ldap import active_directory, entries, groups
from idp.federation.ldap.authentication import Found, Wanted, find
from idp.federation.ldap.connection import Connection, describe
from idp.federation.ldap.logins import normalise
from idp.federation.ldap.options import Directory, Server, read
from idp.federation.ldap.pool import bind_as_idp
from idp.federation.models import Finding, Upstream
from idp.infra import outbound

#: Groups of a user that are shown.
_SHOWN = 20


async def steps(upstream: Upstream, user: str | None = None, password: str | None = None) -> AsyncIterator[Finding]:
    """Check a directory, and how it shows a user.

    Args:
        user: what the user enters at the sign-in.
        password: of the user; None: it is not tried.

    Raises:
        UpstreamUnavailableError: a check failed. The message says how to fix it.
    """
    directory = read(upstream)
    working = None
    for server in directory.servers:
        try:
            connection = await _opened(directory, server)
        except UpstreamUnavailableError as error:
            yield Finding(str(error), passed=False)
            continue
        yield Finding(f"{server.url} answers, {_protection(server)}.")
        working = working or connection
        if connection is not working:
            await connection.close()
    if working is None:
        raise UpstreamUnavailableError("No server of the directory can be used.")
    try:
        async for finding in _directory_steps(working, directory, user, password):
            yield finding
    finally:
        await working.close()


def _protection(server: Server) -> str:
    if server.ldaps:
        return "with TLS and a valid certificate"
    return "with StartTLS and a valid certificate" if server.start_tls else "without TLS, which only this machine may"


async def _opened(directory: Directory, server: Server) -> Connection:
    try:
        return await Connection.open(server, directory.ca)
    except UpstreamUnavailableError as error:
        raise UpstreamUnavailableError(f"{error} {_fix_of_connection(error)}") from error


def _fix_of_connection(error: UpstreamUnavailableError) -> str:
    text = str(error)
    if "certificate" in text.lower():
        return "Set the option ca to the authority that issued its certificate, and the URL to a name in it."
    if isinstance(error.__cause__, outbound.ForbiddenAddressError):
        return "Add the host or its network to IDP_OUTBOUND_ALLOWED_HOSTS."
    if "StartTLS" in text:
        return "Configure TLS at the directory, or use ldaps://."
    return "Check host and port, and the firewalls between."


async def _directory_steps(
    connection: Connection, directory: Directory, user: str | None, password: str | None
) -> AsyncIterator[Finding]:
    try:
        await bind_as_idp(connection, directory)
    except UpstreamUnavailableError as error:
        raise UpstreamUnavailableError(f"{error} Check the bind DN and its password.") from error
    yield Finding(f"The bind as {directory.bind_dn or 'nobody'} is accepted.")
    base = directory.option("base_dn")
    anything = sansldap.FilterPresent(attribute="objectClass")
    if not await connection.search(base, anything, ["1.1"], limit=1, scope=SearchScope.BASE):
        raise UpstreamUnavailableError(
            f"There is no {base}, or the bind DN may not see it. Check the option base_dn and the access rules."
        )
    yield Finding(f"The base {base} exists.")
    some = await connection.search(base, directory.anybody, [directory.id_attribute], limit=1)
    if not some:
        raise UpstreamUnavailableError("No entry matches the filter of users. Check the option user_filter.")
    if entries.subject(directory, some[0]) is None:
        raise UpstreamUnavailableError(
            f"{some[0].dn} has no usable {directory.id_attribute}. Check the option id_attribute and the access rules."
        )
    yield Finding(f"There are users, identified by {directory.id_attribute}.")
    if user is not None:
        async for finding in _user_steps(connection, directory, user, password):
            yield finding


async def _user_steps(
    connection: Connection, directory: Directory, user: str, password: str | None
) -> AsyncIterator[Finding]:
    login = normalise(user)
    found = await find(connection, directory, Wanted(login)) if login is not None else None
    if found is None:
        names = ", ".join(directory.login_attributes)
        raise UpstreamUnavailableError(
            f"There is no user {user}, or more than one. Users are found by {names}. Check the options user_filter and"
            " login_attributes."
        )
    yield Finding(f"{user} is {found.entry.dn}, with the id {found.subject}.")
    email, verified = entries.email(directory, found.entry)
    trust = "trusted" if verified else "not trusted, so the user proves an address by mail"
    yield Finding(
        f"The address is {email}, {trust}." if email else "There is no address, so the user proves one by mail."
    )
    shown = ", ".join(f"{name}={value}" for name, value in sorted(entries.claims(directory, found.entry).items()))
    yield Finding(f"The claims are {shown}." if shown else "There are no claims.")
    problem = entries.problem_of(directory, found.entry)
    yield Finding(
        f"The account may not be used: {problem.replace('_', ' ')}." if problem else "The account may be used."
    )
    yield Finding(await _group_step(connection, directory, found))
    if password is not None:
        yield Finding(await _password_step(connection, directory, found, password))


async def _group_step(connection: Connection, directory: Directory, found: Found) -> str:
    if directory.option("groups") == "none":
        return "Groups are not read."
    names = await groups.read(connection, directory, found.entry)
    if names is None:
        return "The user has too many groups, so they are unknown and change nothing."
    if not names:
        return "The user has no groups. If that is wrong, check the options groups and group_base_dn."
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"The groups are {'; '.join(list(names)[:_SHOWN])}{more}."


async def _password_step(connection: Connection, directory: Directory, found: Found, password: str) -> str:
    if not password:
        raise UpstreamUnavailableError("The password is empty. It is never sent: a directory would accept it.")
    result = await connection.bind(found.entry.dn, password)
    if result.result_code == LDAPResultCode.SUCCESS:
        return "The password is accepted."
    problem = active_directory.problem_of_bind(result) if directory.is_active_directory else None
    reason = f" The password is right, but: {problem.replace('_', ' ')}." if problem else ""
    raise UpstreamUnavailableError(f"The password is refused: {describe(result)}{reason}")
