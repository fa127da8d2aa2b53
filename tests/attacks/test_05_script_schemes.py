"""Row 5: a scheme that runs scripts, opens files or starts programs is never accepted."""

import re
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page
from tests.support.hostile import SCHEMES, assert_refused_here
from tests.support.oauth import REDIRECT_URI


@pytest.mark.parametrize("uri", SCHEMES)
@pytest.mark.parametrize("application_type", ["web", "native"])
async def test_05_cannot_be_registered(application_type: str, uri: str, db: str) -> None:
    metadata: dict[str, Any] = {"client_name": "Hostile", "application_type": application_type}
    with pytest.raises(OAuthError, match="invalid_redirect_uri"):
        await register_client(**metadata, redirect_uris=[REDIRECT_URI, uri])
    for name in ("post_logout_redirect_uris", "client_uri", "logo_uri", "policy_uri", "tos_uri"):
        value = [uri] if name.endswith("s") else uri
        with pytest.raises(OAuthError, match="invalid_client_metadata"):
            await register_client(**metadata, redirect_uris=[REDIRECT_URI], **{name: value})


@pytest.mark.parametrize("application_type", ["web", "native"])
async def test_05_cannot_be_asked_for(application_type: str, make_client: MakeClient) -> None:
    client = await make_client(application_type=application_type)
    for uri in SCHEMES:
        for mode in (None, "form_post"):
            parameters = client.parameters(redirect_uri=uri, response_mode=mode)
            page = assert_refused_here(await client.http.get(f"{client.issuer}/authorize", params=parameters))
            assert uri not in page.text
        parameters = {"client_id": client.client_id, "post_logout_redirect_uri": uri}
        page = assert_refused_here(await client.http.get(f"{client.issuer}/logout", params=parameters))
        assert uri not in page.text


def policy(page: Page) -> dict[str, str]:
    """The Content-Security-Policy by directive."""
    (header,) = page.response.headers.get_list("content-security-policy")
    return {name: value for name, _, value in (part.strip().partition(" ") for part in header.split(";"))}


async def test_05_forms_end_at_us_or_at_the_client(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Forms of a page can only be sent to us or the client, and injected scripts do not run."""
    client = await make_client(post_logout_redirect_uris=["https://portal.example.com/bye"])
    pages = [await browser.get("/authorize"), await client.authorize(browser)]
    assert isinstance(pages[1], Page)
    pages.append(await browser.sign_in(pages[1], alice.email, "correct horse battery staple"))
    pages.append(await browser.get("/"))
    pages.append(await browser.get("/logout"))
    pages.append(await browser.get("/no-such-page"))
    for page in pages:
        assert isinstance(page, Page)
        directives = policy(page)
        assert directives["default-src"] == "'none'"
        assert not {"script-src-elem", "script-src-attr", "object-src", "frame-src"} & directives.keys()
        # Only our own files, and only where there are passkeys.
        assert directives.get("script-src") == ("'self'" if "data-passkey" in page.text else None)
        assert "unsafe" not in page.response.headers["content-security-policy"]
        assert directives["frame-ancestors"] == "'none'"
        # The last one is not a page but JSON, which has no forms.
        if page is not pages[-1]:
            assert directives["form-action"] == "'self'"
            assert directives["base-uri"] == "'none'"

    asked = await browser.get(
        "/logout", client_id=client.client_id, post_logout_redirect_uri="https://portal.example.com/bye"
    )
    assert policy(asked)["form-action"] == "'self'"


async def test_05_form_post_runs_one_script_of_ours(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Its nonce is new each time, and its only form is sent to the client."""
    client = await make_client()
    await client.sign_in(browser, alice.email)
    nonces = set()
    for changes in ({}, {"prompt": "none"}, {"scope": "none-such"}):
        page = await client.authorize(browser, response_mode="form_post", **changes)
        assert isinstance(page, Page)
        assert [form.action for form in page.forms] == [REDIRECT_URI]
        directives = policy(page)
        assert "form-action" not in directives
        found = re.fullmatch(r"'nonce-([A-Za-z0-9_-]{22})'", directives["script-src"])
        assert found is not None
        assert re.findall(r"<script[^>]*>", page.text) == [f'<script nonce="{found[1]}">']
        nonces.add(found[1])
    assert len(nonces) == 3
