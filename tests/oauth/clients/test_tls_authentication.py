"""Client authentication by TLS certificates (RFC 8705 section 2)."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from idp.errors import InvalidClientError, InvalidRequestError
from idp.infra import request_context
from idp.infra.request_context import ForwardedCertificate
from idp.keys import jose
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.reasons import Reason
from tests.support.assertions import ClientKeys, KeyHost, claims, form
from tests.support.certificates import HEADERS, certificate, der

pytestmark = pytest.mark.usefixtures("accepts_certificates", "db")

ONE = certificate()
DN = "CN=client,E=ops@bank.example,O=Bank\\, Inc.,C=DE"


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    token = request_context.client_certificate.set(None)
    yield
    request_context.client_certificate.reset(token)


def present(one: x509.Certificate | None, *, verified: bool = True) -> None:
    """Present a certificate, as a trusted proxy passes it."""
    value = HEADERS["rfc9440"][1](one) if one is not None else ""
    found = ForwardedCertificate("rfc9440", value, verified) if one is not None else None
    request_context.client_certificate.set(found)


async def register(method: str, **metadata: Any) -> Client:
    client, secret = await register_client(
        client_name="Bank",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method=method,
        **metadata,
    )
    assert secret is None
    await registry.load()
    return client


async def refused(client: Client) -> Reason | None:
    with pytest.raises(InvalidClientError) as error:
        await authenticate(None, {"client_id": client.client_id})
    assert error.value.description == "Client authentication failed."
    return error.value.reason


def jwk_of(one: x509.Certificate) -> dict[str, Any]:
    key = one.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    numbers = key.public_numbers()
    x, y = (urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


NAMES = [
    ({"tls_client_auth_subject_dn": DN}, True),
    ({"tls_client_auth_subject_dn": DN.replace("E=", "emailAddress=")}, True),
    ({"tls_client_auth_subject_dn": DN.replace("E=", "1.2.840.113549.1.9.1=")}, True),
    ({"tls_client_auth_subject_dn": "CN=client"}, False),
    ({"tls_client_auth_subject_dn": f"OU=x,{DN}"}, False),
    ({"tls_client_auth_subject_dn": "C=DE,O=Bank\\, Inc.,E=ops@bank.example,CN=client"}, False),
    ({"tls_client_auth_subject_dn": DN.replace("CN=client", "CN=Client")}, False),
    ({"tls_client_auth_san_dns": "client.bank.example"}, True),
    ({"tls_client_auth_san_dns": "bank.example"}, False),
    ({"tls_client_auth_san_dns": "a.wild.example"}, False),
    ({"tls_client_auth_san_dns": "client"}, False),
    ({"tls_client_auth_san_uri": "spiffe://bank.example/client"}, True),
    ({"tls_client_auth_san_uri": "spiffe://bank.example/client/x"}, False),
    ({"tls_client_auth_san_ip": "2001:0db8:0::1"}, True),
    ({"tls_client_auth_san_ip": "192.0.2.1"}, False),
    ({"tls_client_auth_san_email": "ops@bank.example"}, True),
    ({"tls_client_auth_san_email": "admin@bank.example"}, False),
]


@pytest.mark.parametrize(("metadata", "accepted"), NAMES, ids=str)
async def test_names(metadata: dict[str, str], accepted: bool) -> None:
    """Exactly the registered name. A certificate without a name of this kind is refused too."""
    client = await register("tls_client_auth", **metadata)
    present(ONE)
    if accepted:
        assert await authenticate(None, {"client_id": client.client_id}) == client
    else:
        assert await refused(client) is Reason.UNTRUSTED_CERTIFICATE
    present(ONE, verified=False)
    assert await refused(client) is Reason.UNTRUSTED_CERTIFICATE
    present(certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")]), ()))
    assert await refused(client) is Reason.UNTRUSTED_CERTIFICATE
    present(None)
    assert await refused(client) is Reason.PROOF_MISSING


@pytest.mark.parametrize("verified", [True, False])
async def test_a_registered_certificate(verified: bool) -> None:
    """By its key, or by the certificate itself, in which case another one with the same key is refused."""
    by_key = await register("self_signed_tls_client_auth", jwks={"keys": [jwk_of(certificate()), jwk_of(ONE)]})
    chain = [b64encode(der(ONE)).decode()]
    by_itself = await register("self_signed_tls_client_auth", jwks={"keys": [jwk_of(ONE) | {"x5c": chain}]})
    present(ONE, verified=verified)
    for client in (by_key, by_itself):
        assert await authenticate(None, {"client_id": client.client_id}) == client
    present(certificate(), verified=verified)
    for client in (by_key, by_itself):
        assert await refused(client) is Reason.UNTRUSTED_CERTIFICATE
    other = await register(
        "self_signed_tls_client_auth",
        jwks={"keys": [jwk_of(ONE) | {"x5c": [b64encode(der(certificate())).decode()]}]},
    )
    present(ONE)
    assert await refused(other) is Reason.UNTRUSTED_CERTIFICATE


async def test_a_certificate_at_a_jwks_uri() -> None:
    host = KeyHost(ClientKeys())
    host.document = {"keys": [{"kty": "EC"}, {"kty": []}, {"x5c": []}, {"x5c": [1]}, {"x5c": "x"}, jwk_of(ONE)]}
    client = await register("self_signed_tls_client_auth", jwks_uri=host.jwks_uri)
    try:
        present(ONE)
        assert await authenticate(None, {"client_id": client.client_id}) == client
        present(certificate())
        assert await refused(client) is Reason.UNTRUSTED_CERTIFICATE
    finally:
        host.stop()
    assert len(host.requests) == 1
    dead = await register("self_signed_tls_client_auth", jwks_uri=f"{host.jwks_uri}/dead")
    assert await refused(dead) is Reason.KEYS_UNAVAILABLE


async def test_a_certificate_is_no_other_method() -> None:
    """And a client of these methods has no other one, not even none."""
    client = await register("tls_client_auth", tls_client_auth_subject_dn=DN)
    public = await register_public()
    keys = ClientKeys()
    signer = await register("private_key_jwt", jwks=keys.jwks())
    present(ONE)
    assert await authenticate(None, {"client_id": public.client_id}) == public
    assert await refused(signer) is not None
    assert await authenticate(None, form(keys.assertion(signer.client_id))) == signer
    for sent in ({"client_secret": "x"}, form(keys.sign(claims(client.client_id)))):
        with pytest.raises(InvalidClientError):
            await authenticate(None, {"client_id": client.client_id} | sent)
    with pytest.raises(InvalidRequestError):
        await authenticate(None, {"client_id": public.client_id, "client_secret": "x"} | form(keys.sign(claims("c"))))
    with pytest.raises(InvalidClientError):
        await authenticate(None, {"client_id": "no-such-client"})


async def register_public() -> Client:
    client, _ = await register_client(
        client_name="Spa", redirect_uris=["https://spa.example/cb"], token_endpoint_auth_method="none"
    )
    await registry.load()
    return client


def test_keys_are_compared_by_their_thumbprint() -> None:
    pem = ONE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert jose.same_key(jwk_of(ONE), pem)
    for jwk in (
        {},
        {"kty": "RSA"},
        {"kty": "EC"},
        {"kty": ["EC"]},
        {"kty": "OKP", "crv": "P-256", "x": ""},
        jwk_of(ONE) | {"crv": "P-224"},
        jwk_of(ONE) | {"crv": "X25519"},
        jwk_of(ONE) | {"x": "AAAA"},
        jwk_of(ONE) | {"x": 1},
    ):
        assert not jose.same_key(jwk, pem)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        dsa.generate_private_key(1024),
        ed448.Ed448PrivateKey.generate(),
        rsa.generate_private_key(65537, 1024),
    ],
    ids=lambda key: type(key).__name__,
)
def test_certificates_with_keys_of_other_kinds(key: Any) -> None:
    """Whoever reaches the proxy presents them."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    okp, own_rsa = ClientKeys("Ed25519").jwks()["keys"][0], ClientKeys("RS256").jwks()["keys"][0]
    assert not any(jose.same_key(jwk, pem) for jwk in (jwk_of(ONE), okp, own_rsa))
