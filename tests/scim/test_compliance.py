"""The compliance suite of the python-scim project, against the server.

It invents values by the types of the attributes. Where this server wants more, such as an address as the userName,
values of that form are given.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from tests.scim.conftest import ScimClient
from tests.support.scim2 import client, filling, tester
from tests.support.server import TLS

_VALUES: Final[Mapping[str, Callable[[], object]]] = {
    "username": lambda: f"{uuid4()}@example.com",
    "locale": lambda: "de-DE",
    "timezone": lambda: "Europe/Berlin",
    "profileurl": lambda: f"https://{uuid4()}.example/",
    "phonenumbers value": lambda: "+4930123456",
    "phonenumbers type": lambda: "work",
    "phonenumbers primary": lambda: True,
    "addresses type": lambda: "work",
    "addresses primary": lambda: True,
}


def _client(http: httpx.Client) -> Any:
    """Return the client of the suite, with the HTTP client of these tests."""
    methods = {
        "_stays_under_base_url": lambda _, endpoint: True,
        "_parse_json": lambda _, response: response.json(),
        "request": lambda _, method, url, **options: http.request(method, url, **options),
    }
    return type("Client", (client.BaseSyncSCIMClient,), methods)()


def _example(path: Any) -> object:
    binding = path.resolve()
    model = binding.target_model.__name__ if binding is not None and binding.target_model is not None else ""
    name = str(path).rpartition(":")[2].lower()
    made = _VALUES.get(f"{model} {name.rpartition('.')[2]}".lower(), _VALUES.get(name))
    return made() if made is not None else None


def _check(scim: ScimClient) -> list[Any]:
    headers = {"Authorization": f"Bearer {scim.token}"}
    with httpx.Client(base_url=scim.url, headers=headers, verify=TLS, timeout=30) as http:
        return tester.check_server(_client(http))


async def test_the_suite_finds_no_fault(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "get_random_example_value", _example)
    results = await asyncio.to_thread(_check, scim)
    wrong = [
        each
        for each in results
        if each.status in (tester.Status.DEVIATION, tester.Status.ERROR, tester.Status.CRITICAL)
    ]
    assert [f"{each.title} of {each.resource_type}: {each.reason} {each.data!r:.500}" for each in wrong] == []
    assert sum(each.status is tester.Status.SUCCESS for each in results) > 70
