"""Webhooks: events as signed requests to a URL, by the Standard Webhooks specification (version 1.0.0)."""

from collections.abc import Collection
from datetime import datetime
from hmac import compare_digest
from typing import Any, Final
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.audit.events import record
from idp.audit.repository.audit_events import Event
from idp.delivery import outbox
from idp.delivery import repository as deliveries
from idp.delivery.handlers import DeliveryRejectedError, DeliveryRequest, DueDelivery, Handler
from idp.delivery.outbox import Queued
from idp.delivery.standard_webhooks import key_of, new_secret, sign
from idp.errors import NotFoundError, ValidationError, VersionConflictError
from idp.events import repository
from idp.events.kinds import ALL, KINDS
from idp.events.models import Webhook
from idp.events.subscriptions import feed_kinds
from idp.infra.db.engine import transaction
from idp.infra.db.locks import lock
from idp.keys import vault
from idp.oauth.clients.receiver_urls import check_receiver
from idp.settings import settings

KIND: Final = "webhook"
MAX_DESCRIPTION: Final = 200
#: The type of the event that :func:`send_test` sends.
TEST: Final = "webhook_test"


class UnknownWebhookError(NotFoundError):
    """There is no such webhook."""

    def __init__(self) -> None:
        super().__init__("There is no webhook with this id.")


def stream_of(id: UUID) -> str:
    return f"webhook:{id}"


def _context(id: UUID) -> str:
    return f"webhook.secret:{id}"


def check(url: str, description: str, kinds: Collection[str]) -> None:
    """
    Raises:
        ValidationError: a value is not allowed.
    """
    check_receiver(url)
    if len(description) > MAX_DESCRIPTION or not description.isprintable():
        raise ValidationError(f"The description must be one line of at most {MAX_DESCRIPTION} characters.")
    if not kinds:
        raise ValidationError("A webhook needs at least one kind of event.")
    if ALL in kinds and len(kinds) > 1:
        raise ValidationError("With all events no others can be named.")
    if unknown := set(kinds) - {*KINDS, ALL}:
        raise ValidationError(f"There are no events of these kinds: {', '.join(sorted(unknown))}.")


async def add(
    url: str, kinds: Collection[str], *, description: str = "", whole: bool = False, secret: str | None = None
) -> tuple[UUID, str]:
    """Add a webhook and return its id and its secret, which is shown once.

    Args:
        whole: send the whole rows of the audit trail.
        secret: a chosen one; by default a random one.

    Raises:
        ValidationError: a value is not allowed.
    """
    check(url, description, kinds)
    webhook_id = ids.uuid7()
    secret, sealed = new_secret(_context(webhook_id), secret)
    async with transaction():
        await lock("event_feed_kind")
        await repository.insert(
            webhook_id, sealed, url=url, description=description, kinds=sorted(set(kinds)), whole=whole
        )
        await feed_kinds()
        await record("webhook_added", detail={"webhook_id": str(webhook_id), "kinds": sorted(kinds)})
    return webhook_id, secret


async def update(
    id: UUID,
    *,
    url: str | None = None,
    kinds: Collection[str] | None = None,
    description: str | None = None,
    whole: bool | None = None,
    expected_at: datetime | None = None,
) -> None:
    """Change what is given. Deliveries that wait go to the new URL.

    Args:
        expected_at: the ``updated_at`` that the caller has read.

    Raises:
        VersionConflictError: it has changed since.
        UnknownWebhookError: there is none with this id.
        ValidationError: a value is not allowed.
    """
    async with transaction():
        await lock("event_feed_kind")
        found = await repository.webhook(id)
        if found is None:
            raise UnknownWebhookError
        values: dict[str, Any] = {"url": url, "kinds": kinds, "description": description, "whole": whole}
        changes = {name: value for name, value in values.items() if value is not None}
        merged = msgspec.structs.replace(found, **changes)
        check(merged.url, merged.description, merged.kinds)
        if not await repository.update(
            id, url=merged.url, description=merged.description, kinds=sorted(set(merged.kinds)), whole=merged.whole,
            expected_at=expected_at,
        ):  # fmt: skip
            raise VersionConflictError
        await feed_kinds()
        await record("webhook_updated", detail={"webhook_id": str(id), "changed": sorted(changes)})


async def rotate_secret(id: UUID, secret: str | None = None) -> str:
    """Return a new secret. The one before signs too for ``webhook_secret_overlap``, so that the receiver can change.

    Args:
        secret: a chosen one; by default a random one.

    Raises:
        ValidationError: the chosen one has another form.
        UnknownWebhookError: there is none with this id.
    """
    secret, sealed = new_secret(_context(id), secret)
    async with transaction():
        if not await repository.set_secret(id, sealed, float(settings().webhook_secret_overlap)):
            raise UnknownWebhookError
        await record("webhook_secret_rotated", detail={"webhook_id": str(id)})
    return secret


async def has_secret(id: UUID, secret: str) -> bool:
    """Return whether requests to a webhook are signed by a secret."""
    sealed = await repository.secret_of(id)
    return sealed is not None and compare_digest(vault.decrypt(sealed, _context(id)), key_of(secret))


async def set_enabled(id: UUID, enabled: bool) -> None:
    """Disable a webhook, which gives up what waits, or enable it. Events of the time between are not sent.

    Raises:
        UnknownWebhookError: there is none with this id in the other state.
    """
    async with transaction():
        await lock("event_feed_kind")
        if not await repository.set_enabled(id, enabled):
            raise UnknownWebhookError
        if not enabled:
            await deliveries.give_up_stream(stream_of(id), "It was disabled.", float(settings().delivery_kept))
        await feed_kinds()
        await record("webhook_enabled" if enabled else "webhook_disabled", detail={"webhook_id": str(id)})


async def remove(id: UUID) -> None:
    """Delete a webhook and give up what waits.

    Raises:
        UnknownWebhookError: there is none with this id.
    """
    async with transaction():
        await lock("event_feed_kind")
        if not await repository.delete(id):
            raise UnknownWebhookError
        await deliveries.give_up_stream(stream_of(id), "It was deleted.", float(settings().delivery_kept))
        await feed_kinds()
        await record("webhook_removed", detail={"webhook_id": str(id)})


async def send_test(id: UUID) -> UUID:
    """Send an event of the type ``webhook_test`` and return the id of its delivery.

    Raises:
        UnknownWebhookError: there is none with this id, or it is disabled.
    """
    async with transaction():
        found = await repository.webhook(id)
        if found is None or found.disabled_at is not None:
            raise UnknownWebhookError
        return await outbox.queue(
            KIND, found.stream, {"type": TEST, "timestamp": _time(clock.now()), "data": {"webhook_id": str(id)}}
        )


# Publishing


def deliveries_of(event: Event, webhooks: Collection[Webhook]) -> list[Queued]:
    """Return the deliveries of an event to the webhooks that want it."""
    return [
        Queued(
            kind=KIND,
            stream=webhook.stream,
            content=payload(event, whole=webhook.whole),
            user_id=event.user_id,
            session_id=event.session_id,
        )
        for webhook in webhooks
        if webhook.wants(event.event)
    ]


def payload(event: Event, *, whole: bool) -> dict[str, Any]:
    """Return the body of an event: ids of records, and nothing that a person typed.

    Args:
        whole: the row of the audit trail, with its actor, address, request and details.
    """
    data: dict[str, Any] = {
        "event_id": str(event.id),
        "outcome": event.outcome,
        "user_id": event.user_id and str(event.user_id),
        "client_id": event.client_id,
        "session_id": event.session_id and str(event.session_id),
    }
    if whole:
        data |= {
            "actor": event.actor,
            "ip_address": event.ip_address,
            "request_id": event.request_id,
            "detail": msgspec.json.decode(event.detail),
        }
    return {
        "type": event.event,
        "timestamp": _time(event.at),
        "data": {name: value for name, value in data.items() if value is not None},
    }


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def compose(delivery: DueDelivery) -> DeliveryRequest:
    """Return the request of a delivery, signed now.

    Raises:
        DeliveryRejectedError: the webhook is deleted or disabled.
    """
    found = await repository.signing(UUID(delivery.stream.removeprefix("webhook:")))
    if found is None:
        raise DeliveryRejectedError("The webhook is deleted or disabled.")
    body = msgspec.json.encode(delivery.content)
    keys = [vault.decrypt(sealed, _context(found.id)) for sealed in (found.secret, found.old_secret) if sealed]
    headers = {"content-type": "application/json", "user-agent": "idp-webhooks"}
    return DeliveryRequest(found.url, headers | sign(str(delivery.id), int(clock.now().timestamp()), body, keys), body)


HANDLER: Final = Handler(compose, ordered=True)
