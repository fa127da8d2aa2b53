"""Security event tokens (RFC 8417) on their way to a stream: queued, composed, signed."""

from typing import Any, Final
from uuid import UUID

from idp import clock
from idp.accounts.repository.users import user_by_id
from idp.audit.repository.feed import FedEvent
from idp.delivery.handlers import HELD, POLLED, DeliveryRejectedError, DeliveryRequest, DueDelivery, Handler
from idp.delivery.outbox import Queued
from idp.errors import RemoteError
from idp.events.models import Stream
from idp.events.ssf import repository
from idp.events.ssf.types import STREAM_UPDATED, VERIFICATION, signals_of
from idp.infra import foreign_json
from idp.infra.outbound import Answer
from idp.keys import vault
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.key_set import key_set
from idp.oauth import subjects
from idp.oauth.claims.evaluation import Asked
from idp.oauth.claims.evaluation import claims as claims_about
from idp.oauth.claims.models import Place
from idp.oauth.claims.rules import rules_of
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.stored import receiver
from idp.oauth.repository.families import granted_scopes
from idp.oauth.scopes import claims_of_scopes
from idp.settings import settings

#: The kind of deliveries of tokens that are pushed.
PUSHED: Final = "security_event_push"
TYP: Final = "secevent+jwt"
#: Responses of RFC 8935 section 2.4 that no retry changes: the token itself is refused.
_FINAL: Final = frozenset({"invalid_request", "invalid_issuer", "invalid_audience"})


class _StreamPausedError(RemoteError):
    """The stream was paused or changed at this moment. The delivery waits."""


def kind_of(stream: Stream) -> str:
    """Return the kind of the deliveries of a stream."""
    if stream.status == "paused":
        return HELD
    return PUSHED if stream.endpoint_url else POLLED


def authorization_context(stream_id: UUID) -> str:
    return f"event_stream.authorization:{stream_id}"


def deliveries_of(event: FedEvent, streams: list[Stream], subject_of: Any) -> list[Queued]:
    """Return the deliveries of an event to the streams that want it.

    Args:
        subject_of: the ids of the streams of which its user is a subject.
    """
    return [
        Queued(
            kind=kind_of(stream),
            stream=stream.stream,
            content={
                "type": signal.type,
                "claims": dict(signal.claims),
                "scopes": signal.scopes,
                "email": signal.email,
            },
            user_id=event.user_id,
            session_id=event.session_id,
        )
        for signal in signals_of(event)
        for stream in streams
        if signal.type in stream.events_requested
        and (settings().shared_signals_subjects == "all" or stream.id in subject_of)
    ]


def verification(stream: Stream, state: str | None) -> Queued:
    """Return a verification event (Shared Signals Framework section 8.1.4.1)."""
    claims = {"state": state} if state is not None else {}
    return Queued(
        kind=kind_of(stream), stream=stream.stream, content={"type": VERIFICATION, "claims": claims, "scopes": ()}
    )


def updated(stream: Stream) -> Queued:
    """Return the event that tells of a changed status (section 8.1.5), which a paused stream sends too."""
    claims = {"status": stream.status} | ({"reason": stream.status_reason} if stream.status_reason else {})
    content = {"type": STREAM_UPDATED, "claims": claims, "scopes": ()}
    return Queued(kind=PUSHED if stream.endpoint_url else POLLED, stream=stream.stream, content=content)


async def compose(delivery: DueDelivery) -> DeliveryRequest:
    """Return the request that pushes a token (RFC 8935 section 2.1).

    Raises:
        DeliveryRejectedError: stream, client or user is gone.
    """
    stream = await repository.stream(UUID(delivery.stream.removeprefix("ssf:")))
    told = delivery.content["type"] == STREAM_UPDATED
    if stream is None or (stream.status == "disabled" and not told):
        raise DeliveryRejectedError("The stream is deleted or disabled.")
    if stream.endpoint_url is None or (stream.status == "paused" and not told):
        raise _StreamPausedError("The stream was changed.")
    headers = {"content-type": "application/secevent+jwt", "accept": "application/json"}
    sealed = await repository.authorization_of(stream.id)
    if sealed is not None:
        headers["authorization"] = vault.decrypt(sealed, authorization_context(stream.id)).decode()
    return DeliveryRequest(stream.endpoint_url, headers, (await token(delivery, stream)).encode())


async def token(delivery: DueDelivery, stream: Stream) -> str:
    """Return the signed token of a delivery. Its ``jti`` is the id of the delivery.

    Raises:
        DeliveryRejectedError: its client or user is gone.
    """
    client = await receiver(stream.client_id, "client_id")
    if client is None:
        raise DeliveryRejectedError("The client is deleted or disabled.")
    content = delivery.content
    claims = content["claims"]
    if content["scopes"]:
        claims = claims | {"claims": await _current_claims(delivery, client, content["scopes"])}
    statement = {
        "iss": settings().issuer,
        "aud": client.client_id,
        "jti": str(delivery.id),
        "iat": int(clock.now().timestamp()),
        "sub_id": await _subject(delivery, stream, client),
        "events": {content["type"]: claims},
    }
    return key_set.sign(DEFAULT_ALGORITHM, TYP, statement)


async def _current_claims(delivery: DueDelivery, client: Client, scopes: list[str]) -> dict[str, Any]:
    """Return the claims of the user that the client may know, as they are now; null: the user has it no more."""
    row = await user_by_id(delivery.user_id) if delivery.user_id is not None else None
    granted = await granted_scopes(row.id, client.client_id) if row is not None else set()
    known = [scope for scope in scopes if scope in client.scopes and scope in granted]
    if row is None or not known:
        raise DeliveryRejectedError("The client may not know what changed, or the user is gone.")
    asked = Asked(place=Place.USERINFO, client=client, scopes=known, profile=True)
    rules = [rule for rule in rules_of(client, known) if rule.scope in known and Place.USERINFO in rule.places]
    names = {rule.claim for rule in rules}
    standard = set(claims_of_scopes(known))
    values = await claims_about(asked, ClaimUser(row.id, row=row))
    found = {name: value for name, value in values.items() if name in names | standard}
    # Most users have few of the claims of the profile: those that are missing are named only if all are.
    return found | dict.fromkeys((names if found else names | standard) - found.keys())


async def _subject(delivery: DueDelivery, stream: Stream, client: Client) -> dict[str, Any]:
    """Return the subject (RFC 9493): the user, with the session if one ended; an address that changed; or the stream.

    Raises:
        DeliveryRejectedError: the client may not know the address.
    """
    if delivery.user_id is None:
        return {"format": "opaque", "id": str(stream.id)}
    email = delivery.content.get("email")
    if email is not None:
        if not await knows_address(delivery.user_id, client):
            raise DeliveryRejectedError("The client may not know addresses.")
        return {"format": "email", "email": email}
    user = await _user(delivery.user_id, stream.format, client)
    if delivery.session_id is None or not delivery.content["type"].endswith("/session-revoked"):
        return user
    session = {"format": "opaque", "id": subjects.sid(client, delivery.session_id)}
    return {"format": "complex", "user": user, "session": session}


async def _user(user_id: UUID, format: str, client: Client) -> dict[str, Any]:
    """Return the user in the format of the stream. The ``sub`` replaces an address that the client may not know."""
    if format == "email" and await knows_address(user_id, client):
        user = await user_by_id(user_id)
        if user is not None:
            return {"format": "email", "email": user.email}
    sub = subjects.subject(client, user_id)
    if format == "opaque":
        return {"format": "opaque", "id": sub}
    return {"format": "iss_sub", "iss": settings().issuer, "sub": sub}


async def knows_address(user_id: UUID, client: Client) -> bool:
    """Return whether a client may know the address of a user: it has the scope, and was granted it for this user."""
    return "email" in client.scopes and "email" in await granted_scopes(user_id, client.client_id)


def _is_final(answer: Answer) -> bool:
    """Return whether the receiver refuses the token itself (RFC 8935 section 2.3)."""
    if answer.status != 400:
        return False
    try:
        return foreign_json.decode(answer.body).get("err") in _FINAL
    except (ValueError, AttributeError, TypeError):
        return False


HANDLER: Final = Handler(compose, ordered=True, is_final=_is_final)
