"""The route that decides for the test suite of the OpenID Foundation."""

import ast
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import idp
from idp.accounts.tables import User
from tests.conftest import MakeClient
from tests.support.ciba import CIBA, asked, poll
from tests.support.conformance import check_json_error
from tests.support.server import Server


@pytest.mark.parametrize("action", ["allow", "deny"])
async def test_it_decides(
    start_server: Callable[..., Server], make_client: MakeClient, http: httpx.AsyncClient, alice: User, action: str
) -> None:
    """As the user, who is not signed in afterwards."""
    server = start_server("--dev")
    client = await make_client(server, **CIBA)
    auth_req_id = await asked(client, alice.email)
    url = f"{server.issuer}/dev/ciba"
    for wrong in ({"token": "x", "type": action}, {"token": auth_req_id, "type": "x"}, {}):
        assert (await http.post(url, params=wrong)).status_code == 400
    response = await http.post(url, params={"token": auth_req_id, "type": action})
    assert response.json() == {"decided": action}
    answer = await poll(client, auth_req_id)
    if action == "deny":
        check_json_error(answer, 400, "access_denied")
    else:
        assert answer.status_code == 200, answer.text
    assert (await http.post(url, params={"token": auth_req_id, "type": action})).status_code == 400


async def test_it_exists_in_development_only(
    make_client: MakeClient, http: httpx.AsyncClient, server: Server, alice: User
) -> None:
    client = await make_client(**CIBA)
    auth_req_id = await asked(client, alice.email)
    response = await http.post(f"{server.issuer}/dev/ciba", params={"token": auth_req_id, "type": "allow"})
    assert response.status_code == 404
    check_json_error(await poll(client, auth_req_id), 400, "authorization_pending")


def test_nothing_but_development_imports_it() -> None:
    package = Path(idp.__file__).parent
    importing = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (
            node.module == "idp.dev.ciba" or (node.module == "idp.dev" and "ciba" in {name.name for name in node.names})
        )
    }
    assert importing == {"dev/routes.py"}
