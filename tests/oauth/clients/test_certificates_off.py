"""Ways to authenticate by certificates are registered only where a proxy passes certificates on."""

from collections.abc import Iterator
from typing import Any

import pytest

from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client
from idp.settings import settings

CA = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "client.bank.example"}
OWN = {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": "https://client.bank.example/jwks"}
BOUND = {"tls_client_certificate_bound_access_tokens": True}


@pytest.fixture
def header(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    form, verified = request.param
    with monkeypatch.context() as environment:
        if form is not None:
            environment.setenv("IDP_CLIENT_CERTIFICATE_HEADER", form)
        environment.setenv("IDP_CLIENT_CERTIFICATES_VERIFIED", str(verified).lower())
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.mark.parametrize(
    ("header", "possible"),
    [
        ((None, True), []),
        (("rfc9440", True), [CA, BOUND]),
        (("rfc9440", False), [OWN, BOUND]),
        (("nginx", True), [CA, OWN, BOUND]),
    ],
    indirect=["header"],
)
async def test_what_is_possible(db: str, header: None, possible: list[dict[str, Any]]) -> None:
    """nginx says of each certificate whether it verified it."""
    values = {"client_name": "Bank", "grant_types": ["client_credentials"], "scope": ""}
    for metadata in (CA, OWN, BOUND):
        if metadata in possible:
            await register_client(**values | metadata)
            continue
        with pytest.raises(OAuthError, match="is switched off here: see IDP_CLIENT_CERTIFICATE_HEADER") as refused:
            await register_client(**values | metadata)
        assert refused.value.code == "invalid_client_metadata"
