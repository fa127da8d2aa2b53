"""Translates filters into conditions of SQL. Only values come from the request, as parameters.

A condition that is true is that of a match; false and NULL are both no match. Negations are pushed to the comparisons,
where they become ``IS NOT TRUE``, so that indexes serve the others.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.directory import names
from idp.scim.attributes import OTHER_SUBS, ResourceType
from idp.scim.errors import InvalidFilterError
from idp.scim.filters import Both, Comparison, Either, Filter, Not, Path, Present, Selection, Value

_ORDER: Final = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_TEXT_ONLY: Final = ("co", "sw", "ew")


class Kind(StrEnum):
    """How the values of a column are compared."""

    #: Whatever the case.
    TEXT = "text"
    #: Stored in one case.
    EMAIL = "email"
    #: As it is.
    EXACT = "exact"
    #: The key of a name (:func:`idp.directory.names.key`).
    NAME = "name"
    #: The beginning of a text, in lower case.
    KEY = "key"
    NUMBER = "number"
    ID = "id"
    BOOLEAN = "boolean"
    TIME = "time"


#: How a value is folded before it is compared with a text.
_FOLDED: Final[Mapping[Kind, Callable[[str], str]]] = {
    Kind.TEXT: str.lower,
    Kind.EMAIL: str.lower,
    Kind.NAME: names.key,
    Kind.KEY: str.lower,
}


class Column(msgspec.Struct, frozen=True):
    """An attribute with one value.

    Attributes:
        sql: an expression.
        nullable: whether it may be NULL.
        constant: whether all resources have the same value.
    """

    sql: str
    kind: Kind = Kind.TEXT
    nullable: bool = True
    constant: bool = False

    @property
    def compared(self) -> str:
        """The expression that is compared."""
        return f"lower({self.sql})" if self.kind is Kind.TEXT else self.sql


class Elements(msgspec.Struct, frozen=True):
    """An attribute with several values.

    Attributes:
        columns: of an element, by the names of the sub-attributes in lower case.
        any: a condition on the resource with ``{}`` for the condition on an element: whether any matches.
        single: there is at most one, and its columns are of the resource.
        below: for groups: a subquery of the ids of resources, with ``{}`` for a comparison with the ids of a group and
            of those below it.
        equal: returns the same for a value that an index has, as text and with ``{}`` for its parameter; None if it
            cannot be compared with the values.
    """

    columns: Mapping[str, Column]
    any: str
    single: bool = False
    below: str = ""
    equal: Callable[[Value], tuple[str, str] | None] | None = None


#: The columns of a type of resources, by the names of its attributes in lower case.
Columns = Mapping[str, Column | Elements]


class Predicate:
    """The condition of a filter, with its parameters.

    Args:
        parameters: those of the statement before the condition. Others are appended.
        others: further types that are searched. Their attributes may be named, and match nothing here.
        id: the expression of the id of a resource.
        extended: returns the values of an attribute of an extension, if this server has it.
        trees: by the groups that the filter names (:func:`groups_in`), their ids and those of the groups below.
    """

    def __init__(
        self,
        resource: ResourceType,
        columns: Columns,
        parameters: list[Any],
        others: Sequence[ResourceType] = (),
        *,
        id: str = "",
        trees: Mapping[str, Sequence[UUID]] = MappingProxyType({}),
        extended: Callable[[Path], Elements | None] = lambda _: None,
    ) -> None:
        self.resource = resource
        self.columns = columns
        self.parameters = parameters
        self.others = others
        self.id = id
        self.trees = trees
        self.extended = extended

    def condition(self, node: Filter, *, wanted: bool = True) -> str:
        """Return the condition of a filter, or of its negation.

        Raises:
            InvalidFilterError: it names an unknown attribute, or compares one in a way that it does not support.
        """
        match node:
            case Not(inner):
                return self.condition(inner, wanted=not wanted)
            case Both(terms) | Either(terms):
                both = isinstance(node, Both) == wanted
                return f"({(' AND ' if both else ' OR ').join(self.condition(t, wanted=wanted) for t in terms)})"
            case Selection(path, inner):
                return _negated(self._selected(path, inner), wanted)
            case Comparison(path, "ne", value):
                return self.condition(Comparison(path, "eq", value), wanted=not wanted)
            case Comparison(path, "eq", None):
                return self.condition(Present(path), wanted=not wanted)
            case Comparison() | Present():
                return _negated(self._leaf(node), wanted)

    def _selected(self, path: Path, inner: Filter) -> str:
        if self._foreign(path):
            return "false"
        found = self.columns.get(path.attribute.lower())
        if isinstance(found, Elements):
            return found.any.format(_Element(self, found.columns).condition(inner))
        if self._accepted(path):
            return "false"
        raise InvalidFilterError("Only elements of an attribute with several values can be selected.")

    def _foreign(self, path: Path) -> bool:
        """Return whether an attribute is of a schema that this server does not have."""
        return path.schema is not None and path.schema.lower() != self.resource.schema.lower()

    def _leaf(self, node: Comparison | Present) -> str:
        path = node.path
        if self._foreign(path):
            extended = self.extended(path) if path.sub is None else None
            return self._of_elements(extended, node) if extended is not None else "false"
        name = path.attribute.lower()
        found = self.columns.get(f"{name}.{path.sub.lower()}" if path.sub is not None else name)
        if isinstance(found, Column):
            return self._compared(found, node)
        whole = self.columns.get(name)
        if isinstance(whole, Elements):
            return self._of_elements(whole, node)
        parts = [column for part, column in self.columns.items() if part.startswith(f"{name}.")]
        if parts and path.sub is None and isinstance(node, Present):
            return f"({' OR '.join(self._present(part) for part in parts if isinstance(part, Column))})"
        if self._accepted(path):
            return "false"
        raise InvalidFilterError("The filter names an unknown attribute, or one that has parts.")

    def _accepted(self, path: Path) -> bool:
        """Return whether requests may name an attribute that no resource has."""
        attribute = self.resource.find(path.attribute)
        if attribute is None:
            name = path.attribute
            return self.resource.is_other(name) or any(other.find(name) is not None for other in self.others)
        sub = path.sub.lower() if path.sub is not None and attribute.type == "complex" else None
        return sub is not None and (sub in OTHER_SUBS or attribute.find(sub) is not None)

    def _of_elements(self, found: Elements, node: Comparison | Present) -> str:
        """Return whether any element matches: ``emails.type``; without a sub-attribute, ``value``."""
        sub = node.path.sub
        if sub is None and isinstance(node, Present):
            return found.any.format("true")
        if (keys := self._keys_of(found, node)) is not None:
            return f"{self.id} IN ({keys})"
        inner = msgspec.structs.replace(node, path=Path(sub or "value"))
        return found.any.format(_Element(self, found.columns).condition(inner))

    def keys(self, node: Filter) -> str | None:
        """Return the ids of the resources that match, as a subquery, if one entry of an index has them."""
        if not isinstance(node, Comparison) or (_names_group(node) and len(self.trees.get(str(node.value), ())) > 1):
            return None
        path = node.path
        found = self.extended(path) if self._foreign(path) else self.columns.get(path.attribute.lower())
        return self._keys_of(found, node) if isinstance(found, Elements) else None

    def _keys_of(self, found: Elements, node: Comparison | Present) -> str | None:
        if not isinstance(node, Comparison) or node.operator != "eq":
            return None
        if found.below and _names_group(node):
            ids = list(self.trees.get(str(node.value), ()))
            compared = f"= {self._add(ids[0], 'uuid')}" if len(ids) == 1 else f"= ANY ({self._add(ids, 'uuid[]')})"
            return found.below.format(compared)
        equal = found.equal(node.value) if found.equal is not None and node.path.sub is None else None
        return equal[1].replace("{}", self._add(equal[0], "text")) if equal is not None else None

    def _present(self, column: Column) -> str:
        if column.kind in (Kind.ID, Kind.BOOLEAN, Kind.TIME, Kind.NUMBER):
            return f"({column.sql}) IS NOT NULL"
        return f"{column.sql} <> ''"

    def _compared(self, column: Column, node: Comparison | Present) -> str:
        if isinstance(node, Present):
            return self._present(column)
        operator, value = node.operator, node.value
        if value is None:
            raise InvalidFilterError("null can only be compared by eq and ne.")
        match column.kind:
            case Kind.BOOLEAN:
                return _boolean(column, operator, value)
            case Kind.TIME:
                return self._time(column, operator, value)
            case Kind.NUMBER:
                return self._number(column, operator, value)
            case _:
                return self._text(column, operator, value)

    def _text(self, column: Column, operator: str, value: Value) -> str:
        if not isinstance(value, str):
            raise InvalidFilterError("A text is compared with a text.")
        if column.kind is Kind.ID and operator == "eq":
            return f"{column.sql} = {self._add(UUID(value), 'uuid')}" if _is_id(value) else "false"
        if column.kind is Kind.EMAIL and operator == "eq":
            return f"{column.sql} = {self._add(_email(value), 'text')}"
        text = f"{column.sql}::text" if column.kind is Kind.ID else column.compared
        folded = _FOLDED.get(column.kind, str)(value)
        given = self._add(folded, "text")
        match operator:
            case "eq":
                return f"{text} = {given}"
            case "co":
                return f"strpos({text}, {given}) > 0"
            case "sw":
                # In byte order, for the indexes that search by the beginning.
                return f"({text} ~>=~ {given} AND {text} ~<~ ({given} || chr(1114111)))"
            case "ew":
                return f"right({text}, length({given})) = {given}"
        return f'{text} COLLATE "C" {_ORDER[operator]} {given}'

    def _number(self, column: Column, operator: str, value: Value) -> str:
        if operator in _TEXT_ONLY or isinstance(value, bool | str) or value is None:
            raise InvalidFilterError("A number is compared with a number.")
        return f"{column.sql} {_ORDER.get(operator, '=')} {self._add(float(value), 'float8')}"

    def _time(self, column: Column, operator: str, value: Value) -> str:
        if operator in _TEXT_ONLY or not isinstance(value, str):
            raise InvalidFilterError("A time is compared with a time.")
        try:
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            raise InvalidFilterError("A time must look like 2026-11-30T12:00:00Z.") from None
        return f"{column.sql} {_ORDER.get(operator, '=')} {self._add(at, 'timestamptz')}"

    def _add(self, value: object, type: str) -> str:
        self.parameters.append(value)
        return f"${len(self.parameters)}::{type}"


class _Element(Predicate):
    """The condition on one element of an attribute."""

    def __init__(self, whole: Predicate, columns: Mapping[str, Column]) -> None:
        super().__init__(whole.resource, columns, whole.parameters)

    def _foreign(self, path: Path) -> bool:
        if path.schema is not None:
            raise InvalidFilterError("An attribute of an element has no URN.")
        return False

    def _accepted(self, path: Path) -> bool:
        return path.sub is None and path.attribute.lower() in OTHER_SUBS


def _names_group(node: Filter) -> bool:
    """Return whether a comparison is one of ``groups`` with an id."""
    if not isinstance(node, Comparison) or node.operator not in ("eq", "ne") or not isinstance(node.value, str):
        return False
    return node.path.attribute.lower() == "groups" and (node.path.sub or "value").lower() == "value"


def groups_in(filter: Filter) -> set[str]:
    """Return the ids of groups that a filter compares ``groups`` with."""
    match filter:
        case Both(terms) | Either(terms):
            return set[str]().union(*map(groups_in, terms))
        case Not(inner):
            return groups_in(inner)
        case Comparison(_, _, str(value)) if _names_group(filter) and _is_id(value):
            return {value}
    return set()


def _negated(condition: str, wanted: bool) -> str:
    return condition if wanted else f"(({condition}) IS NOT TRUE)"


def _boolean(column: Column, operator: str, value: Value) -> str:
    # Some clients quote it.
    wanted = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if operator != "eq" or not isinstance(wanted, bool):
        raise InvalidFilterError("Whether something is so can only be compared with true and false.")
    return f"({column.sql})" if wanted else f"NOT ({column.sql})"


def _is_id(text: str) -> bool:
    """Return whether a text is an id as this server writes it."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _email(text: str) -> str:
    try:
        return normalise_email(text)
    except InvalidEmailError:
        return text.lower()
