"""What differs on Citus (docs/scaling.md): the texts of some statements, and nothing else.

Citus refuses some statements on its distributed and reference tables that PostgreSQL runs. :func:`adapted` gives them
another text with the same result. A database without Citus never comes here.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

import msgspec

#: The tables that are distributed; none without Citus.
DISTRIBUTED_TABLES = """
SELECT coalesce(array_agg(logicalrelid::text), '{}') AS names FROM pg_dist_partition WHERE partmethod = 'h'
"""
HAS_CITUS = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') AS yes"

_FOR_ONE = "WITH asked AS (SELECT"
_SAME_USER = re.compile(r"\b(\w+)\.user_id = \w+\.user_id\b")
_INSERT_FROM = re.compile(
    r"(INSERT INTO \w+(?: AS \w+)? \(user_id,[^)]*\)\s+SELECT user_id,(?:(?!INSERT).)*?\bFROM )(\w+)", re.S
)
_CLOCK = re.compile(r"\b(?:now|clock_timestamp)\(\)")
# Where Citus refuses functions that are not immutable, although it evaluates them elsewhere. "updated_at" of several
# changes in one transaction differ by clock_timestamp().
_REFUSES_CLOCK = re.compile(r"\b(?:case|coalesce|returning|do update)\b.*\bnow\(\)|\bclock_timestamp\(\)", re.I | re.S)
_LOCKS = re.compile(r"\s+FOR (?:(?:NO KEY )?UPDATE(?: OF \w+)? (?:SKIP LOCKED|NOWAIT)|KEY SHARE OF \w+)")
# A condition of the clean-up (idp/infra/db/expiring.py). Citus reads the rows of its subquery wrongly with it, and also
# those of a reference table with a lock.
_SETS = re.compile(r"\(SELECT set_config\([^)]*\)\) = '\w+' AND ")
_PARAMETER = re.compile(r"\$(\d+)")


class Adapted(msgspec.Struct, frozen=True):
    """A statement for Citus. ``clock`` is the statement whose result is its last parameter, if it has one more."""

    text: str
    clock: str | None = None


def for_one(columns: Mapping[str, str], rest: str) -> str:
    """Return the text of a coalesced statement for a single request, one parameter per column.

    Citus runs it on one node, because its user is a parameter wherever a table is compared with the user: in a change,
    Citus does not look for the value in ``asked`` or in another common table expression. Rows that are inserted from
    such an expression take the user from ``users``. Otherwise Citus would send them to all nodes.

    Args:
        columns: the columns of ``asked`` with their types.
        rest: what follows ``asked``.
    """
    values = {name: f"${number}::{kind}" for number, (name, kind) in enumerate(columns.items(), start=1)}
    asked = ", ".join(f"{value} AS {name}" for name, value in values.items())
    if user_id := values.get("user_id"):
        rest = rest.replace("a.user_id", user_id)
        rest = _SAME_USER.sub(rf"\g<0> AND \1.user_id = {user_id}", rest)
        mine = f"(SELECT id AS user_id FROM users WHERE id = {user_id}) AS mine"  # noqa: S608
        rest = _INSERT_FROM.sub(rf"\1{mine} JOIN \2 USING (user_id)", rest)
    return f"{_FOR_ONE} {asked}, 1::bigint AS number){rest}"


def adapted(statement: str, distributed: Collection[str]) -> Adapted:
    """Return the text of a statement for a database with these distributed tables."""
    return _adapted(statement, frozenset(distributed))


# Lists make statements for one request.
@lru_cache(maxsize=2000)
def _adapted(statement: str, distributed: frozenset[str]) -> Adapted:
    text = _SETS.sub("", statement)
    if _LOCKS.search(text) and (text != statement or distributed & set(re.findall(r"\w+", text))):
        # Rows of several nodes cannot be locked by a subquery. The change that follows it has all its conditions.
        text = _LOCKS.sub("", text)
    if _is_select(text) or text.startswith(_FOR_ONE) or not _REFUSES_CLOCK.search(text):
        return Adapted(text)
    clock = "clock_timestamp()" if "clock_timestamp()" in text else "now()"
    moment = f"${max(map(int, _PARAMETER.findall(text)), default=0) + 1}::timestamptz"
    return Adapted(_CLOCK.sub(moment, text), f"SELECT {clock}")


def _is_select(text: str) -> bool:
    return re.search(r"\b(?:INSERT|UPDATE|DELETE)\b", text) is None
