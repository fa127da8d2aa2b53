"""Webhooks as the library of the Standard Webhooks specification verifies them."""

import pytest
import standardwebhooks as library

from idp import ids
from idp.audit.events import record
from idp.events import webhooks
from idp.infra.db.engine import transaction
from tests.events.conftest import deliver
from tests.support.receivers import Receivers


async def test_the_library_verifies(receivers: Receivers) -> None:
    webhook_id, old = await webhooks.add(receivers.url("a"), ["user_disabled"])
    new = await webhooks.rotate_secret(webhook_id)
    async with transaction():
        await record("user_disabled", user_id=ids.uuid7())
    await deliver()
    (received,) = receivers.received
    for secret in (old, new):
        assert library.Webhook(secret).verify(received.body, dict(received.headers))["type"] == "user_disabled"
        with pytest.raises(library.WebhookVerificationError):
            library.Webhook(secret).verify(received.body + b" ", dict(received.headers))
    with pytest.raises(library.WebhookVerificationError):
        library.Webhook("whsec_" + "A" * 43 + "=").verify(received.body, dict(received.headers))
