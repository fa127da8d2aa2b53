"""The clients and resource servers in memory."""

import pytest

from idp.oauth.clients.registration import disable_client, enable_client, register_client, register_resource_server
from idp.oauth.clients.registry import Registry
from idp.oauth.clients.service import delete_client, update_client
from idp.oauth.clients.tables import ClientRow
from idp.oauth.clients.uris import origin_of
from tests.support.isolated import own_database

__all__ = ["own_database"]


@pytest.mark.usefixtures("own_database")
async def test_loading() -> None:
    registry = Registry()
    client, _ = await register_client(
        client_name="Shop",
        redirect_uris=["https://shop.example/cb", "https://shop.example/other", "http://localhost:3000/cb"],
        scope="openid email",
    )
    server = await register_resource_server("https://api.example", "API", client_id=client.client_id)
    assert registry.client(client.client_id) is None
    await registry.load()
    assert registry.client(client.client_id) == client
    assert registry.resource_server("https://api.example") == server
    assert client.scopes == {"openid", "email"}
    assert registry.origins == client.origins == {"https://shop.example", "http://localhost:3000"}
    for unknown in ("", "nobody", "\0"):
        assert registry.client(unknown) is None
        assert registry.resource_server(unknown) is None


@pytest.mark.usefixtures("own_database")
async def test_a_disabled_client_is_unknown_and_so_is_its_origin() -> None:
    registry = Registry()
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    await disable_client(client.client_id)
    await registry.load()
    assert registry.client(client.client_id) is None
    assert registry.origins == frozenset()
    await enable_client(client.client_id)
    await registry.load()
    assert registry.client(client.client_id) == client


@pytest.mark.usefixtures("own_database")
async def test_a_load_that_fails_changes_nothing() -> None:
    registry = Registry()
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    await registry.load()
    await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    await ClientRow.alter().rename_column("metadata", "title")
    with pytest.raises(Exception, match="metadata"):
        await registry.load()
    assert registry.client(client.client_id) == client


@pytest.mark.usefixtures("own_database")
async def test_a_native_client_has_no_web_origin() -> None:
    client, _ = await register_client(
        client_name="App",
        application_type="native",
        token_endpoint_auth_method="none",
        redirect_uris=["http://127.0.0.1/cb", "com.example.app:/cb", "https://app.example/cb"],
    )
    assert client.origins == frozenset()


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://Shop.Example/cb?x=y", "https://shop.example"),
        ("https://shop.example:443/cb", "https://shop.example"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("http://localhost:80/cb", "http://localhost"),
        ("http://localhost:443/cb", "http://localhost:443"),
        ("http://[::1]:3000/cb", "http://[::1]:3000"),
        ("com.example.app:/cb", None),
    ],
)
def test_origins_are_written_as_browsers_write_them(uri: str, origin: str | None) -> None:
    assert origin_of(uri) == origin


@pytest.mark.usefixtures("own_database")
async def test_a_load_reads_only_what_has_changed() -> None:
    """Each registration makes every worker load, so a load must not cost more with every client."""
    registry = Registry()
    same, _ = await register_client(client_name="Same", redirect_uris=["https://same.example/cb"])
    other, _ = await register_client(client_name="Other", redirect_uris=["https://other.example/cb"])
    await registry.load()
    before = registry.client(same.client_id)
    await update_client(other.client_id, redirect_uris=("https://new.example/cb",))
    third, _ = await register_client(client_name="Third", redirect_uris=["https://third.example/cb"])
    await registry.load()
    assert registry.client(same.client_id) is before
    assert registry.client(other.client_id).redirect_uris == ("https://new.example/cb",)  # type: ignore[union-attr]
    assert registry.client(third.client_id) == third
    assert registry.origins == {"https://same.example", "https://new.example", "https://third.example"}
    await delete_client(other.client_id)
    await registry.load()
    assert registry.client(other.client_id) is None
    assert registry.origins == {"https://same.example", "https://third.example"}
