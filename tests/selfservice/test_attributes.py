"""Attributes on the account page, and in the export."""

from typing import Any

import pytest

from idp.accounts.attributes import declaration, service
from idp.accounts.tables import User
from tests.support.attributes import Declare, shown_on
from tests.support.browser import Browser, as_page
from tests.support.oauth import PASSWORD

OWN: dict[str, Any] = {"editable_by": ["person"]}
SAVE = "/account/attributes"


@pytest.fixture
async def home(browser: Browser, alice: User) -> Browser:
    """Alice's browser, where she has just signed in."""
    page = as_page(await browser.get("/login"))
    await browser.sign_in(page, alice.email, PASSWORD)
    return browser


async def test_people_edit_what_they_may(home: Browser, declare: Declare, alice: User) -> None:
    text = await declare(**OWN, label={"default": "Pronouns", "de": "Pronomen"}, position=1)
    number = await declare("integer", **OWN)
    flag = await declare("boolean", **OWN)
    colours = await declare("choice", multivalued=True, choices=["red", "blue", "<i>"], **OWN)
    many = await declare("date", multivalued=True, **OWN)
    fixed = await declare(label={"default": "Cost centre"}, editable_by=[])
    hidden = await declare(visible_to=[], editable_by=[])
    await service.change(alice.id, {number.name: 7, fixed.name: "C-17", hidden.name: "never shown", text.name: "<b>"})
    everything = (text, number, flag, colours, many)
    page = await shown_on(home, "/account", *(f'"attributes.{one.name}' for one in everything), "Cost centre")
    assert "C-17" in page.text
    assert "never shown" not in page.text
    assert 'value="&lt;b&gt;"' in page.text
    assert "&lt;i&gt;</label>" in page.text
    form = next(form for form in page.forms if form.action == SAVE)
    assert form.fields[f"attributes.{number.name}"] == "7"
    entered = {f"attributes.{number.name}": "-3", f"attributes.{flag.name}": "false", f"attributes.{text.name}": "they"}
    entered |= {f"attributes.{colours.name}.1": "on", f"attributes.{many.name}": "2024-02-29\r\n1990-12-31\r\n"}
    entered |= {"attributes": form.fields["attributes"], "csrf_token": form.fields["csrf_token"]}
    # Those of others are left alone, whatever is posted.
    forged = {"attributes": f"{form.fields['attributes']} {fixed.name} {hidden.name}"}
    forged |= {f"attributes.{fixed.name}": "C-1", f"attributes.{hidden.name}": "x"}
    saved = as_page(await home.post(SAVE, entered | forged))
    assert 'role="status"' in saved.text
    theirs = {text.name: "they", number.name: -3, flag.name: False, colours.name: ["blue"]}
    theirs |= {many.name: ["2024-02-29", "1990-12-31"], fixed.name: "C-17", hidden.name: "never shown"}
    assert await service.values(alice.id) == theirs
    assert f'name="attributes.{colours.name}.1" type="checkbox" value="on" checked>' in saved.text
    assert f'name="attributes.{colours.name}.0" type="checkbox" value="on">' in saved.text
    assert '<option value="false" selected>No</option>' in saved.text
    assert "2024-02-29\n1990-12-31</textarea>" in saved.text
    in_german = await home.client.get(f"{home.issuer}/account", headers={"Accept-Language": "de"})
    assert "Pronomen" in in_german.text
    assert "Pronouns" not in in_german.text


async def test_a_refused_value_is_shown_again(home: Browser, declare: Declare, alice: User) -> None:
    number = await declare("integer", **OWN, label={"default": "Shoe size"}, maximum=60)
    text = await declare(**OWN)
    page = await shown_on(home, "/account", "Shoe size", text.name)
    fields = {f"attributes.{number.name}": "99", f"attributes.{text.name}": "still here"}
    refused = as_page(await home.submit(page, "attributes-save", **fields))
    assert refused.status == 400
    assert "Shoe size: This may be 60 at most." in refused.text
    assert 'value="99" dir="ltr" aria-invalid="true"' in refused.text
    assert 'value="still here"' in refused.text
    assert await service.values(alice.id) == {}
    for wrong in ("a\u202eb", "x" * 1001, "\u3164"):
        answer = as_page(await home.submit(page, "attributes-save", **{f"attributes.{text.name}": wrong}))
        assert answer.status == 400
    assert as_page(await home.submit(page, "attributes-save", **{f"attributes.{text.name}": "a\0"})).status == 400
    assert await service.values(alice.id) == {}


async def test_a_page_that_is_older_than_a_declaration_removes_nothing(
    home: Browser, declare: Declare, alice: User
) -> None:
    one, later = await declare(**OWN), await declare()
    await service.change(alice.id, {later.name: "kept"})
    page = await shown_on(home, "/account", one.name, later.name)
    await declaration.update(later.name, editable_by=["person"])
    await shown_on(home, "/account", f'name="attributes.{later.name}"')
    await home.submit(page, "attributes-save", **{f"attributes.{one.name}": "x"})
    assert await service.stored_values(alice.id) == {one.name: "x", later.name: "kept"}


async def test_a_value_that_cannot_be_chosen_any_more_stays(home: Browser, declare: Declare, alice: User) -> None:
    colour = await declare("choice", choices=["red", "blue"], **OWN)
    await service.change(alice.id, {colour.name: "red"})
    await declaration.update(colour.name, choices=["blue"])
    page = await shown_on(home, "/account", '<option value="red" selected>red</option>', ">blue<")
    await home.submit(page, "attributes-save", **{f"attributes.{colour.name}": "red"})
    assert await service.stored_values(alice.id) == {colour.name: "red"}


async def test_the_form_needs_its_token_and_a_session(home: Browser, declare: Declare, alice: User) -> None:
    one = await declare(**OWN)
    await shown_on(home, "/account", one.name)
    form = {"attributes": one.name, f"attributes.{one.name}": "x"}
    assert as_page(await home.post(SAVE, form | {"csrf_token": "x"})).status == 400
    home.cookies.clear()
    assert "login-submit" in as_page(await home.post(SAVE, form)).ids
    assert await service.values(alice.id) == {}


async def test_the_export_has_what_people_see(home: Browser, declare: Declare, alice: User) -> None:
    seen = await declare("integer", multivalued=True)
    hidden = await declare(visible_to=["support"])
    await service.change(alice.id, {seen.name: [1, 2], hidden.name: "difficult"})
    await shown_on(home, "/account", seen.name)
    page = as_page(await home.get("/account/data"))
    exported = as_page(await home.submit(page, "data-download")).response.json()
    assert exported["attributes"] == {seen.name: [1, 2]}
