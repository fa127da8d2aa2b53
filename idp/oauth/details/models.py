"""A registered type of authorization details."""

from datetime import datetime
from typing import Any

import msgspec

from idp import ids

#: One object of ``authorization_details`` (RFC 9396 section 2). It has a ``type``.
Detail = dict[str, Any]
#: The objects of a request, a grant or a token.
Details = tuple[Detail, ...]


class DetailsType(msgspec.Struct, frozen=True, kw_only=True):
    """A type of authorization details.

    Attributes:
        id: the last segment of its path in the admin API and the console.
        resource: the identifier of the resource server that its details are for.
        title: what an application may do, for the consent page.
        summary: a sentence for the consent page, in which ``{member}`` is replaced by a value of the object.
        schema: the JSON Schema of its objects (draft 2020-12), as JSON.
        ask_always: ask the user each time, even for details that were allowed before.
    """

    type: str
    resource: str
    title: str
    summary: str = ""
    schema: str
    ask_always: bool = False
    id: str = msgspec.field(default_factory=ids.uuid7_text)


class StoredDetailsType(DetailsType, frozen=True, kw_only=True):
    """A type with the times of its record. ``updated_at`` is its version."""

    created_at: datetime
    updated_at: datetime
