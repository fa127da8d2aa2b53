"""Streams of shared signals, made as their receivers make them."""

from typing import Any

from idp.events.models import Stream
from idp.events.ssf import streams
from idp.oauth.clients.registration import register_client

POLL = {"method": "urn:ietf:rfc:8936"}


async def make_stream(client_name: str = "Receiver", **asked: Any) -> Stream:
    """Create a stream of a new client, which asks for no events unless it is said."""
    client, _ = await register_client(
        client_name=client_name, grant_types=["client_credentials"], scope="ssf.read ssf.manage"
    )
    return await streams.create(client, {"delivery": POLL} | asked)
