"""OpenID providers (OpenID Connect Core section 3.1)."""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode, urlsplit

import structlog
from authlib.common.errors import AuthlibBaseError

from idp import clock
from idp.federation import claims_mapping, credentials, discovery, logout_tokens, rules
from idp.federation.errors import (
    MALFORMED,
    AccessDeniedError,
    InvalidUpstreamError,
    NotInAllowedOrganizationError,
    SignInCancelledError,
    UntrustedResponseError,
    UpstreamUnavailableError,
)
from idp.federation.models import AuthorizationRequest, Finding, LogoutToken, Upstream, UserInfo
from idp.federation.providers.base import LEEWAY, SECONDS, Provider, oauth_client
from idp.infra import foreign_json, outbound
from idp.infra.media_types import media_type
from idp.keys import jose
from idp.keys.algorithms import VERIFICATION_ALGORITHMS

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

log = structlog.get_logger()

#: Options that switch off a feature which a provider does not support.
SWITCHES = ("reauthenticates", "nonce", "pkce")
MAX_SUBJECT_LENGTH = 255
#: Accepted algorithms if the metadata omits them, though they are required (OpenID Connect Discovery section 3).
USUAL_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
_ERROR_CODE = re.compile(r"[a-z_]{1,60}")


class OpenIDProvider(Provider):
    """An OpenID provider. Kinds with deviations override single methods."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"scope": "openid profile email"}
    OPTIONS: ClassVar[dict[str, str]] = {
        "metadata_url": "URL of its metadata, if it is not below the issuer",
        "reauthenticates": "Reauthenticates users on request and reports auth_time (no: it does not)",
        "nonce": "Includes the nonce in its ID tokens (no: it does not)",
        "pkce": "Supports PKCE (no: it does not)",
    }
    #: Whether it reauthenticates on request and reports ``auth_time``.
    reauthenticates: ClassVar[bool] = True
    redirects = True

    # Methods that kinds override

    def check(self, upstream: Upstream) -> None:
        if any(upstream.options.get(name, "no") != "no" for name in SWITCHES):
            raise InvalidUpstreamError(f"The only value of the options {', '.join(SWITCHES)} is no.")
        if upstream.lacks("nonce") and upstream.lacks("pkce"):
            raise InvalidUpstreamError("PKCE or nonce is required: without both, a stolen code could be used.")
        if not discovery.is_url(upstream.options.get("metadata_url", upstream.issuer)):
            raise InvalidUpstreamError("The option metadata_url must be a URL.")
        parts = urlsplit(upstream.issuer)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidUpstreamError("The issuer must be a URL without query and fragment.")
        if "openid" not in upstream.scope.split():
            raise InvalidUpstreamError("The scope must contain openid.")

    def published_issuer(self, upstream: Upstream) -> str:
        """Return the expected ``issuer`` of the metadata."""
        return upstream.issuer

    def expected_issuer(self, upstream: Upstream, token: dict[str, Any]) -> str:
        """Return the expected ``iss`` of an ID token."""
        return upstream.issuer

    def client_secret(self, upstream: Upstream) -> str | None:
        """Return the client secret."""
        return upstream.client_secret

    def authorization_parameters(self, upstream: Upstream, request: AuthorizationRequest) -> dict[str, str]:
        """Return additional parameters of the authorization request."""
        asked = {"login_hint": request.login_hint, "acr_values": request.acr or ""}
        if request.max_age is not None:
            asked["max_age"] = str(request.max_age)
        if (request.select_account or request.max_age == 0) and not upstream.lacks("reauthenticates"):
            asked["prompt"] = "login"
        return {name: value for name, value in asked.items() if value}

    def callback_claims(self, parameters: dict[str, str]) -> dict[str, Any]:
        """Return claims from the parameters of the callback. They are not signed."""
        return {}

    def is_email_trusted(self, upstream: Upstream, claims: dict[str, Any]) -> bool:
        """Return whether the provider verified the address, and the operator trusts it."""
        # Some providers send a string.
        return upstream.trust_email and claims.get("email_verified") in (True, "true")

    def is_allowed(self, upstream: Upstream, claims: dict[str, Any]) -> bool:
        """Return whether the user has the required claims."""
        return all(
            claims_mapping.claim_values(claims, name) & set(values) for name, values in upstream.required_claims.items()
        )

    # The protocol

    async def _metadata(self, upstream: Upstream) -> dict[str, Any]:
        where = upstream.options.get("metadata_url")
        return await discovery.provider_metadata(upstream.issuer, self.published_issuer(upstream), where)

    async def authorization_url(self, upstream: Upstream, request: AuthorizationRequest) -> str:
        metadata = await self._metadata(upstream)
        bound = {} if upstream.lacks("nonce") else {"nonce": request.nonce}
        bound |= {} if upstream.lacks("pkce") else {"code_verifier": request.code_verifier}
        async with self._client(upstream, metadata) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=request.state,
                **bound,
                **self.authorization_parameters(upstream, request),
            )
        return str(url)

    async def identify(self, upstream: Upstream, request: AuthorizationRequest, parameters: dict[str, str]) -> UserInfo:
        try:
            async with asyncio.timeout(SECONDS):
                return await self._identify(upstream, request, parameters)
        except TimeoutError as error:
            raise UpstreamUnavailableError("The provider takes too long.") from error

    async def _identify(
        self, upstream: Upstream, request: AuthorizationRequest, parameters: dict[str, str]
    ) -> UserInfo:
        metadata = await self._metadata(upstream)
        self._check_callback(metadata, parameters)
        tokens = await self._redeem(upstream, metadata, request, parameters["code"])
        token = await self._id_token(upstream, metadata, request, tokens)
        userinfo = await self._userinfo(upstream, metadata, tokens, token)
        proved = (userinfo or {}) | token
        claims = self.callback_claims(parameters) | proved
        if not self.is_allowed(upstream, claims):
            raise NotInAllowedOrganizationError("The person is not of those who may sign in.")
        email = claims_mapping.find_email(upstream, claims)
        return UserInfo(
            token["iss"],
            token["sub"],
            email,
            claims_mapping.is_verified_address(upstream, claims) and self.is_email_trusted(upstream, claims),
            claims_mapping.map_claims(upstream, claims),
            upstream.mfa_acr is not None and token.get("acr") == upstream.mfa_acr,
            tokens,
            _auth_time(token),
            logout_tokens.sid_of(token),
            rules.read(upstream.rules, proved, complete=userinfo is not None),
        )

    @staticmethod
    def _check_callback(metadata: dict[str, Any], parameters: dict[str, str]) -> None:
        """RFC 6749 section 4.1.2.1, RFC 9207 section 2.4."""
        issuer = parameters.get("iss")
        if issuer is None and metadata.get("authorization_response_iss_parameter_supported") is True:
            raise UntrustedResponseError("The response does not say whose it is.")
        if issuer is not None and issuer != metadata["issuer"]:
            raise UntrustedResponseError("The response is another issuer's.")
        error = parameters.get("error")
        if error in ("access_denied", "user_cancelled_authorize", "login_required", "interaction_required"):
            raise SignInCancelledError("The user did not continue.")
        if error is not None or "code" not in parameters:
            raise AccessDeniedError("The provider sent an error.")

    async def _redeem(
        self, upstream: Upstream, metadata: dict[str, Any], request: AuthorizationRequest, code: str
    ) -> dict[str, Any]:
        try:
            async with self._client(upstream, metadata) as client:
                verifier = {} if upstream.lacks("pkce") else {"code_verifier": request.code_verifier}
                tokens = await client.fetch_token(metadata["token_endpoint"], code=code, **verifier)
        except AuthlibBaseError as error:
            known = isinstance(error.error, str) and _ERROR_CODE.fullmatch(error.error)
            raise AccessDeniedError(
                f"The provider would not redeem the code: {error.error if known else 'no reason'}."
            ) from error
        except MALFORMED as error:
            raise UpstreamUnavailableError(
                f"The token endpoint does not answer as it should. {outbound.cause(error)}"
            ) from error
        return dict(tokens)

    def _client(self, upstream: Upstream, metadata: dict[str, Any]) -> "AsyncOAuth2Client":
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = "client_secret_basic" in methods if isinstance(methods, list) else True
        secret = self.client_secret(upstream)
        method = "none" if secret is None else "client_secret_basic" if basic else "client_secret_post"
        return oauth_client(upstream, secret, method)

    async def _id_token(
        self, upstream: Upstream, metadata: dict[str, Any], request: AuthorizationRequest, tokens: dict[str, Any]
    ) -> dict[str, Any]:
        """Validate the ID token (OpenID Connect Core section 3.1.3.7) and return its claims."""
        text = tokens.get("id_token")
        if not isinstance(text, str):
            raise UntrustedResponseError("There is no ID token.")
        try:
            token = await discovery.verify_jwt(text, metadata["jwks_uri"], _algorithms(metadata))
            jose.check_times(token, LEEWAY, fractions=True)
            _check_at_hash(text, token, tokens.get("access_token"))
        except (jose.InvalidJWTError, jose.UnsupportedAlgorithmError) as error:
            raise UntrustedResponseError(f"The ID token is not right: {error}") from error
        except UnicodeError as error:
            raise UntrustedResponseError("The access token that came with the ID token is not ASCII.") from error
        if token.get("iss") != self.expected_issuer(upstream, token):
            raise UntrustedResponseError("The ID token is another issuer's.")
        _check_audience(token, upstream.client_id)
        if not (upstream.lacks("nonce") and "nonce" not in token) and not _same(token.get("nonce"), request.nonce):
            raise UntrustedResponseError("The ID token is of another sign-in.")
        subject = token.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
            raise UntrustedResponseError("The ID token does not say who it is about.")
        return token

    async def _userinfo(
        self, upstream: Upstream, metadata: dict[str, Any], tokens: dict[str, Any], token: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Return the claims of the userinfo endpoint (section 5.3.2), if the ID token lacks some that are needed.

        The ID token identifies the user. If the endpoint rejects the token, or its signature cannot be verified, the
        sign-in continues without these claims: None.
        """
        endpoint = metadata.get("userinfo_endpoint")
        if "email" in token and not rules.lacking(upstream.rules, token):
            return {}
        if not isinstance(endpoint, str) or not isinstance(tokens.get("access_token"), str):
            return {}
        try:
            async with self._client(upstream, metadata) as client:
                client.token = tokens
                response = await client.get(endpoint)
            if 400 <= response.status_code < 500:
                log.warning("userinfo_ignored", reason="The endpoint refuses the token.", status=response.status_code)
                return None
            response.raise_for_status()
            if media_type(response.headers.get("content-type")) == "application/jwt":
                claims = await self._signed_userinfo(upstream, metadata, token, response.text)
            else:
                claims = foreign_json.decode(response.content)
        except (outbound.CallFailed, AuthlibBaseError, ValueError) as error:
            if "email" in token:
                # Only rules need it, and no sign-in fails because of a rule.
                log.warning("userinfo_ignored", reason=outbound.cause(error))
                return None
            raise UpstreamUnavailableError(
                f"The userinfo endpoint does not answer as it should. {outbound.cause(error)}"
            ) from error
        if claims is None:
            return None
        if not isinstance(claims, dict) or claims.get("sub") != token["sub"]:
            raise UntrustedResponseError("The userinfo response has another subject.")
        return claims

    async def _signed_userinfo(
        self, upstream: Upstream, metadata: dict[str, Any], token: dict[str, Any], text: str
    ) -> dict[str, Any] | None:
        """Return the claims of a userinfo response that is a JWT (section 5.3.2), or None if it is not valid."""
        try:
            claims = await discovery.verify_jwt(text.strip(), metadata["jwks_uri"], _algorithms(metadata, "userinfo"))
        except jose.InvalidJWTError as error:
            log.warning("userinfo_ignored", reason=str(error))
            return None
        audiences = jose.audience(claims, upstream.client_id)
        if claims.get("iss", token["iss"]) != token["iss"] or upstream.client_id not in audiences:
            log.warning("userinfo_ignored", reason="It is another issuer's, or for another client.")
            return None
        return claims

    # Other operations

    async def sign_out_url(self, upstream: Upstream, back: str) -> str | None:
        """RP-Initiated Logout section 2."""
        metadata = await self._metadata(upstream)
        endpoint = metadata.get("end_session_endpoint")
        if not isinstance(endpoint, str):
            return None
        asked = urlencode({"client_id": upstream.client_id, "post_logout_redirect_uri": back})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{asked}"

    async def logout_token(self, upstream: Upstream, text: str) -> LogoutToken:
        """Verify a logout token of the provider.

        Raises:
            UpstreamError: it is not valid, or the keys of the provider cannot be fetched.
        """
        try:
            async with asyncio.timeout(SECONDS):
                metadata = await self._metadata(upstream)
                claims = await logout_tokens.verify(text, metadata["jwks_uri"], _algorithms(metadata))
        except TimeoutError as error:
            raise UpstreamUnavailableError("The provider takes too long.") from error
        if claims.get("iss") != self.expected_issuer(upstream, claims):
            raise UntrustedResponseError("The logout token is another issuer's.")
        return logout_tokens.read(claims, upstream.client_id)

    async def test(self, upstream: Upstream) -> AsyncIterator[Finding]:
        metadata = await self._metadata(upstream)
        yield Finding(f"It is the issuer {metadata['issuer']}.")
        keys = (await discovery.fetch_json(metadata["jwks_uri"])).get("keys")
        if not isinstance(keys, list) or not keys:
            raise UpstreamUnavailableError("It publishes no keys.")
        yield Finding(f"It publishes {len(keys)} keys.")
        if not (algorithms := _algorithms(metadata)):
            raise UpstreamUnavailableError("It signs ID tokens by no algorithm that this server supports.")
        yield Finding(f"It signs ID tokens by {', '.join(algorithms)}.")
        if (known := _names(metadata, "scopes_supported")) and (lacking := sorted({*upstream.scope.split()} - known)):
            yield Finding(f"Its metadata do not name the scopes {' '.join(lacking)}.", passed=False)
        yield Finding(f"Users are sent to {metadata['authorization_endpoint']}.")
        async with self._client(upstream, metadata) as client:
            yield await credentials.check(client, metadata["token_endpoint"])


def _names(metadata: dict[str, Any], member: str) -> set[str]:
    """Return a member of the metadata that is an array of names; empty if it is absent or something else."""
    value = metadata.get(member)
    return {name for name in value if isinstance(name, str)} if isinstance(value, list) else set()


def _algorithms(metadata: dict[str, Any], what: str = "id_token") -> tuple[str, ...]:
    """Return the algorithms of the provider's metadata that we support."""
    named = metadata.get(f"{what}_signing_alg_values_supported")
    if not isinstance(named, list):
        return USUAL_ALGORITHMS if what == "id_token" else _algorithms(metadata)
    return tuple(alg for alg in VERIFICATION_ALGORITHMS if alg in named)


def _same(value: object, expected: str) -> bool:
    return hmac.compare_digest(str(value).encode("utf-8", "replace"), expected.encode())


def _check_audience(token: dict[str, Any], client_id: str) -> None:
    audiences, party = jose.audience(token), token.get("azp")
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
    """Return ``auth_time`` if it is a plausible time, or None."""
    try:
        auth_time = jose.foreign_time(token, "auth_time")
    except jose.InvalidJWTError:
        return None
    known = auth_time is not None and 1 <= auth_time <= clock.timestamp() + LEEWAY
    return int(auth_time) if known and auth_time is not None else None


PROVIDER = OpenIDProvider()
