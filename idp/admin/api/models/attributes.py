"""Request and response bodies of the operations on attributes of users."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from idp.accounts.attributes import models as attributes
from idp.accounts.attributes.declaration import FIXED as FIXED_OF_ATTRIBUTE
from idp.accounts.attributes.jobs.repository import Kind
from idp.admin.api.models.base import Sent, Shown


class Attribute(attributes.StoredAttribute, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A declared attribute of users (docs/attributes.md)."""


class NewAttribute(attributes.Attribute, frozen=True, kw_only=True):
    """``label`` has the text in each language, and one for ``default``. Empty lists: nobody but owners."""


class _AttributeChange(Sent):
    """Absent members keep their value. Stored values stay, even if they would be refused now."""


AttributeChange = msgspec.defstruct(
    "AttributeChange",
    [
        (field.name, field.type | UnsetType, UNSET)
        for field in msgspec.structs.fields(attributes.Attribute)
        if field.name not in FIXED_OF_ATTRIBUTE
    ],
    bases=(_AttributeChange,),
    module=__name__,
)
AttributeChange.__doc__ = _AttributeChange.__doc__


class AttributeJob(Shown):
    """A change of the values of all users in the background.

    ``index`` makes them searchable, ``unindex`` not searchable, ``delete`` deletes those of a deleted attribute.
    ``done`` and ``total`` are numbers of values.
    """

    attribute: str
    kind: Kind
    done: int
    total: int
    started_at: datetime


class AttributeUsage(Shown):
    """``values``: the number of values of all users, which go with the attribute."""

    values: int


class AttributeValues(Shown):
    """The values of a user by attribute. A multi-valued one is a list. Those without value are left out."""

    values: dict[str, Any]


class AttributeValuesChange(Sent):
    """Null removes the values of an attribute; absent attributes keep theirs."""

    values: dict[str, Any]
