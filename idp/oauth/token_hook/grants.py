"""Asking the hook before a grant is consumed, so that a refusal consumes nothing.

What the client presents is consumed twice: first in a transaction that is rolled back, which tells what the tokens
would say, and again after the hook has answered. So the hook is asked only about what would succeed, without a second
copy of the conditions, and what changed meanwhile still decides.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from msgspec import UnsetType

from idp.errors import Refused
from idp.infra.db.engine import transaction
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.token.grant import Grant, within_registration
from idp.oauth.token_hook.models import NOTHING, Added
from idp.oauth.token_hook.service import Question, TokenHookFailedError, added, hook_for
from idp.reasons import Reason

#: A grant and its refresh token.
Consumed = tuple[Grant, str | UnsetType]


class Permitted(NamedTuple):
    """A consumed grant.

    Attributes:
        added: the claims about the user that the hook adds to its tokens, by place.
    """

    grant: Grant
    refresh_token: str | UnsetType
    added: Added


Consume = Callable[[], Awaitable[Consumed | None]]
_TOKENS = (Place.ACCESS_TOKEN, Place.ID_TOKEN)


class _RollBack(Exception):  # noqa: N818 -- it is no error
    pass


async def consume(
    client: Client,
    use: Consume,
    at: str,
    *,
    scope: Sequence[str] = (),
    resource: Sequence[str] = (),
    refused: str = "invalid_grant",
) -> Permitted | None:
    """Consume what a client presents, after its hook has answered.

    The grant that is returned is within the present registration of the client.

    Args:
        use: consumes it, and returns None or raises if it is refused. Called twice if there is a hook.
        at: the grant type.
        scope: the narrower scope of a request; empty: the granted scope.
        resource: the resource servers of the request; empty: those granted.
        refused: the code of the error if the hook denies.

    Raises:
        AccessDeniedError: the hook denies the tokens.
        TokenHookFailedError: it gave no answer, and must; or the grant has changed meanwhile.
    """
    if hook_for(client, _TOKENS) is None:
        used = await use()
        return _permitted(client, used, NOTHING) if used is not None else None
    expected = await _rehearse(use)
    if expected is None:
        return None
    told = within_registration(expected[0], client)
    found = await ask(client, told, at, scope=scope, resource=resource, refused=refused)
    async with transaction():
        used = await use()
        if used is None:
            return None
        grant, _ = used
        if _facts(grant) != _facts(expected[0]):
            raise TokenHookFailedError(Refused(Reason.CHANGED_MEANWHILE, grant.user_id))
    return _permitted(client, used, found)


def _permitted(client: Client, used: Consumed, found: Added) -> Permitted:
    grant, token = used
    return Permitted(within_registration(grant, client), token, found)


async def _rehearse(use: Consume) -> Consumed | None:
    """Return what would be consumed. Nothing is."""
    found: Consumed | None = None
    try:
        async with transaction():
            found = await use()
            raise _RollBack
    except _RollBack:
        return found


def _facts(grant: Grant) -> tuple[Any, ...]:
    """Return what the hook was told."""
    return grant.user_id, set(grant.scope.split()), set(grant.resource), grant.organization_id


async def ask(
    client: Client,
    grant: Grant,
    at: str,
    *,
    scope: Sequence[str] = (),
    resource: Sequence[str] = (),
    places: tuple[Place, ...] = _TOKENS,
    refused: str = "invalid_grant",
) -> Added:
    """Return the claims that the hook adds to the tokens of a grant.

    Raises:
        AccessDeniedError: the hook denies the tokens.
        TokenHookFailedError: it gave no answer, and must.
    """
    scopes = list(scope) or grant.scope.split()
    if "openid" not in scopes:
        places = tuple(place for place in places if place is not Place.ID_TOKEN)
    return await added(
        Question(
            client=client,
            user=ClaimUser(grant.user_id, grant.directory_version, organization_id=grant.organization_id),
            at=at,
            places=places,
            scopes=scopes,
            resource=resource or grant.resource,
            authentication=grant.authentication_claims,
            refused=refused,
        )
    )
