"""Databases for tests, on the embedded PostgreSQL or on one that runs already."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from idp.infra.db.embedded import EmbeddedPostgres


class Cluster:
    """A PostgreSQL whose databases are copies of a migrated template.

    Args:
        folder: the folder of an embedded one.
        url: the URL of one that runs already. Its account may create databases. Several processes may share it.

    Attributes:
        admin_dsn: the DSN of a database that no test changes.
        template: the name of the template.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        # Tests do not need durable commits, so they do not wait for the disk.
        options = {"fsync": "off", "max_connections": "300"}
        self._embedded = None if url else EmbeddedPostgres.start(folder, options=options)
        self.admin_dsn = self._embedded.dsn if self._embedded else str(url)
        self._prefix = f"idp_test_{os.getpid()}"
        self.template = f"{self._prefix}_template"
        self._created = [self.template]

    def dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.admin_dsn)._replace(path=f"/{database}"))

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def create_template(self) -> str:
        """Create the database that becomes the template. Returns its DSN."""
        await self.execute(f"CREATE DATABASE {self.template}")
        return self.dsn(self.template)

    async def create_database(self, template: str | None) -> str:
        """Create a database, empty or as a copy. Returns its DSN."""
        self._created.append(name := f"{self._prefix}_{len(self._created)}")
        # Faster for a small database, if commits do not wait for the disk.
        strategy = "STRATEGY FILE_COPY" if self._embedded else ""
        await self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template} {strategy}" if template else ""))
        return self.dsn(name)

    def stop(self) -> None:
        """Stop the embedded one. Of another one, drop the databases."""
        if self._embedded:
            self._embedded.stop()
        else:
            # This thread has an event loop.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, self._drop()).result()

    async def _drop(self) -> None:
        for name in self._created:
            await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
