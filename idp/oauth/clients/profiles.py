"""Security profiles: sets of requirements for a client, one row each.

A profile demands values of metadata, which validation checks at registration and at each change, and rules that hold
at run time (:class:`Rules`). Validation, CLI, admin API, console and docs/profiles.md read this table. See
docs/decisions/0061-a-profile-is-a-table.md.

FAPI 2.0 Security Profile, FAPI 2.0 Message Signing, FAPI-CIBA, OAuth 2.1, the authorization specification of MCP.
"""

from collections.abc import Callable, Collection
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from idp.errors import OAuthError
from idp.keys.algorithms import FAPI_ALGORITHMS
from idp.oauth.clients.auth_methods import TLS_METHODS
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata
from idp.oauth.grant_types import CIBA, DEVICE_CODE

#: The members that bind access tokens to a key of the client.
BINDINGS: Final = ("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens")


class Requirement(NamedTuple):
    """The values that a profile allows for a member.

    Attributes:
        allowed: the values; of a list, those of its elements. The first is that of a client whose member nobody named.
        section: of the specification of the profile.
    """

    member: str
    allowed: tuple[Any, ...]
    section: str

    def allows(self, value: Any) -> bool:
        return set(value) <= set(self.allowed) if isinstance(value, tuple) else value in self.allowed

    @property
    def words(self) -> str:
        """The requirement, as the end of a sentence."""
        if self.allowed == (False,):
            return f"{self.member} to be off"
        if self.allowed == (True,):
            return self.member
        named = [value for value in self.allowed if value is not None]
        return f"{self.member} to be {'' if len(named) == 1 else 'one of '}{', '.join(named)}"


class Demand(NamedTuple):
    """A requirement for more than the value of one member.

    Attributes:
        words: what is required, as the end of a sentence.
        met: whether metadata meets it.
        error: the error code if not.
    """

    words: str
    section: str
    met: Callable[[ClientMetadata], bool]
    error: str = "invalid_client_metadata"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a profile at run time. The defaults are those of a client without one.

    :data:`RULES` describes each. ``code_lifetime`` is in seconds; None: the setting alone counts. ``algorithms``: None:
    all that this server accepts there.
    """

    algorithms: tuple[str, ...] | None = None
    issuer_is_the_audience: bool = False
    bounded_request_objects: bool = False
    code_lifetime: int | None = None
    keeps_refresh_tokens: bool = False
    signed_responses: bool = False
    signed_introspection: bool = False
    names_resource: bool = False
    names_transaction: bool = False


#: The rules in words, with the section of their specification.
RULES: Final = {
    "algorithms": (
        f"Assertions, request objects and DPoP proofs are signed with {', '.join(FAPI_ALGORITHMS)}.",
        "FAPI 2.0 SP section 5.4.1",
    ),
    "issuer_is_the_audience": (
        "The aud of an assertion is the issuer, as a string.", "FAPI 2.0 SP section 5.3.2.1",
    ),
    "bounded_request_objects": (
        "A request object has aud, exp and nbf, is at most an hour old, and is valid for at most an hour.",
        "FAPI 2.0 MS section 5.3.1",
    ),
    "code_lifetime": ("A code is valid for at most a minute.", "FAPI 2.0 SP section 5.3.2.1"),
    "keeps_refresh_tokens": (
        "A refresh token is used again and again. It is not replaced at each use.", "FAPI 2.0 SP section 5.3.2.1",
    ),
    "signed_responses": (
        "Authorization responses are JWTs: response_mode must be jwt, or end in .jwt.", "FAPI 2.0 MS section 5.4.1",
    ),
    "signed_introspection": (
        "Introspection responses are JWTs, whatever the client accepts.", "FAPI 2.0 MS section 5.5.1",
    ),
    "names_resource": ("An authorization request names its resource.", "MCP authorization; RFC 8707 section 2"),
    "names_transaction": (
        "A backchannel authentication request has a binding_message or authorization_details.",
        "FAPI-CIBA section 5.2.2",
    ),
}  # fmt: skip


class Profile(NamedTuple):
    """A profile.

    Attributes:
        title: its name for people.
        requirements: the values that it allows.
        demands: what else it requires of metadata.
    """

    title: str
    requirements: tuple[Requirement, ...]
    rules: Rules = Rules()
    demands: tuple[Demand, ...] = ()


def _tokens_are_bound(metadata: ClientMetadata) -> bool:
    return any(getattr(metadata, name) for name in BINDINGS)


BOUND_TOKENS: Final = Demand(f"one of {', '.join(BINDINGS)}", "FAPI 2.0 SP section 5.3.2.1", _tokens_are_bound)
#: Without the exception for programs on the device of a user.
HTTPS: Final = Demand(
    "https redirect_uris",
    "FAPI 2.0 SP section 5.3.2.2",
    lambda metadata: all(uri.startswith("https:") for uri in metadata.redirect_uris),
    "invalid_redirect_uri",
)

#: Its requests are not pushed.
NO_DEVICES: Final = Demand(
    "grant_types without the device_code grant",
    "FAPI 2.0 SP section 5.3.2.2",
    lambda metadata: DEVICE_CODE not in metadata.grant_types,
)

#: None: the choice is left to each JWT, among :attr:`Rules.algorithms`.
_SIGNED_BY_CLIENT: Final = ("token_endpoint_auth_signing_alg", "request_object_signing_alg")
_SIGNED_FOR_CLIENT: Final = (
    "id_token_signed_response_alg", "introspection_signed_response_alg", "authorization_signed_response_alg",
)  # fmt: skip
#: ES256 first: its signatures are short, and its keys are made in no time.
_FAPI_SIGNING: Final = tuple(sorted(FAPI_ALGORITHMS, key=lambda alg: alg != "ES256"))

_OAUTH21 = (
    Requirement("require_pkce", (True,), "OAuth 2.1 section 4.1.1"),
    Requirement("response_types", ("code",), "OAuth 2.1 section 10.1"),
)
_FAPI2 = (
    Requirement("token_endpoint_auth_method", ("private_key_jwt", *TLS_METHODS), "FAPI 2.0 SP section 5.3.2.1"),
    Requirement("require_pushed_authorization_requests", (True,), "FAPI 2.0 SP section 5.3.2.2"),
    Requirement("require_pkce", (True,), "FAPI 2.0 SP section 5.3.2.2"),
    Requirement("response_types", ("code",), "FAPI 2.0 SP section 5.3.2.2"),
    # It is a second way to a code, without a pushed request.
    Requirement("authorization_challenge", (False,), "FAPI 2.0 SP section 5.3.2.2"),
    *(Requirement(name, _FAPI_SIGNING, "FAPI 2.0 SP section 5.4.1") for name in _SIGNED_FOR_CLIENT),
    *(Requirement(name, (None, *_FAPI_SIGNING), "FAPI 2.0 SP section 5.4.1") for name in _SIGNED_BY_CLIENT),
    Requirement("userinfo_signed_response_alg", (None, *_FAPI_SIGNING), "FAPI 2.0 SP section 5.4.1"),
)
_FAPI2_RULES = Rules(
    algorithms=FAPI_ALGORITHMS,
    issuer_is_the_audience=True,
    bounded_request_objects=True,
    code_lifetime=60,
    keeps_refresh_tokens=True,
)
_FAPI2_DEMANDS = (BOUND_TOKENS, HTTPS, NO_DEVICES)

#: FAPI-CIBA builds on FAPI 1.0, which knows no other algorithms.
_FAPI_CIBA_SIGNING: Final = ("ES256", "PS256")
_CIBA_GRANT: Final = Demand(
    f"the grant {CIBA}", "FAPI-CIBA section 5.2.2", lambda metadata: CIBA in metadata.grant_types
)
_FAPI_CIBA = (
    Requirement("token_endpoint_auth_method", ("private_key_jwt", *TLS_METHODS), "FAPI-CIBA section 5.2.2"),
    Requirement("backchannel_authentication_request_signing_alg", _FAPI_CIBA_SIGNING, "FAPI-CIBA section 5.2.2"),
    Requirement("token_endpoint_auth_signing_alg", (None, *_FAPI_CIBA_SIGNING), "FAPI-CIBA section 7.10"),
    Requirement("id_token_signed_response_alg", _FAPI_CIBA_SIGNING, "FAPI-CIBA section 7.10"),
)

PROFILES: Final = MappingProxyType(
    {
        "oauth21": Profile("OAuth 2.1", _OAUTH21),
        "mcp": Profile("MCP client", _OAUTH21, Rules(names_resource=True)),
        "fapi2": Profile("FAPI 2.0 Security Profile", _FAPI2, _FAPI2_RULES, _FAPI2_DEMANDS),
        "fapi2-message-signing": Profile(
            "FAPI 2.0 Message Signing",
            (*_FAPI2, Requirement("require_signed_request_object", (True,), "FAPI 2.0 MS section 5.3.1")),
            msgspec.structs.replace(_FAPI2_RULES, signed_responses=True, signed_introspection=True),
            _FAPI2_DEMANDS,
        ),
        "fapi-ciba": Profile(
            "FAPI-CIBA",
            _FAPI_CIBA,
            Rules(algorithms=_FAPI_CIBA_SIGNING, bounded_request_objects=True, names_transaction=True),
            (_CIBA_GRANT, BOUND_TOKENS),
        ),
    }
)
_NO_RULES: Final = Rules()


def rules(client: ClientMetadata) -> Rules:
    """Return what holds for the requests of a client.

    A profile that this version does not know is a KeyError: its rules are unknown here. The registry has no such client
    (:mod:`idp.oauth.clients.loaded`).
    """
    return _NO_RULES if client.profile is None else PROFILES[client.profile].rules


def algorithms(client: ClientMetadata, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """Return the algorithms that a client may sign with.

    Args:
        otherwise: those of a client whose profile does not say.
    """
    return rules(client).algorithms or otherwise


def completed(metadata: ClientMetadata, named: Collection[str]) -> ClientMetadata:
    """Return the metadata with a value that its profile allows in each member that nobody named.

    Args:
        named: the members that the caller chose, which are left as they are.
    """
    profile = PROFILES.get(metadata.profile or "")
    if profile is None:
        return metadata
    values = {
        each.member: each.allowed[:1] if isinstance(getattr(metadata, each.member), tuple) else each.allowed[0]
        for each in profile.requirements
        if each.member not in named and not each.allows(getattr(metadata, each.member))
    }
    found = msgspec.structs.replace(metadata, **values)
    if BOUND_TOKENS in profile.demands and not BOUND_TOKENS.met(found) and set(BINDINGS).isdisjoint(named):
        found = msgspec.structs.replace(found, **{BINDINGS[found.token_endpoint_auth_method in TLS_METHODS]: True})
    return found


def check(metadata: ClientMetadata) -> None:
    """Check metadata against its profile.

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata``, with the demand that is not met.
    """
    profile = PROFILES.get(metadata.profile or "")
    if profile is None:
        return
    for each in profile.requirements:
        if not each.allows(getattr(metadata, each.member)):
            raise invalid_metadata(f"The profile {metadata.profile} requires {each.words}.")
    for demand in profile.demands:
        if not demand.met(metadata):
            raise OAuthError(demand.error, f"The profile {metadata.profile} requires {demand.words}.")


def requirements(profile: str | None) -> dict[str, Requirement]:
    """Return the requirements of a profile by member; none for an unknown one."""
    found = PROFILES.get(profile or "")
    return {each.member: each for each in found.requirements} if found is not None else {}


def describe(name: str) -> list[tuple[str, str]]:
    """Return what a profile requires, in sentences, each with its section."""
    profile = PROFILES[name]
    demanded = [(each.words, each.section) for each in profile.requirements]
    demanded += [(each.words, each.section) for each in profile.demands]
    changed = [field for field in RULES if getattr(profile.rules, field) != getattr(_NO_RULES, field)]
    return [(f"It requires {words}.", section) for words, section in demanded] + [RULES[field] for field in changed]
