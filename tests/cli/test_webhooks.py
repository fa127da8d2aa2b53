"""`idp webhooks` and `idp shared-signals`."""

import uuid

from tests.cli.conftest import Cli


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


def test_streams(db: str, cli: Cli) -> None:
    assert isinstance(cli("shared-signals", "list", "--json").json, list)
    assert "Status" in cli("shared-signals", "list").out
    assert "no stream" in cli.fails("shared-signals", "set-status", str(uuid.uuid4()), "paused")


def test_mistakes(db: str, cli: Cli) -> None:
    assert "at least one kind" in cli.fails("webhooks", "add", "https://a.example/")
    assert "no events of these kinds" in cli.fails("webhooks", "add", "https://a.example/", "--event", "nothing")
    assert "https" in cli.fails("webhooks", "add", "ftp://a.example/", "--event", "user_disabled")
    for command in ("update", "rotate-secret", "test", "disable", "enable", "remove"):
        assert "no webhook" in cli.fails("webhooks", command, str(uuid.uuid4()))
