"""Structs: the configuration of a provider, an authorization request to it, and the user it identified."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.federation.icons import icon_names
from idp.settings import settings

#: A value of a claim that rules read.
Scalar = str | int | float | bool
#: The values of claims, by their paths. A claim whose values are unknown is left out.
ProvedClaims = Mapping[str, tuple[Scalar, ...]]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What follows from a claim of a provider: a group, a role, or the value of an attribute.

    Attributes:
        claim: its name, or a path such as ``realm_access.roles``.
        equals, prefix: which of its values count. Neither: all.
        each: each value that counts is the name of a group; with ``prefix``, the rest of it.
        group_prefix: with ``each``: what the names of the groups begin with here, before the value.
        group, role: the id of what any of the values gives. When a rule is saved, a name as well.
        client_id: the client of a role that is named, when a rule is saved.
        attribute: the name of the attribute that gets the values.
    """

    claim: str
    equals: str | None = None
    prefix: str | None = None
    each: bool = False
    group_prefix: str = ""
    group: str | None = None
    role: str | None = None
    client_id: str | None = None
    attribute: str | None = None


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of a provider.

    Attributes:
        id: part of its redirect URI.
        kind: the module of :mod:`idp.federation.providers` that implements it.
        name: label of its button.
        issuer: base of its metadata URL and ``iss`` of its ID tokens (OpenID Connect Discovery section 4).
        client_secret: our client secret; for providers that require a signed assertion, the private key.
        trust_email: its ``email_verified`` is accepted without a mail of ours.
        creates_accounts: whether unknown users get an account. None: as ``IDP_REGISTRATION`` says.
        required_claims: names of claims with allowed values. The user must have one of the values of each claim.
        organizations: the user must belong to one of them, at providers that have organizations.
        claims: our claims with the path of the provider's claim, in addition to the mapping of its kind.
        mfa_acr: the ``acr`` that reports multi-factor authentication.
        keep_tokens: store its access and refresh tokens, encrypted.
        logout: a sign-out here continues with a sign-out at the provider.
        options: options of its kind.
        rules: what users get by its claims at each sign-in (:mod:`idp.federation.provisioning`).
        organization_id: the organization whose users it signs in (:mod:`idp.federation.realms`). None: it is one of the
            whole server.
        adds_members: its users become members of the organization.
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
    rules: tuple[Rule, ...] = ()
    organization_id: UUID | None = None
    adds_members: bool = False
    disabled: bool = False

    @property
    def origin(self) -> str:
        """The origin of what its rules give."""
        return origin_of(self.id)

    @property
    def icons(self) -> tuple[str, ...]:
        """The names of the icons that its button can have, the best one first."""
        return icon_names(self.kind, self.issuer, self.id)

    def lacks(self, option: str) -> bool:
        """Return whether the operator switched off a feature that OpenID providers have."""
        return self.options.get(option) == "no"

    @property
    def redirect_uri(self) -> str:
        """The callback URL. Each provider has its own, which prevents mix-up attacks (RFC 9700 section 4.4)."""
        return f"{settings().issuer}/upstreams/{self.id}/callback"

    @property
    def backchannel_logout_uri(self) -> str:
        """Where the provider reports the end of a session (OpenID Connect Back-Channel Logout section 2.2)."""
        return f"{settings().issuer}/upstreams/{self.id}/backchannel-logout"


def origin_of(upstream_id: str) -> str:
    """Return the origin of what the rules of a provider give."""
    return f"upstream:{upstream_id}"


class AuthorizationRequest(NamedTuple):
    """The parameters of an authorization request to a provider.

    Attributes:
        state, nonce, code_verifier: RFC 6749 section 10.12, OpenID Connect Core section 3.1.2.1, RFC 7636.
        login_hint: the expected user.
        acr: the requested level, in the provider's terms.
        auth_after: the user must have signed in at the provider after this time.
        max_age: the same in seconds before now, as sent to the provider. 0: the provider must reauthenticate the user.
        select_account: the user is already signed in here; the provider must let them select an account.
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
    """A user as a provider identified them.

    Attributes:
        issuer, subject: the identity, which never changes. The email address is not part of it.
        email: the normalised address, if there is one.
        email_verified: the provider verified the address, and the operator trusts it.
        claims: standard claims (OpenID Connect Core section 5.1), mapped.
        two_factors: the provider reports multi-factor authentication.
        auth_time: time of the sign-in at the provider in seconds since the epoch, if the provider reports it.
        sid: the session at the provider, if it names it.
        tokens: the token response.
        proved: the claims that the rules of the provider read.
    """

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    claims: dict[str, str]
    two_factors: bool = False
    tokens: dict[str, Any] | None = None
    auth_time: int | None = None
    sid: str | None = None
    proved: ProvedClaims = MappingProxyType({})


class Finding(msgspec.Struct, frozen=True):
    """The result of one check of a provider, as a sentence."""

    text: str
    passed: bool = True


class UpstreamSession(msgspec.Struct, frozen=True):
    """The session at a provider that a sign-in came from. ``sid`` is empty if the provider does not name it."""

    issuer: str
    subject: str
    sid: str


class LogoutToken(NamedTuple):
    """A verified logout token of a provider (OpenID Connect Back-Channel Logout section 2.4).

    Attributes:
        subject, sid: whose session ended, and which. At least one of them is given.
        issued_at: in seconds since the epoch.
    """

    issuer: str
    subject: str | None
    sid: str | None
    jti: str
    issued_at: float
