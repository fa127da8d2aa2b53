"""Databases of the test run on a server with Citus: distributed, on one node (docs/scaling.md)."""

import asyncio

from idp.infra.db import distribution
from idp.infra.db.engine import execute, fetchrow
from idp.piccolo_app import BY_USER, REFERENCE
from tests.support.postgres import Cluster

_IS_LOADED = "SELECT current_setting('citus.version', true) IS NOT NULL AS yes"


async def is_loaded() -> bool:
    """Return whether the server has Citus."""
    row = await fetchrow(_IS_LOADED)
    return row is not None and bool(row["yes"])


async def distribute() -> None:
    """Distribute the tables of the database that is open, with all shards on the coordinator."""
    await execute("CREATE EXTENSION citus")
    await execute("SELECT citus_set_coordinator_host('127.0.0.1', current_setting('port')::int)")
    await execute("SELECT citus_set_node_property('127.0.0.1', current_setting('port')::int, 'shouldhaveshards', true)")
    await distribution.run(await distribution.plan(distribution.Placement(BY_USER, REFERENCE)))


async def disconnect(cluster: Cluster, database: str) -> None:
    """End the connections of Citus to a database, so that it can be copied. Its daemon is not started again before
    someone connects.
    """
    for _ in range(2):
        await cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        await asyncio.sleep(1)
