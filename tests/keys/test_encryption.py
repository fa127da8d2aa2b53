"""Encrypting tokens for clients: an independent library decrypts them, and unfit keys are refused."""

import warnings
from functools import cache
from typing import Any

import authlib.deprecate  # noqa: F401 -- this import turns its warnings on
import pytest
from joserfc import jwe as joserfc_jwe
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from idp.keys import jose
from idp.keys.algorithms import CONTENT_ENCRYPTION_ALGORITHMS, KEY_ENCRYPTION_ALGORITHMS
from idp.keys.jose import NoMatchingKeyError, UnsupportedAlgorithmError
from tests.support.tokens import CLAIMS, decode, key

with warnings.catch_warnings():
    # Authlib recommends joserfc, which the product uses.
    warnings.simplefilter("ignore")
    from authlib.jose import JsonWebEncryption

SIGNED = jose.sign(key("ES256"), "JWT", CLAIMS)
Jwk = dict[str, Any]


@cache
def _private(kind: str) -> Any:
    make = {
        "RSA": lambda: RSAKey.generate_key(2048),
        "RSA-1024": lambda: RSAKey.generate_key(1024),
        "P-256": lambda: ECKey.generate_key("P-256"),
        "P-384": lambda: ECKey.generate_key("P-384"),
        "P-521": lambda: ECKey.generate_key("P-521"),
        "X25519": lambda: OKPKey.generate_key("X25519"),
        "Ed25519": lambda: OKPKey.generate_key("Ed25519"),
        "secp256k1": lambda: ECKey.generate_key("secp256k1"),
        "oct": lambda: OctKey.generate_key(256),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make[kind]()


def _jwk(kind: str, *, private: bool = False, **members: Any) -> Jwk:
    return dict(_private(kind).as_dict(private=private)) | members


def _kind_for(alg: str) -> str:
    return "RSA" if alg.startswith("RSA") else "P-256"


@pytest.mark.parametrize("enc", CONTENT_ENCRYPTION_ALGORITHMS)
@pytest.mark.parametrize("alg", KEY_ENCRYPTION_ALGORITHMS)
def test_an_independent_library_decrypts(alg: str, enc: str) -> None:
    kind = _kind_for(alg)
    token = jose.encrypt(SIGNED, [_jwk(kind, kid="theirs", use="enc")], alg, enc)
    header = decode(token.split(".")[0])
    epk = header.pop("epk", None)
    assert header == {"alg": alg, "enc": enc, "cty": "JWT", "kid": "theirs"}
    assert (epk is not None) == alg.startswith("ECDH")
    assert epk is None or set(epk) == {"kty", "crv", "x", "y"}
    found = JsonWebEncryption().deserialize_compact(token, _jwk(kind, private=True))
    assert found["payload"].decode() == SIGNED


@pytest.mark.parametrize("kind", ["P-384", "P-521", "X25519"])
@pytest.mark.parametrize("alg", ["ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"])
def test_every_curve(kind: str, alg: str) -> None:
    token = jose.encrypt(SIGNED, [_jwk(kind)], alg, "A256GCM")
    found = joserfc_jwe.decrypt_compact(token, _private(kind), algorithms=[alg, "A256GCM"])
    assert found.plaintext == SIGNED.encode()


def test_two_encryptions_have_nothing_in_common() -> None:
    one, other = (jose.encrypt(SIGNED, [_jwk("P-256")], "ECDH-ES", "A128GCM").split(".") for _ in range(2))
    assert not {*one[:1], *one[2:]} & {*other[:1], *other[2:]}


def _opens(token: str, kind: str) -> bool:
    try:
        JsonWebEncryption().deserialize_compact(token, _jwk(kind, private=True))
    except Exception:
        return False
    return True


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        # A key for signatures comes first in the set, as many clients publish theirs.
        ([("P-256", {"use": "sig"}), ("P-384", {"use": "enc"})], "P-384"),
        ([("P-256", {}), ("P-384", {"use": "enc"})], "P-384"),
        ([("P-256", {"use": "enc"}), ("P-384", {"use": "enc", "alg": "ECDH-ES"})], "P-384"),
        ([("P-256", {"alg": "ES256"}), ("P-384", {})], "P-384"),
        ([("P-256", {"key_ops": ["verify"]}), ("P-384", {"key_ops": ["deriveBits"]})], "P-384"),
        ([("RSA", {}), ("Ed25519", {}), ("secp256k1", {}), ("P-256", {})], "P-256"),
        ([("P-256", {}), ("P-384", {})], "P-256"),
    ],
)
def test_which_key_is_used(keys: list[tuple[str, Jwk]], chosen: str) -> None:
    token = jose.encrypt(SIGNED, [_jwk(kind, **members) for kind, members in keys], "ECDH-ES", "A128GCM")
    assert [kind for kind, _ in keys if _opens(token, kind)] == [chosen]


def _damaged(**members: Any) -> Jwk:
    return _jwk("P-256") | members


@pytest.mark.parametrize(
    "jwks",
    [
        [],
        [{}],
        [_jwk("RSA")],
        [_jwk("oct", private=True)],
        [_jwk("Ed25519")],
        [_jwk("P-256", use="sig")],
        [_jwk("P-256", alg="RSA-OAEP")],
        [_damaged(x="AAAA")],
        [_damaged(x=None)],
        [_damaged(x=["x"])],
        [_damaged(y="\0")],
        [_damaged(crv="P-521")],
        [_damaged(crv=["P-256"])],
        [_damaged(crv="X25519")],
        [{"kty": "OKP", "crv": "P-256", "x": ""}],
        [_damaged(key_ops=5)],
        [_damaged(key_ops=[["verify"]])],
        [_damaged(kty=["EC"])],
    ],
)
def test_no_key_that_can_be_used(jwks: list[Jwk]) -> None:
    with pytest.raises(NoMatchingKeyError):
        jose.encrypt(SIGNED, jwks, "ECDH-ES", "A128GCM")


def test_a_short_rsa_key_is_refused() -> None:
    with pytest.raises(NoMatchingKeyError):
        jose.encrypt(SIGNED, [_jwk("RSA-1024")], "RSA-OAEP-256", "A128GCM")


def test_a_large_rsa_exponent_is_refused() -> None:
    """Encrypting with it would take as long as decrypting."""
    with pytest.raises(NoMatchingKeyError):
        jose.encrypt(SIGNED, [_jwk("RSA", e="f" * 300)], "RSA-OAEP-256", "A128GCM")


@pytest.mark.parametrize(
    ("alg", "enc"),
    [
        ("RSA1_5", "A128GCM"),
        ("dir", "A128GCM"),
        ("A128KW", "A128GCM"),
        ("PBES2-HS256+A128KW", "A128GCM"),
        ("ECDH-ES+A192KW", "A128GCM"),
        ("none", "A128GCM"),
        ("", "A128GCM"),
        ("ECDH-ES", "A192GCM"),
        ("ECDH-ES", "C20P"),
        ("ECDH-ES", ""),
    ],
)
def test_no_other_algorithm(alg: str, enc: str) -> None:
    with pytest.raises(UnsupportedAlgorithmError):
        jose.encrypt(SIGNED, [_jwk("RSA"), _jwk("P-256"), _jwk("oct", private=True)], alg, enc)


def test_the_private_part_of_a_key_is_never_used_nor_sent() -> None:
    """A client that registers its private key by mistake gets tokens that do not repeat it."""
    token = jose.encrypt(SIGNED, [_jwk("P-256", private=True)], "ECDH-ES", "A128GCM")
    assert set(decode(token.split(".")[0])["epk"]) == {"kty", "crv", "x", "y"}
    assert _jwk("P-256", private=True)["d"] not in str(decode(token.split(".")[0]))
