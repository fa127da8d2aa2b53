"""Attributes in a real browser: without JavaScript, by keyboard, in every look."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, expect

from idp.accounts.attributes import service
from idp.accounts.tables import User
from tests.browser.conftest import sign_in
from tests.browser.test_accessibility import Look, look, page
from tests.conftest import MakeClient
from tests.support.attributes import Declare, declare
from tests.support.oauth import PASSWORD, RelyingParty

__all__ = ["declare", "look", "page"]

pytestmark = pytest.mark.browser

OWN: dict[str, Any] = {"editable_by": ["person"]}


@pytest.fixture
async def party(make_client: MakeClient) -> RelyingParty:
    return await make_client(skip_consent=True)


async def _until_shown(page: Page, name: str) -> None:
    """Wait until the server knows an attribute. The user of the page is signed in."""
    await page.goto("/account")
    while not await page.locator(f'[id^="attributes.{name}"]').count():
        await page.reload()


async def test_the_step_needs_a_keyboard_only(
    script_free: Page, alice: User, declare: Declare, party: RelyingParty
) -> None:
    page = script_free
    number = await declare("integer", **OWN, required_for=[party.client_id], position=1)
    colours = await declare(
        "choice", multivalued=True, choices=["red", "blue"], **OWN, required_for=[party.client_id], position=2
    )
    await sign_in(page, alice)
    await _until_shown(page, colours.name)
    await page.context.clear_cookies()
    await page.goto(f"/authorize?{urlencode(party.parameters())}")
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.keyboard.press("Enter")
    await page.focus(f'[id="attributes.{number.name}"]')
    await page.keyboard.type("seven")
    await page.keyboard.press("Enter")
    # The field with the error has the focus, and says what is wrong.
    wrong = page.locator(f'[id="attributes.{number.name}"]')
    await expect(wrong).to_be_focused()
    await expect(wrong).to_have_attribute("aria-describedby", "form-error")
    await page.keyboard.press("Control+A")
    await page.keyboard.type("7")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await page.keyboard.press("Tab")
    async with page.expect_request(re.compile(r"https://app\.example\.com/callback.*code=")):
        await page.keyboard.press("Enter")
    assert await service.values(alice.id) == {number.name: 7, colours.name: ["blue"]}


async def test_every_field_can_be_used_by_everyone(
    page: Page, look: Look, alice: User, declare: Declare, party: RelyingParty
) -> None:
    more = {"required_for": [party.client_id]} | OWN
    choice: dict[str, Any] = {"choices": ["red", "blue"]}
    kinds: list[tuple[str, dict[str, Any]]] = [
        *((simple, {}) for simple in ("string", "integer", "date", "boolean", "email")),
        ("choice", choice), ("choice", choice | {"multivalued": True}), ("string", {"multivalued": True}),
    ]  # fmt: skip
    for kind, options in kinds:
        last = await declare(kind, label={"default": f"A {kind}", "de": f"Ein {kind}"}, **options, **more)
    fixed = await declare(label={"default": "Cost centre", "de": "Kostenstelle"}, editable_by=[])
    await service.change(alice.id, {fixed.name: "C-17"})
    await sign_in(page, alice)
    await _until_shown(page, last.name)
    await look("#attributes-save")
    await page.goto(f"/authorize?{urlencode(party.parameters())}")
    await look("#attributes-submit")
    await page.locator("form").first.evaluate("form => form.noValidate = true")
    await page.click("#attributes-submit")
    await look("#form-error")
