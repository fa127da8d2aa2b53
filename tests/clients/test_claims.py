"""Groups as other programs read them, by the settings of docs/claims.md."""

import asyncio
import base64
import configparser
import json
import secrets
import socket
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from idp.accounts.tables import User
from idp.directory import groups
from idp.directory.errors import NameTakenError
from idp.directory.models import Group
from idp.directory.names import key
from idp.directory.repository.groups import group_by_name
from tests.clients.conftest import HERE, TIMEOUT_SECONDS, need, sign_in
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, Cookies, open_browser
from tests.support.server import Server
from tests.support.tokens import claims_of

PAGE = (HERE.parents[1] / "docs" / "claims.md").read_text()
GO = HERE / "go" / "bin"


def block(language: str) -> str:
    """Return the only block of the page in a language."""
    (text,) = [part.partition("```")[0] for part in PAGE.split(f"```{language}\n")[1:]]
    return text


async def named(name: str) -> Group:
    """Return the group of the page with this name."""
    try:
        return await groups.create(name)
    except NameTakenError:
        found = await group_by_name(key(name))
        assert found is not None
        return found


async def member(make_user: MakeUser, *names: str) -> User:
    user = await make_user(name="Ada", email_verified=True)
    for name in names:
        await groups.add_members((await named(name)).id, [user.id])
    return user


GRAFANA = {
    "an admin": (("grafana-admins", "grafana-editors"), "Admin"),
    "an editor": (("staff", "grafana-editors"), "Editor"),
    "somebody else": (("staff",), "Viewer"),
    "without groups": ((), "Viewer"),
}


@pytest.mark.parametrize(("names", "role"), GRAFANA.values(), ids=GRAFANA.keys())
async def test_grafana(
    browser: Browser, make_client: MakeClient, make_user: MakeUser, names: tuple[str, ...], role: str
) -> None:
    """Its expressions on the ID token and on the response of userinfo. It fails on claims that are missing."""
    jmespath = pytest.importorskip("jmespath")
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block("ini"))
    config = parser["auth.generic_oauth"]
    client = await make_client(scope=config["scopes"])
    user = await member(make_user, *names)
    tokens = await client.tokens(browser, user.email)
    for claims in (claims_of(tokens["id_token"]), (await client.userinfo(tokens["access_token"])).json()):
        assert jmespath.search(config["role_attribute_path"], claims) == role
        assert sorted(jmespath.search(config["groups_attribute_path"], claims)) == sorted(names)
    narrow = (await client.userinfo((await client.tokens(browser, user.email, scope="openid"))["access_token"])).json()
    with pytest.raises(jmespath.exceptions.JMESPathTypeError):
        jmespath.search(config["role_attribute_path"], narrow)


@asynccontextmanager
async def oauth2_proxy(folder: Path, **changes: Any) -> AsyncIterator[str]:
    """Run oauth2-proxy with the configuration of the page, in front of a page of its own. Yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tomllib.loads(block("toml")) | {
        "http_address": address,
        "redirect_url": f"http://{address}/oauth2/callback",
        "cookie_secret": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "cookie_secure": False,
        "upstreams": ["static://200"],
        **changes,
    }
    # Strings, lists and booleans are in TOML as they are in JSON.
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in config.items()]
    (folder / "oauth2-proxy.cfg").write_text("".join(lines))
    log = folder / "log"
    with log.open("w") as out:
        process = await asyncio.create_subprocess_exec(
            GO / "oauth2-proxy", "--config", folder / "oauth2-proxy.cfg", stdout=out, stderr=out
        )
    try:
        await _until_ready(f"http://{address}/ready", process, log)
        yield f"http://{address}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_ready(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS), httpx.AsyncClient() as http:
        while True:
            assert process.returncode is None, log.read_text()
            try:
                if (await http.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def test_oauth2_proxy(server: Server, make_client: MakeClient, make_user: MakeUser, tmp_path: Path) -> None:
    """A member of the allowed group gets through, and nobody else."""
    need(GO)
    client = await make_client(scope="openid email groups", redirect_uris=["http://127.0.0.1/oauth2/callback"],
                               application_type="native")  # fmt: skip
    given = {"oidc_issuer_url": server.issuer, "client_id": client.client_id, "client_secret": client.client_secret}
    async with oauth2_proxy(tmp_path, **given) as url:
        for names, status in ((("staff",), 200), (("grafana-admins",), 403), ((), 403)):
            user = await member(make_user, *names)
            async with open_browser(server.issuer) as browser, httpx.AsyncClient(auth=Cookies()) as http:
                begun = await http.get(f"{url}/oauth2/start?rd=/")
                answer = await http.get(await sign_in(browser, begun.headers["location"], user.email))
                if status == 200:
                    assert answer.status_code == 302, answer.text
                    answer = await http.get(urljoin(url, answer.headers["location"]))
                assert answer.status_code == status, (names, answer.text)
