"""Attributes as the fields of forms: on the account page, at registration and during a sign-in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.models import MAX_LENGTH, Attribute, Type
from idp.accounts.attributes.search import PREFIX
from idp.accounts.attributes.values import parse
from idp.infra.i18n import gettext as _
from idp.infra.i18n import locale

#: The field with the names of the attributes that a form has. Those of others stay as they are, because a page may be
#: older than a declaration.
NAMES = "attributes"
#: Up to this number, several choices are boxes to check. More are typed, one on each line.
MAX_BOXES = 20


class Kind(StrEnum):
    """How a field is shown."""

    TEXT = "text"
    EMAIL = "email"
    URL = "url"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    SELECT = "select"
    BOXES = "boxes"
    LINES = "lines"


_KINDS = {
    Type.INTEGER: Kind.INTEGER, Type.NUMBER: Kind.NUMBER, Type.DATE: Kind.DATE, Type.EMAIL: Kind.EMAIL,
    Type.URL: Kind.URL, Type.BOOLEAN: Kind.SELECT, Type.CHOICE: Kind.SELECT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form.

    Attributes:
        attribute: the name of the attribute.
        value: the text in the field.
        options: values and labels to choose from.
        chosen: those of the values that are chosen.
        max_length: of the text, in characters.
    """

    attribute: str
    name: str
    label: str
    kind: Kind
    value: str
    options: tuple[tuple[str, str], ...]
    chosen: frozenset[str]
    required: bool
    max_length: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that is shown and cannot be edited."""

    label: str
    value: str


def kind_of(attribute: Attribute) -> Kind:
    if not attribute.multivalued:
        return _KINDS.get(attribute.type, Kind.TEXT)
    return Kind.BOXES if 0 < len(attribute.choices) <= MAX_BOXES else Kind.LINES


def fields(
    attributes: Iterable[Attribute],
    values: Mapping[str, Any],
    entered: Mapping[str, str] | None = None,
    required: Iterable[str] = (),
) -> list[Field]:
    """Return the fields of a form in the language of the request.

    Args:
        values: JSON by attribute.
        entered: the posted form, which is shown instead of the values.
        required: the attributes that need a value.
    """
    wanted = frozenset(required)
    return [_field(one, values.get(one.name), entered, one.name in wanted) for one in attributes]


def _field(attribute: Attribute, value: Any, entered: Mapping[str, str] | None, required: bool) -> Field:
    name, kind = field_name(attribute.name), kind_of(attribute)
    given = texts(value)
    if entered is not None:
        given = _checked_boxes(attribute, entered) if kind is Kind.BOXES else [entered.get(name, "")]
    options = [(choice, choice) for choice in attribute.choices]
    if attribute.type is Type.BOOLEAN:
        options = [("true", _("Yes")), ("false", _("No"))]
    if kind is Kind.SELECT and given and given[0] not in ("", *(choice for choice, _label in options)):
        # Chosen before the choices changed.
        options.append((given[0], given[0]))
    return Field(
        attribute.name,
        name,
        attribute.text(locale.get()),
        kind,
        "\n".join(given),
        tuple(options),
        frozenset(given),
        required,
        attribute.max_length or MAX_LENGTH,
    )


def field_name(name: str) -> str:
    """Return the name of the field of an attribute."""
    return f"{PREFIX}{name}"


def texts(value: Any) -> list[str]:
    """Return values as the texts that :func:`idp.accounts.attributes.values.parse` reads."""
    several = value if isinstance(value, list) else [] if value is None else [value]
    return [("true" if one else "false") if isinstance(one, bool) else f"{one}" for one in several]


def _checked_boxes(attribute: Attribute, form: Mapping[str, str]) -> list[str]:
    name = field_name(attribute.name)
    return [choice for number, choice in enumerate(attribute.choices) if f"{name}.{number}" in form]


def entered(attributes: Iterable[Attribute], form: Mapping[str, str]) -> dict[str, Any]:
    """Return what a posted form says, as JSON by attribute, for :func:`idp.accounts.attributes.service.change`."""
    names = form.get(NAMES, "").split()
    return {
        one.name: _checked_boxes(one, form)
        if kind_of(one) is Kind.BOXES
        else parse(one, form.get(field_name(one.name), ""))
        for one in attributes
        if one.name in names
    }


def facts(attributes: Iterable[Attribute], values: Mapping[str, Any]) -> list[Fact]:
    """Return the values that there are, with their labels in the language of the request."""
    return [Fact(one.text(locale.get()), shown(values[one.name])) for one in attributes if one.name in values]


def shown(value: Any) -> str:
    """Return a value as text for people."""
    several = value if isinstance(value, list) else [value]
    return ", ".join((_("Yes") if one else _("No")) if isinstance(one, bool) else f"{one}" for one in several)


def sentence(attributes: Iterable[Attribute], error: InvalidValueError) -> str:
    """Return the message of a refused value with the label of its attribute, for a page with several fields."""
    label = next((one.text(locale.get()) for one in attributes if one.name == error.field), error.field)
    return f"{label}: {error}"
