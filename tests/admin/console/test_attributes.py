"""Attributes in the console: declaring them, the values of a user, and the search by a value."""

import json
import re
import secrets
from html import unescape

from idp.accounts.attributes import declaration, service
from idp.accounts.tables import User
from idp.admin.roles import Role
from idp.infra.db.engine import fetch, fetchrow
from tests.admin.console.conftest import Admin
from tests.conftest import MakeUser
from tests.support.attributes import Declare, declare, held_up, values_changed

__all__ = ["declare"]

NEW = "/admin/attributes/new"


async def stored(name: str) -> dict[str, object] | None:
    row = await fetchrow("SELECT config FROM attribute WHERE name = $1 AND deleted_at IS NULL", name)
    return json.loads(row["config"]) if row is not None else None


async def test_an_attribute_from_its_declaration_to_its_end(owner: Admin, alice: User) -> None:
    name = f"a_{secrets.token_hex(6)}"
    boxes = dict.fromkeys(("multivalued", "searchable", "editable_person"), "on")
    form = boxes | {"name": name, "type": "choice", "label": "Colour", "choices": "red\r\nlight blue\r\n",
            "position": "3", "translations": "de = Farbe\r\npt-BR=Cor\r\n", "registration": "no"}  # fmt: skip
    for wrong in (
        {"name": "Colour"}, {"type": "colour"}, {"label": ""}, {"choices": ""}, {"position": "x"}, {"claim": "x y"},
        {"translations": "Farbe"}, {"translations": "deutsch- = x"}, {"min_length": "1.5"}, {"pattern": "("},
        {"required_for": "none-such"}, {"registration": "perhaps"},
    ):  # fmt: skip
        answer = await owner.confirm(NEW, **(form | {"multivalued": ""} | wrong))
        assert answer.status == 400, wrong
        assert 'id="form-error"' in answer.text
    assert await stored(name) is None
    answer = await owner.confirm(NEW, **form)
    assert answer.path == f"/admin/attributes/{name}"
    config = await stored(name)
    assert config is not None
    assert config == config | {
        "type": "choice", "multivalued": True, "choices": ["red", "light blue"], "position": 3, "searchable": True,
        "label": {"default": "Colour", "de": "Farbe", "pt-BR": "Cor"}, "visible_to": ["person", "support"],
        "editable_by": ["person", "support"], "claim": None, "required_for": [],
    }  # fmt: skip
    assert name in (await owner.get("/admin/attributes?sort=-name")).text
    path = f"/admin/attributes/{name}"
    assert "de = Farbe, pt-BR = Cor" in (await owner.get(path)).text
    page = await owner.get(f"{path}/change")
    assert "red\nlight blue</textarea>" in page.text
    fields = {"choices": "red", "translations": "de = Farbe", "registration": "no"}
    answer = await owner.confirm(f"{path}/change", **fields)
    assert answer.path == path
    outdated = await owner.browser.submit(page, "confirm", **fields)
    assert "changed" in outdated.text  # type: ignore[union-attr]
    assert (await stored(name) or {})["choices"] == ["red"]
    await service.change(alice.id, {name: ["red"]})
    asked = await owner.get(f"{path}/delete")
    assert "Values that go with it" in asked.text
    assert "<dd>1</dd>" in asked.text
    assert "Deleted." in (await owner.confirm(f"{path}/delete")).text
    assert await stored(name) is None


async def test_values_of_a_user(admins: dict[Role, Admin], owner: Admin, declare: Declare, alice: User) -> None:
    number = await declare("integer", label={"default": "Level"})
    many = await declare("date", multivalued=True)
    flag, colour = await declare("boolean"), await declare("choice", choices=["red", "<blue>"])
    hidden = await declare(visible_to=[], editable_by=[])
    await service.change(alice.id, {number.name: 7, hidden.name: "for owners", colour.name: "red"})
    path = f"/admin/users/{alice.id}"
    assert "for owners" in (await owner.get(path)).text
    support = admins[Role.SUPPORT]
    shown = await support.get(path)
    assert "for owners" not in shown.text
    assert re.search(r"Level</td>\s*<td[^>]*>7</td>", shown.text)
    form = await support.get(f"{path}/attributes")
    assert hidden.name not in form.text
    assert '<option value="red" selected>red</option>' in form.text
    assert "&lt;blue&gt;" in form.text
    fields = {f"attributes.{number.name}": "8", f"attributes.{many.name}": "2024-02-29\r\n1990-12-31",
              f"attributes.{flag.name}": "false", f"attributes.{colour.name}": ""}  # fmt: skip
    refused = await support.browser.submit(form, "confirm", **(fields | {f"attributes.{number.name}": "eight"}))
    assert "Level: This must be a whole number." in unescape(refused.text)  # type: ignore[union-attr]
    assert 'value="eight"' in refused.text  # type: ignore[union-attr]
    forged = {f"attributes.{hidden.name}": "x"}
    saved = await support.browser.submit(refused, "confirm", **(fields | forged))  # type: ignore[arg-type]
    assert "Saved." in saved.text  # type: ignore[union-attr]
    expected = {number.name: 8, many.name: ["2024-02-29", "1990-12-31"], flag.name: False, hidden.name: "for owners"}
    assert await service.stored_values(alice.id) == expected
    # The first page shows values that have changed since.
    outdated = await support.browser.submit(form, "confirm", **fields)
    assert outdated.status == 400  # type: ignore[union-attr]
    assert "changed" in outdated.text  # type: ignore[union-attr]
    events = await fetch(
        "SELECT actor FROM audit_event WHERE event = 'attributes_changed' AND user_id = $1 ORDER BY id", alice.id
    )
    assert sorted(row["actor"] for row in events) == ["", f"user:{support.user.id}"]


async def test_support_does_not_edit_admins(admins: dict[Role, Admin], declare: Declare) -> None:
    one = await declare()
    victim = admins[Role.AUDITOR].user
    support = admins[Role.SUPPORT]
    answer = await support.confirm(f"/admin/users/{victim.id}/attributes", **{f"attributes.{one.name}": "x"})
    assert answer.status == 403
    assert "Only an owner" in answer.text
    assert await service.stored_values(victim.id) == {}


async def test_users_are_found_by_an_attribute(
    admins: dict[Role, Admin], owner: Admin, declare: Declare, alice: User
) -> None:
    number = await declare("integer", searchable=True, label={"default": "Badge"})
    hidden = await declare(searchable=True, visible_to=[], editable_by=[], label={"default": "Rating"})
    await service.change(alice.id, {number.name: 4711, hidden.name: "low"})
    page = await owner.get(f"/admin/users?attribute={number.name}&value=4711")
    assert alice.email in page.text
    assert f'<option value="{number.name}" selected>Badge</option>' in page.text
    for value in ("4712", "x", "'", "4711.5"):
        page = await owner.get(f"/admin/users?attribute={number.name}&value={value}")
        assert page.status == 200
        assert "Nothing matches." in page.text, value
    assert alice.email in (await owner.get(f"/admin/users?attribute={hidden.name}&value=LOW")).text
    page = await admins[Role.SUPPORT].get(f"/admin/users?attribute={hidden.name}&value=nothing")
    assert "Rating" not in page.text
    assert "Nothing matches." not in page.text


async def test_progress_is_shown(owner: Admin, declare: Declare, make_user: MakeUser) -> None:
    one = await declare()
    for user in (await make_user(), await make_user()):
        await service.change(user.id, {one.name: "x"})
    path = f"/admin/attributes/{one.name}"
    async with held_up(one.name):
        await declaration.update(one.name, searchable=True)
        page = await owner.get(path)
        assert "It is being made searchable: " in page.text
        assert " of 2 values" in page.text
        assert f"{one.name} is being made searchable: " in (await owner.get("/admin/attributes")).text
        refused = await owner.get(f"/admin/users?attribute={one.name}&value=x")
        assert (refused.status, "not searchable yet" in refused.text) == (409, True)
        await declaration.delete(one.name)
        assert (
            f"{one.name} is deleted, and its values are being deleted: " in (await owner.get("/admin/attributes")).text
        )
        assert (await owner.get(path)).status == 404
        fields = {"name": one.name, "type": "string", "label": "Again", "multivalued": ""}
        refused = await owner.confirm(NEW, **(fields | {"choices": "", "registration": "no"}))
        assert "still being deleted" in refused.text
    await values_changed(one.name)
    assert one.name not in (await owner.get("/admin/attributes")).text
