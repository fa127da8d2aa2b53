"""The router applies the same guards to every route of an access, whatever the spelling of the request."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from litestar import Request, Response, get, post, route
from litestar.datastructures import Cookie
from litestar.response import Stream

from idp.errors import OverloadedError
from idp.http import cors
from idp.http.access import Access
from idp.http.body import MAX_BODY_BYTES
from idp.http.cors import Cors
from idp.http.responses import BytesResponse, json
from idp.http.routes import canonical
from idp.infra.db.engine import fetchrow
from idp.infra.db.readiness import WITHOUT_DATABASE, readiness
from idp.infra.i18n import locale
from idp.settings import settings
from tests.conftest import MakeClient
from tests.support.routes import Route, application, router, routes
from tests.support.server import Server

AnyRequest = Request[Any, Any, Any]
FOREIGN = "https://elsewhere.example"


def web(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url=settings().origin)


@pytest.fixture
def without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "joined", False)


def opt(route: Route) -> dict[str, Any]:
    """Return the ``opt`` of a route."""
    found = application().routes.find(route.url())
    assert found is not None
    return dict(found[0].handlers[route.method].opt)


def spellings(route: Route) -> list[str]:
    """The ways to write the URL of a route."""
    path, origin = route.url(), settings().origin
    return [f"{origin}{path}", f"{origin}/{path}/"] if path != "/" else [f"{origin}/"]


def every(wanted: Callable[[Route], bool] = lambda _: True) -> pytest.MarkDecorator:
    """Runs a test for every route of the application that is wanted."""
    return pytest.mark.parametrize("route", [route for route in routes() if wanted(route)], ids=str)


@every(lambda route: route.access == Access.PAGE and route.method != "GET")
async def test_a_form_of_another_site(route: Route) -> None:
    """A PAGE refuses it before anything else."""
    async with web(application()) as client:
        for path in spellings(route):
            for headers in ({"Origin": FOREIGN}, {"Origin": "null"}, {}):
                answer = await client.request(route.method, path, headers=headers)
                assert answer.status_code == 400
                assert "another site" in answer.text


@every(lambda route: "without_database" not in opt(route))
@pytest.mark.usefixtures("without_database")
async def test_without_a_database(route: Route) -> None:
    async with web(application()) as client:
        for path in spellings(route):
            answer = await client.request(route.method, path, headers={"Origin": settings().origin})
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0


@every(lambda route: route.method != "GET")
@pytest.mark.usefixtures("without_database")
async def test_a_body_that_is_too_long(route: Route) -> None:
    """It is refused before anything is looked up. Without credentials no route accepts more than others."""
    async with web(application()) as client:
        for path in spellings(route):
            answer = await client.request(
                route.method, path, content=b"x" * (MAX_BODY_BYTES + 1), headers={"Origin": settings().origin}
            )
            assert answer.status_code == 413


@every()
@pytest.mark.usefixtures("without_database")
async def test_other_origins(route: Route) -> None:
    """They may read what the route declares, also after an error."""
    declared = opt(route).get("cors")
    assert declared is None or route.access not in (Access.PAGE, Access.ENTRY)
    preflight = {"Access-Control-Request-Method": route.method}
    async with web(application()) as client:
        for path in spellings(route):
            for answer in (
                await client.request(route.method, path, headers={"Origin": FOREIGN}),
                await client.options(path, headers={"Origin": FOREIGN} | preflight),
            ):
                allowed = "*" if declared in (Cors.DOCUMENT, Cors.ANY) else None
                assert answer.headers.get("access-control-allow-origin") == allowed
                assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("access", Access)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_checks_of_each_access(access: Access, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a route that does nothing: the guards are those of the declaration, and no other."""

    @route("/a/{name:str}", http_method=["GET", "POST"], opt={"access": access}, status_code=200)
    async def handler(request: AnyRequest, name: str) -> BytesResponse:
        return json(name)

    async with web(router([handler])) as client:
        for origin, status in ((settings().origin, 200), (FOREIGN, 400), (None, 400)):
            expected = status if access == Access.PAGE and method == "POST" else 200
            answer = await client.request(method, "/a/x", headers={"Origin": origin} if origin else {})
            assert answer.status_code == expected
        own = {"Origin": settings().origin}
        too_long = await client.request(method, "/a/x", content=b"x" * (MAX_BODY_BYTES + 1), headers=own)
        assert too_long.status_code == (413 if method == "POST" else 200)
        monkeypatch.setattr(readiness, "joined", False)
        assert (await client.request(method, "/a/x", headers=own)).status_code == 503


async def test_without_database_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    @get("/x", opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
    async def handler(request: AnyRequest) -> BytesResponse:
        return json(1)

    monkeypatch.setattr(readiness, "joined", False)
    async with web(router([handler])) as client:
        assert (await client.get("/x")).status_code == 200


@pytest.mark.parametrize("declared", Cors)
async def test_the_headers_of_each_cors(declared: Cors) -> None:
    @route("/x", http_method=["GET", "POST"], opt={"access": Access.CLIENT, "cors": declared})
    async def fails(request: AnyRequest) -> BytesResponse:
        raise OverloadedError

    own, preflight = "https://client.example", {"Access-Control-Request-Method": "POST"}
    async with web(router([fails], is_client_origin=lambda origin: origin == own)) as client:
        for origin in (own, FOREIGN):
            answer = await client.get("/x", headers={"Origin": origin})
            assert answer.status_code == 503
            everybody = "*" if declared in (Cors.DOCUMENT, Cors.ANY) else None
            assert answer.headers.get("access-control-allow-origin") == (own if origin == own else everybody)
            credentials = "true" if origin == own and declared != Cors.CLIENT else None
            assert answer.headers.get("access-control-allow-credentials") == credentials
            assert answer.headers["vary"] == "Origin"
            asked = await client.options("/x", headers={"Origin": origin} | preflight)
            assert asked.status_code == 204
            assert ("access-control-allow-methods" in asked.headers) == (origin == own or everybody is not None)
            if declared != Cors.DOCUMENT and "access-control-allow-methods" in asked.headers:
                assert asked.headers["access-control-allow-headers"] == cors.ALLOWED_HEADERS


@pytest.mark.parametrize("path", ["//token", "/token/", "/token//"])
async def test_another_spelling(make_client: MakeClient, path: str) -> None:
    client = await make_client(grant_types=["client_credentials"], redirect_uris=[])
    answer = await client.post(path, grant_type="client_credentials")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json()["access_token"]


async def test_a_method_without_a_handler(server: Server, http: httpx.AsyncClient) -> None:
    answer = await http.get(f"{server.url}/token")
    assert (answer.status_code, sorted(answer.headers["allow"].split(", "))) == (405, ["OPTIONS", "POST"])


async def test_options_without_a_preflight(server: Server, http: httpx.AsyncClient) -> None:
    for path, allowed in (("/login", "GET, HEAD, OPTIONS"), ("/token", "OPTIONS, POST")):
        answer = await http.options(f"{server.url}{path}")
        assert (answer.status_code, answer.headers["allow"]) == (204, allowed)


async def test_a_body_that_is_too_large(server: Server, http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.post(f"{server.url}/token", content=b"a" * 66 * 1024, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")


async def test_an_unexpected_error_reveals_nothing() -> None:
    @get("/x", opt={"access": Access.PUBLIC})
    async def fails(request: AnyRequest) -> BytesResponse:
        raise ZeroDivisionError("a secret")

    @get("/y", opt={"access": Access.PUBLIC})
    async def works(request: AnyRequest) -> BytesResponse:
        return json({"a": 1})

    async with web(router([fails, works])) as client:
        answer = await client.get("/x")
        assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
        assert "secret" not in answer.text
        assert (await client.get("/y")).json() == {"a": 1}


async def test_each_request_has_its_own_state() -> None:
    @get("/x", opt={"access": Access.PUBLIC})
    async def tells(request: AnyRequest) -> BytesResponse:
        return json([request.cookies, request.headers["x-a"], dict(request.query_params), request.method])

    async with web(router([tells])) as client:
        answer = await client.get("/x?q=1", headers={"Cookie": "c=2", "X-A": "3"})
        assert answer.json() == [{"c": "2"}, "3", {"q": "1"}, "GET"]


async def test_errors_are_in_the_language_asked_for() -> None:
    @get("/x", opt={"access": Access.PUBLIC})
    async def overloaded(request: AnyRequest) -> BytesResponse:
        raise OverloadedError

    async with web(router([overloaded])) as client:
        found = {
            (await client.get("/x", headers={"Accept-Language": tag})).json()["error_description"]
            for tag in ("en", "de")
        }
        assert len(found) == 2


async def test_a_route_may_have_one_language() -> None:
    @get("/x", opt={"access": Access.PUBLIC, "language": "en"})
    async def tells(request: AnyRequest) -> BytesResponse:
        return json(locale.get())

    async with web(router([tells])) as client:
        assert (await client.get("/x", headers={"Accept-Language": "de"})).json() == "en"


async def test_a_response_keeps_its_own_headers() -> None:
    @post("/x", opt={"access": Access.PUBLIC})
    async def handler(request: AnyRequest) -> Response[bytes]:
        headers = {"Content-Security-Policy": "default-src 'self'", "X-A": "1"}
        return Response(b"x", media_type="text/plain", headers=headers, cookies=[Cookie("c", value="1")])

    async with web(router([handler])) as client:
        answer = await client.post("/x")
        assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]
        assert (answer.headers["x-a"], answer.headers["x-frame-options"]) == ("1", "DENY")
        assert answer.headers["content-length"] == "1"
        assert answer.cookies["c"] == "1"


@pytest.mark.parametrize("status", [None, 303])
async def test_a_response_without_a_body(status: int | None) -> None:
    """It has its headers and cookies, and no type of a body."""

    @post("/x", opt={"access": Access.PUBLIC}, status_code=202)
    async def handler(request: AnyRequest) -> Response[bytes]:
        headers = {"Location": "/y", "Content-Type": "text/plain"}
        return Response(b"", status_code=status, headers=headers, cookies=[Cookie("c", value="1")])

    async with web(router([handler])) as client:
        answer = await client.post("/x")
        assert (answer.status_code, answer.content) == (status or 202, b"")
        assert (answer.headers["location"], answer.headers["content-length"]) == ("/y", "0")
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.cookies["c"] == "1"
        assert "content-type" not in answer.headers


async def test_a_stream() -> None:
    async def chunks() -> AsyncIterator[str]:
        for chunk in ("a", "b", "c"):
            yield chunk

    @get("/x", opt={"access": Access.PUBLIC})
    async def handler(request: AnyRequest) -> Response[Any]:
        return Stream(chunks(), media_type="text/csv", headers={"Cache-Control": "no-store"})

    async with web(router([handler])) as client:
        answer = await client.get("/x")
        assert (answer.text, answer.headers["content-type"]) == ("abc", "text/csv; charset=utf-8")
        assert (answer.headers["cache-control"], answer.headers["x-frame-options"]) == ("no-store", "DENY")
        head = await client.head("/x")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == "text/csv; charset=utf-8"


async def test_requests_share_nothing_that_was_parsed() -> None:
    """A server may give each request the same ``state``, as the lifespan protocol of ASGI has it."""

    @get("/x", opt={"access": Access.PUBLIC})
    async def tells(request: AnyRequest) -> BytesResponse:
        return json([request.cookies, request.headers.get("x-a"), dict(request.query_params)])

    app, shared = router([tells]), dict[str, Any]()

    async def with_shared_state(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"state": shared}, receive, send)

    async with web(with_shared_state) as client:
        first = await client.get("/x?q=1", headers={"Cookie": "c=1", "X-A": "1"})
        second = await client.get("/x")
    assert first.json() == [{"c": "1"}, "1", {"q": "1"}]
    assert second.json() == [{}, None, {}]
    assert shared == {}


@pytest.mark.parametrize(
    ("path", "one"), [("/", "/"), ("/a", "/a"), ("/a/", "/a"), ("//a//b", "/a/b"), ("//", "/"), ("/a/b", "/a/b")]
)
def test_paths_have_one_spelling(path: str, one: str) -> None:
    assert canonical(path) == one


async def test_a_place_to_return_to_is_no_other_host(make_client: MakeClient, server: Server) -> None:
    """`//admin/users` would be the path `/users` of the host `admin`."""
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{server.issuer}//admin/users")
        assert response.status_code == 303
    row = await fetchrow("SELECT return_to FROM signin_flow ORDER BY created_at DESC LIMIT 1")
    assert row is not None
    assert row["return_to"] == "/admin/users"


async def test_websockets_are_refused() -> None:
    """Without touching the state of the application."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await router([])({"type": "websocket", "path": "/token", "headers": []}, receive, send)  # type: ignore[typeddict-item,arg-type]
    assert [message["type"] for message in sent] == ["websocket.close"]
