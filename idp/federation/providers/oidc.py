"""Any OpenID provider, by its issuer (OpenID Connect Core section 3.1)."""

import asyncio
import hmac
import re
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode, urlsplit

import structlog
from authlib.common.errors import AuthlibBaseError

from idp import clock
from idp.federation import claims as mapping
from idp.federation import metadata as published
from idp.federation.errors import (
    AccessDeniedError,
    InvalidUpstreamError,
    NotInAllowedOrganizationError,
    SignInCancelledError,
    UntrustedResponseError,
    UpstreamUnavailableError,
)
from idp.federation.models import AuthorizationRequest, Upstream, UserInfo
from idp.federation.providers.base import LEEWAY, SECONDS, oauth_client
from idp.infra import outbound
from idp.keys import jose
from idp.keys.algorithms import VERIFICATION_ALGORITHMS

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

log = structlog.get_logger()

#: Options by which the operator says what a provider does not do.
SWITCHES = ("reauthenticates", "nonce", "pkce")
MAX_SUBJECT_LENGTH = 255
#: Of a provider whose metadata does not say what it signs with, though it must (OpenID Connect Discovery section 3).
USUAL_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
_ERROR_CODE = re.compile(r"[a-z_]{1,60}")


class OpenIDProvider:
    """The ways of every OpenID provider. Kinds with quirks override what they do otherwise."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"scope": "openid profile email"}
    OPTIONS: ClassVar[dict[str, str]] = {
        "metadata_url": "Address of its metadata, where it is not below the issuer",
        "reauthenticates": "Signs people in anew when asked to, and says when (no: it does not)",
        "nonce": "Puts the nonce into its ID tokens (no: it does not)",
        "pkce": "Knows PKCE (no: it does not)",
    }
    #: Whether it signs people in anew when it is asked to, and says when it did.
    reauthenticates: ClassVar[bool] = True

    # What a kind may have of its own

    def check(self, upstream: Upstream) -> None:
        if any(upstream.options.get(name, "no") != "no" for name in SWITCHES):
            raise InvalidUpstreamError(f"The only value of the options {', '.join(SWITCHES)} is no.")
        if upstream.lacks("nonce") and upstream.lacks("pkce"):
            raise InvalidUpstreamError(
                "One of PKCE and nonce is needed: without both a stolen code is as good as one's own."
            )
        if not published.is_url(upstream.options.get("metadata_url", upstream.issuer)):
            raise InvalidUpstreamError("The option metadata_url must be a URL.")
        parts = urlsplit(upstream.issuer)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidUpstreamError("The issuer must be a URL without query and fragment.")
        if "openid" not in upstream.scope.split():
            raise InvalidUpstreamError("The scope must have openid in it.")

    def published_issuer(self, upstream: Upstream) -> str:
        """What its metadata calls the issuer."""
        return upstream.issuer

    def expected_issuer(self, upstream: Upstream, token: dict[str, Any]) -> str:
        """The ``iss`` that an ID token must have."""
        return upstream.issuer

    def client_secret(self, upstream: Upstream) -> str | None:
        """What proves that we are the client."""
        return upstream.client_secret

    def authorization_parameters(self, upstream: Upstream, trip: AuthorizationRequest) -> dict[str, str]:
        """What the authorization request asks for besides what every one does."""
        asked = {"login_hint": trip.login_hint, "acr_values": trip.acr or ""}
        if trip.max_age is not None:
            asked["max_age"] = str(trip.max_age)
        if (trip.choose or trip.max_age == 0) and not upstream.lacks("reauthenticates"):
            asked["prompt"] = "login"
        return {name: value for name, value in asked.items() if value}

    def sent_along(self, parameters: dict[str, str]) -> dict[str, Any]:
        """What the callback itself tells of the person. It is not signed."""
        return {}

    def vouches_for_email(self, upstream: Upstream, told: dict[str, Any]) -> bool:
        """Whether it has made sure that the person reads the address, and the operator trusts it in that."""
        # Some write it as a string.
        return upstream.trust_email and told.get("email_verified") in (True, "true")

    def is_member(self, upstream: Upstream, told: dict[str, Any]) -> bool:
        """Whether the person is of those whom the operator lets in."""
        return all(mapping.values(told, name) & set(values) for name, values in upstream.required_claims.items())

    # The protocol

    async def _metadata(self, upstream: Upstream) -> dict[str, Any]:
        where = upstream.options.get("metadata_url")
        return await published.metadata(upstream.issuer, self.published_issuer(upstream), where)

    async def authorization_url(self, upstream: Upstream, trip: AuthorizationRequest) -> str:
        found = await self._metadata(upstream)
        bound = {} if upstream.lacks("nonce") else {"nonce": trip.nonce}
        bound |= {} if upstream.lacks("pkce") else {"code_verifier": trip.code_verifier}
        async with self._client(upstream, found) as client:
            url, _ = client.create_authorization_url(
                found["authorization_endpoint"],
                state=trip.state,
                **bound,
                **self.authorization_parameters(upstream, trip),
            )
        return str(url)

    async def identify(self, upstream: Upstream, trip: AuthorizationRequest, parameters: dict[str, str]) -> UserInfo:
        try:
            async with asyncio.timeout(SECONDS):
                return await self._identify(upstream, trip, parameters)
        except TimeoutError as error:
            raise UpstreamUnavailableError("The provider takes too long.") from error

    async def _identify(self, upstream: Upstream, trip: AuthorizationRequest, parameters: dict[str, str]) -> UserInfo:
        found = await self._metadata(upstream)
        self._check_answer(found, parameters)
        tokens = await self._redeem(upstream, found, trip, parameters["code"])
        token = await self._id_token(upstream, found, trip, tokens)
        told = self.sent_along(parameters) | await self._userinfo(upstream, found, tokens, token) | token
        if not self.is_member(upstream, told):
            raise NotInAllowedOrganizationError("The person is not of those who may sign in.")
        email = mapping.email_of(upstream, told)
        return UserInfo(
            token["iss"],
            token["sub"],
            email,
            mapping.tells_email(upstream, told) and self.vouches_for_email(upstream, told),
            mapping.claims_of(upstream, told),
            upstream.mfa_acr is not None and token.get("acr") == upstream.mfa_acr,
            tokens,
            _auth_time(token),
        )

    @staticmethod
    def _check_answer(found: dict[str, Any], parameters: dict[str, str]) -> None:
        """RFC 6749 section 4.1.2.1, RFC 9207 section 2.4."""
        issuer = parameters.get("iss")
        if issuer is None and found.get("authorization_response_iss_parameter_supported") is True:
            raise UntrustedResponseError("The answer does not say whose it is.")
        if issuer is not None and issuer != found["issuer"]:
            raise UntrustedResponseError("The answer is another issuer's.")
        error = parameters.get("error")
        if error in ("access_denied", "user_cancelled_authorize", "login_required", "interaction_required"):
            raise SignInCancelledError("The person did not go on.")
        if error is not None or "code" not in parameters:
            raise AccessDeniedError("The provider sent an error.")

    async def _redeem(
        self, upstream: Upstream, found: dict[str, Any], trip: AuthorizationRequest, code: str
    ) -> dict[str, Any]:
        try:
            async with self._client(upstream, found) as client:
                verifier = {} if upstream.lacks("pkce") else {"code_verifier": trip.code_verifier}
                tokens = await client.fetch_token(found["token_endpoint"], code=code, **verifier)
        except AuthlibBaseError as error:
            known = isinstance(error.error, str) and _ERROR_CODE.fullmatch(error.error)
            raise AccessDeniedError(
                f"The provider would not redeem the code: {error.error if known else 'no reason'}."
            ) from error
        except (outbound.CallFailed, ValueError, TypeError, AttributeError) as error:
            raise UpstreamUnavailableError("The token endpoint does not answer as it should.") from error
        return dict(tokens)

    def _client(self, upstream: Upstream, found: dict[str, Any]) -> "AsyncOAuth2Client":
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = "client_secret_basic" in methods if isinstance(methods, list) else True
        secret = self.client_secret(upstream)
        method = "none" if secret is None else "client_secret_basic" if basic else "client_secret_post"
        return oauth_client(upstream, secret, method)

    async def _id_token(
        self, upstream: Upstream, found: dict[str, Any], trip: AuthorizationRequest, tokens: dict[str, Any]
    ) -> dict[str, Any]:
        """The claims of the ID token, checked as OpenID Connect Core section 3.1.3.7 says."""
        text = tokens.get("id_token")
        if not isinstance(text, str):
            raise UntrustedResponseError("There is no ID token.")
        try:
            token = await published.verify(text, found["jwks_uri"], _algorithms(found))
            jose.check_times(token, LEEWAY, fractions=True)
            _check_at_hash(text, token, tokens.get("access_token"))
        except (jose.InvalidJWTError, jose.UnsupportedAlgorithmError) as error:
            raise UntrustedResponseError(f"The ID token is not right: {error}") from error
        except UnicodeError as error:
            raise UntrustedResponseError("The access token that came with the ID token is not ASCII.") from error
        if token.get("iss") != self.expected_issuer(upstream, token):
            raise UntrustedResponseError("The ID token is another issuer's.")
        _check_audience(token, upstream.client_id)
        if not (upstream.lacks("nonce") and "nonce" not in token) and not _same(token.get("nonce"), trip.nonce):
            raise UntrustedResponseError("The ID token is of another sign-in.")
        subject = token.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
            raise UntrustedResponseError("The ID token does not say who it is about.")
        return token

    async def _userinfo(
        self, upstream: Upstream, found: dict[str, Any], tokens: dict[str, Any], token: dict[str, Any]
    ) -> dict[str, Any]:
        """What the userinfo endpoint adds, where the ID token is lean (section 5.3.2).

        The ID token says who it is: where the endpoint refuses us, or signs what nobody can verify, we do without.
        """
        endpoint = found.get("userinfo_endpoint")
        if "email" in token or not isinstance(endpoint, str) or not isinstance(tokens.get("access_token"), str):
            return {}
        try:
            async with self._client(upstream, found) as client:
                client.token = tokens
                answer = await client.get(endpoint)
            if 400 <= answer.status_code < 500:
                log.warning("userinfo_ignored", reason="The endpoint refuses the token.", status=answer.status_code)
                return {}
            answer.raise_for_status()
            if answer.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/jwt":
                told = await self._signed_userinfo(upstream, found, token, answer.text)
            else:
                told = answer.json()
        except (outbound.CallFailed, AuthlibBaseError, ValueError) as error:
            raise UpstreamUnavailableError("The userinfo endpoint does not answer as it should.") from error
        if told is None:
            return {}
        if not isinstance(told, dict) or told.get("sub") != token["sub"]:
            raise UntrustedResponseError("The userinfo endpoint speaks of somebody else.")
        return told

    async def _signed_userinfo(
        self, upstream: Upstream, found: dict[str, Any], token: dict[str, Any], text: str
    ) -> dict[str, Any] | None:
        """The claims of a userinfo answer that is a JWT (section 5.3.2); None where it cannot be verified."""
        try:
            told = await published.verify(text.strip(), found["jwks_uri"], _algorithms(found, "userinfo"))
        except jose.InvalidJWTError as error:
            log.warning("userinfo_ignored", reason=str(error))
            return None
        audience = told.get("aud", upstream.client_id)
        audiences = audience if isinstance(audience, list) else [audience]
        if told.get("iss", token["iss"]) != token["iss"] or upstream.client_id not in audiences:
            log.warning("userinfo_ignored", reason="It is another issuer's, or for another client.")
            return None
        return told

    # Besides signing in

    async def sign_out_url(self, upstream: Upstream, back: str) -> str | None:
        """RP-Initiated Logout section 2."""
        found = await self._metadata(upstream)
        endpoint = found.get("end_session_endpoint")
        if not isinstance(endpoint, str):
            return None
        asked = urlencode({"client_id": upstream.client_id, "post_logout_redirect_uri": back})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{asked}"

    async def test(self, upstream: Upstream) -> list[str]:
        found = await self._metadata(upstream)
        keys = (await published.fetch(found["jwks_uri"])).get("keys")
        if not isinstance(keys, list) or not keys:
            raise UpstreamUnavailableError("It publishes no keys.")
        return [
            f"It is the issuer {found['issuer']}.",
            f"It publishes {len(keys)} keys.",
            f"People are sent to {found['authorization_endpoint']}.",
        ]


def _algorithms(found: dict[str, Any], what: str = "id_token") -> tuple[str, ...]:
    """What the provider says that it signs with, as far as we verify it."""
    named = found.get(f"{what}_signing_alg_values_supported")
    if not isinstance(named, list):
        return USUAL_ALGORITHMS if what == "id_token" else _algorithms(found)
    return tuple(alg for alg in VERIFICATION_ALGORITHMS if alg in named)


def _same(told: object, expected: str) -> bool:
    return hmac.compare_digest(str(told).encode("utf-8", "replace"), expected.encode())


def _check_audience(token: dict[str, Any], client_id: str) -> None:
    audience, party = token.get("aud"), token.get("azp")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise UntrustedResponseError("The ID token is for another client.")
    if (len(audiences) > 1 or party is not None) and party != client_id:
        raise UntrustedResponseError("The ID token was issued to another client.")


def _check_at_hash(text: str, token: dict[str, Any], access_token: object) -> None:
    if "at_hash" not in token:
        return
    expected = jose.left_half_hash(str(access_token), jose.algorithm_of(text))
    if not _same(token["at_hash"], expected):
        raise UntrustedResponseError("The access token is not the one that the ID token came with.")


def _auth_time(token: dict[str, Any]) -> int | None:
    """When the person signed in there, where the provider says so in a way that can be true."""
    try:
        auth_time = jose.foreign_time(token, "auth_time")
    except jose.InvalidJWTError:
        return None
    known = auth_time is not None and 1 <= auth_time <= clock.timestamp() + LEEWAY
    return int(auth_time) if known and auth_time is not None else None


PROVIDER = OpenIDProvider()
