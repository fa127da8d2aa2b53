"""The short form of statements."""

import pytest

from idp.infra.tracing.summary import MAX_LENGTH, summary


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1", ("SELECT", "SELECT")),
        ("BEGIN;", ("BEGIN", "BEGIN")),
        ("COMMIT", ("COMMIT", "COMMIT")),
        ("SELECT id FROM users WHERE email = $1", ("SELECT", "SELECT users")),
        ('UPDATE "users" SET "name" = $1', ("UPDATE", "UPDATE users")),
        ("INSERT INTO session (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET a = 1", ("INSERT", "INSERT session")),
        ("DELETE FROM ONLY code WHERE at < now()", ("DELETE", "DELETE code")),
        ("SELECT 1 FROM users AS u JOIN session AS s USING (id) FOR UPDATE", ("SELECT", "SELECT users session")),
        ("SELECT a FROM users FOR NO KEY UPDATE SKIP LOCKED", ("SELECT", "SELECT users")),
        ("SELECT extract(epoch FROM now()), extract(epoch FROM at - x) FROM code", ("SELECT", "SELECT code")),
        ("SELECT a IS DISTINCT FROM b FROM code", ("SELECT", "SELECT code")),
        ("SELECT 'from secret' AS x FROM code -- from nowhere", ("SELECT", "SELECT code")),
        ("SELECT * FROM unnest($1::text[]) WITH ORDINALITY AS asked (a)", ("SELECT", "SELECT")),
        (
            """WITH asked AS MATERIALIZED (SELECT * FROM unnest($1)), old (a, b) AS (UPDATE refresh_token SET x = 1 FROM
            asked, users RETURNING *), new AS (INSERT INTO refresh_token SELECT * FROM old) SELECT * FROM new""",
            ("UPDATE", "UPDATE refresh_token INSERT refresh_token"),
        ),
        ("SELECT a FROM users WHERE id IN (SELECT id FROM group_member)", ("SELECT", "SELECT users group_member")),
        ("", ("OTHER", "OTHER")),
    ],
)
def test_operations_and_tables(statement: str, expected: tuple[str, str]) -> None:
    assert summary(statement) == expected


def test_its_length_is_limited() -> None:
    tables = " JOIN ".join(f"a_long_table_{number}" for number in range(100))
    _, short = summary(f"SELECT 1 FROM {tables}")
    assert len(short) <= MAX_LENGTH
    assert short.startswith("SELECT a_long_table_0 a_long_table_1 ")
    assert all(word in tables.split() for word in short.split()[1:])
