"""Reading the metadata of a resource server (RFC 9728)."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from idp.errors import OAuthError
from idp.oauth.clients.resource_metadata import PublishedMetadata, fetch
from idp.settings import settings
from tests.support.elsewhere import Serve, answer, redirect, serving


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


async def _served(serve: Serve, path: str = "/mcp", **changes: Any) -> tuple[str, list[bytes]]:
    """Serve a document, and return the identifier and the heads of the requests."""
    heads: list[bytes] = []
    body = bytearray()
    port = await serve(lambda head, writer: answer(bytes(body), heads=heads)(head, writer))
    identifier = f"http://127.0.0.1:{port}{path}"
    document = {
        "resource": identifier,
        "authorization_servers": [settings().issuer, "https://other.example.com"],
        "scopes_supported": ["openid", "notes:read", "notes:write"],
        "resource_name": "Notes",
        "bearer_methods_supported": ["header"],
    }
    body += json.dumps({name: value for name, value in (document | changes).items() if value is not None}).encode()
    return identifier, heads


async def test_by_its_identifier(serve: Serve) -> None:
    identifier, heads = await _served(serve)
    assert await fetch(identifier) == PublishedMetadata(identifier, "Notes", "notes:read notes:write")
    assert heads[0].startswith(b"get /.well-known/oauth-protected-resource/mcp http/1.1")


async def test_by_the_url_of_its_metadata(serve: Serve) -> None:
    identifier, heads = await _served(serve)
    url = identifier.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
    assert (await fetch(url)).identifier == identifier
    assert heads[0].startswith(b"get /.well-known/oauth-protected-resource/mcp http/1.1")


@pytest.mark.parametrize("path", ["", "/"])
async def test_at_the_root(serve: Serve, path: str) -> None:
    identifier, heads = await _served(serve, path, resource_name=None, scopes_supported=None)
    assert await fetch(identifier) == PublishedMetadata(identifier, identifier.split("/")[2], "")
    assert heads[0].startswith(b"get /.well-known/oauth-protected-resource http/1.1")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"resource": "https://other.example.com/mcp"}, "another resource"),
        ({"resource": None}, "no metadata"),
        ({"resource": 5}, "no metadata"),
        ({"scopes_supported": "notes:read"}, "no metadata"),
        ({"authorization_servers": ["https://other.example.com"]}, "authorization_servers"),
        ({"authorization_servers": []}, "authorization_servers"),
    ],
)
async def test_what_is_refused(serve: Serve, changes: dict[str, Any], problem: str) -> None:
    identifier, _ = await _served(serve, **changes)
    with pytest.raises(OAuthError, match=problem) as refused:
        await fetch(identifier)
    assert refused.value.code == "invalid_target"


@pytest.mark.parametrize(
    ("handler", "cause"),
    [
        (answer(b"[]"), "Expected `object`, got `array`"),
        (answer(b'{"x":' + b"[" * 30_000), ""),
        (answer(b"", status="404 Not Found"), "The response has status 404."),
        (redirect("http://127.0.0.1/"), "The response has status 302."),
    ],
)
async def test_no_document(serve: Serve, handler: Any, cause: str) -> None:
    url = f"http://127.0.0.1:{await serve(handler)}"
    with pytest.raises(OAuthError, match="no metadata") as refused:
        await fetch(f"{url}/mcp")
    # Only the operator is told why.
    assert refused.value.hint.startswith(f"{url}/.well-known/oauth-protected-resource/mcp: ")
    assert cause in refused.value.hint


@pytest.mark.parametrize("url", ["", "x", "http://[", "ftp://127.0.0.1/", "https://169.254.169.254/"])
async def test_no_url(url: str) -> None:
    with pytest.raises(OAuthError):
        await fetch(url)
