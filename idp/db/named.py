"""Statements whose parameters have names, so that parts of one are written where their tables are."""

import re

import asyncpg

from idp.db.engine import fetch, fetchrow

# Not a cast, which has two colons.
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


class Named:
    """One statement. ``:name`` stands for a parameter, wherever and however often."""

    def __init__(self, text: str) -> None:
        self.names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        numbers = {name: number for number, name in enumerate(self.names, start=1)}
        #: As PostgreSQL wants it.
        self.text = _PARAMETER.sub(lambda match: f"${numbers[match[1]]}", text)

    async def fetchrow(self, **values: object) -> asyncpg.Record | None:
        """Run it and return its first row, if any. There is a value for each name, and for no other."""
        return await fetchrow(self.text, *self._arguments(values))

    async def fetch(self, **values: object) -> list[asyncpg.Record]:
        """Run it and return its rows. Values as of :meth:`fetchrow`."""
        return await fetch(self.text, *self._arguments(values))

    def _arguments(self, values: dict[str, object]) -> list[object]:
        if len(values) != len(self.names):
            raise TypeError(f"not the parameters of the statement: {sorted(values.keys() ^ set(self.names))}")
        return [values[name] for name in self.names]
