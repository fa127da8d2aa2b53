"""LDAP directories: OpenLDAP, Active Directory and others. Users enter their password here (docs/ldap.md)."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar

from idp.federation.errors import UpstreamUnavailableError
from idp.federation.ldap.option_names import OPTIONS
from idp.federation.models import AuthorizationRequest, Finding, Upstream, UserInfo
from idp.federation.providers.base import Provider

if TYPE_CHECKING:
    from idp.federation.ldap.options import Directory


class DirectoryProvider(Provider):
    """A directory has no page of its own, so nobody is sent there and nobody comes back from there."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "name": "LDAP",
        "issuer": "",
        "client_id": "",
        "scope": "",
        # The operator decided who is in the directory.
        "creates_accounts": True,
    }
    OPTIONS: ClassVar[dict[str, str]] = OPTIONS
    reauthenticates = True
    redirects = False

    def check(self, upstream: Upstream) -> None:
        _read(upstream)

    def issuer_of(self, upstream: Upstream) -> str:
        return _read(upstream).issuer

    async def authorization_url(self, upstream: Upstream, request: AuthorizationRequest) -> str:
        raise UpstreamUnavailableError("A directory has no page to sign in at.")

    async def identify(self, upstream: Upstream, request: AuthorizationRequest, parameters: dict[str, str]) -> UserInfo:
        raise UpstreamUnavailableError("A directory has no page to come back from.")

    async def sign_out_url(self, upstream: Upstream, back: str) -> str | None:
        """A directory has no sessions."""
        return None

    def test(self, upstream: Upstream) -> AsyncIterator[Finding]:
        # Imported late: only a test needs it.
        from idp.federation.ldap.diagnosis import steps

        return steps(upstream)


def _read(upstream: Upstream) -> "Directory":
    # Imported late, because it is slow, and not every server has a directory.
    from idp.federation.ldap.options import read

    return read(upstream)


PROVIDER = DirectoryProvider()
