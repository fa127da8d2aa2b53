"""`idp audit`."""

import csv
import io
import json
from pathlib import Path

import pytest

from idp import ids
from idp.audit import checkpoint_export, checkpoints
from idp.audit.events import record
from idp.infra.db.engine import execute
from idp.keys import checkpoint_signer, lifecycle
from idp.keys.key_set import key_set
from tests.cli.conftest import Cli, OwnCli
from tests.support.isolated import isolated


@pytest.fixture
async def own(own_cli: OwnCli, tmp_path: Path) -> Cli:
    """The command on a separate trail of three checkpoints, which are also in a file."""
    cli = await own_cli()
    async with isolated(cli.settings["IDP_DATABASE_URL"]):
        await lifecycle.ensure_signing_key("RS256")
        await key_set.load()
        for size in (2, 3):
            for _ in range(size):
                await record("sign_in", client_id="=cmd|' /C calc'!A0", detail={"reason": 'a,"b"\n\'c'})
            await checkpoints.create(checkpoint_signer.sign)
        await checkpoint_export.write_file(tmp_path / "checkpoints")
    return cli


async def change(cli: Cli, statement: str) -> None:
    async with isolated(cli.settings["IDP_DATABASE_URL"]):
        await execute(statement)


async def test_a_trail_that_is_whole(own: Cli) -> None:
    words = own("audit", "verify").out
    assert "6 rows in 2 checkpoints, and 0 rows that wait" in words
    assert "The trail is unchanged." in words
    assert "--checkpoints FILE" in words
    words = own("audit", "verify", "--checkpoints", "checkpoints").out
    assert "--checkpoints FILE" not in words
    report = own("audit", "verify", "--json").json
    assert (report["rows"], report["checkpoints"], report["number_of_problems"]) == (6, 2, 0)


async def test_a_trail_that_was_changed(own: Cli) -> None:
    await change(own, "UPDATE audit_event SET outcome = 'failure' WHERE seq = 5")
    words = own("audit", "verify", code=1).out
    assert "The trail has been CHANGED: 1 problems." in words
    assert "A row was changed." in words
    (problem,) = own("audit", "verify", "--json", code=1).json["problems"]
    assert (problem["kind"], problem["seq"], problem["checkpoint"]) == ("row_changed", 5, 2)
    assert problem["columns"] == ["content"]


async def test_a_trail_that_was_cut_off(own: Cli) -> None:
    await change(own, "DELETE FROM audit_checkpoint WHERE number = 2")
    await change(own, "DELETE FROM audit_event WHERE seq > 3")
    own("audit", "verify")
    words = own("audit", "verify", "--checkpoints", "checkpoints", code=1).out
    assert "The end was cut off" in words


async def test_a_file_that_is_none(own: Cli) -> None:
    (own.folder / "other").write_text("x\ny\n")
    assert "other cannot be used: Line 2 is not a checkpoint" in own.fails("audit", "verify", "--checkpoints", "other")


async def test_the_master_key_is_needed(own: Cli) -> None:
    del own.settings["IDP_MASTER_KEY"]
    assert "IDP_MASTER_KEY" in own.fails("audit", "verify")


async def test_export_as_lines_of_json(own: Cli) -> None:
    lines = [json.loads(line) for line in own("audit", "export").out.splitlines()]
    assert [line["event"] for line in lines] == ["key_activated"] + ["sign_in"] * 5
    assert {line["seq"] for line in lines} == set(range(1, 7))
    assert lines[1]["detail"] == {"reason": 'a,"b"\n\'c'}
    # The command recorded an event too, with its actor.
    (told,) = own("audit", "list", "--event", "audit_exported", "--json").json
    assert told["detail"]["number"] == 6
    assert told["actor"].startswith("cli:")


async def test_export_as_csv(own: Cli) -> None:
    own("audit", "export", "--format", "csv", "--output", "trail.csv", "--event", "sign_in")
    rows = list(csv.DictReader(io.StringIO((own.folder / "trail.csv").read_text(), newline="")))
    assert len(rows) == 5
    assert json.loads(rows[0]["detail"]) == {"reason": 'a,"b"\n\'c'}
    assert rows[0]["client_id"] == "'=cmd|' /C calc'!A0"
    assert "exists" in own.fails("audit", "export", "--output", "trail.csv").lower()


async def test_export_of_a_time(own: Cli) -> None:
    assert own("audit", "export", "--until", "2020-01-01").out == ""
    assert own("audit", "export", "--since", "2999-01-01").out == ""
    assert len(own("audit", "export", "--since", "2020-01-01", "--until", "2999-01-01T00:00").out.splitlines()) == 8


async def test_export_of_more_than_a_page(own: Cli) -> None:
    await change(
        own,
        "INSERT INTO audit_event (id, at, event, outcome, actor, ip_address, request_id, detail)"
        " SELECT gen_random_uuid(), '2025-01-01'::timestamptz, 'webhook_removed', 'success', '', '', '', '{}'"
        " FROM generate_series(1, 2500)",
    )
    ids_of = {json.loads(line)["id"] for line in own("audit", "export", "--event", "webhook_removed").out.splitlines()}
    assert len(ids_of) == 2500


def test_a_kind_or_a_reason_that_does_not_exist(cli: Cli) -> None:
    """An empty list would say that there was no such event."""
    assert "no such kind of event" in cli("audit", "list", "--event", "signin", code=2).err
    assert "no such kind of event" in cli("audit", "export", "--event", "signin", code=2).err
    assert "no such reason" in cli("trace", "--reason", "wrong", code=2).err


async def test_list(cli: Cli, db: str) -> None:
    user_id, client_id = ids.uuid7(), ids.uuid7_text()
    for outcome in ("failure", "success"):
        await record("sign_in", outcome=outcome, user_id=user_id, client_id=client_id, detail={"reason": "x\x1b[2J"})
    rows = cli("audit", "list", "--user", str(user_id), "--json").json
    assert [row["outcome"] for row in rows] == ["success", "failure"]
    assert len(cli("audit", "list", "--client", client_id, "--outcome", "failure", "--json").json) == 1
    words = cli("audit", "list", "--client", client_id, "--limit", "1").out
    assert "success" in words
    assert "failure" not in words
    assert "\x1b" not in words
    assert "no user" in cli.fails("audit", "list", "--user", "alice")
