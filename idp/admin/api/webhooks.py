"""Operations on webhooks."""

from http import HTTPStatus
from typing import Any

from idp.admin.api.models import webhooks as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.roles import Permission
from idp.events import webhooks
from idp.events.repository import WEBHOOKS

_PATH = "/webhooks"
_ONE = f"{_PATH}/{{webhook_id}}"
_read = reader(models.Webhook)

listed(_PATH, Permission.EVENTS_READ, "List webhooks", listing=WEBHOOKS, read=_read, item=models.Webhook)


@operation("GET", _ONE, Permission.EVENTS_READ, "Show a webhook", content=models.Webhook)
async def show_webhook(call: Call) -> models.Webhook:
    found: models.Webhook = await one(WEBHOOKS, _read, id=call.params["webhook_id"])
    return found


@operation(
    "POST", _PATH, Permission.EVENTS_WRITE, "Add a webhook; the response contains its secret, once",
    body=models.NewWebhook, content=models.WebhookSecret, status=HTTPStatus.CREATED,
)  # fmt: skip
async def add_webhook(call: Call) -> Result:
    asked: models.NewWebhook = call.body
    webhook_id, secret = await webhooks.add(asked.url, asked.kinds, description=asked.description, whole=asked.whole)
    return Result(models.WebhookSecret(id=webhook_id, secret=secret), HTTPStatus.CREATED, f"{_PATH}/{webhook_id}")


@operation(
    "PATCH", _ONE, Permission.EVENTS_WRITE, "Change a webhook",
    body=models.WebhookChange, content=models.Webhook, current=show_webhook,
)  # fmt: skip
async def update_webhook(call: Call) -> models.Webhook:
    changes: dict[str, Any] = {name: getattr(call.body, name) for name in call.sent}
    await webhooks.update(call.current.id, expected_at=call.current.updated_at, **changes)
    return await show_webhook(call)


@operation(
    "POST", f"{_ONE}/rotate_secret", Permission.EVENTS_WRITE, "Make a new secret; the one before signs too for a time",
    content=models.WebhookSecret,
)  # fmt: skip
async def rotate_webhook_secret(call: Call) -> models.WebhookSecret:
    found = await show_webhook(call)
    return models.WebhookSecret(id=found.id, secret=await webhooks.rotate_secret(found.id))


@operation("POST", f"{_ONE}/test", Permission.EVENTS_WRITE, "Send a test event", content=models.QueuedDelivery)
async def test_webhook(call: Call) -> models.QueuedDelivery:
    found = await show_webhook(call)
    return models.QueuedDelivery(delivery_id=await webhooks.send_test(found.id))


@operation("POST", f"{_ONE}/disable", Permission.EVENTS_WRITE, "Disable a webhook", content=models.Webhook)
async def disable_webhook(call: Call) -> models.Webhook:
    found = await show_webhook(call)
    if found.disabled_at is None:
        await webhooks.set_enabled(found.id, False)
    return await show_webhook(call)


@operation("POST", f"{_ONE}/enable", Permission.EVENTS_WRITE, "Enable a webhook", content=models.Webhook)
async def enable_webhook(call: Call) -> models.Webhook:
    found = await show_webhook(call)
    if found.disabled_at is not None:
        await webhooks.set_enabled(found.id, True)
    return await show_webhook(call)


@operation("DELETE", _ONE, Permission.EVENTS_WRITE, "Delete a webhook")
async def delete_webhook(call: Call) -> None:
    await webhooks.remove((await show_webhook(call)).id)
