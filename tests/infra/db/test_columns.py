"""No prepared statement returns other columns after a migration that adds one."""

import ast
import asyncio
import re
from pathlib import Path

import asyncpg
import pytest

import idp
from idp.accounts.repository.users import user_by_email, user_by_id
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.infra.db import connections as lines_module
from idp.infra.db.columns import all_columns
from idp.infra.db.connections import HeldConnection
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from tests.support.isolated import own_database

__all__ = ["own_database"]

ROOT = Path(idp.__file__).parent

#: ``*`` as the columns of a row, and not as a product or in count(*).
_STAR = re.compile(r"(?:\b(?:SELECT|RETURNING)|,)\s+(?:DISTINCT\s+)?(?:(\w+)\.)?\*(?!\s*\d)|(\w+)\.\*")
#: Rows whose columns the statement itself lists.
_NAMED = re.compile(r"SELECT (\* FROM unnest\(|person\.\*|a\.\* FROM asked|l\.\*, l\.pushed|found\.\* FROM found)")


def _texts(path: Path) -> list[str]:
    """Return the strings of a module; fields of f-strings become a question mark."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "?" for part in node.values]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


@pytest.mark.fault(38)
def test_no_statement_reads_a_star() -> None:
    modules = [path for path in ROOT.rglob("*.py") if "migrations" not in path.parts]
    found = [
        (path.name, text)
        for path in modules
        for text in _texts(path)
        if re.search(r"\b(SELECT|RETURNING)\b", text) and _STAR.search(_NAMED.sub("", text))
    ]
    assert found == []
    assert _STAR.search("SELECT a.number, u.*, f.claims")
    assert _STAR.search("RETURNING *")
    assert not _STAR.search("SELECT count(*), 3 * (2)")


def test_all_columns() -> None:
    assert all_columns(User, "u").startswith('u."id", ')
    assert '"password_hash"' in all_columns(User)


@pytest.mark.fault(38)
@pytest.mark.usefixtures("own_database")
async def test_a_column_is_added_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared statements continue to work, also inside of transactions, where none can be prepared again."""

    def refuse(statement: str, stale: str) -> None:
        raise AssertionError(f"stale: {statement}")

    monkeypatch.setattr(lines_module, "renew", refuse)
    user = await create_user("alice@example.com", None, name="Alice")
    stop = asyncio.Event()
    rounds = 0

    async def load() -> None:
        nonlocal rounds
        while not stop.is_set():
            async with transaction():
                assert (await user_by_id(user.id)) is not None
                assert (await user_by_email(user.email)) is not None
                assert await User.objects().where(User.id == user.id).first() is not None
            rounds += 1

    tasks = [asyncio.create_task(load()) for _ in range(4)]
    async with asyncio.timeout(30):
        for number in range(3):
            before = rounds
            await execute(f"ALTER TABLE users ADD COLUMN more_{number} int DEFAULT 1")
            while rounds < before + 20:
                await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*tasks)


class _Pooler:
    """A connection to a pooler that keeps one prepared statement per text, including stale ones."""

    def __init__(self, *, transaction: bool = False) -> None:
        self.stale: set[str] = set()
        self.prepared: list[str] = []
        self.transaction = transaction

    def is_in_transaction(self) -> bool:
        return self.transaction

    async def prepare(self, text: str) -> "_Prepared":
        self.prepared.append(text)
        return _Prepared(self, text)

    def migrate(self) -> None:
        self.stale |= set(self.prepared)


class _Prepared:
    def __init__(self, pooler: _Pooler, text: str) -> None:
        self.pooler, self.text = pooler, text

    async def fetch(self, *_: object) -> list[str]:
        if self.text in self.pooler.stale:
            raise asyncpg.InvalidCachedStatementError("cached plan must not change result type")
        return [self.text]

    def get_statusmsg(self) -> str:
        return "SELECT 1"


@pytest.mark.fault(38)
async def test_a_stale_statement_gets_another_text() -> None:
    pooler = _Pooler()
    first, second = HeldConnection(pooler), HeldConnection(pooler)
    statement = "SELECT stale FROM somewhere"
    for line in (first, second):
        assert (await line.fetch(statement, ()))[0] == [statement]
    for _ in range(2):
        pooler.migrate()
        (text,) = (await first.fetch(statement, ()))[0]
        assert str(text).startswith(f"{statement} /* ")
        # The text is the same in the whole process.
        assert (await second.fetch(statement, ()))[0] == [text]
    assert len(set(pooler.prepared)) == 3


@pytest.mark.fault(38)
async def test_inside_a_transaction_it_is_the_next_one_that_succeeds() -> None:
    pooler = _Pooler(transaction=True)
    line = HeldConnection(pooler)
    statement = "SELECT stale FROM elsewhere"
    await line.fetch(statement, ())
    pooler.migrate()
    with pytest.raises(asyncpg.InvalidCachedStatementError):
        await line.fetch(statement, ())
    assert (await line.fetch(statement, ()))[0] != [statement]


@pytest.mark.usefixtures("own_database")
async def test_the_pool_s_own_connections_do_the_same() -> None:
    """Piccolo's statements run there."""
    from idp.infra.db.engine import engine

    assert engine.pool is not None
    async with engine.pool.acquire() as connection:
        await connection.execute("CREATE TABLE somewhere AS SELECT 1 AS one")
        assert len(await connection.fetch("SELECT * FROM somewhere")) == 1
        await connection.execute("ALTER TABLE somewhere ADD COLUMN two int")
        assert set((await connection.fetch("SELECT * FROM somewhere"))[0].keys()) == {"one", "two"}
    assert await fetch("SELECT one FROM somewhere")
    assert await fetchrow("SELECT two FROM somewhere")
