"""Statements whose parameters have names, so that parts of one are written where their tables are."""

import re
from typing import Any

import asyncpg

from idp.infra.db.engine import fetch, fetchrow

# Not a cast, which has two colons.
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


def in_order(names: tuple[str, ...], values: dict[str, Any]) -> tuple[Any, ...]:
    """The values of these names; there must be no other."""
    if len(values) != len(names):
        raise TypeError(f"not the parameters of the statement: {sorted(values.keys() ^ set(names))}")
    return tuple(values[name] for name in names)


class NamedQuery:
    """One statement. ``:name`` stands for a parameter, wherever and however often."""

    def __init__(self, text: str) -> None:
        self.names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        numbers = {name: number for number, name in enumerate(self.names, start=1)}
        #: As PostgreSQL wants it.
        self.text = _PARAMETER.sub(lambda match: f"${numbers[match[1]]}", text)

    async def fetchrow(self, **values: object) -> asyncpg.Record | None:
        """Run it and return its first row, if any. There is a value for each name, and for no other."""
        return await fetchrow(self.text, *in_order(self.names, values))

    async def fetch(self, **values: object) -> list[asyncpg.Record]:
        """Run it and return its rows. Values as of :meth:`fetchrow`."""
        return await fetch(self.text, *in_order(self.names, values))
