"""The strength of a password while it is typed."""

import asyncio
import contextlib
from collections.abc import Callable

import httpx
import pytest

from idp.errors import TooManyRequestsError
from idp.infra import rate_limits
from idp.infra.db.engine import execute
from idp.infra.networks import subjects
from idp.signin import limits
from tests.support.server import Server

PATH = "/password/strength"


def _ask(server: Server, password: str, *, origin: str = "", language: str = "en", **known: str) -> httpx.Response:
    headers = {"origin": origin or server.issuer, "accept-language": language}
    return httpx.post(server.issuer + PATH, data={"password": password, **known}, headers=headers)


@pytest.fixture(autouse=True)
def _db(db: str) -> None:
    pass


def test_a_strong_password(server: Server) -> None:
    answer = _ask(server, "seven tired otters nap")
    assert answer.json() == {"score": 4, "accepted": True, "text": "This password is strong."}
    assert answer.headers["cache-control"] == "no-store"


def test_a_weak_password(server: Server) -> None:
    found = _ask(server, "password1").json()
    assert not found["accepted"]
    assert "very common" in found["text"]


def test_the_language_of_the_browser(server: Server) -> None:
    assert _ask(server, "password1", language="de").json()["text"].startswith("Das Passwort")


def test_what_is_known_of_the_user(server: Server) -> None:
    password = "quizzenberry"
    assert _ask(server, password).json()["accepted"]
    assert not _ask(server, password, username=f"{password}@example.com").json()["accepted"]


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_length_that_is_not_allowed(server: Server, password: str) -> None:
    assert _ask(server, password).json()["score"] == 0


def test_another_site_may_not_ask(server: Server) -> None:
    assert _ask(server, "seven tired otters nap", origin="https://evil.example").status_code == 400


async def test_there_is_a_limit(start_server: Callable[..., Server]) -> None:
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true")
    host, _ = subjects("127.0.0.1")
    with contextlib.suppress(TooManyRequestsError):
        for _ in range(limits.STRENGTHS_OF_HOST.burst + 60):
            await rate_limits.spend((limits.STRENGTHS_OF_HOST, host))
    refused = await asyncio.to_thread(_ask, server, "seven tired otters nap")
    assert refused.status_code == 429
    await execute("DELETE FROM throttle")
