"""What is configured of one upstream provider, and what it tells of a person."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from idp.settings import settings


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider, as the operator configured it.

    Attributes:
        id: stands in its redirect URI.
        kind: whose ways it has: a file of :mod:`idp.federation.providers`.
        name: what its button says.
        issuer: where its metadata is found, and what its ID tokens must say (OpenID Connect Discovery section 4).
        client_secret: ours there; for a provider that wants a signed assertion, the key to sign it with.
        trust_email: its ``email_verified`` counts as if we had sent the mail.
        creates_accounts: a person whom nobody knows gets an account, whatever ``IDP_REGISTRATION`` says. None: as that.
        required_claims: names and allowed values of claims; of each, the person must have one.
        organizations: one of them the person must belong to, where the provider knows such.
        claims: which of its claims, by path, becomes which of ours, besides what its kind maps.
        mfa_acr: the ``acr`` by which it says that there were two factors.
        keep_tokens: its access and refresh tokens are kept, sealed.
        logout: who signs out here is sent there to sign out too.
        options: what only its own kind knows.
    """

    id: str
    kind: str
    name: str
    issuer: str
    client_id: str
    client_secret: str | None = None
    scope: str = "openid profile email"
    trust_email: bool = False
    creates_accounts: bool | None = None
    required_claims: dict[str, tuple[str, ...]] = {}
    organizations: tuple[str, ...] = ()
    claims: dict[str, str] = {}
    mfa_acr: str | None = None
    keep_tokens: bool = False
    logout: bool = False
    options: dict[str, str] = {}
    disabled: bool = False

    def lacks(self, option: str) -> bool:
        """Whether the operator says that it does not do what OpenID providers do."""
        return self.options.get(option) == "no"

    @property
    def redirect_uri(self) -> str:
        """Where it sends people back to. Each has its own, so that none can pass for another (RFC 9700 section 4.4)."""
        return f"{settings().issuer}/upstreams/{self.id}/callback"


class AuthorizationRequest(NamedTuple):
    """What one way there and back is bound to.

    Attributes:
        state, nonce, code_verifier: RFC 6749 section 10.12, OpenID Connect Core section 3.1.2.1, RFC 7636.
        login_hint: who will probably sign in.
        acr: the level that the sign-in is to reach, as the provider calls it.
        auth_after: the person must have signed in there after this moment.
        max_age: the same in seconds before now, to ask the provider for. 0: it is to ask the person, whoever is signed
            in there.
        select_account: the person is signed in here, and goes there to be asked who they are.
    """

    state: str
    nonce: str
    code_verifier: str
    login_hint: str = ""
    acr: str | None = None
    auth_after: datetime | None = None
    max_age: int | None = None
    select_account: bool = False


class UserInfo(NamedTuple):
    """Who somebody is at a provider.

    Attributes:
        issuer, subject: their identity, for ever. The address is none.
        email: normalised, where there is one.
        email_verified: the provider vouches for it, and the operator trusts it in that.
        claims: standard claims (OpenID Connect Core section 5.1), mapped.
        two_factors: the provider says that there were two.
        auth_time: when they signed in there, in seconds since the epoch, where the provider says so.
        tokens: those of the provider.
    """

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    claims: dict[str, str]
    two_factors: bool = False
    tokens: dict[str, Any] | None = None
    auth_time: int | None = None
