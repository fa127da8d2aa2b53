"""The document of a sector is read when a client registers or changes its URIs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from idp.errors import OAuthError
from idp.oauth.clients import repository, sectors
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import update_client
from tests.support.elsewhere import Handler, Serve, allow, answer, drip, redirect, serving

pytestmark = pytest.mark.usefixtures("db")

URIS = ["https://a.example/cb", "https://b.example/cb"]


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    allow(monkeypatch, "127.0.0.1/32")
    async with serving() as start:
        yield start


async def register(port: int, **metadata: Any) -> Client:
    uri = f"http://127.0.0.1:{port}/sector"
    given = {"client_name": "Pair", "redirect_uris": URIS, "subject_type": "pairwise", "sector_identifier_uri": uri}
    client, _ = await register_client(**(given | metadata))
    return client


async def test_redirect_uris_on_the_list_are_accepted(serve: Serve) -> None:
    heads: list[bytes] = []
    port = await serve(answer(msgspec.json.encode([*URIS, "https://c.example/cb"]), heads=heads))
    client = await register(port)
    assert len(heads) == 1
    await update_client(client.client_id, client_name="Pairwise")
    assert len(heads) == 1, "it is read again only after a change of the URIs"
    await update_client(client.client_id, redirect_uris=["https://c.example/cb"])
    with pytest.raises(OAuthError, match="must list all redirect_uris"):
        await update_client(client.client_id, redirect_uris=["https://d.example/cb"])
    stored = await repository.find_client(client.client_id)
    assert stored is not None
    assert stored.redirect_uris == ("https://c.example/cb",)


@pytest.mark.parametrize("subject_type", ["public", "pairwise"])
async def test_redirect_uris_that_are_not_listed_are_refused(serve: Serve, subject_type: str) -> None:
    """OpenID Connect Registration section 5, also with a single host."""
    port = await serve(answer(msgspec.json.encode(URIS[1:])))
    with pytest.raises(OAuthError, match="must list all redirect_uris") as refused:
        await register(port, redirect_uris=URIS[:1], subject_type=subject_type)
    assert refused.value.code == "invalid_client_metadata"


@pytest.mark.parametrize(
    ("handler", "cause"),
    [
        (answer(b"[]", status="404 Not Found"), "The response has status 404."),
        (answer(b"{}"), "Expected `array`, got `object`"),
        (answer(b"[1]"), "Expected `str`, got `int`"),
        (answer(b"\xff"), ""),
        (answer(b"[" * 100_000), ""),
        (answer(b'["' + b"x" * sectors.MAX_BYTES + b'"]'), "The response is too long."),
        (redirect("http://127.0.0.1:1/"), "The response has status 302."),
        (drip, "There was no response in time."),
    ],
    ids=["404", "object", "numbers", "bytes", "deep", "huge", "redirect", "slow"],
)
async def test_documents_that_are_refused(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, handler: Handler, cause: str
) -> None:
    monkeypatch.setattr(sectors, "SECONDS", 0.5)
    port = await serve(handler)
    before = await repository.count_enabled_clients()
    with pytest.raises(OAuthError, match="sector_identifier_uri has no JSON list") as refused:
        await register(port)
    assert refused.value.hint.startswith(f"http://127.0.0.1:{port}/")
    assert cause in refused.value.hint
    assert await repository.count_enabled_clients() == before


async def test_a_document_inside_the_network_is_not_read(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    heads: list[bytes] = []
    port = await serve(answer(msgspec.json.encode(URIS), heads=heads))
    allow(monkeypatch)
    with pytest.raises(OAuthError, match="sector_identifier_uri has no JSON list"):
        await register(port)
    assert heads == []


async def test_what_was_listed_is_what_is_stored(serve: Serve) -> None:
    """Of two changes at once that exclude each other, one is refused: the list is compared under the lock of the
    client, with what is stored.
    """
    port = await serve(answer(msgspec.json.encode(URIS)))
    client = await register(port, redirect_uris=URIS[:1], sector_identifier_uri=None)
    changes = [
        {"sector_identifier_uri": f"http://127.0.0.1:{port}/sector"},
        {"redirect_uris": ["https://d.example/cb"]},
    ]
    results = await asyncio.gather(
        *(update_client(client.client_id, **change) for change in changes), return_exceptions=True
    )
    assert sorted(isinstance(result, OAuthError) for result in results) == [False, True]
    stored = await repository.find_client(client.client_id)
    assert stored is not None
    assert (stored.sector_identifier_uri is None) != (set(stored.redirect_uris) <= set(URIS))
