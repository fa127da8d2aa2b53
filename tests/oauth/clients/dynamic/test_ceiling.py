"""The scopes of a client that registers itself."""

import secrets
from collections.abc import AsyncIterator

import pytest

from idp.oauth.clients.dynamic.ceiling import Ceiling, of_settings, within
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_resource_server


@pytest.fixture
async def servers(db: str) -> AsyncIterator[tuple[str, str]]:
    """The prefixes of the scopes of an open resource server, and of a closed one."""
    opened, closed = secrets.token_hex(4), secrets.token_hex(4)
    await register_resource_server(
        f"https://{opened}.example", "Open", scope=f"{opened}:read {opened}:write", self_registered_clients=True
    )
    await register_resource_server(f"https://{closed}.example", "Closed", scope=f"{closed}:read {closed}:write")
    await registry.load()
    yield opened, closed
    for name in (opened, closed):
        await delete_resource_server(f"https://{name}.example")
    await registry.load()


def _scope(asked: str, ceiling: Ceiling) -> str:
    return within(
        ClientMetadata(
            client_name="x",
            redirect_uris=("https://a.example/",),
            scope=asked,
            token_endpoint_auth_method="none",
        ),
        ceiling,
    ).scope


async def test_the_other_scopes_of_a_server(servers: tuple[str, str]) -> None:
    """A client that registers for one may be asked for another by the same server (`insufficient_scope`)."""
    opened, closed = servers
    assert _scope(f"openid {opened}:read {closed}:read", of_settings()) == f"openid {opened}:read {opened}:write"
    assert _scope("openid", of_settings()) == "openid"
    # The ceiling of an initial access token stays one.
    assert _scope(f"{opened}:read", Ceiling(scopes=(f"{opened}:read",))) == f"{opened}:read"
