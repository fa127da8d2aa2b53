"""Authorization of administrators, shared by the admin API and the console."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from uuid import UUID

import msgspec

from idp.accounts.attributes.models import Audience
from idp.accounts.repository import admin_roles, users
from idp.admin.roles import Permission, Role, permissions, roles_of
from idp.errors import PermissionDeniedError
from idp.infra.db.engine import authority, begin_with
from idp.oauth.clients import repository as clients
from idp.oauth.clients.models import ResourceServer
from idp.oauth.repository import live_tokens
from idp.oauth.repository.live_tokens import TokenOfUser
from idp.settings import settings
from idp.signin import enforcement, sessions
from idp.signin.transitions import FEDERATED

#: Prefix of the scopes of the admin API.
SCOPE_PREFIX = "admin:"
_OF_CLIENT = "do this to a client with access to the admin API"


class Caller(msgspec.Struct, frozen=True):
    """An administrator: a user, or a client acting for itself.

    Attributes:
        roles: the current roles.
        allowed: the permissions of the roles; at the API, limited to the scope of the token.
        organization_id: the organization that a user manages, if an operation admits the user for that and not for a
            role.
        amr: how this user has signed in; None: the caller acts by a role.
    """

    user_id: UUID | None
    client_id: str | None
    roles: frozenset[Role]
    allowed: frozenset[Permission]
    organization_id: UUID | None = None
    amr: tuple[str, ...] | None = None

    @property
    def delegated(self) -> bool:
        """Whether the caller is an administrator of one organization, and acts as that."""
        return self.organization_id is not None

    @property
    def actor(self) -> str:
        """Name of the caller in the audit trail."""
        return f"user:{self.user_id}" if self.user_id else f"client:{self.client_id}"

    @property
    def owner(self) -> bool:
        return Role.OWNER in self.roles

    @property
    def audience(self) -> Audience:
        """Which attributes of users the caller sees and edits, if the caller may read or change users."""
        return Audience.OWNER if self.owner else Audience.SUPPORT

    @property
    def over_administrators(self) -> bool:
        """Whether the caller may act on users and clients with access to the admin API.

        Only the role of owners has the permission; at the API the scope of the token must contain it too, so that a
        token for other records does not take over one of them.
        """
        return Permission.ADMINS_WRITE in self.allowed

    def require(self, permission: Permission) -> None:
        """Check that a role of the caller allows this.

        Raises:
            PermissionDeniedError: no role allows it.
        """
        if permission not in self.allowed:
            owner = "your account" if self.user_id else "this client"
            raise PermissionDeniedError(f"No role of {owner} gives the permission {permission}.")


async def person(user_id: UUID) -> Caller:
    """Return a user with the permissions of their roles. Most users have none."""
    roles = await roles_of(user_id)
    return Caller(user_id, None, roles, permissions(roles))


async def speaks_for_roles(token: TokenOfUser, amr: Collection[str]) -> bool:
    """Return whether the sign-in behind an access token gives the authority of the roles of its user.

    One at an upstream does as long as its session lives, which says which upstream it was
    (:func:`idp.signin.enforcement.speaks_for_administrators`).
    """
    if FEDERATED not in amr:
        return True
    subject = await live_tokens.live_subject(token)
    if subject is None or subject.session_id is None:
        return False
    done = await sessions.steps_of(token.user_id, subject.session_id)
    return done is not None and enforcement.speaks_for_administrators(done)


async def hold_roles(caller: Caller) -> None:
    """Check that a user still has these roles and lock them until the end of the transaction.

    Raises:
        PermissionDeniedError: a role has been revoked.
    """
    if not caller.roles <= set(await admin_roles.lock_roles(caller.user_id)):
        raise PermissionDeniedError("Your role has been revoked.")


async def hold_client(caller: Caller) -> bool:
    """Return whether a client still has this role, and lock it until the end of the transaction."""
    return await clients.hold_admin_role(caller.client_id, caller.roles)


async def hold_absent(caller: Caller) -> None:
    """Check that an administrator who asked for work in the background could still do it, and lock what that depends on
    until the end of the transaction, which has locked the user.

    Raises:
        PermissionDeniedError: a role has been revoked, or the account is disabled or deleted.
    """
    if caller.user_id is None:
        if not await hold_client(caller):
            raise PermissionDeniedError("The role of the client has been revoked.")
        return
    asker = await users.user_by_id(caller.user_id)
    if asker is None or asker.disabled_at is not None:
        raise PermissionDeniedError("The account of the administrator is disabled or deleted.")
    if not caller.roles <= set(await admin_roles.lock_roles(caller.user_id)):
        raise PermissionDeniedError("A role of the administrator has been revoked.")


def api_resource() -> ResourceServer:
    """The admin API as a resource server (RFC 8707): tokens for it name it as their audience."""
    return ResourceServer(
        identifier=f"{settings().issuer}/admin/api",
        name="Administration",
        scope=" ".join(Permission),
        witnessed=False,
    )


def lock_user_first(caller: Caller, user_id: UUID) -> None:
    """Begin each later transaction of the request with locking the caller and a user on whom the caller acts.

    In one order, before the authority of the caller: otherwise two admins who act on each other would deadlock
    (docs/decisions/0050-lookups-and-lock-order.md).
    """
    lock_users_first(caller, [user_id])


def lock_users_first(caller: Caller, user_ids: Collection[UUID]) -> None:
    """As :func:`lock_user_first`, for several users."""
    begin_with(partial(users.lock_users, {*user_ids, *([] if caller.user_id is None else [caller.user_id])}))


def lock_client_first(caller: Caller, client_id: str) -> None:
    """As :func:`lock_user_first`, for a client that acts on another one."""
    if caller.client_id is not None:
        begin_with(partial(clients.lock_clients_without_key, {client_id, caller.client_id}))


async def check_user(caller: Caller, user_id: UUID) -> None:
    """Check that only an owner acts on a user with a role, so that others cannot take over an admin's account.

    The check is repeated in each later transaction of the request, after :func:`lock_user_first`.

    Raises:
        PermissionDeniedError: the user has a role.
    """
    lock_user_first(caller, user_id)
    await _from_now_on(partial(check_target, caller, user_id))


async def check_target(caller: Caller, user_id: UUID) -> None:
    """Check in the current transaction that only an owner acts on a user with a role.

    Raises:
        PermissionDeniedError: the user has a role.
    """
    # Locked already, unless the transaction began before the user was known.
    await users.lock_user(user_id)
    if not caller.over_administrators and await roles_of(user_id):
        _owners_only(caller, "do this to a user who has a role")


async def check_client(caller: Caller, client_id: str) -> None:
    """Check that only an owner acts on a client with access to the admin API.

    The check is repeated in each later transaction of the request, after :func:`lock_client_first`.

    Raises:
        PermissionDeniedError: the client has a role, or scopes of the admin API.
    """
    lock_client_first(caller, client_id)
    await _from_now_on(partial(_lock_client, caller, client_id))


async def _from_now_on(check: Callable[[], Awaitable[None]]) -> None:
    """Add a check of the target to :data:`idp.infra.db.engine.authority`, after the check of the caller."""
    await check()
    before = authority.get()

    async def both() -> None:
        if before is not None:
            await before()
        await check()

    authority.set(both)


async def _lock_client(caller: Caller, client_id: str) -> None:
    # Changes that make an admin of a client take the same lock.
    client = await clients.lock_client_without_key(client_id)
    if client is not None and client.admin_role is not None:
        _owners_only(caller, _OF_CLIENT)
    if client is not None:
        check_scope(caller, client.scopes)


async def check_claims(caller: Caller, client_id: str | None) -> None:
    """Check that only an owner changes the claims of clients with access to the admin API, or of all clients.

    Raises:
        PermissionDeniedError: the client is one of them, or None, and the caller is not an owner.
    """
    if client_id is not None:
        await check_client(caller, client_id)
    else:
        _owners_only(caller, "change the claims of all clients")


def check_impersonation(caller: Caller, mode: str) -> None:
    """Check that only an owner lets a client act under the name of users.

    Raises:
        PermissionDeniedError: the mode is impersonation, and the caller is not an owner.
    """
    if mode == "impersonation":
        _owners_only(caller, "let a client impersonate users")


def check_scope(caller: Caller, scopes: Iterable[str]) -> None:
    """Check that only an owner gives a client scopes of the admin API.

    Raises:
        PermissionDeniedError: the scope contains one, and the caller is not an owner.
    """
    if any(scope.startswith(SCOPE_PREFIX) for scope in scopes):
        _owners_only(caller, _OF_CLIENT)


def _owners_only(caller: Caller, action: str) -> None:
    if not caller.over_administrators:
        scope = f" with the scope {Permission.ADMINS_WRITE}" if caller.owner else ""
        raise PermissionDeniedError(f"Only an owner{scope} may {action}.")
