"""Readiness of this process: connected to the database, with its caches loaded.

A worker also starts without a database (:func:`idp.app.lifespan`). Until it has joined, its caches are empty, so
registered clients would look unknown. Therefore only routes that declare ``opt=WITHOUT_DATABASE`` answer.
"""

from collections.abc import Mapping
from typing import Any

from idp.infra.db.outages import DatabaseUnavailableError

#: Declared by a route beside its ``access`` if it needs neither the database nor cached records.
WITHOUT_DATABASE = {"without_database": True}


class Readiness:
    """The state of one process. Initially joined, because commands and tests connect before they do anything else."""

    __slots__ = ("joined",)

    def __init__(self) -> None:
        self.joined = True

    def require(self, opt: Mapping[str, Any]) -> None:
        """Check that a route can be served.

        Args:
            opt: the ``opt`` of the route.

        Raises:
            DatabaseUnavailableError: the route needs the database, which this process has not joined.
        """
        if not self.joined and "without_database" not in opt:
            raise DatabaseUnavailableError("The database has not been reached since this worker started.")


readiness = Readiness()
