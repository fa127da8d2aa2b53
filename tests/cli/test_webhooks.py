"""`idp webhooks` and `idp shared-signals`."""

import uuid
from typing import Any

from tests.cli.conftest import Cli
from tests.support.streams import make_stream


def test_the_life_of_a_webhook(db: str, cli: Cli) -> None:
    """Of an event that no other test makes."""
    url = f"https://{uuid.uuid4()}.example/events"
    added = cli("webhooks", "add", url, "--event", "database_restored", "--description", "Mine", "--json").json
    assert added["secret"].startswith("whsec_")
    try:
        (row,) = [each for each in cli("webhooks", "list", "--json").json if each["id"] == added["id"]]
        assert (row["url"], row["kinds"], row["whole"]) == (url, ["database_restored"], False)
        assert added["secret"] not in cli("webhooks", "list").out
        cli("webhooks", "update", added["id"], "--description", "Yours", "--whole")
        rotated = cli("webhooks", "rotate-secret", added["id"])
        assert "whsec_" in rotated.out
        assert added["secret"] not in rotated.out
        cli("webhooks", "disable", added["id"])
        assert "no webhook" in cli.fails("webhooks", "disable", added["id"])
        assert "no webhook" in cli.fails("webhooks", "test", added["id"])
        (row,) = [each for each in cli("webhooks", "list", "--json").json if each["id"] == added["id"]]
        assert (row["description"], row["whole"], row["disabled_at"] is None) == ("Yours", True, False)
        cli("webhooks", "enable", added["id"])
        assert "idp deliveries show" in cli("webhooks", "test", added["id"]).out
    finally:
        cli("webhooks", "remove", added["id"])
    assert "no webhook" in cli.fails("webhooks", "remove", added["id"])


async def test_streams(db: str, cli: Cli) -> None:
    stream = await make_stream(description="Mine")
    name = str(stream.id)

    def listed(*options: str) -> list[dict[str, Any]]:
        found = cli("shared-signals", "list", "--client", stream.client_id, *options, "--json").json
        assert isinstance(found, list)
        return found

    try:
        (row,) = listed()
        assert cli("shared-signals", "show", name, "--json").json == row
        assert (row["id"], row["description"], row["status"], row["waiting"]) == (name, "Mine", "enabled", 0)
        assert "Mine" in cli("shared-signals", "list").out
        for command, status in (("pause", "paused"), ("disable", "disabled"), ("resume", "enabled")):
            assert f"is {status}." in cli("shared-signals", command, name, "--reason", command).out
            (row,) = listed("--status", status)
            assert row["status_reason"] == command
    finally:
        cli("shared-signals", "delete", name)
    assert listed() == []
    for command in ("show", "pause", "delete"):
        assert "no stream" in cli.fails("shared-signals", command, name)


def test_mistakes(db: str, cli: Cli) -> None:
    assert "at least one kind" in cli.fails("webhooks", "add", "https://a.example/")
    assert "no events of these kinds" in cli.fails("webhooks", "add", "https://a.example/", "--event", "nothing")
    assert "https" in cli.fails("webhooks", "add", "ftp://a.example/", "--event", "user_disabled")
    for command in ("update", "rotate-secret", "test", "disable", "enable", "remove"):
        assert "no webhook" in cli.fails("webhooks", command, str(uuid.uuid4()))
