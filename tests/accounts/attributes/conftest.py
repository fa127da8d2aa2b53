"""Attributes that end with the test, because all tests share a database and there can be a hundred."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from idp.accounts.attributes import declaration
from idp.accounts.attributes.errors import UnknownAttributeError
from idp.accounts.attributes.models import StoredAttribute
from idp.accounts.attributes.registry import attributes

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
