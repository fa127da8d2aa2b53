"""Base classes of request and response bodies."""

from typing import Any

import asyncpg
import msgspec


class Shown(msgspec.Struct):
    """Base of response bodies."""


class Sent(msgspec.Struct, forbid_unknown_fields=True):
    """Base of request bodies. Unknown members are rejected (mass assignment)."""


def reader(kind: type[Shown], *json: str) -> Any:
    """Return a function that converts a row to a struct. The named columns hold JSON."""

    def read(row: asyncpg.Record) -> Shown:
        values = dict(row)
        for name in json:
            values[name] = msgspec.json.decode(values[name])
        return msgspec.convert(values, kind)

    return read
