"""Statements with named parameters, so that parts of a statement can be written beside their tables."""

import re
from typing import Any

import asyncpg

from idp.infra.db.engine import fetch, fetchrow

# Not a cast, which has two colons.
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


def in_order(names: tuple[str, ...], values: dict[str, Any]) -> tuple[Any, ...]:
    """Return the values in the order of these names. There must be no others."""
    if len(values) != len(names):
        raise TypeError(f"not the parameters of the statement: {sorted(values.keys() ^ set(names))}")
    return tuple(values[name] for name in names)


class NamedQuery:
    """A statement. ``:name`` stands for a parameter, and may occur several times."""

    def __init__(self, text: str) -> None:
        self.names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        numbers = {name: number for number, name in enumerate(self.names, start=1)}
        #: The text in PostgreSQL's syntax.
        self.text = _PARAMETER.sub(lambda match: f"${numbers[match[1]]}", text)

    async def fetchrow(self, **values: object) -> asyncpg.Record | None:
        """Run it and return its first row, if any. Every name needs a value, and no other is allowed."""
        return await fetchrow(self.text, *in_order(self.names, values))

    async def fetch(self, **values: object) -> list[asyncpg.Record]:
        """Run it and return its rows. Values as of :meth:`fetchrow`."""
        return await fetch(self.text, *in_order(self.names, values))
