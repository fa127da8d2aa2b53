"""Operations on the recorded requests of sign-ins."""

from typing import Any

import msgspec

from idp.admin.api.models import traces as models
from idp.admin.api.operation import Call, listed, not_found, operation
from idp.admin.roles import Permission
from idp.trace import reading
from idp.trace.repository import REQUESTS, RecordedRequest


def _read(row: Any) -> models.TracedRequest:
    return _model(reading.shown(msgspec.convert(dict(row), RecordedRequest)))


def _model(request: reading.ShownRequest) -> models.TracedRequest:
    return msgspec.convert(request, models.TracedRequest, from_attributes=True)


async def _record_reading(call: Call) -> None:
    """Record whose requests are listed."""
    await reading.record_reading(call.query)


listed(
    "/traces", Permission.AUDIT_READ, "List recorded requests of sign-ins, and refused ones",
    listing=REQUESTS, read=_read, item=models.TracedRequest, of=_record_reading,
)  # fmt: skip


@operation(
    "GET", "/traces/{trace_id}", Permission.AUDIT_READ, "Show the flow that has a request with this id",
    content=models.TracedFlow,
)  # fmt: skip
async def show_flow(call: Call) -> models.TracedFlow:
    """The id of a request, as on an error page and in ``X-Request-ID``, or the id of a flow."""
    requests = await reading.read_flow(call.params["trace_id"])
    if not requests:
        raise not_found()
    return models.TracedFlow(requests[0].trace_id, [_model(request) for request in requests])
