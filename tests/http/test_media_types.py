"""The media type of a body is compared without its case and its parameters (RFC 9110 section 8.3.1), and as a whole."""

import secrets

import pytest

from idp.accounts.tables import User
from idp.admin.api.operation import PREFIX
from idp.admin.roles import Role
from idp.infra.media_types import media_type
from tests.admin.api.conftest import make_caller
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server

#: How clients may write a media type, and others that begin like it.
ALIKE = ("{}", "{}; charset=utf-8", "{} ;charset=UTF-8")
OTHERS = ("{}x", "{}+xml", "text/plain; type={}", "")


@pytest.mark.parametrize("text", [*ALIKE, " {} "])
def test_a_media_type(text: str) -> None:
    assert media_type(text.format("Application/JSON")) == "application/json"


def test_no_media_type() -> None:
    assert media_type(None) == media_type("") == ""


async def test_at_userinfo(client: RelyingParty, browser: Browser, alice: User) -> None:
    """A body of another type has no access token."""
    tokens = await client.tokens(browser, alice.email)

    async def status(text: str) -> int:
        headers = {"content-type": text.format("Application/X-WWW-Form-URLencoded")}
        body = f"access_token={tokens['access_token']}"
        return (await client.http.post(f"{client.issuer}/userinfo", content=body, headers=headers)).status_code

    assert [await status(text) for text in ALIKE] == [200] * len(ALIKE)
    assert [await status(text) for text in OTHERS] == [401] * len(OTHERS)


async def test_at_the_admin_api(server: Server, client: RelyingParty) -> None:
    owner = await make_caller(server, client.http, Role.OWNER)

    async def status(text: str) -> int:
        headers = {"content-type": text.format("Application/JSON"), "authorization": f"Bearer {owner.token}"}
        body = f'{{"name": "group-{secrets.token_hex(6)}"}}'
        return (await client.http.post(f"{client.issuer}{PREFIX}/groups", content=body, headers=headers)).status_code

    assert [await status(text) for text in ALIKE] == [201] * len(ALIKE)
    assert [await status(text) for text in OTHERS] == [415] * len(OTHERS)
