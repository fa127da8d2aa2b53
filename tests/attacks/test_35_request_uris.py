"""Row 35: a ``request_uri`` does not make the server call its own network, or wait for another server."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from idp.errors import OAuthError
from idp.oauth.authorize import request_object
from idp.oauth.authorize.request_object import resolve
from idp.oauth.clients.models import Client
from tests.support.elsewhere import Serve, allow, answer, drip, redirect, resolves_to, serving

CLIENT = Client(client_id="c", client_name="C")


@pytest.fixture(autouse=True)
def as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


async def assert_refused(asked: str, *registered: str) -> None:
    client = msgspec.structs.replace(CLIENT, request_uris=registered)
    with pytest.raises(OAuthError, match=r"^invalid_request_uri"):
        await resolve({"client_id": "c", "request_uri": asked}, client)


async def test_35_request_uris_that_no_client_registered(serve: Serve) -> None:
    """Nobody is called, wherever it leads."""
    heads: list[bytes] = []
    port = await serve(answer(heads=heads))
    for url in (f"http://127.0.0.1:{port}/", "http://169.254.169.254/", "file:///etc/passwd", "https://app.example/x"):
        await assert_refused(url)
        await assert_refused(url, "https://app.example/")
        await assert_refused(url, f"{url}.", f"{url}/")
    assert heads == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0x7f.1", "localhost", "127.1", "[::ffff:7f00:1]"])
async def test_35_registered_request_uris_of_this_machine(serve: Serve, host: str) -> None:
    heads: list[bytes] = []
    url = f"http://{host}:{await serve(answer(heads=heads))}/"
    await assert_refused(url, url)
    assert heads == []


async def test_35_request_uris_whose_name_changes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding."""
    heads: list[bytes] = []
    url = f"http://app.example:{await serve(answer(heads=heads))}/"
    resolves_to(monkeypatch, ["1.1.1.1", "127.0.0.1"], ["127.0.0.1"])
    await assert_refused(url, url)
    await assert_refused(url, url)
    assert heads == []


async def test_35_request_uris_that_redirect(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, "127.0.0.0/8")
    heads: list[bytes] = []
    target = f"http://127.0.0.1:{await serve(answer(heads=heads))}/"
    url = f"http://127.0.0.1:{await serve(redirect(target))}/"
    await assert_refused(url, url)
    assert heads == []


async def test_35_request_uris_without_tls(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, "127.0.0.0/8", http=False)
    heads: list[bytes] = []
    url = f"http://127.0.0.1:{await serve(answer(heads=heads))}/"
    await assert_refused(url, url)
    assert heads == []


async def test_35_slow_and_huge_request_objects(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, "127.0.0.0/8")
    monkeypatch.setattr(request_object, "FETCH_SECONDS", 0.5)
    slow, huge = await serve(drip), await serve(answer(b"x" * 200_000))
    started = time.monotonic()
    await asyncio.gather(
        *(assert_refused(url, url) for url in (f"http://127.0.0.1:{slow}/", f"http://127.0.0.1:{huge}/"))
    )
    assert time.monotonic() - started < 20
