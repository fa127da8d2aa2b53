"""The commands of docs/registration.md."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from idp.infra.db.engine import execute
from tests.cli.conftest import Cli, cli
from tests.oauth.clients.dynamic.conftest import Registrar

__all__ = ["cli"]

DOCUMENT = Path(__file__).parents[4] / "docs" / "registration.md"


async def run(registrar: Registrar, words: list[str], replaced: dict[str, str]) -> Any:
    """Do what curl does. Not every machine has it."""
    for name, value in replaced.items():
        words = [word.replace(name, value) for word in words]
    options = dict(zip(words[2::2], words[3::2], strict=True)) if len(words) % 2 == 0 else {}
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    method = options.get("-X", "POST" if "-d" in options else "GET")
    assert {"-H", "-X", "-d"} >= options.keys()
    url = words[1].replace("https://id.example.com", registrar.issuer)
    return await registrar.http.request(method, url, headers=headers, content=options.get("-d"))


async def test_the_commands(registrar: Registrar, cli: Cli) -> None:
    commands = [
        shlex.split(text.replace("\\\n", " "))
        for text in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    ]
    create, register, read, change, delete, certification = commands
    assert create[0] == certification[0] == "idp"
    assert "--no-pkce" in certification
    made = cli(*certification[1:], "--json").json
    try:
        made = cli(*create[1:], "--json").json
        replaced = {"INITIAL_ACCESS_TOKEN": made["initial_access_token"]}
        response = await run(registrar, register, replaced)
        assert response.status_code == 201, response.text
        registered = response.json()
        assert registered["scope"] == "openid email"
        replaced = {
            "CLIENT_ID": registered["client_id"],
            "REGISTRATION_ACCESS_TOKEN": registered["registration_access_token"],
        }
        assert (await run(registrar, read, replaced)).json()["client_name"] == "Schedule"
        changed = (await run(registrar, change, replaced)).json()
        assert changed["redirect_uris"] == json.loads(change[-1])["redirect_uris"]
        replaced["REGISTRATION_ACCESS_TOKEN"] = changed["registration_access_token"]
        assert (await run(registrar, delete, replaced)).status_code == 204
    finally:
        await execute("DELETE FROM initial_access_token")
