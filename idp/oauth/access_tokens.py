"""Judging access tokens of ours that come back: at userinfo, introspection and revocation."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from idp.errors import Refused
from idp.infra.db.engine import fetchrow
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.clients.registry import registry
from idp.oauth.diagnosis import refused_access_token
from idp.oauth.statements import CLAIMS_OF_LIVE_ACCESS_TOKEN, HOLD_ACCESS_TOKEN, IS_REVOKED, LIVE_ACCESS_TOKEN
from idp.oauth.token.issuer import family_of
from idp.oauth.token_types import is_access_token
from idp.reasons import Reason
from idp.settings import settings


class LiveAccessToken(msgspec.Struct, frozen=True):
    """An access token that counts.

    Attributes:
        claims: what the token itself says.
        row: of its user the ``id``, and where asked for everything, with the ``claims`` that its family was asked for;
            None for a client's own token.
    """

    claims: Mapping[str, Any]
    row: Mapping[str, Any] | None


@lru_cache(maxsize=1024)
def _verified(token: str, _kids: str) -> Mapping[str, Any]:
    """The claims of a token that we signed.

    Remembered, because a service asks about the same token at each of its requests. What does not verify is not.

    Args:
        _kids: the keys of now. When one comes or goes, nothing of what was remembered counts.

    Raises:
        jose.InvalidJWTError: no key of ours signed it.
    """
    keys = key_set.verification()
    try:
        return jose.verify(token, keys, typ="at+jwt")
    except jose.InvalidJWTError:
        # A resource server may be registered for tokens of the general type. An ID token has it too, and no client_id.
        claims = jose.verify(token, keys, typ="JWT")
        if not is_access_token(claims):
            raise
        return claims


def read(token: str) -> Mapping[str, Any] | Refused:
    """The claims of an access token that we signed and that has not expired, revoked or not."""
    try:
        claims = _verified(token, key_set.kids())
    except jose.InvalidJWTError as error:
        return Refused(error.reason)
    try:
        jose.check_times(claims)
    except jose.InvalidJWTError as error:
        return Refused(error.reason, family_id=family_of(str(claims.get("jti", ""))))
    return claims if claims.get("iss") == settings().issuer else Refused(Reason.WRONG_ISSUER)


async def validate(token: str, *, with_user: bool = False) -> LiveAccessToken | Refused:
    """The token if it still counts: neither it nor its family is revoked, its user and client are not disabled, and it
    was not issued before what counts at all. Otherwise why it does not.

    Args:
        with_user: whether all is wanted that is known of its user.
    """
    claims = read(token)
    if isinstance(claims, Refused):
        return claims
    jti, client = claims["jti"], registry.client(claims["client_id"])
    family_id = family_of(jti)
    if client is None:
        return Refused(Reason.CLIENT_DISABLED, family_id=family_id)
    # To the second, in which tokens tell their time: of those of the same second, none counts.
    if claims["iat"] < registry.not_before(client).timestamp():
        return Refused(Reason.ISSUED_TOO_EARLY, family_id=family_id)
    if family_id is None:
        revoked = await IS_REVOKED.fetchrow(jti=jti) is not None
        return Refused(Reason.REVOKED_BY_CLIENT) if revoked else LiveAccessToken(claims, None)
    statement = CLAIMS_OF_LIVE_ACCESS_TOKEN if with_user else LIVE_ACCESS_TOKEN
    row = await statement.fetchrow(family_id=family_id, jti=jti)
    if row is None:
        return await refused_access_token(family_id, jti, registry.not_before(client))
    return LiveAccessToken(claims, row)


async def hold(live: LiveAccessToken) -> bool:
    """Whether a token that was judged still counts; if so, for the rest of the transaction."""
    jti = live.claims["jti"]
    family_id = family_of(jti)
    if family_id is None:
        return await IS_REVOKED.fetchrow(jti=jti) is None
    return await fetchrow(HOLD_ACCESS_TOKEN, family_id, jti) is not None
