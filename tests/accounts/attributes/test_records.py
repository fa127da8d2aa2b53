"""Attributes in files of users: imported, exported, and imported again."""

import csv
import io
import json
import secrets
from collections.abc import Iterable
from typing import Any

import pytest

from idp.accounts import exports, imports
from idp.accounts.attributes import declaration, records, service
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.registry import attributes
from idp.accounts.import_files import InvalidFileError, Record, read_csv, read_json_lines
from idp.accounts.imports import COLUMNS, RejectedRecord
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.federation.repository import emails_of_identities
from idp.infra.db.engine import fetch
from idp.oauth.credentials import credentials_changed
from idp.signin.factors.imports import release, store
from tests.support.attributes import Declare


async def run(given: Iterable[Record], **options: Any) -> tuple[int, list[RejectedRecord]]:
    imported, refused = 0, list[RejectedRecord]()
    async for batch in imports.import_users(given, store, emails_of_identities, release, **options):
        imported += batch.imported
        refused += batch.refused
    return imported, refused


async def from_json(*lines: dict[str, Any], **options: Any) -> tuple[int, list[RejectedRecord]]:
    return await run(read_json_lines(io.BytesIO("\n".join(map(json.dumps, lines)).encode())), **options)


async def from_csv(rows: list[dict[str, str]]) -> tuple[int, list[RejectedRecord]]:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    table.writeheader()
    table.writerows(rows)
    return await run(read_csv(io.BytesIO(text.getvalue().encode()), COLUMNS | records.columns()))


def address() -> str:
    return f"{secrets.token_hex(8)}@example.com"


async def values_of(email: str) -> dict[str, Any]:
    user = await user_by_email(email)
    assert user is not None
    return await service.values(user.id)


async def test_an_import_has_typed_values(declare: Declare) -> None:
    number, many, flag = await declare("integer"), await declare("date", multivalued=True), await declare("boolean")
    first, second, third = address(), address(), address()
    dates = ["2024-02-29", "1990-12-31"]
    given = {number.name: 7, many.name: dates, flag.name: False}
    columns = {f"attributes.{number.name}": "-3", f"attributes.{many.name}": "\n".join(dates)}
    assert await from_json({"email": first, "attributes": given}, {"email": second}) == (2, [])
    assert await values_of(first) == given
    assert await values_of(second) == {}
    empty = dict.fromkeys(columns, "")
    as_json = {"email": third, "attributes": json.dumps(given)}
    fourth = {"email": address()} | columns | {f"attributes.{flag.name}": "yes"}
    assert await from_csv([as_json, fourth, {"email": address()} | empty]) == (3, [])
    assert await values_of(third) == given
    assert await values_of(fourth["email"]) == {number.name: -3, many.name: dates, flag.name: True}
    # An import creates users only; their version begins with the values.
    rows = await fetch("SELECT directory_version FROM users WHERE email = ANY ($1)", [first, fourth["email"]])
    assert [row["directory_version"] for row in rows] == [0, 0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"attributes": {"NUMBER": "7"}}, "must be a whole number"),
        ({"attributes": {"NUMBER": [7]}}, "one value"),
        ({"attributes": {"undeclared": 1}}, "There is no attribute “undeclared”"),
        ({"attributes.undeclared": 1}, "There is no attribute"),
        ({"attributes.NUMBER": "seven"}, "must be a whole number"),
        ({"attributes.NUMBER": "1\n2"}, "must be a whole number"),
        ({"attributes.TEXT": "a\u202eb"}, "cannot be shown"),
        ({"attributes.TEXT": "a\0b"}, "cannot be shown"),
        ({"attributes.TEXT": "x" * 1001}, "at most 1000"),
        ({"attributes": [1]}, "not a JSON object"),
        ({"attributes": "{"}, "not a JSON object"),
        ({"attribute": 1}, "There is no column"),
    ],
)
async def test_a_bad_value_refuses_its_line_only(declare: Declare, given: dict[str, Any], said: str) -> None:
    names = {"NUMBER": (await declare("integer")).name, "TEXT": (await declare()).name}
    text = json.dumps(given)
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    bad, good = address(), address()
    imported, (refused,) = await from_json({"email": bad} | json.loads(text), {"email": good})
    assert imported == 1
    assert (refused.line, refused.email) == (1, bad)
    assert said in refused.reason
    assert await user_by_email(bad) is None


async def test_an_unknown_column_refuses_the_file(declare: Declare) -> None:
    one = await declare()
    with pytest.raises(InvalidFileError, match=f"Did you mean attributes.{one.name}"):
        await from_csv([{"email": address(), f"attributes.{one.name}x": "1"}])


async def test_existing_users_keep_their_values(declare: Declare, alice: User) -> None:
    one = await declare()
    await service.change(alice.id, {one.name: "kept"})
    assert await from_json({"email": alice.email, "attributes": {one.name: "other"}}) == (0, [])
    assert await values_of(alice.email) == {one.name: "kept"}
    new = address()
    assert await from_json({"email": new, "attributes": {one.name: "x"}}, dry_run=True) == (1, [])
    assert await user_by_email(new) is None


async def test_an_attribute_that_is_deleted_meanwhile_is_left_out(declare: Declare) -> None:
    gone, there = await declare(), await declare()
    email = address()
    # This process does not know it yet.
    await declaration.delete(gone.name)
    assert await from_json({"email": email, "attributes": {gone.name: "x", there.name: "y"}}) == (1, [])
    assert await values_of(email) == {there.name: "y"}
    await attributes.load()


@pytest.mark.parametrize("editors", [(), (Audience.PERSON,)])
async def test_who_imports_sets_attributes_that_they_may_edit(declare: Declare, editors: tuple[Audience, ...]) -> None:
    theirs, others = await declare(), await declare(visible_to=editors, editable_by=editors)
    own, column, both = address(), address(), address()
    lines: list[dict[str, Any]] = [
        {"email": own, "attributes": {theirs.name: "a", others.name: ""}},
        {"email": column, f"attributes.{others.name}": "b"},
        {"email": both, "attributes": {theirs.name: "a", others.name: ["b"]}},
    ]
    reason = f"Only an owner may import the attribute {others.name}. Leave it out."
    for dry_run in (True, False):
        imported, refused = await from_json(*lines, audience=Audience.SUPPORT, dry_run=dry_run)
        assert (imported, [each.reason for each in refused]) == (1, [reason, reason])
    assert await values_of(own) == {theirs.name: "a"}
    assert await from_json(lines[1], audience=Audience.OWNER) == (1, [])
    assert await values_of(column) == {others.name: "b"}


async def test_an_attribute_that_others_edit_meanwhile_is_left_out(declare: Declare) -> None:
    theirs, email = await declare(), address()
    # This process does not know it yet.
    await declaration.update(theirs.name, editable_by=())
    assert await from_json({"email": email, "attributes": {theirs.name: "x"}}, audience=Audience.SUPPORT) == (1, [])
    assert await values_of(email) == {}


async def exported(email: str) -> dict[str, Any]:
    (found,) = [user async for page in exports.export_users() for user in page if user["email"] == email]
    return found


async def test_an_export_can_be_imported(declare: Declare, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    number, many, flag = await declare("number"), await declare(multivalued=True), await declare("boolean")
    values = {number.name: 1.5, many.name: ["a, b", 'c "d"'], flag.name: False}
    email = address()
    whole = {
        "email": email, "email_verified": True, "name": "Zoë", "address": {"country": "DE", "formatted": "A 1\nB"},
        "birthdate": "1990", "disabled": True, "attributes": values, "password_hash": None,
    }  # fmt: skip
    assert await from_json(whole) == (1, [])
    monkeypatch.setattr(exports, "PAGE_SIZE", 7)
    found = await exported(email)
    assert found == found | {name: value for name, value in whole.items() if value is not None}
    assert (await exported(alice.email)).keys().isdisjoint({"password_hash", "attributes", "disabled"})
    for again in (found, exports.as_columns(found)):
        other = address()
        given = again | {"email": other}
        del given["sub"]
        imported = await (from_json(given) if "attributes" in given else from_csv([given]))
        assert imported == (1, [])
        copied = await exported(other)
        assert copied | {"sub": "", "email": "", "email_verified": ""} == found | {
            "sub": "", "email": "", "email_verified": ""
        }  # fmt: skip
    events = await fetch("SELECT detail FROM audit_event WHERE event = 'users_exported'")
    assert events


async def test_an_import_follows_until_somebody_changes_an_attribute_here(declare: Declare) -> None:
    name = (await declare()).name
    given: list[dict[str, Any]] = [
        {"email": f"{who}-{secrets.token_hex(6)}@example.com", "email_verified": True, "attributes": {name: "one"}}
        for who in ("a", "b")
    ]
    await from_json(*given)
    found = [await user_by_email(one["email"]) for one in given]
    ada, bob = (user.id for user in found if user is not None)
    await service.change(ada, {name: None})
    for value in ("two", "three"):
        await from_json(*(one | {"attributes": {name: value}} for one in given), update=credentials_changed)
        assert await service.stored_values(ada) == {}
        assert await service.stored_values(bob) == {name: value}
