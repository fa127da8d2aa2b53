"""Fetching documents: once, seldom, bounded. Attack row 55 (tests/attacks/README.md)."""

import asyncio
import gzip
from typing import Any

import pytest
from structlog.testing import capture_logs

from idp.errors import OverloadedError, TooManyRequestsError
from idp.oauth.clients.documents import budgets, resolver, service
from idp.oauth.clients.documents.errors import DocumentError
from idp.oauth.clients.lookup import authorized_client, client_for_authorization
from idp.reasons import Reason
from tests.support.documents import ClientSite
from tests.support.elsewhere import answer, drip, redirect

pytestmark = pytest.mark.usefixtures("accepted")


async def _refused(url: str) -> Reason:
    with pytest.raises(DocumentError) as refused:
        await client_for_authorization(url)
    return refused.value.reason


async def test_a_client_is_its_document(site: ClientSite, path: str) -> None:
    client = await client_for_authorization(site.url(path))
    assert client is not None
    assert (client.client_id, client.origin, client.client_name) == (site.url(path), "document", "Example client")
    assert client.scopes == {"openid", "profile", "email", "offline_access"}
    assert client.public
    assert not client.skip_consent


async def test_it_is_fetched_once_while_it_is_current(site: ClientSite, path: str) -> None:
    for _ in range(5):
        await client_for_authorization(site.url(path))
    assert site.requests == 1


async def test_one_fetch_for_all_who_wait(site: ClientSite, path: str) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(head: bytes, writer: Any) -> None:
        asked.set()
        await go.wait()
        site.handler = None
        site.requests -= 1
        await site.handle(head, writer)

    site.handler = slow
    tasks = [asyncio.create_task(client_for_authorization(site.url(path))) for _ in range(50)]
    await asked.wait()
    # The first one gives up; the others do not notice.
    tasks[0].cancel()
    await asyncio.sleep(0)
    go.set()
    found = await asyncio.gather(*tasks[1:])
    assert {client.client_id for client in found if client} == {site.url(path)}
    assert site.requests == 1
    assert not any(resolver._running.values())


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (answer(b"{}", "Content-Type: application/json", status="404 Not Found"), Reason.DOCUMENT_UNAVAILABLE),
        (answer(b"{}", "Content-Type: application/json", status="203 Other"), Reason.DOCUMENT_UNAVAILABLE),
        (answer(b"{}", "Content-Type: application/json", status="500 Broken"), Reason.DOCUMENT_UNAVAILABLE),
        (redirect("https://app.example.com/client.json"), Reason.DOCUMENT_UNAVAILABLE),
        (answer(b" " * 17_000, "Content-Type: application/json"), Reason.DOCUMENT_UNAVAILABLE),
        (
            answer(gzip.compress(b"{}"), "Content-Type: application/json", "Content-Encoding: gzip"),
            Reason.DOCUMENT_UNAVAILABLE,
        ),
        (answer(b"{}", "Content-Type: text/html"), Reason.DOCUMENT_INVALID),
        (answer(b"{}"), Reason.DOCUMENT_INVALID),
        (answer(b"[]", "Content-Type: application/json"), Reason.DOCUMENT_INVALID),
    ],
)
async def test_bad_responses(site: ClientSite, path: str, handler: Any, reason: Reason) -> None:
    """The named error. The site is not asked again at once, and its next good document is used."""
    site.handler = handler
    assert await _refused(site.url(path)) is reason
    assert await _refused(site.url(path)) is reason
    assert site.requests == 1
    site.handler = None
    resolver.failed.clear()
    assert await client_for_authorization(site.url(path)) is not None


async def test_only_the_log_has_the_cause(site: ClientSite, path: str) -> None:
    """A client_id must not serve to explore the network."""
    site.handler = answer(b"{}", "Content-Type: application/json", status="404 Not Found")
    with capture_logs() as logs, pytest.raises(DocumentError) as refused:
        await client_for_authorization(site.url(path))
    assert refused.value.description == "It cannot be fetched."
    assert [line["hint"] for line in logs if line["event"] == "client_document_refused"] == [
        "The response has status 404."
    ]


async def test_a_slow_site(site: ClientSite, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "TIMEOUT_SECONDS", 0.2)
    site.handler = drip
    async with asyncio.timeout(30):
        assert await _refused(site.url(path)) is Reason.DOCUMENT_UNAVAILABLE


async def test_a_name_of_our_network(path: str) -> None:
    """The guard of the outbound client decides by the address, when it connects."""
    assert await _refused(f"https://169.254.169.254.nip.example{path}") is Reason.DOCUMENT_UNAVAILABLE


@pytest.mark.parametrize("url", ["https://example.com/", "https://user@example.com/c", "https://example.com/../c"])
async def test_a_url_that_is_no_client_id_is_not_fetched(url: str) -> None:
    assert await _refused(url) is Reason.DOCUMENT_INVALID


async def test_the_budget_of_a_document(site: ClientSite, path: str) -> None:
    for _ in range(budgets.OF_DOCUMENT.burst):
        await client_for_authorization(site.url(path))
        resolver.fresh.clear()
    with pytest.raises(TooManyRequestsError):
        await client_for_authorization(site.url(path))
    assert site.requests == budgets.OF_DOCUMENT.burst


async def test_the_budget_of_a_host(site: ClientSite, path: str) -> None:
    for number in range(budgets.FROM_HOST.burst):
        await client_for_authorization(site.url(f"/{number}{path}"))
    with pytest.raises(TooManyRequestsError):
        await client_for_authorization(site.url(path))
    # What is known is served from memory.
    assert await client_for_authorization(site.url(f"/0{path}")) is not None
    assert site.requests == budgets.FROM_HOST.burst


async def test_the_number_of_fetches_at_a_time(site: ClientSite, path: str) -> None:
    go = asyncio.Event()

    async def held(_: bytes, writer: Any) -> None:
        await go.wait()

    site.handler = held
    tasks = [
        asyncio.create_task(client_for_authorization(site.url(f"/{number}{path}")))
        for number in range(resolver.MAX_FETCHES)
    ]
    while len(resolver._running[False]) < resolver.MAX_FETCHES:
        await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await client_for_authorization(site.url(path))
    # Clients that users have allowed do not wait for the slow sites of strangers.
    site.handler = None
    found = await resolver.once(site.url(path), lambda: service._fetch(site.url(path)), stored=True)
    assert found.client_name == "Example client"
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "CACHE_SIZE", 10)
    cache: resolver._Cache[int] = resolver._Cache()
    for number in range(30):
        cache.put(str(number), number, 60)
        cache.get("0")
    assert len(cache) == 10
    assert (cache.get("0"), cache.get("1"), cache.get("29")) == (0, None, 29)
    cache.put("0", 1, 0)
    assert cache.get("0") is None


async def test_no_document_is_fetched_for_a_client_that_no_user_allowed(site: ClientSite, path: str) -> None:
    """The token endpoint is no amplifier."""
    assert await authorized_client(site.url(path)) is None
    await client_for_authorization(site.url(path))
    assert await authorized_client(site.url(path)) is None
    assert site.requests == 1


async def test_documents_are_off_by_default(site: ClientSite, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert await client_for_authorization(site.url(path)) is None
    assert await authorized_client(site.url(path)) is None
    assert site.requests == 0
