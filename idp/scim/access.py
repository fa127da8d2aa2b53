"""Who calls: the bearer of a SCIM token, or a client with an access token for SCIM.

Neither ever changes a user who has a role of an administrator: whoever has the token could take over that account.
"""

from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request

from idp import ids
from idp.accounts.repository import admin_roles
from idp.accounts.repository.users import lock_user
from idp.errors import InsufficientScopeError, InvalidTokenError, MissingTokenError, Refused
from idp.infra import request_context
from idp.infra.db.engine import authority
from idp.infra.rate_limits import Rate, spend
from idp.keys import jose
from idp.oauth import access_tokens, protected
from idp.oauth.access_tokens import LiveAccessToken
from idp.oauth.clients.models import ResourceServer
from idp.oauth.protected import PresentedToken
from idp.reasons import Reason
from idp.scim.errors import NotAllowedError, UnknownResourceError
from idp.scim.repository import tokens as repository
from idp.scim.tokens import ORIGINS, origin_of
from idp.settings import settings

AnyRequest = Request[Any, Any, Any]

PATH: Final = "/scim/v2"
#: The name in audit events.
ENDPOINT: Final = "scim"
#: The scopes of access tokens. Only an owner lets a client request them, as all that begin with ``admin:``.
READ, WRITE = "admin:scim:read", "admin:scim:write"
#: Requests of one SCIM client. Entra ID wants 25 a second.
REQUESTS: Final = Rate("SCIM requests of a client", burst=1000, interval=0.01)


class Caller(msgspec.Struct, frozen=True):
    """A SCIM client.

    Attributes:
        origin: what it adds has this origin, and its ``externalId``s are its own.
        writes: whether it may change what it reads.
        organization_id: it manages the members and roles of this organization; None: users and groups of the server.
    """

    origin: str
    writes: bool
    organization_id: UUID | None = None

    def require_write(self) -> None:
        """
        Raises:
            NotAllowedError: it may only read.
        """
        if not self.writes:
            raise NotAllowedError("This token may only read.")


def is_on() -> bool:
    return settings().scim


def resource() -> ResourceServer:
    """SCIM as a resource server (RFC 8707): clients get tokens for it by the client_credentials grant."""
    return ResourceServer(
        identifier=f"{settings().issuer}{PATH}", name="SCIM", scope=f"{READ} {WRITE}", witnessed=False
    )


async def authenticate(request: AnyRequest) -> Caller:
    """Return the caller. Changes of this request are made only while the token is valid.

    Raises:
        BearerError: there is no token, or it is not valid, or lacks the scope.
        TooManyRequestsError: the client has made too many requests.
    """
    presented = protected.in_header(request)
    if presented is None:
        raise MissingTokenError
    caller = await _bearer(presented.token) if _is_scim_token(presented) else await _client(request)
    request_context.actor.set(caller.origin)
    await count(caller)
    return caller


async def has_token(request: AnyRequest) -> bool:
    """Return whether a request has a token for SCIM. It is checked again after the body was read."""
    presented = protected.in_header(request)
    if presented is None or not is_on():
        return False
    if _is_scim_token(presented):
        return await repository.find_token(ids.digest(presented.token)) is not None
    claims = access_tokens.read(presented.token)
    return not isinstance(claims, Refused) and resource().identifier in jose.audience(claims)


async def count(caller: Caller) -> None:
    """Count a request, or an operation of a bulk request.

    Raises:
        TooManyRequestsError: the client has made too many.
    """
    await spend((REQUESTS, caller.origin))


def _is_scim_token(presented: PresentedToken) -> bool:
    """Return whether it is no access token, which is a JWT."""
    return presented.scheme == "bearer" and "." not in presented.token


async def _bearer(token: str) -> Caller:
    hashed = ids.digest(token)
    found = await repository.find_token(hashed)
    if found is None:
        raise protected.refuse(InvalidTokenError(refused=Refused(Reason.UNKNOWN)), None, ENDPOINT)
    if found.unmarked:
        await repository.mark_use(found.id)
    authority.set(partial(_hold_token, hashed, found.id))
    return Caller(origin_of(found.id), found.writes, found.organization_id)


async def _hold_token(token_hash: bytes, id: UUID) -> None:
    if not await repository.hold_token(token_hash, id):
        raise InvalidTokenError


async def _client(request: AnyRequest) -> Caller:
    """Return the client whose own access token the request has."""
    live = await protected.authenticate(request, protected.in_header(request), endpoint=ENDPOINT)
    protected.require_audience(live, resource().identifier, ENDPOINT)
    protected.require_own(live, ENDPOINT)
    scope = live.claims["scope"].split()
    if READ not in scope and WRITE not in scope:
        raise InsufficientScopeError(READ)
    authority.set(partial(_hold_access_token, live))
    return Caller(f"{ORIGINS}{live.claims['client_id']}", WRITE in scope)


async def _hold_access_token(live: LiveAccessToken) -> None:
    if not await access_tokens.lock(live):
        raise InvalidTokenError


async def lock_target(user_id: UUID) -> None:
    """Lock a user whom the current transaction changes.

    Raises:
        UnknownResourceError: there is no such user.
        NotAllowedError: the user has a role of an administrator.
    """
    if not await lock_user(user_id):
        raise UnknownResourceError
    if await admin_roles.roles_of_user(user_id):
        raise NotAllowedError("This user is an administrator. Only administrators may change such users.")
