"""Request and response bodies of the operations on deliveries."""

from datetime import datetime
from uuid import UUID

from idp.admin.api.models.base import Shown


class Delivery(Shown):
    """``stream`` is its receiver, such as ``client:CLIENT_ID``."""

    id: UUID
    kind: str
    stream: str
    user_id: UUID | None
    session_id: UUID | None
    state: str
    attempts: int
    response: str
    created_at: datetime
    next_attempt_at: datetime | None
    expires_at: datetime
    finished_at: datetime | None
