"""The rules for each member of client metadata, without a database."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest

from idp.errors import OAuthError
from idp.keys import jose
from idp.keys.algorithms import CONTENT_ENCRYPTION_ALGORITHMS
from idp.oauth.clients.members import MEMBERS, SECTIONS, Kind, kind_of
from idp.oauth.clients.metadata import ClientMetadata, read_metadata
from idp.oauth.clients.validation import not_possible, validate
from idp.oauth.clients.validation.general import MAX_JWKS_BYTES

pytestmark = pytest.mark.usefixtures("accepts_certificates")

KEY = jose.generate("ES256")
EC = {name: KEY.public_jwk[name] for name in ("kty", "crv", "x", "y", "kid")}
PRIVATE = jose.to_private_jwk(KEY)
RSA = jose.generate("RS256").public_jwk
OKP = jose.generate("EdDSA").public_jwk
JWKS = {"keys": [EC]}
WEB: dict[str, Any] = {"client_name": "Shop", "redirect_uris": ["https://shop.example/cb"]}
SERVICE: dict[str, Any] = {"client_name": "Batch", "grant_types": ["client_credentials"], "scope": "read"}
UNKNOWN = {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}
#: A modulus of 1024 bits.
SHORT = urlsafe_b64encode(b"\xff" * 128).rstrip(b"=").decode()
URI = "https://shop.example/keys"
#: Values of a wrong content that no member with a text, or a list of them, accepts.
BAD: dict[Kind, list[Any]] = {
    Kind.TEXT: ["a\0", "\ud800", "a\nb", "x" * 5000],
    Kind.LIST: [["a\0"], ["\ud800"], ["a\nb"], ["x" * 5000], [f"https://shop.example/{n}" for n in range(101)]],
}


def checked(**metadata: Any) -> ClientMetadata:
    return validate(msgspec.convert(WEB | metadata, ClientMetadata))


def refused(**metadata: Any) -> OAuthError:
    with pytest.raises(OAuthError) as found:
        checked(**metadata)
    return found.value


@pytest.mark.parametrize("name", list(ClientMetadata.__struct_fields__))
def test_a_value_of_a_wrong_type_is_named(name: str) -> None:
    wrong = "a" if kind_of(name) in (Kind.LIST, Kind.FLAG, Kind.NUMBER, Kind.OBJECT) else 5
    with pytest.raises(OAuthError, match=f"{name} has a value of a wrong type"):
        read_metadata(WEB | {name: wrong})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (WEB | {"surprise": 1}, "does not know"),
        (WEB | {"\ud800": 1}, "does not know"),
        ({"redirect_uris": []}, "client_name is missing"),
        (WEB | {"jwks": "\ud800"}, "wrong type"),
        (WEB | {"contacts": "\ud800"}, "wrong type"),
    ],
    ids=ascii,
)
def test_metadata_that_cannot_be_read(values: dict[str, Any], named: str) -> None:
    with pytest.raises(OAuthError, match=named):
        read_metadata(values)


def test_every_member_is_in_the_table() -> None:
    assert set(MEMBERS) == set(ClientMetadata.__struct_fields__)
    assert {member.section for member in MEMBERS.values()} == set(SECTIONS)


def _names(value: Any) -> str:
    """Return the id of a parameter without its keys, which differ in every process."""
    return " ".join(value) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize("name", [name for name, member in MEMBERS.items() if member.choices is not None])
def test_only_listed_values_are_accepted(name: str) -> None:
    for value in ("", "none ", "nOnE", "RSA1_5", "HS256 ", "\0", "x" * 300):
        error = refused(**{name: [value] if kind_of(name) is Kind.LIST else value})
        assert error.code == "invalid_client_metadata"
        assert name in error.description


@pytest.mark.parametrize("name", [name for name in ClientMetadata.__struct_fields__ if kind_of(name) in BAD])
def test_texts_are_short_and_printable(name: str) -> None:
    """A member with a text, or a list of them, refuses NUL, half a character pair, a newline and what is too long."""
    for value in BAD[kind_of(name)]:
        error = refused(**{name: value})
        assert error.code in ("invalid_client_metadata", "invalid_redirect_uri")
        assert name in error.description or error.code == "invalid_redirect_uri" or "post-logout" in error.description


@pytest.mark.parametrize(
    "name", [" ", "\u3164", "\u2800\u2800", "\ufe0f", "Shop\u115f", "Sh\u034fop", "Shop\u202e", "S\u200bhop"]
)
def test_a_name_can_be_seen(name: str) -> None:
    """Otherwise the consent page would ask for nobody, or two names would look the same."""
    assert "client_name" in refused(client_name=name).description


@pytest.mark.parametrize("name", ["Zoë's shop", "商店", "❤\ufe0f Notes", "متجر"])
def test_names_of_all_languages(name: str) -> None:
    assert checked(client_name=name).client_name == name


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"token_endpoint_auth_signing_alg": "RS256"}, "token_endpoint_auth_signing_alg needs"),
        ({"tls_client_auth_san_dns": "shop.example"}, "tls_client_auth_san_dns needs"),
        ({"jwks": JWKS, "jwks_uri": URI}, "exclude each other"),
        ({"jwks_uri": "http://shop.example/keys"}, "jwks_uri"),
        ({"jwks_uri": "/keys"}, "jwks_uri"),
        ({"request_object_signing_alg": "RS256"}, "request_object_signing_alg needs jwks or jwks_uri"),
        ({"request_object_signing_alg": "HS256", "jwks": JWKS}, "request_object_signing_alg must be"),
        ({"request_object_signing_alg": "RS256", "jwks": JWKS}, "jwks has no key"),
        ({"request_object_signing_alg": "ES256", "jwks": {"keys": [EC | {"use": "enc"}]}}, "jwks has no key"),
        ({"require_signed_request_object": True}, "require_signed_request_object needs"),
        ({"request_uris": ["https://shop.example/request"]}, "request_uris needs"),
        ({"request_uris": ["http://shop.example/request"], "jwks": JWKS}, "request_uris"),
        ({"request_object_encryption_alg": "RSA-OAEP", "jwks": JWKS}, "not supported"),
        ({"request_object_encryption_enc": "A128GCM", "jwks": JWKS}, "not supported"),
        ({"id_token_encrypted_response_alg": "RSA-OAEP"}, "id_token_encrypted_response_alg needs"),
        ({"userinfo_encrypted_response_alg": "RSA-OAEP", "jwks": JWKS}, "jwks has no key"),
        ({"id_token_encrypted_response_enc": "A128GCM"}, "needs id_token_encrypted_response_alg"),
        ({"authorization_encrypted_response_enc": "A128GCM"}, "needs authorization_encrypted_response_alg"),
        ({"introspection_encrypted_response_enc": "A128GCM"}, "needs introspection_encrypted_response_alg"),
        ({"response_types": ["id_token"]}, "response_types"),
        ({"response_types": ["code", "token"]}, "response_types"),
        ({"response_types": ["none"]}, "response_types"),
        ({"default_max_age": -1}, "default_max_age"),
        ({"default_max_age": 2**62}, "default_max_age"),
        ({"access_token_lifetime": 29}, "access_token_lifetime"),
        ({"access_token_lifetime": 2**62}, "access_token_lifetime"),
        ({"refresh_token_lifetime": 59}, "refresh_token_lifetime"),
        ({"refresh_token_family_lifetime": 2**62}, "refresh_token_family_lifetime"),
        ({"initiate_login_uri": "http://shop.example/login"}, "initiate_login_uri"),
        ({"sector_identifier_uri": "ftp://shop.example/sector"}, "sector_identifier_uri"),
        ({"backchannel_logout_uri": "http://shop.example/logout"}, "backchannel_logout_uri"),
        ({"backchannel_logout_uri": "https://shop.example/logout#part"}, "backchannel_logout_uri"),
        ({"frontchannel_logout_uri": "http://shop.example/logout"}, "frontchannel_logout_uri"),
        ({"frontchannel_logout_uri": "https://other.example/logout"}, "frontchannel_logout_uri"),
        ({"frontchannel_logout_uri": "https://shop.example:8443/logout"}, "frontchannel_logout_uri"),
        ({"redirect_uris": ["https://a.example/", "https://b.example/"], "subject_type": "pairwise"}, "subject_type"),
        ({"profile": "unheard_of"}, "profile"),
    ],
    ids=_names,
)
def test_what_does_not_fit_together_is_refused(metadata: dict[str, Any], named: str) -> None:
    error = refused(**metadata)
    assert (error.code, named in error.description) == ("invalid_client_metadata", True), error.description


@pytest.mark.parametrize(
    ("jwks", "reason"),
    [
        ({}, "list of keys"),
        ({"keys": []}, "no RSA, EC or OKP key"),
        ({"keys": {}}, "list of keys"),
        ({"keys": ["a"]}, "list of keys"),
        ({"keys": [EC] * 21}, "more than 20"),
        ({"keys": [PRIVATE]}, "private"),
        ({"keys": [EC, {"kty": "oct", "k": "AAAA"}]}, "symmetric"),
        ({"keys": [EC | {"k": "AAAA"}]}, "private"),
        ({"keys": [UNKNOWN]}, "no RSA, EC or OKP key"),
        ({"keys": [EC | {"crv": "secp256k1"}]}, "no RSA, EC or OKP key"),
        ({"keys": [EC | {"kty": []}]}, "no RSA, EC or OKP key"),
        ({"keys": [EC | {"x": "AAAA"}]}, "cannot be read"),
        ({"keys": [EC | {"x": 5}]}, "cannot be read"),
        ({"keys": [EC | {"x": EC["y"], "y": EC["x"]}]}, "cannot be read"),
        ({"keys": [{"kty": "EC", "crv": "P-256"}]}, "cannot be read"),
        ({"keys": [RSA | {"n": SHORT}]}, "too short"),
        ({"keys": [RSA | {"n": "!"}]}, "cannot be read"),
        ({"keys": [RSA | {"e": RSA["n"]}]}, ""),
        ({"keys": [OKP | {"x": "AAAA"}]}, "cannot be read"),
        ({"keys": [EC | {"kid": 5}]}, "kid"),
        ({"keys": [EC | {"kid": "x" * 201}]}, "kid"),
        ({"keys": [EC | {"x5t": "\0"}]}, "NUL"),
        ({"keys": [EC | {"x5t": "\ud800"}]}, "not JSON"),
        ({"keys": [EC | {"x5c": ["A" * MAX_JWKS_BYTES]}]}, "larger"),
    ],
    ids=_names,
)
def test_key_sets_that_are_refused(jwks: Any, reason: str) -> None:
    error = refused(jwks=jwks)
    assert error.code == "invalid_client_metadata"
    assert error.description.startswith("jwks ")
    assert reason in error.description


@pytest.mark.parametrize("keys", [[EC], [RSA], [OKP], [EC, UNKNOWN, RSA], [{**EC, "x5c": ["AAAA"], "note": {"a": 1}}]])
def test_key_sets_that_are_accepted(keys: list[dict[str, Any]]) -> None:
    assert checked(jwks={"keys": keys}).jwks == {"keys": keys}


@pytest.mark.parametrize("member", [n for n in MEMBERS if n.endswith("_encrypted_response_alg")])
def test_the_content_encryption_has_a_default(member: str) -> None:
    enc = member.replace("_alg", "_enc")
    signed = {"userinfo_signed_response_alg": "RS256"}
    found = checked(**signed | {member: "ECDH-ES", "jwks": JWKS})
    assert getattr(found, enc) == "A128CBC-HS256" == CONTENT_ENCRYPTION_ALGORITHMS[0]
    assert getattr(checked(**signed | {member: "ECDH-ES", enc: "A256GCM", "jwks_uri": URI}), enc) == "A256GCM"


def test_response_types_follow_the_grants() -> None:
    assert checked().response_types == ("code",)
    assert checked(response_types=[]).response_types == ("code",)
    assert checked(response_types=["code", "code"]).response_types == ("code",)
    assert validate(msgspec.convert(SERVICE, ClientMetadata)).response_types == ()


@pytest.mark.parametrize("member", ["backchannel_logout_uri", "frontchannel_logout_uri"])
def test_a_service_takes_part_in_no_session(member: str) -> None:
    with pytest.raises(OAuthError, match=member):
        validate(msgspec.convert(SERVICE | {member: "https://shop.example/logout"}, ClientMetadata))


@pytest.mark.parametrize(
    "metadata",
    [
        {"jwks_uri": URI, "request_object_signing_alg": "PS256", "require_signed_request_object": True},
        {"jwks": JWKS, "request_object_signing_alg": "ES256", "request_uris": ["https://shop.example/r#hash"]},
        {"default_max_age": 0, "require_auth_time": True, "initiate_login_uri": "https://shop.example/login"},
        {"contacts": ["ops@shop.example", "+1 555 0100"], "software_id": "4NRB1-0XZABZI9E6", "software_version": "2"},
        {"subject_type": "pairwise", "redirect_uris": ["https://a.example/1", "https://a.example:8443/2"]},
        {"userinfo_signed_response_alg": "ES256", "introspection_signed_response_alg": "EdDSA"},
        {"require_pushed_authorization_requests": True, "dpop_bound_access_tokens": True},
        {"tls_client_certificate_bound_access_tokens": True},
        {"backchannel_logout_uri": "https://api.shop.example/x?y=z", "backchannel_logout_session_required": True},
        {"frontchannel_logout_uri": "https://SHOP.example:443/x?y=z", "frontchannel_logout_session_required": True},
        {"backchannel_logout_session_required": True},
    ],
    ids=_names,
)
def test_what_is_accepted(metadata: dict[str, Any]) -> None:
    found = checked(**metadata)
    assert json.loads(msgspec.json.encode({name: getattr(found, name) for name in metadata})) == metadata


TLS = {"token_endpoint_auth_method": "tls_client_auth"}


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        (TLS, "needs one of tls_client_auth_subject_dn, "),
        (TLS | {"tls_client_auth_san_dns": "a.example", "tls_client_auth_san_ip": "192.0.2.1"}, "needs one of"),
        (TLS | {"tls_client_auth_subject_dn": "client"}, "tls_client_auth_subject_dn must be"),
        (TLS | {"tls_client_auth_subject_dn": "CN=a,,O=b"}, "tls_client_auth_subject_dn must be"),
        (TLS | {"tls_client_auth_subject_dn": "UNHEARD=a"}, "tls_client_auth_subject_dn must be"),
        (TLS | {"tls_client_auth_subject_dn": "cn=client"}, "tls_client_auth_subject_dn must be"),
        (TLS | {"tls_client_auth_subject_dn": ""}, "tls_client_auth_subject_dn must be"),
        (TLS | {"tls_client_auth_san_dns": "https://a.example"}, "tls_client_auth_san_dns must be"),
        (TLS | {"tls_client_auth_san_uri": "a.example"}, "tls_client_auth_san_uri must be"),
        (TLS | {"tls_client_auth_san_ip": "192.0.2.256"}, "tls_client_auth_san_ip must be"),
        (TLS | {"tls_client_auth_san_email": "a.example"}, "tls_client_auth_san_email must be"),
        ({"token_endpoint_auth_method": "self_signed_tls_client_auth"}, "needs jwks or jwks_uri"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "needs jwks or jwks_uri"),
        (
            {"token_endpoint_auth_method": "client_secret_jwt", "token_endpoint_auth_signing_alg": "RS256"},
            "must be one of HS256",
        ),
        (
            {
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_signing_alg": "HS256",
                "jwks_uri": URI,
            },
            "token_endpoint_auth_signing_alg must be one of RS256",
        ),
    ],
    ids=_names,
)
def test_ways_to_authenticate_that_are_refused(metadata: dict[str, Any], named: str) -> None:
    error = refused(**metadata)
    assert (error.code, named in error.description) == ("invalid_client_metadata", True), error.description


@pytest.mark.parametrize(
    "metadata",
    [
        TLS | {"tls_client_auth_subject_dn": "CN=client,O=Example GmbH,C=DE"},
        TLS | {"tls_client_auth_subject_dn": "emailAddress=a@b.example,CN=a\\, b"},
        TLS | {"tls_client_auth_san_dns": "*.a.example"},
        TLS | {"tls_client_auth_san_uri": "spiffe://a.example/client"},
        TLS | {"tls_client_auth_san_ip": "2001:db8::1"},
        TLS | {"tls_client_auth_san_email": "client@a.example"},
        {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": URI},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS, "token_endpoint_auth_signing_alg": "ES256"},
        {"token_endpoint_auth_method": "client_secret_jwt", "token_endpoint_auth_signing_alg": "HS256"},
    ],
    ids=_names,
)
def test_ways_to_authenticate_that_are_accepted(metadata: dict[str, Any]) -> None:
    found = checked(**metadata)
    assert {name: getattr(found, name) for name in metadata} == metadata


def test_what_is_not_possible_is_told_with_its_reason() -> None:
    """The rules themselves are asked, so the reasons cannot differ from what a change answers."""
    plain = not_possible(checked())
    assert plain["require_signed_request_object"] == "require_signed_request_object needs jwks or jwks_uri."
    assert "jwks" in plain["id_token_encrypted_response_alg"]
    assert not plain.keys() & {"id_token_signed_response_alg", "require_pkce", "skip_consent", "client_name", "jwks"}
    with_keys = not_possible(checked(jwks={"keys": [EC, RSA]}))
    assert "require_signed_request_object" not in with_keys
    assert not_possible(checked(token_endpoint_auth_method="none"))["require_pkce"] == (
        "A client without a secret must use PKCE."
    )


def test_no_description_breaks_the_rules_of_rfc_6749() -> None:
    """Section 5.2: no double quote, no backslash, ASCII only; whatever a member holds."""
    allowed = set(map(chr, range(0x20, 0x7F))) - set('"\\')
    descriptions = []
    for name in MEMBERS:
        for value in ('"\\\u00e9', ['"\\\u00e9'], {"keys": [{"kty": '"'}]}, 2**40):
            try:
                checked(**{name: value})
            except OAuthError as error:
                descriptions.append(error.description)
            except msgspec.ValidationError:
                pass  # registration answers with a sentence of its own
    assert len(descriptions) >= len(MEMBERS) / 2
    assert set("".join(descriptions)) <= allowed
