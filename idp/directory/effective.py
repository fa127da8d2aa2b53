"""What users have in the directory, with what follows from it: computed by one statement, and cached.

What was computed for a user is used while two things are unchanged. What the user was given: each change increases
``users.directory_version``, which the statements that redeem codes and rotate refresh tokens return, so that it is
never outdated there. And the groups, organizations and roles themselves: a change of them empties the cache of every
process, at once by a notice or within ``reload_interval`` (docs/decisions/0072-groups-and-roles.md).
"""

from collections import OrderedDict
from functools import lru_cache
from itertools import groupby
from uuid import UUID

import msgspec

from idp.directory.models import Memberships, OrganizationMembership
from idp.directory.repository.memberships import StoredMemberships, StoredRole
from idp.directory.repository.memberships import memberships as stored
from idp.directory.sign_in_policy import SignInPolicy

#: The topic of changes of groups, organizations and roles, their containment and the roles of groups.
TOPIC = "directory"
#: The topic of changes of verified domains.
DOMAINS_TOPIC = "domains"
#: Users of whom a process remembers the groups and roles.
CACHED = 10_000

_NOTHING = Memberships()


class _Cache:
    def __init__(self) -> None:
        self.entries: OrderedDict[UUID, tuple[int, Memberships]] = OrderedDict()
        #: Replaced when the cache is emptied: what was read before that is not remembered.
        self.generation = object()

    def get(self, user_id: UUID, version: int | None) -> Memberships | None:
        entry = self.entries.get(user_id)
        if entry is None or entry[0] != version:
            return None
        self.entries.move_to_end(user_id)
        return entry[1]

    def put(self, user_id: UUID, version: int, found: Memberships, generation: object) -> None:
        if generation is not self.generation:
            return
        self.entries[user_id] = (version, found)
        self.entries.move_to_end(user_id)
        if len(self.entries) > CACHED:
            self.entries.popitem(last=False)


_cache = _Cache()


async def empty() -> None:
    """Forget everything, because groups or roles have changed."""
    _cache.entries.clear()
    _cache.generation = object()


async def memberships(user_id: UUID, version: int | None = None) -> Memberships:
    """Return the groups, organizations and roles of a user. Of an unknown user: none.

    Args:
        version: the ``users.directory_version`` that a statement of this request has returned; None: unknown, so that
            the database is asked.
    """
    found = _cache.get(user_id, version)
    if found is not None:
        return found
    generation = _cache.generation
    row = await stored(user_id)
    if row is None:
        return _NOTHING
    found = _computed(row)
    _cache.put(user_id, row.version, found, generation)
    return found


async def is_member_of(user_id: UUID, organization_id: UUID) -> bool:
    """Return whether a user is a member of an organization that is enabled. It asks the database."""
    return organization_id in (await memberships(user_id)).organizations


@lru_cache(maxsize=256)
def _policy(text: str) -> SignInPolicy:
    """Return a policy. Those of organizations that ask for the same are the same."""
    return msgspec.json.decode(text, type=SignInPolicy)


def _computed(row: StoredMemberships) -> Memberships:
    def client(role: StoredRole) -> str:
        return role.client_id or ""

    elsewhere = [role for role in row.roles if role.organization_id is None]
    by_client = {
        name: tuple(role.name for role in roles) for name, roles in groupby(sorted(elsewhere, key=client), client)
    }
    organizations = {
        key: OrganizationMembership(
            id=key,
            slug=slug,
            name=name,
            roles=tuple(role.name for role in row.roles if role.organization_id == key),
            policy=_policy(policy),
        )
        for key, slug, name, policy in row.organizations
    }
    return Memberships(
        groups=dict(row.groups),
        role_ids=frozenset(role.id for role in row.roles),
        roles=by_client.pop("", ()),
        client_roles=by_client,
        organizations=organizations,
    )
