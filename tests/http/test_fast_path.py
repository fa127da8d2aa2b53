"""The short way: the same answers as the long way gives, and the same errors."""

from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, get
from litestar.testing import AsyncTestClient

from idp.errors import OverloadedError
from idp.http import exception_handlers
from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.fast_path import FAST_PATH, Answer, FastPath, json
from idp.http.middleware import Middleware
from idp.settings import load
from tests.conftest import MakeClient
from tests.support.routes import application
from tests.support.server import Server

PATHS = {
    "/token", "/introspect", "/revoke", "/userinfo", "/.well-known/jwks.json", "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
}  # fmt: skip


def short_way(app: Litestar) -> FastPath:
    cors = Cors(app, lambda _: False)
    return FastPath(app, Middleware(cors, load()), cors)


def test_what_goes_the_short_way() -> None:
    handlers = short_way(application()).handlers
    assert {path for _, path in handlers} == PATHS
    assert {method for method, _ in handlers} == {"GET", "POST"}


@pytest.mark.parametrize("path", ["//token", "/token/", "/token//"])
async def test_another_spelling_goes_the_long_way(make_client: MakeClient, path: str) -> None:
    client = await make_client(grant_types=["client_credentials"], redirect_uris=[])
    answer = await client.post(path, grant_type="client_credentials")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json()["access_token"]


async def test_a_method_that_is_none_of_its_own(server: Server, http: httpx.AsyncClient) -> None:
    answer = await http.get(f"{server.url}/token")
    assert (answer.status_code, sorted(answer.headers["allow"].split(", "))) == (405, ["OPTIONS", "POST"])


async def test_a_body_that_is_too_large(server: Server, http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.post(f"{server.url}/token", content=b"a" * 66 * 1024, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")


async def test_what_nobody_expected_tells_nothing() -> None:
    @get("/x", opt={"access": Access.PUBLIC} | FAST_PATH)
    async def fails(request: Request[Any, Any, Any]) -> Answer:
        raise ZeroDivisionError("a secret")

    @get("/y", opt={"access": Access.PUBLIC} | FAST_PATH)
    async def works(request: Request[Any, Any, Any]) -> Answer:
        return json({"a": 1})

    app = Litestar(
        [fails, works], exception_handlers=exception_handlers.HANDLERS, logging_config=None, openapi_config=None
    )
    async with AsyncTestClient(short_way(app)) as client:  # type: ignore[arg-type]
        answer = await client.get("/x")
        assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
        assert "secret" not in answer.text
        assert (await client.get("/y")).json() == {"a": 1}


async def test_a_request_is_whole_for_who_asks() -> None:
    """Cookies, headers and the like are not looked at before, but are there."""

    @get("/x", opt={"access": Access.PUBLIC} | FAST_PATH)
    async def tells(request: Request[Any, Any, Any]) -> Answer:
        return json([request.cookies, request.headers["x-a"], dict(request.query_params), request.is_connected])

    app = Litestar([tells], exception_handlers=exception_handlers.HANDLERS, logging_config=None, openapi_config=None)
    async with AsyncTestClient(short_way(app)) as client:  # type: ignore[arg-type]
        answer = await client.get("/x?q=1", headers={"Cookie": "c=2", "X-A": "3"})
        assert answer.json() == [{"c": "2"}, "3", {"q": "1"}, True]


async def test_errors_are_in_the_language_asked_for() -> None:
    @get("/x", opt={"access": Access.PUBLIC} | FAST_PATH)
    async def overloaded(request: Request[Any, Any, Any]) -> Answer:
        raise OverloadedError

    app = Litestar(
        [overloaded], exception_handlers=exception_handlers.HANDLERS, logging_config=None, openapi_config=None
    )
    async with AsyncTestClient(short_way(app)) as client:  # type: ignore[arg-type]
        found = {
            (await client.get("/x", headers={"Accept-Language": tag})).json()["error_description"]
            for tag in ("en", "de")
        }
        assert len(found) == 2
