"""`idp claims`."""

import json
import re
import secrets
import shlex
from pathlib import Path

from tests.cli.conftest import Cli

CLIENT = ("clients", "create", "--name", "Wiki", "--redirect-uri", "https://wiki.example/callback", "--json")


async def test_mappings_are_added_listed_and_removed(cli: Cli) -> None:
    client_id = json.loads(cli(*CLIENT).out)["client_id"]
    for_client = ("--client", client_id)
    groups = ("--source", "groups", "--prefix", "wiki-", "--strip-prefix", "--as", "spaces")
    added = json.loads(cli("claims", "add", "teams", *for_client, *groups, "--in", "access_token", "--json").out)
    assert added["source"] == {"kind": "groups", "prefix": "wiki-", "strip_prefix": True, "names": []}
    assert (added["places"], added["shape"]) == (["access_token"], "spaces")
    shown = cli("claims", "add", "roles", *for_client, "--source", "roles", "--roles-of", "server").out
    assert "roles, roles_of=server" in shown
    assert {"id_token", "userinfo"} <= set(shown.replace(",", " ").split())
    listed = json.loads(cli("claims", "list", "--client", client_id, "--json").out)
    assert [each["claim"] for each in listed] == ["teams", "roles"]
    assert "teams" in cli("claims", "list").out
    assert "is removed" in cli("claims", "remove", added["id"]).out
    assert "There is no claim mapping" in cli("claims", "remove", added["id"], code=1).err


async def test_what_is_refused(cli: Cli) -> None:
    client_id = json.loads(cli(*CLIENT).out)["client_id"]
    constant = ("--client", client_id, "--source", "constant")
    assert "has no prefix" in cli("claims", "add", "x", *constant, "--prefix", "a", code=1).err
    assert "A value is missing" in cli("claims", "add", "x", *constant, code=1).err
    assert "meaning of its own" in cli("claims", "add", "sub", *constant, "--value", "a", code=1).err
    assert "There is no client" in cli("claims", "add", "x", "--client", "nobody", "--source", "groups", code=1).err
    assert "needs a scope" in cli("claims", "add", "x", "--source", "groups", code=1).err


async def test_what_tokens_would_say(cli: Cli) -> None:
    client_id = json.loads(cli(*CLIENT, "--scope", "openid groups").out)["client_id"]
    email = f"{secrets.token_hex(6)}@example.com"
    cli("users", "create", email, "--generate", "--no-mail")
    shown = cli("claims", "preview", client_id, email, "--scope", "openid groups roles").out
    assert "the user has none" in shown
    assert "not registered for: roles" in shown
    found = json.loads(cli("claims", "preview", client_id, email, "--claim", "shoe_size", "--json").out)
    assert {each["why"] for each in found["explained"] if each["claim"] == "shoe_size"} == {"no_mapping"}
    assert "There is no user" in cli("claims", "preview", client_id, "nobody", code=1).err
    assert "There is no client" in cli("claims", "preview", "nobody", email, code=1).err


def test_the_commands_of_the_documentation(cli: Cli) -> None:
    """docs/claims.md, with another name for its client and its resource server."""
    text = (Path(__file__).parents[2] / "docs" / "claims.md").read_text().replace("\\\n", " ")
    own = f"wiki-{secrets.token_hex(4)}"
    scope = f"directory-{secrets.token_hex(4)}"
    names = {"--id wiki": f"--id {own}", "--client wiki": f"--client {own}", "preview wiki": f"preview {own}"}
    names |= {"--id kubernetes": f"--id k8s-{own}", "--client kubernetes": f"--client k8s-{own}"}
    for name, new in (names | {"api.example": f"{own}.example", "ada@": f"{own}@"}).items():
        text = text.replace(name, new)
    commands = re.findall(r"^\$ idp (.*)$", text.replace("--scope directory", f"--scope {scope}"), re.MULTILINE)
    assert len(commands) > 6
    for command in commands:
        cli(*shlex.split(command))
    listed = json.loads(cli("claims", "list", "--json").out)
    assert {each["claim"] for each in listed if each["client_id"] == own} == {
        *("teams", "roles", "realm_access", "resource_access")
    }
    assert [each["claim"] for each in listed if each["scope"] == scope] == ["department"]
