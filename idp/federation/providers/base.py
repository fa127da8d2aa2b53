"""The interface of a kind of provider, and the OAuth client that all use."""

import warnings
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from authlib.deprecate import AuthlibDeprecationWarning

from idp.federation.models import AuthorizationRequest, Finding, Upstream, UserInfo
from idp.infra import outbound

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

#: Time limit in seconds for all requests to a provider during a sign-in.
SECONDS = 10.0
#: Accepted clock skew of a provider in seconds.
LEEWAY = 60


class Provider(Protocol):
    """A kind of provider."""

    #: Default configuration of an upstream of this kind.
    DEFAULTS: ClassVar[dict[str, Any]]
    #: Options of this kind with their labels.
    OPTIONS: ClassVar[dict[str, str]]
    #: Whether it reauthenticates on request and reports ``auth_time``.
    reauthenticates: ClassVar[bool]
    #: Whether users sign in at a page of it. If not, they enter its password here.
    redirects: ClassVar[bool]

    def check(self, upstream: Upstream) -> None:
        """Validate a configuration, apart from the value of its client secret.

        Raises:
            InvalidUpstreamError: a value is invalid.
        """

    def check_secret(self, upstream: Upstream) -> None:
        """Validate the value of the client secret. Any text can be one, unless a kind says otherwise.

        Raises:
            InvalidUpstreamError: it has another form than the provider's secrets.
        """
        return

    async def authorization_url(self, upstream: Upstream, request: AuthorizationRequest) -> str:
        """Return the authorization URL.

        Raises:
            UpstreamError: the provider's metadata cannot be fetched.
        """

    async def identify(self, upstream: Upstream, request: AuthorizationRequest, parameters: dict[str, str]) -> UserInfo:
        """Redeem the code of a callback (RFC 6749 section 4.1.2) and return the user.

        Raises:
            UpstreamError: the provider did not identify a user, or its response is not valid.
        """

    async def sign_out_url(self, upstream: Upstream, back: str) -> str | None:
        """Return the URL that ends the session at the provider, or None if it has none."""

    def test(self, upstream: Upstream) -> AsyncIterator[Finding]:
        """Check the provider without a user, step by step.

        Raises:
            UpstreamError: a check failed, and nobody can sign in.
        """


def oauth_client(upstream: Upstream, secret: str | None, method: str) -> "AsyncOAuth2Client":
    """Return an Authlib client that uses the guarded transport of :mod:`idp.infra.outbound`."""
    # Imported late: loading Authlib is slow, and not every server has upstreams.
    with warnings.catch_warnings():
        # The integration warns that it is deprecated in favour of another HTTP library.
        warnings.simplefilter("ignore", AuthlibDeprecationWarning)
        from authlib.integrations.httpx_client import AsyncOAuth2Client
    return AsyncOAuth2Client(
        upstream.client_id,
        secret,
        token_endpoint_auth_method=method,
        scope=upstream.scope,
        redirect_uri=upstream.redirect_uri,
        code_challenge_method=None if upstream.lacks("pkce") else "S256",
        transport=outbound.transport(),
        timeout=SECONDS,
        trust_env=False,
    )
