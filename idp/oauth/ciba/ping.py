"""The ping (CIBA Core section 10.2): this server tells a client that the user has decided."""

from typing import Final

import msgspec

from idp.delivery import outbox
from idp.delivery.handlers import DeliveryRejectedError, DeliveryRequest, DueDelivery, Handler
from idp.infra.outbound import Answer
from idp.keys import vault
from idp.oauth.ciba.repository import DecidedRequest
from idp.oauth.clients.stored import receiver

KIND: Final = "ciba_ping"


class Notification(msgspec.Struct, frozen=True):
    """The content of a ping: the ``auth_req_id``, of which only a hash is stored, and the token of the client."""

    auth_req_id: str
    token: str


def seal(notification: Notification, auth_req_hash: bytes) -> bytes:
    """Return the value of the column ``notification``."""
    return vault.encrypt(msgspec.json.encode(notification), _context(auth_req_hash))


def _context(auth_req_hash: bytes) -> str:
    return f"backchannel_request.notification:{auth_req_hash.hex()}"


async def queue(decided: DecidedRequest) -> None:
    """Queue the ping of a decided request, if its client wants one, in the caller's transaction."""
    if decided.notification is None:
        return
    sealed = vault.decrypt(decided.notification, _context(decided.auth_req_hash))
    content = msgspec.json.decode(sealed) | {"client_id": decided.client_id}
    await outbox.queue(KIND, f"client:{decided.client_id}", content, lifetime=max(1, decided.seconds_left))


async def compose(delivery: DueDelivery) -> DeliveryRequest:
    """Return the request of a ping, to the endpoint that the client has now.

    Raises:
        DeliveryRejectedError: the client is gone, or polls now.
    """
    client = await receiver(delivery.content["client_id"], "backchannel_client_notification_endpoint")
    if client is None or client.backchannel_client_notification_endpoint is None:
        raise DeliveryRejectedError("The client is disabled, or no longer has a notification endpoint.")
    headers = {"Authorization": f"Bearer {delivery.content['token']}", "Content-Type": "application/json"}
    body = msgspec.json.encode({"auth_req_id": delivery.content["auth_req_id"]})
    return DeliveryRequest(client.backchannel_client_notification_endpoint, headers, body)


def is_final(answer: Answer) -> bool:
    """Return whether another attempt is useless: the client refuses, and can still poll."""
    return 300 <= answer.status < 500 and answer.status != 429


HANDLER = Handler(compose, is_final=is_final)
