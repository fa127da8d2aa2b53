"""`idp provisioning`."""

import uuid
from pathlib import Path

from tests.cli.conftest import Cli


def test_the_life_of_a_target(db: str, cli: Cli, tmp_path: Path) -> None:
    name, group = f"Wiki {uuid.uuid4()}", f"Staff {uuid.uuid4()}"
    token = tmp_path / "token"
    token.write_text("the-token\n")
    cli("groups", "create", group)
    url = "https://app.invalid/scim/v2"
    made = cli(
        "provisioning", "create", name, url, "--token-file", str(token), "--users", "groups", "--group", group,
        "--push-group", group, "--removal", "delete", "--json",
    ).json  # fmt: skip
    try:
        (row,) = [each for each in cli("provisioning", "list", "--json").json if each["id"] == made["id"]]
        assert (row["name"], row["base_url"], row["disabled_at"] is None) == (name, url, False)
        assert "the-token" not in cli("provisioning", "list").out + cli("provisioning", "show", name).out
        assert group in cli("provisioning", "show", name).out
        cli("provisioning", "update", name, "--map", "userName=email", "--push-group", "", "--mends")
        assert cli("provisioning", "show", name, "--json").json["target"]["mends"]
        assert cli("provisioning", "drift", name, "--json").json == {"check": None, "drift": []}
        found = cli("provisioning", "show", name, "--json").json["target"]
        assert (found["mapping"], found["pushed_groups"], len(found["groups"])) == ({"userName": "email"}, [], 1)
        moved = ("provisioning", "update", name, "--base-url", "https://moved.invalid/scim/v2")
        cli(*moved, "--token-file", str(token))
        assert "https://moved.invalid/scim/v2" in cli("provisioning", "show", name).out
        assert "cannot be resolved" in cli.fails("provisioning", "test", name)
        cli("provisioning", "set-token", made["id"], "--token-file", str(token))
        assert "no such provisioning target" in cli.fails("provisioning", "push", name)
        cli("provisioning", "enable", name)
        assert "looks at every user" in cli("provisioning", "push", name).out
        assert cli("provisioning", "users", name, "--refused", "--json").json == []
        cli("provisioning", "disable", name)
    finally:
        cli("provisioning", "delete", name)
        cli("groups", "delete", group, "--yes")
    for command in ("show", "test", "enable", "disable", "push", "stop", "resume", "delete", "users", "check", "drift"):
        assert "no such provisioning target" in cli.fails("provisioning", command, name)


def test_mistakes(db: str, cli: Cli, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-token")

    def fails(*options: str) -> str:
        return cli.fails("provisioning", "create", "Mistake", "https://a.example", "--token-file", str(token), *options)

    assert "needs userName" in fails("--map", "title=email")
    assert "one line" in fails("--map", "title")
    assert "not declared" in fails("--map", "userName=attribute:nothing")
    assert "groups does not exist" in fails("--users", "groups", "--group", "no such group")
    assert "Name the client" in fails("--users", "client", "--client", "nobody")
    token.write_text("")
    assert "token" in fails()
