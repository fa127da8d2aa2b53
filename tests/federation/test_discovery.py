"""The cache of metadata and keys."""

import asyncio
from typing import Any

import pytest

from idp.federation import discovery
from idp.federation.errors import UpstreamUnavailableError
from tests.support.stand_ins import OpenIDProvider


async def test_requests_at_the_same_moment_share_a_fetch(provider: OpenIDProvider) -> None:
    found = await asyncio.gather(*(discovery.provider_metadata(provider.issuer) for _ in range(20)))
    assert {metadata["issuer"] for metadata in found} == {provider.issuer}
    assert [path for path, _ in provider.requests] == [provider.metadata_path]


async def test_the_wait_for_the_fetch_of_another_request_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(_url: str) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(discovery, "SECONDS", 0.05)
    monkeypatch.setattr(discovery, "fetch_json", endless)
    asked = (discovery.provider_metadata("https://endless.example") for _ in range(5))
    async with asyncio.timeout(30):
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(each) for each in found} == {UpstreamUnavailableError}
