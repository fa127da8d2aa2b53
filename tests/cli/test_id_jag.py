"""`idp id-jag`."""

import json
import re
import secrets
import shlex
from pathlib import Path

from tests.cli.conftest import Cli


async def test_policies_are_added_listed_and_removed(cli: Cli) -> None:
    created = json.loads(cli("clients", "create", "--name", "Agent", "--type", "service", "--json").out)
    there = ("--audience", "https://login.example", "--audience-client-id", "agent")
    more = ("--resource", "https://a.example", "--email-domain", "corp.example", "--acr", "2", "--email")
    added = json.loads(cli("id-jag", "add", created["client_id"], *there, *more, "--json").out)
    assert (added["audience"], added["acr"], added["email"]) == ("https://login.example", "2", True)
    (shown,) = [one for one in json.loads(cli("id-jag", "list", "--json").out) if one["id"] == added["id"]]
    assert (shown["resources"], shown["email_domains"]) == (["https://a.example"], ["corp.example"])
    assert "https://login.example" in cli("id-jag", "list").out
    assert "is removed" in cli("id-jag", "remove", added["id"]).out
    assert "There is no policy" in cli("id-jag", "remove", added["id"], code=1).err
    assert "There is no client" in cli("id-jag", "add", "no-such-client", *there, code=1).err


async def test_the_commands_of_the_document(cli: Cli) -> None:
    """docs/enterprise-authorization.md, with other names. Both servers are one here."""
    text = (Path(__file__).parents[2] / "docs" / "enterprise-authorization.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^\$ idp (.*)$", text, re.MULTILINE)
    values = {
        "agent": secrets.token_hex(8),
        "agent-at-notes": secrets.token_hex(8),
        "https://id.example.com": f"https://{secrets.token_hex(6)}.example",
        "https://login.notes.example": f"https://{secrets.token_hex(6)}.example",
        "https://notes.example/mcp": f"https://{secrets.token_hex(6)}.example/mcp",
    }
    for command in commands:
        words = (values.get(word, word) for word in shlex.split(command))
        cli(*words, IDP_JWT_BEARER="true", IDP_TOKEN_EXCHANGE="true")
    assert len(commands) == 5
