"""Signing and verifying: others accept our tokens, and we accept only valid ones."""

import base64
import hashlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.errors import JoseError

from idp import clock
from idp.keys import jose
from idp.keys.algorithms import SIGNING_ALGORITHMS, VERIFICATION_ALGORITHMS
from idp.keys.jose import InvalidJWTError, SigningKey, registries
from idp.keys.jose.claims import MAX_TIMESTAMP
from tests.support.tokens import decode, encode
from tests.support.tokens import key as key_of

KEYS = {alg: key_of(alg) for alg in SIGNING_ALGORITHMS}
CLAIMS = {"iss": "https://id.example.com", "sub": "alice", "name": "Zoë"}
SYMMETRIC = bytes(range(32))
#: PyJWT knows EdDSA only by its old name.
PYJWT_ALGORITHMS = {"Ed25519": "EdDSA"}


def by_kid(*keys: SigningKey) -> dict[str, SigningKey]:
    return {key.kid: key for key in keys}


@pytest.mark.parametrize("alg", SIGNING_ALGORITHMS)
def test_a_token_verifies_and_names_its_key_and_kind(alg: str) -> None:
    key = KEYS[alg]
    token = jose.sign(key, "at+jwt", CLAIMS)
    assert decode(token.split(".")[0]) == {"alg": alg, "kid": key.kid, "typ": "at+jwt"}
    assert jose.verify(token, by_kid(key), typ="at+jwt") == CLAIMS


@pytest.mark.parametrize("alg", [alg for alg in SIGNING_ALGORITHMS if alg not in PYJWT_ALGORITHMS])
def test_an_independent_library_verifies_with_the_public_jwk(alg: str) -> None:
    key = KEYS[alg]
    public = jwt.PyJWK(key.public_jwk)
    assert jwt.decode(jose.sign(key, "JWT", CLAIMS), public, algorithms=[alg]) == CLAIMS


def test_an_independent_library_verifies_ed25519() -> None:
    key = KEYS["Ed25519"]
    signed, _, signature = jose.sign(key, "JWT", CLAIMS).rpartition(".")
    public = jwt.PyJWK(key.public_jwk | {"alg": "EdDSA"}).key
    public.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode())


def test_signing_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for key in KEYS.values():
            jose.verify(jose.sign(key, "JWT", CLAIMS), by_kid(key), typ="JWT")


@pytest.mark.parametrize("alg", SIGNING_ALGORITHMS)
def test_the_public_jwk_is_complete_and_only_public(alg: str) -> None:
    jwk = KEYS[alg].public_jwk
    members = {"RS256": {"n", "e"}, "PS256": {"n", "e"}, "ES256": {"crv", "x", "y"}}
    assert jwk.keys() == {"kty", "kid", "alg", "use"} | members.get(alg, {"crv", "x"})
    assert (jwk["alg"], jwk["use"], jwk["kid"]) == (alg, "sig", KEYS[alg].kid)
    assert not any(character in value for value in jwk.values() for character in "=+/")


def test_the_kid_is_the_rfc_7638_thumbprint() -> None:
    jwk = KEYS["RS256"].public_jwk
    canonical = f'{{"e":"{jwk["e"]}","kty":"RSA","n":"{jwk["n"]}"}}'
    assert KEYS["RS256"].kid == encode(hashlib.sha256(canonical.encode()).digest())


@pytest.mark.parametrize("alg", SIGNING_ALGORITHMS)
def test_a_private_jwk_round_trips(alg: str) -> None:
    again = jose.from_private_jwk(jose.to_private_jwk(KEYS[alg]))
    assert (again.kid, again.alg, again.public_jwk) == (KEYS[alg].kid, alg, KEYS[alg].public_jwk)
    assert jose.verify(jose.sign(again, "JWT", CLAIMS), by_kid(KEYS[alg]), typ="JWT") == CLAIMS


@pytest.mark.parametrize("alg", SIGNING_ALGORITHMS)
def test_a_stored_key_is_complete(alg: str) -> None:
    """It is not checked again when it is read."""
    key = jose.from_own_jwk(jose.to_private_jwk(KEYS[alg]))
    assert (key.kid, key.alg, key.size, key.public_jwk) == (KEYS[alg].kid, alg, KEYS[alg].size, KEYS[alg].public_jwk)
    assert jose.verify(jose.sign(key, "at+jwt", CLAIMS), by_kid(KEYS[alg]), typ="at+jwt") == CLAIMS
    assert jose.to_private_jwk(key) == jose.to_private_jwk(KEYS[alg])


def test_a_key_that_was_imported_without_its_primes_is_kept_too() -> None:
    """They need not be in a JWK (RFC 7518 section 6.3.2)."""
    whole = jose.to_private_jwk(KEYS["RS256"])
    imported = jose.from_private_jwk({name: whole[name] for name in ("kty", "n", "e", "d", "alg")})
    key = jose.from_own_jwk(jose.to_private_jwk(imported))
    assert jose.verify(jose.sign(key, "at+jwt", CLAIMS), by_kid(KEYS["RS256"]), typ="at+jwt") == CLAIMS


def test_a_key_does_not_show_its_secret() -> None:
    private = jose.to_private_jwk(KEYS["ES256"])["d"]
    assert private not in repr(KEYS["ES256"])


@pytest.mark.parametrize(
    ("alg", "size"),
    [("RS256", 1024), ("RS256", 2047), ("none", 2048), ("HS256", 2048), ("ES384", 0)],
)
def test_other_algorithms_and_sizes_are_not_made(alg: str, size: int) -> None:
    with pytest.raises(jose.UnsupportedAlgorithmError):
        jose.generate(alg, size)


@pytest.mark.parametrize(
    "change",
    [
        lambda jwk: jwk | {"alg": "ES256"},
        lambda jwk: jwk | {"alg": "HS256"},
        lambda jwk: {name: jwk[name] for name in jwk if name != "alg"},
        lambda jwk: {name: jwk[name] for name in jwk if name in ("kty", "n", "e", "alg")},
        lambda jwk: jwk | {"n": "AQAB"},
        lambda jwk: {name: jwk[name] for name in jwk if name != "p"},
    ],
    ids=["other alg", "symmetric alg", "no alg", "public only", "wrong modulus", "part of CRT"],
)
def test_a_private_jwk_must_fit(change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    with pytest.raises((jose.InvalidKeyError, jose.UnsupportedAlgorithmError)):
        jose.from_private_jwk(change(jose.to_private_jwk(KEYS["RS256"])))


def test_another_curve_is_not_ed25519() -> None:
    jwk = jose.to_private_jwk(KEYS["EdDSA"])
    with pytest.raises(jose.UnsupportedAlgorithmError):
        jose.from_private_jwk(jwk | {"crv": "X25519"})


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"])
def test_the_type_is_a_media_type(typ: str) -> None:
    key = KEYS["ES256"]
    assert jose.verify(jose.sign(key, typ, CLAIMS), by_kid(key), typ="at+jwt") == CLAIMS
    assert jose.verify(jose.sign(key, "at+jwt", CLAIMS), by_kid(key), typ=typ) == CLAIMS


@pytest.mark.parametrize("typ", ["JWT", "", "at", "rt+jwt", "application/application/at+jwt"])
def test_a_token_of_another_type_is_refused(typ: str) -> None:
    key = KEYS["ES256"]
    with pytest.raises(InvalidJWTError):
        jose.verify(jose.sign(key, typ, CLAIMS), by_kid(key), typ="at+jwt")


def test_without_a_wanted_type_any_is_accepted() -> None:
    key = KEYS["ES256"]
    assert jose.verify(jose.sign(key, "whatever", CLAIMS), by_kid(key), typ=None) == CLAIMS


def test_the_payload_must_be_an_object() -> None:
    key = KEYS["ES256"]
    payloads: tuple[Any, ...] = ([], "text", 1, None)
    for payload in payloads:
        with pytest.raises(InvalidJWTError):
            jose.verify(jose.sign(key, "JWT", payload), by_kid(key), typ="JWT")


# Symmetric


def test_symmetric_tokens_are_the_same_bytes_each_time() -> None:
    token = jose.sign_symmetric(SYMMETRIC, "rt+jwt", {"iat": 1, "jti": "x", "exp": 2})
    assert token == jose.sign_symmetric(SYMMETRIC, "rt+jwt", {"exp": 2, "jti": "x", "iat": 1})
    assert jose.verify_symmetric(token, SYMMETRIC, "rt+jwt") == {"iat": 1, "jti": "x", "exp": 2}
    assert jwt.decode(token, SYMMETRIC, algorithms=["HS256"], options={"verify_exp": False}) == {
        "iat": 1,
        "jti": "x",
        "exp": 2,
    }


def test_symmetric_tokens_need_the_key_and_the_type() -> None:
    token = jose.sign_symmetric(SYMMETRIC, "rt+jwt", CLAIMS)
    with pytest.raises(InvalidJWTError):
        jose.verify_symmetric(token, bytes(32), "rt+jwt")
    with pytest.raises(InvalidJWTError):
        jose.verify_symmetric(token, SYMMETRIC, "at+jwt")


# Times


@pytest.fixture
def now() -> int:
    return clock.timestamp()


def test_a_token_is_valid_within_its_times(now: int) -> None:
    jose.check_times({"exp": now + 60})
    jose.check_times({"exp": now + 60, "iat": now, "nbf": now - 1})
    jose.check_times({"exp": now + 60, "iat": now + 5}, leeway=10)


@pytest.mark.parametrize(
    "times",
    [{}, {"exp": 0}, {"exp": -1}, {"exp": -3600}, {"exp": 60, "nbf": 30}, {"exp": 60, "iat": 30}],
    ids=str,
)
def test_a_token_is_refused_outside_its_times(now: int, times: dict[str, int]) -> None:
    with pytest.raises(InvalidJWTError):
        jose.check_times({name: now + value for name, value in times.items()}, leeway=10)


def test_expiry_follows_the_clock(now: int, move_clock: Callable[[float], None]) -> None:
    jose.check_times({"exp": now + 60})
    move_clock(61)
    with pytest.raises(InvalidJWTError):
        jose.check_times({"exp": now + 60})


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    [True, 1.5, 4e9, "4000000000", None, [], {}, -1, 2**63, 10**4000],
    ids=lambda v: str(v)[:12],
)
def test_times_are_whole_seconds(now: int, name: str, value: object) -> None:
    with pytest.raises(InvalidJWTError):
        jose.check_times({"exp": now + 60, name: value})


# Hash claims


def test_the_hash_claims_are_those_of_the_specification() -> None:
    """The values of OpenID Connect Core appendix A.3 and A.4."""
    assert jose.left_half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "RS256") == ("77QmUPtjPfzWtF2AnpK9RQ")
    assert jose.left_half_hash("Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk", "ES256") == (
        "LDktKdoQak3Pk0cnXxCltA"
    )


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_the_hash_of_ed25519_is_sha_512(alg: str) -> None:
    assert jose.left_half_hash("token", alg) == encode(hashlib.sha512(b"token").digest()[:32])


# Anything


@pytest.mark.parametrize(
    ("claims", "absent", "found"),
    [
        ({"aud": "a"}, None, ["a"]), ({"aud": ["a", "b"]}, "c", ["a", "b"]), ({"aud": []}, "c", []),
        ({}, "c", ["c"]), ({}, None, []), ({"aud": None}, "c", []), ({"aud": {"a": 1}}, "c", [{"a": 1}]),
    ],
)  # fmt: skip
def test_an_audience(claims: dict[str, Any], absent: str | None, found: list[Any]) -> None:
    """RFC 7519 section 4.1.3. A member that is null is no absent one: it names nobody."""
    assert jose.audience(claims, absent) == found


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,80}(\.[A-Za-z0-9_-]{0,80}){0,4}", fullmatch=True))
def test_any_string_is_refused_the_same_way(token: str) -> None:
    with pytest.raises(InvalidJWTError):
        jose.verify(token, by_kid(*KEYS.values()), typ=None)
    with pytest.raises(InvalidJWTError):
        jose.verify_symmetric(token, SYMMETRIC, "rt+jwt")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(
    header=_JSON | st.fixed_dictionaries({"kid": st.sampled_from([k.kid for k in KEYS.values()]), "alg": _JSON}),
    payload=_JSON,
    signature=st.binary(max_size=600),
)
def test_any_json_is_refused_the_same_way(header: Any, payload: Any, signature: bytes) -> None:
    token = f"{encode(header)}.{encode(payload)}.{encode(signature)}"
    with pytest.raises(InvalidJWTError):
        jose.verify(token, by_kid(*KEYS.values()), typ=None)


@pytest.mark.parametrize("alg", SIGNING_ALGORITHMS)
@given(signature=st.binary(max_size=600))
def test_any_signature_is_refused_the_same_way(alg: str, signature: bytes) -> None:
    key = KEYS[alg]
    signed = jose.sign(key, "JWT", CLAIMS).rpartition(".")[0]
    with pytest.raises(InvalidJWTError):
        jose.verify(f"{signed}.{encode(signature)}", by_kid(key), typ="JWT")


def test_every_prefix_and_changed_character_is_refused() -> None:
    key = KEYS["ES256"]
    token = jose.sign(key, "JWT", {"sub": "alice"})
    changed = [token[:end] for end in range(len(token))]
    changed += [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))]
    changed += [token + suffix for suffix in ("=", "A", ".", " ", "\n")]
    for other in changed:
        with pytest.raises(InvalidJWTError):
            jose.verify(other, by_kid(key), typ="JWT")


JWKS: list[dict[str, Any]] = [dict(key.public_jwk) for key in KEYS.values()]
_HEADER_MEMBERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "x5c", "cty", "zip"]) | st.text(), _JSON
)
_HEADERS = st.builds(
    lambda key, members: {"alg": key.alg, "kid": key.kid, "typ": "JWT"} | members,
    st.sampled_from(list(KEYS.values())),
    _HEADER_MEMBERS,
)


def _refused(token: str) -> None:
    """Every function that reads a token refuses it; the last two do not verify it, and may accept it."""
    keys = by_kid(*KEYS.values())
    for typ in (None, "JWT"):
        with pytest.raises(InvalidJWTError):
            jose.verify(token, keys, typ)
    with pytest.raises(InvalidJWTError):
        jose.verify_symmetric(token, SYMMETRIC, "rt+jwt")
    for algorithms in (VERIFICATION_ALGORITHMS, ["RS256"], set[str](), frozenset({"none", "HS256"})):
        with pytest.raises(InvalidJWTError):
            jose.verify_foreign(token, JWKS, algorithms)
    for read in (jose.algorithm_of, jose.unverified_claims):
        with suppress(InvalidJWTError):
            read(token)


@given(st.binary(max_size=400).map(lambda data: data.decode("latin-1")) | st.text())
def test_any_bytes_are_refused_by_one_error(token: str) -> None:
    _refused(token)


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=600))
def test_any_three_parts_are_refused_by_one_error(header: bytes, payload: bytes, signature: bytes) -> None:
    _refused(f"{encode(header)}.{encode(payload)}.{encode(signature)}")


@given(header=_HEADERS | _HEADER_MEMBERS, payload=_JSON, signature=st.binary(max_size=600))
def test_any_header_is_refused_by_one_error(header: Any, payload: Any, signature: bytes) -> None:
    _refused(f"{encode(header)}.{encode(payload)}.{encode(signature)}")


@given(claims=st.dictionaries(st.sampled_from(["exp", "nbf", "iat"]), _JSON), fractions=st.booleans())
def test_any_times_are_valid_or_refused_by_one_error(claims: dict[str, Any], fractions: bool) -> None:
    with suppress(InvalidJWTError):
        jose.check_times(claims, fractions=fractions)
        assert isinstance(claims["exp"], int | float)
        assert clock.timestamp() - 1 < claims["exp"] <= MAX_TIMESTAMP


@given(jwk=st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "use", "alg", "kid"]), _JSON))
def test_any_published_key_is_refused_by_one_error(jwk: dict[str, Any]) -> None:
    """One that fits the token by its type, and one that does not."""
    for key in (KEYS["ES256"], KEYS["RS256"], KEYS["EdDSA"]):
        token = jose.sign(key, "JWT", CLAIMS)
        fitting = {name: value for name, value in key.public_jwk.items() if name in ("kty", "crv")}
        for published in (jwk, jwk | fitting):
            with pytest.raises(InvalidJWTError):
                jose.verify_foreign(token, [published], VERIFICATION_ALGORITHMS)


def test_deep_json_is_refused() -> None:
    for part in ("[" * 700, '{"a":' * 180):
        _refused(f"{encode(part.encode())}.{encode(part.encode())}.{encode(b'x')}")
    _refused(f"{encode({'alg': 'ES256'})}.{encode(b'[' * 9000)}.{encode(b'x')}")
    _refused(f"{encode(b'[' * 9000)}..")


# What joserfc must keep


def test_the_registries_hold_joserfc_to_our_lists() -> None:
    """Class attributes of ``JWSRegistry`` replace its default header members and sizes."""
    assert registries.OWN.header_registry.keys() == {"alg", "kid", "typ"}
    assert registries.FOREIGN.header_registry.keys() == {"alg", "crit"}
    assert (registries.OWN.max_header_length, registries.FOREIGN.max_header_length) == (1024, 12 * 1024)
    for registry, names in (
        (registries.OWN, SIGNING_ALGORITHMS),
        (registries.FOREIGN, VERIFICATION_ALGORITHMS),
        (registries.SYMMETRIC, ("HS256",)),
    ):
        for name in (*VERIFICATION_ALGORITHMS, "HS256", "HS384", "HS512", "none", "ES256K", "Ed448", "es256", ""):
            if name in names:
                assert registry.get_alg(name).name == name
            else:
                with pytest.raises(JoseError):
                    registry.get_alg(name)


def test_the_algorithms_of_our_own_are_those_that_joserfc_uses() -> None:
    """``JWSRegistry.register`` replaces an algorithm of the same name."""
    for name in ("ES256", "EdDSA"):
        assert type(registries.FOREIGN.get_alg(name)).__module__ == registries.__name__
