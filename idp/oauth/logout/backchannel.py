"""Logout tokens, and how they are delivered (OpenID Connect Back-Channel Logout 1.0)."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from idp import clock
from idp.delivery.handlers import DeliveryRejectedError, DeliveryRequest, DueDelivery, Handler
from idp.infra.outbound import Answer
from idp.oauth import client_jwts, subjects
from idp.oauth.clients.models import Client
from idp.oauth.clients.stored import receiver
from idp.settings import settings

#: The kind of the deliveries.
KIND = "backchannel_logout"
#: Section 2.4.
EVENT = "http://schemas.openid.net/event/backchannel-logout"
#: The lifetime of a logout token in seconds: section 2.4 asks for two minutes at most. Each attempt makes a new one.
LIFETIME = 120


def stream(client_id: str) -> str:
    """Return the stream of the deliveries to a client."""
    return f"client:{client_id}"


async def logout_token(client: Client, user_id: UUID, session_id: UUID, jti: UUID) -> str:
    """Return a logout token (section 2.4), signed and encrypted as the ID tokens of the client.

    It always names the user and the session, as the ID token did.

    Raises:
        OAuthError: the client registered encryption, and has no key for it that can be used or fetched.
    """
    now = clock.timestamp()
    claims: dict[str, Any] = {
        "iss": settings().issuer,
        "sub": subjects.subject(client, user_id),
        "aud": client.client_id,
        "iat": now,
        "exp": now + LIFETIME,
        "jti": str(jti),
        "events": {EVENT: {}},
        "sid": subjects.sid(client, session_id),
    }
    return await client_jwts.make(client, "id_token", "logout+jwt", claims)


async def _compose(delivery: DueDelivery) -> DeliveryRequest:
    """Make the request of section 2.5. ``jti`` is the same in all attempts."""
    client = await receiver(delivery.content["client_id"], "backchannel_logout_uri")
    if client is None or client.backchannel_logout_uri is None:
        raise DeliveryRejectedError("The application is disabled, or no longer has a backchannel_logout_uri.")
    assert delivery.user_id is not None  # noqa: S101 -- every delivery of this kind has them
    assert delivery.session_id is not None  # noqa: S101
    token = await logout_token(client, delivery.user_id, delivery.session_id, delivery.id)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return DeliveryRequest(client.backchannel_logout_uri, headers, urlencode({"logout_token": token}).encode())


def is_refused(answer: Answer) -> bool:
    """Return whether the client has refused the token (section 2.8). The next one would have the same content."""
    return answer.status == HTTPStatus.BAD_REQUEST


HANDLER = Handler(_compose, is_final=is_refused)
