"""Row 35: a client that registers itself makes the server fetch only from public addresses, and learns nothing."""

import time

import pytest

from tests.oauth.clients.dynamic.conftest import MakeToken, Registrar, make_token, registrar

__all__ = ["make_token", "registrar"]

ADDRESSES = (
    "https://169.254.169.254/latest/meta-data", "https://10.0.0.1/", "https://192.168.1.1:8443/x", "https://[fd00::1]/",
    "https://[::ffff:10.0.0.1]/", "https://0x0a000001/", "https://2130706434.example.invalid/", "https://100.64.0.1/",
)  # fmt: skip


@pytest.mark.parametrize("uri", ADDRESSES)
async def test_35_the_sector_of_a_client(registrar: Registrar, make_token: MakeToken, uri: str) -> None:
    started = time.monotonic()
    response = await registrar.post(
        await make_token(), redirect_uris=["https://a.example/cb"], subject_type="pairwise", sector_identifier_uri=uri
    )
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    description = response.json()["error_description"]
    # The same for an address that is not allowed and for a name that does not exist.
    assert description == (await unreachable(registrar, make_token))
    assert time.monotonic() - started < 30


async def unreachable(registrar: Registrar, make_token: MakeToken) -> str:
    uri = "https://nobody.invalid/sector.json"
    response = await registrar.post(
        await make_token(), redirect_uris=["https://a.example/cb"], subject_type="pairwise", sector_identifier_uri=uri
    )
    return str(response.json()["error_description"])


@pytest.mark.parametrize(
    "member",
    ["jwks_uri", "logo_uri", "policy_uri", "tos_uri", "client_uri", "initiate_login_uri", "backchannel_logout_uri"],
)
async def test_35_other_uris_are_not_fetched(registrar: Registrar, make_token: MakeToken, member: str) -> None:
    """At the registration. Keys are fetched when they are needed, by the same guarded client."""
    for uri in ("http://169.254.169.254/x", "file:///etc/passwd", "gopher://10.0.0.1/", "https://u:p@10.0.0.1/"):
        response = await registrar.post(await make_token(), redirect_uris=["https://a.example/cb"], **{member: uri})
        assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata"), uri
        assert member in response.json()["error_description"]
