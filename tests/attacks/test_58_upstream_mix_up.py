"""Row 58: a response of one provider is not accepted as another's (RFC 9207, RFC 9700 section 4.4)."""

from collections.abc import Iterator

import pytest

from tests.federation.conftest import Add, add, leave, provider
from tests.support.browser import Browser, as_page
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]


@pytest.fixture
def evil() -> Iterator[OpenIDProvider]:
    """A provider that attacks the users of others."""
    evil = OpenIDProvider()
    yield evil
    evil.stop()


async def test_58_each_upstream_has_its_own_redirect_uri(
    browser: Browser, provider: OpenIDProvider, evil: OpenIDProvider, add: Add
) -> None:
    """A code of the honest provider, sent to the callback of the other, is redeemed at neither."""
    honest, other = await add(issuer=provider.issuer, trust_email=True), await add(issuer=evil.issuer)
    assert honest.redirect_uri != other.redirect_uri
    location = await leave(browser, as_page(await browser.get("/login")), honest)
    assert as_page(await browser.get(location.replace(honest.id, other.id))).status == 400
    assert "/token" not in [path for path, _ in [*evil.requests, *provider.requests]]
    assert not browser.signed_in


async def test_58_the_iss_of_a_response_is_checked(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """Also in errors; if the metadata promises it, it is required. Otherwise the code is not redeemed."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    for fault, error in (("other_iss", None), ("no_iss", None), ("other_iss", "access_denied")):
        provider.faults, provider.error = {fault}, error
        location = await leave(browser, as_page(await browser.get("/login")), upstream)
        page = as_page(await browser.get(location))
        assert page.status == 400
        assert not browser.signed_in
    assert "/token" not in [path for path, _ in provider.requests]


async def test_58_metadata_that_name_another_provider_s_endpoint(
    browser: Browser, provider: OpenIDProvider, evil: OpenIDProvider, add: Add
) -> None:
    """The evil provider redirects users to the honest one to get its code: the `iss` of the response reveals it."""
    upstream = await add(issuer=evil.issuer)
    honest = await add(issuer=provider.issuer, trust_email=True)
    at_evil = await leave(browser, as_page(await browser.get("/login")), upstream)
    at_honest = await leave(browser, as_page(await browser.get("/login")), honest)
    code = at_honest.partition("code=")[2].partition("&")[0]
    query = at_evil.partition("?")[2]
    state = next(part for part in query.split("&") if part.startswith("state="))
    mixed = f"{upstream.redirect_uri}?{state}&code={code}&iss={provider.issuer}"
    mixed = mixed.replace(upstream.redirect_uri.partition("/upstreams")[0], browser.issuer)
    assert as_page(await browser.get(mixed)).status == 400
    assert "/token" not in [path for path, _ in evil.requests]
