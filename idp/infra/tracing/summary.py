"""The short form of a statement, by OpenTelemetry's conventions for databases (``db.query.summary``).

It has operations and tables: no column, no value. Statements are texts of our own with placeholders, but some are made
of parts for one request, so their texts are long and many.
"""

import re
from functools import lru_cache

#: Maximum length of a summary, in characters.
MAX_LENGTH = 200

#: What may look like a clause: comments, text, functions with FROM between their arguments, clauses that lock rows.
_ASIDE = re.compile(
    r"--[^\n]*|'[^']*'|\b(?:extract|substring|overlay|trim)\s*\([^()]*?\bFROM\b"
    r"|\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b|\bDO\s+UPDATE\b|\bDISTINCT\s+FROM\b",
    re.IGNORECASE,
)
#: Names that the statement itself gives to subqueries.
_NAMED = re.compile(r"(\w+)(?:\s*\([^()]*\))?\s+AS\s+(?:(?:NOT\s+)?MATERIALIZED\s*)?\(", re.IGNORECASE)
_CLAUSE = re.compile(
    r'\b(?:(INSERT)\s+INTO|(UPDATE)|(DELETE)\s+FROM|(?:FROM|JOIN|USING)(?!\s+\w+\s*\())\s+(?:ONLY\s+)?"?(\w+)',
    re.IGNORECASE,
)
_VERB = re.compile(r"\s*([A-Za-z]+)")
_READ, _NOT_TABLES = "SELECT", frozenset({"select", "set", "lateral", "only"})


@lru_cache(maxsize=2048)
def summary(statement: str) -> tuple[str, str]:
    """Return the operation of a statement, and its short form, such as ``UPDATE refresh_token SELECT users``.

    A statement that reads and writes is named by what it writes.
    """
    text = _ASIDE.sub(" ", statement)
    named = {name.lower() for name in _NAMED.findall(text)} | _NOT_TABLES
    tables: dict[str, dict[str, None]] = {}
    for *written, table in _CLAUSE.findall(text):
        if table.lower() not in named:
            operation = next(filter(None, written), _READ).upper()
            tables.setdefault(operation, {})[table] = None
    if not tables:
        verb = _VERB.match(text)
        operation = verb[1].upper() if verb else "OTHER"
        operation = _READ if operation == "WITH" else operation
        return operation, operation
    operations = sorted(tables, key=lambda operation: operation == _READ)
    short = " ".join(f"{operation} {' '.join(tables[operation])}" for operation in operations)
    return operations[0], short if len(short) <= MAX_LENGTH else short[:MAX_LENGTH].rpartition(" ")[0]
