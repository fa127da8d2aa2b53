"""Admins who act on each other at the same time (docs/decisions/0050-lookups-and-lock-order.md)."""

import asyncio
from contextlib import AsyncExitStack, suppress
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import httpx
import pytest

from idp.admin.repository import claim_key
from idp.admin.roles import Permission, Role
from idp.directory import groups
from idp.infra.db.engine import fetch, transaction
from tests.admin.api.conftest import API, make_caller
from tests.admin.console.conftest import sign_in_admin
from tests.conftest import MakeClient
from tests.support.browser import open_browser
from tests.support.server import Server

#: Both requests wait, for the test or for each other.
WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
KEY = "same"


class Admin(NamedTuple):
    """A caller of the admin API. ``path`` is that of an operation on itself."""

    actor: str
    path: str
    token: str


class _RollBackError(Exception):
    pass


async def _clients(server: Server, http: httpx.AsyncClient) -> list[Admin]:
    callers = [await make_caller(server, http, Role.OWNER) for _ in range(2)]
    return [Admin(f"client:{c.client_id}", f"{API}/clients/{c.client_id}/enable", c.token) for c in callers]


async def _users(server: Server, make_client: MakeClient) -> list[Admin]:
    client = await make_client(scope=" ".join(["openid", *Permission]), skip_consent=True)
    found: list[tuple[UUID, str]] = []
    async with AsyncExitStack() as stack:
        for _ in range(2):
            browser = await stack.enter_async_context(open_browser(server.issuer))
            user = (await sign_in_admin(server, browser, Role.OWNER)).user
            tokens = await client.tokens(browser, user.email, resource=f"{server.issuer}/admin/api")
            found.append((user.id, tokens["access_token"]))
    return [Admin(f"user:{user}", f"{API}/users/{user}/enable", token) for user, token in found]


async def test_admins_who_put_each_other_into_groups(
    server: Server, http: httpx.AsyncClient, make_client: MakeClient
) -> None:
    """Each names both, and so waits for the other; with a key, the transaction begins before the operation."""
    first, second = await _users(server, make_client)
    both = [caller.actor.removeprefix("user:") for caller in (first, second)]
    made = [await groups.create(f"{name} {both[0]}") for name in ("one", "other")]

    async def act(caller: Admin, number: int) -> int:
        headers = {"Authorization": f"Bearer {caller.token}"} | ({"Idempotency-Key": f"{number}"} if number % 2 else {})
        url = f"{server.issuer}{API}/groups/{made[number % 2].id}/members"
        return (await http.post(url, headers=headers, json={"user_ids": both[:: (-1) ** number]})).status_code

    async with asyncio.timeout(30):
        calls = [act(caller, number) for number in range(8) for caller in (first, second)]
        assert await asyncio.gather(*calls) == [200] * len(calls)


@pytest.mark.parametrize("kind", ["users", "clients"])
async def test_equal_keys_of_admins_who_act_on_each_other(
    kind: str, server: Server, http: httpx.AsyncClient, make_client: MakeClient
) -> None:
    """Both are held after the locks of their callers, at the rows of their keys, and then go on at the same moment."""
    first, second = await (_users(server, make_client) if kind == "users" else _clients(server, http))
    declared = f"/{kind}/{{{kind.removesuffix('s')}_id}}/enable"

    async def act(caller: Admin, on: Admin) -> int:
        headers = {"Authorization": f"Bearer {caller.token}", "Idempotency-Key": KEY}
        return (await http.post(f"{server.issuer}{on.path}", headers=headers)).status_code

    with suppress(_RollBackError):
        async with transaction():
            for caller, on in ((first, second), (second, first)):
                name = f"{caller.actor}\0{declared}\0{on.path.split('/')[-2]}\0{KEY}"
                assert await claim_key(sha256(name.encode()).digest(), b"", 60)
            requests = [asyncio.create_task(act(first, second)), asyncio.create_task(act(second, first))]
            async with asyncio.timeout(30):
                while len(await fetch(WAITING)) < len(requests):
                    assert not any(request.done() for request in requests)
                    await asyncio.sleep(0.01)
            raise _RollBackError
    async with asyncio.timeout(30):
        assert await asyncio.gather(*requests) == [200, 200]
