"""Bulk jobs over the API, done by the running server."""

import asyncio
from typing import Any

import httpx
import pytest

from idp import ids
from idp.accounts.repository.users import user_by_id
from idp.admin.bulk.kinds import acts
from idp.admin.roles import Permission, Role
from idp.directory import groups
from tests.admin.api.conftest import Caller, make_caller
from tests.conftest import MakeUser
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server


async def _ended(caller: Caller, job: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (now := (await caller("GET", f"/jobs/{job['id']}")).json())["finished_at"] is None:
            await asyncio.sleep(0.05)
    return dict(now)


async def test_a_job_from_its_start_to_its_end(owner: Caller, make_user: MakeUser) -> None:
    first, second = await make_user(), await make_user()
    body = {"kind": "disable", "users": [str(first.id), second.email, "nobody@example.com"], "expected": 3}
    created = await owner("POST", "/jobs", body)
    assert created.status_code == 201, created.text
    job = created.json()
    assert created.headers["location"].endswith(f"/jobs/{job['id']}")
    assert (job["state"], job["total"], job["actor"]) == ("queued", 3, f"client:{owner.client_id}")
    ended = await _ended(owner, job)
    assert (ended["state"], ended["done"], ended["changed"], ended["failed"]) == ("finished", 3, 2, 1)
    errors = (await owner("GET", f"/jobs/{job['id']}/errors")).json()["items"]
    assert [(each["name"], each["reason"]) for each in errors] == [("nobody@example.com", "There is no such user.")]
    for user in (first, second):
        found = await user_by_id(user.id)
        assert found is not None
        assert found.disabled_at is not None
    listed = (await owner("GET", "/jobs?kind=disable&state=finished&limit=200")).json()["items"]
    assert job["id"] in [each["id"] for each in listed]
    for act in ("cancel", "resume"):
        refused = await owner("POST", f"/jobs/{job['id']}/{act}")
        assert (refused.status_code, refused.json()["detail"]) == (409, "The job has ended.")


async def test_sessions_and_tokens_end_at_once(
    owner: Caller, client: RelyingParty, make_user: MakeUser, browser: Browser
) -> None:
    user = await make_user()
    tokens = await client.tokens(browser, user.email)
    tokens = (await client.refresh(tokens["refresh_token"])).json()
    await _ended(owner, (await owner("POST", "/jobs", {"kind": "sign_out", "users": [user.email]})).json())
    refused = await client.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def test_a_filter_selects_and_a_group_is_named(owner: Caller, make_user: MakeUser) -> None:
    user = await make_user()
    group = await groups.create(f"Staff {ids.uuid7()}")
    body = {"kind": "add_to_group", "parameters": {"group_id": str(group.id)}, "filter": {"email": user.email}}
    ended = await _ended(owner, (await owner("POST", "/jobs", body)).json())
    assert (ended["changed"], ended["parameters"]) == (1, {"group_id": str(group.id)})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "promote", "users": ["a"]}, 404),
        ({"kind": "disable"}, 422),
        ({"kind": "disable", "users": ["a"], "filter": {}}, 422),
        ({"kind": "disable", "users": []}, 422),
        ({"kind": "disable", "users": ["a"], "parameters": {"group_id": "x"}}, 422),
        ({"kind": "add_to_group", "users": ["a"]}, 422),
        ({"kind": "add_to_group", "users": ["a"], "parameters": {"group_id": str(ids.uuid7())}}, 404),
        ({"kind": "disable", "filter": {"nonsense": "1"}}, 400),
        ({"kind": "disable", "filter": {"id": "1"}}, 400),
        ({"kind": "delete", "users": ["a"]}, 409),
        ({"kind": "delete", "users": ["a"], "expected": 2}, 409),
    ],
)
async def test_what_is_refused(owner: Caller, body: dict[str, Any], status: int) -> None:
    answer = await owner("POST", "/jobs", body)
    assert answer.status_code == status, answer.text
    assert (await owner("GET", f"/jobs/{ids.uuid7()}")).status_code == 404


async def test_many_users_fit_into_a_request(owner: Caller) -> None:
    answer = await owner("POST", "/jobs", {"kind": "enable", "users": [f"{n}@nowhere.example" for n in range(20_000)]})
    assert (answer.status_code, answer.json()["total"]) == (201, 20_000), answer.text
    assert (await owner("POST", f"/jobs/{answer.json()['id']}/cancel")).json()["state"] == "cancelled"
    assert (await owner("POST", "/jobs", {"kind": "enable", "users": ["x" * 1024 * 1024]})).status_code == 413


async def test_a_large_body_is_read_from_those_who_may_send_it(owner: Caller) -> None:
    body = {"kind": "disable", "users": ["nobody"] * 20_000}
    await owner.authenticate(scope=Permission.KEYS_READ)
    assert (await owner("POST", "/jobs", body)).status_code == 413
    for token in ("x", f"{owner.token}x"):
        owner.token = token
        assert (await owner("POST", "/jobs", body)).status_code == 413
        assert (await owner("POST", "/jobs", {})).status_code == 401


async def test_a_lower_role_is_refused(server: Server, http: httpx.AsyncClient, owner: Caller) -> None:
    group_admin = await make_caller(server, http, Role.GROUP_ADMIN)
    job = (await owner("POST", "/jobs", {"kind": "disable", "users": ["a"]})).json()
    assert (await group_admin("POST", "/jobs", {"kind": "disable", "users": ["a"]})).status_code == 403
    for act in ("cancel", "resume"):
        assert (await group_admin("POST", f"/jobs/{job['id']}/{act}")).status_code == 403
    assert (await _ended(group_admin, job))["state"] == "finished"


async def test_the_kinds_are_listed(owner: Caller) -> None:
    found = (await owner("GET", "/job_kinds")).json()
    assert [each["name"] for each in found] == [kind.name for kind in acts()]
    assert [each["name"] for each in found if each["counted"]] == ["delete"]
