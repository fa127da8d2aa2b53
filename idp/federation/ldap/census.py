"""Compares the users of a directory with those who are linked to it here."""

import time
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from idp.errors import OverloadedError
from idp.federation import registry
from idp.federation.errors import UpstreamError, UpstreamUnavailableError
from idp.federation.ldap import entries, repository
from idp.federation.ldap.authentication import may_sign_in
from idp.federation.ldap.connection import Connection
from idp.federation.ldap.options import Directory, read
from idp.federation.ldap.pool import pool_of
from idp.federation.ldap.repository import LinkedUser
from idp.federation.models import Upstream

log = structlog.get_logger()

#: Seconds that the clocks of two servers of the database may differ, and that a sign-in may take.
_MARGIN = 60.0


class Census(NamedTuple):
    """The result of a comparison.

    Attributes:
        linked: the number of enabled users whose password the directory has.
        gone: those of them who may not sign in with it any more, nor with another directory that they are linked to.
        back: users whom an earlier check of a directory disabled, and who may sign in again.
    """

    linked: int
    gone: Sequence[UUID]
    back: Sequence[LinkedUser]


async def take(upstream: Upstream) -> Census:
    """Read all users of a directory, page by page.

    Raises:
        UpstreamUnavailableError: the directory does not respond as it should, or has no users at all. Nothing follows
            from that.
    """
    directory, started = read(upstream), time.monotonic()
    linked, gone, back = 0, list[UUID](), list[LinkedUser]()
    async with pool_of(directory).connection() as connection:
        usable = await _usable(connection, directory)
        before = time.monotonic() - started + _MARGIN
        async for users in repository.linked_users(directory.issuer, before):
            for user in users:
                there = user.subject in usable
                if there and entries.requires_groups(directory):
                    # Groups may need a search for each user, so they are read only of those who are linked.
                    there = await may_sign_in(connection, directory, user.subject)
                linked += user.disabled_by is None
                if there and user.disabled_by is not None:
                    back.append(user)
                elif not there and user.disabled_by is None:
                    gone.append(user.user_id)
    held = await _held_elsewhere(directory, gone)
    return Census(linked, [user_id for user_id in gone if user_id not in held], back)


async def _usable(connection: Connection, directory: Directory) -> set[str]:
    """Return the ids of the users who may sign in, whatever groups they are in."""
    found, base = set[str](), directory.option("base_dn")
    async for page in connection.pages(base, directory.anybody, entries.attributes_of_state(directory)):
        for entry in page:
            subject = entries.subject(directory, entry)
            if subject is None or entries.problem_of(directory, entry) is not None:
                continue
            if entries.meets_requirements(directory, entries.for_rules(directory, entry, None), groups=False):
                found.add(subject)
    if not found:
        raise UpstreamUnavailableError(
            "The directory has no users who may sign in. Check base_dn, user_filter and what it requires."
        )
    return found


async def _held_elsewhere(directory: Directory, user_ids: Sequence[UUID]) -> set[UUID]:
    """Return those whom another directory has. One that does not answer may have all who are linked to it."""
    held = set[UUID]()
    others = await registry.load_stored() if user_ids else []
    for other in others:
        if other.kind == "ldap" and not other.disabled and other.id != directory.upstream.id:
            held |= await _held_by(read(other), user_ids)
    return held


async def _held_by(directory: Directory, user_ids: Sequence[UUID]) -> set[UUID]:
    linked = await repository.linked_among(directory.issuer, user_ids)
    if not linked:
        return set()
    try:
        async with pool_of(directory).connection() as connection:
            return {user.user_id for user in linked if await may_sign_in(connection, directory, user.subject)}
    except (UpstreamError, OverloadedError) as error:
        log.warning("directory_not_checked", path=directory.upstream.id, error=str(error))
        return {user.user_id for user in linked}
