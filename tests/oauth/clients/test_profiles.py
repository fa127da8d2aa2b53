"""Security profiles: what each demands of metadata, and what a client gets that does not name it."""

from typing import Any

import msgspec
import pytest

from idp.errors import OAuthError
from idp.keys.algorithms import FAPI_ALGORITHMS
from idp.oauth.clients import profiles
from idp.oauth.clients.members import MEMBERS, Kind, kind_of
from idp.oauth.clients.metadata import ClientMetadata, metadata_of
from idp.oauth.clients.profiles import BINDINGS, PROFILES, RULES, Requirement, Rules, describe
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import update_client
from idp.oauth.clients.validation import not_possible, validate
from tests.support.ciba import GRANT as CIBA_GRANT
from tests.support.request_objects import jwks
from tests.support.tokens import key

pytestmark = pytest.mark.usefixtures("accepts_certificates")

FAPI = tuple(name for name in PROFILES if name.startswith("fapi2"))
WEB: dict[str, Any] = {
    "client_name": "Bank", "redirect_uris": ["https://bank.example/cb"],
    "jwks": jwks(*FAPI_ALGORITHMS), "grant_types": ["authorization_code", "refresh_token"],
}  # fmt: skip
#: A client that asks users who are elsewhere.
ASKING = WEB | {"redirect_uris": [], "grant_types": [CIBA_GRANT]}
ROWS = [(name, each) for name, profile in PROFILES.items() for each in profile.requirements]
#: What a value needs, so that only the profile can refuse it.
NEEDS = {"tls_client_auth": {"tls_client_auth_san_dns": "bank.example"}}


def checked(profile: str | None, **named: Any) -> ClientMetadata:
    """Return the metadata of a client that names these members."""
    members = (ASKING if profile == "fapi-ciba" else WEB) | named
    return validate(profiles.completed(msgspec.convert(members | {"profile": profile}, ClientMetadata), members.keys()))


def refused(profile: str, **named: Any) -> OAuthError:
    with pytest.raises(OAuthError) as found:
        checked(profile, **named)
    return found.value


def _values(each: Requirement) -> list[Any]:
    """All values of the member, where a list has one element."""
    if each.member == "response_types":
        return [["code"], ["code", "code id_token"], ["id_token"]]
    return [True, False] if kind_of(each.member) is Kind.FLAG else list(MEMBERS[each.member].choices or ())


def test_every_requirement_is_of_a_member() -> None:
    for name, each in ROWS:
        assert each.member in MEMBERS, name
        assert set(each.allowed) - {None} <= {*(MEMBERS[each.member].choices or ()), True, False, "code"}, name
    assert tuple(PROFILES) == MEMBERS["profile"].choices


def test_every_rule_has_words() -> None:
    assert tuple(RULES) == Rules.__struct_fields__
    for name in PROFILES:
        assert all(words.endswith(".") and section for words, section in describe(name))
    assert len(describe("fapi2-message-signing")) == len(describe("fapi2")) + 3


@pytest.mark.parametrize(("profile", "each"), ROWS, ids=lambda value: getattr(value, "member", value))
def test_what_a_profile_forbids_is_refused(profile: str, each: Requirement) -> None:
    """With the member and the profile in the reason, and with what is allowed."""
    for value in _values(each):
        needs = NEEDS.get(value if isinstance(value, str) else "", {})
        if each.allows(tuple(value) if isinstance(value, list) else value):
            assert checked(profile, **needs | {each.member: value}).profile == profile
            continue
        error = refused(profile, **needs | {each.member: value})
        assert error.code == "invalid_client_metadata"
        assert error.description == f"The profile {profile} requires {each.words}."
        assert each.member in each.words


@pytest.mark.parametrize("profile", PROFILES)
def test_a_client_gets_what_it_does_not_name(profile: str) -> None:
    """Only where the default of the specifications is not allowed."""
    found, plain = checked(profile), checked(None, **(ASKING if profile == "fapi-ciba" else {}))
    required = profiles.requirements(profile)
    for name in MEMBERS.keys() - {"profile", *BINDINGS}:
        value, usual = getattr(found, name), getattr(plain, name)
        assert value == usual or (name in required and not required[name].allows(usual)), name
    assert all(each.allows(getattr(found, each.member)) for each in required.values())


@pytest.mark.parametrize("profile", FAPI)
def test_tokens_of_fapi_are_bound(profile: str) -> None:
    """FAPI 2.0 Security Profile section 5.3.2.1, by the key of its authentication if it can."""
    named = dict.fromkeys(BINDINGS, False)
    error = refused(profile, **named)
    assert error.code == "invalid_client_metadata"
    assert all(name in error.description for name in BINDINGS)
    assert refused(profile, dpop_bound_access_tokens=False).code == "invalid_client_metadata"
    assert checked(profile).dpop_bound_access_tokens
    tls = checked(profile, token_endpoint_auth_method="self_signed_tls_client_auth")
    assert (tls.dpop_bound_access_tokens, tls.tls_client_certificate_bound_access_tokens) == (False, True)
    for name in BINDINGS:
        assert [getattr(checked(profile, **named | {name: True}), each) for each in BINDINGS] == [
            each == name for each in BINDINGS
        ]


@pytest.mark.parametrize("profile", FAPI)
@pytest.mark.parametrize(
    ("uri", "application_type"),
    [
        ("http://127.0.0.1/cb", "native"),
        ("http://localhost:8000/cb", "web"),
        ("com.example.app:/cb", "native"),
    ],
)
def test_redirects_of_fapi_are_https(profile: str, uri: str, application_type: str) -> None:
    """Section 5.3.2.2, without an exception."""
    error = refused(profile, application_type=application_type, redirect_uris=["https://bank.example/cb", uri])
    assert error.code == "invalid_redirect_uri"
    assert profile in error.description
    assert checked("mcp", application_type=application_type, redirect_uris=[uri]).profile == "mcp"


@pytest.mark.parametrize("profile", FAPI)
def test_keys_of_fapi_are_long_enough(profile: str) -> None:
    """Section 5.4.1, items 2 and 3: RSA of 2048 bits, elliptic curves of 224."""
    short = key("PS256").public_jwk | {"n": "_" * 171}
    assert "jwks" in refused(profile, jwks={"keys": [short]}).description


def test_a_public_client_of_fapi() -> None:
    assert "token_endpoint_auth_method" in refused("fapi2", token_endpoint_auth_method="none").description
    assert "jwks" in refused("fapi2", jwks=None).description


def test_without_a_profile_nothing_is_required() -> None:
    for value in _values(profiles.requirements("fapi2")["token_endpoint_auth_method"]):
        assert checked(None, token_endpoint_auth_method=value, **NEEDS.get(value, {})).profile is None
    assert profiles.requirements(None) == profiles.requirements("unheard_of") == {}
    assert profiles.completed(checked(None), ()) == checked(None)


def test_a_profile_can_be_chosen_if_its_values_are_possible() -> None:
    """The console asks for reasons: those of a profile are asked with the values that it brings along."""
    assert "profile" not in not_possible(checked(None))
    reasons = not_possible(checked("fapi2"))
    assert reasons["require_pkce"] == "The profile fapi2 requires require_pkce."
    assert reasons["authorization_challenge"] == "The profile fapi2 requires authorization_challenge to be off."
    assert set(BINDINGS) & reasons.keys() == {"dpop_bound_access_tokens"}


async def test_adopting_and_leaving_a_profile(db: str) -> None:
    """A client of any kind becomes one of a bank: it loses its secret. Then nothing that is forbidden can be set."""
    client, secret = await register_client(**WEB | {"scope": "openid"})
    assert secret is not None
    changed = await update_client(client.client_id, profile="fapi2")
    assert metadata_of(changed) == msgspec.structs.replace(
        metadata_of(client),
        profile="fapi2",
        token_endpoint_auth_method="private_key_jwt",
        require_pushed_authorization_requests=True,
        dpop_bound_access_tokens=True,
        id_token_signed_response_alg="ES256",
        introspection_signed_response_alg="ES256",
        authorization_signed_response_alg="ES256",
    )
    assert changed.client_secret_hash is None
    for change in (
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"dpop_bound_access_tokens": False},
        {"id_token_signed_response_alg": "RS256"},
        {"redirect_uris": ["http://localhost/cb"]},
        {"profile": "fapi2-message-signing", "require_signed_request_object": False},
        {"profile": "unheard_of"},
    ):
        with pytest.raises(OAuthError, match="profile"):
            await update_client(client.client_id, **change)
    signing = await update_client(client.client_id, profile="fapi2-message-signing")
    assert signing.require_signed_request_object
    free = await update_client(client.client_id, profile=None, id_token_signed_response_alg="RS256")
    assert (free.profile, free.id_token_signed_response_alg) == (None, "RS256")


async def test_a_named_value_is_never_replaced(db: str) -> None:
    with pytest.raises(OAuthError, match="token_endpoint_auth_method"):
        await register_client(**WEB, profile="fapi2", token_endpoint_auth_method="client_secret_basic")
    client, secret = await register_client(**WEB, profile="fapi2", id_token_signed_response_alg="PS256")
    assert (secret, client.id_token_signed_response_alg) == (None, "PS256")
