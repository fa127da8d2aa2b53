"""The route table: which path leads to which handler."""

from typing import Any
from uuid import UUID

import pytest
from litestar import get, post
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import HTTPRouteHandler

from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.routes import Routes

ID = "0190a0a0-0000-7000-8000-000000000000"


async def _answer(request: object, **parameters: object) -> None: ...


def _get(*paths: str, **opt: Any) -> HTTPRouteHandler:
    return get(list(paths), opt={"access": Access.PUBLIC} | opt)(_answer)


def _post(*paths: str, **opt: Any) -> HTTPRouteHandler:
    return post(list(paths), opt={"access": Access.PUBLIC} | opt)(_answer)


TABLE = Routes(
    [
        _get("/"),
        _get("/login"),
        _get("/login/{flow_id:str}"),
        _get("/login/{flow_id:str}/{step:str}"),
        _post("/login/{flow_id:str}/{step:str}"),
        _get("/login/{flow_id:str}/forgot"),
        _get("/keys/{key_id:uuid}"),
        _get("/static/{name:path}"),
        _get("/a", "/b"),
    ]
)


@pytest.mark.parametrize(
    ("path", "template", "parameters"),
    [
        ("/", "/", {}),
        ("//", "/", {}),
        ("/login", "/login", {}),
        ("/login/", "/login", {}),
        ("//login", "/login", {}),
        ("/login/x", "/login/{flow_id:str}", {"flow_id": "x"}),
        ("/login/x/", "/login/{flow_id:str}", {"flow_id": "x"}),
        ("/login/x/y", "/login/{flow_id:str}/{step:str}", {"flow_id": "x", "step": "y"}),
        ("/login/x/forgot", "/login/{flow_id:str}/forgot", {"flow_id": "x"}),
        ("/login/{}/y", "/login/{flow_id:str}/{step:str}", {"flow_id": "{}", "step": "y"}),
        (f"/keys/{ID}", "/keys/{key_id:uuid}", {"key_id": UUID(ID)}),
        ("/static/a", "/static/{name:path}", {"name": "a"}),
        ("/static/a/b.css", "/static/{name:path}", {"name": "a/b.css"}),
        ("/a", "/a", {}),
        ("/b", "/b", {}),
    ],
)
def test_found(path: str, template: str, parameters: dict[str, Any]) -> None:
    found = TABLE.find(path)
    assert found is not None
    assert (found[0].path, found[1]) == (template, parameters)


@pytest.mark.parametrize(
    "path", ["/none", "/login/x/y/z", "/keys/none", "/keys", "/static", "/LOGIN", "/{}", "/static/{path}/..", "", "*"]
)
def test_not_found(path: str) -> None:
    found = TABLE.find(path)
    assert found is None or found[0].path in ("/", "/static/{name:path}")
    assert (found is None) == (path not in ("", "/static/{path}/.."))


def test_methods() -> None:
    found = TABLE.find("/login/x/y")
    assert found is not None
    assert found[0].handler("POST").http_methods == {"POST"}
    assert found[0].allow == "GET, HEAD, OPTIONS, POST"
    with pytest.raises(MethodNotAllowedException) as error:
        found[0].handler("PUT")
    assert error.value.headers == {"Allow": found[0].allow}


async def _without_parameters(request: object) -> None: ...


@pytest.mark.parametrize(
    "handlers",
    [
        [_get("/x"), _get("/x")],
        [_get("/x/{a:str}"), _get("/x/{b:str}")],
        [_get("/x", cors=Cors.ANY), _post("/x")],
        [get("/x/{a:str}", opt={"access": Access.PUBLIC})(_without_parameters)],
    ],
    ids=["twice", "names of parameters", "cors", "handler"],
)
def test_contradictions_do_not_start(handlers: list[HTTPRouteHandler]) -> None:
    with pytest.raises(RuntimeError):
        Routes(handlers)
