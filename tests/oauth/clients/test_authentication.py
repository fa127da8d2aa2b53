"""Client authentication: each method for the clients that are registered for it, and for no others."""

import base64
from urllib.parse import quote_plus

import pytest

from idp.errors import InvalidClient, InvalidRequest
from idp.oauth.clients.authentication import METHODS, authenticate
from idp.oauth.clients.registration import disable_client, register_client, rotate_secret
from idp.oauth.clients.registry import Client, registry

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture(params=METHODS)
async def registered(request: pytest.FixtureRequest) -> tuple[Client, str]:
    """A client of each method, and its secret (for a public one, something that could be one)."""
    client, secret = await register_client(
        client_name="Shop", redirect_uris=["https://shop.example/cb"], token_endpoint_auth_method=request.param
    )
    await registry.load()
    return client, secret or "no-secret"


def credentials(method: str, client_id: str, secret: str) -> tuple[str | None, dict[str, str]]:
    """A header and a form, as a client of this method sends them."""
    if method == "client_secret_basic":
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
        return f"Basic {base64.b64encode(pair).decode()}", {}
    if method == "client_secret_post":
        return None, {"client_id": client_id, "client_secret": secret}
    return None, {"client_id": client_id}


async def test_only_the_registered_method(registered: tuple[Client, str]) -> None:
    client, secret = registered
    for method in METHODS:
        header, form = credentials(method, client.client_id, secret)
        if method == client.token_endpoint_auth_method:
            assert authenticate(header, form) == client
        else:
            with pytest.raises(InvalidClient) as refused:
                authenticate(header, form)
            assert refused.value.challenge == (header is not None)


async def test_only_the_present_secret(registered: tuple[Client, str]) -> None:
    client, secret = registered
    method = client.token_endpoint_auth_method
    if client.public:
        return
    for wrong in (secret[:-1], secret + "A", secret.swapcase(), "", " " + secret, secret + "\0"):
        with pytest.raises(InvalidClient):
            authenticate(*credentials(method, client.client_id, wrong))
    fresh = await rotate_secret(client.client_id)
    await registry.load()
    assert authenticate(*credentials(method, client.client_id, fresh)).client_id == client.client_id
    with pytest.raises(InvalidClient):
        authenticate(*credentials(method, client.client_id, secret))


async def test_a_disabled_client_is_as_unknown(registered: tuple[Client, str]) -> None:
    client, secret = registered
    request = credentials(client.token_endpoint_auth_method, client.client_id, secret)
    await disable_client(client.client_id)
    await registry.load()
    with pytest.raises(InvalidClient) as disabled:
        authenticate(*request)
    with pytest.raises(InvalidClient) as unknown:
        authenticate(*credentials(client.token_endpoint_auth_method, "no-such-client", secret))
    assert disabled.value.description == unknown.value.description


async def test_one_clients_secret_is_not_anothers(registered: tuple[Client, str]) -> None:
    client, secret = registered
    other, _ = await register_client(
        client_name="Other",
        redirect_uris=["https://other.example/cb"],
        token_endpoint_auth_method="client_secret_post",
    )
    await registry.load()
    with pytest.raises(InvalidClient):
        authenticate(*credentials("client_secret_post", other.client_id, secret))
    assert client.client_id != other.client_id


def test_a_request_that_names_nobody() -> None:
    for form in ({}, {"grant_type": "authorization_code"}, {"client_secret": "x"}):
        with pytest.raises(InvalidClient):
            authenticate(None, form)


async def test_the_body_may_repeat_who_the_header_names() -> None:
    client, secret = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    await registry.load()
    header, _ = credentials("client_secret_basic", client.client_id, secret or "")
    assert authenticate(header, {"client_id": client.client_id}) == client
    with pytest.raises(InvalidRequest):
        authenticate(header, {"client_id": "another"})
