"""`idp issuers`."""

import json
import re
import secrets
import shlex
from pathlib import Path

from idp.cli import issuers
from idp.oauth.issuers.models import Purpose, SubjectSource
from tests.cli.conftest import Cli
from tests.support.assertions import ClientKeys


def test_the_choices_are_those_of_the_model() -> None:
    """They are repeated, so that `--help` stays fast."""
    assert tuple(Purpose) == issuers.PURPOSES
    assert tuple(SubjectSource) == issuers.SUBJECTS


async def test_issuers_are_added_changed_listed_and_removed(cli: Cli, tmp_path: Path) -> None:
    created = json.loads(cli("clients", "create", "--name", "Wiki", "--type", "service", "--json").out)
    client_id, issuer = created["client_id"], f"https://{secrets.token_hex(6)}.example"
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(ClientKeys().jwks()))
    rule = ("--purpose", "jwt_bearer", "--client", client_id, "--scope", "orders:read", "--jwks", str(keys))
    added = json.loads(cli("issuers", "add", issuer, *rule, "--json").out)
    assert (added["issuer"], added["clients"], added["subject"]) == (issuer, [client_id], "identity")
    assert "trusted already" in cli("issuers", "add", issuer, *rule, code=1).err
    by_email = ("--subject", "email", "--email-domain", "example.com", "--create-users", "--scope", "")
    assert "create_users" in cli("issuers", "update", issuer, *by_email).out
    assert "at least one option" in cli("issuers", "update", issuer, code=2).err
    assert "Scopes of this server" in cli("issuers", "update", issuer, "--scope", "admin:users:write", code=1).err
    cli("issuers", "update", issuer, "--disable", "--max-lifetime", "60")
    (shown,) = [one for one in json.loads(cli("issuers", "list", "--json").out) if one["issuer"] == issuer]
    assert (shown["enabled"], shown["max_lifetime"], shown["scope"]) == (False, 60, "")
    assert issuer in cli("issuers", "list").out
    assert "Remove it?" in cli("issuers", "remove", issuer, input="n\n", code=1).out
    assert "no longer trusted" in cli("issuers", "remove", issuer, "--yes").out
    assert "There is no trusted issuer" in cli("issuers", "remove", issuer, "--yes", code=1).err


async def test_what_is_refused(cli: Cli) -> None:
    issuer = f"https://{secrets.token_hex(6)}.example"
    assert "value is missing" in cli("issuers", "add", issuer, code=1).err
    assert "does not exist" in cli("issuers", "add", issuer, "--purpose", "id_jag", "--client", "none", code=1).err


async def test_the_commands_of_the_document(cli: Cli) -> None:
    """docs/trusted-issuers.md, with other names."""
    text = (Path(__file__).parents[2] / "docs" / "trusted-issuers.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^\$ idp (.*)$", text, re.MULTILINE)
    values = {"wiki": secrets.token_hex(8), "https://idp.example.org": f"https://{secrets.token_hex(6)}.example"}
    for command in commands:
        cli(*(values.get(word, word) for word in shlex.split(command)), IDP_JWT_BEARER="true")
    assert len(commands) == 5
