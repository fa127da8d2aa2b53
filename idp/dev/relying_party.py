"""The protocol side of the demo client. It talks to this server over HTTP, as any client does."""

import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import msgspec
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from idp.dev import seed
from idp.errors import RemoteError
from idp.infra import outbound
from idp.keys import jose
from idp.settings import settings

SCOPE = "openid profile email address phone offline_access"

Claims = dict[str, Any]


class SignInFailedError(RemoteError):
    """The sign-in did not end with valid tokens. The message is for the person who tries the demo."""


class SignIn(msgspec.Struct):
    """A pending sign-in: the values that the response must match."""

    state: str
    nonce: str
    code_verifier: str


class Token(msgspec.Struct):
    """A token to display. ``verified`` is true only if its signature and claims were checked."""

    title: str
    verified: bool
    note: str
    raw: str
    header: str = ""
    claims: str = ""


class SignedIn(msgspec.Struct):
    """The tokens of a finished sign-in, and those that the last refresh replaced."""

    id_token: Token
    access_token: Token
    refresh_token: Token
    id_claims: Claims
    userinfo: str
    replaced: tuple[Token, ...] = ()
    refresh_count: int = 0

    @property
    def tokens(self) -> list[Token]:
        """Return every token to display, new ones first."""
        return [self.id_token, self.access_token, self.refresh_token, *self.replaced]


@contextmanager
def _in_plain_words() -> Iterator[None]:
    """Raise every failure between client and provider as :class:`SignInFailedError`."""
    try:
        yield
    except OAuthError as error:
        raise SignInFailedError(f"The server answered {error.error}: {error.description}") from error
    except jose.InvalidJWTError as error:
        raise SignInFailedError(f"A token is not valid: {error}") from error
    except outbound.CallFailed as error:
        raise SignInFailedError(f"The server does not answer at its issuer address, {settings().issuer}.") from error
    except KeyError as error:
        raise SignInFailedError(f"The server's answer lacks {error.args[0]}.") from error
    except ValueError as error:
        raise SignInFailedError("The server's answer cannot be understood.") from error


def _client() -> AsyncOAuth2Client:
    demo = seed.load(settings().data_dir)
    if demo is None:
        raise SignInFailedError("The secrets of the sample data are lost. Restart the server: it makes new ones.")
    return AsyncOAuth2Client(
        seed.CLIENT_ID,
        demo.client_secret,
        scope=SCOPE,
        redirect_uri=f"{settings().issuer}/demo/callback",
        code_challenge_method="S256",
        transport=outbound.transport(own=(settings().origin,)),
        timeout=outbound.TIMEOUT_SECONDS,
        trust_env=False,
    )


async def _fetch(url: str, access_token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {access_token}"} if access_token else {}
    async with outbound.client(own=(settings().origin,)) as http:
        response = await http.get(url, headers=headers)
        response.raise_for_status()
        return response.json()


async def _metadata() -> dict[str, Any]:
    """Return the provider's metadata (OpenID Connect Discovery section 4)."""
    found: dict[str, Any] = await _fetch(f"{settings().issuer}/.well-known/openid-configuration")
    if found["issuer"] != settings().issuer:
        raise SignInFailedError("The discovery document is another issuer's.")
    return found


async def begin(prompt: str | None) -> tuple[str, SignIn]:
    """Return the authorization URL and the values to remember until the response.

    Raises:
        SignInFailedError: the provider cannot be reached.
    """
    attempt = SignIn(generate_token(32), generate_token(32), generate_token(48))
    extra = {"prompt": prompt} if prompt else {}
    with _in_plain_words():
        found = await _metadata()
        async with _client() as client:
            url, _ = client.create_authorization_url(
                found["authorization_endpoint"],
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.code_verifier,
                **extra,
            )
    return url, attempt


async def complete(attempt: SignIn, parameters: dict[str, str]) -> SignedIn:
    """Check the response against the pending sign-in, redeem the code and verify the tokens."""
    if parameters.get("iss") != settings().issuer:
        raise SignInFailedError("The response is another issuer's (RFC 9207).")
    if "error" in parameters:
        raise SignInFailedError(f"The server answered {parameters['error']}: {parameters.get('error_description', '')}")
    with _in_plain_words():
        found = await _metadata()
        async with _client() as client:
            answer = await client.fetch_token(
                found["token_endpoint"], code=parameters["code"], code_verifier=attempt.code_verifier
            )
        return await _signed_in(found, answer, {"nonce": attempt.nonce})


async def refresh(before: SignedIn) -> SignedIn:
    """Exchange the refresh token for new tokens."""
    with _in_plain_words():
        found = await _metadata()
        async with _client() as client:
            answer = await client.refresh_token(found["token_endpoint"], refresh_token=before.refresh_token.raw)
        # OpenID Connect Core section 12.2: the same subject and the same authentication.
        after = await _signed_in(found, answer, {name: before.id_claims[name] for name in ("sub", "auth_time")})
    after.refresh_count = before.refresh_count + 1
    after.replaced = (
        _renamed(before.access_token, "Previous access token", "Valid until it expires. Compare iat, exp and jti."),
        _renamed(
            before.refresh_token,
            "Previous refresh token",
            "Already used. Sending it again later revokes all.",
        ),
    )
    return after


async def end_session_url(signed_in: SignedIn) -> str:
    """Return the URL that signs the browser out (OpenID Connect RP-Initiated Logout section 2)."""
    parameters = {
        "id_token_hint": signed_in.id_token.raw,
        "post_logout_redirect_uri": f"{settings().issuer}/demo",
    }
    with _in_plain_words():
        return f"{(await _metadata())['end_session_endpoint']}?{urlencode(parameters)}"


async def _signed_in(found: dict[str, Any], answer: dict[str, Any], expected: Claims) -> SignedIn:
    jwks = await _fetch(found["jwks_uri"])
    keys = {jwk["kid"]: jose.from_public_jwk(jwk) for jwk in jwks["keys"]}
    id_token, access_token = answer["id_token"], answer["access_token"]
    id_claims = verify_id_token(id_token, access_token, keys, expected)
    access_claims = verify_access_token(access_token, keys)
    userinfo = await _fetch(found["userinfo_endpoint"], access_token)
    if userinfo["sub"] != id_claims["sub"]:
        raise SignInFailedError("The userinfo response has another subject.")
    return SignedIn(
        _shown("ID token", "Who signed in, for this client only.", id_token, id_claims),
        _shown("Access token", "For APIs, which verify it as this demo does.", access_token, access_claims),
        Token(
            "Refresh token",
            False,
            "Replaced at every use. Only the server reads it.",
            answer["refresh_token"],
        ),
        id_claims,
        _pretty(userinfo),
    )


def verify_id_token(token: str, access_token: str, keys: dict[str, jose.SigningKey], expected: Claims) -> Claims:
    """OpenID Connect Core sections 3.1.3.7 and 3.1.3.8.

    Args:
        expected: required values of claims other than ``iss`` and ``aud``.

    Raises:
        InvalidJWTError: the token is invalid.
    """
    claims = jose.verify(token, keys, typ="JWT")
    jose.check_times(claims)
    if claims.get("iss") != settings().issuer or claims.get("aud") != seed.CLIENT_ID:
        raise jose.InvalidJWTError("The ID token is another issuer's or for another client.")
    if any(claims.get(name) != value for name, value in expected.items()):
        raise jose.InvalidJWTError("The ID token belongs to another sign-in.")
    at_hash = jose.left_half_hash(access_token, _header(token)["alg"])
    if not hmac.compare_digest(str(claims.get("at_hash")).encode(), at_hash.encode()):
        raise jose.InvalidJWTError("The ID token belongs to another access token.")
    return claims


def verify_access_token(token: str, keys: dict[str, jose.SigningKey]) -> Claims:
    """RFC 9068 section 4, as a resource server would.

    Raises:
        InvalidJWTError: the token is invalid.
    """
    claims = jose.verify(token, keys, typ="at+jwt")
    jose.check_times(claims)
    if claims.get("iss") != settings().issuer or settings().issuer not in jose.audience(claims):
        raise jose.InvalidJWTError("The access token is another issuer's or for another audience.")
    return claims


def _header(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))
    return header


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _shown(title: str, note: str, raw: str, claims: Claims) -> Token:
    return Token(title, True, note, raw, _pretty(_header(raw)), _pretty(claims))


def _renamed(token: Token, title: str, note: str) -> Token:
    return msgspec.structs.replace(token, title=title, note=note)
