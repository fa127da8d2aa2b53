"""Operations on the streams of security events that clients created (Shared Signals Framework)."""

from uuid import UUID

import asyncpg
import msgspec

from idp.admin.api.models import shared_signals as models
from idp.admin.api.operation import Call, Handler, listed, one, operation
from idp.admin.roles import Permission
from idp.events.ssf import streams
from idp.events.ssf.administration import read
from idp.events.ssf.changes import CHANGES, StatusChange
from idp.events.ssf.repository import STREAMS

_PATH = "/shared_signals"
_ONE = f"{_PATH}/{{stream_id}}"


def _read(row: asyncpg.Record) -> models.SharedSignalsStream:
    return msgspec.convert(msgspec.to_builtins(read(row)), models.SharedSignalsStream)


listed(
    _PATH,
    Permission.EVENTS_READ,
    "List streams of shared signals",
    listing=STREAMS,
    read=_read,
    item=models.SharedSignalsStream,
)


@operation("GET", _ONE, Permission.EVENTS_READ, "Show a stream of shared signals", content=models.SharedSignalsStream)
async def show_stream(call: Call) -> models.SharedSignalsStream:
    found: models.SharedSignalsStream = await one(STREAMS, _read, id=call.params["stream_id"])
    return found


def _changing(change: StatusChange) -> Handler:
    async def handler(call: Call) -> models.SharedSignalsStream:
        found = await show_stream(call)
        await streams.set_status_of_any(UUID(str(found.id)), change.status, call.body.reason)
        return await show_stream(call)

    handler.__name__ = f"{change.name}_stream"
    return handler


for _change in CHANGES:
    operation(
        "POST", f"{_ONE}/{_change.name}", Permission.EVENTS_WRITE,
        f"{_change.name.capitalize()} a stream, which tells its receiver. {_change.help}",
        body=models.StatusReason, content=models.SharedSignalsStream,
    )(_changing(_change))  # fmt: skip


@operation("DELETE", _ONE, Permission.EVENTS_WRITE, "Delete a stream, and give up what waits")
async def delete_stream(call: Call) -> None:
    await streams.delete_any(UUID(str((await show_stream(call)).id)))
