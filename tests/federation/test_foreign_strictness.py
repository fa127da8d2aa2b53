"""Responses of other providers that differ from ours are read as their specifications allow."""

import json
import secrets
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from idp.federation import registry
from idp.federation.errors import InvalidUpstreamError
from idp.federation.providers.apple import PROVIDER as APPLE
from idp.infra.db.engine import fetchrow
from tests.federation.conftest import Add, sign_in
from tests.support.browser import Browser, as_page
from tests.support.mailbox import Mailbox
from tests.support.stand_ins import CLIENT_ID, NESTED, Answer, GitHub, OpenIDProvider

pytestmark = pytest.mark.fault(22)

RSA = rsa.generate_private_key(65537, 3000)
KEYS: dict[str, Any] = {
    **{f"{kind}{bits}": RSA for kind in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


async def _reason(upstream_id: str) -> dict[str, str]:
    row = await fetchrow(
        "SELECT detail ->> 'reason' AS reason, detail ->> 'check' AS check FROM audit_event"
        " WHERE event = 'upstream_failed' AND detail ->> 'upstream' = $1 ORDER BY id DESC LIMIT 1", upstream_id,
    )  # fmt: skip
    assert row is not None
    return dict(row)


async def test_every_algorithm_that_the_metadata_name(browser: Browser, add: Add) -> None:
    """And none beside them."""
    for alg, key in KEYS.items():
        provider = OpenIDProvider()
        try:
            provider.keys, provider.algorithm = {"k": key}, alg
            provider.claims = {"at_hash": None}
            provider.metadata = {"id_token_signing_alg_values_supported": [alg, "HS256", "none", 7]}
            upstream = await add(issuer=provider.issuer, trust_email=True)
            browser.cookies.clear()
            await sign_in(browser, upstream)
            assert browser.signed_in, alg
        finally:
            provider.stop()


async def test_an_algorithm_that_the_metadata_do_not_name(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    provider.metadata = {"id_token_signing_alg_values_supported": ["ES256"]}
    upstream = await add(issuer=provider.issuer, trust_email=True)
    assert as_page(await sign_in(browser, upstream)).status == 400
    assert not browser.signed_in
    assert "algorithm" in (await _reason(upstream.id))["check"]


async def test_fractions_of_seconds(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    now = time.time()
    provider.claims = {"exp": now + 300.5, "iat": now - 0.25, "nbf": now - 0.25, "auth_time": now - 60.75}
    provider.header = {"cty": "x", "x5c": ["MIIB"], "com.example": 1}
    await sign_in(browser, await add(issuer=provider.issuer, trust_email=True))
    assert browser.signed_in
    provider.claims = {"exp": now - 0.5}
    browser.cookies.clear()
    assert as_page(await sign_in(browser, await add(issuer=provider.issuer, trust_email=True))).status == 400


@pytest.mark.parametrize(("lacking", "other"), [("pkce", "nonce"), ("nonce", "pkce")])
async def test_providers_without_nonce_or_pkce(
    browser: Browser, provider: OpenIDProvider, add: Add, lacking: str, other: str
) -> None:
    """Only by declaration: the parameter that the provider lacks is not sent, and the other one is still required."""
    setattr(provider, lacking, False)
    upstream = await add(issuer=provider.issuer, trust_email=True, options={lacking: "no"})
    await sign_in(browser, upstream)
    assert browser.signed_in
    for options in ({lacking: "yes"}, {lacking: "no", other: "no"}):
        with pytest.raises(InvalidUpstreamError):
            registry.configure(id="x", name="X", issuer=provider.issuer, client_id="x", options=options)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_nonce_that_is_there_must_be_right(
    browser: Browser, provider: OpenIDProvider, add: Add, declared: bool
) -> None:
    provider.nonce = not declared
    upstream = await add(issuer=provider.issuer, trust_email=True, options={"nonce": "no"} if declared else {})
    for nonce in ("other", *([] if declared else [None])):
        provider.claims = {"nonce": nonce}
        assert as_page(await sign_in(browser, upstream)).status == 400
        assert (await _reason(upstream.id))["check"] == "The ID token is of another sign-in."


async def test_metadata_elsewhere(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """It must still be the issuer's."""
    provider.metadata_path = "/policy/metadata"
    upstream = await add(
        issuer=provider.issuer, trust_email=True, options={"metadata_url": f"{provider.issuer}/policy/metadata"}
    )
    await sign_in(browser, upstream)
    assert browser.signed_in
    other = OpenIDProvider()
    try:
        away = await add(issuer=other.issuer, options={"metadata_url": f"{provider.issuer}/policy/metadata"})
        browser.cookies.clear()
        page = as_page(await browser.get("/login"))
        assert as_page(await browser.get(f"{page.path}/to/{away.id}")).status == 400
        assert "another issuer" in (await _reason(away.id))["check"]
    finally:
        other.stop()
    with pytest.raises(InvalidUpstreamError):
        registry.configure(id="x", name="X", issuer="https://x.example", client_id="x", options={"metadata_url": "x"})


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_userinfo_that_is_refused(
    browser: Browser, provider: OpenIDProvider, add: Add, mailbox: Mailbox, status: int
) -> None:
    """The ID token identifies the user, who proves the address by mail."""
    provider.lean = True
    provider.userinfo = (status, "text/plain", "no")
    page = as_page(await sign_in(browser, await add(issuer=provider.issuer, trust_email=True)))
    assert "upstream-send" in page.ids


@pytest.mark.parametrize(
    "answer", [(503, "text/plain", "later"), (200, "application/json", NESTED)], ids=["503", "nested"]
)
async def test_userinfo_that_is_an_outage(browser: Browser, provider: OpenIDProvider, add: Add, answer: Answer) -> None:
    provider.lean = True
    provider.userinfo = answer
    upstream = await add(issuer=provider.issuer, trust_email=True)
    assert as_page(await sign_in(browser, upstream)).status == 400
    assert (await _reason(upstream.id))["reason"] == "unavailable"


@pytest.mark.parametrize(
    ("change", "believed"),
    [({}, True), ({"iss": None, "aud": None}, True), ({"iss": "https://evil.example"}, False), ({"aud": "x"}, False)],
)
async def test_userinfo_that_is_signed(
    browser: Browser, provider: OpenIDProvider, add: Add, change: dict[str, Any], believed: bool
) -> None:
    """It is used if it can be verified, and ignored otherwise."""
    provider.lean = True
    person = provider.person
    claims = {
        "sub": person.sub,
        "email": person.email,
        "email_verified": True,
        "iss": provider.issuer,
        "aud": CLIENT_ID,
    }
    claims = {name: value for name, value in (claims | change).items() if value is not None}
    (kid, key), *_ = provider.keys.items()
    provider.userinfo = (200, "application/jwt;charset=utf-8", jwt.encode(claims, key, "RS256", {"kid": kid}))
    page = as_page(await sign_in(browser, await add(issuer=provider.issuer, trust_email=True)))
    assert browser.signed_in is believed
    assert believed or "upstream-send" in page.ids


async def test_userinfo_with_another_signature(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    provider.lean = True
    claims = {"sub": provider.person.sub, "email": provider.person.email, "email_verified": True}
    token = jwt.encode(claims, provider.stranger, "RS256", {"kid": next(iter(provider.keys))})
    for text in (token, "a.b.c.d.e", ""):
        provider.userinfo = (200, "application/jwt", text)
        browser.cookies.clear()
        page = as_page(await sign_in(browser, await add(issuer=provider.issuer, trust_email=True)))
        assert "upstream-send" in page.ids
        assert not browser.signed_in


CHECKS = {
    "expired": ({"exp": 1}, "expired"),
    "issuer": ({"iss": "https://evil.example"}, "another issuer"),
    "audience": ({"aud": "x"}, "another client"),
    "hash": ({"at_hash": "x"}, "access token"),
    "subject": ({"sub": ""}, "who it is about"),
}


@pytest.mark.parametrize(("claims", "check"), CHECKS.values(), ids=CHECKS)
async def test_the_check_that_failed_is_named(
    browser: Browser, provider: OpenIDProvider, add: Add, claims: dict[str, Any], check: str
) -> None:
    provider.claims = claims
    upstream = await add(issuer=provider.issuer, trust_email=True)
    assert as_page(await sign_in(browser, upstream)).status == 400
    told = await _reason(upstream.id)
    assert told["reason"] == "untrusted"
    assert check in told["check"]


# GitHub and Apple


@pytest.mark.fault(23)
@pytest.mark.parametrize("status", [403, 404])
async def test_github_without_leave_to_read_addresses(
    browser: Browser, github: GitHub, add: Add, mailbox: Mailbox, status: int
) -> None:
    """As with GitHub Apps: the user proves an address by our own mail."""
    upstream = await add(kind="github", issuer=github.url)
    github.addresses = (status, "application/json", '{"message": "Resource not accessible by integration"}')
    page = as_page(await sign_in(browser, upstream))
    email = f"{secrets.token_hex(6)}@example.com"
    page = as_page(await browser.submit(page, "upstream-send", username=email))
    await browser.submit(page, "code-submit", code=(await mailbox.next(email)).code)
    assert browser.signed_in
    row = await fetchrow("SELECT u.email FROM users AS u JOIN identity AS i ON i.user_id = u.id WHERE i.subject = $1",
                         str(github.person.id))  # fmt: skip
    assert row is not None
    assert row["email"] == email


@pytest.mark.fault(23)
async def test_github_that_fails(browser: Browser, github: GitHub, add: Add) -> None:
    """Another status is an outage as before."""
    upstream = await add(kind="github", issuer=github.url)
    for answer in ((401, "{}"), (429, "{}"), (500, "{}"), (200, NESTED)):
        github.addresses = (answer[0], "application/json", answer[1])
        assert as_page(await sign_in(browser, upstream)).status == 400
        assert (await _reason(upstream.id))["reason"] == "unavailable"


NAMES = {
    "both": ({"firstName": "Ada", "lastName": "Lovelace"}, {"given_name": "Ada", "family_name": "Lovelace"}),
    "no last name": ({"firstName": "Ada"}, {"given_name": "Ada"}),
    "null": ({"firstName": None, "lastName": "Lovelace"}, {"family_name": "Lovelace"}),
    "empty": ({"firstName": "", "lastName": "Lovelace"}, {"family_name": "Lovelace"}),
    "another type": ({"firstName": ["x"], "lastName": "Lovelace"}, {"family_name": "Lovelace"}),
    "none": ({}, {}),
}


@pytest.mark.fault(23)
@pytest.mark.parametrize(("name", "told"), NAMES.values(), ids=NAMES)
def test_half_a_name_of_apple(name: dict[str, Any], told: dict[str, str]) -> None:
    expected = told | ({"name": " ".join(told.values())} if told else {})
    assert APPLE.callback_claims({"user": json.dumps({"name": name})}) == expected
