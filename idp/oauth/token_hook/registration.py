"""Adding and changing token hooks.

Each change is one transaction with its cache invalidation and its audit event, as for clients.
"""

from collections.abc import Collection
from datetime import datetime
from hmac import compare_digest
from typing import Any
from uuid import UUID

import msgspec

from idp import ids
from idp.audit.events import record
from idp.delivery.standard_webhooks import key_of, new_secret
from idp.errors import ConflictError, NotFoundError, ValidationError, VersionConflictError
from idp.keys import vault
from idp.oauth.claims.models import Place
from idp.oauth.clients.receiver_urls import check_receiver
from idp.oauth.clients.registration import UnknownClientError, change
from idp.oauth.clients.repository import lock_client_without_key
from idp.oauth.token_hook import repository
from idp.oauth.token_hook.models import LoadedHook, TokenHook, context
from idp.settings import settings

DEFAULT_PLACES = (Place.ACCESS_TOKEN, Place.ID_TOKEN)


class UnknownTokenHookError(NotFoundError):
    """There is no such hook."""

    def __init__(self) -> None:
        super().__init__("There is no token hook with this id.")


class TokenHookConflictError(ConflictError):
    """The client has a hook already."""


async def add(
    client_id: str | None,
    url: str,
    *,
    places: Collection[str] = DEFAULT_PLACES,
    fail_open: bool = False,
    secret: str | None = None,
) -> tuple[UUID, str]:
    """Add the hook of a client and return its id and its secret, which is shown once.

    Args:
        client_id: None: the hook of every client without one of its own.
        secret: a chosen one; by default a random one.

    Raises:
        ValidationError: a value is not allowed.
        UnknownClientError: there is no such client.
        TokenHookConflictError: there is one already.
    """
    ordered = checked(url, places)
    hook_id = ids.uuid7()
    secret, sealed = new_secret(context(hook_id), secret)
    async with change():
        if client_id is not None and await lock_client_without_key(client_id) is None:
            raise UnknownClientError("There is no client with this id.")
        if await repository.has_hook(client_id):
            raise TokenHookConflictError("There is a token hook already. Change or delete that one.")
        await repository.insert(hook_id, sealed, client_id=client_id, url=url, places=ordered, fail_open=fail_open)
        detail = {"id": str(hook_id), "url": url, "places": ordered, "fail_open": fail_open}
        await record("token_hook_added", client_id=client_id, detail=detail)
    return hook_id, secret


async def update(
    id: UUID,
    *,
    url: str | None = None,
    places: Collection[str] | None = None,
    fail_open: bool | None = None,
    expected_at: datetime | None = None,
) -> None:
    """Change what is given.

    Args:
        expected_at: the ``updated_at`` that the caller has read.

    Raises:
        VersionConflictError: it has changed since.
        UnknownTokenHookError: there is none with this id.
        ValidationError: a value is not allowed.
    """
    async with change():
        found = await _found(id)
        if expected_at is not None and found.updated_at != expected_at:
            raise VersionConflictError
        given: dict[str, Any] = {"url": url, "places": places, "fail_open": fail_open}
        changes = {name: value for name, value in given.items() if value is not None}
        merged = msgspec.structs.replace(found, **changes)
        ordered = checked(merged.url, merged.places)
        await repository.update(id, url=merged.url, places=ordered, fail_open=merged.fail_open)
        detail = {"id": str(id), "url": merged.url, "places": ordered, "fail_open": merged.fail_open}
        await record("token_hook_updated", client_id=found.client_id, detail=detail)


async def rotate_secret(id: UUID, secret: str | None = None) -> str:
    """Return a new secret. The one before signs too for ``webhook_secret_overlap``, so that the receiver can change.

    Args:
        secret: a chosen one; by default a random one.

    Raises:
        ValidationError: the chosen one has another form.
        UnknownTokenHookError: there is none with this id.
    """
    secret, sealed = new_secret(context(id), secret)
    async with change():
        found = await _found(id)
        await repository.set_secret(id, sealed, float(settings().webhook_secret_overlap))
        await record("token_hook_secret_rotated", client_id=found.client_id, detail={"id": str(id)})
    return secret


def has_secret(hook: LoadedHook, secret: str) -> bool:
    """Return whether requests to a hook are signed by a secret."""
    return compare_digest(vault.decrypt(hook.secret, context(hook.id)), key_of(secret))


async def set_enabled(id: UUID, enabled: bool) -> None:
    """Disable a hook: its clients get tokens without being asked about. Or enable it.

    Raises:
        UnknownTokenHookError: there is none with this id in the other state.
    """
    async with change():
        found = await _found(id)
        if not await repository.set_enabled(id, enabled):
            raise UnknownTokenHookError
        event = "token_hook_enabled" if enabled else "token_hook_disabled"
        await record(event, client_id=found.client_id, detail={"id": str(id)})


async def remove(id: UUID) -> None:
    """Delete a hook.

    Raises:
        UnknownTokenHookError: there is none with this id.
    """
    async with change():
        found = await _found(id)
        await repository.delete(id)
        await record("token_hook_removed", client_id=found.client_id, detail={"id": str(id), "url": found.url})


async def _found(id: UUID) -> TokenHook:
    found = await repository.hook(id)
    if found is None:
        raise UnknownTokenHookError
    return found


def checked(url: str, places: Collection[str]) -> list[str]:
    """Return the places in their order.

    Raises:
        ValidationError: a value is not allowed.
    """
    check_receiver(url)
    if not places or not set(places) <= set(Place):
        raise ValidationError(f"The places must be some of {', '.join(Place)}.")
    return [place for place in Place if place in places]
