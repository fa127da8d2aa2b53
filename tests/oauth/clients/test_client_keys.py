"""Keys of clients at a ``jwks_uri``: how often they are fetched, and how long they are used."""

import asyncio
import math
import tracemalloc
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from idp.infra.name_lookups import CONFIGURED, STRANGERS
from idp.keys import jose
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.oauth.clients import client_keys
from idp.oauth.clients.client_keys import KeysUnavailableError
from idp.oauth.clients.models import Client
from tests.support.assertions import ClientKeys, KeyHost, claims

MoveOn = Callable[[float], None]


@pytest.fixture
def host() -> Iterator[KeyHost]:
    host = KeyHost(ClientKeys())
    yield host
    host.stop()


@pytest.fixture(autouse=True)
def move_on(monkeypatch: pytest.MonkeyPatch) -> MoveOn:
    """Move the clock of the cache by so many seconds."""
    clock = SimpleNamespace(now=10_000.0)
    monkeypatch.setattr(client_keys, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(client_keys, "_cache", client_keys._Cache(math.inf, CONFIGURED))
    monkeypatch.setattr(client_keys, "_cache_of_self_registered", client_keys._Cache(2, STRANGERS))

    def move_on(seconds: float) -> None:
        clock.now += seconds

    return move_on


def owner(jwks_uri: str | None, jwks: Any = None) -> Any:
    return SimpleNamespace(jwks=jwks, jwks_uri=jwks_uri)


async def verify(keys: ClientKeys, host: KeyHost, **header: Any) -> jose.Claims:
    token = keys.sign(claims("c"), **header)
    return await client_keys.verify(owner(host.jwks_uri), token, VERIFICATION_ALGORITHMS, ("jwt",))


async def test_the_keys_are_fetched_once(host: KeyHost) -> None:
    for _ in range(3):
        assert (await verify(host.keys, host))["sub"] == "c"
    assert len(host.requests) == 1


async def test_concurrent_callers_share_one_fetch(host: KeyHost) -> None:
    host.delay = 0.2
    host.faults.add("slow")
    await asyncio.gather(*(verify(host.keys, host) for _ in range(20)))
    assert len(host.requests) == 1


async def test_a_caller_that_leaves_does_not_stop_the_fetch_of_others(host: KeyHost) -> None:
    host.delay = 0.2
    host.faults.add("slow")
    first, second = (asyncio.create_task(verify(host.keys, host)) for _ in range(2))
    while not host.requests:
        await asyncio.sleep(0.01)
    first.cancel()
    assert (await second)["sub"] == "c"
    assert len(host.requests) == 1


async def test_an_unknown_key_is_looked_for_once_a_minute(host: KeyHost, move_on: MoveOn) -> None:
    await verify(host.keys, host)
    rotated = ClientKeys()
    with pytest.raises(jose.NoMatchingKeyError):
        await verify(rotated, host)
    assert len(host.requests) == 1
    host.keys = rotated
    move_on(client_keys.FETCH_INTERVAL)
    assert (await verify(rotated, host))["sub"] == "c"
    for _ in range(3):
        with pytest.raises(jose.NoMatchingKeyError):
            await verify(ClientKeys(), host)
    assert len(host.requests) == 2


async def test_a_rotated_key_without_a_kid_is_found_too(host: KeyHost, move_on: MoveOn) -> None:
    await verify(host.keys, host, kid=None)
    host.keys = ClientKeys()
    move_on(client_keys.FETCH_INTERVAL)
    await verify(host.keys, host, kid=None)


async def test_a_removed_key_is_refused_after_the_lifetime(host: KeyHost, move_on: MoveOn) -> None:
    old = host.keys
    await verify(old, host)
    host.keys = ClientKeys()
    move_on(client_keys.LIFETIME - 1)
    await verify(old, host)
    move_on(1)
    with pytest.raises(jose.NoMatchingKeyError):
        await verify(old, host)


async def test_keys_are_used_for_a_while_when_their_server_is_down(host: KeyHost, move_on: MoveOn) -> None:
    await verify(host.keys, host)
    host.faults.add("error_500")
    for _ in range(3):
        move_on(client_keys.LIFETIME)
        await verify(host.keys, host)
    move_on(client_keys.USABLE)
    with pytest.raises(KeysUnavailableError):
        await verify(host.keys, host)


@pytest.mark.parametrize("fault", ["error_500", "html", "huge", "elsewhere"])
async def test_a_failed_fetch_is_not_repeated_at_once(host: KeyHost, move_on: MoveOn, fault: str) -> None:
    host.faults.add(fault)
    for _ in range(3):
        with pytest.raises(KeysUnavailableError):
            await verify(host.keys, host)
    assert len(host.requests) == 1
    host.faults.clear()
    move_on(client_keys.FETCH_INTERVAL)
    await verify(host.keys, host)


_WHY = [
    ("error_500", {"error": "HTTPStatusError", "reason": "The response has status 500.", "status": 500}),
    ("elsewhere", {"error": "HTTPStatusError", "reason": "The response has status 302.", "status": 302}),
    ("huge", {"error": "TooLongError", "reason": "The response is too long."}),
    ("html", {"reason": "The document is not JSON."}),
]


@pytest.mark.parametrize(("fault", "why"), _WHY, ids=[fault for fault, _ in _WHY])
async def test_the_operator_learns_why_keys_were_not_fetched(
    host: KeyHost, move_on: MoveOn, fault: str, why: dict[str, object]
) -> None:
    """Once for each fetch, also while keys of an earlier one are used."""
    await verify(host.keys, host)
    host.faults.add(fault)
    move_on(client_keys.LIFETIME)
    with capture_logs() as logs:
        for _ in range(3):
            await verify(host.keys, host)
    (told,) = logs
    assert told == {"event": "jwks_not_fetched", "log_level": "warning", "host": "127.0.0.1"} | why


@pytest.mark.parametrize("uri", ["https://[::1/jwks", "https://[x]/jwks", "jwks", ""])
async def test_an_address_of_another_server_that_is_no_url(uri: str) -> None:
    """The discovery document of a trusted issuer may have any."""
    with capture_logs() as logs, pytest.raises(KeysUnavailableError):
        await client_keys.keys(owner(uri))
    assert [line["event"] for line in logs] == ["jwks_not_fetched"]


@pytest.mark.parametrize(
    "document",
    [[], {}, {"keys": 1}, {"keys": {}}, {"keys": [1, None, []]}, {"keys": [{}]}, {"keys": [{"kty": ["RSA"]}]}],
    ids=str,
)
async def test_a_malformed_document_has_no_keys(host: KeyHost, document: object) -> None:
    host.document = document
    with pytest.raises(jose.NoMatchingKeyError):
        await verify(host.keys, host)


@pytest.mark.parametrize("member", ["n", "e", "x", "kid", "alg", "use", "key_ops"])
@pytest.mark.parametrize("value", [1, None, [], {}, "", "\0", "!"], ids=repr)
async def test_malformed_members_are_errors_of_the_token(host: KeyHost, member: str, value: object) -> None:
    keys = ClientKeys("RS256") if member in "ne" else host.keys
    host.document = {"keys": [key | {member: value} for key in keys.jwks()["keys"]]}
    with pytest.raises(jose.InvalidJWTError):
        await verify(keys, host)


async def test_the_cache_is_bounded(host: KeyHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_keys, "MAX_ENTRIES", 3)
    for number in range(5):
        await client_keys.keys(owner(f"{host.jwks_uri}?{number}"))
    assert [uri.rpartition("?")[2] for uri in client_keys._cache] == ["2", "3", "4"]


def self_registered(jwks_uri: str, origin: str = "dynamic") -> Client:
    return Client(client_id="c", client_name="C", jwks_uri=jwks_uri, origin=origin)


@pytest.mark.parametrize("origin", ["dynamic", "document"])
async def test_self_registered_clients_take_no_place_of_others(
    host: KeyHost, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    monkeypatch.setattr(client_keys, "MAX_ENTRIES", 3)
    await verify(host.keys, host)
    for number in range(5):
        await client_keys.keys(self_registered(f"{host.jwks_uri}?{number}", origin))
    before = len(host.requests)
    await verify(host.keys, host)
    assert len(host.requests) == before


async def test_self_registered_clients_have_few_fetches_at_a_time(host: KeyHost) -> None:
    """The hosts that they choose may be slow. What is refused is not counted as tried."""
    host.delay = 0.5
    host.faults.add("slow")
    many = [self_registered(f"{host.jwks_uri}?{number}") for number in range(6)]
    found = await asyncio.gather(*map(client_keys.keys, many), verify(host.keys, host), return_exceptions=True)
    assert [isinstance(one, KeysUnavailableError) for one in found] == [False] * 2 + [True] * 4 + [False]
    host.faults.clear()
    for client in many:
        assert await client_keys.keys(client)


async def test_documents_take_bounded_memory(host: KeyHost) -> None:
    """A list needs twenty times as much memory as its two characters."""
    client_keys._decoded.cache_clear()
    host.document = {"keys": [[]] * 15_000}
    many = client_keys.MAX_DECODED + 40
    owners = [owner(f"{host.jwks_uri}?{number}") for number in range(many)]
    tracemalloc.start()
    try:
        for number, one in enumerate(owners):
            # Each document has its own bytes.
            host.document["own"] = number
            assert await client_keys.keys(one) == []
        assert len(client_keys._cache) == many
        assert tracemalloc.get_traced_memory()[0] < 1.2e6 * client_keys.MAX_DECODED
    finally:
        tracemalloc.stop()
        client_keys._decoded.cache_clear()


async def test_the_guard_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is not allowed is never called (row 35 of tests/attacks/)."""
    with pytest.raises(KeysUnavailableError):
        await client_keys.keys(owner("http://169.254.169.254/jwks"))


async def test_keys_by_value_need_no_fetch() -> None:
    keys = ClientKeys("ES256", "RS256")
    by_value = owner(None, keys.jwks("kid", "alg", "use"))
    for header in ({}, {"kid": None}):
        token = keys.sign(claims("c"), **header)
        if header:
            assert await client_keys.verify(by_value, token, VERIFICATION_ALGORITHMS, ("jwt",))
        else:
            with pytest.raises(jose.NoMatchingKeyError):
                await client_keys.verify(by_value, token, VERIFICATION_ALGORITHMS, ("jwt",))
