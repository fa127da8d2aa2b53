"""Screens of the deliveries to other systems."""

from typing import Any

from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, text, when
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.delivery import replay
from idp.delivery.repository import DELIVERIES, STATES

SECTION = "deliveries"
_MOODS = {"delivered": "good", "dead": "bad"}


@screen("GET", f"/{SECTION}", Permission.OUTBOX_READ)
async def list_deliveries(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, DELIVERIES)
    rows = [
        [
            Cell(row["stream"], f"{HOME}/{SECTION}/{row['id']}"),
            Cell(row["kind"].replace("_", " ")),
            Cell(row["state"], mood=_MOODS.get(row["state"], "plain")),
            text(row["response"]),
            when(row["created_at"]),
        ]
        for row in found.rows
    ]
    filters = [
        Field("stream", "Receiver", request.query.get("stream", "")),
        Field(
            "state", "State", request.query.get("state", ""), "choice",
            choices=(("", "All"), *((state, state) for state in STATES)),
        ),
    ]  # fmt: skip
    return render(
        request, "list", section=SECTION, heading="Deliveries", path=f"{HOME}/{SECTION}", filters=filters,
        intro="Requests to other systems. Their content is not shown.",
        columns=("Receiver", "Kind", "State", "Response", "Written"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


@screen("GET", f"/{SECTION}/{{delivery_id}}", Permission.OUTBOX_READ)
async def show_delivery(request: AdminRequest) -> Response[str]:
    row = await one(DELIVERIES, id=request.params["delivery_id"])
    shown = {
        "Kind": row["kind"].replace("_", " "),
        "State": row["state"],
        "Attempts": str(row["attempts"]),
        "Response": row["response"],
        "Written": row["created_at"],
        "Next attempt": when(row["next_attempt_at"], "none"),
        "Finished": when(row["finished_at"], "not yet"),
    }
    again = row["state"] in ("deferred", "dead") and Permission.OUTBOX_WRITE in request.caller.allowed
    buttons = [Action("Send again", f"{HOME}/{SECTION}/{row['id']}/replay")] if again else []
    return render(request, "record", section=SECTION, heading=row["stream"], facts=facts(shown), acts=buttons)


async def _replay(_visit: AdminRequest, delivery_id: str) -> tuple[str, str]:
    row = await one(DELIVERIES, id=delivery_id)
    await replay.replay(row["id"])
    return f"/{SECTION}/{row['id']}", "replayed"


async def _named(delivery_id: str) -> dict[str, Any]:
    row = await one(DELIVERIES, id=delivery_id)
    return {"Receiver": row["stream"], "Kind": row["kind"].replace("_", " "), "Written": row["created_at"]}


actions.declare_actions(
    SECTION,
    "delivery_id",
    _named,
    [
        ConfirmedAction(
            "replay", "Send again", "The delivery is sent now, with the same id.", Permission.OUTBOX_WRITE, _replay,
            danger=False, fresh=False,
        )
    ],
)  # fmt: skip
