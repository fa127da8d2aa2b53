"""`idp serve --dev`, as `make run` starts it: one command that prints the next steps."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.browser import Page, open_browser
from tests.support.processes import alive, descendants
from tests.support.server import PYTHON, Server, clean_environment, free_port


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an earlier run, whose output is in ``first.log``."""
    folder = tmp_path_factory.mktemp("dev")
    server = _start(folder)
    (folder / "first.log").write_text(server.log)
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.process.wait(20) == 0
    return folder


def _start(folder: Path, port: int | None = None) -> Server:
    # Without an issuer in its settings, like `make run`.
    return Server(folder, "--dev", port=port, program=PYTHON, IDP_ISSUER="")


def _printed(server: Server, name: str) -> str:
    found = re.search(rf"^ +{name} +(\S+)$", server.log, re.MULTILINE)
    assert found is not None, server.log
    return found[1]


def _as_curl_would(command: str) -> dict[str, Any]:
    """The answer to `curl -s URL -u user:password -d name=value …`; not every machine has curl."""
    _, _, url, *rest = shlex.split(command)
    options = list(zip(rest[::2], rest[1::2], strict=True))
    user, _, password = next(value for name, value in options if name == "-u").partition(":")
    form = dict(value.split("=", 1) for name, value in options if name == "-d")
    answer: dict[str, Any] = httpx.post(url, data=form, auth=(user, password)).json()
    return answer


async def test_from_nothing_to_a_token(tmp_path: Path) -> None:
    """Its output is correct: the address, the user's password, and the next command to try."""
    server = _start(tmp_path)
    try:
        assert "idp is running." in server.log
        assert _printed(server, "Open") == f"http://localhost:{server.port}"
        async with open_browser(_printed(server, "Open")) as browser:
            page = await browser.get("/login")
            assert isinstance(page, Page)
            home = await browser.sign_in(page, _printed(server, "Sign in as"), _printed(server, "Password"))
            assert isinstance(home, Page)
            assert (home.path, home.status) == ("/", 200)
            assert "__Host-session" in browser.cookies
        (command,) = re.findall(r"^ +(curl .+)$", server.log, re.MULTILINE)
        assert _as_curl_would(command)["access_token"]
    finally:
        family = descendants(server.process.pid)
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(20) == 0
    assert alive(family) == set()


def test_the_next_time_everything_is_there(folder: Path) -> None:
    """The same person with the same password, and the same keys; Ctrl-C lost nothing."""
    first = (folder / "first.log").read_text()
    key = (folder / "keys" / "master.key").read_bytes()
    port = int(re.findall(r"http://localhost:(\d+)", first)[0])
    server = _start(folder, port)
    assert server.stop() == 0
    # Except for the link of the set-up: each start creates a new one.
    assert [re.sub(r"token=\S+", "", log) for log in (server.log,)] == [re.sub(r"token=\S+", "", first)]
    assert (folder / "keys" / "master.key").read_bytes() == key


def _command(folder: Path, *arguments: str, **settings: str) -> str:
    """Return what a command in the server's folder prints."""
    environment = clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "300"} | settings
    ended = subprocess.run(
        [sys.executable, "-m", "idp", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    return ended.stdout


@pytest.mark.fault(46)
def test_at_another_port(folder: Path) -> None:
    """The issuer follows, and so does the demo client."""
    server = _start(folder, free_port())
    try:
        assert httpx.get(f"{server.url}/.well-known/openid-configuration").json()["issuer"] == _printed(server, "Open")
        answer = httpx.get(f"{server.url}/demo/login")
        assert answer.status_code == 303
        assert httpx.get(answer.headers["location"]).status_code == 303
        # A command in the same folder prints the URL of the running server, not that of the default port.
        assert f"{_printed(server, 'Open')}/jwks/" in _command(folder, "resources", "list")
        assert "https://id.example.com/jwks/" in _command(
            folder, "resources", "list", IDP_ISSUER="https://id.example.com"
        )
        # Its mail is captured.
        invited = _command(folder, "users", "invite", "someone@example.com")
        assert f"{_printed(server, 'Open')}/invitation" in invited
        assert "No mail is sent" not in invited
        assert "someone@example.com" in _command(folder, "mail", "list")
    finally:
        assert server.stop() == 0


@pytest.mark.fault(34)
async def test_it_says_why_a_request_is_refused(folder: Path) -> None:
    """In plain words, although successes are not logged in development mode."""
    server = _start(folder, free_port())
    try:
        wrong = httpx.post(f"{server.url}/token", data={"grant_type": "client_credentials"}, auth=("demo", "wrong"))
        assert wrong.json()["error_description"] == "Client authentication failed."
        httpx.get(f"{server.url}/authorize", params={"client_id": "demo", "redirect_uri": "http://localhost/other"})
        callback = f"{_printed(server, 'Open')}/demo/callback"
        asked = {"client_id": "demo", "redirect_uri": callback, "response_type": "code", "scope": "openid"}
        assert "error=invalid_request" in httpx.get(f"{server.url}/authorize", params=asked).headers["location"]
        async with open_browser(_printed(server, "Open")) as browser:
            page = await browser.get("/login")
            assert isinstance(page, Page)
            assert isinstance(await browser.sign_in(page, _printed(server, "Sign in as"), "wrong"), Page)
    finally:
        assert server.stop() == 0
    assert "The step password of the sign-in is refused." in server.log
    assert "reason=wrong_password" in server.log
    assert "Client authentication of demo failed: wrong secret." in server.log
    assert "redirect_uri is none of those that demo registered." in server.log
    assert "code_challenge is missing: PKCE is required." in server.log


def test_secrets_are_for_their_owner_alone(folder: Path) -> None:
    for name in ("keys/master.key", "data/demo.json", "data/run", "data/postgres"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name
