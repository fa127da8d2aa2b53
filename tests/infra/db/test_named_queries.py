"""Statements with named parameters."""

import pytest

from idp.infra.db.named_queries import NamedQuery


def test_each_name_is_one_parameter() -> None:
    statement = NamedQuery("SELECT :b::text, :a_c, :b, now()::date")
    assert statement.text == "SELECT $1::text, $2, $1, now()::date"
    assert statement.names == ("b", "a_c")


async def test_values_by_name(db: str) -> None:
    statement = NamedQuery("SELECT :first::int - :second::int AS difference WHERE :first > 0")
    row = await statement.fetchrow(second=2, first=5)
    assert row is not None
    assert row["difference"] == 3
    assert await statement.fetch(first=-1, second=1) == []


@pytest.mark.parametrize("values", [{}, {"a": 1, "b": 2}])
async def test_a_value_too_few_or_too_many(values: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        await NamedQuery("SELECT :a::int").fetchrow(**values)
