"""Compares the users of a directory with those who are linked to it here."""

import time
from typing import NamedTuple
from uuid import UUID

from idp.federation.errors import UpstreamUnavailableError
from idp.federation.ldap import entries, repository
from idp.federation.ldap.options import Directory, read
from idp.federation.ldap.pool import pool_of
from idp.federation.models import Upstream

#: Seconds that the clocks of two servers of the database may differ, and that a sign-in may take.
_MARGIN = 60.0


class Census(NamedTuple):
    """The result of a comparison.

    Attributes:
        linked: the number of enabled users whose password the directory has.
        gone: those of them who are not there any more, or are disabled there.
        back: users whom an earlier check disabled, and who are there again.
    """

    linked: int
    gone: list[UUID]
    back: list[UUID]


async def take(upstream: Upstream) -> Census:
    """Read all users of a directory, page by page.

    Raises:
        UpstreamUnavailableError: the directory does not respond as it should, or has no users at all. Nothing follows
            from that.
    """
    directory, started = read(upstream), time.monotonic()
    usable = await _usable(directory)
    linked, gone, back = 0, list[UUID](), list[UUID]()
    before = time.monotonic() - started + _MARGIN
    async for users in repository.linked_users(directory.issuer, upstream.origin, before):
        for user in users:
            linked += not user.disabled
            if user.disabled and user.subject in usable:
                back.append(user.user_id)
            elif not user.disabled and user.subject not in usable:
                gone.append(user.user_id)
    return Census(linked, gone, back)


async def _usable(directory: Directory) -> set[str]:
    """Return the ids of the users who may sign in."""
    found, base = set[str](), directory.option("base_dn")
    async with pool_of(directory).connection() as connection:
        async for page in connection.pages(base, directory.anybody, entries.attributes_of_state(directory)):
            for entry in page:
                subject = entries.subject(directory, entry)
                if subject is not None and entries.problem_of(directory, entry) is None:
                    found.add(subject)
    if not found:
        raise UpstreamUnavailableError("The directory has no users. Check the options base_dn and user_filter.")
    return found
