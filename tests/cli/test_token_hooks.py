"""`idp token-hooks`."""

import uuid

from tests.cli.conftest import Cli


def test_the_life_of_a_hook(db: str, cli: Cli) -> None:
    client = f"hooked-{uuid.uuid4()}"
    cli("clients", "create", "--id", client, "--name", "Hooked", "--redirect-uri", "https://hooked.example/cb")
    added = cli("token-hooks", "add", "https://hook.example/x", "--client", client, "--json").json
    assert added["secret"].startswith("whsec_")
    assert "already" in cli.fails("token-hooks", "add", "https://hook.example/x", "--client", client)
    assert "no client" in cli.fails("token-hooks", "add", "https://hook.example/x", "--client", "nobody")

    def row() -> dict[str, object]:
        (found,) = [each for each in cli("token-hooks", "list", "--json").json if each["id"] == added["id"]]
        assert "secret" not in found
        return dict(found)

    assert row()["places"] == ["access_token", "id_token"]
    cli("token-hooks", "update", added["id"], "--in", "userinfo", "--fail-open")
    assert (row()["places"], row()["fail_open"]) == (["userinfo"], True)
    assert client in cli("token-hooks", "list").out
    assert "whsec_" in cli("token-hooks", "rotate-secret", added["id"]).out
    cli("token-hooks", "disable", added["id"])
    assert "no token hook" in cli.fails("token-hooks", "disable", added["id"])
    cli("token-hooks", "enable", added["id"])
    cli("token-hooks", "remove", added["id"])
    assert "no token hook" in cli.fails("token-hooks", "remove", added["id"])
