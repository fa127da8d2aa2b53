"""Validating access tokens of this server: at userinfo, introspection, revocation and the admin API."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.errors import Refused
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth import subjects
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.stored import stored_client
from idp.oauth.diagnosis import refused_access_token
from idp.oauth.exchange import actors
from idp.oauth.repository import live_tokens
from idp.oauth.repository.live_tokens import TokenOfUser, TokenUser
from idp.oauth.token.access_token import family_of, lineage
from idp.oauth.token_types import is_access_token
from idp.reasons import Reason
from idp.settings import settings


class LiveAccessToken(msgspec.Struct, frozen=True):
    """A valid access token.

    Attributes:
        claims: the claims of the token.
        client: the client that it was issued to.
        named: the ids in the claims; None for a token of the client_credentials grant.
        directory_version: the version of the groups and roles of the user.
        organization_id: the organization that the user signed in for.
        user: the user, if requested.
    """

    claims: Mapping[str, Any]
    client: Client
    named: TokenOfUser | None = None
    directory_version: int | None = None
    organization_id: UUID | None = None
    user: TokenUser | None = None

    @property
    def audience(self) -> Sequence[str]:
        """The ``aud``."""
        return jose.audience(self.claims)

    @property
    def resource(self) -> tuple[str, ...]:
        """The resource servers that it is for."""
        return tuple(name for name in self.audience if name != settings().issuer)

    @property
    def user_id(self) -> UUID | None:
        """The user; None for a token of the client_credentials grant."""
        return self.named.user_id if self.named is not None else None


@lru_cache(maxsize=1024)
def _verified(token: str, _kids: str) -> Mapping[str, Any]:
    """Return the claims of a token that this server signed.

    They are cached, because a service sends the same token with each of its requests. Errors are not cached.

    Args:
        _kids: the current keys, as part of the cache key: any change of the keys empties the cache.

    Raises:
        jose.InvalidJWTError: no key of this server signed it.
    """
    keys = key_set.verification()
    try:
        return jose.verify(token, keys, typ="at+jwt")
    except jose.InvalidJWTError:
        # A resource server may be registered for the type JWT. ID tokens have it too, but no client_id.
        claims = jose.verify(token, keys, typ="JWT")
        if not is_access_token(claims):
            raise
        return claims


@lru_cache(maxsize=1024)
def _token_of_user(sub: str, jti: str, sector: str | None) -> TokenOfUser | Refused | None:
    """Return the ids in the claims of a token; None for the client_credentials grant. Cached like the claims.

    Args:
        sector: that of the client now. A token with the subject of another one is refused.
    """
    family_id = family_of(jti)
    if family_id is None:
        return None
    user_id = subjects.user_of(sector, sub)
    if user_id is None:
        return Refused(Reason.UNKNOWN, family_id=family_id)
    return TokenOfUser(user_id, family_id, " ".join(lineage(jti)))


def read(token: str) -> Mapping[str, Any] | Refused:
    """Return the claims of an access token of this server that has not expired, revoked or not."""
    try:
        claims = _verified(token, key_set.kids())
    except jose.InvalidJWTError as error:
        return Refused(error.reason)
    try:
        jose.check_times(claims)
    except jose.InvalidJWTError as error:
        return Refused(error.reason, family_id=family_of(str(claims.get("jti", ""))))
    return claims if claims.get("iss") == settings().issuer else Refused(Reason.WRONG_ISSUER)


class ReadAccessToken(NamedTuple):
    """An access token that is valid but for its family, its user and its revocation, with its client.

    ``named`` are the ids in its claims; None for a token of the client_credentials grant.
    """

    claims: Mapping[str, Any]
    client: Client
    named: TokenOfUser | None


async def identify(token: str) -> ReadAccessToken | Refused:
    """Return the token if its client, and every client and user that acts in it, is enabled, and it was not issued
    before the not-before time of one of these clients; otherwise the reason.
    """
    claims = read(token)
    if isinstance(claims, Refused):
        return claims
    found = [await stored_client(client_id) for client_id in (claims["client_id"], *actors.clients(claims))]
    clients = [client for client in found if client is not None]
    if len(clients) < len(found):
        return Refused(Reason.CLIENT_DISABLED, family_id=family_of(claims["jti"]))
    client = clients[0]
    named = _token_of_user(claims["sub"], claims["jti"], client.sector)
    if isinstance(named, Refused):
        return named
    family_id = named.family_id if named is not None else None
    # ``iat`` is in whole seconds: all tokens of the second of not-before are refused.
    if claims["iat"] < max(map(registry.not_before, clients)).timestamp():
        return Refused(Reason.ISSUED_TOO_EARLY, family_id=family_id)
    # Few tokens have users as actors. They belong to other shards than the user of the token, so each is asked for.
    for user_id in actors.users(claims, client.sector):
        if user_id is None or not await live_tokens.is_enabled(user_id):
            return Refused(Reason.USER_DISABLED, user_id, family_id)
    return ReadAccessToken(claims, client, named)


async def validate(token: str, *, with_user: bool = False) -> LiveAccessToken | Refused:
    """Return the token if :func:`identify` does, neither it nor its family is revoked, and its user is enabled;
    otherwise the reason.

    Args:
        with_user: load the columns of the user too.
    """
    found = await identify(token)
    if isinstance(found, Refused):
        return found
    claims, client, named = found
    if named is None:
        revoked = await live_tokens.is_access_token_revoked(claims["jti"])
        return Refused(Reason.REVOKED_BY_CLIENT) if revoked else LiveAccessToken(claims, client)
    user = await live_tokens.user_of_live_access_token(named) if with_user else None
    live = user if with_user else await live_tokens.state_if_live(named)
    if live is None:
        return await refused_access_token(named, registry.not_before(client))
    return LiveAccessToken(claims, client, named, live.directory_version, live.organization_id, user)


async def lock(live: LiveAccessToken) -> bool:
    """Return whether a validated token is still valid.

    If so, that of a user stays valid until the end of the transaction. There is no row to lock for that of a client
    itself: it can be revoked meanwhile.
    """
    if live.named is None:
        return not await live_tokens.is_access_token_revoked(live.claims["jti"])
    return await live_tokens.lock_live_access_token(live.named)
