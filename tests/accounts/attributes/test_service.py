"""The values of users."""

import asyncio
from typing import Any

import msgspec
import pytest

from idp import ids
from idp.accounts.attributes import declaration, search, service
from idp.accounts.attributes.errors import InvalidValueError, NotEditableError, UndeclaredError
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.service import UnknownUserError
from idp.accounts.profile import delete_user
from idp.accounts.repository.users import USERS
from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow, transaction
from idp.infra.db.listing import InvalidQueryError, list_page
from idp.oauth.sign_out import sign_out_for_deletion
from tests.conftest import MakeUser
from tests.support.attributes import Declare, values_changed

#: Values of each type, as they are given and returned.
OF_TYPE: list[tuple[str, Any]] = [
    ("string", "Sales"), ("integer", 2**53 - 1), ("integer", 0), ("number", -1.25), ("number", 0.0), ("boolean", True),
    ("boolean", False), ("date", "1990-12-31"), ("date", "0001-01-01"), ("email", "a@example.com"),
    ("url", "https://example.com/"),
]  # fmt: skip


async def version(user: User) -> int:
    row = await fetchrow("SELECT directory_version FROM users WHERE id = $1", user.id)
    assert row is not None
    return int(row["directory_version"])


async def events(user: User) -> list[Any]:
    rows = await fetch(
        "SELECT detail FROM audit_event WHERE user_id = $1 AND event = 'attributes_changed' ORDER BY id", user.id
    )
    return [row["detail"] for row in rows]


@pytest.mark.parametrize(("type", "value"), OF_TYPE)
async def test_values_come_back_with_their_type(declare: Declare, alice: User, type: str, value: Any) -> None:
    one = await declare(type)
    assert await service.change(alice.id, {one.name: value}) == [one.name]
    found = (await service.values(alice.id))[one.name]
    assert (found, found.__class__) == (value, value.__class__)


async def test_several_values_keep_their_order(declare: Declare, alice: User) -> None:
    many = await declare("integer", multivalued=True)
    await service.change(alice.id, {many.name: [3, 1, 2]})
    assert await service.values(alice.id) == {many.name: [3, 1, 2]}
    await service.change(alice.id, {many.name: [2]})
    assert await service.values(alice.id) == {many.name: [2]}
    await service.change(alice.id, {many.name: []})
    assert await service.values(alice.id) == {}


async def test_every_change_has_a_version_and_an_event_without_values(declare: Declare, alice: User) -> None:
    one, other = await declare(), await declare("integer")
    before = await version(alice)
    changes = {one.name: "secret of alice", other.name: 7}
    assert await service.change(alice.id, changes) == sorted(changes)
    assert await version(alice) == before + 1
    # The same again changes nothing.
    assert await service.change(alice.id, changes | {one.name: " secret of alice "}) == []
    assert await version(alice) == before + 1
    assert await service.change(alice.id, {one.name: None}) == [one.name]
    assert await version(alice) == before + 2
    found = await events(alice)
    assert len(found) == 2
    assert "secret" not in "".join(found)
    assert one.name in found[0]
    assert other.name in found[0]


async def test_a_refused_value_changes_nothing(declare: Declare, alice: User) -> None:
    one, other = await declare(), await declare("integer")
    before = await version(alice)
    with pytest.raises(InvalidValueError) as error:
        await service.change(alice.id, {one.name: "x", other.name: "y"})
    assert error.value.field == other.name
    with pytest.raises(UndeclaredError):
        await service.change(alice.id, {one.name: "x", "undeclared": "y"})
    with pytest.raises(InvalidValueError, match="Enter a value"):
        await service.change(alice.id, {one.name: "x"}, required=[one.name, other.name])
    with pytest.raises(UnknownUserError):
        await service.change(ids.uuid7(), {one.name: "x"})
    assert await service.values(alice.id) == {}
    assert (await version(alice), await events(alice)) == (before, [])


async def test_a_required_value_may_be_there_already(declare: Declare, alice: User) -> None:
    one, flag = await declare(), await declare("boolean")
    await service.change(alice.id, {flag.name: False})
    assert await service.change(alice.id, {one.name: "x"}, required=[one.name, flag.name, "undeclared"]) == [one.name]
    with pytest.raises(InvalidValueError, match="Enter a value"):
        await service.change(alice.id, {flag.name: None}, required=[flag.name])


async def test_each_audience_has_its_own_view(declare: Declare, alice: User) -> None:
    own = await declare(visible_to=["person"], editable_by=["person"])
    helped = await declare(visible_to=["support"], editable_by=["support"])
    hidden = await declare(visible_to=[], editable_by=[])
    everything = {own.name: "a", helped.name: "b", hidden.name: "c"}
    await service.change(alice.id, everything)
    assert await service.values(alice.id) == everything
    assert await service.values(alice.id, Audience.PERSON) == {own.name: "a"}
    assert await service.stored_values(alice.id, Audience.SUPPORT) == {helped.name: "b"}
    for audience, theirs in ((Audience.PERSON, own), (Audience.SUPPORT, helped)):
        assert await service.change(alice.id, {theirs.name: "z"}, audience) == [theirs.name]
        for name in everything.keys() - {theirs.name}:
            with pytest.raises(NotEditableError):
                await service.change(alice.id, {name: None}, audience)


async def test_values_that_were_read_are_a_condition(declare: Declare, alice: User) -> None:
    one = await declare()
    assert await service.change(alice.id, {one.name: "x"}, expected={one.name: "old"}) is None
    assert await service.change(alice.id, {one.name: "x"}, expected={}) == [one.name]
    assert await service.change(alice.id, {one.name: "y"}, expected={}) is None
    assert await service.values(alice.id) == {one.name: "x"}


async def test_concurrent_changes_all_apply(declare: Declare, alice: User) -> None:
    several = [await declare() for _ in range(4)]
    before = await version(alice)
    await asyncio.gather(*(service.change(alice.id, {one.name: "x"}) for one in several for _ in range(2)))
    assert await service.values(alice.id) == {one.name: "x" for one in several}
    assert await version(alice) == before + len(several)


async def test_a_stricter_declaration_leaves_values(declare: Declare, alice: User) -> None:
    colour, other = await declare("choice", choices=["red", "blue"]), await declare()
    await service.change(alice.id, {colour.name: "red"})
    await declaration.update(colour.name, choices=["blue"])
    # A form posts all of its values again.
    assert await service.change(alice.id, {colour.name: "red", other.name: "x"}) == [other.name]
    with pytest.raises(InvalidValueError):
        await service.change(alice.id, {colour.name: "green"})


async def test_values_go_with_their_user(declare: Declare, alice: User) -> None:
    one = await declare()
    await service.change(alice.id, {one.name: "x"})
    assert await delete_user(alice.id, sign_out_for_deletion)
    assert await fetch("SELECT FROM user_attribute WHERE user_id = $1", alice.id) == []


SEARCHES: list[tuple[str, Any, list[str], list[str]]] = [
    ("string", "Größe 7", ["größe 7", "Größe 7"], ["größe", "7"]),
    ("string", "x" * 1000, ["X" * 1000], ["x" * 999, "x" * 200]),
    ("integer", 42, ["42", "42.0"], ["4"]),
    ("number", 1.5, ["1.5", "1.50"], ["1"]),
    ("boolean", False, ["false", "no"], ["true"]),
    ("date", "1990-12-31", ["1990-12-31"], ["1990-12-30"]),
    ("email", "a@example.com", ["A@example.com"], ["b@example.com"]),
]


@pytest.mark.parametrize(("type", "value", "found", "others"), SEARCHES, ids=[kind for kind, *_ in SEARCHES])
async def test_users_are_found_by_a_value(
    declare: Declare, alice: User, type: str, value: Any, found: list[str], others: list[str]
) -> None:
    one = await declare(type)
    await service.change(alice.id, {one.name: value})
    assert f"attributes.{one.name}" not in await search.filters(Audience.OWNER)
    # The values that are there become searchable too.
    await declaration.update(one.name, searchable=True)
    await values_changed(one.name)
    listing = msgspec.structs.replace(USERS, filters=await search.filters(Audience.OWNER))
    for text in found:
        page = await list_page(listing, {f"attributes.{one.name}": text})
        assert [row["id"] for row in page.rows] == [alice.id], text
    for text in others:
        assert (await list_page(listing, {f"attributes.{one.name}": text})).rows == []
    if type in ("integer", "boolean", "date"):
        with pytest.raises(InvalidQueryError, match="wrong type"):
            await list_page(listing, {f"attributes.{one.name}": "x'; --"})


async def test_a_search_is_never_planned_for_any_value(declare: Declare) -> None:
    """Five runs of a prepared statement would be enough."""
    one = await declare(searchable=True)
    listing = msgspec.structs.replace(USERS, filters=await search.filters(Audience.OWNER))
    async with transaction():
        for _ in range(7):
            await list_page(listing, {f"attributes.{one.name}": "x"})
        prepared = await fetch("SELECT statement FROM pg_prepared_statements WHERE name <> ''")
    assert [row for row in prepared if one.name in row["statement"]] == []


async def test_only_those_who_see_an_attribute_search_by_it(declare: Declare, make_user: MakeUser) -> None:
    hidden = await declare(visible_to=[], editable_by=[], searchable=True)
    name = f"attributes.{hidden.name}"
    assert name in await search.filters(Audience.OWNER)
    assert name not in await search.filters(Audience.SUPPORT)
    assert name not in await search.filters(Audience.PERSON)
