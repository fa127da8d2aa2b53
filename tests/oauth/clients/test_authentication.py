"""Client authentication: by the methods that a client may use, and by no others."""

import base64
from urllib.parse import quote_plus

import pytest

from idp.errors import InvalidClientError, InvalidRequestError
from idp.oauth.clients.auth_methods import SECRET_METHODS
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import disable_client, register_client, rotate_secret
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import update_client
from idp.reasons import Reason

pytestmark = pytest.mark.usefixtures("db")

#: The methods with a secret that is sent, and the one without. test_assertions.py has those that sign.
METHODS = (*SECRET_METHODS, "none")


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


@pytest.mark.fault(34)
async def test_a_secret_is_accepted_by_either_method(registered: tuple[Client, str]) -> None:
    """Libraries choose by their own defaults, not by the registration."""
    client, secret = registered
    for method in METHODS:
        header, form = credentials(method, client.client_id, secret)
        if (method == "none") == client.public:
            assert await authenticate(header, form) == client
        else:
            with pytest.raises(InvalidClientError) as refused:
                await authenticate(header, form)
            assert refused.value.challenge == (header is not None)


@pytest.mark.fault(34)
@pytest.mark.parametrize("strict", METHODS)
async def test_a_strict_client_uses_its_registered_method_only(strict: str) -> None:
    client, secret = await register_client(
        client_name="Shop",
        redirect_uris=["https://shop.example/cb"],
        token_endpoint_auth_method=strict,
        strict_auth_method=True,
    )
    await registry.load()
    for method in METHODS:
        header, form = credentials(method, client.client_id, secret or "no-secret")
        if method == strict:
            assert await authenticate(header, form) == client
        else:
            with pytest.raises(InvalidClientError):
                await authenticate(header, form)


@pytest.mark.fault(28)
async def test_an_empty_basic_secret_is_that_of_a_public_client(registered: tuple[Client, str]) -> None:
    """Libraries that know no public clients send one. It proves nothing of a client that has a secret."""
    client, _ = registered
    header, _ = credentials("client_secret_basic", client.client_id, "")
    for form in ({}, {"client_id": client.client_id}):
        if client.public:
            assert await authenticate(header, form) == client
        else:
            with pytest.raises(InvalidClientError) as refused:
                await authenticate(header, form)
            assert refused.value.challenge
    with pytest.raises(InvalidRequestError):
        await authenticate(header, {"client_secret": "x"})
    with pytest.raises(InvalidRequestError):
        await authenticate(header, {"client_id": "another"})


@pytest.mark.fault(34)
async def test_the_operator_learns_why(registered: tuple[Client, str]) -> None:
    """The answer is one and the same; the reason is for the log."""
    client, secret = registered

    async def refused(method: str, client_id: str, secret: str) -> str:
        with pytest.raises(InvalidClientError) as refused:
            await authenticate(*credentials(method, client_id, secret))
        assert refused.value.description == "Client authentication failed."
        return refused.value.hint

    assert "unknown client" in await refused("client_secret_basic", "no-such-client", secret)
    if client.public:
        assert "registered without a secret, but sent one" in await refused("client_secret_post", client.client_id, "x")
        return
    assert (await refused("client_secret_post", client.client_id, "x")).endswith("failed: wrong secret.")
    assert "has a secret, but sent none" in await refused("none", client.client_id, "")
    strict = client.token_endpoint_auth_method
    other = next(method for method in METHODS if method not in (strict, "none"))
    await update_client(client.client_id, strict_auth_method=True)
    await registry.load()
    assert f"strictly for {strict}, but used {other}" in await refused(other, client.client_id, secret)
    with pytest.raises(InvalidClientError) as malformed:
        await authenticate("Basic !", {})
    assert "is not base64" in malformed.value.hint


async def test_only_the_present_secret(registered: tuple[Client, str]) -> None:
    client, secret = registered
    method = client.token_endpoint_auth_method
    if client.public:
        return
    for wrong in (secret[:-1], secret + "A", secret.swapcase(), "", " " + secret, secret + "\0"):
        with pytest.raises(InvalidClientError):
            await authenticate(*credentials(method, client.client_id, wrong))
    fresh = await rotate_secret(client.client_id)
    await registry.load()
    assert (await authenticate(*credentials(method, client.client_id, fresh))).client_id == client.client_id
    with pytest.raises(InvalidClientError):
        await authenticate(*credentials(method, client.client_id, secret))


async def test_a_disabled_client_is_as_unknown(registered: tuple[Client, str]) -> None:
    client, secret = registered
    request = credentials(client.token_endpoint_auth_method, client.client_id, secret)
    await disable_client(client.client_id)
    await registry.load()
    with pytest.raises(InvalidClientError) as disabled:
        await authenticate(*request)
    with pytest.raises(InvalidClientError) as unknown:
        await authenticate(*credentials(client.token_endpoint_auth_method, "no-such-client", secret))
    assert disabled.value.description == unknown.value.description
    assert (disabled.value.reason, unknown.value.reason) == (Reason.CLIENT_DISABLED, Reason.UNKNOWN_CLIENT)


async def test_one_clients_secret_is_not_anothers(registered: tuple[Client, str]) -> None:
    client, secret = registered
    other, _ = await register_client(
        client_name="Other",
        redirect_uris=["https://other.example/cb"],
        token_endpoint_auth_method="client_secret_post",
    )
    await registry.load()
    with pytest.raises(InvalidClientError):
        await authenticate(*credentials("client_secret_post", other.client_id, secret))
    assert client.client_id != other.client_id


async def test_a_request_without_a_client() -> None:
    for form in ({}, {"grant_type": "authorization_code"}, {"client_secret": "x"}):
        with pytest.raises(InvalidClientError):
            await authenticate(None, form)


async def test_the_body_may_repeat_who_the_header_names() -> None:
    client, secret = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    await registry.load()
    header, _ = credentials("client_secret_basic", client.client_id, secret or "")
    assert await authenticate(header, {"client_id": client.client_id}) == client
    with pytest.raises(InvalidRequestError):
        await authenticate(header, {"client_id": "another"})
