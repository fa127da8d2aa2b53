"""Readiness of this process: connected to the database, with its caches loaded.

A worker starts without one too (:func:`idp.app.lifespan`). Until it has joined, its memory is empty, so a client that
is registered would look unknown. Therefore only routes that declare ``opt=WITHOUT_DATABASE`` answer.
"""

from collections.abc import Mapping
from typing import Any

from idp.infra.db.outages import DatabaseUnavailableError

#: What a route declares beside its ``access`` if it needs neither database nor records.
WITHOUT_DATABASE = {"without_database": True}


class Readiness:
    """The state of one process. Commands and tests connect before they do anything, so it begins as joined."""

    __slots__ = ("joined",)

    def __init__(self) -> None:
        self.joined = True

    def require(self, opt: Mapping[str, Any]) -> None:
        """Check that a route can be served.

        Args:
            opt: of its route.

        Raises:
            DatabaseUnavailableError: this process has not joined, and the route needs that.
        """
        if not self.joined and "without_database" not in opt:
            raise DatabaseUnavailableError("The database has not been reached since this worker started.")


readiness = Readiness()
