"""The commands of docs/migrate-from-keycloak.md and docs/migrate-from-auth0.md, each run."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from idp.migration.keycloak.export import _PARTS
from tests.cli.conftest import Cli, OwnCli
from tests.support import auth0, keycloak
from tests.support.server import LOOPBACK, Server

DOCS = Path(__file__).parents[2] / "docs"
DOMAIN = "example.com"


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def _commands(page: str) -> list[list[str]]:
    return [shlex.split(line.removeprefix("$ ")) for block in _blocks(page, "console") for line in block.splitlines()]


def _run(cli: Cli, page: str, server: Server, **code: int) -> list[str]:
    """Run the commands of a page. Returns them.

    Args:
        code: the exit code of a subcommand, if it is not 0.
    """
    here = {"IDP_ISSUER": server.issuer} | LOOPBACK
    done = []
    for program, *words in _commands(page):
        if program == "idp":
            # The old issuer of the page is the server of this test.
            given = [server.issuer if word.startswith("https://") else word for word in words]
            cli(*given, code=code.get(words[1], 0), **here)
            done.append(words[1])
    return done


async def test_keycloak(own_cli: OwnCli, server: Server) -> None:
    cli = await own_cli()
    keycloak.write(cli.folder / "export", DOMAIN)
    old = {"sub": keycloak.ADA, "azp": "wiki", "locale": "de"}
    (cli.folder / "old.jsonl").write_text(json.dumps({"scope": "openid profile", "id_token": old}))
    done = _run(cli, "migrate-from-keycloak.md", server)
    assert done == ["keycloak"] * 4 + ["compare"] * 3
    (export,) = (command for command in _commands("migrate-from-keycloak.md") if command[0] != "idp")
    wanted = shlex.split(_PARTS.partition(": ")[2].replace("DIR", "export"))
    assert [word for word in export if word not in ("--realm", "acme")] == ["bin/kc.sh", *wanted[1:]]
    # The object that shows the form of a line is one.
    (sample,) = _blocks("migrate-from-keycloak.md", "json")
    assert json.loads(sample).keys() == {"scope", "id_token", "access_token", "userinfo"}


async def test_auth0(own_cli: OwnCli, server: Server) -> None:
    cli = await own_cli()
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed.")
    auth0.write(cli.folder, DOMAIN)
    for kind, name in (("roles", "editor"), ("organizations", "partner")):
        (cli.folder / kind).mkdir()
        (cli.folder / kind / f"{name}.json").write_text(json.dumps([{"user_id": auth0.ADA, "email": "x"}]))
    (script,) = _blocks("migrate-from-auth0.md", "sh")
    subprocess.run(["sh", "-ec", script], cwd=cli.folder, check=True, env=os.environ)
    members = (cli.folder / "memberships.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in members] == [
        {"user_id": auth0.ADA, "role": "editor"},
        {"user_id": auth0.ADA, "organization": "partner"},
    ]
    old = {"sub": auth0.ADA, "aud": auth0.CLIENT_ID, "nickname": "ada"}
    (cli.folder / "old.jsonl").write_text(json.dumps({"scope": "openid profile", "id_token": old}))
    # One of the users has a sub that cannot be kept.
    assert _run(cli, "migrate-from-auth0.md", server, auth0=1) == ["auth0"] * 3 + ["compare"] * 2
