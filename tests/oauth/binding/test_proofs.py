"""Reading the proof of a request (RFC 9449)."""

from typing import Any

import msgspec
import pytest
from litestar import Request

from idp.errors import InvalidDPoPProofError, UseDPoPNonceError
from idp.http.headers import request_headers
from idp.infra.request_context import response_headers
from idp.oauth.binding import nonces, proofs
from idp.oauth.clients.models import Client
from idp.settings import settings
from tests.support.dpop import DPoPKey

pytestmark = pytest.mark.usefixtures("unlocked")

CLIENT = Client(client_id="a", client_name="A")
FAPI = msgspec.structs.replace(CLIENT, profile="fapi2")


def request(*headers: tuple[bytes, bytes], path: str = "/token", method: str = "POST") -> Request[Any, Any, Any]:
    scope: Any = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    return Request(scope)


def carrying(key: DPoPKey, url: str, path: str = "/token", **changes: object) -> Request[Any, Any, Any]:
    return request((b"dpop", key.proof("POST", url, **changes).encode()), path=path)


def test_no_header() -> None:
    assert proofs.checked(request((b"authorization", b"x"), (b"xdpop", b"x")), CLIENT) is None


def test_each_header_counts() -> None:
    sent = request((b"dpop", b"a"), (b"x", b"y"), (b"dpop", b"b"))
    assert request_headers(sent.scope, b"dpop") == ["a", "b"]
    with pytest.raises(InvalidDPoPProofError, match="more than one"):
        proofs.checked(sent, CLIENT)


@pytest.mark.parametrize(
    ("path", "htu"),
    [
        ("/token", "/token"),
        ("/a b/é", "/a%20b/%C3%A9"),
        ("/x/https://y", "/x/https://y"),
        ("/100%", "/100%25"),
        ("/~a", "/%7ea"),
    ],
)
def test_the_url_of_a_path(path: str, htu: str) -> None:
    key = DPoPKey()
    proof = proofs.checked(carrying(key, settings().issuer + htu, path), CLIENT)
    assert proof is not None
    assert proof.jkt == key.jkt


@pytest.mark.parametrize(("alg", "of_fapi"), [("RS256", False), ("ES256", True), ("PS256", True), ("EdDSA", True)])
def test_the_algorithms_of_fapi(alg: str, of_fapi: bool) -> None:
    """FAPI 2.0 Security Profile section 5.4.1."""
    key, url = DPoPKey(alg), f"{settings().issuer}/token"
    assert proofs.checked(carrying(key, url), CLIENT) is not None
    if of_fapi:
        assert proofs.checked(carrying(key, url), FAPI) is not None
    else:
        with pytest.raises(InvalidDPoPProofError, match="alg"):
            proofs.checked(carrying(key, url), FAPI)


@pytest.mark.usefixtures("stopped_clock")
def test_a_nonce_is_given_with_the_response() -> None:
    key, url = DPoPKey(), f"{settings().issuer}/token"
    response_headers.set(())
    with pytest.raises(UseDPoPNonceError):
        proofs.checked(carrying(key, url, nonce="x"), CLIENT)
    assert dict(response_headers.get()) == {b"dpop-nonce": nonces.current().encode()}
    response_headers.set(())
    proofs.checked(carrying(key, url, nonce=nonces.current()), CLIENT)
    assert response_headers.get() == ()


def test_two_keys_for_one_request() -> None:
    key, other = DPoPKey(), DPoPKey()
    proof = proofs.checked(carrying(key, f"{settings().issuer}/token"), CLIENT)
    assert proofs.with_dpop_jkt({"a": "b"}, None) == {"a": "b"}
    assert proofs.with_dpop_jkt({"a": "b"}, proof) == {"a": "b", "dpop_jkt": key.jkt}
    assert proofs.with_dpop_jkt({"dpop_jkt": key.jkt}, proof) == {"dpop_jkt": key.jkt}
    with pytest.raises(InvalidDPoPProofError):
        proofs.with_dpop_jkt({"dpop_jkt": other.jkt}, proof)
