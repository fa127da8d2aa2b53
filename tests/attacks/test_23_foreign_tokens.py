"""Row 23: tokens of an upstream provider are validated completely: issuer, audience, times and signature."""

from typing import Any

import pytest

from idp.infra.db.engine import fetchrow
from tests.federation.conftest import Add, add, provider, sign_in
from tests.support.browser import Browser, as_page
from tests.support.stand_ins import CLIENT_ID, OpenIDProvider

__all__ = ["add", "provider"]

CLAIMS: dict[str, dict[str, Any]] = {
    "another client of the issuer": {"aud": "another-client"},
    "several clients and no azp": {"aud": [CLIENT_ID, "another-client"]},
    "issued to another client": {"azp": "another-client"},
    "several clients, issued to another": {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
    "no audience": {"aud": None},
    "an audience that is no text": {"aud": {CLIENT_ID: True}},
    "another issuer": {"iss": "https://evil.example"},
    "the issuer with a slash": {"iss": "{issuer}/"},
    "no issuer": {"iss": None},
    "another sign-in": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "a nonce that is no text": {"nonce": ["x"]},
    "expired": {"exp": 1_000_000_000},
    "no expiry": {"exp": None},
    "an expiry that is no time": {"exp": "tomorrow"},
    "not yet": {"nbf": 4_000_000_000},
    "issued in the future": {"iat": 4_000_000_000},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is a number": {"sub": 7},
    "a long subject": {"sub": "x" * 256},
    "a subject with a NUL": {"sub": "a\0b"},
}
FAULTS = [
    "unsigned", "hs256", "other_key", "no_id_token", "other_iss", "no_iss", "other_metadata", "other_userinfo",
]  # fmt: skip


async def _refused(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    page = as_page(await sign_in(browser, upstream))
    assert page.status == 400
    assert upstream.name in page.text
    assert "login-submit" in page.ids
    assert not browser.signed_in
    assert await fetchrow("SELECT 1 FROM identity WHERE issuer = $1", provider.issuer) is None


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
async def test_23_wrong_claims(browser: Browser, provider: OpenIDProvider, add: Add, claims: dict[str, Any]) -> None:
    provider.claims = {
        name: value.replace("{issuer}", provider.issuer) if isinstance(value, str) else value
        for name, value in claims.items()
    }
    await _refused(browser, provider, add)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "other_metadata"])
async def test_23_wrong_answers(browser: Browser, provider: OpenIDProvider, add: Add, fault: str) -> None:
    provider.faults.add(fault)
    provider.lean = fault == "other_userinfo"
    await _refused(browser, provider, add)


async def test_23_metadata_of_another_issuer(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """No user is redirected to its endpoints."""
    provider.faults.add("other_metadata")
    upstream = await add(issuer=provider.issuer)
    page = as_page(await browser.get("/login"))
    shown = as_page(await browser.get(f"{page.path}/to/{upstream.id}"))
    assert shown.status == 400
    assert "login-submit" in shown.ids
    assert "/authorize" not in [path for path, _ in provider.requests]


async def test_23_a_token_of_another_sign_in(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """The control, and then the same ID token once more."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, upstream)
    assert browser.signed_in
    first = next(given for path, given in provider.requests if path == "/authorize")["nonce"]
    browser.cookies.clear()
    provider.claims = {"nonce": first}
    assert as_page(await sign_in(browser, upstream)).status == 400
    assert not browser.signed_in
