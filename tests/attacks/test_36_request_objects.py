"""Row 36: request objects that are not signed, or signed by another algorithm than the client's keys are for."""

import time
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from idp.errors import OAuthError
from idp.infra.db.engine import fetch
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.oauth.authorize.request_object import resolve
from idp.oauth.clients.models import Client
from idp.settings import settings
from tests.conftest import MakeClient
from tests.support.browser import Browser, Redirect
from tests.support.oauth import RelyingParty
from tests.support.request_objects import jwks
from tests.support.tokens import encode, hmac_signed, key, signed, unsigned

CLIENT = Client(client_id="c", client_name="C", jwks=jwks("RS256"))
PUBLIC_KEY = key("RS256").key.public_key
assert isinstance(PUBLIC_KEY, rsa.RSAPublicKey)


def claims() -> dict[str, Any]:
    return {
        "iss": "c", "aud": settings().issuer, "client_id": "c", "exp": int(time.time()) + 60, "response_type": "code",
    }  # fmt: skip


async def assert_refused(token: str, client: Client = CLIENT) -> None:
    with pytest.raises(OAuthError, match=r"^invalid_request_object"):
        await resolve({"client_id": "c", "request": token}, client)


async def test_36_the_control() -> None:
    token = signed(key("RS256"), {"alg": "RS256", "kid": key("RS256").kid}, claims())
    assert await resolve({"client_id": "c", "request": token}, CLIENT)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 0, ["RS256"]], ids=str)
@pytest.mark.parametrize("signature", ["", "AAAA"])
@pytest.mark.parametrize("registered", [None, "none", "HS256"])
async def test_36_unsigned_request_objects(alg: Any, signature: str, registered: str | None) -> None:
    """Even if the client had been registered for it."""
    client = msgspec.structs.replace(CLIENT, request_object_signing_alg=registered)
    await assert_refused(f"{unsigned({'alg': alg, 'kid': key('RS256').kid}, claims())}.{signature}", client)


@pytest.mark.parametrize(
    "secret",
    [
        PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        PUBLIC_KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key("RS256").public_jwk["n"].encode(),
        b"",
    ],
    ids=["PEM", "DER", "modulus", "empty"],
)
@pytest.mark.parametrize("registered", [None, "HS256"])
async def test_36_request_objects_by_hmac(secret: bytes, registered: str | None) -> None:
    client = msgspec.structs.replace(CLIENT, request_object_signing_alg=registered)
    await assert_refused(hmac_signed(secret, {"alg": "HS256", "kid": key("RS256").kid}, claims()), client)


async def test_36_request_objects_by_a_shared_key() -> None:
    """A JWK Set with a symmetric key, whose value anybody can read."""
    client = msgspec.structs.replace(CLIENT, jwks={"keys": [{"kty": "oct", "k": encode(b"secret"), "kid": "k"}]})
    await assert_refused(hmac_signed(b"secret", {"alg": "HS256", "kid": "k"}, claims()), client)


@pytest.mark.parametrize("named", [alg for alg in VERIFICATION_ALGORITHMS if alg != "RS256"])
async def test_36_another_algorithm_in_the_header_of_a_request_object(named: str) -> None:
    data = unsigned({"alg": named, "kid": key("RS256").kid}, claims())
    private = key("RS256").key.private_key
    assert isinstance(private, rsa.RSAPrivateKey)
    await assert_refused(f"{data}.{encode(private.sign(data.encode(), padding.PKCS1v15(), hashes.SHA256()))}")


@pytest.mark.parametrize(("registered", "used"), [("RS256", "PS256"), ("PS256", "RS256")])
async def test_36_paddings_of_request_objects(registered: str, used: str) -> None:
    """One RSA key can make both signatures; the registered algorithm decides, and the key's own."""
    data = unsigned({"alg": used, "kid": key("RS256").kid}, claims())
    private = key("RS256").key.private_key
    assert isinstance(private, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    signature = private.sign(data.encode(), pss if used == "PS256" else padding.PKCS1v15(), hashes.SHA256())
    token = f"{data}.{encode(signature)}"
    assert await resolve({"client_id": "c", "request": token}, CLIENT)
    await assert_refused(token, msgspec.structs.replace(CLIENT, request_object_signing_alg=registered))
    keys = [{**jwk, "alg": registered} for jwk in jwks("RS256")["keys"]]
    await assert_refused(token, msgspec.structs.replace(CLIENT, jwks={"keys": keys}))


async def test_36_encrypted_request_objects() -> None:
    """A JWE around unsigned claims (Keycloak CVE-2026-9793): nothing is decrypted here."""
    header = encode({"alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT"})
    inner = f"{unsigned({'alg': 'none'}, claims())}."
    for token in (
        f"{header}.{encode(bytes(256))}.{encode(bytes(12))}.{encode(claims())}.{encode(bytes(16))}",
        f"{header}.{encode(bytes(256))}.{encode(bytes(12))}.{encode(inner.encode())}.{encode(bytes(16))}",
        f"{header}.{encode(inner.encode())}.",
        signed(key("RS256"), {"alg": "RS256", "cty": "JWT"}, inner.encode()),
    ):
        await assert_refused(token)


async def test_36_by_http(make_client: MakeClient, browser: Browser) -> None:
    """At both endpoints, and nothing is stored."""
    client: RelyingParty = await make_client(jwks=jwks("RS256"), require_signed_request_object=True)
    token = f"{unsigned({'alg': 'none'}, client.parameters())}."
    answer = await client.authorize(browser, request=token)
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_request_object"
    response = await client.post("/par", request=token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request_object")
    for table in ("pushed_request", "authorization_request"):
        assert not await fetch(f"SELECT FROM {table} WHERE client_id = $1", client.client_id)
