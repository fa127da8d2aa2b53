"""A client whose front-channel logout URI is to widen the content policy of our page, or to show a page of others."""

import re

import pytest

from idp import ids
from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.logout import frontchannel
from tests.conftest import MakeClient
from tests.support.browser import Browser, as_page

ORIGIN = "https://app.example.com"
HOSTILE = (
    "https://app.example.com;script-src * /out",
    "https://app.example.com;script-src%20*/out",
    "https://app.example.com, default-src *",
    "https://app.example.com\n/out",
    "https://app.example.com\\@evil.example/out",
    "https://app.example.com@evil.example/out",
    "https://user:password@app.example.com/out",
    "https://app.example.com.evil.example/out",
    "https://app.example.com:8443/out",
    "http://app.example.com/out",
    "https://*/out",
    "https:///out",
    "//app.example.com/out",
    "/logout",
    "javascript:alert(1)//app.example.com",
    "data:text/html,<script>alert(1)</script>",
    "blob:https://app.example.com/1",
)


@pytest.mark.parametrize("uri", HOSTILE)
async def test_73_what_is_registered(db: str, uri: str) -> None:
    with pytest.raises(OAuthError, match="frontchannel_logout_uri"):
        await register_client(
            client_name="Hostile", redirect_uris=[f"{ORIGIN}/callback"], frontchannel_logout_uri=uri, scope="openid"
        )


@pytest.mark.parametrize("uri", [*HOSTILE[:3], "https://a.example;x/out", "https://a.example'/out", "https://a*/out"])
def test_73_what_is_framed(uri: str) -> None:
    """Should one get into the database all the same, nothing of it gets into the policy."""
    client = Client(client_id="hostile", client_name="Hostile", frontchannel_logout_uri=uri)
    assert frontchannel.frame(client, ids.uuid7()) is None


async def test_73_the_page(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """What is allowed in a URI stays in its attribute, and out of the policy."""
    uri = f"{ORIGIN}/out;script-src%20data:?a='%22&b=c;default-src"
    client = await make_client(redirect_uris=[f"{ORIGIN}/callback"], frontchannel_logout_uri=uri)
    await client.sign_in(browser, alice.email)
    page = as_page(await browser.submit(as_page(await browser.get("/logout")), "logout-confirm"))
    policy = page.response.headers["content-security-policy"]
    assert policy.endswith(f"frame-src {ORIGIN}")
    assert policy.count("script-src") == 0
    (frame,) = re.findall(r"<iframe ([^>]*)>", page.text)
    sandbox = 'sandbox="allow-scripts allow-same-origin allow-forms"'
    assert (
        frame
        == f'src="{ORIGIN}/out;script-src%20data:?a=&#39;%22&amp;b=c;default-src" {sandbox} title="" tabindex="-1"'
    )
