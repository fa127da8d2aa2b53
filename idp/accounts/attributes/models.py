"""A declared attribute."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar

import msgspec

#: Maximum number of declared attributes, of values of a multi-valued one, and of characters of a value.
MAX_ATTRIBUTES, MAX_VALUES, MAX_LENGTH = 100, 50, 1000
#: The language of a label that is shown in all languages without one of their own.
DEFAULT = "default"

#: A value as JSON: text, number or boolean. A date is text such as 1990-12-31.
Value = str | int | float | bool


class Type(StrEnum):
    """The type of the values of an attribute."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    EMAIL = "email"
    URL = "url"
    #: One of a list.
    CHOICE = "choice"


class Audience(StrEnum):
    """Who asks for an attribute. Owners see and edit all of them, and so does the command line."""

    PERSON = "person"
    #: Administrators who may read or change users.
    SUPPORT = "support"
    OWNER = "owner"


#: Those to whom a declaration may give an attribute.
Given = Literal["person", "support"]
#: Whether the registration page asks for an attribute.
Registration = Literal["no", "optional", "required"]


class Attribute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A declared attribute.

    Attributes:
        name: a lower-case identifier. It and the next two cannot change.
        label: the text in each language, by its tag; :data:`DEFAULT` in all others.
        min_length, max_length: of text, in characters.
        minimum, maximum: of a number, or of a date as text.
        pattern: a regular expression that the whole text matches.
        choices: the values to choose from, in the order of display.
        visible_to, editable_by: who besides owners.
        searchable: users can be found by a value.
        scope, claim: the claim that has the values, and the scope with which clients get it. None: not released.
        required_for: the clients whose users are asked for a value when they sign in; ``*``: all.
        position: the place on pages: smaller numbers come first.
    """

    name: str
    type: Type
    multivalued: bool = False
    label: dict[str, str]
    min_length: int | None = None
    max_length: int | None = None
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    visible_to: tuple[Given, ...] = ("person", "support")
    editable_by: tuple[Given, ...] = ("support",)
    searchable: bool = False
    scope: str | None = None
    claim: str | None = None
    registration: Registration = "no"
    required_for: tuple[str, ...] = ()
    position: int = 0

    def is_visible(self, audience: Audience) -> bool:
        return audience is Audience.OWNER or audience.value in self.visible_to

    def is_editable(self, audience: Audience) -> bool:
        return audience is Audience.OWNER or audience.value in self.editable_by

    def text(self, language: str) -> str:
        """Return the label in a language: its own, that of the language without region, or the default one."""
        tag = language.replace("_", "-")
        return self.label.get(tag) or self.label.get(tag.partition("-")[0]) or self.label[DEFAULT]

    def shape(self, values: list[Value]) -> Any:
        """Return stored values as JSON: a list if there may be several."""
        return values if self.multivalued else values[0]


class StoredAttribute(Attribute, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """An attribute with the times of its record. ``updated_at`` is its version.

    Attributes:
        indexing: values that are stored are being made searchable, and no search is possible yet.
    """

    indexing: bool = False
    created_at: datetime
    updated_at: datetime


Declared = TypeVar("Declared", bound=Attribute)


def in_order(attributes: Iterable[Declared]) -> list[Declared]:
    """Return attributes in the order of pages."""
    return sorted(attributes, key=lambda one: (one.position, one.name))
