"""Services: the console's snippets get a token that the API of its scope accepts."""

import io
import shlex
from contextlib import redirect_stdout
from typing import Any

import pytest

from tests.clients.conftest import of_client
from tests.conftest import MakeClient
from tests.support.oauth import RelyingParty

pytestmark = pytest.mark.fault(33)


@pytest.fixture
async def service(make_client: MakeClient) -> RelyingParty:
    return await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="jobs:read it's;odd")


async def test_curl(service: RelyingParty) -> None:
    """Not every machine has curl: its words are read as it reads them."""
    program, url, *rest = shlex.split((await of_client(service))["curl"])
    assert program == "curl"
    options = list(zip(rest[::2], rest[1::2], strict=True))
    ((_, credentials),) = [option for option in options if option[0] == "-u"]
    client_id, _, secret = credentials.partition(":")
    form = dict(value.split("=", 1) for name, value in options if name == "-d")
    answer = await service.http.post(url, data=form, auth=(client_id, secret))
    assert answer.json()["scope"] == service.scope


async def test_authlib(service: RelyingParty) -> None:
    values: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()):
        exec((await of_client(service))["Python: Authlib"], values)
    assert values["token"]["scope"] == service.scope
    assert (await service.introspect(values["token"]["access_token"]))["active"]
