"""Verification finds and locates every change to the trail by SQL."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp import ids
from idp.audit import checkpoints, verification
from idp.audit.report import Problem, Report
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.keys import checkpoint_signer, jose
from tests.audit.conftest import Trail, verified

#: Rows of each checkpoint. The first row is about the signing key.
SIZES = (1, 5, 1, 8, 3, 6)
LAST_SEQ, CHECKPOINTS = sum(SIZES), len(SIZES)
STARTS = [sum(SIZES[:n]) + 1 for n in range(CHECKPOINTS)]


class UndoError(Exception):
    """Takes back what an attack did."""


async def after(*statements: tuple[str, *tuple[Any, ...]], outside: dict[int, str] | None = None) -> Report:
    """Return what a verification finds after these statements, which are then rolled back."""
    report = None
    try:
        async with transaction():
            for statement, *arguments in statements:
                await execute(statement, *arguments)
            report = await verified(outside)
            raise UndoError
    except UndoError:
        assert report is not None
        return report


def checkpoint_of(seq: int) -> int:
    return max(n for n, start in enumerate(STARTS, start=1) if start <= seq)


def only(report: Report) -> Problem:
    (problem,) = report.problems
    assert report.number_of_problems == 1
    return problem


@pytest.fixture
async def sealed(trail: Trail) -> None:
    await trail(*SIZES[1:])


pytestmark = pytest.mark.usefixtures("sealed")


async def test_a_trail_as_it_was_written() -> None:
    report = await verified()
    assert report.intact
    assert (report.rows, report.checkpoints, report.waiting, report.deleted_to) == (LAST_SEQ, CHECKPOINTS, 0, 0)


CHANGES = {
    "event": "'sign_out'",
    "outcome": "'failure'",
    "actor": "'user:mallory'",
    "user_id": "gen_random_uuid()",
    "client_id": "'other'",
    "session_id": "gen_random_uuid()",
    "ip_address": "'203.0.113.9'",
    "request_id": "'0'",
    "detail": """detail || '{"a": 1}'""",
    "at": "at + interval '1 microsecond'",
    "id": "gen_random_uuid()",
    "hash": "decode(repeat('00', 32), 'hex')",
}


@given(seq=st.integers(2, LAST_SEQ), column=st.sampled_from(sorted(CHANGES)))
@settings(max_examples=40)
async def test_a_changed_row(seq: int, column: str) -> None:
    problem = only(await after((f"UPDATE audit_event SET {column} = {CHANGES[column]} WHERE seq = $1", seq)))
    assert (problem.kind, problem.seq, problem.checkpoint) == ("row_changed", seq, checkpoint_of(seq))
    assert problem.columns == ("hash" if column == "hash" else "content",)
    assert problem.at is not None
    assert problem.id is not None


@pytest.mark.parametrize("value", ["'infinity'", "'-infinity'", "'4000-01-01 BC'", "'9000-01-01'"])
async def test_a_row_with_a_time_that_python_does_not_have(value: str) -> None:
    problem = only(await after((f"UPDATE audit_event SET at = {value} WHERE seq = 4",)))
    assert (problem.kind, problem.seq) == ("row_changed", 4)


@given(data=st.data(), length=st.integers(1, 8))
@settings(max_examples=30)
async def test_removed_rows(data: st.DataObject, length: int) -> None:
    first = data.draw(st.integers(1, LAST_SEQ - length + 1))
    report = await after(("DELETE FROM audit_event WHERE seq BETWEEN $1 AND $2", first, first + length - 1))
    assert {problem.kind for problem in report.problems} == {"rows_missing"}
    told = [seq for p in report.problems for seq in range(p.seq or 0, (p.last_seq or 0) + 1)]
    assert told == list(range(first, first + length))
    assert all(p.checkpoint == checkpoint_of(p.seq or 0) and p.at is not None for p in report.problems)


@given(pair=st.lists(st.integers(1, LAST_SEQ), min_size=2, max_size=2, unique=True))
@settings(max_examples=30)
async def test_rows_in_another_order(pair: list[int]) -> None:
    one, other = pair
    report = await after(
        ("UPDATE audit_event SET seq = -1 WHERE seq = $1", one),
        ("UPDATE audit_event SET seq = $1 WHERE seq = $2", one, other),
        ("UPDATE audit_event SET seq = $1 WHERE seq = -1", other),
    )
    assert {(p.kind, p.seq, p.was_seq) for p in report.problems} == {("row_moved", a, b) for a, b in (pair, pair[::-1])}


async def test_a_row_taken_out_of_its_place() -> None:
    """It looks as if it waited for the next checkpoint."""
    report = await after(("UPDATE audit_event SET seq = NULL WHERE seq = 9",))
    assert [(p.kind, p.seq, p.was_seq) for p in report.problems] == [("rows_missing", 9, None), ("row_moved", None, 9)]


async def test_a_changed_row_whose_hash_was_removed() -> None:
    """A row without a hash is covered by the next checkpoint; its former position stays empty."""
    async with transaction():
        await execute("UPDATE audit_event SET seq = NULL, hash = NULL, outcome = 'failure' WHERE seq = 9")
        await checkpoints.create(checkpoint_signer.sign)
    report = await verified()
    assert {(p.kind, p.seq) for p in report.problems} == {("rows_missing", 9), ("rows_unsealed", LAST_SEQ + 1)}


async def test_rows_put_where_no_checkpoint_was() -> None:
    row = "INSERT INTO audit_event (id, at, event, outcome, actor, ip_address, request_id, detail, seq) VALUES"
    report = await after(
        (f"{row} ($1, now(), 'sign_in', 'success', '', '', '', '{{}}', -7)", ids.uuid7()),
        (f"{row} ($1, now(), 'sign_in', 'success', '', '', '', '{{}}', $2)", ids.uuid7(), LAST_SEQ + 1),
    )
    uncovered = [(p.seq, p.last_seq) for p in report.problems if p.kind == "rows_uncovered"]
    assert uncovered == [(-7, -7), (LAST_SEQ + 1, LAST_SEQ + 1)]


async def test_a_change_before_the_checkpoint() -> None:
    """The hash is there from the beginning."""
    await execute("UPDATE audit_event SET seq = NULL WHERE seq = $1", LAST_SEQ)
    row = await fetchrow("SELECT id FROM audit_event WHERE seq IS NULL")
    assert row is not None
    problem = (await verified()).problems[-1]
    assert (problem.id, problem.seq) == (row["id"], None)


# Checkpoints


@given(number=st.integers(1, CHECKPOINTS), column=st.sampled_from(["at", "first_seq", "last_seq", "root", "previous"]))
@settings(max_examples=20)
async def test_a_changed_column_of_a_checkpoint(number: int, column: str) -> None:
    value = {"at": "'4000-01-01 BC'", "root": r"'\x00'", "previous": r"'\x00'"}.get(column, f"{column} + 1")
    report = await after((f"UPDATE audit_checkpoint SET {column} = {value} WHERE number = $1", number))
    problem = only(report)
    assert (problem.kind, problem.checkpoint, problem.columns) == ("checkpoint_changed", number, (column,))


@given(number=st.integers(1, CHECKPOINTS), place=st.integers(0, 10_000), letter=st.sampled_from("AbZ9_-."))
@settings(max_examples=40)
async def test_a_changed_statement(number: int, place: int, letter: str) -> None:
    row = await fetchrow("SELECT statement FROM audit_checkpoint WHERE number = $1", number)
    assert row is not None
    place %= len(row["statement"])
    changed = row["statement"][:place] + letter + row["statement"][place + 1 :]
    report = await after(("UPDATE audit_checkpoint SET statement = $1 WHERE number = $2", changed, number))
    assert report.intact == (changed == row["statement"])
    if not report.intact:
        # The last character of a signature has unused bits. If these are changed, the next checkpoint states another
        # predecessor.
        assert report.problems[0].checkpoint in {number, number + 1}
        assert report.problems[0].kind in {"checkpoint_changed", "checkpoint_moved"}


@given(data=st.data(), length=st.integers(1, 3))
@settings(max_examples=20)
async def test_removed_checkpoints(data: st.DataObject, length: int) -> None:
    first = data.draw(st.integers(1, CHECKPOINTS - length + 1))
    last = first + length - 1
    report = await after(("DELETE FROM audit_checkpoint WHERE number BETWEEN $1 AND $2", first, last))
    problem = only(report)
    if last < CHECKPOINTS:
        assert (problem.kind, problem.checkpoint, problem.last_checkpoint) == ("checkpoint_missing", first, last)
    else:
        assert (problem.kind, problem.seq, problem.last_seq) == ("rows_uncovered", STARTS[first - 1], LAST_SEQ)


async def test_checkpoints_in_another_order() -> None:
    report = await after(
        ("UPDATE audit_checkpoint SET number = -1 WHERE number = 3",),
        ("UPDATE audit_checkpoint SET number = 3 WHERE number = 4",),
        ("UPDATE audit_checkpoint SET number = 4 WHERE number = -1",),
    )
    found = {(p.kind, p.checkpoint) for p in report.problems if p.kind.startswith("checkpoint")}
    assert found == {("checkpoint_moved", 3), ("checkpoint_moved", 4)}


async def test_a_checkpoint_signed_by_a_key_put_into_the_table() -> None:
    """An attacker who can only write to the database has the keys, but not the key of the MAC."""
    key = jose.generate("ES256")
    row = await fetchrow("SELECT statement FROM audit_checkpoint WHERE number = 4")
    assert row is not None
    claims = msgspec.to_builtins(verification.parse(row["statement"])) | {"root": "AAAA"}
    forged = jose.sign(key, "audit-checkpoint+jwt", claims)
    public = msgspec.json.encode(key.public_jwk).decode()
    report = await after(
        ("INSERT INTO signing_key (kid, alg, public_jwk) VALUES ($1, 'ES256', $2)", key.kid, public),
        ("UPDATE audit_checkpoint SET statement = $1 WHERE number = 4", forged),
    )
    assert (report.problems[0].kind, report.problems[0].checkpoint) == ("checkpoint_changed", 4)


async def test_statements_are_read_when_their_key_is_gone() -> None:
    """Only the public part is needed, which stays."""
    report = await after(("UPDATE signing_key SET private_jwk = NULL, retires_at = now(), destroyed_at = now()",))
    assert report.intact


async def test_a_broken_key_in_the_table_ends_nothing() -> None:
    report = await after(("INSERT INTO signing_key (kid, alg, public_jwk) VALUES ('x', 'RS256', '[1]')",))
    assert report.intact


# Outside


async def kept() -> list[str]:
    return [row["statement"] for row in await fetch("SELECT statement FROM audit_checkpoint ORDER BY number")]


async def outside(lines: list[str]) -> dict[int, str]:
    return verification.read_file([f"{line}\n" for line in lines], await checkpoint_signer.reader())


@given(number=st.integers(0, CHECKPOINTS - 1))
@settings(max_examples=8)
async def test_a_database_cut_back(number: int) -> None:
    """The database alone does not reveal it; the exported checkpoints show the missing rows."""
    known = await outside(await kept())
    cut = (
        ("DELETE FROM audit_checkpoint WHERE number > $1", number),
        ("DELETE FROM audit_event WHERE seq >= $1", STARTS[number]),
    )
    assert (await after(*cut)).intact
    problem = only(await after(*cut, outside=known))
    assert (problem.kind, problem.checkpoint, problem.last_checkpoint) == ("cut_off", number + 1, CHECKPOINTS)
    assert (problem.seq, problem.last_seq) == (STARTS[number], LAST_SEQ)


async def test_a_database_that_went_on_after_it_was_cut_back(trail: Trail) -> None:
    known = await outside(await kept())
    await execute("DELETE FROM audit_checkpoint WHERE number > 4")
    await execute("DELETE FROM audit_event WHERE seq >= $1", STARTS[4])
    await trail(2, 2)
    assert (await verified()).intact
    report = await verified(known)
    assert [(p.kind, p.checkpoint) for p in report.problems] == [("file_differs", 5), ("file_differs", 6)]


async def test_a_file_that_a_crash_cut_short() -> None:
    lines = await kept()
    assert await outside([*lines[:2], lines[2][:50], *lines[2:], *lines[:2]]) == dict(enumerate(lines, start=1))
    with pytest.raises(ValueError, match="Line 3 is not a checkpoint"):
        await outside([*lines[:2], "x" + lines[2][:50], *lines[2:]])
    with pytest.raises(ValueError, match="Line 2 is not a checkpoint"):
        await outside([lines[0], "", lines[1]])
