"""Development mode: the demo client signs in like any other client, and none of it exists in production."""

import asyncio
import json
import mailbox
import sys
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from idp.dev.seed import EMAIL
from tests.support.browser import Browser, Page, open_browser
from tests.support.server import Server, clean_environment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dev")


@pytest.fixture(scope="module")
def dev(folder: Path) -> Iterator[Server]:
    """`idp serve --dev` on an embedded database of its own."""
    server = Server(folder, "--dev", IDP_DATA_DIR=str(folder / "data"), IDP_KEYS_DIR=str(folder / "keys"))
    yield server
    server.stop()


@pytest.fixture
async def visitor(dev: Server) -> AsyncIterator[Browser]:
    async with open_browser(dev.issuer) as browser:
        yield browser


def secrets_of(folder: Path) -> dict[str, str]:
    values: dict[str, str] = json.loads((folder / "data" / "demo.json").read_text())
    return values


async def sign_in(visitor: Browser, folder: Path, **query: str) -> Page:
    page = await visitor.get("/demo/login", **query)
    assert isinstance(page, Page)
    if "login-submit" in page.ids:
        answer = await visitor.sign_in(page, EMAIL, secrets_of(folder)["password"])
        assert isinstance(answer, Page)
        page = answer
    if "consent-allow" in page.ids:
        answer = await visitor.submit(page, "consent-allow")
        assert isinstance(answer, Page)
        page = answer
    assert page.path == "/demo"
    return page


async def test_the_demo_shows_verified_tokens_refreshes_and_signs_out(visitor: Browser, folder: Path) -> None:
    page = await sign_in(visitor, folder)
    assert {"demo-id-token", "demo-access-token", "demo-userinfo"} <= page.ids
    assert page.text.count("Verified") >= 2
    assert EMAIL in page.text

    refreshed = await visitor.submit(page, "demo-refresh")
    assert isinstance(refreshed, Page)
    assert '<span id="demo-refresh-count">1</span>' in refreshed.text

    out = await visitor.submit(refreshed, "demo-logout")
    assert isinstance(out, Page)
    assert "demo-login" in out.ids
    again = await visitor.get("/demo/login", prompt="none")
    assert isinstance(again, Page)
    assert "login_required" in again.text


async def test_a_response_that_it_did_not_ask_for_is_refused(visitor: Browser, dev: Server) -> None:
    page = await visitor.get("/demo/callback", code="stolen", state="made-up", iss=dev.issuer)
    assert isinstance(page, Page)
    assert "did not start that sign-in" in page.text
    assert "demo-login" in page.ids


async def test_a_response_of_another_issuer_is_refused(visitor: Browser, dev: Server) -> None:
    """The mix-up that RFC 9207 is about, seen from the client's side."""
    response = await visitor.client.get(f"{dev.issuer}/demo/login")
    state = parse_qs(urlsplit(response.headers["location"]).query)["state"][0]
    page = await visitor.get("/demo/callback", code="a-code", state=state, iss="https://elsewhere.example.com")
    assert isinstance(page, Page)
    assert "another issuer" in page.text


async def test_forms_of_the_demo_need_their_token(visitor: Browser, folder: Path) -> None:
    await sign_in(visitor, folder)
    page = await visitor.post("/demo/refresh", {"csrf_token": "guessed"})
    assert isinstance(page, Page)
    assert page.status == 400


async def test_the_start_page_and_the_banner_tell_how_to_sign_in(visitor: Browser, dev: Server, folder: Path) -> None:
    page = await visitor.get("/")
    assert isinstance(page, Page)
    for text in (EMAIL, secrets_of(folder)["password"], f"{dev.issuer}/.well-known/openid-configuration"):
        assert text in page.text
    assert secrets_of(folder)["password"] in dev.log
    assert (folder / "data" / "demo.json").stat().st_mode & 0o077 == 0


async def test_the_printed_command_gets_a_token(dev: Server, folder: Path) -> None:
    command = next(line for line in dev.log.splitlines() if line.strip().startswith("curl ")).split()
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert json.loads(output)["token_type"] == "Bearer"


async def _run_idp(dev: Server, folder: Path, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "idp",
        *arguments,
        cwd=folder,
        env=clean_environment()
        | {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "IDP_DATA_DIR": str(folder / "data"),
            "IDP_KEYS_DIR": str(folder / "keys"),
            "IDP_ISSUER": dev.issuer,
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


async def test_mail_of_a_command_is_captured_and_shown(visitor: Browser, dev: Server, folder: Path) -> None:
    await _run_idp(dev, folder, "users", "create", "new@example.com", "--name", "New <b>Person</b>", "--generate")
    page = await visitor.get("/dev/mail")
    assert isinstance(page, Page)
    assert "new@example.com" in page.text
    path = page.text.partition('href="/dev/mail/')[2].partition('"')[0]
    message = await visitor.get(f"/dev/mail/{path}")
    assert isinstance(message, Page)
    assert "<b>Person</b>" not in message.text
    raw = await visitor.get(f"/dev/mail/{path}/raw")
    assert isinstance(raw, Page)
    assert raw.response.headers["content-type"].startswith("text/plain")


async def test_a_hostile_message_is_only_text(visitor: Browser, folder: Path) -> None:

    message = EmailMessage()
    message["To"], message["Subject"], message["Date"] = "a@b.example", "<script>x</script>", "not a date"
    message.set_content("<img src=x onerror=y>")
    mailbox.Maildir(folder / "data" / "mail").add(message)
    page = await visitor.get("/dev/mail")
    assert isinstance(page, Page)
    assert page.status == 200
    assert "<script>x" not in page.text


@pytest.mark.parametrize("path", ["/dev/mail/nothing", "/dev/mail/..%2f..%2fdemo.json", "/dev/mail/%00"])
async def test_a_message_is_looked_up_and_never_a_path(visitor: Browser, path: str) -> None:
    page = await visitor.get(path)
    assert isinstance(page, Page)
    assert page.status in (400, 404)


@pytest.mark.parametrize("path", ["/demo", "/demo/login", "/demo/callback", "/dev/mail"])
async def test_none_of_it_exists_in_production(server: Server, http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(f"{server.issuer}{path}")).status_code == 404
