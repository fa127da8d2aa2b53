"""Row 38: the at_hash of another issuer's ID token is compared with the access token, and never skipped."""

from typing import Any

import pytest

from tests.federation.conftest import Add, add, provider, sign_in
from tests.support.browser import Browser, as_page
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]


@pytest.mark.parametrize("at_hash", ["", "AAAAAAAAAAAAAAAAAAAAAA", "x", 7, [], {}, True], ids=str)
async def test_38_a_wrong_hash(browser: Browser, provider: OpenIDProvider, add: Add, at_hash: Any) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"at_hash": at_hash}
    assert as_page(await sign_in(browser, upstream)).status == 400
    assert not browser.signed_in


async def test_38_none_at_all(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """The code flow may leave it out (OpenID Connect Core section 3.1.3.6)."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"at_hash": None}
    await sign_in(browser, upstream)
    assert browser.signed_in
