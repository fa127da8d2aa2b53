"""ID tokens (OpenID Connect Core section 2)."""

from typing import NamedTuple

from idp import clock
from idp.keys import jose
from idp.oauth import client_jwts, subjects
from idp.oauth.authorize.request import ClaimsRequest
from idp.oauth.claims.evaluation import Asked
from idp.oauth.claims.evaluation import claims as claims_about
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.token.access_token import family_jti
from idp.oauth.token.grant import Grant
from idp.oauth.token_hook.models import Added
from idp.settings import settings


class Beside(NamedTuple):
    """The values that are returned with an ID token. Its hashes show that they belong together."""

    access_token: str | None = None
    code: str | None = None
    state: str | None = None

    @property
    def opens_userinfo(self) -> bool:
        """Whether the client can get claims from userinfo."""
        return self.access_token is not None or self.code is not None

    def hashes(self, alg: str) -> dict[str, str]:
        """Return the hashes for an ID token with this algorithm (OpenID Connect Core section 3.3.2.11, FAPI 1.0)."""
        values = {"at_hash": self.access_token, "c_hash": self.code, "s_hash": self.state}
        return {name: jose.left_half_hash(value, alg) for name, value in values.items() if value is not None}


async def id_token(client: Client, grant: Grant, scope: str, beside: Beside, added: Added) -> str:
    """Return an ID token.

    It has the claims of the scopes ``groups`` and ``roles``. Those of the others it has for a client with
    ``scope_claims_in_id_token``, and for one that cannot get them from userinfo (OpenID Connect Core section 5.4).

    Args:
        added: the claims about the user that a token hook adds, by place.

    Raises:
        OAuthError: the client registered encryption, and has no key for it that can be used.
    """
    now = clock.timestamp()
    claims = {
        "iss": settings().issuer,
        "sub": subjects.subject(client, grant.user_id),
        "aud": client.client_id,
        "iat": now,
        "exp": now + settings().id_token_lifetime,
        **beside.hashes(client_jwts.signing_alg(client, "id_token")),
        "jti": family_jti(grant.family_id),
        **grant.authentication_claims,
    }
    if grant.session_id is not None:
        claims["sid"] = subjects.sid(client, grant.session_id)
    if grant.nonce is not None:
        claims["nonce"] = grant.nonce
    asked = Asked(
        place=Place.ID_TOKEN,
        client=client,
        scopes=scope.split(),
        resource=grant.resource,
        requested=ClaimsRequest.from_json(grant.claims).id_token,
        profile=client.scope_claims_in_id_token or not beside.opens_userinfo,
        reaches_userinfo=beside.opens_userinfo,
    )
    user = ClaimUser(grant.user_id, grant.directory_version, organization_id=grant.organization_id, added=added)
    claims = await claims_about(asked, user) | claims
    return await client_jwts.make(client, "id_token", "JWT", claims)
