"""Issuing authorization codes (RFC 6749 section 4.1.2)."""

import msgspec

from idp import ids
from idp.errors import OAuthError
from idp.infra.db.engine import execute
from idp.oauth.authorize import acr
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.registry import Client
from idp.settings import settings
from idp.signin import sessions
from idp.signin.sessions import SignedIn

_INSERT = """
    INSERT INTO authorization_code (code_hash, family_id, client_id, user_id, session_id, redirect_uri, code_challenge,
                                    nonce, scope, resource, claims, offline_access, auth_time, auth_age, amr, acr,
                                    created_at, expires_at)
    SELECT $1, $2, $3, s.user_id, s.id, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
           now(), now() + make_interval(secs => $17)
    FROM users AS u, session AS s
    WHERE u.id = $4 AND u.disabled_at IS NULL
      AND s.id = $5 AND s.user_id = u.id AND s.ended_at IS NULL AND s.expires_at > now()
    FOR SHARE OF s
"""


async def issue_code(asked: AuthorizationRequest, client: Client, session: SignedIn) -> str:
    """Make a code for what was asked, in the name of who is signed in. Only its hash is stored.

    Whatever way led here, the level that the client or the request requires is looked at once more.

    Raises:
        OAuthError: the sign-in does not reach it.
        PageError: the session ended meanwhile.
    """
    if not acr.reaches(session.acr, acr.wanted(asked, client).essential):
        raise OAuthError("unmet_authentication_requirements", "The user must show a further factor.")
    code = ids.random_token()
    claims = msgspec.json.encode(asked.claims).decode() if asked.claims.userinfo or asked.claims.id_token else None
    made = await execute(
        _INSERT,
        ids.digest(code),
        ids.uuid7(),
        asked.client_id,
        session.user_id,
        session.id,
        asked.redirect_uri,
        asked.code_challenge,
        asked.nonce,
        " ".join(asked.scope),
        asked.resource,
        claims,
        "offline_access" in asked.scope,
        session.auth_time,
        session.auth_age,
        session.amr,
        session.acr,
        settings().authorization_code_lifetime,
    )
    if not made:
        raise sessions.ended()
    return code
