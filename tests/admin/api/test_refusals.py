"""The log line of each refused request says why, without what was sent."""

import asyncio
import json
import secrets
from typing import Any

import pytest

from idp import clock
from idp.infra.db.engine import fetch
from idp.keys import jose
from idp.keys.key_set import key_set
from tests.admin.api.conftest import Caller
from tests.support.oauth import RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of
from tests.support.traces import recorded

_NOBODY = "00000000-0000-7000-8000-000000000000"
_BODY = {"name": "canary group"}

#: Method, path, body and headers, with the status, and the error and the hint of the log line.
REFUSED = [
    ("GET", "/users?sort=canary", None, {}, 400, "invalid_query", "This cannot be done."),
    ("GET", "/users", None, {"Authorization": "Bearer canary"}, 401, "invalid_token", "The access token"),
    ("GET", "/users/canary", None, {}, 404, "not_found", "Not Found."),
    ("GET", f"/users/{_NOBODY}", None, {}, 404, "not_found", "Not Found."),
    ("POST", "/groups", _BODY | {"name": ""}, {}, 422, "invalid", "This cannot be done."),
    ("POST", "/groups", {"canary": 1}, {}, 422, "invalid_body", "Unprocessable Entity."),
    ("POST", "/groups", _BODY, {"Idempotency-Key": "x" * 1000}, 400, "invalid_key", "Bad Request."),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "error", "hint"),
    REFUSED,
    ids=[f"{status} {path}" for _, path, _, _, status, _, _ in REFUSED],
)
async def test_the_log_says_why(
    server: Server,
    owner: Caller,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
    error: str,
    hint: str,
) -> None:
    answer = await owner(method, path, body, **{name.replace("-", "_"): value for name, value in headers.items()})
    assert answer.status_code == status, answer.text
    line = await _line(server, answer.headers["x-request-id"])
    assert error in line["error"], line
    assert hint in line["hint"], line
    assert "canary" not in json.dumps(line)


async def test_an_expired_token_says_so(owner: Caller) -> None:
    """RFC 6750 section 3.1. One with another signature is only not valid."""
    await key_set.load()
    expired = claims_of(owner.token) | {"exp": clock.timestamp() - 3600}
    for key, said in (
        (key_set.signing("RS256"), "The access token has expired."),
        (jose.generate("RS256"), "The access token is not valid."),
    ):
        answer = await owner("GET", "/users", Authorization=f"Bearer {jose.sign(key, 'at+jwt', expired)}")
        assert answer.status_code == 401
        assert answer.json()["detail"] == said
        assert f'error_description="{said}"' in answer.headers["www-authenticate"]


async def test_a_token_for_another_resource_says_what_to_request(server: Server, owner: Caller) -> None:
    await owner.authenticate(resource="")
    answer = await owner("GET", "/users")
    assert answer.status_code == 401
    said = f"The access token is not for {server.issuer}/admin/api. Request one with this resource."
    assert answer.json()["detail"] == said
    assert f'error_description="{said}"' in answer.headers["www-authenticate"]


async def test_the_flow_recorder_leaves_them_out(owner: Caller, client: RelyingParty) -> None:
    """A program that asks whether something exists must not use up the limit of refused sign-ins."""
    missing = await owner("GET", f"/users/{_NOBODY}")
    # Requests are written in the order in which they ended.
    later = await client.post("/token", grant_type="authorization_code", code="x")
    assert (missing.status_code, later.status_code) == (404, 400)
    await recorded(later.headers["x-request-id"])
    assert not await fetch("SELECT FROM trace WHERE request_id = $1", missing.headers["x-request-id"])


async def test_the_log_names_the_client(server: Server, owner: Caller) -> None:
    answer = await owner("POST", "/groups", {"name": secrets.token_hex(200)})
    line = await _line(server, answer.headers["x-request-id"])
    assert line["client_id"] == owner.client_id


async def _line(server: Server, request_id: str) -> dict[str, Any]:
    """Return the log line of a request. The server writes it after the response."""
    async with asyncio.timeout(30):
        while True:
            for text in server.log.splitlines():
                line = json.loads(text) if request_id in text else {}
                if line.get("event") == "request":
                    return dict(line)
            await asyncio.sleep(0.02)
