"""The start page and the banner of development mode are correct."""

import asyncio
import json
import re
import shlex
from pathlib import Path

import httpx

from idp.dev.seed import EMAIL
from tests.support.browser import Browser, Page
from tests.support.server import Server


async def test_both_show_how_to_sign_in(visitor: Browser, dev: Server, secrets_of_demo: dict[str, str]) -> None:
    page = await visitor.get("/")
    assert isinstance(page, Page)
    for place in (page.text, dev.log):
        assert dev.issuer in place
        assert EMAIL in place
        assert secrets_of_demo["password"] in place


async def test_the_endpoints_are_those_of_the_metadata(visitor: Browser, dev: Server, http: httpx.AsyncClient) -> None:
    page = await visitor.get("/")
    assert isinstance(page, Page)
    document = (await http.get(f"{dev.issuer}/.well-known/openid-configuration")).json()
    published = {url for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}
    endpoints = page.text.partition('id="endpoints"')[2].partition("</section>")[0]
    shown = set(re.findall(r"<code>([^<]+)</code>", endpoints))
    assert shown == published | {f"{dev.issuer}/.well-known/openid-configuration"}


async def test_the_printed_command_gets_a_token(dev: Server, folder: Path) -> None:
    command = next(line for line in dev.log.splitlines() if line.strip().startswith("curl "))
    process = await asyncio.create_subprocess_exec(*shlex.split(command), stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert json.loads(output)["token_type"] == "Bearer"
