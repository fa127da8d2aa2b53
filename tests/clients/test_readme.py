"""The README as a reader follows it: each command and each script, in order, beside `make run`."""

import asyncio
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.cli.conftest import Cli
from tests.clients.conftest import sign_in
from tests.support.browser import open_browser
from tests.support.server import Server

pytestmark = [pytest.mark.fault(33), pytest.mark.fault(37), pytest.mark.fault(46)]

README = (Path(__file__).parents[2] / "README.md").read_text()
ISSUER = "http://localhost:8000"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """Start the server of `make run` on another port."""
    folder = tmp_path_factory.mktemp("readme")
    server = Server(folder, "--dev", IDP_ISSUER="")
    server.issuer = f"http://localhost:{server.port}"
    yield server, folder
    server.stop()


def commands(beginning: str) -> list[list[str]]:
    """Return the words of each command of the README that begins like this."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL)).replace("\\\n", "")
    lines = [line.removeprefix("$ ") for line in blocks.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(beginning)]


def script(holding: str, issuer: str) -> str:
    """Return the only Python script of the README that contains a text."""
    (found,) = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if holding in code]
    return str(found).replace(ISSUER, issuer)


async def _registered(cli: Cli, server: Server, name: str) -> str:
    """Run the command that registers a client. Returns its secret, when the server knows of it."""
    (words,) = [words for words in commands(".venv/bin/idp clients create") if name in words]
    printed = (await asyncio.to_thread(cli, *words[1:])).out
    secret = printed.split()[3]
    async with httpx.AsyncClient() as http, asyncio.timeout(30):
        while (
            "unsupported"
            not in (await http.post(f"{server.issuer}/token", data={"grant_type": "x"}, auth=(name, secret))).text
        ):
            await asyncio.sleep(0.05)
    return secret


async def test_the_first_token_and_the_script_that_validates_it(dev: tuple[Server, Path]) -> None:
    server, folder = dev
    secret = await _registered(Cli(folder, {}), server, "report")
    (words,) = [words for words in commands("curl") if any("report" in word for word in words)]
    form = dict(value.split("=", 1) for option, value in itertools.pairwise(words) if option == "-d")
    url = words[2].replace(ISSUER, server.issuer)
    answer = (await asyncio.to_thread(lambda: httpx.post(url, data=form, auth=("report", secret)))).json()
    assert answer.keys() == {"access_token", "expires_in", "scope", "token_type"}
    values: dict[str, Any] = {}
    exec(script("def claims_of", server.issuer), values)
    claims = await asyncio.to_thread(values["claims_of"], answer["access_token"])
    assert (claims["sub"], claims["aud"]) == ("report", "https://api.example.com")


async def test_a_person_signs_in_to_a_web_application(dev: tuple[Server, Path]) -> None:
    server, folder = dev
    secret = await _registered(Cli(folder, {}), server, "my-app")
    password = re.findall(r"Password +(\S+)", server.log)[0]
    loop, printed = asyncio.get_running_loop(), []

    async with open_browser(server.issuer) as browser:

        async def go(url: str) -> str:
            page = await browser.get("/login")
            await browser.sign_in(page, "demo@example.com", password)  # type: ignore[arg-type]
            return await sign_in(browser, url, "")

        def typed(_prompt: str) -> str:
            return asyncio.run_coroutine_threadsafe(go(printed[0][1]), loop).result(60)

        code = script("OAuth2Client", server.issuer).replace("THE_SECRET", secret)
        values = {"print": lambda *words: printed.append(words), "input": typed}
        await asyncio.to_thread(exec, code, values)
        assert printed[1][0]["email"] == "demo@example.com"
        # The other script accepts no ID token.
        scripts: dict[str, Any] = {}
        exec(script("def claims_of", server.issuer), scripts)
        token = values["client"].token["id_token"]  # type: ignore[attr-defined]
        with pytest.raises(jwt.InvalidTokenError):
            await asyncio.to_thread(scripts["claims_of"], token)


async def test_a_resource_server_is_registered(dev: tuple[Server, Path]) -> None:
    """Beside the one that `make run` brought, whose identifier it would be refused."""
    server, folder = dev
    (words,) = commands(".venv/bin/idp resources create")
    made = await asyncio.to_thread(Cli(folder, {}), *words[1:], "--json")
    url = made.json["jwks_uri"]
    assert url == f"{server.issuer}/jwks/{made.json['jwks_id']}"
    async with httpx.AsyncClient() as http, asyncio.timeout(30):
        while (await http.get(url)).status_code != 200:
            await asyncio.sleep(0.05)
