"""Row 37: a token of another issuer cannot choose its key either, nor what it is checked with.

Rows 36 and 38 for such tokens too: the functions are the same.
"""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from idp.keys import jose
from idp.keys.jose import InvalidJWTError, NoMatchingKeyError
from tests.support.tokens import CLAIMS, encode, hmac_signed, key, signed, unsigned

ES256, RS256 = key("ES256"), key("RS256")
JWKS: list[dict[str, Any]] = [ES256.public_jwk, RS256.public_jwk]
HEADER = {"alg": "ES256", "kid": ES256.kid, "typ": "JWT"}
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")


def _verify(token: str, jwks: list[dict[str, Any]] = JWKS, algorithms: tuple[str, ...] = ALGORITHMS) -> jose.Claims:
    return jose.verify_foreign(token, jwks, algorithms)


def test_37_the_control_is_accepted() -> None:
    """Also from issuers that name no algorithm, or no key where there is but one."""
    assert _verify(signed(ES256, HEADER)) == CLAIMS
    assert _verify(signed(ES256, HEADER | {"x5t": "AAAA"})) == CLAIMS
    bare = {name: value for name, value in ES256.public_jwk.items() if name not in ("alg", "use")}
    assert _verify(signed(ES256, HEADER), [bare, RS256.public_jwk]) == CLAIMS
    assert _verify(signed(ES256, {"alg": "ES256"})) == CLAIMS


STRANGER = jose.generate("ES256")


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    "members",
    [
        {"jwk": STRANGER.public_jwk}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example"},
        {"x5c": ["MIIB"]}, {"x5c": ["M" * 6000]}, {"b64": False}, {"zip": "DEF"}, {"p2c": 2**31}, {"cty": "JWT"},
        {"com.example.private": {"a": [1]}},
    ],
    ids="-".join,
)  # fmt: skip
def test_37_members_that_are_not_followed(members: dict[str, Any]) -> None:
    """They are ignored (RFC 7515 section 4), and nothing is verified with their keys."""
    assert _verify(signed(ES256, HEADER | members)) == CLAIMS
    for kid in (ES256.kid, STRANGER.kid):
        with pytest.raises(InvalidJWTError):
            _verify(signed(STRANGER, HEADER | members | {"kid": kid}))


@pytest.mark.parametrize("members", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}])
def test_37_critical_headers_are_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidJWTError):
        _verify(signed(ES256, HEADER | members))


@pytest.mark.parametrize("kid", ["", "../", "' OR 1=1 --", "no-such-key", 7, ["x"], {}, True])
def test_37_keys_that_are_not_published(kid: object) -> None:
    with pytest.raises(InvalidJWTError):
        _verify(signed(ES256, HEADER | {"kid": kid}))


def test_37_a_kid_that_names_two() -> None:
    other = jose.generate("ES256").public_jwk | {"kid": ES256.kid}
    for jwks in ([ES256.public_jwk, other], [other, ES256.public_jwk]):
        with pytest.raises(NoMatchingKeyError):
            _verify(signed(ES256, HEADER), jwks)


def test_37_keys_for_something_else() -> None:
    """For encryption, for another algorithm, too short, private, or nonsense."""
    for change in ({"use": "enc"}, {"alg": "ES384"}, {"crv": "P-384"}, {"kty": "oct"}, {"x": "AA"}, {"x": 7}):
        with pytest.raises(InvalidJWTError):
            _verify(signed(ES256, HEADER), [ES256.public_jwk | change])


def test_37_a_key_that_is_slow_to_use() -> None:
    """An RSA exponent as large as the modulus makes a verification as slow as a signature."""
    header = HEADER | {"alg": "RS256", "kid": RS256.kid}
    assert _verify(signed(RS256, header)) == CLAIMS
    for exponent in (b"\1\0\0\0\1", b"\x7f" * 255):
        with pytest.raises(InvalidJWTError, match="too short or too long"):
            _verify(signed(RS256, header), [RS256.public_jwk | {"e": encode(exponent)}])


def test_37_other_algorithms() -> None:
    """None, HMAC under a public key, another padding, and one that the caller does not want."""
    public = RS256.key.public_key
    secrets = [public.public_bytes(form, PublicFormat.SubjectPublicKeyInfo) for form in (Encoding.DER, Encoding.PEM)]
    tokens = [
        f"{unsigned({'alg': 'none', 'kid': RS256.kid})}.",
        f"{unsigned({'alg': 'None', 'kid': RS256.kid})}.{encode(b'x')}",
        *(hmac_signed(secret, {"alg": "HS256", "kid": RS256.kid}) for secret in secrets),
        jwt.encode(CLAIMS, RS256.key.private_key, algorithm="PS256", headers={"kid": RS256.kid}),
    ]
    for token in tokens:
        with pytest.raises(InvalidJWTError):
            _verify(token)
    with pytest.raises(InvalidJWTError):
        _verify(signed(ES256, HEADER), algorithms=("RS256",))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "a.b.c.d", "é.b.c", "x" * 20_000, "[].[].x", "e30.e30."])
def test_37_malformed_tokens(token: str) -> None:
    with pytest.raises(InvalidJWTError):
        _verify(token)
