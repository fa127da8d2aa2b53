"""Managing streams and their subjects (Shared Signals Framework section 8.1), for the client that they belong to, and
for administrators.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import msgspec

from idp import ids
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.repository.users import user_by_email, user_by_id
from idp.audit.events import record
from idp.delivery import outbox
from idp.delivery import repository as deliveries
from idp.errors import InvalidRequestError, NotFoundError, OAuthError, ValidationError
from idp.events.models import POLL, PUSH, Stream
from idp.events.ssf import repository, tokens
from idp.events.ssf.changes import CHANGES
from idp.events.ssf.types import IDENTIFIER_CHANGED, SUPPORTED
from idp.events.subscriptions import feed_kinds
from idp.infra.db.engine import transaction
from idp.infra.db.locks import lock
from idp.keys import vault
from idp.oauth import subjects
from idp.oauth.clients.models import Client
from idp.oauth.clients.receiver_urls import check_receiver
from idp.settings import settings

MAX_STREAMS: Final = 4
#: Minimum seconds between verifications of a stream.
VERIFICATION_INTERVAL: Final = 10
MAX_DESCRIPTION, MAX_REASON, MAX_STATE, MAX_AUTHORIZATION = 200, 200, 500, 2000
MAX_EVENTS = 100
FORMATS: Final = ("iss_sub", "opaque", "email")
STATUSES: Final = tuple(change.status for change in CHANGES)


class UnknownStreamError(NotFoundError):
    """There is no such stream, or it belongs to another client."""

    def __init__(self) -> None:
        super().__init__("There is no stream with this id.")


class _Change(msgspec.Struct, frozen=True):
    """The members of a stream that its receiver may set."""

    description: str = ""
    endpoint_url: str | None = None
    authorization: str | None = None
    events_requested: list[str] = []
    format: str = "iss_sub"


async def create(client: Client, asked: Mapping[str, Any]) -> Stream:
    """Create a stream (section 8.1.1.1).

    Raises:
        InvalidRequestError: a member is not allowed.
        OAuthError: 409, the client has as many streams as it may have.
    """
    change = _read(asked, client, _Change())
    stream_id = ids.uuid7()
    async with transaction():
        await lock("event_feed_kind")
        values = _columns(change, stream_id)
        if not await repository.insert_stream(stream_id, client.client_id, **values, limit=MAX_STREAMS):
            raise OAuthError("invalid_request", "There are too many streams of this client.", HTTPStatus.CONFLICT)
        await feed_kinds()
        await record("event_stream_created", client_id=client.client_id, detail={"stream_id": str(stream_id)})
        return await _locked(client, stream_id)


async def find(client: Client, id: str) -> Stream:
    """Return a stream of a client.

    Raises:
        UnknownStreamError: it has none with this id.
    """
    for stream in await repository.streams_of_client(client.client_id):
        if str(stream.id) == id:
            return stream
    raise UnknownStreamError


async def of_client(client: Client) -> list[Stream]:
    """Return all streams of a client."""
    return await repository.streams_of_client(client.client_id)


async def update(client: Client, asked: Mapping[str, Any], *, replace: bool) -> Stream:
    """Change a stream (section 8.1.1.3), or replace all that the receiver may set (section 8.1.1.4).

    Raises:
        InvalidRequestError: a member is not allowed.
        UnknownStreamError: the client has no such stream.
    """
    stream_id = _stream_id(asked)
    async with transaction():
        await lock("event_feed_kind")
        stream = await _locked(client, stream_id)
        sealed = await repository.authorization_of(stream_id)
        kept = vault.decrypt(sealed, tokens.authorization_context(stream_id)).decode() if sealed else None
        before = _Change(stream.description, stream.endpoint_url, kept, stream.events_requested, stream.format)
        change = _read(asked, client, _Change() if replace else before)
        await repository.update_stream(stream_id, **_columns(change, stream_id))
        changed = await _locked(client, stream_id)
        await deliveries.change_kind(changed.stream, tokens.kind_of(changed))
        await feed_kinds()
        await record("event_stream_updated", client_id=client.client_id, detail={"stream_id": str(stream_id)})
    return changed


async def delete(client: Client, id: str) -> None:
    """Delete a stream and what waits in it (section 8.1.1.5).

    Raises:
        UnknownStreamError: the client has no such stream.
    """
    async with transaction():
        await lock("event_feed_kind")
        await _delete(await _locked(client, _uuid(id)))


async def delete_any(stream_id: UUID) -> None:
    """Delete any stream and what waits in it, for administrators. Its receiver is not told, but may create another one.

    Raises:
        UnknownStreamError: there is no such stream.
    """
    async with transaction():
        await lock("event_feed_kind")
        stream = await repository.stream(stream_id)
        if stream is None:
            raise UnknownStreamError
        await _delete(stream)


async def _delete(stream: Stream) -> None:
    await repository.delete_stream(stream.id)
    await deliveries.give_up_stream(stream.stream, "The stream was deleted.", float(settings().delivery_kept))
    await feed_kinds()
    await record("event_stream_deleted", client_id=stream.client_id, detail={"stream_id": str(stream.id)})


async def set_status(client: Client, asked: Mapping[str, Any]) -> Stream:
    """Enable, pause or disable a stream (section 8.1.2.2). What happens while it is paused is kept, not while disabled.

    Raises:
        InvalidRequestError: the status is not allowed.
        UnknownStreamError: the client has no such stream.
    """
    status, reason = asked.get("status"), asked.get("reason", "")
    if status not in STATUSES or not _is_text(reason, MAX_REASON):
        raise InvalidRequestError("status must be enabled, paused or disabled, and reason a short text.")
    async with transaction():
        await lock("event_feed_kind")
        return await _set_status(await _locked(client, _stream_id(asked)), status, reason)


async def set_status_of_any(stream_id: UUID, status: str, reason: str) -> None:
    """Set the status of any stream, for administrators. Its receiver is told (section 8.1.5), and may set it again.

    Nothing happens if it has this status and reason.

    Raises:
        UnknownStreamError: there is no such stream.
        ValidationError: the reason is not a short text.
    """
    if not _is_text(reason, MAX_REASON):
        raise ValidationError(f"The reason must be one line of at most {MAX_REASON} characters of ASCII.")
    async with transaction():
        await lock("event_feed_kind")
        stream = await repository.stream(stream_id)
        if stream is None:
            raise UnknownStreamError
        if (stream.status, stream.status_reason) != (status, reason):
            await outbox.queue_many([tokens.updated(await _set_status(stream, status, reason))])


async def disable_streams_of(client_id: str, reason: str) -> int:
    """Disable all streams of a client, in the caller's transaction, and return how many were in use.

    The receiver may be a stranger's, so it is not told. The client may enable its streams again.
    """
    await lock("event_feed_kind")
    used = [stream for stream in await repository.streams_of_client(client_id) if stream.status != "disabled"]
    for stream in used:
        await _set_status(stream, "disabled", reason)
    return len(used)


async def _set_status(stream: Stream, status: str, reason: str) -> Stream:
    await repository.set_status(stream.id, status, reason)
    changed = msgspec.structs.replace(stream, status=status, status_reason=reason)
    if status == "disabled":
        await deliveries.give_up_stream(stream.stream, "The stream was disabled.", float(settings().delivery_kept))
    await deliveries.change_kind(stream.stream, tokens.kind_of(changed))
    await feed_kinds()
    detail = {"stream_id": str(stream.id), "status": status}
    await record("event_stream_status_set", client_id=stream.client_id, detail=detail)
    return changed


async def verify(client: Client, asked: Mapping[str, Any]) -> None:
    """Send a verification event (section 8.1.4.2).

    Raises:
        InvalidRequestError: the state is not a short text.
        OAuthError: 429, the last verification was too recent.
        UnknownStreamError: the client has no such stream.
    """
    state = asked.get("state")
    if state is not None and not _is_text(state, MAX_STATE):
        raise InvalidRequestError("state must be a short text.")
    async with transaction():
        stream = await _locked(client, _stream_id(asked))
        if stream.status == "disabled":
            raise InvalidRequestError("The stream is disabled.")
        if not await repository.may_verify(stream.id, float(VERIFICATION_INTERVAL)):
            raise OAuthError("too_many_requests", "The last verification was too recent.", HTTPStatus.TOO_MANY_REQUESTS)
        await outbox.queue_many([tokens.verification(stream, state)])


async def set_subject(client: Client, asked: Mapping[str, Any], *, present: bool) -> None:
    """Add a user to a stream (section 8.1.3.2), or remove one (section 8.1.3.3).

    A subject that names nobody is accepted and ignored, so that receivers cannot find out who has an account. So is an
    address that the client may not know: its first event would tell.

    Raises:
        InvalidRequestError: the subject is malformed, or in a format that the client may not use.
        UnknownStreamError: the client has no such stream.
    """
    async with transaction():
        stream = await _locked(client, _stream_id(asked))
        subject: Any = asked.get("subject")
        user_id = await _user_of(client, subject)
        if user_id is None:
            return
        if not present:
            await repository.remove_subject(stream.id, user_id)
        elif subject["format"] != "email" or await tokens.knows_address(user_id, client):
            await repository.add_subject(stream.id, user_id)


async def _user_of(client: Client, subject: Any) -> UUID | None:
    """Return the user whom a subject names (RFC 9493), if there is one."""
    match subject:
        case {"format": "iss_sub", "iss": str(issuer), "sub": str(sub)}:
            found = subjects.user_of(client.sector, sub) if issuer == settings().issuer else None
        case {"format": "opaque", "id": str(sub)}:
            found = subjects.user_of(client.sector, sub)
        case {"format": "email", "email": str(email)}:
            _require_email(client)
            try:
                user = await user_by_email(normalise_email(email))
            except InvalidEmailError:
                return None
            return user.id if user is not None else None
        case _:
            raise InvalidRequestError("subject must have the format iss_sub, opaque or email, and its members.")
    return found if found is not None and await user_by_id(found) is not None else None


def _require_email(client: Client) -> None:
    if "email" not in client.scopes:
        raise InvalidRequestError("This client may not use email addresses: it lacks the scope email.")


def _read(asked: Mapping[str, Any], client: Client, before: _Change) -> _Change:
    """Return what a receiver asks for, with the rest as before."""
    values = msgspec.structs.asdict(before)
    for name in ("description", "format"):
        if name in asked:
            values[name] = asked[name]
    if "events_requested" in asked:
        values["events_requested"] = _events(asked["events_requested"], client)
    if "delivery" in asked:
        values |= _delivery(asked["delivery"])
    if not _is_text(values["description"], MAX_DESCRIPTION):
        raise InvalidRequestError(f"description must be one line of at most {MAX_DESCRIPTION} characters.")
    if values["format"] not in FORMATS:
        raise InvalidRequestError("format must be iss_sub, opaque or email.")
    if values["format"] == "email":
        _require_email(client)
    return _Change(**values)


def _events(asked: Any, client: Client) -> list[str]:
    """Return the requested events that are supported and the client may get. Others are ignored (section 8.1.1)."""
    if not isinstance(asked, list) or len(asked) > MAX_EVENTS or not all(isinstance(name, str) for name in asked):
        raise InvalidRequestError("events_requested must be a list of URIs.")
    hidden = () if "email" in client.scopes else (IDENTIFIER_CHANGED,)
    return [name for name in SUPPORTED if name in asked and name not in hidden]


def _is_header_value(value: Any) -> bool:
    # Spaces around it are no part of a value (RFC 9110 section 5.5), and cannot be sent.
    return bool(value) and _is_text(value, MAX_AUTHORIZATION) and value == value.strip()


def _delivery(asked: Any) -> dict[str, Any]:
    match asked:
        case {"method": "urn:ietf:rfc:8936"}:
            return {"endpoint_url": None, "authorization": None}
        case {"method": "urn:ietf:rfc:8935", "endpoint_url": str(url)}:
            authorization = asked.get("authorization_header")
            if authorization is not None and not _is_header_value(authorization):
                raise InvalidRequestError("authorization_header must be the value of a header.")
            try:
                check_receiver(url)
            except ValidationError as error:
                raise InvalidRequestError("endpoint_url must be an https URL.") from error
            return {"endpoint_url": url, "authorization": authorization}
    raise InvalidRequestError(f"delivery must have the method {PUSH} with an endpoint_url, or {POLL}.")


def _columns(change: _Change, id: UUID) -> dict[str, Any]:
    values = msgspec.structs.asdict(change)
    if change.authorization is not None:
        values["authorization"] = vault.encrypt(change.authorization.encode(), tokens.authorization_context(id))
    return values


def _is_text(value: Any, maximum: int) -> bool:
    return isinstance(value, str) and len(value) <= maximum and value.isascii() and (not value or value.isprintable())


async def _locked(client: Client, id: UUID) -> Stream:
    stream = await repository.lock_stream(id, client.client_id)
    if stream is None:
        raise UnknownStreamError
    return stream


def _stream_id(asked: Mapping[str, Any]) -> UUID:
    value = asked.get("stream_id")
    if not isinstance(value, str):
        raise InvalidRequestError("stream_id is missing.")
    return _uuid(value)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise UnknownStreamError from error
