"""Row 36: client assertions that nobody signed, or that are signed by another algorithm."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from idp.keys import jose
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.models import Client
from tests.support.assertions import ClientKeys, claims, form, refuse, register_bank
from tests.support.tokens import encode, hmac_signed, key, unsigned

pytestmark = pytest.mark.usefixtures("db")

RSA = key("RS256")
KEYS = ClientKeys()
KEYS.keys = [RSA]
PUBLIC_KEY = RSA.key.public_key
assert isinstance(PUBLIC_KEY, rsa.RSAPublicKey)


@pytest.fixture
async def bank(db: str) -> Client:
    """A client with an RSA key."""
    return await register_bank("private_key_jwt", jwks=KEYS.jwks("alg"))


async def test_36_the_control_of_assertions(bank: Client) -> None:
    assert await authenticate(None, form(KEYS.assertion(bank.client_id))) == bank


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 0, ["RS256"], {"a": 1}], ids=str)
@pytest.mark.parametrize("signature", ["", "AAAA"])
async def test_36_unsigned_assertions(bank: Client, alg: Any, signature: str) -> None:
    await refuse(f"{unsigned({'alg': alg, 'kid': RSA.kid}, claims(bank.client_id))}.{signature}")


@pytest.mark.parametrize(
    "secret",
    [
        PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        PUBLIC_KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        RSA.public_jwk["n"].encode(),
        RSA.kid.encode(),
        b"None",
        b"",
    ],
    ids=["PEM", "DER", "modulus", "kid", "None", "empty"],
)
@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_jwt", "client_secret_basic"])
async def test_36_hmac_with_a_public_value(secret: bytes, method: str) -> None:
    client = await register_bank(method, **({"jwks": KEYS.jwks()} if method == "private_key_jwt" else {}))
    for alg in ("HS256", "HS384", "HS512"):
        await refuse(hmac_signed(secret, {"alg": alg, "kid": RSA.kid}, claims(client.client_id)))


async def test_36_another_padding(bank: Client) -> None:
    """A signature by PS256 is not one by RS256."""
    data = unsigned({"alg": "RS256", "kid": RSA.kid}, claims(bank.client_id))
    private = RSA.key.private_key
    assert isinstance(private, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    await refuse(f"{data}.{encode(private.sign(data.encode(), pss, hashes.SHA256()))}")


async def test_36_an_encrypted_assertion(bank: Client) -> None:
    """A JWE of unsigned claims, for a key that is public."""
    public = jose.generate("RS256")
    jwks = [{name: public.public_jwk[name] for name in ("kty", "n", "e")}]
    inner = f"{unsigned({'alg': 'none'}, claims(bank.client_id))}."
    await refuse(jose.encrypt(inner, jwks, "RSA-OAEP-256", "A256GCM"))
