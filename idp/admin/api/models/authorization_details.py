"""Request and response bodies of the operations on authorization details."""

from datetime import datetime
from typing import Any

from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown


class DetailsType(Shown):
    """A type of authorization details (RFC 9396). ``schema`` is the JSON Schema of its objects."""

    id: str
    type: str
    resource: str
    title: str
    summary: str
    schema: dict[str, Any]
    ask_always: bool
    created_at: datetime
    updated_at: datetime


class NewDetailsType(Sent):
    """The consent page shows ``title`` and ``summary``. In a summary, ``{amount.value}`` is replaced by that value of
    the object.
    """

    type: str
    resource: str
    title: str
    schema: dict[str, Any]
    summary: str = ""
    ask_always: bool = False


class DetailsTypeChange(Sent):
    """Absent members keep their value."""

    resource: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    summary: str | UnsetType = UNSET
    schema: dict[str, Any] | UnsetType = UNSET
    ask_always: bool | UnsetType = UNSET
