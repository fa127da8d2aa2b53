"""`python -m bench.attributes [USERS]`: making an attribute of all users searchable, and deleting it."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from bench import product

USERS = 1_000_000
NAME = "department"

_DECLARATION = """
INSERT INTO attribute (name, config) VALUES ($1, jsonb_build_object(
    'type', 'string', 'label', jsonb_build_object('default', $1::text), 'searchable', $2::bool))
"""
# One user has the first value, 1 in 10,000 the second, 1 in 100 the third, half of them the fourth.
_VALUES = """
INSERT INTO user_attribute (user_id, attribute, position, text_value, search_key)
SELECT id, $1, 0, value, CASE WHEN $2 THEN value END
FROM (
    SELECT id, CASE WHEN n = 7 THEN 'one' WHEN n % 10000 = 3 THEN 'few' WHEN n % 100 = 1 THEN 'percent'
                    WHEN n % 2 = 0 THEN 'half' ELSE 'other ' || n % 1000 END AS value
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users) AS numbered
) AS valued
"""


async def fill(dsn: str, name: str, *, searchable: bool) -> None:
    """Declare an attribute, and give each user a value of it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(_DECLARATION, name, searchable)
        await connection.execute(_VALUES, name, searchable)
        await connection.execute("VACUUM (ANALYZE) user_attribute")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _job(what: str) -> None:
    """Run the job of the attribute to its end, and print how long it and its batches took."""
    from idp.accounts.attributes.jobs import repository
    from idp.accounts.attributes.jobs.runner import Runner

    runner, taken = Runner(), list[float]()
    started = time.perf_counter()
    while await repository.job(NAME) is not None:
        began = time.perf_counter()
        await runner.work(NAME)
        # Half of a batch is its pause, and the end of a job has none.
        taken.append(time.perf_counter() - began)
    *batches, end = taken
    print(
        f"| {what} | {time.perf_counter() - started:.0f} | {max(batches, default=0) / 2:.2f} |"
        f" {len(batches)} | {end:.2f} |"
    )


async def _measure(users: int) -> None:
    # Modules that read the settings are imported here, after the environment is set.
    from bench import large
    from bench.setting import POSTGRES
    from idp.accounts.attributes import declaration
    from idp.accounts.attributes.jobs import runner
    from idp.infra.db import engine, migrate
    from idp.infra.db.embedded import EmbeddedPostgres
    from idp.keys import root_key

    runner.AT_ONCE_SECONDS = 0
    with (
        tempfile.TemporaryDirectory(prefix="idp-bench-") as name,
        EmbeddedPostgres.start(Path(name) / "postgres", options=POSTGRES) as postgres,
    ):
        engine.configure(postgres.dsn)
        async with engine.connected(4):
            await migrate.upgrade()
            await root_key.unlock()
            await large.fill_users(postgres.dsn, users)
            await fill(postgres.dsn, NAME, searchable=False)
            print("| | whole job (s) | longest batch (s) | batches | end of the job (s) |")
            print("| --- | ---: | ---: | ---: | ---: |")
            await declaration.update(NAME, searchable=True)
            await _job("making it searchable")
            await declaration.delete(NAME)
            await _job("deleting it, with its index")


def main() -> None:
    product.set_up_environment(product.free_port())
    asyncio.run(_measure(int(sys.argv[1]) if len(sys.argv) > 1 else USERS))


if __name__ == "__main__":
    main()
