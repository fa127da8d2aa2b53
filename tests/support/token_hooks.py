"""Token hooks on the shared server, and their receivers."""

import json
from typing import Any
from uuid import UUID

from idp.oauth.token_hook import registration
from tests.support.oauth import RelyingParty, until_current
from tests.support.receivers import Receivers


def says(answer: Any) -> str:
    """Return the behaviour of a receiver that answers with JSON."""
    return f"200 Content-Type: application/json|{json.dumps(answer)}"


async def set_hook(party: RelyingParty, url: str, client_id: str | None = None, **values: Any) -> tuple[UUID, str]:
    """Add the hook of a client, and wait until the server knows it. Returns its id and its secret."""
    found = await registration.add(client_id or party.client_id, url, **values)
    await until_current(party)
    return found


def bodies(receivers: Receivers) -> list[dict[str, Any]]:
    """Return what was asked, in order."""
    return [json.loads(received.body) for received in receivers.received]
