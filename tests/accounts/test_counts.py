"""The numbers of the console's overview: users are counted while they are few, and estimated above that."""

import pytest

from idp.accounts.repository.admin_roles import count_owners, grant_role
from idp.accounts.repository.users import UserCount, count_users, disable_user
from idp.accounts.users import ADMIN, create_user
from idp.infra.db.engine import execute

pytestmark = pytest.mark.usefixtures("own_database")


async def add_users(number: int) -> None:
    await execute(
        "WITH person AS MATERIALIZED ("
        "SELECT gen_random_uuid() AS id, n || '@example.com' AS email FROM generate_series(1, $1::int) AS n"
        "), taken AS (INSERT INTO user_email (email, user_id) SELECT email, id FROM person)"
        " INSERT INTO users (id, email, origin) SELECT id, email, 'registration' FROM person",
        number,
    )


async def test_few_users_are_counted() -> None:
    await add_users(10_000)
    assert await count_users() == UserCount(10_000, estimated=False)


async def test_many_users_are_estimated() -> None:
    """Before PostgreSQL has looked at the table, the estimate is what is known for sure."""
    await execute("ALTER TABLE users SET (autovacuum_enabled = false)")
    await add_users(10_050)
    assert await count_users() == UserCount(10_001, estimated=True)
    await execute("ANALYZE users")
    assert await count_users() == UserCount(10_050, estimated=True)


async def test_every_owner_is_counted() -> None:
    assert await count_owners() == 0
    users = [await create_user(f"{name}@example.com", None) for name in ("a", "b", "c")]
    for user in users[:2]:
        await grant_role(user.id, "owner", "command line")
    await grant_role(users[2].id, "auditor", "command line")
    await disable_user(users[0].id, ADMIN, admin=True)
    assert await count_owners() == 2
