"""Attributes that end with the test, because all tests share a database and there can be a hundred."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from idp.accounts.attributes import declaration
from idp.accounts.attributes.errors import UnknownAttributeError
from idp.accounts.attributes.jobs import repository
from idp.accounts.attributes.jobs.runner import Runner
from idp.accounts.attributes.models import StoredAttribute
from idp.accounts.attributes.registry import attributes
from idp.infra.db.engine import engine
from tests.support.browser import Browser, Page, as_page

Declare = Callable[..., Awaitable[StoredAttribute]]


@pytest.fixture
async def declare(db: str) -> AsyncIterator[Declare]:
    """Declare attributes with names of their own, by default of text."""
    names: list[str] = []

    async def make(type: str = "string", **declared: Any) -> StoredAttribute:
        name = declared.pop("name", f"a_{secrets.token_hex(6)}")
        stored = await declaration.declare(**({"name": name, "type": type, "label": {"default": name}} | declared))
        names.append(name)
        await attributes.load()
        return stored

    yield make
    for name in names:
        try:
            await declaration.delete(name)
        except UnknownAttributeError:
            continue
    await attributes.load()


async def values_changed(name: str) -> None:
    """Return once the values of all users are changed, by this process or by a server."""
    runner = Runner()
    async with asyncio.timeout(30):
        while await repository.job(name) is not None:
            if not await runner.work(name):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def held_up(name: str) -> AsyncIterator[None]:
    """Hold the value of an attribute that its job comes to last, so that the job cannot end."""
    connection = await engine.get_new_connection()
    try:
        async with connection.transaction():
            assert await connection.fetchval(_HOLD, name)
            yield
    finally:
        await connection.close()


_HOLD = """
SELECT true FROM user_attribute WHERE attribute = $1 ORDER BY search_key DESC, user_id DESC LIMIT 1 FOR UPDATE
"""


async def shown_on(browser: Browser, path: str, *texts: str) -> Page:
    """Return a page once the server knows what another process declared."""
    async with asyncio.timeout(20):
        while True:
            page = as_page(await browser.get(path))
            if all(text in page.text for text in texts):
                return page
            await asyncio.sleep(0.02)
