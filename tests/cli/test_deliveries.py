"""`idp deliveries`."""

import uuid

from idp.delivery import outbox
from idp.infra.db.engine import execute, transaction
from tests.cli.conftest import Cli


async def test_deliveries_are_listed_shown_and_replayed(db: str, cli: Cli) -> None:
    """Of a kind without a handler, so that no server sends them."""
    stream = f"client:{uuid.uuid4()}"
    async with transaction():
        first, second = [await outbox.queue("none", stream, {"secret": "hidden"}) for _ in range(2)]
    rows = cli("deliveries", "list", "--stream", stream, "--json").json
    assert [row["id"] for row in rows] == [str(second), str(first)]
    assert cli("deliveries", "list", "--stream", stream, "--state", "dead", "--json").json == []
    assert cli("deliveries", "list", "--stream", stream, "--kind", "other", "--json").json == []
    assert len(cli("deliveries", "list", "--stream", stream, "--limit", "1", "--json").json) == 1
    assert stream in cli("deliveries", "list", "--stream", stream).out
    shown = cli("deliveries", "show", str(first), "--json").json
    assert (shown["state"], shown["attempts"]) == ("queued", 0)
    assert "content" not in shown
    assert "queued" in cli("deliveries", "show", str(first)).out
    assert "no dead or deferred" in cli.fails("deliveries", "replay", str(first))
    await execute("UPDATE delivery SET state = 'dead', next_attempt_at = NULL WHERE stream = $1", stream)
    assert "immediately" in cli("deliveries", "replay", str(first)).out
    assert "sends 1 deliveries" in cli("deliveries", "replay", "--stream", stream).out
    assert "sends 0 deliveries" in cli("deliveries", "replay", "--stream", stream).out
    await execute("DELETE FROM delivery WHERE stream = $1", stream)


def test_mistakes(db: str, cli: Cli) -> None:
    nothing = str(uuid.uuid4())
    assert "no delivery" in cli.fails("deliveries", "show", nothing)
    assert "no dead or deferred" in cli.fails("deliveries", "replay", nothing)
    for arguments in ((), (nothing, "--stream", "client:a"), ("x",)):
        cli("deliveries", "replay", *arguments, code=2)
