"""Importing the members of groups."""

import io
import secrets

import pytest

from idp.accounts.import_files import InvalidFileError, read_csv
from idp.accounts.tables import User
from idp.directory import effective, groups, imports
from idp.directory.imports import COLUMNS, Batch, import_members
from idp.infra.db.engine import fetch
from tests.conftest import MakeUser


async def run(*lines: str, create_groups: bool = False, dry_run: bool = False) -> list[Batch]:
    file = io.BytesIO("\n".join(("user,group", *lines)).encode())
    records = read_csv(file, COLUMNS, required=COLUMNS)
    return [batch async for batch in import_members(records, create_groups=create_groups, dry_run=dry_run)]


@pytest.fixture
def name() -> str:
    return f"Group {secrets.token_hex(6)}"


async def names_of(user: User) -> tuple[str, ...]:
    return (await effective.memberships(user.id)).group_names


async def test_members_by_address_and_id(db: str, name: str, make_user: MakeUser) -> None:
    group = await groups.create(name)
    alice, bob, carol = [await make_user() for _ in range(3)]
    await groups.add_members(group.id, [carol.id])
    lines = [f"{alice.email.upper()},{name.upper()}", f"{bob.id},{name}", f"{carol.email},{name}"]
    dry = await run(*lines, dry_run=True)
    assert dry == [Batch(2, 1, 0, [])]
    assert await names_of(alice) == ()
    assert await run(*lines) == dry
    assert await names_of(alice) == await names_of(bob) == await names_of(carol) == (name,)
    # Again it changes nothing.
    assert await run(*lines) == [Batch(0, 3, 0, [])]
    rows = await fetch("SELECT user_id FROM audit_event WHERE detail ->> 'group_id' = $1", str(group.id))
    assert [row["user_id"] for row in rows].count(alice.id) == 1


async def test_what_is_refused(db: str, name: str, alice: User) -> None:
    """With its line, and the others are imported."""
    await groups.create(name)
    (batch,) = await run(
        f"nobody@example.com,{name}", f"{alice.email},{name} x", f"not an id,{name}", f",{name}", f"{alice.email},",
        f"a@b@c,{name}", f"{alice.email},{name}\0", f"{alice.email},{name},", f"{alice.email},{name}",
        f"{alice.email},{name}",
    )  # fmt: skip
    assert (batch.added, batch.existing) == (1, 1)
    assert [(each.line, each.reason) for each in batch.refused] == [
        (2, "There is no such user."),
        (3, "There is no such group."),
        (4, "There is no such user."),
        (5, "The user or the group is missing."),
        (6, "The user or the group is missing."),
        (7, "The part after the @-sign contains invalid characters: '@'."),
        (8, "The name must be one line of 1 to 100 visible characters, without spaces around it."),
        (9, "There are 3 fields, but 2 columns."),
    ]
    assert await names_of(alice) == (name,)


async def test_groups_are_created_on_request(
    db: str, name: str, alice: User, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH_SIZE", 2)
    bob = await make_user()
    lines = [f"{alice.email},{name}", f"nobody@example.com,{name} x", f"{bob.email},{name.upper()}"]
    assert [batch.created_groups for batch in await run(*lines, create_groups=True, dry_run=True)] == [1, 0]
    assert [batch[:3] for batch in await run(*lines, create_groups=True)] == [(1, 0, 1), (1, 0, 0)]
    assert await names_of(alice) == await names_of(bob) == (name,)


async def test_what_was_imported_stays(
    db: str, name: str, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that ends early has committed its batches. The same file continues it."""
    monkeypatch.setattr(imports, "BATCH_SIZE", 2)
    await groups.create(name)
    users = [await make_user() for _ in range(5)]
    lines = [f"{user.email},{name}" for user in users]
    records = read_csv(io.BytesIO("\n".join(("user,group", *lines)).encode()), COLUMNS, required=COLUMNS)
    first = await anext(import_members(records))
    assert first.added == 2
    assert [len(await names_of(user)) for user in users] == [1, 1, 0, 0, 0]
    assert [batch[:2] for batch in await run(*lines)] == [(0, 2), (2, 0), (1, 0)]


@pytest.mark.parametrize("header", ["user", "group", "user,group,role", ""])
async def test_another_header(db: str, header: str) -> None:
    with pytest.raises(InvalidFileError):
        list(read_csv(io.BytesIO(header.encode()), COLUMNS, required=COLUMNS))
