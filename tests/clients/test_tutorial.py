"""docs/tutorial.md as a reader follows it: its commands and its two programs, and a browser that signs in."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import PYTHON, need, sign_in
from tests.site.reader import Reader, Values, commands_of, last
from tests.support.browser import Redirect, as_page, open_browser
from tests.support.server import Server, clean_environment, free_port

PAGE = "tutorial.md"
TEXT = (Path(__file__).parents[2] / "docs" / PAGE).read_text()
GRANIAN = str(Path(sys.executable).with_name("granian"))
SECRET = r"(?i)secret[ \t]+(\S+)"
#: Packages whose module has another name.
MODULES = {"pyjwt": "jwt"}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    need(PYTHON)
    server = Server(tmp_path, "--dev", IDP_ISSUER="")
    server.issuer = f"http://localhost:{server.port}"
    yield Reader(server, tmp_path)
    server.stop()


def _installed(package: str) -> bool:
    """Whether a package that the reader installs is there, ours or one of the libraries of the tests."""
    module = MODULES.get(package.partition("[")[0], package)
    return find_spec(module) is not None or (PYTHON / module).is_dir()


@contextmanager
def _granian(folder: Path, words: list[str], secret: str) -> Iterator[None]:
    """Run a program of the tutorial, and end it with its workers."""
    environment = clean_environment() | {"PYTHONPATH": str(PYTHON), "CLIENT_SECRET": secret}
    with (folder / "granian.log").open("ab") as log:
        process = subprocess.Popen(
            [GRANIAN, *words], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def _answers(url: str) -> None:
    """Wait until a program answers."""
    async with httpx.AsyncClient() as http, asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                await http.get(url)
                return
            await asyncio.sleep(0.05)


async def _use(issuer: str, url: str, password: str) -> None:
    """Sign in to the web app, write a note, and sign out."""
    async with httpx.AsyncClient(base_url=url) as app, open_browser(issuer) as browser:
        assert "/login" in (await app.get("/")).text
        request = (await app.get("/login")).headers["location"]
        page = await browser.get("/login")
        await browser.sign_in(as_page(page), "demo@example.com", password)
        answer = await sign_in(browser, request, "")
        assert (await app.get(answer)).headers["location"] == "/"
        assert "Notes of Dana Demo Example" in (await app.get("/")).text
        await app.post("/notes", data={"text": "<b>Buy milk</b>"})
        assert "<li>&lt;b&gt;Buy milk&lt;/b&gt;" in (await app.get("/")).text
        end = (await app.post("/logout")).headers["location"]
        left = await browser.get(end)
        if not isinstance(left, Redirect):
            left = await browser.submit(left, "logout-confirm")
        assert isinstance(left, Redirect)
        assert left.location.startswith(f"{url}/")
        assert "/login" in (await app.get("/")).text


async def _is_branded(issuer: str, url: str) -> None:
    """Wait until the running server has heard of the branding."""
    async with httpx.AsyncClient() as app, open_browser(issuer) as browser, asyncio.timeout(30):
        request = (await app.get(f"{url}/login")).headers["location"]
        while "Welcome to My notes" not in (page := as_page(await browser.get(request))).text:
            await asyncio.sleep(0.1)
        assert "/branding/styles/c-8a1c4a" in page.text


async def test_the_tutorial(reader: Reader) -> None:
    ports = {"8001": str(free_port()), "3000": str(free_port())}
    app = f"http://localhost:{ports['3000']}"
    values: Values = {**ports, "THE_SECRET": last(SECRET), "$TOKEN": last(r'"access_token":"([^"]+)"')}
    for name, code in zip(("api", "app"), re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), strict=True):
        (reader.folder / f"{name}.py").write_text(reader.filled(code, values))
    with ExitStack() as running:
        for called, *words in commands_of(PAGE):
            words = [reader.filled(word, values) for word in words]
            if called == "tutorial/bin/granian":
                secret = (re.findall(SECRET, reader.printed) or [""])[-1]
                running.enter_context(_granian(reader.folder, words, secret))
                await _answers(f"http://localhost:{words[words.index('--port') + 1]}")
            elif called == "tutorial/bin/pip":
                assert [package for package in words[1:] if not _installed(package)] == []
            elif called not in ("make", "python3"):
                if words[0] == "trace":
                    await _use(reader.server.issuer, app, re.findall(r"Password +(\S+)", reader.server.log)[0])
                await asyncio.to_thread(reader.do, called, words)
                if words[0] == "branding":
                    await _is_branded(reader.server.issuer, app)
    statuses = r"^HTTP/1.1 .*$"
    assert re.findall(statuses, reader.printed, re.MULTILINE) == re.findall(statuses, TEXT, re.MULTILINE)
    assert "sign_in" in reader.printed
