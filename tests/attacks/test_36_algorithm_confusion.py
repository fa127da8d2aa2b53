"""Row 36: a token that names the algorithm by which it is verified."""

import hmac
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from idp.keys import jose
from idp.keys.jose import InvalidJWTError
from tests.support.tokens import CLAIMS, encode, key, unsigned

PUBLIC_KEY = key("RS256").key.public_key
assert isinstance(PUBLIC_KEY, rsa.RSAPublicKey)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_36_none(alg: str, signature: str) -> None:
    token = f"{unsigned({'alg': alg, 'kid': key('RS256').kid, 'typ': 'JWT'})}.{signature}"
    with pytest.raises(InvalidJWTError):
        jose.verify(token, {key("RS256").kid: key("RS256")}, typ="JWT")


@pytest.mark.parametrize(
    "secret",
    [
        PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        PUBLIC_KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key("RS256").public_jwk["n"].encode(),
        key("RS256").kid.encode(),
        b"",
    ],
    ids=["PEM", "PEM stripped", "PKCS 1", "DER", "modulus", "kid", "empty"],
)
def test_36_hmac_with_the_public_key(secret: bytes) -> None:
    signed = unsigned({"alg": "HS256", "kid": key("RS256").kid, "typ": "JWT"})
    token = f"{signed}.{encode(hmac.digest(secret, signed.encode(), sha256))}"
    with pytest.raises(InvalidJWTError):
        jose.verify(token, {key("RS256").kid: key("RS256")}, typ="JWT")


def _rsa_signature(alg: str, data: bytes) -> bytes:
    private = key("RS256").key.private_key
    assert isinstance(private, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    return private.sign(data, pss if alg == "PS256" else padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("named", ["RS256", "PS256"])
@pytest.mark.parametrize("used", ["RS256", "PS256"])
def test_36_rsa_paddings_are_not_mixed(named: str, used: str) -> None:
    """A key is for one algorithm, even where its owner signed by another one."""
    signed = unsigned({"alg": named, "kid": key("RS256").kid, "typ": "JWT"})
    token = f"{signed}.{encode(_rsa_signature(used, signed.encode()))}"
    keys = {key("RS256").kid: key("RS256")}
    if named == used == "RS256":
        assert jose.verify(token, keys, typ="JWT") == CLAIMS
    else:
        with pytest.raises(InvalidJWTError):
            jose.verify(token, keys, typ="JWT")


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "Ed25519", "PS256", "RS384", "ES256K", "ML-DSA-65"])
def test_36_another_algorithm_for_the_key(alg: str) -> None:
    signed = unsigned({"alg": alg, "kid": key("RS256").kid, "typ": "JWT"})
    token = f"{signed}.{encode(_rsa_signature('RS256', signed.encode()))}"
    with pytest.raises(InvalidJWTError):
        jose.verify(token, {key("RS256").kid: key("RS256")}, typ="JWT")


def test_36_the_two_names_of_ed25519_are_not_mixed() -> None:
    signed = unsigned({"alg": "Ed25519", "kid": key("EdDSA").kid, "typ": "JWT"})
    signature = key("EdDSA").key.private_key.sign(signed.encode())  # type: ignore[union-attr,call-arg]
    with pytest.raises(InvalidJWTError):
        jose.verify(f"{signed}.{encode(signature)}", {key("EdDSA").kid: key("EdDSA")}, typ="JWT")


def test_36_encrypted_wrapping_of_unsigned_claims() -> None:
    """A JWE has five parts. Nothing is decrypted here."""
    header = encode({"alg": "dir", "enc": "A256GCM", "kid": key("RS256").kid, "cty": "JWT"})
    for token in (
        f"{header}..{encode(bytes(12))}.{encode(CLAIMS)}.{encode(bytes(16))}",
        f"{header}.{encode(CLAIMS)}.{encode(bytes(16))}",
    ):
        with pytest.raises(InvalidJWTError):
            jose.verify(token, {key("RS256").kid: key("RS256")}, typ=None)


def test_36_symmetric_and_signed_tokens_are_not_mixed() -> None:
    secret = bytes(range(32))
    refresh = jose.sign_symmetric(secret, "rt+jwt", CLAIMS)
    with pytest.raises(InvalidJWTError):
        jose.verify(refresh, {key("RS256").kid: key("RS256")}, typ=None)
    access = jose.sign(key("RS256"), "rt+jwt", CLAIMS)
    with pytest.raises(InvalidJWTError):
        jose.verify_symmetric(access, secret, "rt+jwt")
    for header in ({"alg": "none", "typ": "rt+jwt"}, {"alg": "HS512", "typ": "rt+jwt"}):
        with pytest.raises(InvalidJWTError):
            jose.verify_symmetric(f"{unsigned(header)}.", secret, "rt+jwt")
