"""Who is at the administration, and what they may do there: the same for the API and for the console."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from uuid import UUID

import msgspec

from idp.admin.roles import Permission, Role, lock_user, permissions, roles_of
from idp.infra.db.engine import authority, fetch, fetchrow
from idp.oauth.clients.registry import ResourceServer
from idp.settings import settings

_HOLD_ROLES = "SELECT role FROM admin_role WHERE user_id = $1 FOR SHARE"
_HOLD_CLIENT = "SELECT FROM client WHERE client_id = $1 AND admin_role = ANY($2) AND disabled_at IS NULL FOR SHARE"
# Whatever makes an admin of a user or client takes the same lock (idp.admin.roles.grant, changes of clients).
_LOCK_CLIENT = "SELECT scope, admin_role FROM client WHERE client_id = $1 FOR NO KEY UPDATE"

#: What the scopes of the admin API begin with.
SCOPE_PREFIX = "admin:"


class PermissionDeniedError(Exception):
    """The caller may not do this: one plain sentence."""


class Caller(msgspec.Struct, frozen=True):
    """A person, or a client in its own name.

    Attributes:
        roles: those of now.
        allowed: what they may do here: at the API, no more than the scope of the token.
    """

    user_id: UUID | None
    client_id: str | None
    roles: frozenset[Role]
    allowed: frozenset[Permission]

    @property
    def actor(self) -> str:
        """As the audit trail names it."""
        return f"user:{self.user_id}" if self.user_id else f"client:{self.client_id}"

    @property
    def owner(self) -> bool:
        return Role.OWNER in self.roles

    def require(self, permission: Permission) -> None:
        """Refuse whatever no role allows.

        Raises:
            PermissionDeniedError: this is not allowed.
        """
        if permission not in self.allowed:
            raise PermissionDeniedError("Your role does not allow this.")


async def person(user_id: UUID) -> Caller:
    """A person with all that their roles allow; of most people, that is nothing."""
    roles = await roles_of(user_id)
    return Caller(user_id, None, roles, permissions(roles))


async def hold_roles(caller: Caller) -> None:
    """Check that a person has the roles that they had, and keep it so for the rest of the transaction.

    Raises:
        PermissionDeniedError: one was taken meanwhile.
    """
    if not caller.roles <= {row["role"] for row in await fetch(_HOLD_ROLES, caller.user_id)}:
        raise PermissionDeniedError("Your role was taken meanwhile.")


async def hold_client(caller: Caller) -> bool:
    """Whether a client still has the role that it had; if so, for the rest of the transaction."""
    return await fetchrow(_HOLD_CLIENT, caller.client_id, list(caller.roles)) is not None


def api_resource() -> ResourceServer:
    """The admin API as a resource server (RFC 8707): tokens for it name it as their audience."""
    return ResourceServer(
        identifier=f"{settings().issuer}/admin/api",
        name="Administration",
        scope=" ".join(Permission),
        witnessed=False,
    )


async def check_user(caller: Caller, user_id: UUID) -> None:
    """Only an owner acts on somebody who has a role: nobody else may get into the account of an admin.

    It holds now, and is checked in each transaction of the request from here on.

    Raises:
        PermissionDeniedError: the user has a role.
    """
    if not caller.owner:
        await _from_now_on(partial(_lock_user, user_id))


async def _lock_user(user_id: UUID) -> None:
    await lock_user(user_id)
    if await roles_of(user_id):
        raise PermissionDeniedError("Only an owner may do this to somebody who has a role.")


async def check_client(caller: Caller, client_id: str) -> None:
    """Only an owner acts on a client that can administrate.

    It holds now, and is checked in each transaction of the request from here on.

    Raises:
        PermissionDeniedError: the client has a role, or scopes of the admin API.
    """
    await _from_now_on(partial(_lock_client, caller, client_id))


async def _from_now_on(check: Callable[[], Awaitable[None]]) -> None:
    """Check what is acted on, after who acts, and make it part of :data:`idp.infra.db.engine.authority`."""
    await check()
    before = authority.get()

    async def both() -> None:
        if before is not None:
            await before()
        await check()

    authority.set(both)


async def _lock_client(caller: Caller, client_id: str) -> None:
    row = await fetchrow(_LOCK_CLIENT, client_id)
    if row is not None and row["admin_role"] is not None:
        _owners_only(caller)
    if row is not None:
        check_scope(caller, row["scope"].split())


def check_scope(caller: Caller, scopes: Iterable[str]) -> None:
    """Only an owner lets a client ask for scopes of the admin API.

    Raises:
        PermissionDeniedError: there is one among them.
    """
    if any(scope.startswith(SCOPE_PREFIX) for scope in scopes):
        _owners_only(caller)


def _owners_only(caller: Caller) -> None:
    if not caller.owner:
        raise PermissionDeniedError("Only an owner may do this to a client that can administrate.")
