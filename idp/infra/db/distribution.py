"""Places the tables on the nodes of a Citus cluster (docs/scaling.md).

Tables of users are distributed by the user and co-located, so that all rows of a user are on one node. Reference tables
have a copy on each node. All other tables stay on the coordinator.
"""

from collections.abc import Sequence

import msgspec
from piccolo.table import Table

from idp.errors import OperatorError
from idp.infra.db import citus
from idp.infra.db.engine import execute, fetch, fetchrow, long_transaction

_NODES = "SELECT count(*) AS number FROM pg_dist_node WHERE noderole = 'primary' AND shouldhaveshards"
_PLACED = """
SELECT logicalrelid::text AS name FROM pg_dist_partition WHERE partmethod = 'h' OR repmodel = 't'
"""
_FOREIGN_KEYS = """
SELECT conname AS name, conrelid::regclass::text AS table, confrelid::regclass::text AS target,
       pg_get_constraintdef(oid) AS definition
FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conparentid = 0 ORDER BY 2, 1
"""
# This process opened its first connection, which runs this, before its others.
_OTHER_CONNECTIONS = """
SELECT count(*) AS number FROM pg_stat_activity AS o JOIN pg_stat_activity AS own ON own.pid = pg_backend_pid()
WHERE o.datname = current_database() AND o.backend_type = 'client backend' AND o.backend_start < own.backend_start
  AND o.application_name NOT LIKE 'citus%'
"""
# Changes of a reference table and of shards that refer to it may be in one transaction.
_SEQUENTIAL = """
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET citus.multi_shard_modify_mode TO sequential', current_database());
END $$
"""


class CannotDistributeError(OperatorError):
    """The tables cannot be placed now. The message says what is missing."""


class ForeignKey(msgspec.Struct, frozen=True):
    """A foreign key, and its definition as SQL."""

    name: str
    table: str
    target: str
    definition: str


class Placement:
    """Where the tables belong. Those in neither group stay on the coordinator.

    Args:
        by_user: the tables with rows of users; that of the users first.
        reference: the tables that have a copy on each node.
    """

    def __init__(self, by_user: Sequence[type[Table]], reference: Sequence[type[Table]]) -> None:
        self.users = by_user[0]._meta.tablename
        #: The column that names the user, by table.
        self.by_user = {table._meta.tablename: "user_id" for table in by_user} | {self.users: "id"}
        self.reference = [table._meta.tablename for table in reference]

    def concerns(self, key: ForeignKey) -> bool:
        """Return whether a table of a foreign key does not stay on the coordinator."""
        return any(table in self.by_user or table in self.reference for table in (key.table, key.target))

    def keeps(self, key: ForeignKey) -> bool:
        """Return whether Citus can check a foreign key: its two rows are on one node.

        Citus refuses SET NULL in keys that contain the user, also of another column.
        """
        together = key.table in self.by_user and key.target in self.by_user and "SET NULL" not in key.definition
        return together or key.target in self.reference


async def plan(placement: Placement) -> list[str]:
    """Return the statements that place the tables; none if all are placed.

    Raises:
        CannotDistributeError: there is no Citus, or no node for shards.
    """
    if not await _first(citus.HAS_CITUS):
        raise CannotDistributeError("The database does not have the extension citus.")
    if not await _first(_NODES):
        raise CannotDistributeError("The coordinator has no node for shards. Add one: SELECT citus_add_node(…).")
    placed = {row["name"] for row in await fetch(_PLACED)}
    moves = [f"SELECT create_reference_table('{table}')" for table in placement.reference if table not in placed]
    for table, column in placement.by_user.items():
        if table not in placed:
            beside = "" if table == placement.users else f", colocate_with => '{placement.users}'"
            moves.append(f"SELECT create_distributed_table('{table}', '{column}'{beside})")
    if not moves:
        return []
    keys = [ForeignKey(*row) for row in await fetch(_FOREIGN_KEYS)]
    keys = [key for key in keys if placement.concerns(key)]
    dropped = [f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}" for key in keys]
    added = [
        f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {key.definition}" for key in keys if placement.keeps(key)
    ]
    return [*dropped, *moves, *added, _SEQUENTIAL.strip()]


async def run(statements: Sequence[str]) -> None:
    """Run the statements of a plan, all or none.

    Raises:
        CannotDistributeError: something else is connected. A server would go on with the statements for one node.
    """
    if others := await _first(_OTHER_CONNECTIONS):
        raise CannotDistributeError(f"Stop all servers first: there are {others} other connections to the database.")
    async with long_transaction():
        await execute("SET LOCAL citus.multi_shard_modify_mode TO 'sequential'")
        for statement in statements:
            await execute(statement)


async def _first(statement: str) -> int:
    row = await fetchrow(statement)
    return int(row[0]) if row is not None else 0
