"""Devices without a browser, and the users who connect them (RFC 8628)."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from idp.oauth.device.codes import GRANT_TYPE
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, as_page
from tests.support.oauth import PASSWORD, RelyingParty

#: The metadata of a client that is on devices only.
METADATA: dict[str, Any] = {
    "client_name": "Television",
    "grant_types": [GRANT_TYPE, "refresh_token"],
    "redirect_uris": [],
    "token_endpoint_auth_method": "none",
    "scope": "openid profile email offline_access",
}


@dataclass
class Device:
    """A device that has started a request.

    Attributes:
        party: its client.
        codes: the response of the device authorization endpoint.
    """

    party: RelyingParty
    codes: dict[str, Any]

    @classmethod
    async def start(cls, party: RelyingParty, headers: dict[str, str] | None = None, **parameters: str) -> "Device":
        response = await party.post("/device_authorization", headers, **parameters)
        assert response.status_code == 200, response.text
        return cls(party, response.json())

    @property
    def user_code(self) -> str:
        return str(self.codes["user_code"])

    async def poll(
        self, headers: dict[str, str] | None = None, *, party: RelyingParty | None = None, **changes: str | None
    ) -> httpx.Response:
        form: dict[str, str | None] = {"grant_type": GRANT_TYPE, "device_code": self.codes["device_code"]}
        return await (party or self.party).post("/token", headers, **(form | changes))

    async def tokens(self, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Poll once, after the approval."""
        response = await self.poll(headers)
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens


async def start_device(make_client: MakeClient, **metadata: Any) -> Device:
    """Start a request of a new client."""
    return await Device.start(await make_client(**(METADATA | metadata)), scope=METADATA["scope"])


async def error_of(device: Device, **changes: Any) -> str:
    """Poll, and return the error."""
    response = await device.poll(**changes)
    assert response.status_code == 400, response.text
    return str(response.json()["error"])


async def open_page(browser: Browser, email: str, path: str = "/device", password: str = PASSWORD) -> Page:
    """Return the page that asks for the code, after a sign-in if one is needed."""
    page = as_page(await browser.get(path))
    if "login-submit" in page.ids:
        page = as_page(await browser.sign_in(page, email, password))
    return page


async def enter(browser: Browser, email: str, device: Device) -> Page:
    """Return the page that asks whether the device is the user's: by the address with the code."""
    parts = urlsplit(device.codes["verification_uri_complete"])
    page = await open_page(browser, email, f"{parts.path}?{parts.query}")
    assert page.forms[0].fields["user_code"] == device.user_code, page.text
    return as_page(await browser.submit(page, "device-submit"))


async def approve(browser: Browser, email: str, device: Device) -> Page:
    """Confirm the device and consent. Returns the last page."""
    return await _confirm(browser, email, await enter(browser, email, device))


async def approve_code(browser: Browser, email: str, user_code: str) -> Page:
    """Like :func:`approve`, for a device of which only the code is known."""
    page = await open_page(browser, email)
    return await _confirm(browser, email, as_page(await browser.submit(page, "device-submit", user_code=user_code)))


async def _confirm(browser: Browser, email: str, page: Page) -> Page:
    page = as_page(await browser.submit(page, "device-confirm"))
    if "login-submit" in page.ids:
        page = as_page(await browser.sign_in(page, email, PASSWORD))
    if "consent-allow" in page.ids:
        page = as_page(await browser.submit(page, "consent-allow"))
    assert "device-approved" in page.ids, page.text
    return page
