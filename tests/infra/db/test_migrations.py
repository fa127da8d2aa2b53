"""How migrations are written (docs/migrations.md): checks of their source."""

import ast
import re
import runpy
from pathlib import Path

import pytest

from idp.infra.db import migrate, new_migration

FIRST = "m0001_first_schema"
#: Tables that stay small in every installation. An index on any other is built concurrently.
SMALL = {
    "admin_role", "audit_export", "client", "client_logo", "client_registration", "database_mark",
    "initial_access_token", "jwks_fetch", "not_before", "resource_server", "revision",
    "root_key", "setup", "signing_key", "transaction_lock", "upstream",
}  # fmt: skip

#: Tables in partitions. An index on the table alone builds nothing; each partition gets its own.
PARTITIONED = {"audit_event"}

_INDEX = re.compile(
    r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+(?P<concurrently>CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>\w+)\s+"
    r"ON\s+(?P<only>ONLY\s+)?(?P<table>\w+)",
    re.IGNORECASE,
)
# Statements that build an index as a side effect, unless it is USING INDEX.
_CONSTRAINT = re.compile(
    r"\bALTER\s+TABLE\s+(?:ONLY\s+)?(?P<table>\w+)[^;]*\bADD\b[^;]*\b(?:UNIQUE|PRIMARY\s+KEY)\b(?!\s+USING\s+INDEX)",
    re.IGNORECASE,
)
# Statements that read or rewrite a whole table while writers wait, each with what to do instead.
_WHOLE_TABLE = (
    (r"\bALTER\s+COLUMN\s+\w+\s+(?:SET\s+DATA\s+)?TYPE\b", "add a new column, and fill it in batches"),
    (r"\bGENERATED\s+ALWAYS\s+AS\b.*\bSTORED\b", "add a plain column, and fill it in batches"),
    (r"\bADD\b.*\bDEFAULT\s+(?:\w+\()*(?:random|gen_random_uuid|uuidv7|clock_timestamp|nextval|timeofday)\b",
     "add the column without a volatile default"),
    (r"\bADD\b.*\b(?:AS\s+IDENTITY|(?:small|big)?serial)\b", "no identity on a large table"),
    (r"\bSET\s+(?:LOGGED|UNLOGGED|TABLESPACE|ACCESS\s+METHOD)\b", "leave the storage as it is"),
    (r"\bSET\s+NOT\s+NULL\b", "validate CHECK (… IS NOT NULL) first"),
    (r"\bADD\b(?!.*\bNOT\s+VALID\b).*\b(?:CHECK|REFERENCES|EXCLUDE)\b",
     "ADD CONSTRAINT … NOT VALID, and VALIDATE it later"),
)  # fmt: skip
_ALTER = re.compile(
    r"\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<table>\w+)\s(?P<rest>[^;\"]*)", re.IGNORECASE
)
_REWRITES = re.compile(
    r"\b(?:VACUUM\s*\(?\s*FULL\b\)?(?:\s+ANALYZE)?|CLUSTER|REINDEX\s+TABLE)\s+(?!CONCURRENTLY)(?P<table>\w+)",
    re.IGNORECASE,
)
# A constraint that proves what SET NOT NULL would look for.
_VALIDATED = r"\bVALIDATE\s+CONSTRAINT\s+\w*{column}\w*"
_NEW = re.compile(r"\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.IGNORECASE)


def sources() -> dict[str, str]:
    """The text of every migration by its name, that of its SQL file included."""
    found: dict[str, str] = {}
    for path in sorted(migrate._FOLDER.glob("m*")):
        if path.suffix in {".py", ".sql"}:
            found[path.stem] = found.get(path.stem, "") + path.read_text(encoding="utf-8")
    return found


def problems(source: str) -> list[str]:
    """Return the statements of a later migration that block writers of a large table, or the next attempt."""
    found, new = [], set(_NEW.findall(source))
    for index in _INDEX.finditer(source):
        name, table = index["name"], index["table"]
        alone = index["only"] and table in PARTITIONED
        if not index["concurrently"] and not alone and table not in SMALL | new:
            found.append(f"{name}: {table} may be large. CREATE INDEX CONCURRENTLY, wrap_in_transaction=False.")
        if index["concurrently"] and "wrap_in_transaction=False" not in source:
            found.append(f"{name}: CONCURRENTLY needs wrap_in_transaction=False.")
        drop = rf"DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\s+{name}\b"
        if index["concurrently"] and not re.search(drop, source[: index.start()], re.IGNORECASE):
            found.append(f"{name}: DROP INDEX CONCURRENTLY IF EXISTS {name} comes first, for an attempt that failed.")
    for constraint in _CONSTRAINT.finditer(source):
        if constraint["table"] not in SMALL | new:
            found.append(f"{constraint['table']} may be large. Build the index first, then ADD … USING INDEX.")
    found += _on_whole_tables(source, SMALL | new)
    return found


def _on_whole_tables(source: str, small: set[str]) -> list[str]:
    found = []
    for statement in _ALTER.finditer(source):
        for pattern, instead in _WHOLE_TABLE:
            match = re.search(pattern, statement["rest"], re.IGNORECASE | re.DOTALL)
            if statement["table"] not in small and match and not _is_proved(source, statement["rest"], match[0]):
                found.append(f"{statement['table']} may be large: {instead}.")
    found += [f"{match['table']} may be large." for match in _REWRITES.finditer(source) if match["table"] not in small]
    return found


def _is_proved(source: str, rest: str, clause: str) -> bool:
    """Return whether a SET NOT NULL follows the validation of a constraint with the name of the column."""
    column = re.search(r"ALTER\s+COLUMN\s+(\w+)\s+SET\s+NOT\s+NULL", rest, re.IGNORECASE)
    if column is None or "NULL" not in clause.upper():
        return False
    return re.search(_VALIDATED.format(column=column[1]), source, re.IGNORECASE) is not None


def test_no_migration_blocks_a_large_table() -> None:
    found = {name: problems(source) for name, source in sources().items() if name != FIRST}
    assert {name: each for name, each in found.items() if each} == {}
    assert problems(sources()[FIRST].replace("CREATE TABLE", "")) != []


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("CREATE INDEX a ON users (email)", 1),
        ("create unique index if not exists a on only users (email)", 1),
        ("CREATE INDEX a ON audit_event (outcome)", 1),
        ("CREATE INDEX a ON ONLY audit_event (outcome)", 0),
        ("CREATE INDEX a ON client (client_name)", 0),
        ("CREATE TABLE colour (name text); CREATE INDEX a ON colour (name)", 0),
        ("CREATE INDEX CONCURRENTLY a ON users (email)", 2),
        ("wrap_in_transaction=False CREATE INDEX CONCURRENTLY a ON users (email)", 1),
        ("wrap_in_transaction=False DROP INDEX CONCURRENTLY IF EXISTS b; CREATE INDEX CONCURRENTLY a ON users (x)", 1),
        ("wrap_in_transaction=False DROP INDEX CONCURRENTLY IF EXISTS a; CREATE INDEX CONCURRENTLY a ON users (x)", 0),
        ("ALTER TABLE users ADD COLUMN code text UNIQUE", 1),
        ("ALTER TABLE users ADD CONSTRAINT a UNIQUE (name)", 1),
        ("ALTER TABLE users ADD CONSTRAINT a UNIQUE USING INDEX b", 0),
        ("ALTER TABLE users ADD COLUMN code text", 0),
        ("ALTER TABLE client ADD PRIMARY KEY (client_name)", 0),
        ("ALTER TABLE users ALTER COLUMN name TYPE varchar(10)", 1),
        ("alter table only users alter column name set data type text", 1),
        ("ALTER TABLE client ALTER COLUMN client_name TYPE text", 0),
        ("ALTER TABLE users ADD COLUMN a uuid DEFAULT gen_random_uuid()", 1),
        ("ALTER TABLE users ADD COLUMN a text DEFAULT md5(random()::text)", 1),
        ("ALTER TABLE users ADD COLUMN a timestamptz DEFAULT now()", 0),
        ("ALTER TABLE users ADD COLUMN a text GENERATED ALWAYS AS (lower(name)) STORED", 1),
        ("ALTER TABLE users ADD COLUMN a bigserial", 1),
        ("ALTER TABLE users ADD COLUMN a bigint GENERATED BY DEFAULT AS IDENTITY", 1),
        ("ALTER TABLE users SET TABLESPACE other", 1),
        ("ALTER TABLE users ALTER COLUMN name SET NOT NULL", 1),
        ("ALTER TABLE users VALIDATE CONSTRAINT name_is_there; ALTER TABLE users ALTER COLUMN name SET NOT NULL", 0),
        ("ALTER TABLE users ADD CONSTRAINT a CHECK (name <> '')", 1),
        ("ALTER TABLE users ADD CONSTRAINT a CHECK (name <> '') NOT VALID", 0),
        ("ALTER TABLE users ADD CONSTRAINT a FOREIGN KEY (b) REFERENCES client", 1),
        ("ALTER TABLE users ADD COLUMN a text REFERENCES client", 1),
        ("ALTER TABLE users ADD CONSTRAINT a FOREIGN KEY (b) REFERENCES client NOT VALID", 0),
        ("VACUUM FULL users", 1),
        ("CLUSTER users USING users_pkey", 1),
        ("CLUSTER client USING client_pkey", 0),
    ],
)
def test_blocking_statements_are_found(source: str, number: int) -> None:
    assert len(problems(source)) == number, problems(source)


@pytest.mark.parametrize("path", sorted(migrate._FOLDER.glob("m*.py")), ids=lambda path: path.stem)
def test_migrations_import_no_code_of_the_product(path: Path) -> None:
    """A migration does the same in ten years. It imports Piccolo and the standard library."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).partition(".")[0])
    assert imported - {"piccolo", "pathlib"} == set()


def test_a_new_one_is_the_next_and_runs_last(tmp_path: Path) -> None:
    (tmp_path / "m0041_before.py").touch()
    path = new_migration.create("add_phone_number", tmp_path)
    assert path.name == "m0042_add_phone_number.py"
    module = runpy.run_path(str(path))
    assert module["ID"] > max(migrate._shipped())
    assert module["DESCRIPTION"] == "add_phone_number"
    assert problems(path.read_text()) == []
    for name in ("", "Add", "add-it", "../add", "1st"):
        with pytest.raises(ValueError, match="is not a name such as"):
            new_migration.create(name, tmp_path)
