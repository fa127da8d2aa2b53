"""The commands of docs/ciba.md."""

import re
import shlex
from pathlib import Path
from typing import Any

import httpx

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from tests.cli.conftest import Cli, cli
from tests.conftest import until_known
from tests.support.browser import Browser
from tests.support.ciba import decide, page_path
from tests.support.conformance import check_json_error
from tests.support.mailbox import Mailbox
from tests.support.oauth import RelyingParty
from tests.support.server import Server

__all__ = ["cli"]

DOCUMENT = Path(__file__).parents[3] / "docs" / "ciba.md"


async def run(http: httpx.AsyncClient, words: list[str], replaced: dict[str, str]) -> httpx.Response:
    """Do what curl does. Not every machine has it."""
    for name, value in replaced.items():
        words = [word.replace(name, value) for word in words]
    assert words[0] == "curl"
    options = list(zip(words[2::2], words[3::2], strict=True))
    (user,) = [value for option, value in options if option == "-u"]
    data: dict[str, Any] = dict(value.split("=", 1) for option, value in options if option == "-d")
    assert {option for option, _ in options} == {"-u", "-d"}
    client_id, _, secret = user.partition(":")
    return await http.post(words[1], data=data, auth=httpx.BasicAuth(client_id, secret))


async def test_the_commands(
    server: Server, http: httpx.AsyncClient, browser: Browser, mailbox: Mailbox, alice: User, cli: Cli
) -> None:
    create, ask, poll, ping = (
        shlex.split(text.replace("\\\n", " "))
        for text in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    )
    assert create[0] == ping[0] == "idp"
    try:
        made = cli(*create[1:], "--json", IDP_CIBA="true").json
        secret = made["client_secret"]
        await until_known(RelyingParty(server.issuer, http, "call-centre", secret))
        replaced = {
            "https://id.example.com": server.issuer,
            "SECRET": secret,
            "ada@example.com": alice.email,
        }
        answer = await run(http, ask, replaced)
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"auth_req_id", "expires_in", "interval"}
        replaced["AUTH_REQ_ID"] = answer.json()["auth_req_id"]
        check_json_error(await run(http, poll, replaced), 400, "authorization_pending")
        await decide(browser, page_path(await mailbox.next(alice.email)), alice.email)
        assert (await run(http, poll, replaced)).json()["scope"] == "openid email"
        cli(*ping[1:], IDP_CIBA="true")
    finally:
        await execute("DELETE FROM client WHERE client_id = 'call-centre'")
