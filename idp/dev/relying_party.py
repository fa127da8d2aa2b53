"""The protocol side of the demo client: what any client of this server does, over HTTP like any other."""

import hmac
import json
from base64 import urlsafe_b64decode
from typing import Any

import msgspec
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from idp.dev import seed
from idp.keys import jose
from idp.settings import settings
from idp.web import outbound

SCOPE = "openid profile email address phone offline_access"


class SignInFailed(Exception):
    """The sign-in did not end with tokens that hold. The message is for the person who tries the demo."""


class SignIn(msgspec.Struct):
    """A sign-in under way: what must come back."""

    state: str
    nonce: str
    code_verifier: str


class Token(msgspec.Struct):
    """A token to show. ``verified`` is said only of one whose signature and claims were checked."""

    title: str
    verified: bool
    note: str
    raw: str
    header: str = ""
    claims: str = ""


class SignedIn(msgspec.Struct):
    """What a finished sign-in gave."""

    access_token: str
    id_token: str
    refresh_token: str
    tokens: list[Token]
    userinfo: str
    refresh_count: int = 0


def _client() -> AsyncOAuth2Client:
    demo = seed.load(settings().data_dir)
    if demo is None:
        raise SignInFailed("The secrets of the sample data are lost. Restart the server: it makes new ones.")
    return AsyncOAuth2Client(
        seed.CLIENT_ID,
        demo.client_secret,
        scope=SCOPE,
        redirect_uri=f"{settings().issuer}/demo/callback",
        code_challenge_method="S256",
        transport=outbound.transport(),
        timeout=outbound.TIMEOUT_SECONDS,
        trust_env=False,
    )


async def _fetch(url: str) -> dict[str, Any]:
    async with outbound.client() as http:
        response = await http.get(url)
        response.raise_for_status()
        document: dict[str, Any] = response.json()
        return document


async def metadata() -> dict[str, Any]:
    """The provider's metadata (OpenID Connect Discovery section 4)."""
    found = await _fetch(f"{settings().issuer}/.well-known/openid-configuration")
    if found["issuer"] != settings().issuer:
        raise SignInFailed("The discovery document is another issuer's.")
    return found


async def begin(prompt: str | None) -> tuple[str, SignIn]:
    """The address to send the browser to, and what to remember meanwhile."""
    attempt = SignIn(generate_token(32), generate_token(32), generate_token(48))
    extra = {"prompt": prompt} if prompt else {}
    async with _client() as client:
        url, _ = client.create_authorization_url(
            (await metadata())["authorization_endpoint"],
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.code_verifier,
            **extra,
        )
    return url, attempt


async def complete(attempt: SignIn, parameters: dict[str, str]) -> SignedIn:
    """Check the response, redeem the code, verify what comes.

    Raises:
        SignInFailed: in plain words.
    """
    if not hmac.compare_digest(parameters.get("state", "").encode(), attempt.state.encode()):
        raise SignInFailed("The response belongs to another sign-in: its state is not the one that was sent.")
    if parameters.get("iss") != settings().issuer:
        raise SignInFailed("The response is another issuer's (RFC 9207).")
    if "error" in parameters:
        raise SignInFailed(f"The server answered {parameters['error']}: {parameters.get('error_description', '')}")
    found = await metadata()
    try:
        async with _client() as client:
            answer = await client.fetch_token(
                found["token_endpoint"], code=parameters.get("code", ""), code_verifier=attempt.code_verifier
            )
    except OAuthError as error:
        raise SignInFailed(f"The code was refused: {error.description}") from error
    return await _signed_in(found, answer, nonce=attempt.nonce)


async def refresh(before: SignedIn) -> SignedIn:
    """Exchange the refresh token for new tokens.

    Raises:
        SignInFailed: the server refused.
    """
    found = await metadata()
    try:
        async with _client() as client:
            answer = await client.refresh_token(found["token_endpoint"], refresh_token=before.refresh_token)
    except OAuthError as error:
        raise SignInFailed(f"Refreshing was refused: {error.description} Sign in again.") from error
    after = await _signed_in(found, answer, nonce=None)
    after.refresh_count = before.refresh_count + 1
    return after


async def _signed_in(found: dict[str, Any], answer: dict[str, Any], nonce: str | None) -> SignedIn:
    jwks = await _fetch(found["jwks_uri"])
    keys = {jwk["kid"]: jose.from_public_jwk(jwk) for jwk in jwks["keys"]}
    try:
        id_claims = _verified_id_token(answer, keys, nonce)
        access_claims = _verified_access_token(answer["access_token"], keys)
    except jose.InvalidJWT as error:
        raise SignInFailed(f"A token does not hold: {error}") from error
    return SignedIn(
        answer["access_token"],
        answer["id_token"],
        answer["refresh_token"],
        [
            _shown("ID token", answer["id_token"], id_claims, "Who signed in, for this client alone."),
            _shown("Access token", answer["access_token"], access_claims, "For APIs, which verify it as is done here."),
            Token("Refresh token", False, "For the server alone, replaced at every use.", answer["refresh_token"]),
        ],
        await _userinfo(found["userinfo_endpoint"], answer["access_token"], id_claims["sub"]),
    )


def _verified_id_token(answer: dict[str, Any], keys: dict[str, jose.SigningKey], nonce: str | None) -> dict[str, Any]:
    """OpenID Connect Core sections 3.1.3.7 and 3.1.3.8."""
    claims = jose.verify(answer["id_token"], keys, typ="JWT")
    jose.check_times(claims)
    alg = _header(answer["id_token"])["alg"]
    if claims["iss"] != settings().issuer or claims["aud"] != seed.CLIENT_ID:
        raise jose.InvalidJWT("The ID token is another issuer's or for another client.")
    if nonce is not None and claims.get("nonce") != nonce:
        raise jose.InvalidJWT("The ID token belongs to another sign-in.")
    if not hmac.compare_digest(claims["at_hash"], jose.left_half_hash(answer["access_token"], alg)):
        raise jose.InvalidJWT("The ID token belongs to another access token.")
    return claims


def _verified_access_token(token: str, keys: dict[str, jose.SigningKey]) -> dict[str, Any]:
    """RFC 9068 section 4, as a resource server would."""
    claims = jose.verify(token, keys, typ="at+jwt")
    jose.check_times(claims)
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims["iss"] != settings().issuer or settings().issuer not in audience:
        raise jose.InvalidJWT("The access token is another issuer's or for another audience.")
    return claims


async def _userinfo(url: str, access_token: str, subject: str) -> str:
    async with outbound.client() as http:
        response = await http.get(url, headers={"Authorization": f"Bearer {access_token}"})
    claims = response.json()
    if claims.get("sub") != subject:
        raise SignInFailed("Userinfo speaks of somebody else.")
    return _pretty(claims)


def _header(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))
    return header


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _shown(title: str, raw: str, claims: dict[str, Any], note: str) -> Token:
    return Token(title, True, note, raw, _pretty(_header(raw)), _pretty(claims))
