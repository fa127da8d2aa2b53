"""What every kind of provider can do."""

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from authlib.deprecate import AuthlibDeprecationWarning

from idp.federation.models import AuthorizationRequest, Upstream, UserInfo
from idp.infra import outbound

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

#: For everything that is asked of a provider while a person waits.
SECONDS = 10.0
#: Seconds by which the provider's clock may be off.
LEEWAY = 60


class Provider(Protocol):
    """The ways of one kind of provider."""

    #: What an upstream of this kind has where the operator says nothing.
    DEFAULTS: ClassVar[dict[str, Any]]
    #: The options that only this kind knows, each with what it is called.
    OPTIONS: ClassVar[dict[str, str]]
    #: Whether it signs people in anew when it is asked to, and says when it did.
    reauthenticates: ClassVar[bool]

    def check(self, upstream: Upstream) -> None:
        """Whether it can work like this.

        Raises:
            InvalidUpstreamError: it cannot.
        """

    async def authorization_url(self, upstream: Upstream, request: AuthorizationRequest) -> str:
        """Where to send the browser.

        Raises:
            UpstreamError: the provider does not say where.
        """

    async def identify(self, upstream: Upstream, request: AuthorizationRequest, parameters: dict[str, str]) -> UserInfo:
        """Who came back, from the parameters of the callback (RFC 6749 section 4.1.2).

        Raises:
            UpstreamError: the provider does not say so, or not in a way that can be believed.
        """

    async def sign_out_url(self, upstream: Upstream, back: str) -> str | None:
        """Where to send the browser to sign out there, if there is such a place."""

    async def test(self, upstream: Upstream) -> list[str]:
        """What can be found out without a person, in plain sentences.

        Raises:
            UpstreamError: it does not work.
        """


def oauth_client(upstream: Upstream, secret: str | None, method: str) -> "AsyncOAuth2Client":
    """Authlib's client of a provider, which calls through our guarded transport."""
    # Here, since loading it takes long, and not every server has upstreams.
    with warnings.catch_warnings():
        # It prefers a successor of httpx, and would say so.
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
