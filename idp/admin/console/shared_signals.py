"""Screens of the streams of security events that clients created (Shared Signals Framework)."""

from typing import Any
from urllib.parse import quote

from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ActionHandler, ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, when
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.events.models import ManagedStream
from idp.events.ssf import endpoint, streams
from idp.events.ssf.administration import read
from idp.events.ssf.changes import CHANGES, StatusChange
from idp.events.ssf.repository import STREAMS
from idp.infra.db.rows import known

SECTION = "shared_signals"
_READ, _WRITE = Permission.EVENTS_READ, Permission.EVENTS_WRITE
_MOODS = {"enabled": "good", "disabled": "bad"}
_POLLED = "polled by the client"
_TOLD = "The receiver is told, and may set the status again. To stop the stream, disable the client."
_OFF = "This server is no transmitter: IDP_SHARED_SIGNALS is off."


def _status(stream: ManagedStream) -> Cell:
    return Cell(stream.status, mood=_MOODS.get(stream.status, "plain"))


def _number(number: int) -> str:
    return "1000 or more" if number >= 1000 else str(number)


@screen("GET", f"/{SECTION}", _READ)
async def list_streams(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, STREAMS)
    rows = [
        [
            Cell(stream.client_id, f"{HOME}/{SECTION}/{stream.id}"),
            Cell(stream.endpoint_url or _POLLED),
            _status(stream),
            when(stream.delivered_at),
            Cell(_number(stream.waiting)),
            Cell(_number(stream.dead)),
        ]
        for stream in known(read, found.rows, "event_stream")
    ]
    filters = [
        Field("client_id", "Client", request.query.get("client_id", "")),
        Field(
            "status", "Status", request.query.get("status", ""), "choice",
            choices=(("", "All"), *((change.status, change.status) for change in CHANGES)),
        ),
    ]  # fmt: skip
    intro = "Streams of security events that clients created for themselves (OpenID Shared Signals Framework)."
    return render(
        request, "list", section=SECTION, heading="Shared signals", path=f"{HOME}/{SECTION}", filters=filters,
        intro=intro if endpoint.is_on() else f"{intro} {_OFF}",
        columns=("Client", "Receiver", "Status", "Last delivered", "Waiting", "Dead"), rows=rows,
        next=next_url(request, found),
    )  # fmt: skip


@screen("GET", f"/{SECTION}/{{stream_id}}", _READ)
async def show_stream(request: AdminRequest) -> Response[str]:
    stream = await _stream(request.params["stream_id"])
    letters = f"{HOME}/deliveries?stream={quote(stream.stream)}&state=dead"
    sees_outbox = Permission.OUTBOX_READ in request.caller.allowed
    shown = {
        "Client": Cell(stream.client_id, f"{HOME}/clients/{quote(stream.client_id, safe='')}"),
        "Receiver": stream.endpoint_url or _POLLED,
        "Status": _status(stream),
        "Reason": stream.status_reason,
        "Events": stream.events_requested,
        "Subjects": "all users" if stream.subjects is None else f"{_number(stream.subjects)} users",
        "Users are named by": stream.format,
        "Last delivered": when(stream.delivered_at),
        "Waiting": _number(stream.waiting),
        "Dead letters": Cell(_number(stream.dead), letters if stream.dead and sees_outbox else None),
        "Failed attempts in a row": str(stream.failures),
        "Next attempt": when(stream.paused_until, "not paused"),
        "Description": stream.description,
        "Since": stream.created_at,
    }
    path = f"{HOME}/{SECTION}/{stream.id}"
    buttons = [
        *(Action(_title(change), f"{path}/{change.name}") for change in CHANGES if change.status != stream.status),
        Action("Delete", f"{path}/delete", danger=True),
    ]
    return render(
        request, "record", section=SECTION, heading=f"Stream to {stream.client_id}", facts=facts(shown),
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


async def _stream(stream_id: str) -> ManagedStream:
    return read(await one(STREAMS, id=stream_id))


def _title(change: StatusChange) -> str:
    return change.name.capitalize()


def _changing(change: StatusChange) -> ActionHandler:
    async def handler(visit: AdminRequest, stream_id: str) -> tuple[str, str]:
        stream = await _stream(stream_id)
        await streams.set_status_of_any(stream.id, change.status, visit.form.get("reason", "").strip())
        return f"/{SECTION}/{stream.id}", "saved"

    return handler


async def _delete(_visit: AdminRequest, stream_id: str) -> tuple[str, str]:
    await streams.delete_any((await _stream(stream_id)).id)
    return f"/{SECTION}", "deleted"


async def _named(stream_id: str) -> dict[str, Any]:
    stream = await _stream(stream_id)
    return {"Client": stream.client_id, "Receiver": stream.endpoint_url or _POLLED, "Status": stream.status}


_REASON = Field("reason", "Reason, for the receiver", help="One line of ASCII.")

actions.declare_actions(
    SECTION,
    "stream_id",
    _named,
    [
        *(
            ConfirmedAction(
                change.name, _title(change), f"{change.help} {_TOLD}", _WRITE, _changing(change),
                danger=change.status == "disabled", fields=(_REASON,),
            )
            for change in CHANGES
        ),
        ConfirmedAction(
            "delete", "Delete", "Waiting events are dropped. The receiver is not told, and may create another stream.",
            _WRITE, _delete,
        ),
    ],
)  # fmt: skip
