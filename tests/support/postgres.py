"""Databases for tests, on one embedded PostgreSQL."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from idp.infra.db.embedded import EmbeddedPostgres

TEMPLATE = "idp_template"


class Cluster:
    """A PostgreSQL whose databases are copies of a migrated template."""

    def __init__(self, folder: Path) -> None:
        # Tests do not need durable commits, so they do not wait for the disk.
        self.server = EmbeddedPostgres.start(folder, options={"fsync": "off", "max_connections": "300"})
        self._count = 0

    def dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.server.dsn)._replace(path=f"/{database}"))

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def create_database(self, template: str | None = TEMPLATE) -> str:
        """Create a database, by default migrated. Returns its DSN."""
        self._count += 1
        name = f"idp_test_{self._count}"
        await self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""))
        return self.dsn(name)

    def stop(self) -> None:
        self.server.stop()
