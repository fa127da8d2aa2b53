"""Operations on deliveries to other systems."""

from http import HTTPStatus
from uuid import UUID

from idp.admin.api.models import deliveries as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, listed, one, operation
from idp.admin.api.problems import ProblemError
from idp.admin.roles import Permission
from idp.delivery import replay as service
from idp.delivery.repository import DELIVERIES

_read = reader(models.Delivery)

listed(
    "/deliveries", Permission.OUTBOX_READ, "List deliveries to other systems",
    listing=DELIVERIES, read=_read, item=models.Delivery,
)  # fmt: skip


@operation(
    "GET", "/deliveries/{delivery_id}", Permission.OUTBOX_READ, "Show a delivery, without its content",
    content=models.Delivery,
)  # fmt: skip
async def show_delivery(call: Call) -> models.Delivery:
    found: models.Delivery = await one(DELIVERIES, _read, id=call.params["delivery_id"])
    return found


@operation(
    "POST", "/deliveries/{delivery_id}/replay", Permission.OUTBOX_WRITE, "Send a dead or deferred delivery now",
    content=models.Delivery,
)  # fmt: skip
async def replay_delivery(call: Call) -> models.Delivery:
    found = await show_delivery(call)
    try:
        await service.replay(UUID(str(found.id)))
    except service.NotReplayableError as error:
        raise ProblemError(HTTPStatus.CONFLICT, "wrong-state", error.description) from error
    return await show_delivery(call)
